//! The seam between the store and its kinds of index.
//!
//! An [`Index`] is an immutable version: a view holds it as long as it likes. A flush and a merge
//! each build files beside it and end in a [`Delta`], which is installed on top of whatever
//! version is then the newest, together with one MANIFEST edit.

use std::any::Any;
use std::sync::Arc;

use sstable::{Cursor, Entry, Found};

use crate::error::Result;
use crate::files::Files;
use crate::manifest::Change;

/// A cursor over one source of a read.
pub(crate) type BoxCursor = Box<dyn Cursor + Send>;

/// One immutable version of a keyspace's index: the newest flushed version of every key.
pub(crate) trait Index: Send + Sync {
    /// What the index says about a key; a tombstone is an answer, `None` is not.
    fn get(&self, key: &[u8]) -> Result<Option<Found>>;

    /// Cursors over everything, newest first, for ordered reads.
    fn cursors(&self, out: &mut Vec<BoxCursor>) -> Result<()>;

    /// True if nothing was ever flushed that is still there: a tombstone shadows nothing.
    fn is_empty(&self) -> bool;

    /// Starts taking in a sealed memtable's newest versions, in key order.
    fn begin_flush(&self, files: &Arc<Files>, keyspace: u32) -> Result<Box<dyn Flush>>;

    /// The merge that is most needed, if one is. `full`: one that brings the index closer to
    /// being a single run, needed or not.
    fn plan_merge(&self, files: &Arc<Files>, keyspace: u32, full: bool) -> Option<Box<dyn Merge>>;

    /// True if reads have become so expensive that writers should wait for a merge.
    fn is_stalled(&self, files: &Files) -> bool;

    /// Files and sizes, for statistics.
    fn shape(&self) -> Shape;

    /// Reads and verifies every byte of every file; hands each entry to `visit`, damage to
    /// `report`.
    fn check(
        &self,
        visit: &mut dyn FnMut(Entry<'_>) -> Result<()>,
        report: &mut dyn FnMut(crate::error::Error),
    );

    /// Hands every file to [`Files::retire`]: the keyspace was dropped.
    fn retire(&self, files: &Files);

    /// For [`Delta`]s, which know the kind they were made for.
    fn as_any(&self) -> &dyn Any;
}

/// Takes in sorted entries.
pub(crate) trait Flush {
    /// Adds the newest version of the next key.
    fn add(&mut self, entry: Entry<'_>) -> Result<()>;

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

/// Makes the next version of an index from the newest one.
pub(crate) type Install = Box<dyn Fn(&dyn Index) -> Arc<dyn Index> + Send>;

/// How a finished flush or merge changes an index.
pub(crate) struct Delta {
    /// What goes into the MANIFEST.
    pub(crate) changes: Vec<Change>,
    /// The newest version with the change.
    pub(crate) install: Install,
    /// Retires the replaced files; called after the edit is durable.
    pub(crate) retire: Box<dyn FnOnce(&Files) + Send>,
    /// Removes the new files, if the delta cannot be installed.
    pub(crate) abandon: Box<dyn FnOnce(&Files) + Send>,
    /// Bytes written to the new files.
    pub(crate) bytes_written: u64,
}

/// Files and sizes of an index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    /// Files and bytes a level, level 0 first.
    pub(crate) levels: Vec<(u64, u64)>,
    /// Entries in all files, tombstones and shadowed versions included.
    pub(crate) entries: u64,
}
