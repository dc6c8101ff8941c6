//! What writers wait for, and what is done early so that they wait less.

use std::time::Duration;

use engine::{AppendMode, Db, Options};
use vfs::Clock;
use vfs::sim::CallKind;

use crate::world::{TestResult, World, assert_sound, both, key, tiny, value};

/// Syncs of files and mappings so far.
fn syncs(world: &World) -> u64 {
    world.disk.calls_of(CallKind::Sync) + world.disk.calls_of(CallKind::SyncMap)
}

/// Puts values that are kept apart until so many more log segments are there.
fn fill_segments(world: &World, db: &Db, from: u64, segments: usize) -> engine::Result<u64> {
    let wanted = world.names(".wal").len() + segments;
    let mut index = from;
    while world.names(".wal").len() < wanted {
        db.put(key(index), value(index, 0, 600))?;
        index += 1;
    }
    Ok(index)
}

#[test]
fn full_segments_are_synced_early_where_the_last_ones_were_promoted() -> TestResult {
    // Keys and pointers are small: only the log gets full.
    let options = tiny().memtable_bytes(1 << 20).log_bytes(1 << 20).table_bytes(1 << 20);
    for options in both(&options) {
        let world = World::new(119);
        let db = world.open(&options)?;
        world.sim.spawner.run_until_idle();
        let before = syncs(&world);
        let mut next = fill_segments(&world, &db, 0, 3)?;
        world.sim.spawner.run_until_idle();
        assert_eq!(syncs(&world), before, "nobody knows yet what will become of them");

        db.flush()?;
        assert_eq!(db.stats().flushes, 1);
        world.sim.spawner.run_until_idle();
        let before = syncs(&world);
        next = fill_segments(&world, &db, next, 3)?;
        world.sim.spawner.run_until_idle();
        assert_eq!(db.stats().flushes, 1, "the generation is not full");
        let early = syncs(&world) - before;
        assert!(early >= 3, "three segments are full, {early} were synced");
        world.sim.spawner.run_until_idle();
        assert_eq!(syncs(&world) - before, early, "once is enough");

        // Of overwritten values only the last is left: no segment is worth keeping.
        for _ in 0..100 {
            db.put(key(next), value(next, 0, 600))?;
        }
        db.flush()?;
        for _ in 0..100 {
            db.put(key(next), value(next, 0, 600))?;
        }
        db.flush()?;
        world.sim.spawner.run_until_idle();
        let before = syncs(&world);
        fill_segments(&world, &db, next, 3)?;
        world.sim.spawner.run_until_idle();
        assert_eq!(syncs(&world), before, "what will be copied is not worth a sync");
        assert_sound(&db)?;
    }
    Ok(())
}

/// A job synced each segment soon after its start, and the large pages it had begun were written
/// again when they were full: 3 % of all that a fill of 1 KiB values wrote. Only the segment behind
/// a generation must be durable early, its flush waits for it.
#[test]
fn a_segment_in_the_midst_of_a_generation_is_not_synced_at_its_start() -> TestResult {
    let options = tiny().memtable_bytes(1 << 20).log_bytes(1 << 20).append_mode(AppendMode::Mapped);
    for options in both(&options) {
        let world = World::new(121);
        let db = world.open(&options)?;
        world.sim.spawner.run_until_idle();
        let before = syncs(&world);
        let mut next = 0;
        for _ in 0..4 {
            next = fill_segments(&world, &db, next, 1)?;
            world.sim.spawner.run_until_idle();
        }
        assert_eq!(syncs(&world), before, "nobody waits for these");
        assert_sound(&db)?;
    }
    Ok(())
}

/// Writers that were faster than merges went on until they had to stop, for 13 seconds with 37 million
/// small values.
#[test]
fn writers_slow_down_while_merges_are_behind_and_before_they_must_stop() -> TestResult {
    let options = tiny().level0_files(4).level0_files_max(12).memtable_bytes(64 << 10);
    let options = options.log_bytes(1 << 20);
    let world = World::new(123);
    let db = world.open(&options)?;
    let flushed = |rounds| -> engine::Result<()> {
        for round in 0..rounds {
            (0..20).try_for_each(|index| db.put(key(index), value(index, round, 60)))?;
            db.flush()?;
        }
        Ok(())
    };
    flushed(8)?;
    world.sim.clock.advance(Duration::from_secs(10));
    world.sim.spawner.run_until_idle();
    assert_eq!(db.stats().keyspaces[0].levels[0].0, 0, "8 files in 10 s");
    flushed(8)?;
    let before = world.sim.clock.mono();
    flushed(1)?;
    assert_eq!((db.stats().slowed, world.sim.clock.mono()), (0, before), "there is room");
    let mut all = Duration::ZERO;
    for index in 0..200 {
        let before = world.sim.clock.mono();
        db.put(key(index), value(index, 20, 60))?;
        let wait = world.sim.clock.mono() - before;
        assert!(wait <= Duration::from_millis(1), "{wait:?} for one");
        all += wait;
    }
    let stats = db.stats();
    assert!(stats.slowed > 100 && stats.stalls == 0, "{stats:?}");
    assert!(all > Duration::from_millis(100), "{all:?}");
    world.sim.spawner.run_until_idle();
    let before = world.sim.clock.mono();
    (0..200).try_for_each(|index| db.put(key(index), value(index, 21, 60)))?;
    assert_eq!(world.sim.clock.mono(), before, "merges have come along");
    assert_sound(&db)?;
    Ok(())
}

/// The most files there were in level 0 during so many flushes of one key each, and the merges. No
/// job runs.
fn level0(options: &Options, flushes: u64) -> engine::Result<(u64, u64)> {
    let world = World::new(120);
    let db = world.open(options)?;
    let mut most = 0;
    for index in 0..flushes {
        // Fills the memtable, so that the next put has to make room.
        for version in 0..8 {
            db.put(key(index), value(index, version, 60))?;
        }
        db.put(key(index), value(index, 9, 600))?;
        most = most.max(db.stats().keyspaces[0].levels.first().map_or(0, |level| level.0));
    }
    Ok((most, db.stats().merges))
}

#[test]
fn writers_do_not_wait_for_merges_while_level_0_is_small() -> TestResult {
    let options = tiny().memtable_bytes(4096).sealed_max(1).level0_files(2).level0_files_max(2);
    let small = options.clone().level1_bytes(1 << 30);
    let (files, merges) = level0(&small, 40)?;
    assert!(merges > 0 && (4..=6).contains(&files), "{files} files, {merges} merges");
    let (files, merges) = level0(&options.level1_bytes(4096), 40)?;
    assert!(merges > 0 && files <= 2, "{files} files, {merges} merges");
    Ok(())
}
