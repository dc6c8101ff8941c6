//! Workloads that put entries into an empty store.

use anyhow::{Context, Result};

use crate::bench::{Bench, merged, on_threads};
use crate::data::Key;
use crate::meter::{self, Laps};
use crate::store::Durability;

/// Entries of a batch.
const BATCH: u64 = 1_000;

/// Entries of a batch of a bulk load: far more than a batch, and few enough for every engine.
const BULK_BATCH: u64 = 100_000;

/// Every entry by a put of its own, in random order, from so many threads. The store is open
/// afterwards.
///
/// # Errors
/// As the engine fails.
pub fn singles(bench: &mut Bench, threads: u64) -> Result<()> {
    let name = match threads {
        1 => "fill, 1 thread",
        2 => "fill, 2 threads",
        _ => "fill, 4 threads",
    };
    let entries = bench.effort.entries;
    bench.write(name, entries, |bench| {
        let (engine, data) = (bench.engine()?, &bench.data);
        let (duration, laps) = on_threads(threads, |thread| {
            let mut laps = Laps::start();
            for number in (thread..entries).step_by(usize::try_from(threads)?) {
                engine.put(&data.key(number), data.value(number, 0), Durability::Unsynced)?;
                laps.lap();
            }
            Ok(laps)
        })?;
        Ok((duration, merged(laps)))
    })?;
    bench.live = entries;
    Ok(())
}

/// Every entry in batches of 1,000. The store is open afterwards.
///
/// # Errors
/// As the engine fails.
pub fn batches(bench: &mut Bench) -> Result<()> {
    let entries = bench.effort.entries;
    bench.write("batches of 1,000", entries, |bench| {
        let (duration, laps) = on_threads(1, |_| in_batches(bench, BATCH))?;
        Ok((duration, merged(laps)))
    })?;
    bench.live = entries;
    Ok(())
}

/// Every entry in large batches, and a sync: seconds, as in redb's published table.
///
/// # Errors
/// As the engine fails.
pub fn bulk(bench: &mut Bench) -> Result<()> {
    let clock = std::time::Instant::now();
    in_batches(bench, BULK_BATCH)?;
    bench.engine_mut()?.sync()?;
    bench.found.add("bulk load", clock.elapsed().as_secs_f64());
    bench.live = bench.effort.entries;
    Ok(())
}

fn in_batches(bench: &Bench, batch: u64) -> Result<Laps> {
    let (engine, data, entries) = (bench.engine()?, &bench.data, bench.effort.entries);
    let mut laps = Laps::start();
    let mut batched: Vec<(Key, &[u8])> = Vec::with_capacity(usize::try_from(batch)?);
    for start in (0..entries).step_by(usize::try_from(batch)?) {
        batched.clear();
        let numbers = start..entries.min(start + batch);
        batched.extend(numbers.map(|number| (data.key(number), data.value(number, 0))));
        engine.put_batch(&batched)?;
        laps.lap();
    }
    Ok(laps)
}

/// Puts that are durable when they return, from so many threads; into an empty store.
///
/// # Errors
/// As the engine fails.
pub fn durable(bench: &mut Bench, threads: u64) -> Result<()> {
    let name = match threads {
        1 => "durable puts, 1 thread",
        _ => "durable puts, 8 threads",
    };
    let each = bench.effort.durable;
    let before = bench.live;
    bench.write(name, each * threads, |bench| {
        let (engine, data) = (bench.engine()?, &bench.data);
        let (duration, laps) = on_threads(threads, |thread| {
            let mut laps = Laps::start();
            for index in 0..each {
                let number = before + thread * each + index;
                engine.put(&data.key(number), data.value(number, 0), Durability::Durable)?;
                laps.lap();
            }
            Ok(laps)
        })?;
        Ok((duration, merged(laps)))
    })?;
    bench.live += each * threads;
    Ok(())
}

/// Verifies every so-many-th entry, each to its last byte.
///
/// # Errors
/// If one is missing or wrong.
pub fn verify(bench: &Bench, step: usize) -> Result<()> {
    let engine = bench.engine()?;
    for number in (0..bench.live).step_by(step) {
        let mut is_right = false;
        let is_there = engine.get(&bench.data.key(number), &mut |value| {
            is_right = bench.data.is_right(number, value);
        })?;
        anyhow::ensure!(is_there && is_right, "entry {number}: there {is_there}, right {is_right}");
    }
    Ok(())
}

/// Settles after a fill, verifies a part of it after a reopening, and closes. The device's bytes
/// are counted from `before`.
///
/// # Errors
/// As the engine fails, or if an entry is not what was put.
pub fn settle(bench: &mut Bench, name: &str, before: u64) -> Result<()> {
    bench.settle(name, bench.effort.entries, before)?;
    bench.open(Durability::Unsynced)?;
    verify(bench, 101).with_context(|| format!("after {name}"))
}

/// What the device got before a workload begins.
///
/// # Errors
/// Where the system does not tell.
pub fn before() -> Result<u64> {
    meter::device_bytes()
}
