//! A garbage collection, step by step: the live records of some value files (*victims*) move to
//! fresh files, and remap tables say where each went. No index is touched.
//!
//! ```text
//! address space by address space, in chunks:
//! records of the victims -> look-ups in index order -> the live ones, in that order, to the output
//!                                                   -> where they went, by address, to the table
//! ```
//!
//! 1. A record is dropped only if some durable version of its keyspace's index names another record
//!    as the newest of its key, or none. (Then no later version will name it again. A keyspace that
//!    is not there has no index.) What a memtable says does not count, nor does any clock.
//! 2. Every record of a victim is read and verified, or the collection fails.
//! 3. Memory: one chunk (at most [`CHUNK_RECORDS`] entries and [`CHUNK_KEY_BYTES`] of keys), a
//!    frame of a victim where files are not mapped, the writer's buffer, a page and the fences of
//!    one table. None of it grows with the files.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use vfs::Name;
use vfs::planted::{self, Bug};
use wal::{Frame, FrameIter, Position, Segment, SegmentId};

use crate::catalog::{RemapRecord, SegmentOrigin, SegmentRecord};
use crate::error::{Error, ErrorKind, Result};
use crate::files::{Files, REMAP};
use crate::moved::{Moved, MovedWriter};
use crate::record::{self, Record};
use crate::remap::{Builder, Entry, RemapCursor};
use crate::view::View;
use crate::vlog::{self, Place, Segments};

/// Records that are looked up together.
const CHUNK_RECORDS: usize = 16_384;
/// Their keys.
const CHUNK_KEY_BYTES: usize = 4 << 20;
/// Bytes of the victims that a chunk covers.
const CHUNK_BYTES: u64 = 16 << 20;

/// What went wrong, which decides what becomes of the database.
pub(crate) enum Failure {
    /// What is there cannot be read: these victims are left as they are.
    Source(Error, Vec<u32>),
    /// Something new cannot be written.
    Output(Error),
}

type Outcome<T> = std::result::Result<T, Failure>;

/// What the collectors share.
#[derive(Default)]
pub(crate) struct Collecting {
    /// The collection under way.
    pub(crate) run: Option<Run>,
    /// How much garbage the files had when a sample was last taken of them.
    pub(crate) sampled: BTreeMap<u32, u64>,
    /// When pages of indexes are next to be verified anew.
    pub(crate) next_forget: Duration,
    /// When the background next looks at what nobody told it of.
    pub(crate) next_round: Duration,
    /// Before that, the background does nothing: the pause after its last step.
    pub(crate) next_step: Duration,
}

/// A collection under way. Dropped before [`Run::take`] it leaves nothing behind.
pub(crate) struct Run {
    files: Arc<Files>,
    victims: BTreeMap<SegmentId, Arc<Segment>>,
    /// Address spaces with records in the victims that are still to do, the next one last.
    spaces: Vec<SegmentId>,
    space: Option<Space>,
    writer: MovedWriter,
    tables: Tables,
    /// Bytes of the records that were read.
    pub(crate) bytes_read: u64,
    /// Bytes of the victims.
    pub(crate) bytes_total: u64,
    /// Damage elsewhere, because of which something was taken for live.
    pub(crate) doubt: Option<Error>,
}

/// The finished remap tables.
struct Tables {
    files: Arc<Files>,
    done: Vec<(u32, RemapRecord)>,
}

impl Drop for Tables {
    fn drop(&mut self) {
        for (_, table) in &self.done {
            self.files.abandon(Name::new(REMAP, table.file));
        }
    }
}

/// What a collection wrote: synced, but for the directory.
pub(crate) struct Output {
    pub(crate) victims: Vec<SegmentId>,
    pub(crate) segments: Vec<SegmentRecord>,
    /// By address space.
    pub(crate) tables: Vec<(u32, RemapRecord)>,
}

/// The address space that is being worked on.
struct Space {
    id: SegmentId,
    source: Source,
    builder: Builder,
    /// Records the address space has, or had when it was first collected.
    records: u64,
}

/// Where the addresses of a space come from.
enum Source {
    /// The file in which they were first written, frame by frame.
    Frames { frames: FrameIter, frame: Option<(Frame, usize)> },
    /// The present remap table.
    Table(RemapCursor),
}

/// A record of a victim.
struct Candidate {
    offset: u64,
    victim: SegmentId,
    position: u64,
    keyspace: u32,
    /// Its index's favourite order.
    order: u64,
    /// In the chunk's keys.
    key: Range<usize>,
}

/// Records that are looked up together, of one address space, in the order of addresses.
struct Chunk {
    space: SegmentId,
    candidates: Vec<Candidate>,
    keys: Vec<u8>,
    /// Entries of the present table that lead elsewhere than into a victim: they stay.
    kept: Vec<Entry>,
    bytes: u64,
}

impl Chunk {
    fn new(space: SegmentId) -> Chunk {
        Chunk { space, candidates: Vec::new(), keys: Vec::new(), kept: Vec::new(), bytes: 0 }
    }

    fn address(&self, candidate: &Candidate) -> Position {
        Position { segment: self.space, offset: candidate.offset }
    }

    fn key(&self, candidate: &Candidate) -> &[u8] {
        &self.keys[candidate.key.clone()]
    }

    fn is_full(&self) -> bool {
        self.candidates.len() >= CHUNK_RECORDS
            || self.kept.len() >= CHUNK_RECORDS
            || self.keys.len() >= CHUNK_KEY_BYTES
            || self.bytes >= CHUNK_BYTES
    }

    fn add(&mut self, offset: u64, victim: SegmentId, position: u64, record: &Record<'_>) {
        let start = self.keys.len();
        self.keys.extend_from_slice(record.key);
        let key = start..self.keys.len();
        let keyspace = record.keyspace;
        self.bytes += record.encoded_len() as u64;
        self.candidates.push(Candidate { offset, victim, position, keyspace, order: 0, key });
    }
}

impl Run {
    /// Begins to rewrite files of a view.
    pub(crate) fn new(files: &Arc<Files>, segments: &Segments, victims: &[SegmentRecord]) -> Run {
        let id = |record: &SegmentRecord| SegmentId(record.id);
        let open = |record: &SegmentRecord| Some((id(record), segments.file(id(record))?.clone()));
        let found = victims.iter().filter_map(open).collect();
        let mut spaces: Vec<SegmentId> = victims
            .iter()
            .filter(|record| record.origin != SegmentOrigin::Rewritten)
            .map(id)
            .collect();
        for (space, remap) in segments.remaps() {
            if victims.iter().any(|victim| remap.record().targets.contains(&victim.id)) {
                spaces.push(space);
            }
        }
        spaces.sort_unstable_by(|a, b| b.cmp(a));
        Run {
            files: files.clone(),
            victims: found,
            spaces,
            space: None,
            writer: MovedWriter::new(files.clone()),
            tables: Tables { files: files.clone(), done: Vec::new() },
            bytes_read: 0,
            bytes_total: victims.iter().map(|victim| victim.len).sum(),
            doubt: None,
        }
    }

    /// Bytes written so far.
    pub(crate) fn bytes_written(&self) -> u64 {
        let tables: u64 = self.tables.done.iter().map(|(_, table)| table.len).sum();
        self.writer.bytes() + tables
    }

    /// Looks up and copies a chunk. `view` is the newest one: whatever is in its indexes is
    /// durable. True when all is copied, written and synced (not the directory).
    pub(crate) fn step(&mut self, view: &View) -> Outcome<bool> {
        let Some(mut space) = self.next_space(view)? else {
            self.writer.finish().map_err(Failure::Output)?;
            return Ok(true);
        };
        let mut chunk = Chunk::new(space.id);
        let done = self.fill(&mut space, &mut chunk)?;
        self.bytes_read += chunk.bytes;
        let live = self.look_up(view, &mut chunk)?;
        let mut entries = self.copy(&chunk, &live)?;
        entries.append(&mut chunk.kept);
        entries.sort_unstable_by_key(|entry| entry.offset);
        for entry in entries {
            space.builder.add(entry).map_err(Failure::Output)?;
        }
        if done {
            let table = space.builder.finish(space.records).map_err(Failure::Output)?;
            self.tables.done.push((space.id.0, table));
        } else {
            self.space = Some(space);
        }
        Ok(false)
    }

    /// The address space that is being worked on.
    fn next_space(&mut self, view: &View) -> Outcome<Option<Space>> {
        if let Some(space) = self.space.take() {
            return Ok(Some(space));
        }
        while let Some(id) = self.spaces.pop() {
            let (source, records, len) = match (self.victims.get(&id), view.segments.remap(id)) {
                (Some(victim), None) => {
                    let frames = victim.frames();
                    (Source::Frames { frames, frame: None }, 0, victim.len())
                }
                (_, Some(remap)) => {
                    (Source::Table(remap.cursor()), remap.records(), remap.address_len())
                }
                // It went meanwhile: nothing points into it any more.
                (None, None) => continue,
            };
            let len = len.next_multiple_of(8);
            let builder = Builder::create(&self.files, id.0, len).map_err(Failure::Output)?;
            return Ok(Some(Space { id, source, builder, records }));
        }
        Ok(None)
    }

    /// Reads and verifies the next records of an address space. True at its end.
    fn fill(&self, space: &mut Space, chunk: &mut Chunk) -> Outcome<bool> {
        let Space { id, source, records, .. } = space;
        match source {
            Source::Frames { frames, frame } => {
                let victim = &self.victims[id];
                let filled = fill_from_frames(self.files.db_id, victim, frames, frame, chunk);
                let (count, done) = filled.map_err(|error| Failure::Source(error, vec![id.0]))?;
                *records += count;
                Ok(done)
            }
            Source::Table(cursor) => self.fill_from_table(*id, cursor, chunk),
        }
    }

    fn fill_from_table(
        &self,
        space: SegmentId,
        cursor: &mut RemapCursor,
        chunk: &mut Chunk,
    ) -> Outcome<bool> {
        while !chunk.is_full() {
            let next = cursor.next().map_err(|error| self.unreadable(error))?;
            let Some(entry) = next else { return Ok(true) };
            let Some(segment) = self.victims.get(&entry.target) else {
                chunk.kept.push(entry);
                continue;
            };
            let place = Place { segment, offset: entry.position };
            let address = Position { segment: space, offset: entry.offset };
            let read = vlog::read_at(self.files.db_id, place, address, |record, _| {
                chunk.add(entry.offset, entry.target, entry.position, &record);
                Ok(())
            });
            read.map_err(|error| Failure::Source(error, vec![entry.target.0]))?;
        }
        Ok(false)
    }

    /// Nobody knows which of the victims it was.
    fn unreadable(&self, error: Error) -> Failure {
        Failure::Source(error, self.victims.keys().map(|id| id.0).collect())
    }

    /// Which candidates are live, in the order in which their indexes hold them.
    fn look_up(&mut self, view: &View, chunk: &mut Chunk) -> Outcome<Vec<usize>> {
        let mut candidates = std::mem::take(&mut chunk.candidates);
        for candidate in &mut candidates {
            if let Some(keyspace) = view.keyspace(candidate.keyspace) {
                candidate.order = keyspace.index.look_up_order(chunk.key(candidate));
            }
        }
        chunk.candidates = candidates;
        let by = |index: usize| {
            let one = &chunk.candidates[index];
            (one.keyspace, one.order, chunk.key(one))
        };
        let mut sorted: Vec<usize> = (0..chunk.candidates.len()).collect();
        sorted.sort_unstable_by(|a, b| by(*a).cmp(&by(*b)));
        let mut live = Vec::new();
        for index in sorted {
            let candidate = &chunk.candidates[index];
            let address = chunk.address(candidate);
            let found =
                is_live(&self.files, view, candidate.keyspace, chunk.key(candidate), address);
            match found {
                Ok(true) => live.push(index),
                Ok(false) => {}
                // Another record of its key is damaged. Who knows which is the newest; this one
                // stays, and the damage keeps no sound file from being collected.
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    self.doubt.get_or_insert(error);
                    live.push(index);
                }
                Err(error) => return Err(self.unreadable(error)),
            }
        }
        Ok(live)
    }

    /// Copies the live records of a chunk; says where each went.
    fn copy(&mut self, chunk: &Chunk, live: &[usize]) -> Outcome<Vec<Entry>> {
        let mut moved = Vec::with_capacity(live.len());
        for index in live {
            let candidate = &chunk.candidates[*index];
            let segment = &self.victims[&candidate.victim];
            let place = Place { segment, offset: candidate.position };
            let address = chunk.address(candidate);
            // Verified again: what is copied is what was read now.
            let bytes = vlog::read_at(self.files.db_id, place, address, |record, bytes| {
                Ok(bytes.slice(0..record.encoded_len()))
            });
            let bytes = bytes.map_err(|error| Failure::Source(error, vec![candidate.victim.0]))?;
            self.writer.append(address, &bytes, &mut moved).map_err(Failure::Output)?;
        }
        self.writer.end_frame(&mut moved).map_err(Failure::Output)?;
        let entry = |moved: Moved| {
            assert!(moved.address.segment == chunk.space, "a chunk is of one address space");
            let Moved { address, target, position } = moved;
            Entry { offset: address.offset, target, position }
        };
        Ok(moved.into_iter().map(entry).collect())
    }

    /// What was written, after the last step. From here on it is the caller's to keep or to
    /// remove.
    pub(crate) fn take(mut self) -> Output {
        let victims = self.victims.keys().copied().collect();
        let (segments, tables) = (self.writer.take(), std::mem::take(&mut self.tables.done));
        Output { victims, segments, tables }
    }
}

/// True if a record is what its keyspace's index, which is durable, holds as the newest of its key.
pub(crate) fn is_live(
    files: &Files,
    view: &View,
    keyspace: u32,
    key: &[u8],
    address: Position,
) -> Result<bool> {
    // The records of a keyspace that was dropped are dead.
    let Some(keyspace) = view.keyspace(keyspace) else { return Ok(false) };
    let is_newer = |table: &Arc<memtable::Memtable>| table.newest_seq(key).is_some();
    if planted::is(Bug::GcTrustsMemory) && keyspace.memtables.iter().any(is_newer) {
        return Ok(false);
    }
    let values = view.values(files.db_id, keyspace.id).verifying();
    let newest = keyspace.index.newest_pointer(key, &values)?;
    Ok(newest.is_some_and(|newest| newest.address() == address))
}

/// Reads records from the file in which they were first written; says how many, and if that was
/// the end.
fn fill_from_frames(
    db_id: u64,
    victim: &Arc<Segment>,
    frames: &mut FrameIter,
    frame: &mut Option<(Frame, usize)>,
    chunk: &mut Chunk,
) -> Result<(u64, bool)> {
    let mut count = 0;
    while !chunk.is_full() {
        let (current, at) = match frame.take() {
            Some(current) => current,
            None => match frames.next().transpose()? {
                Some(next) => (next, 0),
                None => return Ok((count, true)),
            },
        };
        let rest = current.payload.get(at..).unwrap_or_default();
        if rest.is_empty() {
            continue;
        }
        let offset = current.address.offset + at as u64;
        let address = Position { segment: victim.id(), offset };
        let (record, len) = record::decode(db_id, address, victim.path(), offset, rest)?;
        chunk.add(offset, victim.id(), offset, &record);
        count += 1;
        *frame = Some((current, at + len));
    }
    Ok((count, false))
}
