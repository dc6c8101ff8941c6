//! What only hash keyspaces have: no order, collisions, a table in a directory of its own.

use std::time::Duration;

use engine::{Db, ErrorKind, IndexKind, Keyspace, KeyspaceOptions, Result, WriteOptions};
use vfs::Random;
use vfs::sim::{At, CallKind, Damage, Fault, ImageKind, Times, What};

use crate::world::{
    Map, TestResult, World, assert_same, assert_sound, both, contents, key, kind_of, tiny, value,
};

/// Hash functions that make keys collide: all alike, the least and the greatest hash, few hashes.
const HASHERS: [fn(u64, &[u8]) -> u64; 4] =
    [|_, _| 0, |_, _| u64::MAX, |_, _| 7 << 40, |_, key| u64::from(key[key.len() - 1] % 3) << 62];

fn hashed(db: &Db) -> Keyspace {
    db.keyspace("hashed", KeyspaceOptions::hash()).expect("a healthy disk")
}

#[test]
fn a_hash_keyspace_keeps_its_entries_over_flushes_compactions_and_reopens() -> TestResult {
    let world = World::new(1);
    let db = world.open(&tiny())?;
    let space = hashed(&db);
    let mut expected = Map::new();
    for round in 0..8 {
        for index in 0..60 {
            let len = [0, 20, 100, 700][usize::try_from((index + round) % 4)?];
            space.put(key(index), value(index, round, len))?;
            expected.insert(key(index), value(index, round, len));
        }
        for index in (round..60).step_by(9) {
            space.delete(key(index))?;
            expected.remove(&key(index));
        }
        assert_same(&contents(&space)?, &expected, "written");
        db.flush()?;
        assert_same(&contents(&space)?, &expected, "flushed");
        assert_sound(&db)?;
    }
    db.compact()?;
    assert_same(&contents(&space)?, &expected, "compacted");
    assert_sound(&db)?;
    drop(space);
    db.close()?;
    for _ in 0..2 {
        let db = world.open(&tiny())?;
        assert_same(&contents(&hashed(&db))?, &expected, "reopened");
        assert_sound(&db)?;
        assert_eq!(db.stats().recovery.quarantined, Vec::<String>::new());
        db.close()?;
    }
    Ok(())
}

#[test]
fn row_097_colliding_keys_are_told_apart_and_deleting_all_leaves_nothing() -> TestResult {
    for (number, hasher) in HASHERS.into_iter().enumerate() {
        let options = tiny().key_hasher(hasher);
        let world = World::new(97);
        let mut random = Random::new(number as u64);
        let mut db = world.open(&options)?;
        let mut space = hashed(&db);
        let mut expected = Map::new();
        for step in 0..500_u64 {
            let index = random.below(40);
            match random.below(10) {
                0..6 => {
                    let value = value(index, step, [10, 100, 600][random.index(3)]);
                    space.put(key(index), &value)?;
                    expected.insert(key(index), value);
                }
                6..9 => {
                    space.delete(key(index))?;
                    expected.remove(&key(index));
                }
                _ => db.flush()?,
            }
            let found = space.get(key(index))?;
            assert_eq!(found.as_deref(), expected.get(&key(index)).map(Vec::as_slice));
            world.step(random.below(3), step);
            if step % 125 == 124 {
                drop(space);
                db.close()?;
                db = world.open(&options)?;
                space = hashed(&db);
                assert_same(&contents(&space)?, &expected, "reopened");
                assert_sound(&db)?;
            }
        }
        for index in 0..40 {
            space.delete(key(index))?;
        }
        assert_eq!(space.iter().count(), 0);
        db.flush()?;
        assert_eq!(space.iter().count(), 0);
        assert!((0..40).all(|index| space.get(key(index)).expect("a healthy disk").is_none()));
        db.compact()?;
        assert_eq!(db.stats().keyspaces[1].index_entries, 0, "no tombstone is left");
        assert_sound(&db)?;
        drop(space);
        db.close()?;
        let db = world.open(&options)?;
        assert_eq!(hashed(&db).iter().count(), 0, "nothing comes back");
    }
    Ok(())
}

#[test]
fn range_and_prefix_say_that_there_is_no_order_and_iter_goes_on() -> TestResult {
    let world = World::new(2);
    let db = world.open(&tiny())?;
    let space = hashed(&db);
    for index in 0..20 {
        space.put(key(index), value(index, 0, 30))?;
        if index == 10 {
            db.flush()?;
        }
    }
    let snapshot = db.snapshot();
    for mut range in [
        space.range(key(1)..key(5)),
        space.range::<&[u8]>(..),
        space.prefix(b"key"),
        snapshot.range(&space, key(1)..),
        snapshot.prefix(&space, b"k"),
    ] {
        let error = range.next().expect("the error is an item").expect_err("there is no order");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("no order"), "{error}");
        assert!(range.next().is_none() && range.next_back().is_none());
    }
    // From both ends, each entry once.
    let mut both = space.iter();
    let mut seen = Map::new();
    for number in 0.. {
        let next = if number % 2 == 0 { both.next() } else { both.next_back() };
        let Some(entry) = next else { break };
        let (key, value) = entry?;
        assert!(seen.insert(key.to_vec(), value.into_vec()).is_none(), "an entry came twice");
    }
    assert_same(&seen, &contents(&space)?, "both ends");
    assert_eq!(seen.len(), 20);
    Ok(())
}

#[test]
fn row_107_a_keyspace_keeps_its_kind_and_its_hash_function() -> TestResult {
    let world = World::new(107);
    let db = world.open(&tiny())?;
    let space = hashed(&db);
    space.put(b"k", b"v")?;
    let other = db.keyspace("hashed", KeyspaceOptions::btree());
    assert_eq!(kind_of(other), ErrorKind::Invalid);
    let other = db.keyspace("default", KeyspaceOptions::hash());
    assert_eq!(kind_of(other), ErrorKind::Invalid);
    assert_eq!(
        db.keyspaces()?,
        [("default".to_owned(), IndexKind::BTree), ("hashed".to_owned(), IndexKind::Hash)]
    );
    drop(space);
    db.close()?;
    let before = world.files();
    for (options, says) in [
        (tiny().key_hasher(|_, _| 0), "key_hasher"),
        (tiny().default_keyspace(KeyspaceOptions::hash()), "default_keyspace"),
    ] {
        let error = world.open(&options).expect_err("another stored option");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(says), "{error}");
        assert!(world.files() == before, "a refused open changed the disk");
    }
    let db = world.open(&tiny())?;
    assert_eq!(hashed(&db).get(b"k")?.as_deref(), Some(b"v".as_slice()));
    Ok(())
}

#[test]
fn row_098_a_kill_at_any_point_before_the_first_close_leaves_a_database_that_opens() -> TestResult {
    for options in [tiny(), tiny().default_keyspace(KeyspaceOptions::hash())] {
        let world = World::new(98);
        world.disk.record();
        let db = world.open(&options)?;
        let space = hashed(&db);
        space.put_with(b"k", b"v", WriteOptions::default().durable())?;
        let synced = world.disk.boundaries();
        db.flush()?;
        space.put(b"l", b"w")?;
        db.compact()?;
        for boundary in 0..world.disk.boundaries() {
            for kind in ImageKind::kinds() {
                let image = world.image(boundary, *kind, boundary as u64);
                let what = format!("boundary {boundary}, {kind:?}");
                let db = image.open(&options).unwrap_or_else(|error| panic!("{what}: {error:?}"));
                let space = hashed(&db);
                if boundary >= synced {
                    assert_eq!(space.get(b"k")?.as_deref(), Some(b"v".as_slice()), "{what}");
                }
                // Whatever a creation left behind, it is not used for another keyspace.
                let other = db.keyspace("other", KeyspaceOptions::hash())?;
                assert_eq!(other.iter().count(), 0, "{what}");
                db.put(b"m", b"x")?;
                space.put(b"m", b"x")?; // the table's next generation knows every id
                db.flush()?;
                assert_sound(&db)?;
                drop((space, other));
                db.close()?;
                image.open(&options)?.close()?;
                drop(image.open(&options)?);
                let left = image.names(".bad");
                assert!(left.is_empty(), "{what}: {left:?} are still there");
            }
        }
    }
    Ok(())
}

#[test]
fn a_dropped_keyspace_takes_its_directory_with_it_when_nobody_reads_it_any_more() -> TestResult {
    let world = World::new(3);
    let db = world.open(&tiny())?;
    let space = hashed(&db);
    for index in 0..50 {
        space.put(key(index), value(index, 0, 100))?;
    }
    db.flush()?;
    let of_table = |world: &World| {
        world.files().into_keys().filter(|name| name.contains(".hash/")).collect::<Vec<_>>()
    };
    assert!(!of_table(&world).is_empty());
    let snapshot = db.snapshot();
    let iter = space.iter();
    db.drop_keyspace("hashed")?;
    assert_eq!(kind_of(space.get(key(1))), ErrorKind::NotFound);
    assert_eq!(snapshot.get(&space, key(1))?.as_deref(), Some(value(1, 0, 100).as_slice()));
    assert!(!of_table(&world).is_empty(), "a snapshot reads it");
    drop(snapshot);
    assert_eq!(iter.count(), 50);
    db.put(b"k", b"v")?;
    db.flush()?;
    assert_eq!(of_table(&world), Vec::<String>::new());
    // The next one of the same name has another number and nothing in it.
    let space = hashed(&db);
    assert_eq!(space.iter().count(), 0);
    space.put(b"k", b"v")?;
    db.flush()?;
    let snapshot = db.snapshot();
    db.drop_keyspace("hashed")?;
    // Nobody let go of it: the next open sets it aside, and the one after a clean close removes it.
    world.kill(db);
    drop((space, snapshot));
    let db = world.open(&tiny())?;
    let quarantined = db.stats().recovery.quarantined;
    assert!(quarantined.iter().any(|name| name.contains(".hash/")), "{quarantined:?}");
    assert!(of_table(&world).iter().all(|name| name.ends_with(".bad")));
    let mut reported = db.check()?.quarantined;
    reported.sort_unstable();
    assert_eq!(reported, world.names(".bad"));
    db.close()?;
    drop(world.open(&tiny())?);
    assert_eq!(of_table(&world), Vec::<String>::new());
    Ok(())
}

/// Some tables are committed, then the flush is refused for want of space: they come back.
#[test]
fn a_flush_that_is_refused_after_some_tables_were_committed_takes_them_back() -> TestResult {
    let names = ["one", "two", "three"];
    let spaces = |db: &Db| -> Result<Vec<Keyspace>> {
        names.iter().map(|name| db.keyspace(name, KeyspaceOptions::hash())).collect()
    };
    let mut refused = 0;
    for nth in 0..12 {
        let world = World::new(4);
        // Copied, so that a pointer into what was abandoned leads nowhere.
        let options = tiny().promote_min(1.0).reserve_bytes(0);
        let db = world.open(&options)?;
        let opened = spaces(&db)?;
        for round in 0..3 {
            for space in &opened {
                for index in 0..4 {
                    space.put(key(index), value(index, round, 100))?;
                }
            }
            if round < 2 {
                db.flush()?;
            }
        }
        let creations = world.disk.calls_of(CallKind::Create);
        let at = At::Kind(CallKind::Create, creations + nth);
        world.disk.fault(Fault { at, what: What::NoSpace, times: Times::Once });
        if let Err(error) = db.flush() {
            assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
            refused += 1;
        }
        world.disk.clear_faults();
        db.flush()?;
        for space in &opened {
            space.delete(key(1))?;
        }
        db.compact()?;
        assert_sound(&db)?;
        drop(opened);
        db.close()?;
        let db = world.open(&options)?;
        for space in spaces(&db)? {
            let found = contents(&space)?;
            assert_eq!(found.len(), 3, "creation {nth}");
            assert_eq!(found[&key(2)], value(2, 2, 100));
        }
        assert_sound(&db)?;
    }
    assert!(refused >= 7, "{refused} flushes were refused");
    Ok(())
}

#[test]
fn entries_that_expired_leave_a_hash_index_by_compaction_without_being_touched() -> TestResult {
    let world = World::new(5);
    let db = world.open(&tiny())?;
    let space = hashed(&db);
    for index in 0..200 {
        let ttl = Duration::from_millis(if index % 2 == 0 { 3001 } else { 7_200_000 });
        space.put_with(key(index), value(index, 0, 50), WriteOptions::default().ttl(ttl))?;
    }
    db.compact()?;
    let entries = || db.stats().keyspaces[1].index_entries;
    assert_eq!(entries(), 200);
    world.sim.clock.advance(Duration::from_millis(3000));
    db.compact()?;
    assert_eq!(entries(), 200, "a millisecond early");
    world.sim.clock.advance(Duration::from_millis(1));
    assert_eq!(space.iter().count(), 100);
    db.compact()?;
    assert_eq!(entries(), 100);
    assert_eq!(space.iter().count(), 100);
    assert!(db.stats().garbage_bytes > 0, "what was dropped is charged");
    assert_sound(&db)?;
    Ok(())
}

#[test]
fn a_flush_waits_for_a_merge_when_the_index_takes_no_more_runs() -> TestResult {
    let world = World::new(6);
    let db = world.open(&tiny())?;
    let space = hashed(&db);
    for round in 0..40_u64 {
        for index in 0..10 {
            space.put(key(index + round * 10), value(index, round, 20))?;
        }
        db.flush()?;
        let runs = db.stats().keyspaces[1].levels[0].0;
        assert!(runs <= 8, "{runs} runs after {round} flushes");
    }
    assert!(db.stats().merges > 0);
    assert_eq!(contents(&space)?.len(), 400);
    Ok(())
}

/// Whatever was written and flushed when the process died is there, deletes included.
#[test]
fn row_099_a_killed_process_loses_and_resurrects_nothing_of_a_hash_keyspace() -> TestResult {
    let world = World::new(99);
    let mut random = Random::new(vfs::testing::seed());
    let mut expected = Map::new();
    for round in 0..40 {
        let db = world.open(&tiny())?;
        let space = hashed(&db);
        assert_same(&contents(&space)?, &expected, "what the last process left");
        for _ in 0..random.below(120) {
            let index = random.below(90);
            if random.percent(30) {
                space.delete(key(index))?;
                expected.remove(&key(index));
            } else {
                let value = value(index, round, [0, 30, 900][random.index(3)]);
                space.put(key(index), &value)?;
                expected.insert(key(index), value);
            }
            world.step(random.below(2), random.next_u64());
        }
        match random.below(4) {
            0 => db.flush()?,
            1 => db.compact()?,
            _ => {}
        }
        drop(space);
        world.kill(db);
    }
    assert_same(&contents(&hashed(&world.open(&tiny())?))?, &expected, "after all");
    Ok(())
}

#[test]
fn row_114_what_expired_leaves_a_hash_index_in_the_background_though_nothing_is_written()
-> TestResult {
    for reopen in [false, true] {
        for compacted in [false, true] {
            let world = World::new(114);
            let options = tiny().gc_interval(Duration::from_secs(10));
            let mut db = world.open(&options)?;
            for index in 0..300 {
                let ttl = Duration::from_secs(if index % 3 == 0 { 100 } else { 100_000 });
                let options = WriteOptions::default().ttl(ttl);
                hashed(&db).put_with(key(index), value(index, 0, 50), options)?;
            }
            db.flush()?;
            if compacted {
                db.compact()?; // else some of it is in runs
            }
            if reopen {
                db.close()?;
                db = world.open(&options)?;
            }
            world.sim.spawner.run_until_idle();
            let entries = |db: &Db| db.stats().keyspaces[1].index_entries;
            assert_eq!(entries(&db), 300);
            let merges = db.stats().merges;
            for _ in 0..9 {
                world.sim.clock.advance(Duration::from_secs(10));
                world.sim.spawner.run_until_idle();
            }
            assert_eq!((entries(&db), db.stats().merges), (300, merges), "nobody looks too early");
            for _ in 0..4 {
                world.sim.clock.advance(Duration::from_secs(10));
                world.sim.spawner.run_until_idle();
            }
            assert_eq!(entries(&db), 200, "reopen {reopen}, compacted {compacted}");
            assert_eq!(contents(&hashed(&db))?.len(), 200);
            let merges = db.stats().merges;
            for _ in 0..20 {
                world.sim.clock.advance(Duration::from_secs(10));
                world.sim.spawner.run_until_idle();
            }
            assert_eq!(db.stats().merges, merges, "nothing is left to do");
            assert_sound(&db)?;
        }
    }
    Ok(())
}

/// We believed that two slots of which one cannot be read may be taken for those of two keys. The
/// newer one, a tombstone, was dropped then, and the deleted value was back.
#[test]
fn a_damaged_record_brings_back_nothing_that_another_one_hides() -> TestResult {
    // What is damaged: the delete, or the value that it hides.
    for damaged in ["older", "newer"] {
        let world = World::new(7);
        let options = tiny().promote_min(1.0);
        let db = world.open(&options)?;
        let space = hashed(&db);
        let of = |names: Vec<String>, before: &[String]| {
            names.into_iter().find(|name| !before.contains(name)).expect("a copied value")
        };
        space.put(b"key", value(1, 1, 500))?;
        db.compact()?;
        let older = world.names(".val");
        space.delete(b"key")?;
        space.put(b"other", b"keeps the file")?;
        db.flush()?;
        let newer = of(world.names(".val"), &older);
        let older = of(older, &[]);
        drop(space);
        db.close()?;
        let file = if damaged == "older" { older } else { newer };
        let bytes = world.disk.read_file(&file).expect("it was listed");
        let at = bytes.windows(3).position(|found| found == b"key").expect("its record");
        let damage = Damage::FlipBit { offset: at as u64, bit: 0 };
        world.disk.corrupt(&file, &damage);
        let db = world.open(&options)?;
        db.compact()?;
        db.compact()?;
        assert_eq!(db.stats().failure, None, "the database goes on");
        assert!(!db.check()?.is_sound(), "the damage is reported");
        match hashed(&db).get(b"key") {
            Ok(found) => assert_eq!(found, None, "{damaged}: a deleted value is back"),
            Err(error) => assert_eq!((damaged, error.kind()), ("newer", ErrorKind::Corrupt)),
        }
        db.close()?;
        // Also when somebody repairs it.
        world.disk.corrupt(&file, &damage);
        let db = world.open(&options)?;
        assert_eq!(hashed(&db).get(b"key")?, None, "{damaged}: a deleted value is back");
        assert!(hashed(&db).get(b"other")?.is_some());
        db.compact()?;
        assert_eq!(hashed(&db).get(b"key")?, None);
        assert_eq!(db.stats().keyspaces[1].index_entries, 1);
        assert_sound(&db)?;
    }
    Ok(())
}

/// Only closed and opened, with growth in between: the metadata of each close is what the next open
/// reads, not that of an earlier one.
#[test]
fn row_061_five_clean_closes_with_growth_in_between_keep_every_key() -> TestResult {
    for options in both(&tiny()) {
        let world = World::new(61);
        let mut expected = Map::new();
        for round in 0..5_u64 {
            let db = world.open(&options)?;
            assert_same(&contents(db.default_keyspace())?, &expected, "what was closed");
            for index in round * 400..round * 400 + 400 * (round + 1) {
                db.put(key(index), value(index, round, 40))?;
                expected.insert(key(index), value(index, round, 40));
            }
            if round % 2 == 1 {
                db.compact()?;
            }
            db.close()?;
        }
        let db = world.open(&options)?;
        assert_eq!(expected.len(), 3600);
        assert_same(&contents(db.default_keyspace())?, &expected, "after five closes");
        assert_sound(&db)?;
    }
    Ok(())
}
