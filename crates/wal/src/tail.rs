//! The end of a log: frames that are being staged, and the segment they go to.
//!
//! ```text
//! mapped       stage -> buffer (one batch) -> the segment's mapping: in place at once
//! positional   stage -> buffer (a group of batches) -> taken by a leader -> one write each
//! ```

use std::sync::Arc;

use vfs::Result;

use crate::format::{self, FRAME_HEADER_BYTES, FRAME_HEADER_LEN, FrameKind, HEADER_LEN};
use crate::position::{Position, SegmentId};
use crate::segment::Segment;

/// A buffer that grew beyond this is given back to the system.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// Bytes that wait to be written to the end of a segment.
pub(crate) struct Chunk {
    pub(crate) segment: Arc<Segment>,
    pub(crate) bytes: Vec<u8>,
}

/// What the lock on a log's end protects.
pub(crate) struct Tail {
    active: Arc<Segment>,
    /// True if staged bytes are in place at once.
    is_mapped: bool,
    /// Bytes the active segment may grow to.
    capacity: u64,
    /// Where staged bytes end in it.
    end: u64,
    /// Where the segments before it end.
    previous_end: Position,
    /// The next seq is above it.
    seq_floor: u64,
    /// All bytes ever staged.
    staged_bytes: u64,
    /// Frames that are not in place yet: whole batches up to `buffered`, then one being encoded.
    buffer: Vec<u8>,
    buffered: usize,
    /// First and last seq of the batch being encoded.
    batch_seqs: Option<(u64, u64)>,
    /// Of earlier segments, before those in `buffer`.
    pending: Vec<Chunk>,
    /// An empty buffer to go on with.
    spare: Vec<u8>,
    /// Segments with bytes that may not be durable, oldest first; the active one is the last.
    pub(crate) unsynced: Vec<Arc<Segment>>,
    /// Names of segments up to this one are durable.
    pub(crate) entries_synced: SegmentId,
}

impl Tail {
    /// The end of a log whose active segment holds its header and nothing else, durably.
    pub(crate) fn new(
        active: Arc<Segment>,
        is_mapped: bool,
        capacity: u64,
        seq_floor: u64,
    ) -> Tail {
        let entries_synced = active.id();
        let unsynced = vec![Arc::clone(&active)];
        let mut tail = Tail {
            active: Arc::clone(&active),
            is_mapped,
            capacity,
            end: HEADER_LEN,
            previous_end: Position::default(),
            seq_floor,
            staged_bytes: 0,
            buffer: Vec::new(),
            buffered: 0,
            batch_seqs: None,
            pending: Vec::new(),
            spare: Vec::new(),
            unsynced,
            entries_synced,
        };
        tail.set_active(active, capacity);
        tail
    }

    fn set_active(&mut self, active: Arc<Segment>, capacity: u64) {
        let previous = active.header().previous;
        self.previous_end =
            previous.map_or(Position::default(), |p| Position { segment: p.id, offset: p.len });
        self.end = active.len();
        assert_eq!(self.end, HEADER_LEN, "an active segment starts with its header");
        self.active = active;
        self.capacity = capacity;
    }

    pub(crate) fn active(&self) -> &Arc<Segment> {
        &self.active
    }

    /// Where staged bytes end.
    pub(crate) fn end(&self) -> Position {
        Position { segment: self.active.id(), offset: self.end }
    }

    pub(crate) fn seq_floor(&self) -> u64 {
        self.seq_floor
    }

    pub(crate) fn staged_bytes(&self) -> u64 {
        self.staged_bytes
    }

    /// Whether frames of `len` bytes fit into the active segment, with a seal behind them.
    pub(crate) fn has_room(&self, len: u64) -> bool {
        self.end + len + FRAME_HEADER_LEN <= self.capacity
    }

    /// Ends the active segment and goes on in the next one, whose header is in place.
    pub(crate) fn rotate(&mut self, next: Arc<Segment>, capacity: u64) {
        self.drop_unfinished();
        if self.buffered > 0 {
            let bytes = std::mem::take(&mut self.buffer);
            self.pending.push(Chunk { segment: Arc::clone(&self.active), bytes });
            self.buffered = 0;
        }
        self.active.seal(self.end);
        self.unsynced.push(Arc::clone(&next));
        self.set_active(next, capacity);
    }

    /// Forgets a batch whose encoding did not end (its `fill` panicked).
    pub(crate) fn drop_unfinished(&mut self) {
        self.buffer.truncate(self.buffered);
        self.batch_seqs = None;
    }

    /// Encodes a frame behind those of the same batch; `fill` gets the payload's address and its
    /// bytes, zeroed. Gives the frame's position.
    pub(crate) fn encode(
        &mut self,
        (kind, seq): (FrameKind, u64),
        len: usize,
        synced: Position,
        fill: &mut dyn FnMut(Position, &mut [u8]),
    ) -> Position {
        let start = self.buffer.len();
        let frame_len = usize::try_from(format::frame_len(len as u64)).expect("it is in memory");
        self.buffer.resize(start + frame_len, 0);
        let frame = &mut self.buffer[start..];
        let segment = self.active.id();
        let offset = self.end + (start - self.buffered) as u64;
        let address = Position { segment, offset: offset + FRAME_HEADER_LEN };
        fill(address, &mut frame[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + len]);
        let synced = format::synced_field(segment, self.previous_end, synced);
        let salt = self.active.header().salt;
        format::seal_frame(salt, offset, (kind, seq, synced), len, frame);
        if kind != FrameKind::Seal {
            assert!(self.seq_floor < seq, "seqs only grow");
            self.seq_floor = seq;
            self.batch_seqs = Some((self.batch_seqs.map_or(seq, |(first, _)| first), seq));
        }
        Position { segment, offset }
    }

    /// The encoded frames are a whole batch: it is part of the log from here on.
    /// True beside its end if the mapping runs short of memory that is ready.
    pub(crate) fn finish(&mut self) -> Result<(Position, bool)> {
        let added = (self.buffer.len() - self.buffered) as u64;
        let mut runs_short = false;
        if self.is_mapped {
            runs_short = self.active.write(&self.buffer)?;
            self.buffer.clear();
            self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        } else {
            self.buffered = self.buffer.len();
        }
        if let Some((first, last)) = self.batch_seqs.take() {
            self.active.note_seqs(first, last);
        }
        self.end += added;
        self.staged_bytes += added;
        Ok((self.end(), runs_short))
    }

    /// All bytes that wait to be written, in order.
    pub(crate) fn take_pending(&mut self) -> Vec<Chunk> {
        self.drop_unfinished();
        let mut chunks = std::mem::take(&mut self.pending);
        if self.buffered > 0 {
            let bytes = std::mem::replace(&mut self.buffer, std::mem::take(&mut self.spare));
            chunks.push(Chunk { segment: Arc::clone(&self.active), bytes });
            self.buffered = 0;
        }
        chunks
    }

    /// Takes back a buffer whose bytes were written.
    pub(crate) fn reuse(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        buffer.shrink_to(BUFFER_BYTES_KEPT);
        self.spare = buffer;
    }
}
