//! What a table is opened with.

use vfs::{Error, Fs, Kind, Result};

use crate::format::{SLOT_LEN_MAX, Shape};

/// Kind of a generation record.
pub const GENERATION: Kind = Kind::new("gen");
/// Kind of a run: what one apply brought, or several merged.
pub const RUN: Kind = Kind::new("run");
/// Kind of a partition: what runs are merged into in the end.
pub const PARTITION: Kind = Kind::new("part");

/// The smallest partition that makes sense, for tests.
const PARTITION_BYTES_MIN: u64 = 8 << 10;

/// How a table's pages come into memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReadMode {
    /// Through mappings: fastest. A media error under a mapping ends the process, and so does a
    /// file that somebody cuts.
    #[default]
    Mapped,
    /// By reads at offsets: every fault of the disk is an error.
    Positional,
}

/// What a table is opened with. The first four are stored when it is created: another value at a
/// later open is `Invalid`.
///
/// ```
/// let options = diskhash::Options { owner: 7, ..diskhash::Options::new(12) };
/// assert_eq!((options.slot_len, options.hash_bytes, options.runs_max), (12, 5, 8));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Bytes of a slot, 1 to 1024.
    pub slot_len: u16,
    /// Bytes that are kept of the 64-bit hash, 5 to 8, from the highest down. Hashes that differ only
    /// below meet as candidates of each other.
    pub hash_bytes: u8,
    /// Who the table belongs to: part of every checksum.
    pub owner: u64,
    /// Offset in the slot of a 32-bit little-endian number whose distinct values every file
    /// lists, for [`Generation::listed`](crate::Generation::listed).
    pub listed: Option<u16>,
    /// How pages come into memory.
    pub read_mode: ReadMode,
    /// Runs at which a merge is due and [`Generation::is_full`](crate::Generation::is_full) is
    /// true; at least 2. A look-up probes each of them.
    pub runs_max: usize,
    /// Bytes from which on a partition is split when it is rewritten; at least 8 KiB.
    pub partition_bytes: u64,
}

impl Options {
    /// Slots of `slot_len` bytes, 5 bytes of the hash, 8 runs, partitions of 64 MiB, mapped.
    pub fn new(slot_len: u16) -> Options {
        Options {
            slot_len,
            hash_bytes: 5,
            owner: 0,
            listed: None,
            read_mode: ReadMode::Mapped,
            runs_max: 8,
            partition_bytes: 64 << 20,
        }
    }

    pub(crate) fn shape(&self) -> Shape {
        Shape::new(self.slot_len, self.hash_bytes)
    }

    /// `Invalid`, naming the option, unless all are legal.
    pub(crate) fn validate(&self, fs: &dyn Fs) -> Result<()> {
        let listed_fits = self.listed.is_none_or(|at| u32::from(at) + 4 <= self.slot_len.into());
        let rules = [
            ((1..=SLOT_LEN_MAX).contains(&self.slot_len), "slot_len is 1 to 1024"),
            ((5..=8).contains(&self.hash_bytes), "hash_bytes is 5 to 8"),
            (listed_fits, "listed is an offset of 4 bytes inside the slot"),
            (self.runs_max >= 2, "runs_max is at least 2"),
            (self.partition_bytes >= PARTITION_BYTES_MIN, "partition_bytes is at least 8 KiB"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            None => Ok(()),
            Some((_, what)) => Err(Error::invalid(*what, fs.path())),
        }
    }
}
