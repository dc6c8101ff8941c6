use super::*;

/// Writes without a log are frequent with it.
const SEED: u64 = 5;

/// The state after `count` operations of which the unlogged ones from `cut` on are missing.
fn state(cut: u64, count: u64) -> Model {
    Model::after(SEED, 0, count, &Lost(vec![(cut, count)]))
}

/// A thread whose child began at 0 and reported `count` operations.
fn reported(count: u64) -> Vec<Progress> {
    let mut threads = vec![Progress::after(SEED, 0, 0)];
    let reports: Vec<(u8, u64)> = (0..count).map(|index| (0, index)).collect();
    acknowledge(&mut threads, &reports).expect("reports in order");
    threads
}

/// Behind the last operation below `count` that flushes.
fn flushed(count: u64) -> u64 {
    (0..count).rev().find(|index| Op::draw(SEED, 0, *index).flushes(true)).expect("some flush")
}

#[test]
fn every_cut_behind_the_last_flush_is_right_and_remembered() {
    let count = 300;
    for cut in flushed(count)..=count {
        let mut thread = reported(count).remove(0);
        thread.settle(&state(cut, count)).expect("a legal cut");
        assert_eq!(thread.model, state(cut, count));
        assert_eq!(Model::after(SEED, 0, count, &thread.lost), thread.model, "cut {cut}");
    }
}

#[test]
fn an_unlogged_operation_before_an_acknowledged_flush_may_not_be_lost() {
    let count = 300;
    let flushed = flushed(count);
    let differs = |cut: &u64| state(*cut, count) != state(flushed, count);
    let cut = (0..flushed).rev().find(differs).expect("some unlogged operation matters");
    let error = reported(count).remove(0).settle(&state(cut, count)).expect_err("it was flushed");
    assert!(error.to_string().contains("flushed"), "{error}");
}

#[test]
fn a_logged_operation_may_not_be_lost_with_unlogged_ones() {
    let count = flushed(300) + 1;
    let mut found = state(count, count);
    let logged = |index: &u64| {
        let op = Op::draw(SEED, 0, *index);
        !op.is_unlogged() && state(count, *index) != state(count, *index + 1)
    };
    let last = (0..count).rev().find(logged).expect("some logged operation matters");
    let before = state(count, last);
    for change in Op::draw(SEED, 0, last).changes() {
        let map = &mut found.spaces[change.space];
        match before.spaces[change.space].get(&change.key) {
            Some(value) => drop(map.insert(change.key.clone(), value.clone())),
            None => drop(map.remove(&change.key)),
        }
    }
    if found != state(count, count) {
        reported(count).remove(0).settle(&found).expect_err("a logged operation is missing");
    }
}

#[test]
fn half_an_unlogged_batch_is_a_violation() {
    let is_batch = |index: &u64| {
        let op = Op::draw(SEED, 0, *index);
        op.is_unlogged() && op.changes().len() > 4
    };
    let batch = (0..).find(is_batch).expect("batches are drawn");
    let mut found = state(batch, batch);
    Op::draw(SEED, 0, batch).changes()[..3].iter().for_each(|change| found.change(change));
    let whole = state(batch + 1, batch + 1);
    assert!(found != state(batch, batch) && found != whole, "half of it is something else");
    reported(batch).remove(0).settle(&found).expect_err("half a batch");
    reported(batch).remove(0).settle(&whole).expect("a whole one that was not acknowledged");
}

#[test]
fn threads_lose_what_came_last_over_all_of_them() {
    let mut threads: Vec<Progress> = (0..2).map(|t| Progress::after(SEED, t, 0)).collect();
    let first = |thread: u8| {
        (0..).find(|index| Op::draw(SEED, thread, *index).is_unlogged()).expect("they are frequent")
    };
    let (a, b) = (first(0), first(1));
    // All of thread 0, then all of thread 1.
    let mut reports: Vec<(u8, u64)> = (0..=a).map(|index| (0, index)).collect();
    reports.extend((0..=b).map(|index| (1, index)));
    assert!(b > 0, "the second thread reported before it began what it keeps");
    acknowledge(&mut threads, &reports).expect("reports in order");
    let (none, all) = (|_: u64| Cuts { least: 0, most: 0 }, |n| Cuts { least: n + 1, most: n + 1 });
    require_one_cut(&threads, &[all(a), none(b)]).expect("the later one is lost");
    require_one_cut(&threads, &[none(a), none(b)]).expect("both are lost");
    require_one_cut(&threads, &[none(a), all(b)]).expect_err("the earlier one is lost");
}
