//! Rewritten segments: files of records that garbage collection moved. The only module that knows
//! what is inside their frames.
//!
//! ```text
//! payload of a frame := count u32 | zeros u32 | { segment u32, offset / 8 u32 }[count] | record*
//! ```
//!
//! The list says at which logical address each of the records was first written, in their order.
//! The records are as they were: they verify against that address. Everything is aligned to 8.
//! The id of such a file is no address space: no pointer names it; remap tables lead into it.

use std::sync::Arc;

use vfs::{Name, Reader, Writer};
use wal::{Frame, Position, Segment, SegmentId, SegmentWriter};

use crate::catalog::{SegmentOrigin, SegmentRecord};
use crate::error::Result;
use crate::files::Files;
use crate::record::{self, Record};

/// Bytes of records at which a frame ends.
const FRAME_BYTES: usize = 64 << 10;
const COUNT_LEN: usize = 8;
const ADDRESS_LEN: usize = 8;
const UNIT: u64 = 8;

/// A record that was moved: where it was written first, and where it is now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Moved {
    pub(crate) address: Position,
    pub(crate) target: SegmentId,
    pub(crate) position: u64,
}

/// Writes a frame's payload: records that stand one behind the other in `records`.
fn encode(addresses: &[Position], records: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(COUNT_LEN + addresses.len() * ADDRESS_LEN + records.len());
    let mut writer = Writer::new(&mut payload);
    writer.u32(u32::try_from(addresses.len()).expect("a frame holds few")).u32(0);
    for address in addresses {
        let unit = u32::try_from(address.offset / UNIT).expect("inside a segment");
        writer.u32(address.segment.0).u32(unit);
    }
    writer.bytes(records);
    payload
}

/// Hands every record of a rewritten segment's frame to `visit`, verified, with its logical
/// address and its place in the file.
pub(crate) fn decode(
    db_id: u64,
    segment: &Segment,
    frame: &Frame,
    visit: &mut dyn FnMut(Position, u64, Record<'_>, usize) -> Result<()>,
) -> Result<()> {
    let start = frame.address.offset;
    let mut reader = Reader::new(segment.path(), start, &frame.payload);
    let count = reader.u32("count of moved records")?;
    reader.expect("reserved", &[0; 4])?;
    let list_len = (count as usize).saturating_mul(ADDRESS_LEN);
    let at = reader.offset();
    let list = reader.bytes("addresses of moved records", list_len)?;
    let mut list = Reader::new(segment.path(), at, list);
    for _ in 0..count {
        let id = SegmentId(list.u32("segment of a moved record")?);
        let offset = u64::from(list.u32("offset of a moved record")?) * UNIT;
        let address = Position { segment: id, offset };
        let position = reader.offset();
        let (record, len) =
            record::decode(db_id, address, segment.path(), position, reader.rest())?;
        visit(address, position, record, len)?;
        reader.bytes("moved record", len)?;
    }
    Ok(reader.end("moved records")?)
}

/// Writes moved records into fresh files, in the order they come. Memory: one frame and the
/// segment writer's buffer.
///
/// What was not taken leaves nothing behind.
pub(crate) struct MovedWriter {
    files: Arc<Files>,
    open: Option<(Name, SegmentWriter)>,
    frames: u64,
    /// Of the frame that is being filled.
    addresses: Vec<Position>,
    /// Where each of them starts in `records`.
    starts: Vec<usize>,
    records: Vec<u8>,
    done: Vec<SegmentRecord>,
    /// Bytes written to files that are done.
    bytes_done: u64,
}

impl MovedWriter {
    pub(crate) fn new(files: Arc<Files>) -> MovedWriter {
        MovedWriter {
            files,
            open: None,
            frames: 0,
            addresses: Vec::new(),
            starts: Vec::new(),
            records: Vec::new(),
            done: Vec::new(),
            bytes_done: 0,
        }
    }

    /// Adds a record's bytes, which belong to `address`. Where it went is told when its frame
    /// ends: into `moved`.
    pub(crate) fn append(
        &mut self,
        address: Position,
        bytes: &[u8],
        moved: &mut Vec<Moved>,
    ) -> Result<()> {
        assert!(bytes.len().is_multiple_of(8), "records are aligned");
        let segment_bytes = usize::try_from(self.files.options.segment_bytes).unwrap_or(usize::MAX);
        let frame_bytes = FRAME_BYTES.min(segment_bytes / 2);
        if !self.records.is_empty() && self.records.len() + bytes.len() > frame_bytes {
            self.end_frame(moved)?;
        }
        self.addresses.push(address);
        self.starts.push(self.records.len());
        self.records.extend_from_slice(bytes);
        Ok(())
    }

    /// Ends the frame that is being filled.
    pub(crate) fn end_frame(&mut self, moved: &mut Vec<Moved>) -> Result<()> {
        if self.addresses.is_empty() {
            return Ok(());
        }
        let payload = encode(&self.addresses, &self.records);
        let list_len = payload.len() - self.records.len();
        self.records.clear();
        self.records.shrink_to(2 * FRAME_BYTES);
        let full = self.files.options.segment_bytes;
        let frame_len = wal::FRAME_HEADER_LEN + (payload.len() as u64).next_multiple_of(UNIT);
        let is_full = |writer: &SegmentWriter| writer.len() + frame_len > full;
        if self.frames > 0 && self.open.as_ref().is_some_and(|(_, writer)| is_full(writer)) {
            self.end_segment()?;
        }
        if self.open.is_none() {
            let id = self.files.segment_ids.next()?;
            let name = Name::new(wal::VALUES, u64::from(id.0));
            let Files { fs, env, db_id, .. } = &*self.files;
            self.open = Some((name, SegmentWriter::create(fs, env, name, *db_id)?));
        }
        let (_, writer) = self.open.as_mut().expect("a segment was just opened");
        self.frames += 1;
        let fill = &mut |_: Position, out: &mut [u8]| out.copy_from_slice(&payload);
        let placed = writer.append(self.frames, payload.len(), fill)?;
        for (address, start) in self.addresses.drain(..).zip(self.starts.drain(..)) {
            let position = placed.offset + (list_len + start) as u64;
            moved.push(Moved { address, target: placed.segment, position });
        }
        Ok(())
    }

    fn end_segment(&mut self) -> Result<()> {
        let Some((_, writer)) = &mut self.open else { return Ok(()) };
        writer.sync()?;
        let (_, writer) = self.open.take().expect("it is there");
        let meta = writer.finish()?;
        self.frames = 0;
        self.bytes_done += meta.len;
        self.done.push(SegmentRecord {
            id: meta.id.0,
            origin: SegmentOrigin::Rewritten,
            len: meta.len,
            first_seq: meta.first_seq,
            last_seq: meta.last_seq,
            garbage: 0,
        });
        Ok(())
    }

    /// Bytes written so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes_done + self.open.as_ref().map_or(0, |(_, writer)| writer.len())
    }

    /// Ends and syncs the last file (not the directory). The last frame was ended.
    pub(crate) fn finish(&mut self) -> Result<()> {
        assert!(self.addresses.is_empty(), "somebody waits to learn where these records went");
        self.end_segment()
    }

    /// The written files. From here on they are the caller's to keep or to remove.
    pub(crate) fn take(&mut self) -> Vec<SegmentRecord> {
        std::mem::take(&mut self.done)
    }
}

impl Drop for MovedWriter {
    fn drop(&mut self) {
        let open = self.open.take().map(|(name, _)| name);
        for name in self.done.iter().map(SegmentRecord::name).chain(open) {
            self.files.abandon(name);
        }
    }
}

#[cfg(test)]
mod tests;
