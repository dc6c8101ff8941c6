//! Bytes of a record in the log and the value log, and of the pointer to one. The only module of
//! this crate that knows a byte position.
//!
//! ```text
//! payload of a log frame := record*           one batch, all records with one seq
//!
//! record  0 crc        u32   over every byte after it, seeded with database and logical address
//!         4 value_len  u32
//!         8 tag        u64   seq in the low 56 bits, kind in the high 8
//!        16 keyspace   u32
//!        20 key_len    u16
//!        22 reserved   u16   zero
//!        24 expiry     u64   only if the kind says so: milliseconds since 1970
//!           key        [u8; key_len]
//!           value      [u8; value_len]
//!           zeros up to a multiple of 8
//!
//! kind  := 1 put, 2 delete, +16 with expiry
//!
//! A batch may end with the time that readers were told before it: a put of keyspace ffffffff, whose
//! expiry is that time. No index names it.
//!
//! pointer (u64) := segment 32 bits | offset / 8 27 bits | length class 5 bits
//! length class c: the record takes at most 8 << c bytes; 31: read the header first
//! ```
//!
//! A record verifies itself: it can be read from its pointer alone, wherever GC moved it, because
//! its checksum covers its *logical* address (segment id and offset at which it was first
//! written). Little-endian, 8-byte aligned also inside a batch.

use std::path::Path;

use vfs::planted::{self, Bug};
use vfs::{Checksum, Error, Reader, Result};
use wal::{Position, SegmentId};

use crate::options::{KEY_LEN_MAX, VALUE_LEN_MAX};

pub(crate) const HEADER_LEN: usize = 24;
/// No two records share a mark: each takes a header, a key and what makes it a multiple of 8.
const _: () = assert!((HEADER_LEN + 1).next_multiple_of(ALIGN) >= wal::MARK_BYTES);
pub(crate) const EXPIRY_LEN: usize = 8;
const ALIGN: usize = 8;
const KIND_PUT: u8 = 1;
const KIND_DELETE: u8 = 2;
const KIND_HAS_EXPIRY: u8 = 16;
const KIND_SHIFT: u32 = 56;
/// Largest seq a tag can hold.
pub(crate) const SEQ_MAX: u64 = (1 << KIND_SHIFT) - 1;

/// What a record says about its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RecordKind {
    Put,
    Delete,
}

/// A record, borrowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) keyspace: u32,
    pub(crate) seq: u64,
    pub(crate) kind: RecordKind,
    /// Milliseconds since 1970; 0 is never.
    pub(crate) expiry: u64,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
}

impl Record<'_> {
    /// Bytes the record takes, a multiple of 8.
    pub(crate) fn encoded_len(&self) -> usize {
        encoded_len(self.key.len(), self.value.len(), self.expiry != 0)
    }
}

/// Is no keyspace's number.
pub(crate) const CLOCK_KEYSPACE: u32 = u32::MAX;

/// The record that says what time readers were told.
pub(crate) fn clock(seq: u64, told_ms: u64) -> Record<'static> {
    assert!(told_ms > 0, "a time that is not to be told");
    let (keyspace, kind) = (CLOCK_KEYSPACE, RecordKind::Put);
    Record { keyspace, seq, kind, expiry: told_ms, key: b"t", value: &[] }
}

/// Bytes a record takes, a multiple of 8.
pub(crate) fn encoded_len(key_len: usize, value_len: usize, has_expiry: bool) -> usize {
    let expiry_len = if has_expiry { EXPIRY_LEN } else { 0 };
    (HEADER_LEN + expiry_len + key_len + value_len).next_multiple_of(ALIGN)
}

/// Writes a record into `out`, which is zeroed and exactly as long as the record.
pub(crate) fn encode(db_id: u64, address: Position, record: &Record<'_>, out: &mut [u8]) {
    assert!(out.len() == record.encoded_len(), "the buffer is made for the record");
    assert!(record.seq <= SEQ_MAX, "seq {} fits 56 bits", record.seq);
    let key_len = u16::try_from(record.key.len()).expect("the key's length was checked");
    let value_len = u32::try_from(record.value.len()).expect("the value's length was checked");
    let mut kind = match record.kind {
        RecordKind::Put => KIND_PUT,
        RecordKind::Delete => KIND_DELETE,
    };
    let mut at = HEADER_LEN;
    if record.expiry != 0 {
        kind |= KIND_HAS_EXPIRY;
        out[at..at + EXPIRY_LEN].copy_from_slice(&record.expiry.to_le_bytes());
        at += EXPIRY_LEN;
    }
    let tag = record.seq | u64::from(kind) << KIND_SHIFT;
    out[4..8].copy_from_slice(&value_len.to_le_bytes());
    out[8..16].copy_from_slice(&tag.to_le_bytes());
    out[16..20].copy_from_slice(&record.keyspace.to_le_bytes());
    out[20..22].copy_from_slice(&key_len.to_le_bytes());
    out[at..at + record.key.len()].copy_from_slice(record.key);
    at += record.key.len();
    out[at..at + record.value.len()].copy_from_slice(record.value);
    let crc = checksum(db_id, address, &out[4..]);
    out[..4].copy_from_slice(&crc.to_le_bytes());
}

fn checksum(db_id: u64, address: Position, bytes: &[u8]) -> u32 {
    Checksum::of(db_id ^ (u64::from(address.segment.0) << 32), address.offset, bytes)
}

/// The fields that tell how long a record is.
struct Header {
    crc: u32,
    value_len: usize,
    seq: u64,
    kind: RecordKind,
    has_expiry: bool,
    keyspace: u32,
    key_len: usize,
}

impl Header {
    fn record_len(&self) -> usize {
        encoded_len(self.key_len, self.value_len, self.has_expiry)
    }
}

#[inline]
fn decode_header(reader: &mut Reader<'_>) -> Result<Header> {
    let crc = reader.u32("record checksum")?;
    let value_len = reader.u32("value length")?;
    if value_len as usize > VALUE_LEN_MAX {
        return Err(reader.corrupt("value length", VALUE_LEN_MAX as u64, value_len.into()));
    }
    let tag = reader.u64("record tag")?;
    let kind_byte = u8::try_from(tag >> KIND_SHIFT).expect("eight bits are left");
    let kind = match kind_byte & !KIND_HAS_EXPIRY {
        KIND_PUT => RecordKind::Put,
        KIND_DELETE => RecordKind::Delete,
        _ => return Err(reader.corrupt("record kind", 1, kind_byte.into())),
    };
    let keyspace = reader.u32("keyspace")?;
    let key_len = usize::from(reader.u16("key length")?);
    if key_len == 0 {
        return Err(reader.corrupt("key length", 1, 0));
    }
    assert!(key_len <= KEY_LEN_MAX, "sixteen bits hold no longer key");
    reader.expect("reserved", &[0; 2])?;
    let has_expiry = kind_byte & KIND_HAS_EXPIRY != 0;
    let value_len = value_len as usize;
    Ok(Header { crc, value_len, seq: tag & SEQ_MAX, kind, has_expiry, keyspace, key_len })
}

/// Reads the record at the start of `bytes`, which stand at `address`, and says how many bytes it
/// takes. `physical` is where the bytes are in the file at `path`, for messages.
pub(crate) fn decode<'a>(
    db_id: u64,
    address: Position,
    path: &'a Path,
    physical: u64,
    bytes: &'a [u8],
) -> Result<(Record<'a>, usize)> {
    let (record, len, crc) = decode_verified(path, physical, bytes)?;
    let found = checksum(db_id, address, &bytes[4..len]);
    if found != crc && !planted::is(Bug::RecordUnchecked) {
        let (expected, found) = (found.into(), crc.into());
        return Err(Error::corrupt("record checksum", path, physical, expected, found));
    }
    Ok((record, len))
}

/// As [`decode`], of bytes whose checksum was right before. Says what it is, too.
#[inline]
pub(crate) fn decode_verified<'a>(
    path: &'a Path,
    physical: u64,
    bytes: &'a [u8],
) -> Result<(Record<'a>, usize, u32)> {
    let mut reader = Reader::new(path, physical, bytes);
    let header = decode_header(&mut reader)?;
    let len = header.record_len();
    if bytes.len() < len {
        let found = bytes.len() as u64;
        return Err(Error::corrupt("record length", path, physical, len as u64, found));
    }
    let expiry = if header.has_expiry { reader.u64("expiry")? } else { 0 };
    let key = reader.bytes("key", header.key_len)?;
    let value = reader.bytes("value", header.value_len)?;
    let Header { crc, seq, kind, keyspace, .. } = header;
    Ok((Record { keyspace, seq, kind, expiry, key, value }, len, crc))
}

/// The length of the record whose header starts `bytes`; not verified beyond its limits.
pub(crate) fn peek_len(path: &Path, physical: u64, bytes: &[u8]) -> Result<usize> {
    Ok(decode_header(&mut Reader::new(path, physical, bytes))?.record_len())
}

/// A record starts below this offset, so that a pointer can name it.
pub(crate) const OFFSET_LIMIT: u64 = 8 << UNIT_BITS;

/// Where a record is: segment, offset and about how long it is, in eight bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ValuePtr(u64);

const CLASS_BITS: u32 = 5;
const UNIT_BITS: u32 = 27;
const CLASS_ESCAPE: u64 = 31;
const CLASS_MAX: u64 = 28;

impl ValuePtr {
    /// The pointer to a record of `len` bytes at `address`.
    ///
    /// # Panics
    /// If the address is not aligned or beyond the segment limit: our bug.
    pub(crate) fn new(address: Position, len: usize) -> ValuePtr {
        assert!(address.offset.is_multiple_of(8), "records are aligned");
        let wraps = planted::is(Bug::OffsetWraps);
        let units = if wraps { address.offset % (16 << 10) / 8 } else { address.offset / 8 };
        assert!(units < 1 << UNIT_BITS, "offset {} is inside a segment", address.offset);
        let class = u64::from((len.div_ceil(8)).next_power_of_two().trailing_zeros());
        let class = if class <= CLASS_MAX { class } else { CLASS_ESCAPE };
        let segment = u64::from(address.segment.0);
        ValuePtr(segment << (UNIT_BITS + CLASS_BITS) | units << CLASS_BITS | class)
    }

    pub(crate) fn from_bits(bits: u64) -> ValuePtr {
        ValuePtr(bits)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    pub(crate) fn segment(self) -> SegmentId {
        SegmentId(u32::try_from(self.0 >> (UNIT_BITS + CLASS_BITS)).expect("32 bits are left"))
    }

    pub(crate) fn address(self) -> Position {
        let units = self.0 >> CLASS_BITS & ((1 << UNIT_BITS) - 1);
        Position { segment: self.segment(), offset: units * 8 }
    }

    /// An upper bound of the record's length, or `None`: read the header first.
    pub(crate) fn len_max(self) -> Option<usize> {
        let class = self.0 & ((1 << CLASS_BITS) - 1);
        (class <= CLASS_MAX).then(|| 8_usize << class)
    }
}

#[cfg(test)]
mod tests;
