//! Garbage collection.

use engine::{Db, ReadMode};

use crate::world::{Map, TestResult, World, assert_same, assert_sound, contents, key, tiny, value};

/// Writes `count` keys, `len` bytes each, and takes note of them.
fn fill(
    db: &Db,
    expected: &mut Map,
    keys: std::ops::Range<u64>,
    version: u64,
    len: usize,
) -> engine::Result<()> {
    for index in keys {
        db.put(key(index), value(index, version, len))?;
        expected.insert(key(index), value(index, version, len));
    }
    Ok(())
}

fn garbage_share(db: &Db) -> f64 {
    let stats = db.stats();
    stats.garbage_bytes as f64 / stats.value_segment_bytes.max(1) as f64
}

#[test]
fn what_is_live_is_kept_and_the_rest_goes() -> TestResult {
    for read in [ReadMode::Mapped, ReadMode::Positional] {
        let options = tiny().read_mode(read);
        let world = World::new(93);
        let db = world.open(&options)?;
        let mut expected = Map::new();
        fill(&db, &mut expected, 0..60, 0, 500)?;
        db.flush()?;
        for round in 1..8 {
            for (part, len) in (0_u64..6).zip((400_usize..).step_by(30)) {
                let start = part * 10 + round % 3;
                fill(&db, &mut expected, start..start + 7, round, len)?;
            }
            db.delete(key(round))?;
            expected.remove(&key(round));
            db.compact()?;
            let before = db.stats();
            db.collect_garbage()?;
            let after = db.stats();
            assert!(after.gc_runs > before.gc_runs, "round {round} has garbage");
            assert!(garbage_share(&db) <= 0.25, "round {round}: {}", garbage_share(&db));
            assert_same(&contents(db.default_keyspace())?, &expected, "the default keyspace");
            assert_sound(&db)?;
        }
        let stats = db.stats();
        assert!(stats.remap_tables > 0 && stats.gc_reclaimed_bytes > 0, "{stats:?}");
        db.close()?;
        let db = world.open(&options)?;
        assert_same(&contents(db.default_keyspace())?, &expected, "the reopened keyspace");
        assert_sound(&db)?;
        assert_eq!(db.stats().recovery.quarantined, Vec::<String>::new());
    }
    Ok(())
}
