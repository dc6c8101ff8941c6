//! Workloads that change or remove what is there.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use vfs::Random;

use crate::bench::{Bench, merged, on_threads, per_second};
use crate::meter::Laps;
use crate::store::Durability;
use crate::zipf::Zipf;

/// As many puts as a fill has, of keys that are there, a few of them most of the time. The store
/// is open afterwards.
///
/// # Errors
/// As the engine fails.
pub fn overwrite(bench: &mut Bench) -> Result<()> {
    let entries = bench.effort.entries;
    let zipf = Zipf::new(entries);
    bench.write("zipfian overwrite", entries, |bench| {
        let (engine, data) = (bench.engine()?, &bench.data);
        let (duration, laps) = on_threads(1, |_| {
            let mut random = Random::new(17);
            let mut laps = Laps::start();
            for _ in 0..entries {
                let number = zipf.scrambled(&mut random);
                let value = data.value(number, random.next_u64());
                engine.put(&data.key(number), value, Durability::Unsynced)?;
                laps.lap();
            }
            Ok(laps)
        })?;
        Ok((duration, merged(laps)))
    })
}

/// One writer that overwrites and two readers, until the readers have read as much as a read
/// workload does.
///
/// # Errors
/// If a read is wrong, or as the engine fails.
pub fn mixed(bench: &mut Bench) -> Result<()> {
    if !bench.found.wants("mixed") {
        return Ok(());
    }
    let zipf = Zipf::new(bench.effort.entries);
    let reads = bench.effort.operations / 2;
    let is_over = AtomicBool::new(false);
    let shared = &*bench;
    let (duration, laps) = on_threads(3, |thread| {
        let mut random = Random::new(23 + thread);
        let laps = match thread {
            0 => writer(shared, &zipf, &mut random, &is_over),
            _ => reader(shared, &zipf, &mut random, reads),
        };
        if thread > 0 {
            is_over.store(true, Ordering::Relaxed);
        }
        laps
    })?;
    let [(puts, writer), (_, first), (_, second)] = &laps[..] else {
        anyhow::bail!("three threads return three results");
    };
    let mut readers = Laps::start();
    readers.add(first);
    readers.add(second);
    bench.found.add("mixed: puts of 1 writer", per_second(*puts, duration));
    bench.found.add("mixed: reads of 2 readers", per_second(reads * 2, duration));
    bench.found.add("mixed: p99.9 of a put", writer.micros_at(0.999));
    bench.found.add("mixed: p99.9 of a read", readers.micros_at(0.999));
    Ok(())
}

fn writer(
    bench: &Bench,
    zipf: &Zipf,
    random: &mut Random,
    is_over: &AtomicBool,
) -> Result<(u64, Laps)> {
    let (engine, data) = (bench.engine()?, &bench.data);
    let mut laps = Laps::start();
    let mut puts = 0;
    while !is_over.load(Ordering::Relaxed) {
        let number = zipf.scrambled(random);
        let value = data.value(number, random.next_u64());
        engine.put(&data.key(number), value, Durability::Unsynced)?;
        laps.lap();
        puts += 1;
    }
    Ok((puts, laps))
}

fn reader(bench: &Bench, zipf: &Zipf, random: &mut Random, reads: u64) -> Result<(u64, Laps)> {
    let (engine, data) = (bench.engine()?, &bench.data);
    let mut laps = Laps::start();
    for _ in 0..reads {
        let number = zipf.scrambled(random);
        let mut is_right = false;
        let is_there = engine.get(&data.key(number), &mut |value| {
            is_right = data.seems_right(number, value);
        })?;
        laps.lap();
        ensure!(is_there && is_right, "key {number}: there {is_there}, right {is_right}");
    }
    Ok((reads, laps))
}

/// Deletes every entry, in the order in which a fill put them. The store is open afterwards.
///
/// # Errors
/// If one is there afterwards, or as the engine fails.
pub fn delete_all(bench: &mut Bench) -> Result<()> {
    let live = bench.live;
    bench.write("delete all", live, |bench| {
        let (engine, data) = (bench.engine()?, &bench.data);
        let (duration, laps) = on_threads(1, |_| {
            let mut laps = Laps::start();
            for number in 0..live {
                engine.delete(&data.key(number))?;
                laps.lap();
            }
            Ok(laps)
        })?;
        Ok((duration, merged(laps)))
    })?;
    bench.live = 0;
    for number in (0..live).step_by(101) {
        let is_there = bench.engine()?.get(&bench.data.key(number), &mut |_| ())?;
        ensure!(!is_there, "key {number} is there, and was deleted");
    }
    Ok(())
}
