//! The value log: reads a record from its pointer, and writes values into segments of their own.
//!
//! A sealed log segment and a value segment have one format, and a record verifies itself, so
//! reading is the same for both: find the segment, read the record, check that it is the one the
//! index meant.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use vfs::planted::{self, Bug};
use vfs::{Bytes, Name, Part};
use wal::{Position, Segment, SegmentId, SegmentWriter};

use crate::catalog::{SegmentOrigin, SegmentRecord};
use crate::error::{Error, ErrorKind, Result};
use crate::files::Files;
use crate::record::{self, Record, ValuePtr};
use crate::remap::Remap;

/// The value segments of a view. A segment id that pointers name is an *address space*: its
/// records are in the file of the same id, or, once they moved, where its remap table says.
#[derive(Clone, Default)]
pub(crate) struct Segments {
    /// Files whose records never moved, by the address space they are.
    files: FxHashMap<SegmentId, Arc<Segment>>,
    /// Files of records that moved; no pointer names them.
    moved: FxHashMap<SegmentId, Arc<Segment>>,
    /// By the address space whose records moved.
    remaps: FxHashMap<SegmentId, Arc<Remap>>,
}

impl Segments {
    pub(crate) fn add(&mut self, segment: Arc<Segment>) {
        self.files.insert(segment.id(), segment);
    }

    /// Adds what a MANIFEST names, as its origin asks.
    pub(crate) fn add_as(&mut self, origin: SegmentOrigin, segment: Arc<Segment>) {
        match origin {
            SegmentOrigin::Promoted | SegmentOrigin::Copied => self.add(segment),
            SegmentOrigin::Rewritten => drop(self.moved.insert(segment.id(), segment)),
        }
    }

    /// Takes a file away, and says which it was.
    pub(crate) fn remove(&mut self, id: SegmentId) -> Option<Arc<Segment>> {
        self.files.remove(&id).or_else(|| self.moved.remove(&id))
    }

    /// Replaces the remap table of an address space; gives the old one.
    pub(crate) fn set_remap(
        &mut self,
        id: SegmentId,
        remap: Option<Arc<Remap>>,
    ) -> Option<Arc<Remap>> {
        match remap {
            Some(remap) => self.remaps.insert(id, remap),
            None => self.remaps.remove(&id),
        }
    }

    /// True if records have addresses in this segment.
    pub(crate) fn knows(&self, id: SegmentId) -> bool {
        self.files.contains_key(&id) || self.remaps.contains_key(&id)
    }

    /// The files whose records never moved, in no order.
    pub(crate) fn files(&self) -> impl ExactSizeIterator<Item = &Arc<Segment>> {
        self.files.values()
    }

    /// The files of records that moved, in no order.
    pub(crate) fn moved(&self) -> impl ExactSizeIterator<Item = &Arc<Segment>> {
        self.moved.values()
    }

    /// The remap tables, by the address space whose records moved.
    pub(crate) fn remaps(&self) -> impl ExactSizeIterator<Item = (SegmentId, &Arc<Remap>)> {
        self.remaps.iter().map(|(id, remap)| (*id, remap))
    }

    /// Every address space and its length in bytes, in no order.
    pub(crate) fn spaces(&self) -> impl Iterator<Item = (SegmentId, u64)> {
        let files = self.files.iter().map(|(id, file)| (*id, file.len()));
        files.chain(self.remaps.iter().map(|(id, remap)| (*id, remap.address_len())))
    }

    /// The remap table of an address space.
    pub(crate) fn remap(&self, id: SegmentId) -> Option<&Arc<Remap>> {
        self.remaps.get(&id)
    }

    /// A file by its id, whatever it holds.
    pub(crate) fn file(&self, id: SegmentId) -> Option<&Arc<Segment>> {
        self.files.get(&id).or_else(|| self.moved.get(&id))
    }

    /// Adds what a record takes at least to the dead bytes of the file it is in: an index let go
    /// of it. What was dropped before is not counted again, nor what a damaged table leads to: a count
    /// is a hint.
    pub(crate) fn charge(&self, pointer: ValuePtr, garbage: &mut BTreeMap<u32, u64>) -> Result<()> {
        let place = match self.place(pointer.address()) {
            Err(error) if error.kind() == ErrorKind::Corrupt => None,
            place => place?,
        };
        if let Some(place) = place {
            let bytes = pointer.len_max().map_or(8, |len| len as u64 / 2 + 8);
            *garbage.entry(place.segment.id().0).or_default() += bytes;
        }
        Ok(())
    }

    /// Asks for the memory of a record that will be read soon.
    pub(crate) fn prefetch(&self, pointer: ValuePtr) {
        if let Ok(Some(place)) = self.place(pointer.address()) {
            prefetch(place, pointer);
        }
    }

    /// Where the record with an address is now; `None` if it was dropped, which only happens to
    /// one that a newer entry shadowed.
    pub(crate) fn place(&self, address: Position) -> Result<Option<Place<'_>>> {
        self.place_as(address, false)
    }

    /// As [`Segments::place`]; but that a record was dropped is looked up again, with every byte
    /// verified: for who lets go of an entry because of that.
    pub(crate) fn place_or_surely_none(&self, address: Position) -> Result<Option<Place<'_>>> {
        match self.place(address)? {
            Some(place) => Ok(Some(place)),
            None => self.place_as(address, true),
        }
    }

    fn place_as(&self, address: Position, verify: bool) -> Result<Option<Place<'_>>> {
        let remap = self.remaps.get(&address.segment);
        if let Some(remap) = remap.filter(|_| !planted::is(Bug::RemapIgnored)) {
            let Some((target, offset)) = remap.find(address.offset, verify)? else {
                return Ok(None);
            };
            let segment = self.moved.get(&target).ok_or_else(|| missing_segment(target))?;
            return Ok(Some(Place { segment, offset }));
        }
        match self.files.get(&address.segment) {
            Some(segment) => Ok(Some(Place { segment, offset: address.offset })),
            None => Err(missing_segment(address.segment)),
        }
    }
}

/// Where in a file a record is.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) segment: &'a Arc<Segment>,
    pub(crate) offset: u64,
}

/// Reads the record a pointer names, from where it is, and hands it to `read` with its bytes.
pub(crate) fn read_record<R>(
    db_id: u64,
    place: Place<'_>,
    pointer: ValuePtr,
    read: impl FnOnce(Record<'_>, &Part<'_>) -> Result<R>,
) -> Result<R> {
    match pointer.len_max() {
        Some(len_max) => read_within(db_id, place, pointer.address(), len_max, read),
        None => read_at(db_id, place, pointer.address(), read),
    }
}

/// As [`read_record`], when only the record's address is known.
pub(crate) fn read_at<R>(
    db_id: u64,
    place: Place<'_>,
    address: Position,
    read: impl FnOnce(Record<'_>, &Part<'_>) -> Result<R>,
) -> Result<R> {
    let Place { segment, offset } = place;
    let header = segment.part(offset, left_of(place).min(record::HEADER_LEN))?;
    let len = record::peek_len(segment.path(), offset, &header)?;
    read_within(db_id, place, address, len, read)
}

fn left_of(Place { segment, offset }: Place<'_>) -> usize {
    usize::try_from(segment.len().saturating_sub(offset)).unwrap_or(usize::MAX)
}

fn read_within<R>(
    db_id: u64,
    place: Place<'_>,
    address: Position,
    len_max: usize,
    read: impl FnOnce(Record<'_>, &Part<'_>) -> Result<R>,
) -> Result<R> {
    let Place { segment, offset } = place;
    let bytes = segment.part(offset, left_of(place).min(len_max))?;
    let (record, _) = record::decode(db_id, address, segment.path(), offset, &bytes)?;
    read(record, &bytes)
}

/// A record that is read in one go where it is read first: longer than a few pages.
const LONG_LEN: usize = 8 << 10;

/// As [`read_record`], but verifies a record that is mapped only once since it was.
#[inline]
fn look_at_record<R>(
    db_id: u64,
    place: Place<'_>,
    pointer: ValuePtr,
    read: impl FnOnce(Record<'_>, &Part<'_>) -> Result<R>,
) -> Result<R> {
    let Place { segment, offset } = place;
    // What is decoded says where the next bytes are: by itself the processor would wait for the
    // mark, then for one line after the other.
    prefetch(place, pointer);
    if !segment.is_marked(offset) {
        // It was not read before, so it may not be in memory.
        if let Some(len) = pointer.len_max().filter(|len| *len > LONG_LEN) {
            segment.will_need(offset, len.min(left_of(place)));
        }
        return read_record(db_id, place, pointer, |record, bytes| {
            segment.mark(offset);
            read(record, bytes)
        });
    }
    // Of a long record only the header says how long it is.
    let len_max = pointer.len_max().unwrap_or(usize::MAX);
    let bytes = segment.part(offset, left_of(place).min(len_max))?;
    let (record, ..) = record::decode_verified(segment.path(), offset, &bytes)?;
    read(record, &bytes)
}

/// Asks for the first lines of a record, and for its mark.
#[inline]
fn prefetch(Place { segment, offset }: Place<'_>, pointer: ValuePtr) {
    // Of a long one the processor fetches the rest by itself once it is read.
    const LEN_MAX: usize = 256;
    segment.prefetch(offset, pointer.len_max().map_or(LEN_MAX, |len| len.min(LEN_MAX)));
}

/// The value of a key's record, verified: checksum, address, keyspace and key.
pub(crate) fn read_value(
    db_id: u64,
    place: Place<'_>,
    pointer: ValuePtr,
    keyspace: u32,
    key: &[u8],
) -> Result<Bytes> {
    read_record(db_id, place, pointer, |record, bytes| {
        require_key(place, keyspace, key, &record)?;
        Ok(bytes.slice_ref(record.value))
    })
}

#[inline]
fn require_key(place: Place<'_>, keyspace: u32, key: &[u8], record: &Record<'_>) -> Result<()> {
    if record.keyspace == keyspace && record.key == key {
        return Ok(());
    }
    let (expected, found) = (u64::from(keyspace), u64::from(record.keyspace));
    let path = place.segment.path();
    Err(Error::corrupt("key of a record", path, place.offset, expected, found))
}

/// Reads records of one keyspace from what its index's pointers name.
#[derive(Clone, Copy)]
pub(crate) struct Values<'a> {
    pub(crate) db_id: u64,
    pub(crate) keyspace: u32,
    pub(crate) segments: &'a Segments,
    /// Every record is verified each time it is read, not once since its segment was mapped.
    pub(crate) verifies: bool,
}

impl<'a> Values<'a> {
    /// The same for a reader that verifies everything: a check, a collection.
    pub(crate) fn verifying(self) -> Values<'a> {
        Values { verifies: true, ..self }
    }
}

impl Values<'_> {
    #[inline]
    fn read<R>(
        &self,
        place: Place<'_>,
        pointer: ValuePtr,
        read: impl FnOnce(Record<'_>, &Part<'_>) -> Result<R>,
    ) -> Result<R> {
        match self.verifies {
            true => read_record(self.db_id, place, pointer, read),
            false => look_at_record(self.db_id, place, pointer, read),
        }
    }

    /// The value of a key, verified.
    pub(crate) fn value(&self, pointer: ValuePtr, key: &[u8]) -> Result<Bytes> {
        match self.segments.place(pointer.address())? {
            Some(place) => self.read(place, pointer, |record, bytes| {
                require_key(place, self.keyspace, key, &record)?;
                Ok(bytes.slice_ref(record.value))
            }),
            None => Err(dropped_record(pointer)),
        }
    }

    /// Hands a record to `read`, verified; `None` if it was dropped.
    pub(crate) fn record<R>(
        &self,
        pointer: ValuePtr,
        read: impl FnOnce(Record<'_>, &Part<'_>) -> Result<R>,
    ) -> Result<Option<R>> {
        let Some(place) = self.segments.place(pointer.address())? else { return Ok(None) };
        self.read(place, pointer, |record, bytes| {
            if record.keyspace != self.keyspace {
                let (expected, found) = (u64::from(self.keyspace), u64::from(record.keyspace));
                let (path, offset) = (place.segment.path(), place.offset);
                return Err(Error::corrupt("keyspace of a record", path, offset, expected, found));
            }
            read(record, bytes)
        })
        .map(Some)
    }
}

/// The error for a pointer that must lead to a record and leads to a dropped one.
pub(crate) fn dropped_record(pointer: ValuePtr) -> Error {
    let Position { segment, offset } = pointer.address();
    let message =
        format!("an index points to byte {offset} of value segment {segment}, which was dropped");
    Error::new(ErrorKind::Corrupt, message)
}

/// The bytes a record takes, from its header alone.
pub(crate) fn record_len(segment: &Segment, pointer: ValuePtr) -> Result<u64> {
    let address = pointer.address();
    let header = segment.part(address.offset, record::HEADER_LEN)?;
    Ok(record::peek_len(segment.path(), address.offset, &header)? as u64)
}

/// The error for a pointer into a segment that the view does not have.
pub(crate) fn missing_segment(id: SegmentId) -> Error {
    let message = format!("an index points into value segment {id}, which is not there");
    Error::new(ErrorKind::Corrupt, message)
}

/// Records that are gathered into one frame, in bytes. A longer one has a frame of its own.
const FRAME_BYTES: usize = 32 << 10;

/// Writes copies of records into fresh value segments, in the order they come, several to a frame.
pub(crate) struct ValueWriter {
    files: Arc<Files>,
    open: Option<(Name, SegmentWriter)>,
    /// Records of the open segment's next frame.
    frame: Vec<u8>,
    /// Frames of the open segment.
    frames: u64,
    done: Vec<SegmentRecord>,
}

impl ValueWriter {
    pub(crate) fn new(files: Arc<Files>) -> ValueWriter {
        ValueWriter { files, open: None, frame: Vec::new(), frames: 0, done: Vec::new() }
    }

    /// Writes a record; says where it is now.
    pub(crate) fn append(&mut self, record: &Record<'_>) -> Result<ValuePtr> {
        let len = record.encoded_len();
        let starts_frame = self.frame.len() + len > FRAME_BYTES;
        if starts_frame {
            self.end_frame()?;
        }
        if let Some((_, writer)) = &self.open {
            let end = writer.len() + wal::FRAME_HEADER_LEN + (self.frame.len() + len) as u64;
            let holds_some = self.frames > 0 || !self.frame.is_empty();
            if holds_some && end > self.files.options.segment_bytes {
                self.end_segment()?;
            }
        }
        if self.open.is_none() {
            let id = self.files.segment_ids.next()?;
            let name = Name::new(wal::VALUES, u64::from(id.0));
            let Files { fs, env, db_id, .. } = &*self.files;
            self.open = Some((name, SegmentWriter::create(fs, env, name, *db_id)?));
        }
        let (name, writer) = self.open.as_mut().expect("a segment was just opened");
        let db_id = self.files.db_id;
        if len > FRAME_BYTES {
            self.frames += 1;
            let address = writer.append(self.frames, len, &mut |address, out| {
                record::encode(db_id, address, record, out);
            })?;
            return Ok(ValuePtr::new(address, len));
        }
        let start = self.frame.len();
        let address = address_of(*name, writer, start);
        self.frame.resize(start + len, 0);
        record::encode(db_id, address, record, &mut self.frame[start..]);
        Ok(ValuePtr::new(address, len))
    }

    fn end_frame(&mut self) -> Result<()> {
        if self.frame.is_empty() {
            return Ok(());
        }
        let (name, writer) = self.open.as_mut().expect("its records have addresses");
        let (expected, frame) = (address_of(*name, writer, 0), &self.frame);
        self.frames += 1;
        let fill = &mut |_, out: &mut [u8]| out.copy_from_slice(frame);
        let address = writer.append(self.frames, frame.len(), fill)?;
        assert!(address == expected, "the records are where their pointers say");
        self.frame.clear();
        Ok(())
    }

    fn end_segment(&mut self) -> Result<()> {
        self.end_frame()?;
        let Some((_, writer)) = &mut self.open else { return Ok(()) };
        writer.sync()?;
        let (_, writer) = self.open.take().expect("it is there");
        let meta = writer.finish()?;
        self.frames = 0;
        self.done.push(SegmentRecord {
            id: meta.id.0,
            origin: SegmentOrigin::Copied,
            len: meta.len,
            first_seq: meta.first_seq,
            last_seq: meta.last_seq,
            garbage: 0,
        });
        Ok(())
    }

    /// Ends and syncs the last segment (not the directory).
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.end_segment()
    }

    /// The written segments. From here on they are the caller's to keep or to remove.
    pub(crate) fn take(&mut self) -> Vec<SegmentRecord> {
        std::mem::take(&mut self.done)
    }
}

/// Where byte `at` of a segment's next frame will be.
fn address_of(name: Name, writer: &SegmentWriter, at: usize) -> Position {
    let segment = SegmentId(u32::try_from(name.id).expect("a segment's number fits"));
    Position { segment, offset: writer.len() + wal::FRAME_HEADER_LEN + at as u64 }
}

impl Drop for ValueWriter {
    /// Segments that nobody took leave nothing behind.
    fn drop(&mut self) {
        let open = self.open.take().map(|(name, _)| name);
        for name in self.done.iter().map(SegmentRecord::name).chain(open) {
            self.files.abandon(name);
        }
    }
}

#[cfg(test)]
mod tests;
