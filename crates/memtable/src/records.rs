//! Versions of keys, one record each, and the chain that links the versions of one key.
//!
//! ```text
//! record  0 seq       u64
//!         8 value_len u32   or, with LARGE, the index of a value held apart
//!        12 kind      u8
//!        13 flags     u8    EXPIRY, POINTER, LARGE
//!        14 key_len   u16   0: a later version of a key that has its record
//!        16 link      u32   first record of a key: its newest version; later: the one before
//!        20 depth     u32   versions behind this one
//!        24 jump      u32   only if key_len is 0; a version further back, 0 when depth is 0
//!           expiry    u64   only with EXPIRY
//!           pointer   u64   only with POINTER
//!           key, value
//! ```
//!
//! 1. A record never moves and, but for the `link` of a key's first record, never changes.
//! 2. Along a chain sequences strictly decrease.
//! 3. The version visible at a sequence is found in O(log versions): `jump` follows E. W. Myers,
//!    "An applicative random-access stack" (1983), so one hot key with an old snapshot stays
//!    cheap.

use std::sync::Arc;

use crate::arena::{Address, Arena};
use crate::entry::{Entry, Kind};
use crate::pool::Pool;

const HEADER_LEN: usize = 24;
const LINK: usize = 16;
const EXPIRY: u8 = 1;
const POINTER: u8 = 2;
const LARGE: u8 = 4;

/// Values from this length on get an allocation of their own, exactly as long as they are.
pub(crate) const LARGE_LEN_MIN: usize = 16 << 10;

/// What the counters of a shared slice take in front of it.
const SHARED_HEADER_BYTES: usize = 2 * size_of::<usize>();

#[derive(Default)]
pub(crate) struct Records {
    arena: Arena,
    /// Values held apart, in order of insertion.
    large: Vec<Arc<[u8]>>,
    large_bytes: usize,
}

/// A record's fixed part.
struct Header {
    seq: u64,
    value_len: u32,
    kind: Kind,
    flags: u8,
    key_len: u16,
    link: Address,
    depth: u32,
}

impl Header {
    #[inline]
    fn decode(bytes: &[u8; HEADER_LEN]) -> Header {
        let [s0, s1, s2, s3, s4, s5, s6, s7, rest @ ..] = *bytes;
        let [v0, v1, v2, v3, kind, flags, k0, k1, l0, l1, l2, l3, d0, d1, d2, d3] = rest;
        Header {
            seq: u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            value_len: u32::from_le_bytes([v0, v1, v2, v3]),
            kind: match kind {
                0 => Kind::Put,
                1 => Kind::Delete,
                _ => Kind::Pointer,
            },
            flags,
            key_len: u16::from_le_bytes([k0, k1]),
            link: Address(u32::from_le_bytes([l0, l1, l2, l3])),
            depth: u32::from_le_bytes([d0, d1, d2, d3]),
        }
    }

    fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..8].copy_from_slice(&self.seq.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.value_len.to_le_bytes());
        bytes[12] = match self.kind {
            Kind::Put => 0,
            Kind::Delete => 1,
            Kind::Pointer => 2,
        };
        bytes[13] = self.flags;
        bytes[14..16].copy_from_slice(&self.key_len.to_le_bytes());
        bytes[LINK..20].copy_from_slice(&self.link.0.to_le_bytes());
        bytes[20..].copy_from_slice(&self.depth.to_le_bytes());
        bytes
    }

    /// Bytes between the header and the key.
    #[inline]
    fn fields_len(&self) -> usize {
        let jump = if self.key_len == 0 { size_of::<u32>() } else { 0 };
        let expiry = if self.flags & EXPIRY != 0 { size_of::<u64>() } else { 0 };
        let pointer = if self.flags & POINTER != 0 { size_of::<u64>() } else { 0 };
        jump + expiry + pointer
    }

    /// Value bytes inside the record.
    fn inline_len(&self) -> usize {
        if self.flags & LARGE == 0 { self.value_len as usize } else { 0 }
    }
}

impl Records {
    /// None, in memory of the pool where it has some.
    pub(crate) fn new(pool: &Pool) -> Records {
        Records { arena: Arena::new(pool), ..Records::default() }
    }

    /// Memory held by records and by values held apart.
    pub(crate) fn bytes(&self) -> usize {
        self.arena.bytes() + self.large_bytes + self.large.capacity() * size_of::<Arc<[u8]>>()
    }

    /// Asserts that a batch of these entries fits the address space.
    pub(crate) fn assert_room(&self, entries: &[Entry<'_>]) {
        let need: u64 = entries.iter().map(|entry| Records::len_max(entry) as u64).sum();
        assert!(need <= self.arena.room(), "a table addresses 32 GiB");
    }

    fn len_max(entry: &Entry<'_>) -> usize {
        let value_len = if is_large(entry) { 0 } else { entry.value.len() };
        (HEADER_LEN + 3 * size_of::<u64>() + entry.key.len() + value_len).next_multiple_of(8)
    }

    #[inline]
    fn split(&self, address: Address) -> (Header, &[u8]) {
        let (header, rest) = self
            .arena
            .at(address)
            .split_first_chunk::<HEADER_LEN>()
            .expect("an address starts a record");
        (Header::decode(header), rest)
    }

    /// Asks memory for these keys' records all at once, so that whoever uses them one by one
    /// waits once and not every time. Changes nothing but time.
    #[inline]
    pub(crate) fn warm(&self, slots: &[(u64, Address)]) {
        const LINE_BYTES: usize = 64;
        let touch = |sum, slot: &(u64, Address)| {
            let record = self.arena.at(slot.1);
            sum | record[0] | record[LINE_BYTES.min(record.len() - 1)]
        };
        std::hint::black_box(slots.iter().fold(0, touch));
    }

    /// The key of a key's first record.
    #[inline]
    pub(crate) fn key(&self, first: Address) -> &[u8] {
        let (header, rest) = self.split(first);
        let start = header.fields_len();
        &rest[start..start + usize::from(header.key_len)]
    }

    /// The version at `version` of the key whose first record is `first`.
    #[inline]
    pub(crate) fn entry(&self, first: Address, version: Address) -> Entry<'_> {
        let (header, rest) = self.split(version);
        let mut fields = &rest[if header.key_len == 0 { size_of::<u32>() } else { 0 }..];
        let expiry = if header.flags & EXPIRY != 0 { take_u64(&mut fields) } else { 0 };
        let pointer = if header.flags & POINTER != 0 { take_u64(&mut fields) } else { 0 };
        let (own_key, rest) = fields.split_at(usize::from(header.key_len));
        let value = if header.flags & LARGE == 0 {
            &rest[..header.value_len as usize]
        } else {
            &self.large[header.value_len as usize]
        };
        let key = if header.key_len == 0 { self.key(first) } else { own_key };
        Entry { key, seq: header.seq, kind: header.kind, expiry, pointer, value }
    }

    /// The value at `version` if it is held apart: it can be shared instead of copied.
    pub(crate) fn large(&self, version: Address) -> Option<&Arc<[u8]>> {
        let (header, _) = self.split(version);
        (header.flags & LARGE != 0).then(|| &self.large[header.value_len as usize])
    }

    /// The sequence of a key's newest version.
    pub(crate) fn newest_seq(&self, first: Address) -> u64 {
        self.split(self.split(first).0.link).0.seq
    }

    /// The newest version of a key with a sequence of at most `seq`.
    #[inline]
    pub(crate) fn visible(&self, first: Address, seq: u64) -> Option<Address> {
        let mut at = self.split(first).0.link;
        loop {
            let (header, rest) = self.split(at);
            if header.seq <= seq {
                return Some(at);
            }
            if header.depth == 0 {
                return None;
            }
            let jump = jump(rest);
            at = if self.split(jump).0.seq > seq { jump } else { header.link };
        }
    }

    /// Adds the first record of a key.
    pub(crate) fn push_key(&mut self, entry: &Entry<'_>) -> Address {
        let key_len = u16::try_from(entry.key.len()).expect("at most KEY_LEN_MAX");
        let mut header = self.header(entry, key_len);
        header.link = Address::NONE;
        let first = self.append(&header, None, entry);
        self.arena.overwrite(first, LINK, &first.0.to_le_bytes());
        first
    }

    /// Adds a version to the key whose first record is `first`. Returns false if it replaced
    /// the newest version, which had the same sequence.
    pub(crate) fn push_version(&mut self, first: Address, entry: &Entry<'_>) -> bool {
        let newest = self.split(first).0.link;
        let (newest_header, newest_rest) = self.split(newest);
        assert!(newest_header.seq <= entry.seq, "a key's sequences never decrease");
        let is_new = newest_header.seq < entry.seq;
        let (before, back) = if is_new {
            (newest, self.jump_from(newest))
        } else if newest_header.depth == 0 {
            (Address::NONE, Address::NONE)
        } else {
            (newest_header.link, jump(newest_rest))
        };
        let mut header = self.header(entry, 0);
        header.link = before;
        header.depth = newest_header.depth + u32::from(is_new);
        let version = self.append(&header, Some(back), entry);
        self.arena.overwrite(first, LINK, &version.0.to_le_bytes());
        is_new
    }

    /// Where a version that follows `before` jumps to: as far as the two jumps behind it if they
    /// are equally long, else to `before`.
    fn jump_from(&self, before: Address) -> Address {
        let near = self.jump_target(before);
        let far = self.jump_target(near);
        let depth = |address| self.split(address).0.depth;
        if depth(before) - depth(near) == depth(near) - depth(far) { far } else { before }
    }

    /// The oldest version jumps to itself.
    fn jump_target(&self, version: Address) -> Address {
        let (header, rest) = self.split(version);
        if header.depth == 0 { version } else { jump(rest) }
    }

    fn header(&mut self, entry: &Entry<'_>, key_len: u16) -> Header {
        let mut flags = 0;
        if entry.expiry != 0 {
            flags |= EXPIRY;
        }
        if entry.pointer != 0 {
            flags |= POINTER;
        }
        let mut value_len = entry.value.len();
        if is_large(entry) {
            flags |= LARGE;
            value_len = self.large.len();
            self.large_bytes += entry.value.len().next_multiple_of(size_of::<usize>());
            self.large_bytes += SHARED_HEADER_BYTES;
            self.large.push(Arc::from(entry.value));
        }
        Header {
            seq: entry.seq,
            value_len: u32::try_from(value_len).expect("at most VALUE_LEN_MAX"),
            kind: entry.kind,
            flags,
            key_len,
            link: Address::NONE,
            depth: 0,
        }
    }

    fn append(&mut self, header: &Header, jump: Option<Address>, entry: &Entry<'_>) -> Address {
        let empty: &[u8] = &[];
        let jump = jump.map(|jump| jump.0.to_le_bytes());
        let (expiry, pointer) = (entry.expiry.to_le_bytes(), entry.pointer.to_le_bytes());
        self.arena.append(&[
            &header.encode(),
            jump.as_ref().map_or(empty, |jump| jump),
            if entry.expiry != 0 { &expiry } else { empty },
            if entry.pointer != 0 { &pointer } else { empty },
            if header.key_len != 0 { entry.key } else { empty },
            if header.flags & LARGE == 0 { entry.value } else { empty },
        ])
    }

    /// The first records of keys, in order of insertion, from the first or from the one after
    /// `last` on.
    pub(crate) fn firsts(&self, last: Option<Address>) -> impl Iterator<Item = Address> + '_ {
        let mut at = match last {
            Some(last) => self.after(last),
            None => self.arena.first(),
        };
        std::iter::from_fn(move || {
            while let Some(address) = at {
                at = self.after(address);
                if self.split(address).0.key_len != 0 {
                    return Some(address);
                }
            }
            None
        })
    }

    fn after(&self, address: Address) -> Option<Address> {
        let (header, _) = self.split(address);
        let key_len = usize::from(header.key_len);
        self.arena.after(address, HEADER_LEN + header.fields_len() + key_len + header.inline_len())
    }
}

fn is_large(entry: &Entry<'_>) -> bool {
    entry.value.len() >= LARGE_LEN_MIN
}

fn jump(rest: &[u8]) -> Address {
    let bytes = rest.first_chunk().expect("a later version has a jump");
    Address(u32::from_le_bytes(*bytes))
}

#[inline]
fn take_u64(fields: &mut &[u8]) -> u64 {
    let (bytes, rest) = fields.split_first_chunk().expect("a flag announced eight bytes");
    *fields = rest;
    u64::from_le_bytes(*bytes)
}

#[cfg(test)]
mod tests;
