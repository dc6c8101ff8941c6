//! The crash explorer, and proofs that it is awake: it finds every lie of a lying disk.
//!
//! Catalogue rows 1, 3, 6, 9, 13, 15, 22, 25, 28-33, 36, 41, 58 and 111 are crashes that it goes
//! through. Length 2 with everything is `cargo xtask crash --exhaustive 2`, which CI runs.

use std::collections::BTreeMap;

use xtask::crash::call::Op;
use xtask::crash::campaign::{Campaign, Report};
use xtask::crash::explore::{Explorer, Tally, Violation};
use xtask::crash::images::{Effort, Nested};
use xtask::crash::liar::Lie;
use xtask::crash::plan::{Acks, Append, Cell, Config, Jobs};
use xtask::crash::reach::Reach;
use xtask::crash::{replay, workload};
use xtask::kind::Kind;

const SEED: u64 = 1;
const THREADS: usize = 2;

fn run(campaign: &Campaign) -> Report {
    campaign.explore(THREADS)
}

fn require_none(report: &Report) {
    for Violation { cell, what, .. } in &report.violations {
        println!("{what}\n  cargo xtask crash --replay \"{cell}\"");
    }
    assert!(report.violations.is_empty(), "{} violations", report.violations.len());
    println!("{:?}", report.tally);
}

/// Mapped appends that ask for durability, and positional ones that always have it.
fn durable_configs() -> Vec<Config> {
    let all = Config::all().into_iter();
    all.filter(Config::acks_are_durable).collect()
}

#[test]
fn every_crash_around_any_one_call_leaves_a_state_that_was() {
    let nested = Nested { prelude: 768, one: 48, ..Nested::NONE };
    let effort = Effort { nested, ..Effort::QUICK };
    let report = run(&Campaign::new(1, effort, SEED));
    require_none(&report);
    assert_eq!(report.tally.runs, 16 * (1 + 16));
    assert!(report.tally.recoveries > 5_000, "{:?}", report.tally);
    assert!(report.tally.nested > 1_000, "{:?}", report.tally);
    let Reach { collected, moved_bytes, created, removed, .. } = &report.tally.reach;
    assert!(*collected > 0 && *moved_bytes > 0, "values are moved");
    let has = |counts: &BTreeMap<String, u64>, kind: &str| counts.contains_key(kind);
    assert!(has(created, "map") && has(removed, "map"), "remap tables come and go");
    assert!(has(created, "val") && has(removed, "val"), "segments are rewritten and reaped");
    assert!(has(created, "run") && has(removed, "run"), "runs are folded");
    assert!(has(created, "part") && has(removed, "part"), "into partitions");
}

#[test]
fn every_crash_around_the_second_of_two_calls_leaves_a_state_that_was() {
    let mut campaign = Campaign::new(2, Effort::QUICK.flat(), SEED);
    campaign.alphabet = Op::eleven();
    campaign.configs.retain(|config| config.append == Append::Mapped && !config.acks_are_durable());
    let report = run(&campaign);
    require_none(&report);
    assert_eq!(report.tally.runs, 4 * (1 + 11 + 11 * 11));
}

#[test]
fn crashes_anywhere_in_long_random_runs_with_checkpoints_leave_a_state_that_was() {
    let mut campaign = Campaign::new(0, Effort::QUICK.flat(), SEED);
    (campaign.random, campaign.random_len) = (16, 7);
    let report = run(&campaign);
    require_none(&report);
    let created = &report.tally.reach.created;
    assert!(created.contains_key("partial"), "checkpoints are made: {created:?}");
}

#[test]
fn crashes_while_a_hash_table_splits_and_shrinks_leave_a_state_that_was() {
    let hashed = Config::all().into_iter().find(|config| config.kind == Kind::Hash);
    let config = hashed.expect("half of them are");
    let effort = Effort { subset_choices_max: 0, ..Effort::QUICK.flat() };
    let mut explorer = Explorer::new(config, SEED, effort);
    explorer.explore_whole(&Op::GROWTH);
    assert!(explorer.violations.is_empty(), "{:?}", explorer.violations);
    let recording = workload::record(config, &Op::GROWTH[..2], SEED, None).expect("a sound disk");
    assert!(recording.reach.split > 0, "{}", recording.reach);
}

#[test]
fn a_segment_with_few_values_left_is_moved_and_then_dissolved() {
    let hashed = |config: &Config| config.kind == Kind::Hash && config.jobs == Jobs::Lazy;
    let config = Config::all().into_iter().find(hashed).expect("jobs run when waited for");
    let stats = |len: usize| {
        let recording = workload::record(config, &Op::GROWTH[..len], SEED, None);
        recording.expect("a sound disk").stats
    };
    let (before, moved, dissolved) = (stats(4), stats(5), stats(8));
    let shown = [&before, &moved, &dissolved]
        .map(|stats| (stats.value_segments, stats.value_segment_bytes, stats.remap_tables));
    assert!(moved.value_segment_bytes < before.value_segment_bytes / 2, "{shown:?}");
    assert!(dissolved.remap_tables < moved.remap_tables, "{shown:?}");
}

#[test]
fn equal_seeds_make_equal_calls() {
    let tally = |seed| {
        let config = Config::all()[1];
        assert_eq!(config.kind, Kind::Hash);
        let mut explorer = Explorer::new(config, seed, Effort::QUICK);
        explorer.explore_whole(&[Op::BigPut, Op::Batch, Op::Jobs, Op::Gc, Op::Checkpoint]);
        assert!(explorer.violations.is_empty(), "{:?}", explorer.violations);
        explorer.tally
    };
    let (one, same, other): (Tally, Tally, Tally) = (tally(SEED), tally(SEED), tally(SEED + 1));
    assert_eq!(one, same);
    assert_ne!(one.trace_hash, other.trace_hash, "salts depend on the seed");
}

#[test]
fn the_runs_reach_copied_promoted_and_moved_values_merges_and_rotation() {
    let lazy = Config::all().into_iter().find(|config| config.jobs == Jobs::Lazy);
    let lazy = lazy.expect("some jobs run only when waited for");
    let recorded = |ops: &[Op]| workload::record(lazy, ops, SEED, None).expect("a sound disk");
    let made = |recording: &workload::Recording, kind: &str| {
        let created = recording.disk.trace().into_iter();
        created.filter(|c| c.kind == vfs::sim::CallKind::Create && c.path.ends_with(kind)).count()
    };
    let prelude = recorded(&[]);
    assert!(made(&prelude, ".tbl") > 3 && made(&prelude, ".val") > 1, "{:?}", prelude.stats);
    assert!(prelude.stats.remap_tables > 0 && prelude.stats.garbage_bytes > 0, "for the next one");
    let promoted = recorded(&[Op::BigPut, Op::Flush]);
    assert!(promoted.stats.value_segments == prelude.stats.value_segments + 1);
    assert!(made(&promoted, ".val") == made(&prelude, ".val"));
    let merged = recorded(&[Op::Flush, Op::Compact]);
    assert!(merged.stats.merges > prelude.stats.merges, "{:?}", merged.stats);
    let collected = recorded(&[Op::Gc]);
    assert!(collected.stats.gc_runs > prelude.stats.gc_runs, "{:?}", collected.stats);
    let rotated = recorded(&[Op::BigPut, Op::BigPut]);
    assert!(made(&rotated, ".wal") > made(&prelude, ".wal"), "{:?}", rotated.stats);
    let sealed = recorded(&[Op::BigPut; 8]);
    assert!(sealed.stats.flushes > 1 && sealed.stats.stalls > 0, "{:?}", sealed.stats);
}

#[test]
fn every_lie_of_the_disk_is_found() {
    for (name, lie) in Lie::ALL {
        let found = find(name, lie).unwrap_or_else(|| panic!("{name} was not found"));
        println!("{name}: {:?} after {} images", found.image(), found.after_images);
    }
}

fn find(name: &'static str, lie: Lie) -> Option<Violation> {
    let mut campaign = Campaign::new(2, Effort::QUICK.flat(), SEED);
    campaign.alphabet = vec![Op::BigPut, Op::Flush, Op::Reopen];
    campaign.configs = durable_configs();
    campaign.lie = Some((name, lie));
    campaign.violations_max = 1;
    campaign.explore(1).violations.into_iter().next()
}

#[test]
fn the_line_of_a_violation_shows_it_again() {
    let (name, lie) = Lie::ALL[0];
    let found = find(name, lie).expect("it lies");
    let cell: Cell = found.cell.to_string().parse().expect("a replay line");
    assert_eq!(cell, found.cell);
    assert!(!replay::replay(&cell).expect("a cell that exists"), "the violation is gone");
    let honest = Cell { lie: None, ..cell };
    assert!(replay::replay(&honest).expect("a cell that exists"), "the disk was to blame");
}

#[test]
fn both_append_modes_are_told_apart_by_their_calls() {
    let calls = |append: Append| {
        let config = durable_configs().into_iter().find(|config| config.append == append);
        let config = config.expect("both modes have durable writes");
        assert_ne!(config.acks, Acks::Never);
        let recording = workload::record(config, &[Op::Put], SEED, None).expect("a sound disk");
        let calls = recording.disk.trace()[recording.first..].to_vec();
        calls.into_iter().map(|call| call.kind).collect::<Vec<_>>()
    };
    use vfs::sim::CallKind as K;
    assert!(calls(Append::Mapped).starts_with(&[K::Store, K::SyncMap]));
    assert!(calls(Append::Positional).starts_with(&[K::Write, K::Sync]));
}
