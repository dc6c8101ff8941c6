//! Leases by several threads (R16). The other histories, list-append and a bank, are explorations:
//! `xtask/src/crash/txns.rs`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use engine::{Durability, ErrorKind, Options, Result};
use vfs::{Clock, Random};

use crate::atomic::kinds;
use crate::world::{TestResult, World, assert_sound, key, tiny};

/// Flushes and merges go on all the time, but files are not tiny.
pub(crate) fn small() -> Options {
    Options::default()
        .durability(Durability::Never)
        .memtable_bytes(128 << 10)
        .segment_bytes(128 << 10)
        .log_bytes(1 << 20)
        .inline_max(16)
        .promote_min(0.1)
        .advised_garbage(0.1)
        .forced_garbage(0.3)
        .total_garbage_max(0.05)
        .level0_files(2)
        .level0_files_max(4)
        .level1_bytes(1 << 20)
}

/// Workers take a lease that expires, and work under it. Nobody works under a lease that is over,
/// and no two leases overlap, by a clock that everybody moves on.
#[test]
fn row_r16_leases_end_before_the_next_begins_and_nobody_works_after() -> TestResult {
    const TTL_MS: u64 = 40;
    let seed = vfs::testing::seed();
    for (round, options) in kinds().into_iter().enumerate() {
        let world = World::new(seed);
        let db = world.open(&tiny().memtable_bytes(16 << 10))?;
        let leases = db.keyspace(&format!("leases {round}"), options)?;
        let clock = &*world.sim.clock;
        // Number of a lease, by a counter; what its holder knows: it began after and before.
        let taken: Mutex<Vec<(u64, u64, u64)>> = Mutex::default();
        let worked = AtomicU64::new(0);
        thread::scope(|scope| {
            for worker in 0..3_u64 {
                let (db, leases, taken, worked, world) = (&db, &leases, &taken, &worked, &world);
                scope.spawn(move || {
                    let mut random = Random::new(seed ^ worker << 8);
                    for _ in 0..1500 {
                        clock.advance(Duration::from_millis(random.below(3)));
                        world.step(random.below(2), random.next_u64());
                        let before = clock.wall_ms();
                        let mut txn = db.transaction();
                        let held = match random.index(2) {
                            0 => txn.get(leases, b"lease").expect("a healthy disk"),
                            _ => {
                                let mut all = txn.iter(leases);
                                let lease = all.find(|item| {
                                    item.as_ref().is_ok_and(|(key, _)| **key == *b"lease")
                                });
                                lease.map(|item| item.expect("a healthy disk").1)
                            }
                        };
                        let count = txn.get(db.default_keyspace(), b"count");
                        let count =
                            count.expect("a healthy disk").map_or(0, |count| number(&count));
                        if random.index(4) == 0 {
                            thread::yield_now();
                        }
                        let Some(held) = held else {
                            let ttl = Duration::from_millis(TTL_MS);
                            let lease = [count + 1, worker].map(u64::to_le_bytes).concat();
                            let next = (count + 1).to_le_bytes();
                            txn.put_ttl(leases, b"lease", lease, ttl).expect("within limits");
                            txn.put(db.default_keyspace(), b"count", next).expect("within limits");
                            if committed(txn.commit()) {
                                let span = (count + 1, before, clock.wall_ms());
                                taken.lock().expect("no panic").push(span);
                            }
                            continue;
                        };
                        let lease = number(&held);
                        assert_eq!(lease, count, "the lease is the newest one");
                        txn.put(db.default_keyspace(), key(lease), b"work").expect("within limits");
                        let now = clock.wall_ms();
                        if committed(txn.commit()) {
                            worked.fetch_add(1, Ordering::Relaxed);
                            let taken = taken.lock().expect("no panic");
                            // Its holder may not have said yet when it began.
                            let began = taken.iter().find(|(number, ..)| *number == lease);
                            if let Some((_, _, latest)) = began {
                                assert!(now < latest + TTL_MS, "work under a lease that is over");
                            }
                        }
                    }
                });
            }
        });
        let mut taken = taken.into_inner().expect("no panic");
        taken.sort_unstable();
        assert!(taken.len() > 5 && worked.into_inner() > 100, "{} leases", taken.len());
        for two in taken.windows(2) {
            let ((one, earliest, _), (next, _, latest)) = (two[0], two[1]);
            assert_eq!(next, one + 1, "leases follow each other");
            assert!(earliest + TTL_MS <= latest, "leases {one} and {next} overlap");
        }
        assert_sound(&db)?;
    }
    Ok(())
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.get(..8).expect("a number").try_into().expect("eight bytes"))
}

/// False if it lost; any other error is none of a healthy disk's.
fn committed(outcome: Result<()>) -> bool {
    match outcome {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
            false
        }
    }
}
