//! That a full merge ends, whatever goes on meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use engine::{Db, KeyspaceOptions, WriteOptions};
use vfs::Clock;

use crate::world::{TestResult, World, key, tiny, value};

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
