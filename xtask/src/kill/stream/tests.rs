use super::*;

#[test]
fn the_same_numbers_give_the_same_operation() {
    for index in 0..500 {
        assert_eq!(Op::draw(3, 1, index), Op::draw(3, 1, index));
    }
    let streams = |thread| (0..50).map(|index| Op::draw(3, thread, index)).collect::<Vec<_>>();
    assert_ne!(streams(0), streams(1));
}

#[test]
fn every_kind_of_operation_and_length_is_drawn() {
    let ops: Vec<Op> = (0..5_000).map(|index| Op::draw(1, 0, index)).collect();
    let single = [Op::Flush, Op::Compact, Op::Collect, Op::Checkpoint, Op::Sync, Op::Snapshot];
    for wanted in single.into_iter().chain([Op::Scan, Op::Reopen]) {
        assert!(ops.contains(&wanted), "no {wanted:?}");
    }
    let lens: Vec<usize> = ops
        .iter()
        .flat_map(Op::changes)
        .filter_map(|change| change.value.as_ref().map(Vec::len))
        .collect();
    assert!(lens.contains(&0) && lens.iter().any(|len| *len > 100_000));
    assert!(ops.iter().any(|op| matches!(op, Op::Swap { .. })));
    assert!(ops.iter().any(|op| matches!(op, Op::Transact { changes, .. } if changes.len() > 5)));
    assert!(ops.iter().any(|op| matches!(op, Op::Batch { changes, .. } if changes.len() > 5)));
    assert!(ops.iter().flat_map(Op::changes).any(|change| change.value.is_none()));
}

#[test]
fn keys_of_different_threads_and_numbers_differ() {
    let mut keys: Vec<Vec<u8>> =
        (0..3).flat_map(|thread| (0..KEYS).map(move |number| key(thread, number))).collect();
    let count = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), count);
    assert!(keys.iter().all(|key| key.len() <= engine::KEY_LEN_MAX));
}

#[test]
fn one_database_in_three_skips_the_log_never_seldom_or_often() {
    let unlogged =
        |seed| (0..1_000).filter(|index| Op::draw(seed, 0, *index).is_unlogged()).count();
    assert_eq!(unlogged(3), 0);
    assert!((10..100).contains(&unlogged(4)), "{}", unlogged(4));
    assert!((200..500).contains(&unlogged(5)), "{}", unlogged(5));
}

#[test]
fn losses_read_as_they_are_written() {
    for lost in [Lost::default(), Lost(vec![(3, 9)]), Lost(vec![(3, 9), (12, 13)])] {
        assert_eq!(lost.to_string().parse::<Lost>().expect("a list of ranges"), lost);
    }
    assert!("3".parse::<Lost>().is_err());
}
