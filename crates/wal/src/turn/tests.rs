use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;

use super::*;
use crate::position::SegmentId;

fn at(offset: u64) -> Position {
    Position { segment: SegmentId(1), offset }
}

fn failure() -> Error {
    Error::invalid("planned", Path::new("disk"))
}

#[test]
fn what_is_done_is_not_done_again() {
    let (turn, poison) = (Turn::new(at(96)), Poison::new(Path::new("log")));
    let never = || -> Result<Position> { panic!("there is nothing to do") };
    turn.reach(at(96), &poison, never).unwrap();
    turn.reach(at(104), &poison, || Ok(at(200))).unwrap();
    turn.reach(at(200), &poison, never).unwrap();
    assert_eq!(turn.done(), at(200));
}

#[test]
fn after_a_failure_nobody_is_told_that_all_is_well() {
    let (turn, poison) = (Turn::new(at(96)), Poison::new(Path::new("log")));
    assert!(matches!(turn.reach(at(104), &poison, || Err(failure())), Err(Error::Invalid { .. })));
    let retried = turn.reach(at(104), &poison, || panic!("nothing is retried"));
    assert!(matches!(retried, Err(Error::Poisoned { .. })));
    let reached_before = turn.reach(at(96), &poison, || panic!("nothing to do"));
    assert!(matches!(reached_before, Err(Error::Poisoned { .. })));
}

#[test]
fn a_panic_in_the_work_poisons_and_wakes_those_who_wait() {
    let (turn, poison) = (Turn::new(at(96)), Poison::new(Path::new("log")));
    let (turn, poison) = (&turn, &poison);
    thread::scope(|scope| {
        let (entered, panics) = std::sync::mpsc::channel();
        let leader = scope.spawn(move || {
            turn.reach(at(104), poison, || {
                entered.send(()).unwrap();
                // Until the other thread has had a chance to wait; the test is right either way.
                thread::yield_now();
                panic!("planned")
            })
        });
        panics.recv().unwrap();
        let follower = scope.spawn(|| turn.reach(at(104), poison, || Ok(at(104))));
        assert!(leader.join().is_err());
        assert!(matches!(follower.join().unwrap(), Err(Error::Poisoned { .. })));
    });
}

#[test]
fn one_work_at_a_time_serves_many_and_covers_every_target() {
    const THREADS: u64 = 8;
    const ROUNDS: u64 = 500;
    let turn = Turn::new(at(0));
    let poison = Poison::new(Path::new("log"));
    let (staged, running, works) =
        (AtomicU64::new(0), Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let target = at(staged.fetch_add(8, Ordering::SeqCst) + 8);
                    turn.reach(target, &poison, || {
                        assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
                        let done = staged.load(Ordering::SeqCst);
                        works.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(running.fetch_sub(1, Ordering::SeqCst), 1, "one at a time");
                        Ok(at(done))
                    })
                    .unwrap();
                    assert!(target <= turn.done());
                }
            });
        }
    });
    assert_eq!(turn.done(), at(THREADS * ROUNDS * 8));
    assert!(works.load(Ordering::SeqCst) <= usize::try_from(THREADS * ROUNDS).unwrap());
}
