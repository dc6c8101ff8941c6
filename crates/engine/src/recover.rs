//! Open: from whatever a crash left to a [`State`].
//!
//! ours? -> LOCK -> MANIFEST -> tables and value segments it names -> log replayed into memtables
//! -> next MANIFEST -> unknown files set aside
//!
//! 1. A file that the MANIFEST names and that is missing or damaged is `Corrupt`, never skipped.
//! 2. Nothing that might matter is removed: unknown files are renamed to `.bad`, and those are
//!    removed only by an open that follows a clean close.
//! 3. A crash inside recovery leaves what recovery can start from again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use vfs::planted::{self, Bug};
use vfs::{DirEntry, Env, Fs, Kind as FileKind, Listing, Name};
use wal::{SegmentId, SegmentIds};

use crate::catalog::{Catalog, Change, FILE_ID_LIMIT, KeyspaceRecord};
use crate::error::{Error, ErrorKind, Result};
use crate::files::{self, Files, NextIds, REMAP, TABLE};
use crate::hash_delta::HashIndex;
use crate::hash_table::{self, HASH, HashTable};
use crate::index::Index;
use crate::levels::Levels;
use crate::manifest::{self, Loaded, Manifest};
use crate::options::{DEFAULT_KEYSPACE, IndexKind, Options};
use crate::pace::Paced;
use crate::remap::Remap;
use crate::replay::{RecoveryReport, Replay, replay};
use crate::reserve;
use crate::state::{Commit, Parts, State};
use crate::view::{Generation, KeyspaceView, View};
use crate::vlog::Segments;

/// Scratch files of the preallocation probe; a crash may leave one.
const PROBE: FileKind = FileKind::new("probe");
/// Segment and keyspace ids of names that count stay below.
const SEGMENT_ID_LIMIT: u64 = SegmentIds::PLANTED_MIN as u64;

/// Opens or creates the database in a directory.
pub(crate) fn open(fs: Arc<dyn Fs>, env: Env, options: Options) -> Result<(State, RecoveryReport)> {
    check_ours(&fs, &fs.list()?, &options)?;
    let lock = fs.lock()?;
    let (parts, report) = loop {
        match open_locked(&fs, &env, &options) {
            Err(error) if error.kind() == ErrorKind::NoSpace && reserve::give_back(&*fs) => {}
            opened => break opened?,
        }
    };
    parts.log.set_frugal(parts.files.reserve.is_spent());
    Ok((State::new(parts, lock), report))
}

fn open_locked(fs: &Arc<dyn Fs>, env: &Env, options: &Options) -> Result<(Parts, RecoveryReport)> {
    let listing = fs.list()?;
    check_ours(fs, &listing, options)?;
    let loaded = manifest::load(fs, &listing)?;
    loaded.as_ref().map_or(Ok(()), |loaded| manifest::settle(fs, loaded))?;
    let numbers = manifest::numbers(&listing);
    let newest = loaded.as_ref().map_or(0, |loaded| loaded.number);
    let number = manifest::next_number(&**fs, newest, &numbers)?;
    let (catalog, fresh, manifest_cut) = match loaded {
        Some(Loaded { catalog, number, cut }) => {
            let name = Name::new(manifest::MANIFEST, number).to_string();
            (catalog, false, cut.map(|(offset, bytes)| (name, offset, bytes)))
        }
        None => (new_catalog(env.rng.next_u64(), options.default_kind), true, None),
    };
    check_default(&catalog, options)?;
    let clean = catalog.closed.is_some();
    let mut report = RecoveryReport { clean, manifest_cut, ..Default::default() };
    let files = Arc::new(new_files(fs, env, options.clone(), &catalog, &listing));
    // A new database has its MANIFEST before anything else, so that a directory with anything
    // else and without one is damage.
    let mut manifest = match fresh {
        true => Some(Manifest::start(fs, env, number, catalog.clone(), &numbers)?),
        false => None,
    };
    let clean = report.clean && report.manifest_cut.is_none();
    let indexes = open_indexes(&files, &catalog, clean, &mut report)?;
    let segments = open_segments(&files, &catalog)?;
    let frugal = files.reserve.is_short(&**fs, &listing);
    let replay = replay(&files, &catalog, frugal, &mut report)?;

    let next = Catalog { wal_min: replay.wal_min.0, ..raise_ids(&files, catalog) };
    let known = known_files(&next, &replay);
    match &mut manifest {
        Some(manifest) => {
            let (seq, wal_min) = (next.flushed_seq, next.wal_min);
            let edit = manifest.prepare(&[Change::Flushed { seq, wal_min }])?;
            manifest.commit(edit)?;
        }
        None => manifest = Some(Manifest::start(fs, env, number, next, &numbers)?),
    }
    let manifest = manifest.expect("it was just started");
    // Lets go of what the log does not need, before its files go.
    let view = new_view(manifest.catalog(), indexes, segments, &replay);
    let done: Vec<Name> = replay.superseded();
    report.quarantined.extend(set_aside(fs, &listing, &known, &done, clean)?);
    let commit = new_commit(&replay);
    let log = replay.log;
    files.reserve.open(&**fs, &listing);
    Ok((Parts { files, log, manifest, commit, view }, report))
}

/// Refuses a directory that holds something, but no database, before anything is changed.
fn check_ours(fs: &Arc<dyn Fs>, listing: &Listing, options: &Options) -> Result<()> {
    let path = fs.path().display();
    if !manifest::numbers(listing).is_empty() {
        return Ok(());
    }
    if listing.entries.iter().any(|entry| entry.name.kind == manifest::PARTIAL) {
        let message = format!("{path} holds a checkpoint that was not finished: make another one");
        return Err(Error::invalid(message));
    }
    let ours = listing.entries.iter().map(|entry| entry.name.to_string());
    if let Some(name) = ours.chain(listing.foreign.iter().cloned()).next() {
        let message =
            format!("{path} is not a Nelumbo database: it has no MANIFEST, but holds {name}");
        return Err(Error::invalid(message));
    }
    if !options.create_if_missing {
        let message = format!("{path} holds no database and create_if_missing is off");
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    Ok(())
}

/// A default keyspace of another kind than a B-tree is created by the first open like any other, a
/// crash in between notwithstanding.
fn new_catalog(db_id: u64, default_kind: IndexKind) -> Catalog {
    let default = KeyspaceRecord::new(DEFAULT_KEYSPACE.to_owned(), IndexKind::BTree);
    let is_there = default_kind == IndexKind::BTree;
    Catalog {
        db_id,
        next_file: 1,
        next_segment: 1,
        next_keyspace: 1,
        keyspaces: is_there.then_some((0, default)).into_iter().collect(),
        ..Catalog::default()
    }
}

/// Refuses another kind of default keyspace than there is, before anything is changed.
fn check_default(catalog: &Catalog, options: &Options) -> Result<()> {
    let found = catalog.keyspaces.values().find(|keyspace| keyspace.name == DEFAULT_KEYSPACE);
    match found {
        Some(found) if found.index != options.default_kind => {
            let (is, asked) = (found.index.as_str(), options.default_kind.as_str());
            let message = format!(
                "option default_keyspace: the database was made with a {is} index there, not with a \
                 {asked} index"
            );
            Err(Error::invalid(message))
        }
        _ => Ok(()),
    }
}

/// The directory's seam, with ids above everything that was ever seen there.
fn new_files(
    fs: &Arc<dyn Fs>,
    env: &Env,
    options: Options,
    catalog: &Catalog,
    listing: &Listing,
) -> Files {
    // A name beyond any id that can have been given is no file of ours.
    let newest = |kinds: &[FileKind], limit: u64| {
        let of_kind = |entry: &&DirEntry| kinds.contains(&entry.name.kind);
        let ids = listing.entries.iter().filter(of_kind).map(|entry| entry.name.id);
        ids.filter(|id| *id < limit).max().unwrap_or(0)
    };
    let next_file = catalog.next_file.max(newest(&[TABLE, REMAP], FILE_ID_LIMIT) + 1);
    let segment_ids = SegmentIds::new();
    segment_ids.raise_above(SegmentId(catalog.next_segment.saturating_sub(1)));
    let newest_segment = newest(&[wal::SEGMENT, wal::VALUES], SEGMENT_ID_LIMIT);
    if !planted::is(Bug::SegmentIdReused) {
        let newest = u32::try_from(newest_segment).expect("below the limit");
        segment_ids.raise_above(SegmentId(newest));
    }
    // A directory may be all that is left of a keyspace's creation.
    let newest = u32::try_from(newest(&[HASH], SEGMENT_ID_LIMIT)).expect("below the limit");
    let next = NextIds { file: next_file, keyspace: catalog.next_keyspace.max(newest + 1) };
    let clock_ms = if planted::is(Bug::ClockForgotten) { 0 } else { catalog.clock_ms };
    let db_id = catalog.db_id;
    Files::new(fs.clone(), env.clone(), db_id, options, segment_ids, next, clock_ms)
}

fn raise_ids(files: &Files, catalog: Catalog) -> Catalog {
    let next_segment = catalog.next_segment.max(files.segment_ids.peek().0.saturating_add(1));
    let next_file = catalog.next_file.max(files.next_file());
    let clock_ms = catalog.clock_ms.max(files.clock.told());
    Catalog { next_file, next_segment, next_keyspace: files.next_keyspace(), clock_ms, ..catalog }
}

/// `clean`: the last close was, so that what was set aside before may go.
fn open_indexes(
    files: &Files,
    catalog: &Catalog,
    clean: bool,
    report: &mut RecoveryReport,
) -> Result<HashMap<u32, Arc<dyn Index>>> {
    let mut indexes: HashMap<u32, Arc<dyn Index>> = HashMap::new();
    for (id, keyspace) in &catalog.keyspaces {
        let index: Arc<dyn Index> = match keyspace.index {
            IndexKind::BTree => Arc::new(Levels::open(files, &keyspace.tables)?),
            IndexKind::Hash => {
                let table = HashTable::open(files, *id, keyspace, clean)?;
                report.quarantined.extend(table.quarantined());
                Arc::new(HashIndex::newest(Arc::new(table)))
            }
        };
        indexes.insert(*id, index);
    }
    Ok(indexes)
}

fn open_segments(files: &Files, catalog: &Catalog) -> Result<Segments> {
    let mut segments = Segments::default();
    for record in catalog.segments.values() {
        segments.add_as(record.origin, files.open_segment(record)?);
    }
    for (id, record) in &catalog.remaps {
        let remap = Remap::open(files, *id, record)?;
        let leads_nowhere = |target: &&u32| !catalog.segments.contains_key(*target);
        if let Some(target) = record.targets.iter().find(leads_nowhere) {
            let (file, target) = (remap.name(), SegmentId(*target));
            let message =
                format!("remap table {file} leads to segment {target}, which is not there");
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        segments.set_remap(SegmentId(*id), Some(remap));
    }
    Ok(segments)
}

/// Every file that the MANIFEST or the log knows.
fn known_files(catalog: &Catalog, replay: &Replay) -> BTreeSet<Name> {
    let log = replay.log.segments().into_iter().map(|meta| meta.id);
    let log = log.chain([replay.log.active()]).filter(|id| *id >= replay.wal_min);
    let mut known: BTreeSet<Name> =
        log.map(|id| Name::new(wal::SEGMENT, u64::from(id.0))).collect();
    known.extend(files::named(catalog));
    let hashed = catalog.keyspaces.iter().filter(|(_, found)| found.index == IndexKind::Hash);
    known.extend(hashed.map(|(id, _)| Name::new(HASH, u64::from(*id))));
    known
}

/// Removes log files that the new MANIFEST superseded, renames unknown files to `.bad`, and after
/// a clean close removes those set aside before.
fn set_aside(
    fs: &Arc<dyn Fs>,
    listing: &Listing,
    known: &BTreeSet<Name>,
    superseded: &[Name],
    clean: bool,
) -> Result<Vec<String>> {
    let ours = [TABLE, REMAP, wal::SEGMENT, wal::VALUES, PROBE, manifest::PARTIAL];
    let mut quarantined = Vec::new();
    let mut changed = false;
    for entry in &listing.entries {
        if entry.is_dir {
            if entry.name.kind == HASH && !known.contains(&entry.name) {
                quarantined.extend(hash_table::set_aside(&**fs, entry, clean)?);
                changed = true;
            }
        } else if superseded.contains(&entry.name) && !known.contains(&entry.name) {
            fs.remove(entry.name)?;
            changed = true;
        } else if entry.name.quarantined {
            if clean {
                fs.remove(entry.name)?;
                changed = true;
            }
        } else if ours.contains(&entry.name.kind) && !known.contains(&entry.name) {
            if planted::is(Bug::UnknownLeft) {
                continue;
            }
            if planted::is(Bug::UnknownRemoved) {
                fs.remove(entry.name)?;
                changed = true;
                continue;
            }
            match fs.rename(entry.name, entry.name.quarantine()) {
                // Somebody copied it back beside its quarantined self; both stay.
                Err(vfs::Error::Invalid { .. }) => continue,
                renamed => renamed?,
            }
            quarantined.push(entry.name.to_string());
            changed = true;
        }
    }
    if changed {
        fs.sync_dir()?;
    }
    Ok(quarantined)
}

fn new_view(
    catalog: &Catalog,
    mut indexes: HashMap<u32, Arc<dyn Index>>,
    segments: Segments,
    replay: &Replay,
) -> View {
    let log = &replay.log;
    let ids = replay.recovered.segments.iter().map(|meta| meta.id).chain([log.active()]);
    let needed = ids.filter(|id| *id >= replay.wal_min);
    let behind = needed.map(|id| log.segment(id).expect("the log has what it recovered"));
    let active = Generation::new(replay.memtables.clone(), behind.collect());
    log.forget_before(replay.wal_min);
    let keyspaces = catalog.keyspaces.iter().zip(&replay.memtables).map(|((id, record), table)| {
        assert!(*id == table.0, "memtables were made in the same order");
        Arc::new(KeyspaceView {
            id: *id,
            name: record.name.as_str().into(),
            kind: record.index,
            memtables: vec![table.1.clone()],
            index: indexes.remove(id).expect("every index was opened"),
        })
    });
    View {
        active: Arc::new(active),
        sealed: Vec::new(),
        keyspaces: keyspaces.collect(),
        segments: Arc::new(segments),
        flushed_seq: catalog.flushed_seq,
    }
}

fn new_commit(replay: &Replay) -> Commit {
    let memtables = replay.memtables.clone();
    let needed = |meta: &&wal::SegmentMeta| meta.id >= replay.wal_min;
    Commit {
        last_seq: replay.last_seq,
        last_staged: None,
        bytes: memtables.iter().map(|(_, table)| table.bytes()).sum(),
        entries: memtables.iter().map(|(_, table)| table.entries()).sum(),
        log_bytes: replay.recovered.segments.iter().filter(needed).map(|meta| meta.len).sum(),
        unlogged: false,
        pointers: Vec::new(),
        paced: Paced::default(),
        memtables,
    }
}
