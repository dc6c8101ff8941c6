//! The crash explorer, and proofs that it is awake: it finds every lie of a lying disk.
//!
//! Catalogue rows 1, 3, 6, 9, 13, 15, 22, 25, 28-33, 36, 41, 58 and 111 are crashes that it goes
//! through. Length 2 with everything is `cargo xtask crash --exhaustive 2`, which CI runs.

use xtask::crash::explore::{Explorer, Tally, Violation};
use xtask::crash::images::Effort;
use xtask::crash::liar::Lie;
use xtask::crash::plan::{Acks, Append, Cell, Config, Jobs, Op};
use xtask::crash::{Campaign, Report, replay, workload};

const SEED: u64 = 1;
const THREADS: usize = 2;

fn run(campaign: &Campaign) -> Report {
    campaign.run(THREADS, &|_| ())
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
    let effort = Effort { nested_every: 4, ..Effort::FULL };
    let report = run(&Campaign::new(1, effort, SEED));
    require_none(&report);
    assert_eq!(report.tally.runs, 8 * (1 + 15));
    assert!(report.tally.recoveries > 5_000, "{:?}", report.tally);
    assert!(report.tally.nested > 50_000, "{:?}", report.tally);
}

#[test]
fn every_crash_around_the_second_of_two_calls_leaves_a_state_that_was() {
    let campaign = Campaign::new(2, Effort { nested_every: 0, ..Effort::FULL }, SEED);
    let report = run(&campaign);
    require_none(&report);
    assert_eq!(report.tally.runs, 8 * (1 + 15 + 15 * 15));
}

#[test]
fn crashes_anywhere_in_long_random_runs_leave_a_state_that_was() {
    let mut campaign = Campaign::new(0, Effort { nested_every: 0, ..Effort::QUICK }, SEED);
    (campaign.random, campaign.random_len) = (40, 12);
    require_none(&run(&campaign));
}

#[test]
fn equal_seeds_make_equal_calls() {
    let tally = |seed| {
        let config = Config::all()[0];
        let mut explorer = Explorer::new(config, seed, Effort::QUICK);
        explorer.explore_whole(&[Op::BigPut, Op::Batch, Op::Jobs, Op::Reopen, Op::Compact]);
        assert!(explorer.violations.is_empty(), "{:?}", explorer.violations);
        explorer.tally
    };
    let (one, same, other): (Tally, Tally, Tally) = (tally(SEED), tally(SEED), tally(SEED + 1));
    assert_eq!(one, same);
    assert_ne!(one.trace_hash, other.trace_hash, "salts depend on the seed");
}

#[test]
fn the_runs_reach_tables_copied_and_promoted_values_merges_and_rotation() {
    let lazy = Config::all().into_iter().find(|config| config.jobs == Jobs::Lazy);
    let lazy = lazy.expect("some jobs run only when waited for");
    let recorded = |ops: &[Op]| workload::record(lazy, ops, SEED, None).expect("a sound disk");
    let made = |recording: &workload::Recording, kind: &str| {
        let created = recording.disk.trace().into_iter();
        created.filter(|c| c.kind == vfs::sim::CallKind::Create && c.path.ends_with(kind)).count()
    };
    let prelude = recorded(&[]);
    assert!(made(&prelude, ".tbl") == 2 && made(&prelude, ".val") == 1, "{:?}", prelude.stats);
    let promoted = recorded(&[Op::BigPut, Op::Flush]);
    assert!(promoted.stats.value_segments == 2 && made(&promoted, ".val") == 1);
    let merged = recorded(&[Op::Flush, Op::Compact]);
    assert!(merged.stats.merges > 0 && made(&merged, ".tbl") > 3, "{:?}", merged.stats);
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
    let mut campaign = Campaign::new(2, Effort { nested_every: 0, ..Effort::QUICK }, SEED);
    campaign.alphabet = vec![Op::BigPut, Op::Flush, Op::Reopen];
    campaign.configs = durable_configs();
    campaign.lie = Some((name, lie));
    campaign.violations_max = 1;
    campaign.run(1, &|_| ()).violations.into_iter().next()
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
