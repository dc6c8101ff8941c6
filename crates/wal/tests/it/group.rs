//! Many threads on one log, and how many syncs they cost. Catalogue rows 2, 108.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use vfs::sim::{CallKind, ImageKind, SimDisk};
use vfs::{Env, Error};
use wal::{AppendMode, Durability, Log, Position, Start};

use crate::bed::{open, options};

const MODES: [AppendMode; 2] = [AppendMode::Mapped, AppendMode::Positional];

fn syncs(disk: &SimDisk) -> u64 {
    disk.calls_of(CallKind::Sync) + disk.calls_of(CallKind::SyncMap)
}

#[test]
fn row_108_every_durable_commit_of_one_thread_is_one_sync() {
    for mode in MODES {
        let disk = SimDisk::new(1);
        let log = open(&disk, 1, &options(Durability::Always, mode)).unwrap().log;
        let before = syncs(&disk);
        for _ in 0..20 {
            log.append(&[1; 100]).unwrap();
        }
        assert_eq!(syncs(&disk) - before, 20);
        log.sync().unwrap();
        assert_eq!(syncs(&disk) - before, 20, "there is nothing left to sync");

        let disk = SimDisk::new(1);
        let log = open(&disk, 1, &options(Durability::EveryBytes(1000), mode)).unwrap().log;
        let before = syncs(&disk);
        for _ in 0..24 {
            log.append(&[1; 101]).unwrap(); // 128 bytes with its header and padding
        }
        assert_eq!(syncs(&disk) - before, 3);

        let disk = SimDisk::new(1);
        let log = open(&disk, 1, &options(Durability::Never, mode)).unwrap().log;
        let before = syncs(&disk);
        for _ in 0..100 {
            log.append(&[1; 100]).unwrap(); // with several rotations
        }
        assert_eq!(syncs(&disk), before, "nobody asked for a sync");
    }
}

#[test]
fn what_rotations_left_is_synced_early_and_once() {
    for mode in MODES {
        let disk = SimDisk::new(1);
        let log = open(&disk, 1, &options(Durability::Never, mode)).unwrap().log;
        for _ in 0..100 {
            log.append(&[1; 100]).unwrap();
        }
        let (sealed, before) = (log.segments().len() as u64 - 1, syncs(&disk));
        assert!(sealed >= 2);
        log.write_back().unwrap();
        // And the start of the active one.
        assert_eq!(syncs(&disk) - before, sealed + 1);
        assert_eq!((log.synced().segment, log.synced() < log.end()), (log.active(), true));
        log.write_back().unwrap();
        assert_eq!(syncs(&disk) - before, sealed + 1, "each once");
        let image = disk.crash(ImageKind::SyncedOnly, 1);
        let entries = open(&image, 2, &options(Durability::Never, mode)).unwrap().entries;
        let is_in_active = |position: &Position| position.segment == log.active();
        let active =
            log.iter().filter(|item| item.as_ref().is_ok_and(|item| is_in_active(&item.0)));
        assert!(100 - active.count() <= entries.len());
        log.sync().unwrap();
        let image = disk.crash(ImageKind::SyncedOnly, 1);
        let entries = open(&image, 2, &options(Durability::Never, mode)).unwrap().entries;
        assert_eq!(entries.len(), 100);
        log.write_back().unwrap();
    }
}

#[test]
fn intervals_sync_when_they_have_passed_and_something_was_appended() {
    let disk = SimDisk::new(1);
    let sim = Env::sim(1);
    let options = options(Durability::Interval(Duration::from_millis(10)), AppendMode::Mapped);
    let (log, _) =
        Log::open(disk.root(), &sim.env, options, Start::default(), &mut |_| Ok(())).unwrap();
    let log = Arc::new(log);
    sim.clock.advance(Duration::from_secs(1));
    let before = syncs(&disk);
    log.tick().unwrap();
    assert_eq!(syncs(&disk), before, "nothing was appended");
    log.append(b"one").unwrap();
    log.tick().unwrap();
    assert_eq!(syncs(&disk), before + 1);
    log.append(b"two").unwrap();
    log.tick().unwrap();
    assert_eq!(syncs(&disk), before + 1, "the interval has not passed");
    sim.clock.advance(Duration::from_millis(10));
    log.tick().unwrap();
    assert_eq!(log.synced(), log.end());

    let job = log.spawn_interval(&sim.env).unwrap();
    sim.spawner.run_until_idle();
    log.append(b"three").unwrap();
    sim.spawner.run_until_idle();
    assert!(log.synced() < log.end());
    sim.clock.advance(Duration::from_millis(10));
    sim.spawner.run_until_idle();
    assert_eq!(log.synced(), log.end());
    drop(log);
    sim.clock.advance(Duration::from_millis(10));
    sim.spawner.run_until_idle();
    assert_eq!(sim.spawner.runnable(), 0);
    job.stop();

    let disk = SimDisk::new(1);
    let log = open(&disk, 1, &crate::bed::options(Durability::Never, AppendMode::Mapped)).unwrap();
    let error = Arc::new(log.log).spawn_interval(&sim.env).unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }));
}

#[test]
fn row_002_many_threads_commit_sync_and_rotate_and_nothing_acknowledged_is_missing() {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 60;
    for mode in MODES {
        let options = options(Durability::Never, mode);
        let disk = SimDisk::new(1);
        let log = open(&disk, 1, &options).unwrap().log;
        let durable = AtomicU64::new(0);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let (log, durable) = (&log, &durable);
                    scope.spawn(move || {
                        for round in 0..ROUNDS {
                            let mut bytes = thread.to_le_bytes().to_vec();
                            bytes.extend(round.to_le_bytes());
                            let position = log.append(&bytes).unwrap();
                            assert_eq!(log.read(position).unwrap(), bytes);
                            if round % 5 == thread {
                                log.sync().unwrap();
                                durable.fetch_add(5, Ordering::SeqCst);
                                assert!(position < log.synced());
                            }
                        }
                    })
                })
                .collect();
            let (log, done) = (&log, &done);
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    let sealed = log.rotate().unwrap();
                    log.sync_sealed(sealed.id).unwrap();
                    assert!(sealed.id < log.synced().segment);
                    thread::yield_now();
                }
            });
            workers.into_iter().for_each(|worker| worker.join().unwrap());
            done.store(true, Ordering::SeqCst);
        });
        let synced = log.synced();
        let expected: Vec<_> = log
            .iter()
            .map(|record| record.unwrap())
            .filter(|(position, _, _)| *position < synced)
            .map(|(_, seq, bytes)| (seq, bytes.to_vec()))
            .collect();
        assert_eq!(log.iter().count() as u64, THREADS * ROUNDS);
        drop(log);
        let opened = open(&disk.crash(ImageKind::SyncedOnly, 1), 2, &options).unwrap();
        assert_eq!(opened.entries, expected);
        let whole = open(&disk, 3, &options).unwrap().entries;
        assert_eq!(whole.len() as u64, THREADS * ROUNDS);
        // Each thread's records are in its own order.
        for thread in 0..THREADS {
            let rounds = whole.iter().filter(|(_, bytes)| bytes[..8] == thread.to_le_bytes());
            assert!(rounds.map(|(_, bytes)| &bytes[8..]).eq((0..ROUNDS).map(u64::to_le_bytes)));
        }
    }
}

#[test]
fn threads_that_commit_together_share_syncs_and_each_is_durable_when_told_so() {
    const THREADS: u64 = 8;
    const ROUNDS: u64 = 40;
    for mode in MODES {
        let options = options(Durability::Always, mode);
        let disk = SimDisk::new(1);
        let log = open(&disk, 1, &options).unwrap().log;
        let before = syncs(&disk);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..ROUNDS {
                        let position = log.append(&[3; 60]).unwrap();
                        assert!(position < log.synced());
                    }
                });
            }
        });
        // One per commit, one per segment on the way.
        let segments = log.segments().len() as u64;
        assert!(syncs(&disk) - before <= THREADS * ROUNDS + 2 * segments);
        drop(log);
        let opened = open(&disk.crash(ImageKind::SyncedOnly, 1), 2, &options).unwrap();
        assert_eq!(opened.entries.len() as u64, THREADS * ROUNDS);
    }
}

#[test]
fn a_fill_that_panics_stages_nothing_and_the_log_goes_on() {
    for mode in MODES {
        let options = options(Durability::Never, mode);
        let disk = SimDisk::new(1);
        let log = open(&disk, 1, &options).unwrap().log;
        let before = log.stage(1, 6, &mut |_, out| out.copy_from_slice(b"before")).unwrap();
        let staged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            log.stage(9, 100, &mut |_, out| {
                out.fill(7);
                panic!("planned")
            })
        }));
        assert!(staged.is_err());
        log.commit(&before, false).unwrap();
        log.append(b"after").unwrap();
        drop(log);
        let entries = open(&disk, 2, &options).unwrap().entries;
        assert_eq!(entries, [(1, b"before".to_vec()), (2, b"after".to_vec())]);
    }
}
