//! Time to live: on the tick, over reopens, and with clocks that jump.

use std::time::Duration;

use engine::{Db, IndexKind, Options, WriteOptions};
use vfs::Clock;
use vfs::sim::ImageKind;

use crate::world::{
    Map, TestResult, World, assert_same, assert_sound, contents, key, modes, tiny, value,
};

fn ttl(ms: u64) -> WriteOptions {
    WriteOptions::default().ttl(Duration::from_millis(ms))
}

/// What every way to read says about a key; all must agree.
fn is_there(db: &Db, key: &[u8]) -> bool {
    let keyspace = db.default_keyspace();
    let there = db.get(key).expect("a healthy disk").is_some();
    assert_eq!(db.contains(key).expect("a healthy disk"), there);
    if keyspace.kind() == IndexKind::BTree {
        assert_eq!(db.prefix(key).count() == 1, there);
    }
    assert_eq!(db.iter().rev().any(|entry| *entry.expect("a healthy disk").0 == *key), there);
    let snapshot = db.snapshot();
    assert_eq!(snapshot.get(keyspace, key).expect("a healthy disk").is_some(), there);
    assert_eq!(snapshot.contains(keyspace, key).expect("a healthy disk"), there);
    there
}

#[derive(Clone, Copy, Debug)]
enum Between {
    Nothing,
    Flush,
    Compact,
    CleanReopen,
    Kill,
}

const BETWEEN: [Between; 5] =
    [Between::Nothing, Between::Flush, Between::Compact, Between::CleanReopen, Between::Kill];

fn pass(world: &World, options: &Options, db: Db, between: Between) -> Db {
    match between {
        Between::Nothing => {}
        Between::Flush => db.flush().expect("a healthy disk"),
        Between::Compact => db.compact().expect("a healthy disk"),
        Between::CleanReopen => {
            db.close().expect("a healthy disk");
            return world.open(options).expect("a healthy disk");
        }
        Between::Kill => {
            world.kill(db);
            return world.open(options).expect("a healthy disk");
        }
    }
    db
}

#[test]
fn row_089_an_entry_is_there_until_its_last_millisecond_and_never_after() -> TestResult {
    for options in modes(&tiny()) {
        for between in BETWEEN {
            for len in [0, 10, 700] {
                let world = World::new(89);
                let db = world.open(&options)?;
                db.put(b"k", b"an older version that never expires")?;
                db.flush()?;
                db.put_with(b"k", value(1, 1, len), ttl(1000))?;
                let mut batch = db.batch();
                batch.put_ttl(db.default_keyspace(), b"b", b"own", Duration::from_millis(1000));
                batch.put(db.default_keyspace(), b"c", b"of the batch");
                db.write(batch, ttl(1001))?;
                let db = pass(&world, &options, db, between);
                world.sim.clock.advance(Duration::from_millis(999));
                for key in [b"k", b"b", b"c"] {
                    assert!(is_there(&db, key), "{between:?}: gone at t-1");
                }
                let db = pass(&world, &options, db, between);
                assert!(is_there(&db, b"k"), "{between:?}: gone at t-1");
                world.sim.clock.advance(Duration::from_millis(1));
                assert!(!is_there(&db, b"k"), "{between:?}: there at t, or the older one is");
                assert!(!is_there(&db, b"b") && is_there(&db, b"c"));
                let db = pass(&world, &options, db, between);
                assert!(!is_there(&db, b"k"), "{between:?}: back at t");
                world.sim.clock.advance(Duration::from_millis(1));
                assert!(!is_there(&db, b"k") && !is_there(&db, b"c"));
                let db = pass(&world, &options, db, between);
                db.compact()?;
                assert!(!is_there(&db, b"k"), "{between:?}: back after t+1");
                assert_eq!(db.stats().keyspaces[0].index_entries, 0, "{between:?}");
                // A put without a time to live makes it permanent; a delete hides for good.
                db.put_with(b"k", b"1", ttl(5))?;
                db.put(b"k", b"2")?;
                db.put_with(b"d", b"1", ttl(5))?;
                db.delete(b"d")?;
                world.sim.clock.advance(Duration::from_secs(9));
                assert!(is_there(&db, b"k") && !is_there(&db, b"d"));
                assert_sound(&db)?;
            }
        }
    }
    Ok(())
}

#[test]
fn row_090_what_was_seen_expired_stays_so_however_the_clock_jumps() -> TestResult {
    const HOUR: i64 = 3_600_000;
    const YEARS: i64 = 10 * 365 * 24 * HOUR;
    for options in modes(&tiny()) {
        for back in [HOUR, YEARS] {
            for between in BETWEEN {
                let world = World::new(90);
                let db = world.open(&options)?;
                let start = world.sim.clock.wall_ms();
                db.put_with(b"k", value(1, 1, 100), ttl(1000))?;
                db.put(b"stays", b"1")?;
                // Backwards: it lives longer by the wall, and comes to no harm.
                world.sim.clock.jump_wall_ms(-back);
                assert!(is_there(&db, b"k"));
                world.sim.clock.set_wall_ms(start + 1000);
                assert!(!is_there(&db, b"k"));
                world.sim.clock.jump_wall_ms(-back);
                assert!(!is_there(&db, b"k"), "it came back");
                // The next batch keeps the time; a kill before it may forget it.
                if matches!(between, Between::Kill) {
                    db.put(b"another", b"1")?;
                }
                let db = pass(&world, &options, db, between);
                assert!(!is_there(&db, b"k"), "{between:?}: it came back");
                // Order is by sequence, never by clock.
                db.put(b"k", b"newer")?;
                world.sim.clock.set_wall_ms(0);
                db.put(b"k", b"newest")?;
                let db = pass(&world, &options, db, between);
                assert_eq!(db.get(b"k")?.as_deref(), Some(b"newest".as_slice()));
                assert!(is_there(&db, b"stays"));
            }
        }
    }
    Ok(())
}

/// What makes an answer that rests on the clock durable.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Keeper {
    Put,
    Transaction,
    Sync,
    Flush,
    Collection,
    Checkpoint,
    /// Nothing but time: the background writes it down.
    Background,
}

impl Keeper {
    const ALL: [Keeper; 7] = [
        Keeper::Put,
        Keeper::Transaction,
        Keeper::Sync,
        Keeper::Flush,
        Keeper::Collection,
        Keeper::Checkpoint,
        Keeper::Background,
    ];

    fn keep(self, world: &World, db: &Db) -> engine::Result<()> {
        let durable = WriteOptions::default().durable();
        match self {
            Keeper::Put => db.put_with(b"another", b"1", durable),
            Keeper::Transaction => {
                let mut txn = db.transaction();
                txn.put(db.default_keyspace(), b"another", b"1")?;
                txn.commit_with(durable)
            }
            Keeper::Sync => db.sync(),
            Keeper::Flush => db.flush(),
            Keeper::Collection => {
                db.flush()?;
                db.collect_garbage()
            }
            Keeper::Checkpoint => {
                let target = vfs::sim::SimDisk::new(4).root();
                db.checkpoint_on(&target)?;
                // Which holds a time of its own; this one's is kept by the sync.
                db.sync()
            }
            Keeper::Background => {
                world.sim.clock.advance(Duration::from_secs(600));
                world.sim.clock.jump_wall_ms(-600_000);
                world.sim.spawner.run_until_idle();
                Ok(())
            }
        }
    }
}

/// What we believed: the next MANIFEST edit keeps the time early enough. What was true: between
/// the answer "expired" and that edit any number of durable writes may be acknowledged, a crash
/// then forgets the time, and under a clock that was set back the entry is there again.
#[test]
fn row_090_what_was_seen_expired_stays_so_after_every_crash_behind_a_durable_write() -> TestResult {
    for (number, options) in modes(&tiny()).into_iter().enumerate() {
        for keeper in Keeper::ALL {
            for way in 0..3 {
                let world = World::new(93);
                world.disk.record();
                let db = world.open(&options)?;
                let start = world.sim.clock.wall_ms();
                db.put_with(b"k", value(1, 1, 100), ttl(1000))?;
                db.put(b"stays", b"1")?;
                if number.is_multiple_of(2) {
                    db.flush()?;
                }
                db.sync()?;
                world.sim.clock.set_wall_ms(start + 1500);
                // One look is enough, whichever it is.
                let there = match way {
                    0 => db.get(b"k")?.is_some(),
                    1 => db.iter().count() == 2,
                    _ => db.default_keyspace().ttl(b"k")?.is_some(),
                };
                assert!(!there);
                world.sim.clock.set_wall_ms(start);
                keeper.keep(&world, &db)?;
                let acknowledged = world.disk.boundaries() - 1;
                db.put(b"behind", b"1")?;
                for boundary in acknowledged..world.disk.boundaries() {
                    for kind in ImageKind::kinds() {
                        let image = world.image(boundary, *kind, 7);
                        image.sim.clock.set_wall_ms(start);
                        let db = image.open(&options)?;
                        let what = format!("{keeper:?}, look {way}, {kind:?} at {boundary}");
                        assert!(!is_there(&db, b"k"), "{what}: it came back");
                        assert!(is_there(&db, b"stays"), "{what}");
                        // Nor does the next open forget it.
                        image.kill(db);
                        let db = image.open(&options)?;
                        assert!(!is_there(&db, b"k"), "{what}: it came back at the second open");
                    }
                }
                db.close()?;
                let db = world.open(&options)?;
                assert!(!is_there(&db, b"k"), "{keeper:?}: back after a clean close");
            }
        }
    }
    Ok(())
}

/// Reads of what is there, and writes, leave the log as it would be without a clock.
#[test]
fn nothing_is_logged_for_time_that_nobody_was_told() -> TestResult {
    let logged = |look: bool| -> engine::Result<u64> {
        let world = World::new(96);
        let db = world.open(&tiny())?;
        db.put_with(b"k", b"1", ttl(1000))?;
        world.sim.clock.advance(Duration::from_millis(if look { 1000 } else { 999 }));
        assert_eq!(is_there(&db, b"k"), !look);
        db.put(b"a", b"1")?;
        let once = db.stats().log_bytes;
        db.put(b"b", b"1")?;
        let twice = db.stats().log_bytes;
        let thrice = {
            db.put(b"c", b"1")?;
            db.stats().log_bytes
        };
        assert_eq!(thrice - twice, twice - once, "it is written down once");
        Ok(once)
    };
    assert_eq!(logged(true)? - logged(false)?, 40);
    Ok(())
}

#[test]
fn row_090_clocks_at_their_extremes_and_endless_times_to_live_do_no_harm() -> TestResult {
    let options = tiny();
    for wall in [1, 1000, u64::MAX - 1, u64::MAX] {
        println!("the wall clock says {wall}");
        let world = World::new(91);
        world.sim.clock.set_wall_ms(wall);
        let db = world.open(&options)?;
        let mut expected = Map::new();
        for index in 0..30 {
            let options = match index % 3 {
                0 => WriteOptions::default().ttl(Duration::MAX),
                1 => WriteOptions::default().ttl(Duration::ZERO),
                _ => WriteOptions::default(),
            };
            db.put_with(key(index), value(index, 0, 100), options)?;
            let endless = index.is_multiple_of(3) && wall < u64::MAX;
            if endless || index % 3 == 2 {
                expected.insert(key(index), value(index, 0, 100));
            }
        }
        assert_same(&contents(db.default_keyspace())?, &expected, "the default keyspace");
        db.compact()?;
        assert_same(&contents(db.default_keyspace())?, &expected, "the default keyspace");
        db.close()?;
        let db = world.open(&options)?;
        assert_same(&contents(db.default_keyspace())?, &expected, "the default keyspace");
    }
    Ok(())
}

#[test]
fn row_090_a_frozen_clock_expires_nothing() -> TestResult {
    let world = World::new(92);
    let db = world.open(&tiny())?;
    for index in 0..200 {
        db.put_with(key(index), value(index, 0, 50), ttl(1))?;
        world.step(1, index);
    }
    db.compact()?;
    assert_eq!(db.iter().count(), 200);
    world.sim.clock.advance(Duration::from_millis(1));
    assert_eq!(db.iter().count(), 0);
    Ok(())
}
