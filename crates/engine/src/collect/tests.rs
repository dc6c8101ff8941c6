use std::collections::BTreeMap;
use std::time::Duration;

use vfs::sim::SimDisk;
use vfs::{Env, Random};

use super::*;
use crate::db::Db;
use crate::options::{KeyspaceOptions, Options, ReadMode};

fn key(index: u64) -> Vec<u8> {
    format!("key{index:03}").into_bytes()
}

fn value(index: u64, version: u64) -> Vec<u8> {
    format!("value {index}.{version} ").into_bytes().repeat(20)
}

/// Sets the count of dead bytes of every file to something else.
fn confuse(db: &Db, random: &mut Random) {
    let state = db.state();
    let mut manifest = state.manifest.lock();
    let count = |record: &SegmentRecord| {
        let bytes = match random.index(4) {
            0 => 0,
            1 => record.len,
            2 => u64::MAX,
            _ => random.below(record.len + 1),
        };
        Change::GarbageSet { segment: record.id, bytes }
    };
    let changes = manifest.catalog().segments.values().map(count).collect();
    state.commit_changes(&mut manifest, changes).expect("a healthy disk");
}

/// Counts of garbage are hints. Zeroed, exaggerated or random ones make collections come too early,
/// too late or never; they delete nothing that is live and keep nothing alive.
/// (What we believed: `Stats` can add counts up. What was true: a count larger than its file, which
/// a forged MANIFEST may hold, overflowed there, a panic.)
#[test]
fn row_059_wrong_counts_of_garbage_delete_nothing() {
    let seed = vfs::testing::seed();
    for kind in [KeyspaceOptions::btree(), KeyspaceOptions::hash()] {
        let (disk, sim, mut random) = (SimDisk::new(59), Env::sim(59), Random::new(seed));
        let options = Options::default()
            .memtable_bytes(4096)
            .segment_bytes(4096)
            .log_bytes(16 << 10)
            .table_bytes(4096)
            .inline_max(64)
            .total_garbage_max(0.1)
            .gc_interval(Duration::from_millis(50))
            .read_mode(ReadMode::Positional)
            .default_keyspace(kind);
        let open = || {
            let opened = Db::open_on(disk.root(), sim.env.clone(), options.clone());
            opened.expect("a healthy disk")
        };
        let mut db = open();
        let mut model = BTreeMap::new();
        for round in 0..40 {
            for _ in 0..20 {
                let index = random.below(60);
                if random.percent(25) {
                    db.delete(key(index)).expect("a healthy disk");
                    model.remove(&index);
                } else {
                    db.put(key(index), value(index, round)).expect("a healthy disk");
                    model.insert(index, round);
                }
            }
            db.flush().expect("a healthy disk");
            confuse(&db, &mut random);
            match random.index(4) {
                0 => db.collect_garbage().expect("a healthy disk"),
                1 => db.compact().expect("a healthy disk"),
                2 => {
                    sim.clock.advance(Duration::from_millis(60));
                    sim.spawner.run_until_idle();
                }
                _ => {
                    db.close().expect("a healthy disk");
                    db = open();
                }
            }
            for index in 0..60 {
                let found = db.get(key(index)).expect("a healthy disk");
                let expected = model.get(&index).map(|version| value(index, *version));
                assert_eq!(found.as_deref(), expected.as_deref(), "round {round}, key {index}");
            }
            let report = db.check().expect("a healthy disk");
            assert!(report.is_sound(), "round {round}: {:?}", report.damage);
        }
        assert!(db.stats().failure.is_none());
        db.compact().expect("a healthy disk");
        confuse(&db, &mut random);
        db.collect_garbage().expect("a healthy disk");
        let stats = db.stats();
        let live: u64 = model.iter().map(|(index, at)| value(*index, *at).len() as u64).sum();
        assert!(stats.value_segment_bytes < 2 * live + 8192, "{live} live bytes in {stats:?}");
    }
}
