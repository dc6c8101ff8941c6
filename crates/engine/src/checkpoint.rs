//! A second database from the files of the first, while that one goes on.
//!
//! log synced -> [manifest and commit lock: state, end of the log, holders of every file]
//! -> marker in the target -> links and copies -> MANIFEST, synced -> renamed: it is a database
//!
//! 1. What is linked never changes again, in either database: tables and value segments never do,
//!    a log segment not once it is sealed, synced and cut. The rest of the log is copied up to its
//!    end, a border of batches.
//! 2. A file that the captured state names is held until it is linked, so nobody removes it.
//! 3. The target's first name is that of an unfinished MANIFEST. It becomes the MANIFEST, by one
//!    rename, when all else is durable.
//! 4. Nothing in the first database is changed, and no lock of it is held during I/O in the target.

use std::sync::Arc;

use vfs::planted::{self, Bug};
use vfs::sync::atomic::Ordering;
use vfs::sync::mistake;
use vfs::{Access, Bytes, Fs, Name};
use wal::{Position, Segment};

use crate::catalog::Catalog;
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::flush;
use crate::hash_delta::HashIndex;
use crate::hash_table;
use crate::index::Index;
use crate::manifest::Draft;
use crate::options::IndexKind;
use crate::state::State;
use crate::vlog::Segments;

/// What a copy reads at once.
const COPY_BYTES: u64 = 1 << 20;

/// Makes a database of its own in an empty directory.
pub(crate) fn checkpoint(state: &State, target: &Arc<dyn Fs>) -> Result<()> {
    state.check_writable()?;
    require_empty(target)?;
    let _lock = target.lock()?;
    require_empty(target)?;
    flush_unlogged(state)?;
    let source = {
        // Postmortem: a flush forgot the log between the two, and a sync of the log does not sync
        // what it forgot. The checkpoint linked segments that no disk had.
        let forgets = mistake("a flush forgets the log that a checkpoint takes");
        let _no_flush = (!forgets).then(|| state.flushing.lock());
        let source = capture(state)?;
        // Everything up to the end is durable now, and every sealed segment before it cut.
        let synced = state.log.sync_sealed(source.end.segment);
        synced.map_err(|error| state.judge(error.into()))?;
        assert!(source.end <= state.log.synced(), "a sync reaches what was staged before it");
        source
    };
    let result = write(state, &source, target);
    drop(source);
    state.sweep();
    // Whoever closed the database let go of its files.
    result.map_err(|error| state.check_open().err().unwrap_or(error))
}

/// Refuses a directory that holds anything.
fn require_empty(target: &Arc<dyn Fs>) -> Result<()> {
    let listing = target.list()?;
    let path = target.path().display();
    let ours = listing.entries.iter().map(|entry| entry.name);
    if ours.clone().any(|name| name == Draft::NAME) {
        let message = format!("{path} holds a checkpoint that was not finished");
        return Err(Error::invalid(message));
    }
    match ours.map(|name| name.to_string()).chain(listing.foreign).next() {
        Some(name) => Err(Error::invalid(format!("{path} is not empty: it holds {name}"))),
        None => Ok(()),
    }
}

/// Flushes if anything that was acknowledged is in no log. Such batches that come later may be
/// missing, as after a crash.
fn flush_unlogged(state: &State) -> Result<()> {
    let unlogged = {
        let commit = state.commit.lock();
        let sealed = &state.view().sealed;
        commit.unlogged || sealed.iter().any(|old| old.unlogged.load(Ordering::Acquire))
    };
    if unlogged { flush::flush_all(state) } else { Ok(()) }
}

/// A state of the database, and its files.
struct Capture {
    catalog: Catalog,
    /// The log's segments that are needed, oldest first; the last one up to `end`.
    log: Vec<Arc<Segment>>,
    end: Position,
    /// Directories of hash tables, and the files of the generations that count.
    tables: Vec<(Name, Arc<dyn Fs>, Vec<Name>)>,
    /// Keep what the catalog names from being removed.
    _indexes: Vec<Arc<dyn Index>>,
    _segments: Arc<Segments>,
}

fn capture(state: &State) -> Result<Capture> {
    let manifest = state.manifest.lock();
    state.check_writable()?;
    let view = state.view();
    let commit = state.commit.lock();
    let end = state.log.end();
    let ids = state.log.segments().into_iter().map(|meta| meta.id);
    let needed = ids.filter(|id| manifest.catalog().wal_min <= id.0 && *id <= end.segment);
    let log = needed.map(|id| state.log.segment(id).expect("edits forget, under their lock"));
    let catalog = Catalog {
        clock_ms: manifest.catalog().clock_ms.max(state.files.clock.told()),
        next_file: manifest.catalog().next_file.max(state.files.next_file()),
        next_segment: state.files.segment_ids.peek().0.saturating_add(1),
        next_keyspace: state.files.next_keyspace(),
        closed: Some((end, commit.last_seq)),
        ..manifest.catalog().clone()
    };
    let hashed = view.keyspaces.iter().filter(|keyspace| keyspace.kind == IndexKind::Hash);
    let tables = hashed.map(|keyspace| {
        let index = HashIndex::of(&*keyspace.index);
        let names = index.generation().files().into_iter().map(|(name, _)| name).collect();
        (index.table.name(), index.table.table.fs().clone(), names)
    });
    Ok(Capture {
        tables: tables.collect(),
        catalog,
        log: log.collect(),
        end,
        _indexes: view.keyspaces.iter().map(|keyspace| keyspace.index.clone()).collect(),
        _segments: view.segments.clone(),
    })
}

fn write(state: &State, source: &Capture, target: &Arc<dyn Fs>) -> Result<()> {
    let mut work = Work { state, target, names: Vec::new(), dirs: Vec::new() };
    let made = work.make(source);
    made.map_err(|error| {
        let may_sync = !error.is_failed_sync_of(target.path());
        if work.undo(may_sync) { error } else { error.in_doubt() }
    })?;
    target.sync_dir().map_err(|error| Error::from(error).in_doubt())
}

/// What was made so far.
struct Work<'a> {
    state: &'a State,
    target: &'a Arc<dyn Fs>,
    names: Vec<Name>,
    dirs: Vec<Name>,
}

impl Work<'_> {
    fn make(&mut self, source: &Capture) -> Result<()> {
        self.names.push(Draft::NAME);
        let mut draft = Draft::start(self.target, &self.state.files.env, source.catalog.db_id)?;
        let files = &self.state.files.fs;
        for name in files::named(&source.catalog) {
            self.names.push(name);
            self.link(files, &**self.target, name)?;
        }
        for (dir, fs, names) in &source.tables {
            self.dirs.push(*dir);
            let made = self.target.create_dir(*dir)?;
            for name in names {
                self.link(fs, &*made, *name)?;
            }
            made.sync_dir()?;
        }
        let (last, sealed) = source.log.split_last().expect("a log has a segment");
        assert!(last.id() == source.end.segment, "the log ends in the last segment");
        for segment in sealed {
            let name = Name::new(wal::SEGMENT, u64::from(segment.id().0));
            self.names.push(name);
            self.link(files, &**self.target, name)?;
        }
        self.copy_log(last, source.end.offset)?;
        draft.write(&source.catalog)?;
        draft.publish().inspect_err(|error| {
            if error.kind() != ErrorKind::NoSpace {
                // Only the directory knows whether it is a database now.
                self.names.clear();
            }
        })
    }

    /// Empties the directory again, so that a full disk stays no fuller. False if that is
    /// not how it is now. Where a sync of the directory failed there is no second one: the marker
    /// stays if there was anything beside it.
    ///
    /// Postmortem: we believed that a clean-up may try everything. A sync that is tried again
    /// proves nothing, and the marker went because of it.
    fn undo(&self, may_sync: bool) -> bool {
        let is_gone = |name: &Name| {
            matches!(self.target.remove(*name), Ok(()) | Err(vfs::Error::NotFound { .. }))
        };
        // Not the first that fails ends it: every file takes space. The marker goes last: what is
        // left without it would say nothing about itself.
        let Some((marker, rest)) = self.names.split_first() else { return false };
        let left = rest.iter().filter(|name| !is_gone(name)).count();
        let kept =
            self.dirs.iter().filter(|dir| !hash_table::remove(&**self.target, **dir)).count();
        let alone = rest.is_empty() && self.dirs.is_empty();
        let may_go = left + kept == 0 && (alone || (may_sync && self.target.sync_dir().is_ok()));
        may_go && is_gone(marker)
    }

    /// Gives a file that never changes a name in the target, or a copy.
    fn link(&self, source: &Arc<dyn Fs>, target: &dyn Fs, name: Name) -> Result<()> {
        self.state.check_open()?;
        match source.link(name, target, name) {
            Err(vfs::Error::Invalid { .. }) => {
                let file = source.open(name, Access::Read)?;
                self.copy(target, name, file.len()?, &mut |offset, len| {
                    let mut bytes = vec![0; len];
                    vfs::read_exact_at(&*file, &mut bytes, offset)?;
                    Ok(bytes.into())
                })
            }
            linked => Ok(linked?),
        }
    }

    /// Copies a log segment that may still grow, up to `end`.
    fn copy_log(&mut self, segment: &Segment, end: u64) -> Result<()> {
        let name = Name::new(wal::SEGMENT, u64::from(segment.id().0));
        self.names.push(name);
        self.copy(&**self.target, name, end, &mut |offset, len| segment.bytes(offset, len))
    }

    fn copy(
        &self,
        target: &dyn Fs,
        name: Name,
        len: u64,
        read: &mut dyn FnMut(u64, usize) -> vfs::Result<Bytes>,
    ) -> Result<()> {
        let file = target.create_new(name)?;
        let mut offset = 0;
        while offset < len {
            self.state.check_open()?;
            let count = usize::try_from(COPY_BYTES.min(len - offset)).expect("a small piece");
            vfs::write_all_at(&*file, &read(offset, count)?, offset)?;
            offset += count as u64;
        }
        if planted::is(Bug::CheckpointLogUnsynced) {
            return Ok(());
        }
        Ok(file.sync_data()?)
    }
}
