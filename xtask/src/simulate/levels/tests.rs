use std::collections::BTreeSet;

use super::policy::{Policy, level1_target, rocks_targets};
use super::tree::{Cut, ENTRY_BYTES, Merge, Tree};
use super::{Outcome, Store, decades, to_f64};

/// A store of the model after `fills` memtables of new keys and `overwrites` of others; one key
/// stands for 250.
fn store(policy: Policy, fills: u64, overwrites: u64) -> Store {
    let mut store = Store::new(policy, 1_000_000_000, 1);
    (0..fills).for_each(|_| store.fill());
    (0..overwrites).for_each(|_| store.overwrite());
    store
}

fn keys_in_files(tree: &Tree) -> u64 {
    tree.levels.iter().flatten().map(|file| file.count()).sum()
}

#[test]
fn no_key_is_lost_and_new_ones_are_never_dropped() {
    for policy in Policy::ALL {
        let mut store = store(policy, 700, 0);
        assert_eq!(store.tree.flushed, 700 * store.flush_puts);
        assert_eq!(store.tree.dropped, 0, "{}", policy.name());
        (0..200).for_each(|_| store.overwrite());
        let tree = &store.tree;
        assert!(tree.dropped > 0, "{}: old versions meet newer ones", policy.name());
        assert_eq!(tree.flushed, keys_in_files(tree) + tree.dropped, "{}", policy.name());
        let files = tree.levels.iter().flatten();
        let distinct: BTreeSet<u64> = files.flat_map(|file| file.keys().to_vec()).collect();
        assert_eq!(distinct, store.keys.iter().copied().collect(), "{}", policy.name());
    }
}

#[test]
fn files_below_level_0_are_in_order_and_do_not_overlap() {
    for policy in Policy::ALL {
        let store = store(policy, 700, 100);
        for level in &store.tree.levels[1..] {
            assert!(level.is_sorted_by(|left, right| left.last() < right.first()));
            assert!(level.iter().all(|file| file.keys().is_sorted_by(|a, b| a < b)));
        }
    }
}

#[test]
fn a_merge_writes_its_output_and_a_move_writes_nothing() {
    let cut = || Cut {
        bytes_max: 3 * ENTRY_BYTES,
        early_bytes: |_| 3 * ENTRY_BYTES,
        boundaries: Vec::new(),
    };
    let mut tree = Tree::new(3, 1);
    tree.flush(BTreeSet::from([1, 5, 9]));
    tree.flush(BTreeSet::from([2, 5, 7, 8]));
    assert_eq!(tree.written, 7);
    tree.merge(Merge { upper_level: 0, upper: 0..2, output_level: 1, lower: 0..0, cut: cut() });
    assert_eq!((tree.written, tree.dropped), (7 + 6, 1), "5 was in both");
    let counts: Vec<u64> = tree.levels[1].iter().map(|file| file.count()).collect();
    assert_eq!(counts, [3, 3]);
    tree.merge(Merge { upper_level: 1, upper: 0..1, output_level: 2, lower: 0..0, cut: cut() });
    assert_eq!(tree.written, 7 + 6, "nothing was below");
    assert_eq!((tree.levels[1].len(), tree.levels[2].len()), (1, 1));
    tree.flush(BTreeSet::from([3]));
    tree.merge(Merge { upper_level: 0, upper: 0..1, output_level: 2, lower: 0..1, cut: cut() });
    assert_eq!(tree.written, 7 + 6 + 1 + 4);
    assert_eq!(tree.levels[2].len(), 2, "four keys, three to a file");
}

#[test]
fn a_file_may_end_early_where_one_below_it_does() {
    // Ten keys are the target; the second boundary comes after six of them, when 60 % is enough.
    let early_bytes = |crossed| 100 * ENTRY_BYTES * (5 + crossed / 2);
    let cut = Cut { bytes_max: 2000 * ENTRY_BYTES, early_bytes, boundaries: vec![3, 6] };
    let mut tree = Tree::new(2, 100);
    tree.flush((0..12).collect());
    tree.flush(BTreeSet::from([12]));
    tree.merge(Merge { upper_level: 0, upper: 0..2, output_level: 1, lower: 0..0, cut });
    let counts: Vec<u64> = tree.levels[1].iter().map(|file| file.count()).collect();
    assert_eq!(counts, [6, 7]);
}

#[test]
fn levels_are_within_their_targets_when_nothing_is_due() {
    for policy in [Policy::Ours, Policy::OursSmall, Policy::OursFixed] {
        let store = store(policy, 1001, 0);
        let tree = &store.tree;
        assert!(tree.levels[0].len() < 4);
        let level1 = if policy == Policy::OursFixed { 256 << 20 } else { level1_target(tree) };
        for (level, target) in [(1, level1), (2, level1 * 8), (3, level1 * 64)] {
            assert!(tree.level_bytes(level) <= target, "{} level {level}", policy.name());
        }
        assert!(tree.level_bytes(2) > 0, "{}: there was something to settle", policy.name());
    }
    let store = store(Policy::RocksDb, 1001, 0);
    let (base, targets) = rocks_targets(&store.tree);
    assert!(base < 6, "two gigabytes are more than one level");
    for (level, target) in targets.into_iter().enumerate().skip(base).take(6 - base) {
        assert!(store.tree.level_bytes(level) < target, "level {level}");
    }
    assert!((1..base).all(|level| store.tree.levels[level].is_empty()));
}

#[test]
fn level_1_follows_what_flushes_bring() {
    let mut tree = Tree::new(3, 1000);
    assert_eq!(level1_target(&tree), 256 << 20, "as in the engine, where level 0 is empty");
    tree.flush((0..62).collect());
    assert_eq!(level1_target(&tree), 16 * 62 * 1000 * ENTRY_BYTES);
    tree.flush((0..500).collect());
    assert_eq!(level1_target(&tree), 256 << 20);
}

#[test]
fn base_level_of_rocksdb_is_derived_from_the_largest_level() {
    let mut tree = Tree::new(7, 1_000_000);
    assert_eq!(rocks_targets(&tree).0, 6, "the first merge goes to the last level");
    // 380 MB in the last level: level 5 is to have a tenth, but no target is below 256 MiB.
    tree.flush((0..10).collect());
    let cut = Cut { bytes_max: u64::MAX, early_bytes: |_| u64::MAX, boundaries: Vec::new() };
    tree.merge(Merge { upper_level: 0, upper: 0..1, output_level: 6, lower: 0..0, cut });
    let (base, targets) = rocks_targets(&tree);
    assert_eq!((base, targets[5], targets[6]), (5, 256 << 20, 380_000_000));
    assert_eq!(targets[4], u64::MAX);
}

#[test]
fn all_keys_of_a_memtable_are_written_at_least_once_and_a_decade_is_a_difference() {
    let mut store = store(Policy::Ours, 0, 0);
    let written = store.measure(4, Store::fill);
    assert!((written - 2.0).abs() < 1e-9, "four flushes and one merge of them: {written}");
    let outcome = |fill| Outcome { grow: 0.0, fill, overwrite: 0.0 };
    let steps = decades(&[1.0, 3.0, 7.0, 6.0].map(outcome), |outcome| outcome.fill);
    assert_eq!(steps, [2.0, 4.0, -1.0]);
}

/// The engine with its defaults, puts held back until merges were idle: the index bytes that
/// `Db::stats` showed while four million keys of 24 bytes were put, values of 1 KiB, and as many
/// overwritten. Read at 0.4, 2, 4 and 7.95 million puts; which flushes and merges had ended by
/// then (those up to flush 1, 7, 15 and 31) is concluded from the bytes.
#[test]
fn the_model_writes_what_the_engine_was_measured_to_write() {
    let mut store = Store::new(Policy::Ours, 4_000_000, 1);
    store.measure(1, Store::fill);
    let mut mega_bytes = |flushes: u64, write: fn(&mut Store)| {
        let entries = store.measure(flushes, write) * to_f64(flushes * store.flush_puts);
        entries * to_f64(ENTRY_BYTES) / 1e6
    };
    let found = [
        mega_bytes(6, Store::fill),
        mega_bytes(8, Store::fill),
        mega_bytes(1, Store::fill) + mega_bytes(15, Store::overwrite),
    ];
    for (found, measured) in found.into_iter().zip([90.8, 262.0, 694.7]) {
        assert!((found / measured - 1.0).abs() < 0.05, "{found} MB, measured {measured}");
    }
}
