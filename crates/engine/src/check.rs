//! Reads and verifies everything: every page and entry of every index file, every record of every
//! value segment and of the log, every pointer, and the MANIFEST.

use std::sync::Arc;

use sstable::Value;
use vfs::{Access, File, Name};
use wal::{Position, Segment, SegmentId};

use crate::error::{Error, ErrorKind, Result};
use crate::hash_table::HASH;
use crate::manifest;
use crate::moved;
use crate::record::{self, ValuePtr};
use crate::remap::Remap;
use crate::state::State;
use crate::view::{KeyspaceView, View};
use crate::vlog::{self, Place};

/// What a search behind an end reads at once.
const BLOCK_BYTES: u64 = 64 << 10;

/// What `Db::check` read and found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CheckReport {
    /// Files read.
    pub files: u64,
    /// Bytes verified.
    pub bytes: u64,
    /// Entries of index files.
    pub entries: u64,
    /// Records of value segments and of the log, dead ones included.
    pub records: u64,
    /// Every damage, each naming file and offset. Empty for a sound database.
    pub damage: Vec<Error>,
    /// Files in the directory that do not belong to the database; never touched.
    pub foreign: Vec<String>,
    /// Files that recovery set aside.
    pub quarantined: Vec<String>,
    /// Bytes behind the end of a log segment, the last of them not zero: file, offset, how many. A
    /// crash left them, or they are damage; nothing reads them.
    pub ignored: Vec<(String, u64, u64)>,
}

impl CheckReport {
    /// True if nothing is damaged.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }
}

/// Verifies everything that the newest view holds.
pub(crate) fn check(state: &State) -> Result<CheckReport> {
    let pin = state.pin();
    let view = pin.view()?;
    // Sealed log segments are read from their files: what was staged must be there.
    // A poisoned log takes no sync; what it holds is checked as far as it got.
    if state.failure().is_none() {
        state.log.sync()?;
    }
    let mut report = CheckReport::default();
    check_manifest(state, &mut report);
    check_indexes(state, &view, &mut report);
    for segment in view.segments.files() {
        check_segment(state, segment, &mut report);
        check_behind(state, segment, &mut report);
    }
    for segment in view.segments.moved() {
        check_moved(state, segment, &mut report);
        check_behind(state, segment, &mut report);
    }
    for (id, remap) in view.segments.remaps() {
        report.files += 1;
        report.bytes += remap.record().len;
        report.damage.extend(check_remap(state, &view, id, remap).err());
    }
    for generation in view.sealed.iter().chain([&view.active]) {
        let segments = generation.segments.read().clone();
        for segment in segments {
            check_segment(state, &segment, &mut report);
            if segment.id() != state.log.active() {
                check_behind(state, &segment, &mut report);
            }
        }
    }
    let listing = state.files.fs.list()?;
    report.foreign = listing.foreign;
    let quarantined = listing.entries.iter().filter(|entry| entry.name.quarantined);
    report.quarantined = quarantined.map(|entry| entry.name.to_string()).collect();
    for table in listing.entries.iter().filter(|entry| entry.is_dir && entry.name.kind == HASH) {
        look_into(state, table.name, &mut report)?;
    }
    Ok(report)
}

/// What of a table's directory does not belong to the table. One that goes away meanwhile was
/// dropped.
fn look_into(state: &State, table: Name, report: &mut CheckReport) -> Result<()> {
    let listing = match state.files.fs.open_dir(table).and_then(|dir| dir.list()) {
        Err(vfs::Error::NotFound { .. }) => return Ok(()),
        listing => listing?,
    };
    let inside = |name: String| format!("{table}/{name}");
    report.foreign.extend(listing.foreign.into_iter().map(inside));
    let quarantined = listing.entries.iter().filter(|entry| entry.name.quarantined);
    report.quarantined.extend(quarantined.map(|entry| inside(entry.name.to_string())));
    Ok(())
}

fn check_manifest(state: &State, report: &mut CheckReport) {
    let manifest = state.manifest.lock();
    let loaded = state.files.fs.list().map_err(Error::from).and_then(|listing| {
        let loaded = manifest::load(&state.files.fs, &listing)?;
        Ok((loaded, listing))
    });
    match loaded {
        Ok((Some(loaded), listing)) => {
            if loaded.catalog != *manifest.catalog() {
                let message = "the MANIFEST on disk differs from the one in memory";
                report.damage.push(Error::new(ErrorKind::Corrupt, message));
            }
            let of_manifest = |entry: &&vfs::DirEntry| entry.name.kind == manifest::MANIFEST;
            report.bytes += listing.entries.iter().filter(of_manifest).map(|e| e.len).sum::<u64>();
            report.files += 1;
        }
        Ok((None, _)) => {
            let message = "the MANIFEST is not there any more";
            report.damage.push(Error::new(ErrorKind::Corrupt, message));
        }
        Err(error) => report.damage.push(error),
    }
}

fn check_indexes(state: &State, view: &View, report: &mut CheckReport) {
    for keyspace in &view.keyspaces {
        let shape = keyspace.index.shape();
        report.files += shape.levels.iter().map(|(files, _)| files).sum::<u64>();
        report.bytes += shape.levels.iter().map(|(_, bytes)| bytes).sum::<u64>();
        let mut damage = Vec::new();
        let mut entries = 0;
        let values = view.values(state.files.db_id, keyspace.id).verifying();
        let mut visit = |entry: sstable::Entry<'_>| {
            entries += 1;
            match entry.value {
                Value::Pointer(bits) => check_pointer(state, view, keyspace, entry.key, bits),
                _ => Ok(()),
            }
        };
        keyspace.index.check(&values, &mut visit, &mut |error| damage.push(error));
        report.entries += entries;
        report.damage.extend(damage);
    }
}

/// The pointer leads to the record of its key, or to one that was dropped because a newer entry
/// hides it.
fn check_pointer(
    state: &State,
    view: &View,
    keyspace: &KeyspaceView,
    key: &[u8],
    bits: u64,
) -> Result<()> {
    let values = view.values(state.files.db_id, keyspace.id).verifying();
    let pointer = ValuePtr::from_bits(bits);
    if view.segments.place(pointer.address())?.is_none()
        && keyspace.index.newest_pointer(key, &values)? != Some(pointer)
    {
        return Ok(());
    }
    values.value(pointer, key).map(drop)
}

/// Every record of a file of moved ones.
fn check_moved(state: &State, segment: &Arc<Segment>, report: &mut CheckReport) {
    report.files += 1;
    report.bytes += segment.len();
    for frame in segment.frames() {
        let records = &mut report.records;
        let result = frame.map_err(Error::from).and_then(|frame| {
            moved::decode(state.files.db_id, segment, &frame, &mut |_, _, _, _| {
                *records += 1;
                Ok(())
            })
        });
        if let Err(error) = result {
            report.damage.push(error);
            return;
        }
    }
}

/// Every entry of a remap table leads to the record of its address.
fn check_remap(state: &State, view: &View, id: SegmentId, remap: &Arc<Remap>) -> Result<()> {
    remap.check(&mut |entry| {
        let address = Position { segment: id, offset: entry.offset };
        let segment = view.segments.file(entry.target);
        let segment = segment.ok_or_else(|| vlog::missing_segment(entry.target))?;
        let place = Place { segment, offset: entry.position };
        vlog::read_at(state.files.db_id, place, address, |_, _| Ok(()))
    })
}

fn check_segment(state: &State, segment: &Arc<Segment>, report: &mut CheckReport) {
    report.files += 1;
    report.bytes += segment.len();
    for frame in segment.frames() {
        let result = frame.map_err(Error::from).and_then(|frame| {
            check_records(state, segment, frame.address, &frame.payload, &mut report.records)
        });
        if let Err(error) = result {
            report.damage.push(error);
            return;
        }
    }
}

/// What stands behind the end of a segment that gets no more bytes. Behind that of a value segment
/// nothing was ever written; behind that of a log segment a crash may have left what it cut.
fn check_behind(state: &State, segment: &Segment, report: &mut CheckReport) {
    match used_behind(state, segment) {
        Ok(None) => {}
        Ok(Some((name, bytes, _))) if name.kind == wal::SEGMENT => {
            report.ignored.push((name.to_string(), segment.len(), bytes));
        }
        Ok(Some((_, bytes, last))) => {
            let (what, offset) = ("byte behind the end of a segment", segment.len() + bytes - 1);
            report.damage.push(Error::corrupt(what, segment.path(), offset, 0, last.into()));
        }
        Err(error) => report.damage.push(error),
    }
}

/// Name of a segment's file, how many bytes behind its end reach up to the last that is not zero,
/// and that one; `None` if all are zeros.
fn used_behind(state: &State, segment: &Segment) -> Result<Option<(Name, u64, u8)>> {
    let name = segment.path().file_name().and_then(|name| Name::parse(name.to_str()?));
    let name = name.expect("the file of a segment has a legal name");
    let file = state.files.fs.open(name, Access::Read)?;
    let used = last_used(&*file, segment.len(), file.len()?)?;
    Ok(used.map(|(bytes, last)| (name, bytes, last)))
}

/// The same of a file, which was `end` bytes long a moment ago.
fn last_used(file: &dyn File, start: u64, mut end: u64) -> Result<Option<(u64, u8)>> {
    let mut block = Vec::new();
    while start < end {
        let len = (end - start).min(BLOCK_BYTES);
        block.resize(usize::try_from(len).expect("a block"), 0);
        if let Err(error) = vfs::read_exact_at(file, &mut block, end - len) {
            let now = file.len()?;
            if now < end {
                // A flush has cut what was preallocated behind the end of the log segment.
                end = now;
                continue;
            }
            return Err(error.into());
        }
        if let Some(last) = block.iter().rposition(|byte| *byte != 0) {
            let found = block.get(last).copied().unwrap_or_default();
            return Ok(Some((end - len + last as u64 + 1 - start, found)));
        }
        end -= len;
    }
    Ok(None)
}

fn check_records(
    state: &State,
    segment: &Segment,
    address: wal::Position,
    payload: &[u8],
    records: &mut u64,
) -> Result<()> {
    let mut at = 0;
    while let Some(rest) = payload.get(at..).filter(|rest| !rest.is_empty()) {
        let offset = address.offset + at as u64;
        let place = wal::Position { offset, ..address };
        let (_, len) = record::decode(state.files.db_id, place, segment.path(), offset, rest)?;
        *records += 1;
        at += len;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
