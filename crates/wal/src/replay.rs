//! Torn tail or damage? The one place that decides, and the reading of one segment up to there.
//!
//! The first bad frame of a segment, at X, is *damage* iff a synced position that is recorded in
//! something that survives lies beyond X: in a later valid frame of the segment, in a later
//! segment's header or frames, or in what the owner knows. That a later frame exists proves
//! nothing, because disks persist unsynced blocks in any order; only the position it records does.
//! Otherwise X is the end of the log.

use std::sync::Arc;

use vfs::planted::{self, Bug};
use vfs::{Access, Error, File, Fs, Name, Reader, Result};

use crate::format::{
    self, Decoded, FRAME_HEADER_BYTES, FRAME_HEADER_LEN, FrameHeader, FrameKind, HEADER_LEN,
    SegmentHeader,
};
use crate::meta::read_header;
use crate::position::Position;

/// A record met by a replay.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Of its frame's first byte.
    pub position: Position,
    /// Of its payload's first byte.
    pub address: Position,
    /// Its seq.
    pub seq: u64,
    /// What was appended.
    pub payload: &'a [u8],
}

/// What a replay does with each record. An error ends the replay and is its result.
pub type Visit<'a> = &'a mut dyn FnMut(Record<'_>) -> Result<()>;

/// What one read of a replay fetches, at least.
const BLOCK_BYTES: u64 = 1 << 20;
/// What a search skips at once when it is all zeros.
const PAGE_BYTES: usize = 4096;
const WORD_BYTES: usize = 8;

/// A file seen through a buffer that moves forward. Holds no more bytes than the file has.
pub(crate) struct Window<'a> {
    file: &'a dyn File,
    file_len: u64,
    /// Offset of `bytes[0]`.
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    pub(crate) fn new(file: &'a dyn File) -> Result<Window<'a>> {
        Ok(Window { file, file_len: file.len()?, start: 0, bytes: Vec::new() })
    }

    /// `len` bytes at `offset`, or fewer where the file ends. Keeps what lies between `keep` and
    /// `offset` for later calls.
    fn at(&mut self, keep: u64, offset: u64, len: u64) -> Result<&[u8]> {
        assert!(keep <= offset, "a window keeps what it has passed");
        let end = offset.saturating_add(len).min(self.file_len);
        let offset = offset.min(end);
        let have = self.start + self.bytes.len() as u64;
        if keep < self.start || have < keep {
            self.bytes.clear();
            self.start = keep;
        }
        let have = self.start + self.bytes.len() as u64;
        if have < end {
            self.bytes.drain(..index(keep - self.start));
            self.start = keep;
            let fetch_end = end.max((have + BLOCK_BYTES).min(self.file_len));
            let done = self.bytes.len();
            self.bytes.resize(index(fetch_end - self.start), 0);
            vfs::read_exact_at(self.file, &mut self.bytes[done..], have)?;
        }
        let range = index(offset - self.start)..index(end - self.start);
        Ok(&self.bytes[range])
    }
}

fn index(distance: u64) -> usize {
    usize::try_from(distance).expect("a batch fits in memory")
}

/// What the frames of one segment turned out to be.
#[derive(Debug)]
pub(crate) struct Body {
    /// Behind the last whole batch.
    pub(crate) end: u64,
    /// Of the first record; 0 without one.
    pub(crate) first_seq: u64,
    /// Of the last record, or the one given.
    pub(crate) last_seq: u64,
    pub(crate) records: u64,
    /// The furthest position that a frame, or the header, records as synced.
    pub(crate) attested: Option<Position>,
    /// Why reading ended before it should; `None` if it did not.
    pub(crate) stop: Option<Error>,
}

/// A frame of a batch whose end was not met yet.
struct Waiting {
    offset: u64,
    seq: u64,
    len: u64,
}

/// Reads the segment's frames one after the other.
struct Frames<'a, 'w> {
    window: &'w mut Window<'a>,
    header: &'w SegmentHeader,
    /// Of the next frame.
    offset: u64,
    /// Every further seq is above it.
    seq_floor: u64,
    batch: Vec<Waiting>,
    body: Body,
}

/// Reads frames until `limit`, where the next segment says that this one ends, or the end of the
/// file. Gives every record of whole batches to `visit`.
pub(crate) fn read_frames(
    window: &mut Window<'_>,
    header: &SegmentHeader,
    limit: Option<u64>,
    last_seq: u64,
    visit: Visit<'_>,
) -> Result<Body> {
    let limit_len = limit.unwrap_or(window.file_len);
    let attested = header.synced;
    let body = Body { end: HEADER_LEN, first_seq: 0, last_seq, records: 0, attested, stop: None };
    let seq_floor = header.seq_floor.max(last_seq);
    let mut frames =
        Frames { window, header, offset: HEADER_LEN, seq_floor, batch: Vec::new(), body };
    let mut sealed = false;
    while !sealed && frames.body.stop.is_none() && frames.offset < limit_len {
        sealed = frames.step(limit_len, visit)?;
    }
    // A seal ends the file, but not a chain whose next segment expects more.
    let is_short = frames.body.end < limit_len && !(sealed && limit.is_none());
    if frames.body.stop.is_none() && is_short {
        frames.body.stop = Some(frames.corrupt("end of segment", limit_len, frames.body.end));
    }
    Ok(frames.body)
}

impl Frames<'_, '_> {
    fn corrupt(&self, what: &'static str, expected: u64, found: u64) -> Error {
        Error::corrupt(what, self.window.file.path(), self.offset, expected, found)
    }

    /// Reads one frame; true for a seal.
    fn step(&mut self, limit: u64, visit: Visit<'_>) -> Result<bool> {
        let frame = match self.read(limit)? {
            Ok(frame) => frame,
            Err(error) => {
                self.body.stop = Some(error);
                return Ok(false);
            }
        };
        self.body.attested = self.body.attested.max(frame.attests(self.header));
        let seq_is_new = self.seq_floor < frame.seq;
        let is_seal = frame.kind == FrameKind::Seal;
        if !is_seal && !seq_is_new {
            return Err(self.corrupt("frame seq", self.seq_floor + 1, frame.seq));
        }
        if is_seal && !self.batch.is_empty() {
            return Err(self.corrupt("frame kind", 1, 3));
        }
        if !is_seal {
            self.seq_floor = frame.seq;
            let (offset, seq, len) = (self.offset, frame.seq, u64::from(frame.len));
            self.batch.push(Waiting { offset, seq, len });
        }
        self.offset += frame.frame_len();
        if frame.kind == FrameKind::Record {
            self.deliver(visit)?;
        }
        if self.batch.is_empty() {
            self.body.end = self.offset;
        }
        Ok(is_seal)
    }

    /// The frame at the offset, checked; the inner error says why there is none.
    fn read(&mut self, limit: u64) -> Result<Result<FrameHeader>> {
        let (keep, offset) = (self.body.end, self.offset);
        let path = self.window.file.path();
        let head = self.window.at(keep, offset, FRAME_HEADER_LEN)?;
        let frame = match format::decode_frame(self.header, &mut Reader::new(path, offset, head))? {
            Decoded::Whole(frame) => frame,
            Decoded::Broken(error) => return Ok(Err(error)),
        };
        let end = offset + frame.frame_len();
        if limit < end {
            return Ok(Err(self.corrupt("frame length", limit, end)));
        }
        let bytes = self.window.at(keep, offset, frame.frame_len())?;
        let body = bytes.get(FRAME_HEADER_BYTES..).unwrap_or_default();
        let mut reader = Reader::new(path, offset + FRAME_HEADER_LEN, body);
        Ok(format::check_payload(self.header, offset, &frame, &mut reader).map(|_| frame))
    }

    /// Gives out a batch that turned out to be whole.
    fn deliver(&mut self, visit: Visit<'_>) -> Result<()> {
        let keep = self.body.end;
        for Waiting { offset, seq, len } in self.batch.drain(..) {
            let at = |offset| Position { segment: self.header.id, offset };
            let address = offset + FRAME_HEADER_LEN;
            let payload = self.window.at(keep, address, len)?;
            visit(Record { position: at(offset), address: at(address), seq, payload })?;
            if self.body.records == 0 {
                self.body.first_seq = seq;
            }
            self.body.records += 1;
            self.body.last_seq = seq;
        }
        Ok(())
    }
}

/// What survives behind the end of a log.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// The furthest position recorded as synced.
    pub(crate) attested: Option<Position>,
    /// The highest seq.
    pub(crate) seq: u64,
    /// How many bytes are behind the end, up to the last that is not zero.
    pub(crate) ignored_bytes: u64,
}

impl Evidence {
    /// Takes note of a position that something says was synced.
    pub(crate) fn attest(&mut self, position: Option<Position>) {
        self.attested = self.attested.max(position);
    }

    /// Searches a segment from `from` on, at every place where a frame may start. Without a
    /// `header` frames cannot be told; then only the bytes are counted.
    pub(crate) fn search(
        &mut self,
        window: &mut Window<'_>,
        header: Option<&SegmentHeader>,
        from: u64,
    ) -> Result<()> {
        let path = window.file.path();
        let mut used_end = from;
        let mut block_start = from;
        while block_start < window.file_len {
            let block = window.at(block_start, block_start, BLOCK_BYTES + FRAME_HEADER_LEN)?;
            let searched = block.len().min(index(BLOCK_BYTES));
            for page in (0..searched).step_by(PAGE_BYTES) {
                let page_end = searched.min(page + PAGE_BYTES);
                if is_zero(&block[page..page_end]) {
                    continue;
                }
                for word in (page..page_end).step_by(WORD_BYTES) {
                    let offset = block_start + word as u64;
                    if is_zero(&block[word..page_end.min(word + WORD_BYTES)]) {
                        continue;
                    }
                    used_end = offset + WORD_BYTES as u64;
                    let Some(header) = header else { continue };
                    if let Some(frame) = format::find_frame(path, header, offset, &block[word..]) {
                        self.attest(frame.attests(header));
                        self.seq = self.seq.max(frame.seq);
                    }
                }
            }
            block_start += BLOCK_BYTES;
        }
        self.ignored_bytes += used_end.min(window.file_len.max(from)) - from;
        Ok(())
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];
    bytes == &ZEROS[..bytes.len()]
}

/// Decides: `stop`, met at `cut`, is the end of the log, or the error that says where it is
/// damaged.
pub(crate) fn decide(cut: Position, attested: Option<Position>, stop: Error) -> Result<()> {
    match attested {
        Some(attested) if cut < attested && !planted::is(Bug::DamageTakenForTail) => Err(stop),
        _ => Ok(()),
    }
}

/// How a segment that stands alone ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Behind its last frame there is nothing.
    Clean,
    /// A write did not complete, or was not synced; nothing behind `offset` was ever attested.
    Torn {
        /// Where the last whole batch ends.
        offset: u64,
        /// How many bytes behind it are ignored, up to the last that is not zero.
        ignored_bytes: u64,
    },
}

/// Reads a segment that is no member of a log and may have a torn tail: every record of whole
/// batches, in order.
///
/// `Corrupt` if the header is not whole, or for a bad frame before a position that something
/// behind it records as synced; the records before the damage were visited then.
pub fn replay_segment(fs: &Arc<dyn Fs>, name: Name, visit: Visit<'_>) -> Result<End> {
    let file = fs.open(name, Access::Read)?;
    let header = read_header(&*file, name)?;
    let mut window = Window::new(&*file)?;
    let body = read_frames(&mut window, &header, None, 0, visit)?;
    let mut evidence = Evidence::default();
    evidence.search(&mut window, Some(&header), body.end)?;
    if let Some(stop) = body.stop {
        let cut = Position { segment: header.id, offset: body.end };
        decide(cut, evidence.attested, stop)?;
    }
    Ok(match evidence.ignored_bytes {
        0 => End::Clean,
        ignored_bytes => End::Torn { offset: body.end, ignored_bytes },
    })
}
