use std::hint::black_box;
use std::panic::catch_unwind;

use super::*;

#[global_allocator]
static COUNTING: Counting = Counting;

fn hold(data: &[u8]) {
    drop(black_box(vec![1_u8; data.len() << 20]));
}

#[test]
fn what_is_held_at_once_counts_and_what_was_freed_does_not() {
    within(3 << 20, || {
        for _ in 0..10 {
            hold(&[0; 2]);
        }
    });
    let nested = || {
        within(5 << 20, || hold(&[0; 4]));
        hold(&[0; 1]);
    };
    within(5 << 20, nested);
    assert!(catch_unwind(|| within(3 << 20, nested)).is_err(), "the inner peak counts outside");
    assert!(catch_unwind(|| bounded(10, || hold(&[0; 2]))).is_err());
    bounded(2 << 20, || hold(&[0; 30]));
}

#[test]
fn a_body_that_holds_too_much_is_a_finding() {
    run(hold, &[0; 3], 4 << 20, Judge::Space);
    assert!(catch_unwind(|| run(hold, &[0; 5], 4 << 20, Judge::Space)).is_err());
}

#[test]
fn an_allocation_beyond_the_hard_limit_is_refused() {
    fn reserve(_: &[u8]) {
        let mut bytes: Vec<u8> = Vec::new();
        assert!(bytes.try_reserve_exact(HARD_BYTES + (1 << 16)).is_err(), "it was refused");
        assert!(bytes.try_reserve_exact(1 << 20).is_ok(), "a small one is not");
    }
    run(reserve, &[], HARD_BYTES, Judge::Space);
}

#[test]
fn a_body_that_spins_is_a_finding_where_time_counts() {
    // Of processor time: it ends, and has used so much, on any machine.
    fn spin(_: &[u8]) {
        while time() < Duration::from_millis(20) {}
    }
    let max = Duration::from_millis(10);
    run(spin, &[], HARD_BYTES, Judge::Space);
    assert!(catch_unwind(|| run(spin, &[], HARD_BYTES, Judge::SpaceAndTime(max))).is_err());
}

#[test]
fn a_thread_that_frees_what_others_took_counts_from_below_zero() {
    let long = vec![0_u8; 8 << 20];
    thread::Builder::new()
        .spawn(move || {
            drop(black_box(long));
            within(3 << 20, || hold(&[0; 2]));
            assert!(catch_unwind(|| within(3 << 20, || hold(&[0; 4]))).is_err());
        })
        .unwrap()
        .join()
        .unwrap();
}
