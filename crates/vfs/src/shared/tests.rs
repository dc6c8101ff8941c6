use std::collections::BTreeSet;

use super::*;

fn shared() -> SharedBytes {
    SharedBytes::new(Bytes::from((0..=255).collect::<Vec<u8>>()))
}

#[test]
fn slices_are_the_bytes_and_outlive_what_they_were_taken_of() {
    let bytes = shared();
    let kept = bytes.slice(10..20);
    let part = Part::of(&bytes, 100, 50).expect("inside");
    let (middle, end) = (part.slice(5..10), part.slice_ref(&part[45..]));
    let whole = part.bytes();
    drop(bytes);
    assert_eq!(*kept, (10..20).collect::<Vec<u8>>());
    assert_eq!(*middle, (105..110).collect::<Vec<u8>>());
    assert_eq!(*end, (145..150).collect::<Vec<u8>>());
    assert_eq!(*whole, (100..150).collect::<Vec<u8>>());
}

#[test]
fn an_owned_part_is_sliced_as_a_mapped_one() {
    let part = Part::Owned(Bytes::from_static(b"lotus pond"));
    assert_eq!(*part.slice(6..10), *b"pond");
    assert_eq!(*part.slice_ref(&part[..5]), *b"lotus");
    assert!(part.slice_ref(&part[3..3]).is_empty());
}

#[test]
fn a_part_lies_inside() {
    let bytes = shared();
    assert!(Part::of(&bytes, 256, 0).is_some());
    assert!(Part::of(&bytes, 256, 1).is_none());
    assert!(Part::of(&bytes, 1, usize::MAX).is_none());
}

#[test]
#[should_panic(expected = "inside the part")]
fn a_slice_of_a_part_does_not_reach_beyond_it() {
    let bytes = shared();
    drop(Part::of(&bytes, 0, 10).expect("inside").slice(5..11));
}

#[test]
#[should_panic(expected = "a slice of this part")]
fn a_slice_of_something_else_is_not_taken() {
    let bytes = shared();
    drop(Part::of(&bytes, 10, 10).expect("inside").slice_ref(&bytes[..5]));
}

#[test]
fn threads_count_apart() {
    let counters: BTreeSet<usize> = thread::scope(|scope| {
        let counters: Vec<_> = (0..COUNTERS).map(|_| scope.spawn(counter)).collect();
        counters.into_iter().map(|counter| counter.join().expect("no panic")).collect()
    });
    // Others start threads too.
    assert!(counters.len() > COUNTERS / 4, "{counters:?}");
}

#[test]
fn counters_are_two_cache_lines_apart() {
    let bytes = shared();
    let slices: Vec<Bytes> = (0..COUNTERS)
        .map(|counter| {
            let alone = Bytes::from_owner(Alone(bytes.whole.clone()));
            bytes.counted[counter].get_or_init(|| alone).slice(..)
        })
        .collect();
    assert_eq!(align_of::<Alone>(), 128);
    assert!(slices.iter().all(|slice| slice.as_ptr() == bytes.as_ptr()));
}
