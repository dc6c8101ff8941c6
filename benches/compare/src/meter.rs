//! Clocks, percentiles, and what the system says of this process while something runs.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use benches::machine;
use hdrhistogram::Histogram;

use crate::rows;

/// The time of each operation of a series, one read of the clock each.
#[derive(Debug)]
pub struct Laps {
    nanos: Histogram<u64>,
    last: Instant,
}

impl Laps {
    /// Starts with the first operation.
    pub fn start() -> Laps {
        let nanos = Histogram::new(3).expect("3 digits are legal");
        Laps { nanos, last: Instant::now() }
    }

    /// An operation has ended and the next begins.
    pub fn lap(&mut self) {
        let now = Instant::now();
        let nanos = u64::try_from((now - self.last).as_nanos()).unwrap_or(u64::MAX);
        self.last = now;
        self.nanos.record(nanos).expect("the histogram resizes itself");
    }

    /// Takes in the laps of another thread.
    pub fn add(&mut self, other: &Laps) {
        self.nanos.add(&other.nanos).expect("the histogram resizes itself");
    }

    /// The microseconds that this share (0 to 1) of the operations kept.
    pub fn micros_at(&self, share: f64) -> f64 {
        self.nanos.value_at_quantile(share) as f64 / 1e3
    }

    /// The longest operation, in milliseconds.
    pub fn worst_ms(&self) -> f64 {
        self.nanos.max() as f64 / 1e6
    }
}

/// Figures of one child, in the order they were found.
#[derive(Debug, Default)]
pub struct Found {
    only: Option<String>,
    figures: Vec<(String, f64)>,
}

impl Found {
    /// Keeps only rows whose names contain this text.
    pub fn of(only: Option<String>) -> Found {
        Found { only, figures: Vec::new() }
    }

    /// Is this row, or one of its side figures, asked for?
    pub fn wants(&self, name: &str) -> bool {
        let Some(only) = &self.only else { return true };
        let mut named = rows::ROWS.iter().map(|row| row.name);
        named.any(|row| row.starts_with(name) && row.contains(only.as_str()))
    }

    /// Adds the figure of a row.
    ///
    /// # Panics
    /// If there is no such row: a figure that no table shows.
    pub fn add(&mut self, name: &str, figure: f64) {
        assert!(rows::find(name).is_some(), "no row is called {name:?}");
        if self.only.as_ref().is_none_or(|only| name.contains(only.as_str())) {
            self.figures.push((name.to_owned(), figure));
        }
    }

    /// Adds a side figure, if the table has a row for it.
    pub fn add_side(&mut self, name: &str, side: &str, figure: f64) {
        let name = format!("{name}: {side}");
        if rows::find(&name).is_some() {
            self.add(&name, figure);
        }
    }

    /// Adds percentiles and the longest operation as side figures.
    pub fn add_laps(&mut self, name: &str, laps: &Laps) {
        for (side, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            self.add_side(name, side, laps.micros_at(share));
        }
        self.add_side(name, "worst stall", laps.worst_ms());
    }

    /// All figures.
    pub fn figures(&self) -> &[(String, f64)] {
        &self.figures
    }
}

/// Bytes that this process has caused to be written to the device so far.
///
/// # Errors
/// Where the system does not tell.
pub fn device_bytes() -> Result<u64> {
    machine::device_bytes_written().context("/proc/self/io does not tell what was written")
}

/// Bytes that a directory occupies. Engines remove files meanwhile, so it tries again.
///
/// # Errors
/// If it cannot be listed.
pub fn disk_bytes(dir: &Path) -> Result<u64> {
    for _ in 0..10 {
        if let Ok(bytes) = machine::bytes_on_disk(dir) {
            return Ok(bytes);
        }
    }
    machine::bytes_on_disk(dir).with_context(|| format!("what is in {}", dir.display()))
}

/// One number divided by another.
pub fn ratio(dividend: u64, divisor: u64) -> f64 {
    dividend as f64 / divisor as f64
}

/// Bytes as MiB.
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
