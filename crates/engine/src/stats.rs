//! What a database looks like from outside, in numbers.

use vfs::sync::atomic::{AtomicU64, Ordering};

use crate::options::IndexKind;
use crate::replay::RecoveryReport;
use crate::state::State;
use crate::victims::{self, Zeal};

/// A snapshot of the numbers; counters run since open.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Every keyspace, by id.
    pub keyspaces: Vec<KeyspaceStats>,
    /// Bytes of the memtables, active and sealed.
    pub memtable_bytes: u64,
    /// Bytes of flushed memtables that snapshots and iterators keep.
    pub pinned_bytes: u64,
    /// Generations that wait for their flush.
    pub sealed_generations: u64,
    /// Value segments.
    pub value_segments: u64,
    /// Bytes of the value segments.
    pub value_segment_bytes: u64,
    /// Of these, bytes known to be dead; a lower bound.
    pub garbage_bytes: u64,
    /// Log segments that replay would read.
    pub log_segments: u64,
    /// Key and value bytes written by callers.
    pub user_bytes: u64,
    /// Bytes of log frames.
    pub log_bytes: u64,
    /// Bytes of index files written by flushes.
    pub flush_bytes: u64,
    /// Bytes of index files written by merges.
    pub merge_bytes: u64,
    /// Bytes of value segments written by flushes.
    pub value_bytes: u64,
    /// Garbage collections that were installed.
    pub gc_runs: u64,
    /// Bytes of records that garbage collection read.
    pub gc_read_bytes: u64,
    /// Bytes of value files and remap tables that garbage collection wrote.
    pub gc_written_bytes: u64,
    /// Bytes of value files that went, less what was written for it.
    pub gc_reclaimed_bytes: u64,
    /// Value files with so much garbage that collecting would rewrite them.
    pub gc_files_waiting: u64,
    /// Bytes of the value files that are being rewritten; 0 if none are.
    pub gc_run_bytes: u64,
    /// Bytes of their records that are done.
    pub gc_run_done_bytes: u64,
    /// Value files that could not be read, and why: they are left as they are.
    pub gc_failures: Vec<String>,
    /// Remap tables: one for each segment whose records moved.
    pub remap_tables: u64,
    /// Bytes of the remap tables.
    pub remap_bytes: u64,
    /// Flushed generations.
    pub flushes: u64,
    /// Installed merges.
    pub merges: u64,
    /// How often a writer waited for a flush or merge.
    pub stalls: u64,
    /// How often a write was held back for up to a millisecond an entry, because merges are behind.
    pub slowed: u64,
    /// Open transactions.
    pub open_transactions: u64,
    /// Bytes of flushed memtables kept to judge them by; part of `pinned_bytes`.
    pub txn_history_bytes: u64,
    /// How often a transaction or an atomic call lost and had to try again.
    pub conflicts: u64,
    /// Bytes put aside for a full disk; 0 once they are spent.
    pub reserve_bytes: u64,
    /// Superseded files that somebody still reads.
    pub retired_files: u64,
    /// Why the database is read-only, if it is.
    pub failure: Option<String>,
    /// What the last open met.
    pub recovery: RecoveryReport,
}

/// Numbers of one keyspace.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyspaceStats {
    /// Its name.
    pub name: String,
    /// Its kind of index.
    pub kind: IndexKind,
    /// Files and bytes of each level, level 0 first.
    pub levels: Vec<(u64, u64)>,
    /// Entries in the index files, tombstones and shadowed versions included.
    pub index_entries: u64,
    /// Entries in its memtables, shadowed versions included.
    pub memtable_entries: u64,
}

impl Stats {
    /// Bytes written to log, index and value files for each byte of the callers' keys and values.
    pub fn write_amplification(&self) -> f64 {
        let written = self.log_bytes
            + self.flush_bytes
            + self.merge_bytes
            + self.value_bytes
            + self.gc_written_bytes;
        if self.user_bytes == 0 { 0.0 } else { written as f64 / self.user_bytes as f64 }
    }
}

pub(crate) fn collect(state: &State, recovery: &RecoveryReport) -> Stats {
    let view = state.view();
    let counter = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let keyspaces = view.keyspaces.iter().map(|keyspace| {
        let shape = keyspace.index.shape();
        KeyspaceStats {
            name: keyspace.name.to_string(),
            kind: keyspace.kind,
            levels: shape.levels,
            index_entries: shape.entries,
            memtable_entries: keyspace.memtables.iter().map(|table| table.entries()).sum(),
        }
    });
    let keyspaces = keyspaces.collect();
    let (garbage_bytes, gc_files_waiting) = {
        let manifest = state.manifest.lock();
        let catalog = manifest.catalog();
        let options = &state.files.options;
        let waiting = victims::candidates(catalog, options, Zeal::Full, &|_| false).len();
        // A count is a hint and may say more than there is.
        let garbage = catalog.segments.values().map(|file| file.garbage.min(file.len)).sum();
        (garbage, waiting as u64)
    };
    let gc_failures = state.unreadable.lock().values().map(ToString::to_string).collect();
    let counters = &state.counters;
    let values = view.segments.files().chain(view.segments.moved());
    let (open_transactions, txn_history_bytes) = {
        let history = state.history.lock();
        (history.open_count() as u64, history.bytes())
    };
    Stats {
        keyspaces,
        memtable_bytes: view.active.bytes() + view.sealed.iter().map(|g| g.bytes()).sum::<u64>(),
        pinned_bytes: state.pins.lock().bytes(),
        sealed_generations: view.sealed.len() as u64,
        value_segments: (view.segments.files().len() + view.segments.moved().len()) as u64,
        value_segment_bytes: values.map(|segment| segment.len()).sum(),
        garbage_bytes,
        log_segments: state.log.segments().len() as u64,
        user_bytes: counter(&counters.user_bytes),
        log_bytes: counter(&counters.log_bytes),
        flush_bytes: counter(&counters.flush_bytes),
        merge_bytes: counter(&counters.merge_bytes),
        value_bytes: counter(&counters.value_bytes),
        gc_runs: counter(&counters.gc_runs),
        gc_read_bytes: counter(&counters.gc_read_bytes),
        gc_written_bytes: counter(&counters.gc_written_bytes),
        gc_reclaimed_bytes: counter(&counters.gc_reclaimed_bytes),
        gc_files_waiting,
        gc_run_bytes: counter(&counters.gc_run_bytes),
        gc_run_done_bytes: counter(&counters.gc_run_done_bytes),
        gc_failures,
        remap_tables: view.segments.remaps().len() as u64,
        remap_bytes: view.segments.remaps().map(|(_, remap)| remap.record().len).sum(),
        flushes: counter(&counters.flushes),
        merges: counter(&counters.merges),
        stalls: counter(&counters.stalls),
        slowed: counter(&counters.slowed),
        open_transactions,
        txn_history_bytes,
        conflicts: counter(&counters.conflicts),
        reserve_bytes: state.files.reserve.bytes(),
        retired_files: state.files.retired_count() as u64,
        failure: state.failure().map(|error| error.to_string()),
        recovery: recovery.clone(),
    }
}
