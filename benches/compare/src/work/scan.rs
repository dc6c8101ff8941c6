//! Scans in the order of keys.

use std::time::Instant;

use anyhow::{Result, ensure};
use vfs::Random;

use crate::bench::{Bench, per_second};
use crate::data::{Data, digest};
use crate::store::{Engine, Scan};

/// Entries of a short scan.
const SHORT: u64 = 100;

/// Entries of all short scans, for each operation of other workloads.
const SHORT_FACTOR: u64 = 4;

/// Scans of 100 entries from random keys.
///
/// # Errors
/// If an entry is missing, out of order or wrong, or as the engine fails.
pub fn short(bench: &mut Bench, prefix: &str, is_reverse: bool) -> Result<()> {
    let name = format!("{prefix}scan 100{}", if is_reverse { ", backward" } else { "" });
    if !bench.kind.is_ordered || !bench.found.wants(&name) {
        return Ok(());
    }
    let (engine, data) = (bench.engine()?, &bench.data);
    let count = (bench.effort.operations * SHORT_FACTOR / SHORT).max(1);
    let mut random = Random::new(5);
    let numbers: Vec<u64> = (0..count).map(|_| random.below(bench.live)).collect();
    let clock = Instant::now();
    let mut entries = 0;
    for number in &numbers {
        entries += from_key(engine, data, *number, is_reverse, SHORT)?;
    }
    let duration = clock.elapsed();
    // Only a scan that meets the end is shorter, which in a small store many do.
    let is_small = bench.live < 50 * SHORT;
    ensure!(is_small || entries > count * SHORT * 9 / 10, "{count} scans met {entries} entries");
    bench.found.add(&name, per_second(entries, duration));
    Ok(())
}

/// Scans from an entry that is there; verifies it, and the order of what follows. Returns how many
/// entries it met.
///
/// # Errors
/// If the entry is missing or wrong, or the order is.
pub fn from_key(
    engine: &dyn Engine,
    data: &Data,
    number: u64,
    is_reverse: bool,
    limit: u64,
) -> Result<u64> {
    let from = data.key(number);
    let value_len = data.size().value_len();
    let mut met = 0;
    let mut is_right = true;
    let mut last = from;
    let scan = Scan { from: Some(&from), is_reverse, limit };
    engine.scan(scan, &mut |key, value| {
        is_right &= value.len() == value_len && key.len() == last.len();
        if met == 0 {
            is_right &= *key == *from && data.seems_right(number, value);
        } else if is_right {
            is_right = if is_reverse { *key < *last } else { *key > *last };
        }
        if is_right {
            last.copy_from(key);
        }
        met += 1;
    })?;
    ensure!(met > 0 && is_right, "the scan from key {number} met {met}, right {is_right}");
    Ok(met)
}

/// A scan of everything; while every value is as the fill put it.
///
/// # Errors
/// If not every entry was met, in order and with its value, or as the engine fails.
pub fn full(bench: &mut Bench, prefix: &str, is_reverse: bool) -> Result<()> {
    let name = format!("{prefix}full scan{}", if is_reverse { ", backward" } else { "" });
    let is_asked = bench.found.wants(&name) && (bench.kind.is_ordered || !is_reverse);
    // A hash column of parity-db does not show its keys.
    if !is_asked || (!bench.kind.is_ordered && !bench.kind.is_ours) {
        return Ok(());
    }
    let data = &bench.data;
    let expected =
        (0..bench.live).fold(0, |sum: u64, number| sum.wrapping_add(digest(data.value(number, 0))));
    let is_ordered = bench.kind.is_ordered;
    let (mut met, mut sum, mut is_in_order) = (0, 0_u64, true);
    let mut last = data.key(0);
    let clock = Instant::now();
    let scan = Scan { from: None, is_reverse, limit: u64::from(u32::MAX) };
    bench.engine()?.scan(scan, &mut |key, value| {
        if is_ordered && met > 0 {
            is_in_order &= if is_reverse { *key < *last } else { *key > *last };
        }
        last.copy_from(key);
        sum = sum.wrapping_add(digest(value));
        met += 1;
    })?;
    let duration = clock.elapsed();
    ensure!(met == bench.live, "the scan met {met} entries of {}", bench.live);
    ensure!(is_in_order && sum == expected, "order {is_in_order}, values {}", sum == expected);
    bench.found.add(&name, per_second(met, duration));
    Ok(())
}
