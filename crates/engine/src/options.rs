//! Options: defaults, ranges, and the one place that checks them.

use std::time::Duration;

pub use wal::Durability;

use crate::error::{Error, Result};

/// Longest key, in bytes.
pub const KEY_LEN_MAX: usize = 65_535;
/// Longest value, in bytes.
pub const VALUE_LEN_MAX: usize = 1 << 30;
/// Longest encoded batch, in bytes.
pub const BATCH_LEN_MAX: usize = (1 << 30) + (1 << 17);
/// Longest keyspace name, in bytes of UTF-8.
pub const KEYSPACE_NAME_LEN_MAX: usize = 255;
/// The keyspace that `Db::put` and its like use.
pub const DEFAULT_KEYSPACE: &str = "default";

/// Hashes a key, keyed by the seed of its table.
pub(crate) type KeyHasher = fn(u64, &[u8]) -> u64;

/// How immutable files are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadMode {
    /// Through mappings, without copies. A media error ends the process (SIGBUS).
    Mapped,
    /// By positional reads. A media error is an [`Error`].
    Positional,
}

/// How the log is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendMode {
    /// `Mapped` where preallocation truly reserves space and durability is not `Always`.
    Auto,
    /// Through a mapping of a preallocated segment: no system call for an unsynced write.
    Mapped,
    /// By positional writes, one for each commit group.
    Positional,
}

/// How a database behaves. Setters never fail; `Db::open` checks everything at once and names the
/// offender.
///
/// ```
/// use engine::{Durability, Options};
/// let options = Options::default().memtable_bytes(16 << 20).durability(Durability::Always);
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `Db::open`"]
pub struct Options {
    pub(crate) create_if_missing: bool,
    pub(crate) durability: Durability,
    pub(crate) memtable_bytes: u64,
    pub(crate) memtable_entries: u64,
    pub(crate) log_bytes: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) sealed_max: usize,
    pub(crate) inline_max: usize,
    pub(crate) promote_min: f64,
    pub(crate) total_garbage_max: f64,
    pub(crate) advised_garbage: f64,
    pub(crate) forced_garbage: f64,
    pub(crate) gc_interval: Duration,
    pub(crate) gc_bytes_per_second: u64,
    pub(crate) bloom_bits_per_key: u32,
    pub(crate) table_bytes: u64,
    pub(crate) level0_files: usize,
    pub(crate) level0_files_max: usize,
    pub(crate) level1_bytes: u64,
    pub(crate) level_multiplier: u64,
    pub(crate) append_mode: AppendMode,
    pub(crate) read_mode: ReadMode,
    pub(crate) pinned_bytes_max: u64,
    pub(crate) reserve_bytes: u64,
    pub(crate) txn_history_bytes: u64,
    pub(crate) default_kind: IndexKind,
    pub(crate) key_hasher: KeyHasher,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            create_if_missing: true,
            durability: Durability::Interval(Duration::from_secs(1)),
            memtable_bytes: 64 << 20,
            memtable_entries: 300_000,
            log_bytes: 256 << 20,
            segment_bytes: 64 << 20,
            sealed_max: 2,
            inline_max: 512,
            promote_min: 0.50,
            total_garbage_max: 0.25,
            advised_garbage: 0.40,
            forced_garbage: 0.80,
            gc_interval: Duration::from_secs(60),
            gc_bytes_per_second: 0,
            bloom_bits_per_key: 10,
            table_bytes: 32 << 20,
            level0_files: 4,
            level0_files_max: 12,
            level1_bytes: 256 << 20,
            level_multiplier: 8,
            append_mode: AppendMode::Auto,
            read_mode: ReadMode::Mapped,
            pinned_bytes_max: 1 << 30,
            reserve_bytes: 4 << 20,
            txn_history_bytes: 256 << 20,
            default_kind: IndexKind::BTree,
            key_hasher: |seed, key| xxhash_rust::xxh3::xxh3_64_with_seed(key, seed),
        }
    }
}

impl Options {
    /// Creates the directory and the database if they are missing. Default true.
    pub fn create_if_missing(mut self, create: bool) -> Options {
        self.create_if_missing = create;
        self
    }

    /// When the log is synced by itself. Default: every second.
    pub fn durability(mut self, durability: Durability) -> Options {
        self.durability = durability;
        self
    }

    /// Memtable bytes that end a generation. Default 64 MiB, 4 KiB to 4 GiB.
    pub fn memtable_bytes(mut self, bytes: u64) -> Options {
        self.memtable_bytes = bytes;
        self
    }

    /// Memtable entries that end a generation. Default 300,000, 1 to 2^28.
    pub fn memtable_entries(mut self, count: u64) -> Options {
        self.memtable_entries = count;
        self
    }

    /// Log bytes that end a generation, so that replay is bounded. Default 256 MiB, at least one
    /// segment.
    pub fn log_bytes(mut self, bytes: u64) -> Options {
        self.log_bytes = bytes;
        self
    }

    /// Bytes of a log or value segment. Default 64 MiB, 4 KiB to 1 GiB. A larger record gets a
    /// segment of its own.
    pub fn segment_bytes(mut self, bytes: u64) -> Options {
        self.segment_bytes = bytes;
        self
    }

    /// Sealed generations that may wait for their flush before writers wait. Default 2, 1 to
    /// 64, and `memtable_bytes * (sealed_max + 2)` at most 16 GiB.
    pub fn sealed_max(mut self, count: usize) -> Options {
        self.sealed_max = count;
        self
    }

    /// Longest value kept inside a B-tree index, in bytes; longer ones live in the value log.
    /// Default 512, at most 64 KiB.
    pub fn inline_max(mut self, bytes: usize) -> Options {
        self.inline_max = bytes;
        self
    }

    /// Share of a log segment that must be live separated values for it to become a value
    /// segment as it is; below, the values are copied. Default 0.50 (decision 0003), 0 to 1.
    pub fn promote_min(mut self, share: f64) -> Options {
        self.promote_min = share;
        self
    }

    /// Share of all bytes in value files that may be known garbage; above it, files are rewritten.
    /// `Db::collect_garbage` works until there is a fifth less. Default 0.25 (decision 0003), 0 to 1.
    pub fn total_garbage_max(mut self, share: f64) -> Options {
        self.total_garbage_max = share;
        self
    }

    /// Share of known garbage below which the background leaves a value file alone, even when
    /// there is too much in total. Default 0.40 (decision 0003), 0 to `forced_garbage`.
    pub fn advised_garbage(mut self, share: f64) -> Options {
        self.advised_garbage = share;
        self
    }

    /// Share of known garbage from which on a value file is rewritten, whatever the total and
    /// whatever else is to do. Default 0.80, `advised_garbage` to 1.
    pub fn forced_garbage(mut self, share: f64) -> Options {
        self.forced_garbage = share;
        self
    }

    /// How often the background looks for garbage and for index files full of expired entries,
    /// even when nothing is written. Default one minute; zero: garbage is collected by
    /// `Db::collect_garbage` only.
    pub fn gc_interval(mut self, interval: Duration) -> Options {
        self.gc_interval = interval;
        self
    }

    /// Bytes that background garbage collection reads and writes in a second, on average. Default
    /// 0: no limit. `Db::collect_garbage` has none.
    pub fn gc_bytes_per_second(mut self, bytes: u64) -> Options {
        self.gc_bytes_per_second = bytes;
        self
    }

    /// Bloom filter bits a key. Default 10, 0 (no filter) to 32.
    pub fn bloom_bits_per_key(mut self, bits: u32) -> Options {
        self.bloom_bits_per_key = bits;
        self
    }

    /// Bytes at which compaction ends an index file (three quarters to twice as many where a file
    /// of the next level begins); of a hash index: at which a partition is split (at least 8 KiB
    /// there). Default 32 MiB, at least 4 KiB.
    pub fn table_bytes(mut self, bytes: u64) -> Options {
        self.table_bytes = bytes;
        self
    }

    /// Level-0 files that start a compaction. Default 4, at least 1.
    pub fn level0_files(mut self, count: usize) -> Options {
        self.level0_files = count;
        self
    }

    /// Level-0 files at which writers wait for compaction, if together they have `level1_bytes`; if
    /// they have fewer, three times as many. Default 12, at least `level0_files`.
    pub fn level0_files_max(mut self, count: usize) -> Options {
        self.level0_files_max = count;
        self
    }

    /// Target bytes of level 1. Where flushes bring little, as with values kept apart, it is sixteen
    /// times the largest file in level 0 (with the default `level0_files`), but at least
    /// `table_bytes`. Default 256 MiB, at least 4 KiB.
    pub fn level1_bytes(mut self, bytes: u64) -> Options {
        self.level1_bytes = bytes;
        self
    }

    /// How many times larger each level is than the one above it. Default 8, 2 to 100.
    pub fn level_multiplier(mut self, factor: u64) -> Options {
        self.level_multiplier = factor;
        self
    }

    /// How the log is written. Default `Auto`.
    pub fn append_mode(mut self, mode: AppendMode) -> Options {
        self.append_mode = mode;
        self
    }

    /// How immutable files are read. Default `Mapped`.
    pub fn read_mode(mut self, mode: ReadMode) -> Options {
        self.read_mode = mode;
        self
    }

    /// Bytes of flushed memtables that snapshots may keep in memory; beyond, the oldest snapshot
    /// expires. Default 1 GiB.
    pub fn pinned_bytes_max(mut self, bytes: u64) -> Options {
        self.pinned_bytes_max = bytes;
        self
    }

    /// Bytes of flushed memtables that are kept to judge open transactions by; beyond, the oldest
    /// transaction that has something to write gets `Conflict`. Default 256 MiB; with 0 every
    /// transaction does that was open during a flush of newer writes.
    pub fn txn_history_bytes(mut self, bytes: u64) -> Options {
        self.txn_history_bytes = bytes;
        self
    }

    /// How long the background waits after it moved so many bytes for garbage collection.
    pub(crate) fn gc_pause(&self, bytes: u64) -> Option<Duration> {
        let per_second = self.gc_bytes_per_second;
        (per_second > 0).then(|| Duration::from_secs_f64(bytes as f64 / per_second as f64))
    }

    /// Which index the default keyspace of a new database gets. Default a B-tree; a database keeps
    /// what it was made with, and opening it with another one is `Invalid`.
    pub fn default_keyspace(mut self, options: KeyspaceOptions) -> Options {
        self.default_kind = options.kind;
        self
    }

    /// Hashes the keys of hash keyspaces with another function than XXH3, which gets the table's
    /// seed: for tests that need collisions. A keyspace keeps the function it was made with.
    #[doc(hidden)]
    pub fn key_hasher(mut self, hasher: fn(seed: u64, key: &[u8]) -> u64) -> Options {
        self.key_hasher = hasher;
        self
    }

    /// Bytes of disk space put aside for a full disk: deletes, flushes, merges, garbage collection
    /// and opening the database go on in them. Once they are spent, puts are `NoSpace` until twice
    /// as many are free. A merge or collection that needs more waits for space: for a database that
    /// is to shrink on a full disk, some times `table_bytes` and `segment_bytes`. Default 4 MiB, at most 1 TiB; 0 for none.
    pub fn reserve_bytes(mut self, bytes: u64) -> Options {
        self.reserve_bytes = bytes;
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        in_range("reserve_bytes", self.reserve_bytes, 0, 1 << 40)?;
        in_range("memtable_bytes", self.memtable_bytes, 4096, 4 << 30)?;
        in_range("memtable_entries", self.memtable_entries, 1, 1 << 28)?;
        in_range("segment_bytes", self.segment_bytes, 4096, wal::SEGMENT_BYTES_MAX)?;
        in_range("log_bytes", self.log_bytes, self.segment_bytes, 1 << 50)?;
        in_range("sealed_max", self.sealed_max as u64, 1, 64)?;
        // All of them may have to be replayed into one.
        let replayed = self.memtable_bytes.saturating_mul(self.sealed_max as u64 + 2);
        in_range("memtable_bytes * (sealed_max + 2)", replayed, 4096, 16 << 30)?;
        in_range("inline_max", self.inline_max as u64, 0, 64 << 10)?;
        in_range("bloom_bits_per_key", u64::from(self.bloom_bits_per_key), 0, 32)?;
        in_range("table_bytes", self.table_bytes, 4096, 1 << 40)?;
        in_range("level0_files", self.level0_files as u64, 1, 1000)?;
        in_range("level0_files_max", self.level0_files_max as u64, self.level0_files as u64, 1000)?;
        in_range("level1_bytes", self.level1_bytes, 4096, 1 << 50)?;
        in_range("level_multiplier", self.level_multiplier, 2, 100)?;
        share("promote_min", self.promote_min, 0.0, 1.0)?;
        share("total_garbage_max", self.total_garbage_max, 0.0, 1.0)?;
        share("forced_garbage", self.forced_garbage, 0.0, 1.0)?;
        share("advised_garbage", self.advised_garbage, 0.0, self.forced_garbage)?;
        match self.durability {
            Durability::EveryBytes(0) => {
                Err(Error::invalid("option durability: EveryBytes(0) means Always; say so"))
            }
            Durability::Interval(period) if period.is_zero() => {
                Err(Error::invalid("option durability: Interval(0) means Always; say so"))
            }
            Durability::Always if self.append_mode == AppendMode::Mapped => {
                Err(Error::invalid("option append_mode: Mapped does not go with Always"))
            }
            _ => Ok(()),
        }
    }
}

fn in_range(option: &str, found: u64, low: u64, high: u64) -> Result<()> {
    if low <= found && found <= high {
        return Ok(());
    }
    Err(Error::invalid(format!("option {option} is {found}, must be {low} to {high}")))
}

fn share(option: &str, found: f64, low: f64, high: f64) -> Result<()> {
    if low <= found && found <= high {
        return Ok(());
    }
    Err(Error::invalid(format!("option {option} is {found}, must be {low} to {high}")))
}

/// Which index a keyspace has. Stored; a keyspace keeps its kind for ever.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum IndexKind {
    /// Ordered: leveled B+tree files.
    BTree,
    /// By hash: point reads, and iteration in no order.
    Hash,
}

impl IndexKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            IndexKind::BTree => "btree",
            IndexKind::Hash => "hash",
        }
    }
}

/// How a keyspace behaves.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `Db::keyspace`"]
pub struct KeyspaceOptions {
    pub(crate) kind: IndexKind,
}

impl KeyspaceOptions {
    /// An ordered keyspace: point reads, ranges, prefixes, both directions.
    pub fn btree() -> KeyspaceOptions {
        KeyspaceOptions { kind: IndexKind::BTree }
    }

    /// A hash keyspace: point reads, and iteration in no order. Every value lives in the value log,
    /// so the index holds about 20 bytes a key, whatever keys and values are; a read of a key costs
    /// one probe of the index and one of the value log.
    pub fn hash() -> KeyspaceOptions {
        KeyspaceOptions { kind: IndexKind::Hash }
    }
}

/// How one write behaves.
///
/// ```
/// use engine::WriteOptions;
/// use std::time::Duration;
/// let options = WriteOptions::default().ttl(Duration::from_secs(60)).durable();
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "options do nothing until a write takes them"]
pub struct WriteOptions {
    pub(crate) durable: bool,
    pub(crate) disable_wal: bool,
    pub(crate) ttl: Option<Duration>,
}

impl WriteOptions {
    /// Returns only when the write is on stable storage, whatever the database's policy.
    pub fn durable(mut self) -> WriteOptions {
        self.durable = true;
        self
    }

    /// Skips the log: the write becomes durable when its memtable is flushed, all or nothing.
    /// Together with `durable` it is `Invalid`.
    pub fn disable_wal(mut self) -> WriteOptions {
        self.disable_wal = true;
        self
    }

    /// The entries put by this write vanish after this time (rounded up to milliseconds). An
    /// entry of a batch with a time of its own keeps that.
    pub fn ttl(mut self, ttl: Duration) -> WriteOptions {
        self.ttl = Some(ttl);
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        if self.durable && self.disable_wal {
            return Err(Error::invalid("write options disable_wal and durable exclude each other"));
        }
        Ok(())
    }
}
