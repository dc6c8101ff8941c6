//! That a full merge ends, loses nothing and brings nothing back, whatever goes on meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use engine::{Db, KeyspaceOptions, Options, WriteOptions};
use vfs::Clock;
use vfs::sim::ImageKind;

use crate::alloc;
use crate::hooked::{Hook, Hooked};
use crate::world::{
    Map, TestResult, World, assert_same, assert_sound, both, contents, key, tiny, value,
};

/// Time passes whenever somebody looks.
#[derive(Debug)]
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn wall_ms(&self) -> u64 {
        self.0.fetch_add(5000, Ordering::Relaxed)
    }

    fn mono(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn sleep(&self, _time: Duration) {}
}

/// We believed that a full merge has nothing left to drop after its last merge. Entries went on
/// expiring, so one `compact` rewrote the whole index for as long as any did.
#[test]
fn compact_drops_what_had_expired_when_it_began_and_ends() -> TestResult {
    for kind in [KeyspaceOptions::btree(), KeyspaceOptions::hash()] {
        let world = World::new(1);
        let mut env = world.sim.env.clone();
        let clock = Arc::new(Ticking(AtomicU64::new(1_000_000_000_000)));
        env.clock = clock.clone();
        let db = Db::open_on(world.disk.root(), env, tiny().default_keyspace(kind))?;
        for index in 0..1000_u64 {
            let ttl = WriteOptions::default().ttl(Duration::from_secs(20_000 - 4 * index));
            db.put_with(key(index), value(index, 0, 40), ttl)?;
        }
        db.flush()?;
        clock.0.fetch_add(15_050_000, Ordering::Relaxed);
        let before = db.stats();
        db.compact()?;
        let after = db.stats();
        let (left, all) = (after.keyspaces[0].index_entries, before.keyspaces[0].index_entries);
        assert!(0 < left && left < all, "of {all} entries {left} are left");
        assert!(after.merges - before.merges < 20, "{} merges", after.merges - before.merges);
        db.close()?;
    }
    Ok(())
}

/// The same with writers: every flush left something to merge.
#[test]
fn compact_ends_while_others_write_and_flush() -> TestResult {
    for kind in [KeyspaceOptions::btree(), KeyspaceOptions::hash()] {
        let world = World::new(2);
        let db = world.open(&tiny().default_keyspace(kind))?;
        for index in 0..200 {
            db.put(key(index), value(index, 0, 40))?;
        }
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut version = 1;
                // At least once, however quick the others are.
                while version == 1 || !done.load(Ordering::Relaxed) {
                    for index in 0..50 {
                        db.put(key(index), value(index, version, 40))?;
                        db.delete(key(100 + index))?;
                    }
                    db.flush()?;
                    version += 1;
                }
                engine::Result::Ok(())
            });
            let compacted = (0..5).try_for_each(|_| db.compact());
            done.store(true, Ordering::Relaxed);
            compacted.and(writer.join().expect("no panic"))
        })?;
        db.compact()?;
        assert_eq!(db.stats().keyspaces[0].index_entries, 150, "nothing is left to drop");
        db.close()?;
    }
    Ok(())
}

/// Puts, overwrites, deletes and values of every length over two files and a tail.
fn history(db: &Db, expected: &mut Map) -> engine::Result<()> {
    for version in 0..3 {
        for index in 0..40_u64 {
            let len = [20, 200, 900][usize::try_from(index % 3).expect("small")];
            if (index + version) % 5 == 4 {
                db.delete(key(index))?;
                expected.remove(&key(index));
            } else if (index + version) % 4 != 3 {
                db.put(key(index), value(index, version, len))?;
                expected.insert(key(index), value(index, version, len));
            }
        }
        if version < 2 {
            db.flush()?;
        }
    }
    Ok(())
}

/// A collection in the middle of a compaction meets tables and segments that no edit names yet.
#[test]
fn row_047_a_collection_at_any_call_of_a_compaction_takes_nothing_from_it() -> TestResult {
    let mut hits = 0;
    for options in both(&tiny().gc_interval(Duration::ZERO).total_garbage_max(0.0)) {
        for number in 0.. {
            let (world, hook) = (World::new(47), Hook::default());
            let fs = Hooked::at_look_ups(world.disk.root(), &hook);
            let db = Db::open_on(fs, world.sim.env.clone(), options.clone())?;
            let mut expected = Map::new();
            history(&db, &mut expected)?;
            let collecting = db.clone();
            hook.arm(number, move || collecting.collect_garbage().expect("a healthy disk"));
            db.compact()?;
            let still_armed = hook.disarm();
            assert_same(&contents(db.default_keyspace())?, &expected, "after the compaction");
            assert_sound(&db)?;
            db.close()?;
            let db = world.open(&options)?;
            assert_same(&contents(db.default_keyspace())?, &expected, "after a reopen");
            assert_eq!(db.stats().recovery.quarantined, Vec::<String>::new());
            if still_armed {
                break;
            }
            hits += 1;
        }
    }
    // A hash index keeps its files to itself; what happens between its merge and a collection's
    // parts is gone through by `cargo xtask crash --orders`.
    assert!(hits > 2, "{hits} calls were interrupted");
    Ok(())
}

/// Nothing of a half-done merge is ever used again: the next one begins anew, with newer entries,
/// under other snapshots, and its files have other names.
#[test]
fn row_048_049_a_compaction_cut_off_anywhere_is_done_anew_under_another_snapshot() -> TestResult {
    for options in both(&tiny().gc_interval(Duration::ZERO)) {
        let world = World::new(48);
        world.disk.record();
        let db = world.open(&options)?;
        let mut expected = Map::new();
        history(&db, &mut expected)?;
        db.flush()?;
        let from = world.disk.boundaries();
        db.compact()?;
        let kinds = ImageKind::kinds();
        for boundary in from..world.disk.boundaries() {
            for kind in [ImageKind::SyncedOnly, kinds[boundary % kinds.len()]] {
                let what = format!("boundary {boundary}, {kind:?}");
                let image = world.image(boundary, kind, boundary as u64);
                let mut later = expected.clone();
                let db = image.open(&options)?;
                assert_same(&contents(db.default_keyspace())?, &later, &what);
                let snapshot = db.snapshot();
                for index in (0..40).step_by(3) {
                    db.put(key(index), value(index, 9, 300))?;
                    later.insert(key(index), value(index, 9, 300));
                    db.delete(key(index + 1))?;
                    later.remove(&key(index + 1));
                }
                db.compact()?;
                for index in 0..41 {
                    let found = snapshot.get(db.default_keyspace(), key(index))?;
                    let before = expected.get(&key(index)).map(Vec::as_slice);
                    assert_eq!(found.as_deref(), before, "{what}: {index} in the snapshot");
                }
                assert_same(&contents(db.default_keyspace())?, &later, &what);
                drop(snapshot);
                image.kill(db);
                for _ in 0..2 {
                    let db = image.open(&options)?;
                    assert_same(&contents(db.default_keyspace())?, &later, &what);
                    assert_sound(&db)?;
                    image.kill(db);
                }
            }
        }
    }
    Ok(())
}

/// Put, maintenance, delete, maintenance, reopen: every sequence of maintenance calls, so that the
/// tombstone meets every subset of the files that hold what it hides.
#[test]
fn row_050_a_deleted_key_stays_deleted_under_every_sequence_of_maintenance() -> TestResult {
    type Call = fn(&World, &Options, Db) -> engine::Result<Db>;
    const CALLS: [Call; 5] = [
        |_, _, db| Ok(db),
        |_, _, db| db.flush().map(|()| db),
        |_, _, db| db.compact().map(|()| db),
        |_, _, db| db.flush().and_then(|()| db.collect_garbage()).map(|()| db),
        |world, options, db| db.close().and_then(|()| world.open(options)),
    ];
    for options in both(&tiny().gc_interval(Duration::ZERO).total_garbage_max(0.0)) {
        for number in 0..CALLS.len().pow(4) {
            let call = |at: u32| CALLS[number / CALLS.len().pow(at) % CALLS.len()];
            let world = World::new(50);
            let mut db = world.open(&options)?;
            db.put(b"gone", value(1, 0, 300))?;
            db.put(b"kept", value(2, 0, 300))?;
            db = call(0)(&world, &options, db)?;
            db.put(b"gone", value(1, 1, 30))?;
            db = call(1)(&world, &options, db)?;
            db.delete(b"gone")?;
            db.put(b"kept", value(2, 1, 300))?;
            for at in [2, 3] {
                db = call(at)(&world, &options, db)?;
                assert_eq!(db.get(b"gone")?, None, "sequence {number}");
                assert_eq!(db.get(b"kept")?.as_deref(), Some(&*value(2, 1, 300)));
            }
            db.close()?;
            let db = world.open(&options)?;
            assert_eq!(db.get(b"gone")?, None, "sequence {number}, reopened");
            assert_eq!(db.iter().count(), 1, "sequence {number}, reopened");
        }
    }
    Ok(())
}

#[test]
fn row_116_a_compaction_needs_memory_for_its_cursors_and_not_for_its_files() -> TestResult {
    const COUNT: u64 = 300_000;
    for options in both(&Options::default().gc_interval(Duration::ZERO)) {
        let scratch = tempfile::tempdir()?;
        let options = options.memtable_bytes(4 << 20).level0_files(8).level0_files_max(64);
        let db = Db::open(scratch.path(), options)?;
        for index in 0..COUNT {
            // In no order, so that every file spans all keys.
            let index = index * 7919 % COUNT;
            db.put(key(index), value(index, 0, 120))?;
        }
        db.flush()?;
        let (compacted, peak) = alloc::peak_of(|| db.compact());
        compacted?;
        let stats = db.stats();
        assert!(stats.merges > 0, "{stats:?}");
        assert!(peak < 12 << 20, "{peak} bytes for {} of keys and values", COUNT * 129);
        assert_eq!(db.stats().keyspaces[0].index_entries, COUNT);
    }
    Ok(())
}
