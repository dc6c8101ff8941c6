//! Builds one segment that belongs to no log: copied values, MANIFEST files.

use std::sync::Arc;

use vfs::planted::{self, Bug};
use vfs::{BLOCK_LEN, Env, Error, File, Fs, Name, Result};

use crate::format::{
    self, FRAME_HEADER_BYTES, FRAME_HEADER_LEN, FrameKind, RECORD_LEN_MAX, Role, SEQ_MAX,
    SegmentHeader,
};
use crate::meta::SegmentMeta;
use crate::position::{Position, SegmentId};
use crate::turn::Poison;

/// Writes a segment front to back, through a buffer. The directory is the owner's to sync.
///
/// Dropped before [`SegmentWriter::finish`] it leaves a file that is the owner's to remove.
#[derive(Debug)]
pub struct SegmentWriter {
    file: Arc<dyn File>,
    header: SegmentHeader,
    poison: Poison,
    buffer: Vec<u8>,
    /// Bytes in the file; the buffer follows.
    written: u64,
    /// Bytes that are durable.
    synced: u64,
    first_seq: u64,
    last_seq: u64,
}

impl SegmentWriter {
    /// Creates the file `name`, which must not exist; its number is the segment's id, from 1 to
    /// `u32::MAX`. `owner_id` is kept in the header as its log id.
    pub fn create(fs: &Arc<dyn Fs>, env: &Env, name: Name, owner_id: u64) -> Result<SegmentWriter> {
        let Ok(id @ 1..) = u32::try_from(name.id) else {
            let what = format!("segment id {} is not in 1..={}", name.id, u32::MAX);
            return Err(Error::invalid(what, fs.path()));
        };
        let header = SegmentHeader {
            log_id: owner_id,
            id: SegmentId(id),
            role: Role::Single,
            salt: env.rng.next_u64(),
            epoch: 0,
            previous: None,
            recovered: false,
            synced: None,
            seq_floor: 0,
        };
        let file = fs.create_new(name)?;
        Ok(SegmentWriter {
            poison: Poison::new(file.path()),
            file,
            buffer: format::encode_header(&header),
            header,
            written: 0,
            synced: 0,
            first_seq: 0,
            last_seq: 0,
        })
    }

    /// Adds a record of `len` bytes; `fill` gets the address of its first byte and the bytes,
    /// zeroed. Gives that address.
    ///
    /// # Errors
    /// `Invalid` if `seq` is not above the one before (the first above 0) or the record is too
    /// long: nothing has changed then. After a failed write only `Poisoned`.
    pub fn append(
        &mut self,
        seq: u64,
        len: usize,
        fill: &mut dyn FnMut(Position, &mut [u8]),
    ) -> Result<Position> {
        self.poison.check()?;
        if !(self.last_seq < seq && seq <= SEQ_MAX) {
            let what = format!("seq {seq} is not above {} and at most {SEQ_MAX}", self.last_seq);
            return Err(Error::invalid(what, self.file.path()));
        }
        let frame_len = format::frame_len(len as u64);
        let fits = len as u64 <= u64::from(RECORD_LEN_MAX) && self.len() + frame_len <= LEN_MAX;
        if !fits {
            let what = format!("a record of {len} bytes is too long here");
            return Err(Error::invalid(what, self.file.path()));
        }
        let offset = self.len();
        let start = self.buffer.len();
        let end = start + usize::try_from(frame_len).expect("it is in memory");
        self.buffer.resize(end, 0);
        let frame = &mut self.buffer[start..];
        let segment = self.header.id;
        let address = Position { segment, offset: offset + FRAME_HEADER_LEN };
        fill(address, &mut frame[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + len]);
        let synced = Position { segment: SegmentId(0), offset: 0 };
        let synced =
            if self.synced == 0 { synced } else { Position { segment, offset: self.synced } };
        let synced = format::synced_field(segment, Position::default(), synced);
        format::seal_frame(self.header.salt, offset, (FrameKind::Record, seq, synced), len, frame);
        if self.first_seq == 0 {
            self.first_seq = seq;
        }
        self.last_seq = seq;
        if self.buffer.len() >= BLOCK_LEN {
            let written = vfs::write_blocks_at(&*self.file, &mut self.buffer, self.written);
            self.written += self.poison.watch(written)?;
        }
        Ok(address)
    }

    /// Reserves space for what was appended and not written yet, and for a record of `len` bytes
    /// more: a full disk is met here, before anything changed, where preallocation reserves.
    ///
    /// # Errors
    /// `NoSpace`: nothing has changed, and it can be tried again. `Poisoned` after a failed write.
    pub fn make_room(&mut self, len: usize) -> Result<()> {
        self.poison.check()?;
        let end = self.len() + format::frame_len(len as u64);
        self.file.preallocate(self.written, end - self.written)
    }

    /// Bytes of the segment so far, header included.
    #[expect(clippy::len_without_is_empty, reason = "a segment has at least a header")]
    pub fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Makes every record appended so far durable; frames appended later attest it.
    pub fn sync(&mut self) -> Result<()> {
        self.poison.check()?;
        self.write_buffer()?;
        if self.synced < self.written && !self.is_forgotten() {
            self.poison.watch(self.file.sync_data())?;
            self.synced = self.written;
        }
        Ok(())
    }

    /// Whether a planted bug forgets to sync the file.
    fn is_forgotten(&self) -> bool {
        let holds_values = || self.file.path().extension().is_some_and(|kind| kind == "val");
        planted::is(Bug::EditUnsynced) && !holds_values()
            || planted::is(Bug::ValuesUnsynced) && holds_values()
    }

    /// Writes everything and syncs the file.
    pub fn finish(mut self) -> Result<SegmentMeta> {
        self.sync()?;
        Ok(SegmentMeta {
            id: self.header.id,
            len: self.written,
            first_seq: self.first_seq,
            last_seq: self.last_seq,
        })
    }

    fn write_buffer(&mut self) -> Result<()> {
        let written = vfs::write_all_at(&*self.file, &self.buffer, self.written);
        self.poison.watch(written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(2 * BLOCK_LEN);
        Ok(())
    }
}

/// Positions reach this far.
const LEN_MAX: u64 = (u32::MAX as u64) * crate::position::ALIGN;
