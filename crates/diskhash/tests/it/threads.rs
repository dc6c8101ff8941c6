//! Readers and an applier beside merges. Catalogue row 96.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use diskhash::{Options, ReadMode};
use vfs::sim::SimDisk;

use crate::bed::{Batch, Keys, apply, get, mixed, open, options};

const KEYS: u64 = 400;

#[test]
fn row_096_readers_see_every_key_as_new_as_its_last_commit_while_merges_run() {
    let disk = SimDisk::new(1);
    let options = Options { read_mode: ReadMode::Mapped, runs_max: 5, ..options() };
    let table = open(&disk, &options).unwrap();
    let committed = AtomicU32::new(0);
    let done = AtomicBool::new(false);
    let all = |round: u32| -> Batch { (0..KEYS).map(|key| (key, Some(round))).collect() };
    apply(&table, mixed, &all(0)).unwrap();
    std::thread::scope(|scope| {
        for reader in 0..2 {
            let (table, committed, done) = (&table, &committed, &done);
            scope.spawn(move || {
                let mut rounds = 0;
                while !done.load(Ordering::Acquire) || rounds < 3 {
                    let least = committed.load(Ordering::Acquire);
                    let newest = table.newest();
                    let first = get(&newest, mixed, 0).unwrap().unwrap();
                    assert!(least <= first, "a commit that returned is seen");
                    for key in (reader..KEYS).step_by(3) {
                        assert_eq!(get(&newest, mixed, key).unwrap(), Some(first), "key {key}");
                    }
                    rounds += 1;
                }
            });
        }
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let Some(mut job) = table.plan(false) else {
                    std::thread::yield_now();
                    continue;
                };
                while !job.step(&mut Keys::default()).unwrap() {}
                table.commit(job.finish()).unwrap();
            }
        });
        for round in 1..120 {
            while table.newest().is_full() {
                std::thread::yield_now();
            }
            let before = table.newest().id();
            apply(&table, mixed, &all(round)).unwrap();
            committed.store(round, Ordering::Release);
            // A merge may have made another one newest meanwhile, but never this one again.
            table.release(before);
        }
        done.store(true, Ordering::Release);
    });
    assert!(table.newest().stats().runs <= 5);
    table.newest().check(&mut |_| Ok(()), &mut |error| panic!("{error}"));
}
