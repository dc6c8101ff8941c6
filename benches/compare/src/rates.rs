//! What the machine itself can do: the limits that some bars name.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use memmap2::MmapMut;
use serde::{Deserialize, Serialize};

use crate::size::Size;

/// Bytes of a file that is filled: the log segments of an engine are as large.
const SEGMENT_BYTES: usize = 64 << 20;

/// Bytes of a record that is appended and synced, as a small durable put appends.
const RECORD_LEN: usize = 200;

/// What was measured.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Rates {
    /// Bytes copied each second into fresh mappings of preallocated files.
    pub filled_bytes_per_second: f64,
    /// Appends of 200 bytes into a preallocated file with a `fdatasync` behind each, a second.
    pub durable_appends_per_second: f64,
}

impl Rates {
    /// Measures; writes files of some 100 MiB into a directory and leaves them there.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn measure(dir: &Path, is_quick: bool) -> Result<Rates> {
        let segments = if is_quick { 4 } else { 16 };
        let appends = if is_quick { 2_000 } else { 10_000 };
        Ok(Rates {
            filled_bytes_per_second: fill(dir, segments)?,
            durable_appends_per_second: append(dir, appends)?,
        })
    }

    /// Entries of a size that fill mappings each second.
    pub fn fills_per_second(&self, size: Size) -> f64 {
        self.filled_bytes_per_second / (size.key_len() + size.value_len()) as f64
    }
}

/// Blocks are reserved ahead, and no time is counted for that: an engine does it in the background.
fn preallocated(path: &Path, bytes: usize) -> Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(true).open(path)?;
    file.set_len(u64::try_from(bytes)?)?;
    let path = path.to_str().context("a path in UTF-8")?;
    let mut command = std::process::Command::new("fallocate");
    let status = command.args(["--length", &bytes.to_string(), path]).status();
    anyhow::ensure!(status.is_ok_and(|status| status.success()), "fallocate {path}");
    Ok(file)
}

fn fill(dir: &Path, segments: usize) -> Result<f64> {
    let value = vfs::Random::new(3).bytes(1 << 10);
    let mut seconds = 0.0;
    for index in 0..segments {
        let file = preallocated(&dir.join(format!("fill-{index}")), SEGMENT_BYTES)?;
        // SAFETY: nobody else has this file, and it is not cut while it is mapped.
        let mut map = unsafe { MmapMut::map_mut(&file)? };
        let clock = Instant::now();
        for place in map.chunks_exact_mut(value.len()) {
            place.copy_from_slice(&value);
        }
        seconds += clock.elapsed().as_secs_f64();
    }
    Ok((segments * SEGMENT_BYTES) as f64 / seconds)
}

fn append(dir: &Path, count: usize) -> Result<f64> {
    let file = preallocated(&dir.join("append"), count * RECORD_LEN)?;
    // Once over, so that the blocks are written and a sync is one of data alone.
    file.write_all_at(&vec![0; count * RECORD_LEN], 0)?;
    file.sync_all()?;
    let record = vfs::Random::new(4).bytes(RECORD_LEN);
    let clock = Instant::now();
    for index in 0..count {
        file.write_all_at(&record, u64::try_from(index * RECORD_LEN)?)?;
        file.sync_data()?;
    }
    Ok(count as f64 / clock.elapsed().as_secs_f64())
}
