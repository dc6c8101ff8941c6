//! That trouble in one place stays there: damaged values, and a garbage collection that is to be slow.

use std::time::Duration;

use engine::{KeyspaceOptions, Options};
use vfs::sim::Damage;

use crate::world::{TestResult, World, key, tiny, value};

/// We believed that a merge which cannot read a value must end. A hash index reads records to know
/// their keys, so one damaged dead value made the database read-only, at every open again.
#[test]
fn a_damaged_value_ends_no_merge_of_either_kind() -> TestResult {
    for kind in [KeyspaceOptions::btree(), KeyspaceOptions::hash()] {
        let world = World::new(1);
        let options = tiny().promote_min(1.0).default_keyspace(kind);
        let db = world.open(&options)?;
        for index in 0..40 {
            db.put(key(index), value(index, 0, 500))?;
        }
        db.flush()?;
        db.compact()?;
        db.close()?;
        let name = world.names(".val").remove(0);
        let name = vfs::Name::parse(&name).expect("a name of ours");
        world.disk.corrupt(name, &Damage::FlipBit { offset: 1500, bit: 2 });
        let db = world.open(&options)?;
        let damaged = (0..40).find(|index| db.get(key(*index)).is_err());
        let damaged = damaged.expect("the flipped bit is somebody's");
        for index in 0..40 {
            db.put(key(index), value(index, 1, 500))?;
        }
        db.flush()?;
        db.compact()?;
        for index in 0..40 {
            assert_eq!(db.get(key(index))?.as_deref(), Some(&value(index, 1, 500)[..]));
        }
        db.delete(key(damaged))?;
        db.flush()?;
        db.compact()?;
        assert!(db.stats().failure.is_none(), "the database goes on");
        db.close()?;
    }
    Ok(())
}

/// We believed that a look-up which fails concerns the file that is collected. The damage was in
/// another file, and one damaged record kept four sound files from being collected.
#[test]
fn damage_elsewhere_keeps_no_sound_file_from_being_collected() -> TestResult {
    let world = World::new(2);
    let options = tiny()
        .default_keyspace(KeyspaceOptions::hash())
        .promote_min(0.3)
        .total_garbage_max(0.0)
        .gc_interval(Duration::ZERO)
        .segment_bytes(64 << 10)
        .memtable_bytes(64 << 10)
        .log_bytes(1 << 20);
    let db = world.open(&options)?;
    for round in 0..5 {
        for index in (0..60).filter(|index| index % 5 >= round || *index == 0) {
            db.put(key(index), value(index, round, 500))?;
        }
        db.flush()?;
    }
    let before = db.stats().value_segment_bytes;
    db.close()?;
    let newest = world.names(".wal").into_iter().rev();
    let logs: Vec<String> = newest.collect();
    let damaged = logs.iter().find(|name| {
        let name = vfs::Name::parse(name).expect("a name of ours");
        let len = world.disk.read_file(name).map_or(0, |bytes| bytes.len());
        len > 4096 && world.disk.read_file(name).is_some_and(|bytes| bytes[140..400] != [0; 260])
    });
    let damaged = vfs::Name::parse(damaged.expect("a promoted file")).expect("a name of ours");
    world.disk.corrupt(damaged, &Damage::FlipBit { offset: 300, bit: 1 });
    let db = world.open(&options)?;
    let error = db.collect_garbage().expect_err("the damage is reported");
    assert_eq!(error.kind(), engine::ErrorKind::Corrupt, "{error}");
    assert!(db.stats().gc_runs > 0, "the sound files are collected");
    assert!(db.stats().value_segment_bytes < before * 3 / 4, "{:?}", db.stats());
    for index in 1..60 {
        assert!(db.get(key(index))?.is_some(), "key {index}");
    }
    Ok(())
}

/// We believed that a pause holds. Every wake-up ended it, and each flush wakes the collector.
#[test]
fn a_slow_collection_stays_slow_whoever_wakes_it() -> TestResult {
    let world = World::new(3);
    let options: Options = tiny()
        .default_keyspace(KeyspaceOptions::hash())
        .gc_bytes_per_second(1)
        .gc_interval(Duration::from_secs(60))
        .total_garbage_max(0.0)
        .advised_garbage(0.05)
        .forced_garbage(0.05)
        .segment_bytes(64 << 10)
        .memtable_bytes(64 << 10)
        .log_bytes(1 << 20);
    let db = world.open(&options)?;
    for round in 0..6 {
        for index in (0..60).filter(|index| (index + round) % 3 > 0) {
            db.put(key(index), value(index, round, 500))?;
        }
        db.flush()?;
    }
    let written = || db.stats().gc_read_bytes;
    world.step(2000, 1);
    let once = written();
    for round in 0..100 {
        db.put(key(round % 60), value(round, 9, 500))?;
        db.flush()?;
        world.step(50, round);
    }
    assert_eq!(written(), once, "no time passed, so nothing more is collected");
    // It goes on when the pause is over.
    for hour in 0..200 {
        world.sim.clock.advance(Duration::from_secs(36_000));
        world.step(500, hour);
    }
    assert!(written() > once, "it went on");
    db.close()?;
    Ok(())
}
