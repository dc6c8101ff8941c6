//! Bytes of a log segment. The only module in this crate that knows a byte position.
//!
//! ```text
//! segment := header frame*                     every frame starts at a multiple of 8
//!
//! header   0 magic          "NELUMSEG"
//!          8 version        u32   1
//!         12 header len     u32   96
//!         16 log id         u64   one per log, random
//!         24 id             u32   the number in the file's name
//!         28 role           u32   1 in a log, 2 stands alone (values, MANIFEST)
//!         32 salt           u64   random, seeds the checksums of the frames
//!         40 epoch          u64   which open of the log made this segment
//!         48 previous id    u32   0 = the log starts here
//!         52 flags          u32   1 = started by a recovery: what lies behind `previous len` in
//!                                 the previous segment is skipped for ever
//!         56 previous len   u64   its valid bytes, header included
//!         64 previous seq   u64   the last seq in it or before it
//!         72 synced         u32 segment, u32 offset / 8: the log was synced up to here
//!         80 seq floor      u64   every seq of this segment is above it
//!         88 crc            u32   over 0..88
//!         92 trailer        "NSG1"   shows that the header was written to its end
//!
//! frame    0 header crc     u32   over 4..24
//!          4 payload crc    u32   over the payload
//!          8 payload len    u32   at most RECORD_LEN_MAX
//!         12 synced         u32   0 = nothing known, 1 = every segment before this one was
//!                                 synced, n = this one too, up to byte 8 n
//!         16 seq and kind   u64   seq in the low 56 bits, FrameKind in the high 8
//!         24 payload, then zeros up to a multiple of 8
//! ```
//!
//! Little-endian. The header's crc is seeded with the id in the file's name, both crcs of a frame
//! with the salt and the frame's offset: bytes in a wrong place fail. A frame's header can be
//! checked alone, so that finding the next valid frame costs O(1) per position. Kind 0 is what a
//! hole reads as and is never written; kind 4 (truncate, for a Raft log) is reserved.

use std::path::Path;

use vfs::planted::{self, Bug};
use vfs::{Checksum, Error, Kind, Reader, Result, Writer};

use crate::position::{ALIGN, Position, SegmentId};

/// The kind of the files of a log, unless its owner chooses another.
pub const SEGMENT: Kind = Kind::new("wal");
/// The kind of segments that hold values and belong to no log.
pub const VALUES: Kind = Kind::new("val");

/// Most bytes of one record, and of one batch with its frame headers: 1 GiB and room for the
/// owner's own headers.
pub const RECORD_LEN_MAX: u32 = (1 << 30) + (1 << 20);
/// The highest seq there can be.
pub const SEQ_MAX: u64 = (1 << SEQ_BITS) - 1;

const MAGIC: &[u8; 8] = b"NELUMSEG";
/// Every byte has more than one bit set: a header torn anywhere is more than one bit from whole.
const TRAILER: &[u8; 4] = b"NSG1";
/// Positions of the fields that [`is_damaged_header`] looks at.
const ID_BYTES: std::ops::Range<usize> = 24..28;
const TRAILER_BYTES: std::ops::Range<usize> = 92..96;
const VERSION: u32 = 1;
const SEQ_BITS: u32 = 56;
const FLAG_RECOVERED: u32 = 1;

/// Bytes of a segment's header: the offset of its first frame.
pub const HEADER_LEN: u64 = 96;
/// Bytes of a frame before its payload.
pub const FRAME_HEADER_LEN: u64 = 24;

pub(crate) const HEADER_BYTES: usize = 96;
pub(crate) const FRAME_HEADER_BYTES: usize = 24;
/// Position of the kind's byte in a frame's header, for a search that must be quick.
const KIND_BYTE: usize = 23;

const _: () = assert!(
    HEADER_BYTES as u64 == HEADER_LEN
        && FRAME_HEADER_BYTES as u64 == FRAME_HEADER_LEN
        && HEADER_LEN.is_multiple_of(ALIGN)
        && FRAME_HEADER_LEN.is_multiple_of(ALIGN),
    "the format is frozen"
);

/// No log is opened so often: the number of the next open can always be told.
const EPOCH_MAX: u64 = u64::MAX >> 1;
/// No frame ends behind it, because positions count units of eight bytes in 32 bits.
const FRAME_END_MAX: u64 = (u32::MAX as u64) * ALIGN;

/// Seeds the header's checksum: it cannot use the salt that it protects.
const HEADER_SALT: u64 = 0x6e65_6c75_6d62_6f31;
/// Tells a payload's checksum from its frame's, so that neither can pass for the other.
const PAYLOAD_SALT: u64 = 0x7061_796c_6f61_6431;

/// `synced` of a frame that knows of no sync.
const SYNCED_NOTHING: u32 = 0;
/// `synced` of a frame that knows that every segment before its own was synced.
const SYNCED_PREVIOUS: u32 = 1;

/// What a segment is part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// A log: segments that follow each other.
    Log,
    /// Nothing: it stands alone.
    Single,
}

/// The segment before another one, as the later one's header remembers it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Previous {
    /// Which.
    pub id: SegmentId,
    /// Its valid bytes, header included.
    pub len: u64,
    /// The last seq in it or before it.
    pub last_seq: u64,
}

/// What a segment says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentHeader {
    /// Which log, or which owner of a segment that stands alone.
    pub log_id: u64,
    /// Which segment; the number in the file's name.
    pub id: SegmentId,
    /// What it is part of.
    pub role: Role,
    /// Seeds the checksums of its frames.
    pub salt: u64,
    /// Which open of the log made it, counted from 1; 0 outside a log.
    pub epoch: u64,
    /// The segment before it; `None` where a log starts.
    pub previous: Option<Previous>,
    /// Started by a recovery: what lies behind `previous.len` is skipped for ever.
    pub recovered: bool,
    /// Up to where the log was known to be synced when this header was written.
    pub synced: Option<Position>,
    /// Every seq of this segment is above it.
    pub seq_floor: u64,
}

/// What a frame holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameKind {
    /// A record, the last (or only) one of its batch.
    Record,
    /// A record with more of its batch behind it.
    More,
    /// No record: everything before it was synced when it was written, and nothing follows.
    Seal,
}

impl FrameKind {
    fn to_bits(self) -> u8 {
        match self {
            FrameKind::Record => 1,
            FrameKind::More => 2,
            FrameKind::Seal => 3,
        }
    }

    fn from_bits(bits: u8) -> Option<FrameKind> {
        match bits {
            1 => Some(FrameKind::Record),
            2 => Some(FrameKind::More),
            3 => Some(FrameKind::Seal),
            _ => None,
        }
    }
}

/// A frame's header, without its checksums.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FrameHeader {
    pub(crate) payload_crc: u32,
    pub(crate) len: u32,
    synced: u32,
    pub(crate) seq: u64,
    pub(crate) kind: FrameKind,
}

impl FrameHeader {
    /// Bytes of the whole frame.
    pub(crate) fn frame_len(&self) -> u64 {
        frame_len(u64::from(self.len))
    }

    /// How far the log was synced when this frame of the segment with `header` was written.
    pub(crate) fn attests(&self, header: &SegmentHeader) -> Option<Position> {
        match self.synced {
            SYNCED_NOTHING => None,
            SYNCED_PREVIOUS => header.previous.map(|p| Position { segment: p.id, offset: p.len }),
            units => Some(Position { segment: header.id, offset: u64::from(units) * ALIGN }),
        }
    }
}

/// Bytes of a frame with a payload of `len` bytes.
pub(crate) fn frame_len(len: u64) -> u64 {
    FRAME_HEADER_LEN + len.next_multiple_of(ALIGN)
}

/// What a frame of segment `id` says if the log is synced up to `synced` and the segments before
/// it end at `previous_end`.
pub(crate) fn synced_field(id: SegmentId, previous_end: Position, synced: Position) -> u32 {
    if synced.segment == id {
        synced.units()
    } else if previous_end.segment.0 != 0 && previous_end <= synced {
        SYNCED_PREVIOUS
    } else {
        SYNCED_NOTHING
    }
}

pub(crate) fn encode_header(header: &SegmentHeader) -> Vec<u8> {
    let previous = header.previous.unwrap_or(Previous { id: SegmentId(0), len: 0, last_seq: 0 });
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    let mut writer = Writer::new(&mut bytes);
    writer.bytes(MAGIC).u32(VERSION).u32(u32::try_from(HEADER_LEN).expect("a small constant"));
    writer.u64(header.log_id).u32(header.id.0);
    writer.u32(match header.role {
        Role::Log => 1,
        Role::Single => 2,
    });
    writer.u64(header.salt).u64(header.epoch).u32(previous.id.0);
    writer.u32(if header.recovered { FLAG_RECOVERED } else { 0 });
    writer.u64(previous.len).u64(previous.last_seq);
    writer.bytes(&header.synced.unwrap_or_default().encode());
    writer.u64(header.seq_floor);
    let crc = Checksum::of(HEADER_SALT, u64::from(header.id.0), &bytes);
    Writer::new(&mut bytes).u32(crc).bytes(TRAILER);
    assert_eq!(bytes.len(), HEADER_BYTES, "the header's length is fixed");
    bytes
}

/// Reads the header of the segment whose file is named `id`. `Corrupt` unless it is whole;
/// `Invalid` if it is whole and of a version this build does not know.
pub(crate) fn decode_header(id: SegmentId, reader: &mut Reader<'_>) -> Result<SegmentHeader> {
    let mut crc = reader.clone();
    let covered = crc.bytes("segment header", HEADER_BYTES - size_of::<u32>() - TRAILER.len())?;
    let expected = Checksum::of(HEADER_SALT, u64::from(id.0), covered);
    reader.expect("segment magic", MAGIC)?;
    let at_crc = crc.clone();
    let found = crc.u32("segment header")?;
    if found != expected {
        let (expected, found) = (u64::from(expected), u64::from(found));
        return Err(at_crc.corrupt("segment header checksum", expected, found));
    }
    let version = reader.u32("segment version")?;
    if version != VERSION {
        let what = format!("segment format version {version}, this build knows {VERSION}");
        return Err(Error::invalid(what, reader.path()));
    }
    let header = decode_checked_header(reader)?;
    if header.id != id {
        let (expected, found) = (u64::from(id.0), u64::from(header.id.0));
        return Err(at_crc.corrupt("segment id", expected, found));
    }
    reader.u32("segment header checksum")?;
    reader.expect("segment trailer", TRAILER)?;
    Ok(header)
}

/// Whether bytes that are no whole header were one once, rather than a write that never ended.
///
/// A torn write lacks the trailer, and what stood in the file's blocks before has another id. So
/// trailer and id together prove a whole write, and a changed bit in either is found by trying.
pub(crate) fn is_damaged_header(id: SegmentId, bytes: &[u8; HEADER_BYTES]) -> bool {
    let id_bytes = id.0.to_le_bytes();
    if bytes[ID_BYTES] == id_bytes && bytes[TRAILER_BYTES] == *TRAILER {
        return true;
    }
    ID_BYTES.chain(TRAILER_BYTES).any(|index| {
        (0..8).any(|bit| {
            let mut flipped = *bytes;
            flipped[index] ^= 1 << bit;
            let mut reader = Reader::new(Path::new(""), 0, &flipped);
            decode_header(id, &mut reader).is_ok()
        })
    })
}

/// The fields behind the version of a header whose checksum is right: only a bug or a forger
/// writes bad ones.
fn decode_checked_header(reader: &mut Reader<'_>) -> Result<SegmentHeader> {
    let len = reader.clone();
    let header_len = u64::from(reader.u32("segment header length")?);
    if header_len != HEADER_LEN {
        return Err(len.corrupt("segment header length", HEADER_LEN, header_len));
    }
    let log_id = reader.u64("log id")?;
    let id = SegmentId(reader.u32("segment id")?);
    let at_role = reader.clone();
    let role = match reader.u32("segment role")? {
        1 => Role::Log,
        2 => Role::Single,
        found => return Err(at_role.corrupt("segment role", 1, u64::from(found))),
    };
    let salt = reader.u64("segment salt")?;
    let at_epoch = reader.clone();
    let epoch = reader.u64("epoch")?;
    if epoch > EPOCH_MAX {
        return Err(at_epoch.corrupt("epoch", EPOCH_MAX, epoch));
    }
    let at_previous = reader.clone();
    let previous_id = SegmentId(reader.u32("previous segment")?);
    let at_flags = reader.clone();
    let flags = reader.u32("segment flags")?;
    if flags & !FLAG_RECOVERED != 0 {
        return Err(at_flags.corrupt("segment flags", 0, u64::from(flags)));
    }
    let (len, last_seq) = (reader.u64("previous length")?, reader.u64("previous seq")?);
    let synced = Position::read("synced position", reader)?;
    let seq_floor = reader.u64("seq floor")?;
    let none = previous_id.0 == 0;
    let is_end = (HEADER_LEN..=FRAME_END_MAX).contains(&len) && len % ALIGN == 0;
    let lens_fit = if none { len == 0 } else { is_end };
    let seqs_fit = last_seq <= seq_floor && seq_floor <= SEQ_MAX;
    if id <= previous_id || !lens_fit || !seqs_fit || (none && last_seq != 0) {
        return Err(at_previous.corrupt("previous segment", 0, u64::from(previous_id.0)));
    }
    let is_nowhere = synced.segment.0 == 0 && synced.offset != 0;
    if synced.segment >= id || is_nowhere {
        return Err(at_previous.corrupt("synced position", 0, u64::from(synced.segment.0)));
    }
    let previous = (!none).then_some(Previous { id: previous_id, len, last_seq });
    let recovered = flags & FLAG_RECOVERED != 0;
    let synced = (synced.segment.0 != 0).then_some(synced);
    Ok(SegmentHeader { log_id, id, role, salt, epoch, previous, recovered, synced, seq_floor })
}

/// Completes a frame whose payload and zero padding are in place: `frame` is all of it, and goes
/// to `offset` of its segment.
pub(crate) fn seal_frame(
    salt: u64,
    offset: u64,
    (kind, seq, synced): (FrameKind, u64, u32),
    len: usize,
    frame: &mut [u8],
) {
    assert!(seq <= SEQ_MAX, "seq {seq} does not fit its field");
    let len_field = u32::try_from(len).expect("a payload is at most RECORD_LEN_MAX");
    let (head, body) = frame.split_at_mut(FRAME_HEADER_BYTES);
    let payload_crc = Checksum::of(salt ^ PAYLOAD_SALT, offset, &body[..len]);
    let word = seq | (u64::from(kind.to_bits()) << SEQ_BITS);
    head[4..8].copy_from_slice(&payload_crc.to_le_bytes());
    head[8..12].copy_from_slice(&len_field.to_le_bytes());
    head[12..16].copy_from_slice(&synced.to_le_bytes());
    head[16..24].copy_from_slice(&word.to_le_bytes());
    let header_crc = Checksum::of(salt, offset, &head[4..]);
    head[..4].copy_from_slice(&header_crc.to_le_bytes());
}

/// What stands where a frame should.
pub(crate) enum Decoded {
    /// A frame's header, as it was written.
    Whole(FrameHeader),
    /// Something else: what a crash leaves, or damage. The error says which check failed.
    Broken(Error),
}

/// Reads a frame's header at the reader's offset. `Corrupt` for a header whose checksum is right
/// and whose fields cannot be.
pub(crate) fn decode_frame(header: &SegmentHeader, reader: &mut Reader<'_>) -> Result<Decoded> {
    let start = reader.clone();
    let offset = reader.offset();
    let Some(covered) = start.rest().get(4..FRAME_HEADER_BYTES) else {
        let left = start.remaining() as u64;
        return Ok(Decoded::Broken(start.corrupt("frame header", FRAME_HEADER_LEN, left)));
    };
    let expected = Checksum::of(header.salt, offset, covered);
    let found = reader.u32("frame header checksum")?;
    if found != expected {
        let (expected, found) = (u64::from(expected), u64::from(found));
        return Ok(Decoded::Broken(start.corrupt("frame header checksum", expected, found)));
    }
    let payload_crc = reader.u32("frame payload checksum")?;
    let len = reader.u32("frame length")?;
    let synced = reader.u32("frame synced position")?;
    let word = reader.u64("frame seq")?;
    let bits = u8::try_from(word >> SEQ_BITS).expect("eight bits are left");
    let Some(kind) = FrameKind::from_bits(bits) else {
        return Err(start.corrupt("frame kind", 1, u64::from(bits)));
    };
    if len > RECORD_LEN_MAX || (kind == FrameKind::Seal && len != 0) {
        let max = if kind == FrameKind::Seal { 0 } else { RECORD_LEN_MAX };
        return Err(start.corrupt("frame length", u64::from(max), u64::from(len)));
    }
    let end = offset.saturating_add(frame_len(u64::from(len)));
    if end > FRAME_END_MAX {
        return Err(start.corrupt("end of a frame", FRAME_END_MAX, end));
    }
    let synced_offset = u64::from(synced) * ALIGN;
    if synced > SYNCED_PREVIOUS && !(HEADER_LEN <= synced_offset && synced_offset <= offset) {
        return Err(start.corrupt("frame synced position", offset, synced_offset));
    }
    let seq = word & SEQ_MAX;
    Ok(Decoded::Whole(FrameHeader { payload_crc, len, synced, seq, kind }))
}

/// Checks payload and padding, which `reader` is at; `offset` is the frame's. Gives the payload.
pub(crate) fn check_payload<'a>(
    segment: &SegmentHeader,
    offset: u64,
    frame: &FrameHeader,
    reader: &mut Reader<'a>,
) -> Result<&'a [u8]> {
    let start = reader.clone();
    let len = usize::try_from(frame.len).expect("32 bits fit");
    let payload = reader.bytes("frame payload", len)?;
    let crc = Checksum::of(segment.salt ^ PAYLOAD_SALT, offset, payload);
    let unchecked = planted::is(Bug::FrameUnchecked) || planted::is(Bug::BatchReplayedInHalves);
    if crc != frame.payload_crc && !unchecked {
        let (expected, found) = (u64::from(frame.payload_crc), u64::from(crc));
        return Err(start.corrupt("frame payload checksum", expected, found));
    }
    let padding = len.next_multiple_of(ALIGN_BYTES) - len;
    reader.expect("frame padding", &[0; ALIGN_BYTES][..padding])?;
    Ok(payload)
}

const ALIGN_BYTES: usize = 8;

/// The frame header that may stand at the start of `bytes`, at `offset`, if it is intact: what a
/// search behind a bad frame asks of every aligned position.
pub(crate) fn find_frame(
    path: &Path,
    segment: &SegmentHeader,
    offset: u64,
    bytes: &[u8],
) -> Option<FrameHeader> {
    // Most positions fail here already, and it is cheaper than a checksum.
    FrameKind::from_bits(*bytes.get(KIND_BYTE)?)?;
    match decode_frame(segment, &mut Reader::new(path, offset, bytes)) {
        Ok(Decoded::Whole(frame)) => Some(frame),
        Ok(Decoded::Broken(_)) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests;
