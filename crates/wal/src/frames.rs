//! The records of one segment, found and verified.

use std::sync::Arc;

use vfs::{Bytes, Error, ReadAhead, Reader, Result};

use crate::format::{self, Decoded, FRAME_HEADER_BYTES, FRAME_HEADER_LEN, FrameKind, HEADER_LEN};
use crate::position::{ALIGN, Position};
use crate::segment::Segment;

impl Segment {
    /// The records of the segment, verified, in order; after an error nothing more.
    pub fn frames(self: &Arc<Self>) -> FrameIter {
        FrameIter::new(Arc::clone(self), HEADER_LEN, self.len())
    }

    /// The first whole record at `offset` or within `search_len` bytes behind it, verified; `None`
    /// if there is none. For samples: what is damaged is passed over.
    pub fn frame_near(self: &Arc<Self>, offset: u64, search_len: u64) -> Result<Option<Frame>> {
        let len = self.len();
        let mut start = offset.clamp(HEADER_LEN, len.max(HEADER_LEN)).next_multiple_of(ALIGN);
        let end = start.saturating_add(search_len).min(len);
        while start < end {
            // A header may begin at the last position of a block.
            let fetch = (SEARCH_BYTES + FRAME_HEADER_LEN).min(len - start);
            let block = self.bytes(start, usize::try_from(fetch).expect("a block"))?;
            for at in (0..SEARCH_BYTES.min(end - start)).step_by(FRAME_ALIGN) {
                let rest = block.get(usize::try_from(at).expect("in the block")..);
                let rest = rest.unwrap_or_default();
                let found = format::find_frame(self.path(), self.header(), start + at, rest);
                if found.is_some_and(|frame| frame.kind != FrameKind::Seal)
                    && let Ok(frame) = FrameIter::single(Arc::clone(self), start + at)
                {
                    return Ok(Some(frame));
                }
            }
            start += SEARCH_BYTES;
        }
        Ok(None)
    }
}

/// One verified record of a segment.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Of the frame's first byte.
    pub position: Position,
    /// Of the payload's first byte.
    pub address: Position,
    /// Its seq.
    pub seq: u64,
    /// What it is; never [`FrameKind::Seal`].
    pub kind: FrameKind,
    /// What was appended.
    pub payload: Bytes,
}

/// The records of one segment, in order. Every frame is verified; after the first error nothing
/// more comes.
#[derive(Debug)]
pub struct FrameIter {
    segment: Arc<Segment>,
    /// Of the next frame.
    offset: u64,
    end: u64,
    last_seq: u64,
    /// Bytes read ahead, from `block_start` on.
    block: Bytes,
    block_start: u64,
    /// How far the system was asked for more.
    ahead: ReadAhead,
}

/// What one read of a search covers, a multiple of the alignment.
const SEARCH_BYTES: u64 = 16 << 10;
const FRAME_ALIGN: usize = 8;
const _: () = assert!(SEARCH_BYTES.is_multiple_of(ALIGN) && FRAME_ALIGN as u64 == ALIGN);
/// What one read fetches ahead.
const BLOCK_BYTES: u64 = 256 << 10;

impl FrameIter {
    /// The frames from `offset` to `end`, both of which are borders of frames.
    pub(crate) fn new(segment: Arc<Segment>, offset: u64, end: u64) -> FrameIter {
        let (block, ahead) = (Bytes::new(), ReadAhead::default());
        FrameIter { segment, offset, end, last_seq: 0, block, block_start: 0, ahead }
    }

    /// The one frame at `offset`.
    pub(crate) fn single(segment: Arc<Segment>, offset: u64) -> Result<Frame> {
        let end = segment.len();
        let mut frames = FrameIter::new(segment, offset, end);
        let (frame, _) = frames.frame(FRAME_HEADER_LEN)?;
        if frame.kind == FrameKind::Seal {
            return Err(frames.corrupt("record", 1, 0));
        }
        Ok(frame)
    }

    fn corrupt(&self, what: &'static str, expected: u64, found: u64) -> Error {
        Error::corrupt(what, self.segment.path(), self.offset, expected, found)
    }

    /// `len` bytes at `offset`, read ahead by up to `ahead` bytes.
    fn take(&mut self, offset: u64, len: u64, ahead: u64) -> Result<Bytes> {
        if self.end - offset.min(self.end) < len {
            return Err(self.corrupt("frame length", self.end, offset.saturating_add(len)));
        }
        let inside = self.block_start <= offset
            && offset + len <= self.block_start + self.block.len() as u64;
        if !inside {
            let fetch = len.max(ahead).min(self.end - offset);
            let fetch = usize::try_from(fetch).expect("a frame fits in memory");
            self.segment.read_ahead(offset, &mut self.ahead);
            self.block = self.segment.bytes(offset, fetch)?;
            self.block_start = offset;
        }
        let start = usize::try_from(offset - self.block_start).expect("inside the block");
        let len = usize::try_from(len).expect("inside the block");
        Ok(self.block.slice(start..start + len))
    }

    /// The frame at the current offset and its length.
    fn frame(&mut self, ahead: u64) -> Result<(Frame, u64)> {
        let offset = self.offset;
        let head = self.take(offset, FRAME_HEADER_LEN, ahead)?;
        let segment = Arc::clone(&self.segment);
        let header = segment.header();
        let decoded =
            format::decode_frame(header, &mut Reader::new(segment.path(), offset, &head))?;
        let frame = match decoded {
            Decoded::Whole(frame) => frame,
            Decoded::Broken(error) => return Err(error),
        };
        let bytes = self.take(offset, frame.frame_len(), ahead)?;
        let body = bytes.slice(FRAME_HEADER_BYTES..);
        let address = offset + FRAME_HEADER_LEN;
        let mut reader = Reader::new(segment.path(), address, &body);
        let payload_len = format::check_payload(header, offset, &frame, &mut reader)?.len();
        let at = |offset| Position { segment: header.id, offset };
        let record = Frame {
            position: at(offset),
            address: at(address),
            seq: frame.seq,
            kind: frame.kind,
            payload: body.slice(..payload_len),
        };
        Ok((record, frame.frame_len()))
    }

    fn advance(&mut self) -> Result<Option<Frame>> {
        while self.offset < self.end {
            let (frame, len) = self.frame(BLOCK_BYTES)?;
            if frame.kind != FrameKind::Seal && frame.seq <= self.last_seq {
                return Err(self.corrupt("frame seq", self.last_seq + 1, frame.seq));
            }
            self.offset += len;
            if frame.kind != FrameKind::Seal {
                self.last_seq = frame.seq;
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }
}

impl Iterator for FrameIter {
    type Item = Result<Frame>;

    fn next(&mut self) -> Option<Result<Frame>> {
        let next = self.advance();
        if next.is_err() {
            self.offset = self.end;
        }
        next.transpose()
    }
}
