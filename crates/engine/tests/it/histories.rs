//! Histories of many transactions (R16): bank, list-append and leases, with several threads, under
//! flushes, compactions, garbage collection, expiry and crashes. A million operations in all.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use engine::{Db, Durability, ErrorKind, Keyspace, Options, Result, WriteOptions};
use vfs::sim::ImageKind;
use vfs::{Clock, Random};

use crate::append::{self, History, Lists};
use crate::atomic::kinds;
use crate::world::{TestResult, World, assert_sound, key, tiny};

/// A keyspace of every kind, beside the default one.
fn spaces(db: &Db) -> Result<Vec<Keyspace>> {
    let mut spaces = vec![db.default_keyspace().clone()];
    for (index, options) in kinds().into_iter().enumerate() {
        spaces.push(db.keyspace(&format!("space {index}"), options)?);
    }
    Ok(spaces)
}

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

#[test]
fn row_r16_list_append_histories_are_strictly_serializable() -> TestResult {
    const WORKERS: u64 = 4;
    let seed = vfs::testing::seed();
    let scratch = tempfile::tempdir()?;
    let mut db = Db::open(scratch.path(), small())?;
    let mut before = Lists::new();
    let (mut operations, mut lost) = (0, 0);
    for number in 0..4_u64 {
        let spaces = spaces(&db)?;
        let history = History::new(&db, &spaces, number, true);
        let workers = thread::scope(|scope| {
            let work = |worker| {
                let history = &history;
                scope.spawn(move || history.work(worker, 40_000, seed ^ number))
            };
            let workers: Vec<_> = (0..WORKERS).map(work).collect();
            let workers = workers.into_iter().map(|worker| worker.join().expect("no panic"));
            workers.collect::<Vec<_>>()
        });
        let lists = append::lists(&spaces)?;
        let checked = append::check(workers, &before, &lists);
        operations += checked.operations;
        lost += checked.lost;
        let stats = db.stats();
        assert_eq!(stats.txn_history_bytes, 0);
        let numbers = [stats.flushes, stats.merges, stats.gc_runs, stats.conflicts];
        println!("flushes, merges, collections, conflicts: {numbers:?}");
        assert!(numbers.iter().all(|number| *number > 0), "{numbers:?}");
        drop((history, spaces));
        db.close()?;
        db = Db::open(scratch.path(), small())?;
        before = append::lists(&self::spaces(&db)?)?;
        assert!(before == lists, "a clean reopen changes nothing");
    }
    assert_sound(&db)?;
    println!("{operations} operations committed, {lost} transactions lost");
    assert!(operations > 500_000 && lost > 100, "{operations} operations, {lost} lost");
    Ok(())
}

#[test]
fn row_r16_list_append_histories_survive_crashes_without_a_gap() -> TestResult {
    let seed = vfs::testing::seed();
    let mut random = Random::new(seed);
    let mut world = World::new(seed);
    let mut survivors = 0;
    for number in 0..24_u64 {
        let db = world.open(&tiny())?;
        let spaces = spaces(&db)?;
        let before = append::lists(&spaces)?;
        survivors += before.values().map(Vec::len).sum::<usize>();
        assert_sound(&db)?;
        let history = History::new(&db, &spaces, number, false);
        let crash_at = random.below(1200);
        let kinds = ImageKind::kinds();
        let kind = kinds[random.index(kinds.len())];
        let (workers, crashed, from, to) = thread::scope(|scope| {
            let (history, db, world) = (&history, &db, &world);
            let steps = scope.spawn(move || {
                let mut choice = number;
                while !history.stop.load(Ordering::Acquire) {
                    choice += 1;
                    world.step(1, choice);
                    if choice % 16 == 0 {
                        db.flush().expect("a healthy disk");
                        db.collect_garbage().expect("a healthy disk");
                    }
                    thread::yield_now();
                }
            });
            let work = |worker| scope.spawn(move || history.work(worker, 900, seed ^ number));
            let workers: Vec<_> = (0..3).map(work).collect();
            let is_anybody_left = || workers.iter().any(|worker| !worker.is_finished());
            while history.ticks.load(Ordering::SeqCst) < crash_at && is_anybody_left() {
                thread::yield_now();
            }
            let from = history.ticks.load(Ordering::SeqCst);
            let crashed = world.crash(kind, seed ^ number);
            let to = history.ticks.load(Ordering::SeqCst);
            let workers: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
            history.stop.store(true, Ordering::Release);
            steps.join().expect("no panic");
            let workers = workers.into_iter().map(|worker| worker.expect("no panic"));
            (workers.collect::<Vec<_>>(), crashed, from, to)
        });
        let lists = append::lists(&spaces)?;
        let checked = append::check(workers, &before, &lists);
        drop((history, spaces));
        world.kill(db);
        world = crashed;
        let db = world.open(&tiny())?;
        let image = append::lists(&self::spaces(&db)?)?;
        checked.check_image(&image, &lists, from, to);
        for (list, elements) in &before {
            let kept = image.get(list).map_or(&[][..], Vec::as_slice);
            assert!(kept.starts_with(elements), "what an earlier crash left is durable");
        }
        db.close()?;
    }
    assert!(survivors > 500, "{survivors}");
    Ok(())
}

const ACCOUNTS: u64 = 60;
const DEPOSIT: u64 = 1000;
/// Transactions of a worker between two things that it does for the files.
const MAINTAIN_EVERY: u64 = 2500;

fn balance(bytes: Option<engine::Value>) -> u64 {
    let bytes = bytes.expect("accounts are never closed");
    u64::from_le_bytes(bytes.get(..8).expect("a balance").try_into().expect("eight bytes"))
}

/// A balance, some of them long enough for the value log.
fn account(balance: u64) -> Vec<u8> {
    let mut bytes = balance.to_le_bytes().to_vec();
    bytes.resize(if balance.is_multiple_of(3) { 200 } else { 8 }, 0);
    bytes
}

/// A bank over several keyspaces.
struct Bank {
    db: Db,
    spaces: Vec<Keyspace>,
}

impl Bank {
    fn open(db: Db) -> Result<Bank> {
        let bank = Bank { spaces: spaces(&db)?, db };
        if bank.spaces[0].get(key(0))?.is_none() {
            let mut batch = bank.db.batch();
            for number in 0..ACCOUNTS {
                batch.put(bank.space(number), key(number), account(DEPOSIT));
            }
            bank.db.write(batch, WriteOptions::default().durable())?;
        }
        Ok(bank)
    }

    fn space(&self, number: u64) -> &Keyspace {
        let index = usize::try_from(number).expect("small") % self.spaces.len();
        &self.spaces[index]
    }

    fn transfer(&self, from: u64, to: u64, amount: u64) -> Result<u64> {
        self.db.transact(|txn| {
            let (payer, payee) = (self.space(from), self.space(to));
            let had = balance(txn.get(payer, key(from))?);
            let amount = amount.min(had);
            txn.put(payer, key(from), account(had - amount))?;
            // Read after the write: the two may be one account.
            let had = balance(txn.get(payee, key(to))?);
            if amount.is_multiple_of(4) {
                thread::yield_now();
            }
            txn.put(payee, key(to), account(had + amount))?;
            Ok(4)
        })
    }

    /// All money, by iteration, in a transaction that only reads.
    fn total(&self) -> Result<u64> {
        let txn = self.db.transaction();
        let mut total = 0;
        for space in &self.spaces {
            for item in txn.iter(space) {
                let (key, value) = item?;
                if key.starts_with(b"key") {
                    total += balance(Some(value));
                }
            }
        }
        txn.commit()?;
        Ok(total)
    }

    fn work(&self, seed: u64, operations: u64, total_every: u64) -> Result<u64> {
        let mut random = Random::new(seed);
        let mut done = 0;
        let mut round = 0;
        while done < operations {
            round += 1;
            if round % MAINTAIN_EVERY == 0 {
                append::maintain(&self.db, round / MAINTAIN_EVERY)?;
            }
            if round % total_every == 0 {
                assert_eq!(self.total()?, ACCOUNTS * DEPOSIT, "money came or went");
                done += ACCOUNTS;
            } else {
                let (from, to) = (random.below(ACCOUNTS), random.below(ACCOUNTS));
                done += self.transfer(from, to, random.below(50))?;
            }
        }
        Ok(done)
    }
}

#[test]
fn row_r16_a_bank_keeps_its_money() -> TestResult {
    let seed = vfs::testing::seed();
    let scratch = tempfile::tempdir()?;
    let mut operations = 0;
    for round in 0..3 {
        let bank = Bank::open(Db::open(scratch.path(), small())?)?;
        operations += thread::scope(|scope| {
            let work = |worker| {
                let bank = &bank;
                scope.spawn(move || bank.work(seed ^ worker ^ round << 8, 40_000, 50))
            };
            let workers: Vec<_> = (0..4).map(work).collect();
            let workers = workers.into_iter().map(|worker| worker.join().expect("no panic"));
            let done: Result<Vec<u64>> = workers.collect();
            done.expect("a healthy disk").into_iter().sum::<u64>()
        });
        assert_eq!(bank.total()?, ACCOUNTS * DEPOSIT);
        assert_sound(&bank.db)?;
        let stats = bank.db.stats();
        let numbers = [stats.flushes, stats.merges, stats.gc_runs, stats.conflicts];
        println!("flushes, merges, collections, conflicts: {numbers:?}");
        assert!(numbers.iter().all(|number| *number > 0), "{numbers:?}");
        bank.db.close()?;
    }
    assert!(operations > 450_000, "{operations}");
    Ok(())
}

#[test]
fn row_r16_a_bank_keeps_its_money_over_crashes() -> TestResult {
    let seed = vfs::testing::seed();
    let mut random = Random::new(seed);
    let mut world = World::new(seed);
    for round in 0..24_u64 {
        let bank = Bank::open(world.open(&tiny())?)?;
        assert_eq!(bank.total()?, ACCOUNTS * DEPOSIT, "round {round}");
        assert_sound(&bank.db)?;
        let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
        let crash_at = random.below(20);
        let kinds = ImageKind::kinds();
        let kind = kinds[random.index(kinds.len())];
        let crashed = thread::scope(|scope| {
            let work = |worker: u64| {
                let (bank, stop, done) = (&bank, &stop, &done);
                scope.spawn(move || {
                    for part in 0..20 {
                        if !stop.load(Ordering::Acquire) {
                            let seed = seed ^ round ^ worker << 20 ^ part << 8;
                            bank.work(seed, 60, 11).expect("a healthy disk");
                            done.fetch_add(1, Ordering::AcqRel);
                        }
                    }
                })
            };
            let workers: Vec<_> = (0..3).map(work).collect();
            scope.spawn(|| {
                for choice in 0..200 {
                    if !stop.load(Ordering::Acquire) {
                        world.step(1, choice);
                        thread::yield_now();
                    }
                }
            });
            let is_anybody_left = || workers.iter().any(|worker| !worker.is_finished());
            while done.load(Ordering::Acquire) < crash_at && is_anybody_left() {
                thread::yield_now();
            }
            let crashed = world.crash(kind, seed ^ round);
            stop.store(true, Ordering::Release);
            crashed
        });
        let Bank { db, spaces } = bank;
        drop(spaces);
        world.kill(db);
        world = crashed;
    }
    Ok(())
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
