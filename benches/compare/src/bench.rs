//! A store that is being measured, and how threads work on it.

use std::path::PathBuf;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use benches::machine;

use crate::data::Data;
use crate::meter::{self, Found, Laps};
use crate::store::{Durability, Engine, Kind, Opening};

/// How much of everything is done.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Entries that a fill puts.
    pub entries: u64,
    /// Reads, updates and the like of one workload, over all threads.
    pub operations: u64,
    /// Durable puts of one thread.
    pub durable: u64,
    /// Leaves out rows without a bar.
    pub is_quick: bool,
}

/// One child's measurement.
pub struct Bench {
    /// Whom it measures.
    pub kind: Kind,
    /// With what.
    pub data: Data,
    /// How much.
    pub effort: Effort,
    /// Where.
    pub dir: PathBuf,
    /// Numbers below this have an entry.
    pub live: u64,
    /// What it found.
    pub found: Found,
    /// Absent between a close and the next open.
    engine: Option<Box<dyn Engine>>,
}

impl Bench {
    /// Nothing is open yet.
    pub fn new(kind: Kind, data: Data, effort: Effort, dir: PathBuf, found: Found) -> Bench {
        Bench { kind, data, effort, dir, live: 0, found, engine: None }
    }

    /// Opens the store, for writes of one durability; returns how long that took.
    ///
    /// # Errors
    /// As the engine fails.
    pub fn open(&mut self, durability: Durability) -> Result<Duration> {
        let opening = Opening { dir: &self.dir, size: self.data.size(), durability };
        let clock = Instant::now();
        let engine = (self.kind.open)(opening).context("open")?;
        let duration = clock.elapsed();
        self.engine = Some(engine);
        Ok(duration)
    }

    /// The open store.
    ///
    /// # Errors
    /// If it is not open.
    pub fn engine(&self) -> Result<&dyn Engine> {
        Ok(&**self.engine.as_ref().context("the store is closed")?)
    }

    /// The open store, to sync or settle it.
    ///
    /// # Errors
    /// If it is not open.
    pub fn engine_mut(&mut self) -> Result<&mut (dyn Engine + 'static)> {
        Ok(&mut **self.engine.as_mut().context("the store is closed")?)
    }

    /// Closes the store cleanly.
    ///
    /// # Errors
    /// As the engine fails, or if it is not open.
    pub fn close(&mut self) -> Result<()> {
        self.engine.take().context("the store is closed")?.close().context("close")
    }

    /// Bytes of the entries that are there.
    pub fn live_bytes(&self) -> u64 {
        self.live * self.data.entry_len()
    }

    /// Runs a workload that writes: rate, latencies, stalls, memory and what reaches the device up
    /// to a sync behind it.
    ///
    /// # Errors
    /// As the workload fails.
    pub fn write(
        &mut self,
        name: &str,
        written: u64,
        body: impl FnOnce(&Bench) -> Result<(Duration, Laps)>,
    ) -> Result<()> {
        let device = meter::device_bytes()?;
        let before = machine::private_memory_bytes().unwrap_or(0);
        let (peak, result) = machine::with_peak_private_memory(|| body(self));
        let (duration, laps) = result.with_context(|| name.to_owned())?;
        self.found.add(name, per_second(written, duration));
        self.found.add_laps(name, &laps);
        self.found.add_side(name, "peak private memory", meter::mib(peak.saturating_sub(before)));
        self.engine_mut()?.sync().context("sync")?;
        let device = meter::device_bytes()? - device;
        let bytes = written * self.data.entry_len();
        self.found.add_side(name, "device bytes per byte", meter::ratio(device, bytes));
        Ok(())
    }

    /// Settles the store, closes it, and tells what is left of a workload that wrote `written`
    /// entries and had brought `before` bytes to the device when it began.
    ///
    /// # Errors
    /// As the engine fails.
    pub fn settle(&mut self, name: &str, written: u64, before: u64) -> Result<()> {
        let clock = Instant::now();
        self.engine_mut()?.settle().context("settle")?;
        self.found.add_side(name, "time to settle", clock.elapsed().as_secs_f64());
        self.close()?;
        let device = meter::device_bytes()? - before;
        let bytes = written * self.data.entry_len();
        self.found.add_side(name, "settled, device bytes per byte", meter::ratio(device, bytes));
        let disk = meter::disk_bytes(&self.dir)?;
        self.found.add_side(name, "settled, disk bytes", meter::mib(disk));
        if self.live > 0 {
            let ratio = meter::ratio(disk, self.live_bytes());
            self.found.add_side(name, "settled, disk bytes per byte", ratio);
        }
        Ok(())
    }
}

/// Operations in a second.
pub fn per_second(count: u64, duration: Duration) -> f64 {
    count as f64 / duration.as_secs_f64()
}

/// Runs a body on threads that start together; returns the time from the first that began until the
/// last had ended, and what each returned.
///
/// # Errors
/// The first error of a thread.
pub fn on_threads<T: Send>(
    threads: u64,
    body: impl Fn(u64) -> Result<T> + Sync,
) -> Result<(Duration, Vec<T>)> {
    let barrier = Barrier::new(usize::try_from(threads)?);
    let joined = std::thread::scope(|scope| {
        let (barrier, body) = (&barrier, &body);
        let start = |thread| {
            scope.spawn(move || {
                barrier.wait();
                // By the thread's own clock: a busy machine lets whoever waits for it wait longer.
                let start = Instant::now();
                let result = body(thread);
                (start, Instant::now(), result)
            })
        };
        let handles: Vec<_> = (0..threads).map(start).collect();
        // All are joined before the first error counts.
        handles.into_iter().map(|handle| handle.join()).collect::<Vec<_>>()
    });
    let mut first: Option<Instant> = None;
    let mut last: Option<Instant> = None;
    let mut results = Vec::new();
    for joined in joined {
        let (start, end, result) =
            joined.map_err(|_| anyhow::anyhow!("a thread of the workload panicked"))?;
        first = Some(first.map_or(start, |first| first.min(start)));
        last = Some(last.map_or(end, |last| last.max(end)));
        results.push(result?);
    }
    let duration = last.zip(first).map(|(last, first)| last - first).context("no threads")?;
    Ok((duration, results))
}

/// Puts the laps of threads together.
pub fn merged(laps: Vec<Laps>) -> Laps {
    let mut laps = laps.into_iter();
    let mut first = laps.next().unwrap_or_else(Laps::start);
    laps.for_each(|other| first.add(&other));
    first
}
