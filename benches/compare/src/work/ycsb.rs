//! YCSB A to F.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, ensure};
use vfs::Random;

use super::scan;
use crate::bench::{Bench, on_threads, per_second};
use crate::store::Durability;
use crate::zipf::Zipf;

/// Most threads of a workload.
const THREADS_MAX: usize = 8;

/// Longest scan of workload E.
const SCAN_MAX: u64 = 100;

/// What a workload does besides reading, in percent of its operations.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    letter: char,
    updates: u64,
    inserts: u64,
    scans: u64,
    modifies: u64,
    reads_latest: bool,
}

const READS: Mix =
    Mix { letter: 'C', updates: 0, inserts: 0, scans: 0, modifies: 0, reads_latest: false };

/// In an order in which those that change more come later.
pub const MIXES: [Mix; 6] = [
    READS,
    Mix { letter: 'E', inserts: 5, scans: 95, ..READS },
    Mix { letter: 'B', updates: 5, ..READS },
    Mix { letter: 'D', inserts: 5, reads_latest: true, ..READS },
    Mix { letter: 'A', updates: 50, ..READS },
    Mix { letter: 'F', modifies: 50, ..READS },
];

/// Hands out numbers to insert, and knows below which every insert has been acknowledged.
struct Inserts {
    next: AtomicU64,
    in_flight: [AtomicU64; THREADS_MAX],
}

impl Inserts {
    fn new(live: u64) -> Inserts {
        let in_flight = std::array::from_fn(|_| AtomicU64::new(u64::MAX));
        Inserts { next: AtomicU64::new(live), in_flight }
    }

    fn insert(&self, thread: usize, put: impl FnOnce(u64) -> Result<()>) -> Result<()> {
        // First a number that is not above the one it will get, so that nobody takes it for done.
        self.in_flight[thread].store(self.next.load(Ordering::SeqCst), Ordering::SeqCst);
        put(self.next.fetch_add(1, Ordering::SeqCst))?;
        self.in_flight[thread].store(u64::MAX, Ordering::SeqCst);
        Ok(())
    }

    fn done(&self) -> u64 {
        let next = self.next.load(Ordering::SeqCst);
        let others = self.in_flight.iter().map(|number| number.load(Ordering::SeqCst));
        others.fold(next, u64::min)
    }
}

/// Runs one workload from so many threads.
///
/// # Errors
/// If a read is wrong, or as the engine fails.
pub fn run(bench: &mut Bench, mix: Mix, threads: u64) -> Result<()> {
    let suffix = if threads > 1 { format!(", {threads} threads") } else { String::new() };
    let name = format!("YCSB {}{suffix}", mix.letter);
    if !bench.found.wants(&name) || (mix.scans > 0 && !bench.kind.is_ordered) {
        return Ok(());
    }
    // A scan is worth many reads.
    let operations = bench.effort.operations / if mix.scans > 0 { 8 } else { 1 };
    let each = (operations / threads).max(1);
    let zipf = Zipf::new(bench.effort.entries);
    let inserts = Inserts::new(bench.live);
    let shared = &*bench;
    let (duration, _) = on_threads(threads, |thread| {
        let mut random = Random::new(11 + thread);
        for _ in 0..each {
            operation(shared, mix, usize::try_from(thread)?, &zipf, &inserts, &mut random)?;
        }
        Ok(())
    })?;
    bench.live = inserts.done();
    bench.found.add(&name, per_second(each * threads, duration));
    Ok(())
}

fn operation(
    bench: &Bench,
    mix: Mix,
    thread: usize,
    zipf: &Zipf,
    inserts: &Inserts,
    random: &mut Random,
) -> Result<()> {
    let (engine, data) = (bench.engine()?, &bench.data);
    let put = |number: u64, version: u64| {
        engine.put(&data.key(number), data.value(number, version), Durability::Unsynced)
    };
    let number = match mix.reads_latest {
        true => inserts.done() - 1 - zipf.rank(random),
        false => zipf.scrambled(random),
    };
    let mut choice = random.below(100);
    let mut is_chosen = |share: u64| {
        let is_chosen = choice < share;
        choice = choice.wrapping_sub(share);
        is_chosen
    };
    if is_chosen(mix.updates) {
        return put(number, random.next_u64());
    }
    if is_chosen(mix.inserts) {
        return inserts.insert(thread, |number| put(number, 0));
    }
    if is_chosen(mix.scans) {
        let limit = 1 + random.below(SCAN_MAX);
        scan::from_key(engine, data, number, false, limit)?;
        return Ok(());
    }
    let mut is_right = false;
    let is_there = engine.get(&data.key(number), &mut |value| {
        is_right = data.seems_right(number, value);
    })?;
    ensure!(is_there && is_right, "key {number}: there {is_there}, right {is_right}");
    if is_chosen(mix.modifies) {
        return put(number, random.next_u64());
    }
    Ok(())
}
