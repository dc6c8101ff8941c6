//! How a log behaves.

use std::path::Path;
use std::time::Duration;

use vfs::{Error, Fs, Kind, Preallocation, Result};

use crate::format::SEGMENT;
use crate::meta::ReadMode;

/// Most bytes of a segment. Only a record or batch that is larger gets a larger one of its own.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// Fewest bytes of a segment.
pub const SEGMENT_BYTES_MIN: u64 = 4096;

/// When appended bytes are synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// Before each commit returns; commits that wait together share one sync.
    Always,
    /// By the commit after which this many bytes, at least 1, are not synced.
    EveryBytes(u64),
    /// When this much time has passed since the last sync: by [`crate::Log::tick`], or the job
    /// that [`crate::Log::spawn_interval`] starts.
    Interval(Duration),
    /// When the operating system pleases.
    Never,
}

/// How bytes get into the active segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendMode {
    /// Copied into a mapping: cheapest, in place at once. Only where preallocation reserves space;
    /// replaced by `Positional` elsewhere.
    Mapped,
    /// One positional write for all that wait.
    Positional,
}

/// How a log behaves. Checked by [`crate::Log::open`].
#[derive(Clone, Debug)]
pub struct Options {
    /// The kind of its files.
    pub kind: Kind,
    /// Bytes that end a segment, from [`SEGMENT_BYTES_MIN`] to [`SEGMENT_BYTES_MAX`].
    pub segment_bytes: u64,
    /// When appended bytes are synced.
    pub durability: Durability,
    /// How they get into the file.
    pub append_mode: AppendMode,
    /// How sealed segments are read.
    pub read_mode: ReadMode,
    /// Reserve a segment's space when it is created, so that a full disk is met before anything
    /// is changed, and a sync has no growing file to record.
    pub preallocate: bool,
}

impl Options {
    /// 64 MiB segments of kind [`SEGMENT`], preallocated, appended to and read through mappings.
    pub fn new(durability: Durability) -> Options {
        Options {
            kind: SEGMENT,
            segment_bytes: 64 << 20,
            durability,
            append_mode: AppendMode::Mapped,
            read_mode: ReadMode::Mapped,
            preallocate: true,
        }
    }

    pub(crate) fn validate(&self, path: &Path) -> Result<()> {
        let bytes = self.segment_bytes;
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes) {
            let range = format!("{SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX}");
            return Err(Error::invalid(format!("segment_bytes {bytes} is not in {range}"), path));
        }
        match self.durability {
            Durability::EveryBytes(0) => {
                Err(Error::invalid("durability: 0 bytes between syncs", path))
            }
            Durability::Interval(Duration::ZERO) => {
                Err(Error::invalid("durability: no time between syncs", path))
            }
            _ => Ok(()),
        }
    }

    /// The append mode that `fs` allows.
    pub(crate) fn append_mode_in(&self, fs: &dyn Fs) -> Result<AppendMode> {
        if self.append_mode == AppendMode::Positional || !self.preallocate {
            return Ok(AppendMode::Positional);
        }
        Ok(match fs.preallocation()? {
            Preallocation::Reserves => AppendMode::Mapped,
            Preallocation::LengthOnly => AppendMode::Positional,
        })
    }
}
