//! What is counted while a database is open.

use vfs::sync::atomic::AtomicU64;

/// Counters since open, for statistics.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) user_bytes: AtomicU64,
    pub(crate) log_bytes: AtomicU64,
    pub(crate) flush_bytes: AtomicU64,
    pub(crate) merge_bytes: AtomicU64,
    pub(crate) value_bytes: AtomicU64,
    pub(crate) gc_runs: AtomicU64,
    pub(crate) gc_read_bytes: AtomicU64,
    pub(crate) gc_written_bytes: AtomicU64,
    pub(crate) gc_reclaimed_bytes: AtomicU64,
    /// Of the collection under way: bytes of its victims, and how many of them are done.
    pub(crate) gc_run_bytes: AtomicU64,
    pub(crate) gc_run_done_bytes: AtomicU64,
    pub(crate) flushes: AtomicU64,
    pub(crate) merges: AtomicU64,
    pub(crate) stalls: AtomicU64,
    pub(crate) slowed: AtomicU64,
    pub(crate) conflicts: AtomicU64,
}
