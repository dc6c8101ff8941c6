//! The seam between the store and its kinds of index.
//!
//! An [`Index`] is an immutable version: a view holds it as long as it likes. A flush and a merge
//! each build files beside it and end in a [`Delta`], which is installed on top of whatever
//! version is then the newest, together with one MANIFEST edit.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use sstable::{Cursor, Entry, Found};
use vfs::sync::OnceLock;
use vfs::sync::atomic::{AtomicUsize, Ordering};

use crate::catalog::{Change, SegmentRecord};
use crate::error::Result;
use crate::files::Files;
use crate::listed::Listed;
use crate::record::ValuePtr;
use crate::vlog::{Segments, Values};

/// A cursor over one source of a read.
pub(crate) type BoxCursor = Box<dyn Cursor + Send>;

/// One immutable version of a keyspace's index: the newest flushed version of every key.
pub(crate) trait Index: Send + Sync {
    /// What the index says about a key; a tombstone is an answer, `None` is not. An index that
    /// must compare keys reads their records from `values` and answers with the value itself.
    fn get(&self, key: &[u8], values: &Values<'_>) -> Result<Option<Found>>;

    /// The record that the newest entry of a key points to, whatever it says; `None` if there is
    /// no entry or it points to none. What garbage collection asks.
    fn newest_pointer(&self, key: &[u8], values: &Values<'_>) -> Result<Option<ValuePtr>>;

    /// Has every page verified again on its next read: what a collection lets go of must be dead by
    /// what is there now, not by what was sound when it was read first.
    fn forget_verified(&self);

    /// Keys are looked up fastest in the order of this number, then of their bytes.
    fn look_up_order(&self, key: &[u8]) -> u64;

    /// Every address space that some file of the index points into.
    fn listed(&self) -> Listed;

    /// Cursors over everything, newest first, for ordered reads.
    fn cursors(&self, out: &mut Vec<BoxCursor>) -> Result<()>;

    /// True if nothing was ever flushed that is still there: a tombstone shadows nothing.
    fn is_empty(&self) -> bool;

    /// Starts taking in a sealed memtable's newest versions, in the memtable's order.
    fn begin_flush(&self, files: &Arc<Files>, keyspace: u32) -> Result<Box<dyn Flush>>;

    /// The merge that is most needed, if one is; as part of a full merge, one that brings the index
    /// closer to being a single run, needed or not.
    fn plan_merge(&self, context: &MergeContext) -> Option<Box<dyn Merge>>;

    /// True if reads have become so expensive that writers should wait for a merge.
    fn is_stalled(&self, files: &Files) -> bool;

    /// What flushes brought and no merge has taken, where writers are to slow down because of it.
    fn backlog(&self, files: &Files) -> Option<Backlog>;

    /// True if it takes no flush before a merge.
    fn is_full(&self) -> bool;

    /// Files and sizes, for statistics.
    fn shape(&self) -> Shape;

    /// Reads and verifies every byte of every file; hands each entry to `visit`, damage to
    /// `report`. An index that has no keys reads them from `values`.
    fn check(
        &self,
        values: &Values<'_>,
        visit: &mut dyn FnMut(Entry<'_>) -> Result<()>,
        report: &mut dyn FnMut(crate::error::Error),
    );

    /// Hands everything to [`Files::retire`]: the keyspace was dropped.
    fn retire(&self, files: &Files);

    /// For [`Delta`]s, which know the kind they were made for.
    fn as_any(&self) -> &dyn Any;
}

/// What flushes brought to an index and no merge has taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Backlog {
    /// Files, one of each flush.
    pub(crate) files: usize,
    /// At so many a merge is due.
    pub(crate) due: usize,
    /// At so many writers wait.
    pub(crate) most: usize,
}

/// What a merge needs of the view it is planned in.
pub(crate) struct MergeContext {
    pub(crate) files: Arc<Files>,
    pub(crate) keyspace: u32,
    pub(crate) segments: Arc<Segments>,
    /// Address spaces with so few live records that a merge that meets one copies it into a fresh
    /// segment ([`Delta::copied`]).
    pub(crate) dissolve: Arc<Listed>,
    /// There is space for what nobody needs now.
    pub(crate) is_roomy: bool,
    /// When the merge is planned, in milliseconds since 1970: what had expired by then may go.
    pub(crate) now_ms: u64,
    /// Sealed generations wait to be flushed: what a merge writes delays them.
    pub(crate) flushes_wait: bool,
    /// The full merge it is part of.
    pub(crate) full: Option<Arc<FullMerge>>,
}

/// A merge of everything there is at its beginning. What is written or expires meanwhile is left
/// for the next one, so that it ends.
pub(crate) struct FullMerge {
    /// When it began, in milliseconds since 1970.
    pub(crate) now_ms: u64,
    /// The newest file of a hash table when it began.
    pub(crate) newest_file: OnceLock<u64>,
    /// Merges, or searches for something to drop, that were begun.
    pub(crate) rounds: AtomicUsize,
}

impl FullMerge {
    pub(crate) fn new(now_ms: u64) -> FullMerge {
        FullMerge { now_ms, newest_file: OnceLock::new(), rounds: AtomicUsize::new(0) }
    }

    /// Begins another round. False if there were `limit` already.
    pub(crate) fn begin_round(&self, limit: usize) -> bool {
        self.rounds.fetch_add(1, Ordering::Relaxed) < limit
    }
}

/// The newest version of a key, on its way from a memtable into an index.
#[derive(Clone, Copy)]
pub(crate) struct FlushEntry<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) is_delete: bool,
    pub(crate) expiry: u64,
    pub(crate) value: FlushValue<'a>,
}

/// What a flush knows of a value, or of a delete.
#[derive(Clone, Copy)]
pub(crate) enum FlushValue<'a> {
    /// The value itself: it stays in the index.
    Inline(&'a [u8]),
    /// The record of the value or the delete, in a value segment.
    Pointer(ValuePtr),
    /// A delete that has no record.
    None,
}

/// Takes in the newest versions of a memtable's keys, in the memtable's order.
pub(crate) trait Flush {
    /// Adds the newest version of the next key.
    fn add(&mut self, entry: FlushEntry<'_>) -> Result<()>;

    /// Writes and syncs what was added (not the directory). `None` if that was nothing.
    fn finish(self: Box<Self>) -> Result<Option<Delta>>;
}

/// Merges files of an index.
pub(crate) trait Merge: Send {
    /// Does a bounded piece. True when all is merged, written and synced (not the directory).
    fn step(&mut self) -> Result<bool>;

    /// The result, after the last step.
    fn finish(self: Box<Self>) -> Delta;
}

/// Makes the next version of an index from the newest one. Called at most once, with the manifest
/// lock held; it may write a little.
pub(crate) type Install = Box<dyn FnMut(&dyn Index) -> Result<Installed> + Send>;

/// The next version of an index.
pub(crate) struct Installed {
    /// What goes into the MANIFEST.
    pub(crate) changes: Vec<Change>,
    pub(crate) index: Arc<dyn Index>,
    /// Retires what was replaced; called after the edit is durable.
    pub(crate) retire: Box<dyn FnOnce(&Files) + Send>,
}

/// Removes new files; an error says that the index takes no more changes.
pub(crate) type Abandon = Box<dyn FnOnce(&Files) -> Result<()> + Send>;

/// How a finished flush or merge changes an index.
pub(crate) struct Delta {
    pub(crate) install: Install,
    /// For a delta that cannot be installed.
    pub(crate) abandon: Abandon,
    /// Bytes written to the new files.
    pub(crate) bytes_written: u64,
    /// Dead bytes found, by the file they are in; a lower bound.
    pub(crate) garbage: BTreeMap<u32, u64>,
    /// Value segments it wrote, synced; they become part of the database with it.
    pub(crate) copied: Vec<SegmentRecord>,
}

/// Files and sizes of an index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    /// Files and bytes a level, level 0 first.
    pub(crate) levels: Vec<(u64, u64)>,
    /// Entries in all files, tombstones and shadowed versions included.
    pub(crate) entries: u64,
}
