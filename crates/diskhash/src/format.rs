//! Bytes of a run or partition. The only module that knows a byte position in one.
//!
//! ```text
//! file    := header page* trailer footer
//! trailer := section* listed*
//!
//! header   0 magic      "NELUHASH"
//!          8 version    u32   VERSION
//!         12 slot_len   u16   bytes of a slot, 1..=1024
//!         14 hash_bytes u8    bytes of the hash that are kept, 5..=8
//!         15 zero       u8
//!         16 owner      u64   who the table belongs to
//!         24 file_id    u64   the number in the file's name
//!         32 salt       u64   random
//!         40 zeros
//!       4092 crc        u32   of the bytes before it, seeded with (file id, 0)
//!
//! page     0 crc        u32   of the rest of the page, seeded with (file salt, byte offset)
//!          4 count      u16   entries
//!          6 flags      u8    1: entries at home here or before stand behind; 2: wide
//!          7 zero       u8
//!          8 base       u64   kept hash of the first entry; 0 if there is none
//!         16 span       u64   what the last fingerprint is
//!         24 fingerprints     [u32; count], or [hash_bytes bytes; count] if wide; ascending
//!            slots            [slot; count], from 24 + capacity * bytes of a fingerprint on
//!
//! section  0 end        u64   the page behind its last
//!          8 home_pages u32   0 if it is empty
//! listed   0 value      u32   ascending
//! footer   0 magic      "NELUHEND"
//!          8 start      u64   smallest hash with the file's prefix
//!         16 prefix_bits u8
//!         17 section_bits u8
//!         18 zeros      [u8; 6]
//!         24 entries    u64
//!         32 pages      u64
//!         40 listed     u64   how many
//!         48 header_crc u32
//!         52 trailer_crc u32  of the trailer, seeded with (file salt, its byte offset)
//!         56 zeros      u32
//!         60 crc        u32   of the bytes before it, seeded with (file salt, its byte offset)
//! ```
//!
//! Little-endian. A fingerprint is the distance from `base` in units of the kept hash: the hash
//! comes back from both. The file salt mixes salt, owner and file id.

#[cfg(test)]
mod tests;

use std::path::Path;

use vfs::planted::{self, Bug};
use vfs::{Checksum, Error, Reader, Result, Writer, first_nonzero};

use crate::address::{
    Layout, PAGE_BYTES, PAGE_LEN, PREFIX_BITS_MAX, Prefix, SECTION_BITS_MAX, page_offset,
};

const MAGIC: &[u8; 8] = b"NELUHASH";
const FOOTER_MAGIC: &[u8; 8] = b"NELUHEND";
const VERSION: u32 = 1;
const HEADER_FIELDS_LEN: usize = 40;
const HEADER_CRC_AT: usize = PAGE_LEN - 4;
pub(crate) const FOOTER_LEN: usize = 64;
const FOOTER_CRC_AT: usize = FOOTER_LEN - 4;
pub(crate) const SECTION_LEN: usize = 12;
pub(crate) const LISTED_LEN: usize = 4;
pub(crate) const PAGE_HEADER_LEN: usize = 24;
const CONTINUES: u8 = 1;
const WIDE: u8 = 2;
/// Bytes of a fingerprint that is not wide.
pub(crate) const NARROW_LEN: usize = 4;

pub(crate) const SLOT_LEN_MAX: u16 = 1024;

/// What all files of a table have in common, and what follows from it for a page: divisions that
/// a look-up had better not repeat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shape {
    pub(crate) slot_len: u16,
    pub(crate) hash_bytes: u8,
    /// Entries of a page, narrow and wide.
    capacity: [u16; 2],
}

/// Hashes that a home page stands for, in units, from which on its section is written wide: a page
/// spans those of its home page, and more where entries overflow.
pub(crate) const WIDE_SPAN_MIN: u64 = 1 << 31;

impl Shape {
    /// # Panics
    /// Unless both are in range.
    pub(crate) fn new(slot_len: u16, hash_bytes: u8) -> Shape {
        assert!((1..=SLOT_LEN_MAX).contains(&slot_len), "slots have 1 to 1024 bytes");
        assert!((5..=8).contains(&hash_bytes), "5 to 8 bytes of the hash are kept");
        let entries = |fingerprint_len: usize| {
            let entries = (PAGE_LEN - PAGE_HEADER_LEN) / (fingerprint_len + usize::from(slot_len));
            u16::try_from(entries).expect("less than 4096")
        };
        let capacity = [entries(NARROW_LEN), entries(hash_bytes.into())];
        Shape { slot_len, hash_bytes, capacity }
    }

    #[inline]
    pub(crate) fn slot_len(self) -> usize {
        self.slot_len.into()
    }

    /// Bytes of a hash that are kept.
    pub(crate) fn hash_bytes(self) -> u8 {
        self.hash_bytes
    }

    #[inline]
    pub(crate) fn fingerprint_len(self, wide: bool) -> usize {
        if wide { self.hash_bytes.into() } else { NARROW_LEN }
    }

    /// Entries that fit into a page.
    #[inline]
    pub(crate) fn capacity(self, wide: bool) -> usize {
        let [narrow, in_wide] = self.capacity;
        if wide { in_wide.into() } else { narrow.into() }
    }

    /// Where in a page the slots start.
    #[inline]
    pub(crate) fn slots_at(self, wide: bool) -> usize {
        PAGE_HEADER_LEN + self.capacity(wide) * self.fingerprint_len(wide)
    }
}

/// Which file it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) shape: Shape,
    pub(crate) owner: u64,
    pub(crate) file_id: u64,
    pub(crate) salt: u64,
}

impl Header {
    /// The salt of everything behind the header.
    pub(crate) fn file_salt(&self) -> u64 {
        self.salt ^ self.owner.rotate_left(21) ^ self.file_id.rotate_left(42)
    }
}

/// The header's page and its checksum.
pub(crate) fn encode_header(header: &Header) -> (Vec<u8>, u32) {
    let mut bytes = Vec::with_capacity(PAGE_LEN);
    let mut out = Writer::new(&mut bytes);
    out.bytes(MAGIC).u32(VERSION).u16(header.shape.slot_len).u8(header.shape.hash_bytes).u8(0);
    out.u64(header.owner).u64(header.file_id).u64(header.salt);
    bytes.resize(HEADER_CRC_AT, 0);
    let crc = Checksum::of(header.file_id, 0, &bytes);
    Writer::new(&mut bytes).u32(crc);
    (bytes, crc)
}

/// Reads a header and its checksum. `page` is the first page of file `file_id`.
pub(crate) fn decode_header(path: &Path, file_id: u64, page: &[u8]) -> Result<(Header, u32)> {
    let mut reader = Reader::new(path, 0, page);
    reader.expect("magic", MAGIC)?;
    let at = HEADER_CRC_AT as u64;
    let (covered, stored) = page.split_at_checked(HEADER_CRC_AT).unwrap_or((&[], &[]));
    let found = Reader::new(path, at, stored).u32("checksum of the header")?;
    let crc = Checksum::of(file_id, 0, covered);
    require(path, "checksum of the header", at, crc.into(), found.into())?;
    reader.version("format version of a hash file", VERSION)?;
    let slot_len = reader.u16("slot_len")?;
    let hash_bytes = reader.u8("hash_bytes")?;
    reader.expect("zero", &[0])?;
    let owner = reader.u64("owner")?;
    reader.expect("file id", &file_id.to_le_bytes())?;
    let salt = reader.u64("salt")?;
    let padding = reader.bytes("padding", HEADER_CRC_AT - HEADER_FIELDS_LEN)?;
    require_zeros(path, HEADER_FIELDS_LEN as u64, padding)?;
    if !(1..=SLOT_LEN_MAX).contains(&slot_len) || !(5..=8).contains(&hash_bytes) {
        return Err(Error::corrupt("slot_len", path, 12, SLOT_LEN_MAX.into(), slot_len.into()));
    }
    let shape = Shape::new(slot_len, hash_bytes);
    Ok((Header { shape, owner, file_id, salt }, crc))
}

/// `Corrupt` unless both are equal.
pub(crate) fn require(
    path: &Path,
    what: &'static str,
    offset: u64,
    expected: u64,
    found: u64,
) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::corrupt(what, path, offset, expected, found))
}

/// `Corrupt` unless all `bytes`, which start at `offset`, are zero.
pub(crate) fn require_zeros(path: &Path, offset: u64, bytes: &[u8]) -> Result<()> {
    match first_nonzero(bytes) {
        None => Ok(()),
        Some(at) => {
            let found = bytes.get(at).copied().unwrap_or_default();
            Err(Error::corrupt("zeros", path, offset + at as u64, 0, found.into()))
        }
    }
}

/// What a page says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct PageHeader {
    pub(crate) count: u16,
    pub(crate) continues: bool,
    pub(crate) wide: bool,
    pub(crate) base: u64,
    pub(crate) span: u64,
}

/// Writes the header of a page whose entries are in place, and its checksum.
///
/// # Panics
/// Unless `page` is a page.
pub(crate) fn seal_page(page: &mut [u8], header: &PageHeader, salt: u64, number: u64) {
    assert!(page.len() == PAGE_LEN, "a page has 4096 bytes");
    let flags = if header.continues { CONTINUES } else { 0 } | if header.wide { WIDE } else { 0 };
    let mut fields = [0; PAGE_HEADER_LEN];
    fields[4..6].copy_from_slice(&header.count.to_le_bytes());
    fields[6] = flags;
    fields[8..16].copy_from_slice(&header.base.to_le_bytes());
    fields[16..24].copy_from_slice(&header.span.to_le_bytes());
    page[..PAGE_HEADER_LEN].copy_from_slice(&fields);
    let crc = Checksum::of(salt, page_offset(number), &page[4..]);
    page[..4].copy_from_slice(&crc.to_le_bytes());
}

/// `Corrupt` unless the page's checksum is right for page `number` of the file.
pub(crate) fn verify_page(path: &Path, salt: u64, number: u64, page: &[u8]) -> Result<()> {
    let at = page_offset(number);
    let mut reader = Reader::new(path, at, page);
    let found = reader.u32("checksum of a page")?;
    let crc = Checksum::of(salt, at, reader.rest());
    if planted::is(Bug::HashPageUnchecked) {
        return Ok(());
    }
    require(path, "checksum of a page", at, crc.into(), found.into())
}

/// Reads a page's header; `None` if it cannot be one of a file of this shape.
#[inline]
pub(crate) fn decode_page_header(shape: Shape, page: &[u8]) -> Option<PageHeader> {
    let fields = page.first_chunk::<PAGE_HEADER_LEN>()?;
    let (_, fields) = fields.split_first_chunk::<4>()?;
    let (count, fields) = fields.split_first_chunk::<2>()?;
    let (flags, fields) = fields.split_first_chunk::<2>()?;
    let (base, fields) = fields.split_first_chunk::<8>()?;
    let (span, _) = fields.split_first_chunk::<8>()?;
    let flags = u16::from_le_bytes(*flags);
    let known = u16::from(CONTINUES | WIDE);
    let header = PageHeader {
        count: u16::from_le_bytes(*count),
        continues: flags & u16::from(CONTINUES) != 0,
        wide: flags & u16::from(WIDE) != 0,
        base: u64::from_le_bytes(*base),
        span: u64::from_le_bytes(*span),
    };
    let fits = usize::from(header.count) <= shape.capacity(header.wide);
    (fits && flags & !known == 0 && page.len() == PAGE_LEN).then_some(header)
}

/// Consecutive pages for a part of the hashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Section {
    /// The page behind its last.
    pub(crate) end: u64,
    /// 0 if it holds nothing.
    pub(crate) home_pages: u32,
}

/// Sections and listed values.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Trailer {
    pub(crate) sections: Vec<Section>,
    pub(crate) listed: Vec<u32>,
}

pub(crate) fn encode_trailer(trailer: &Trailer) -> Vec<u8> {
    let len = trailer.sections.len() * SECTION_LEN + trailer.listed.len() * LISTED_LEN;
    let mut bytes = Vec::with_capacity(len + FOOTER_LEN);
    let mut out = Writer::new(&mut bytes);
    for section in &trailer.sections {
        out.u64(section.end).u32(section.home_pages);
    }
    for value in &trailer.listed {
        out.u32(*value);
    }
    bytes
}

/// Reads the trailer of a file whose footer is known; `bytes` start where its pages end.
pub(crate) fn decode_trailer(
    path: &Path,
    salt: u64,
    footer: &Footer,
    bytes: &[u8],
) -> Result<Trailer> {
    let at = page_offset(footer.pages);
    let crc = Checksum::of(salt, at, bytes);
    require(path, "checksum of the trailer", at, footer.trailer_crc.into(), crc.into())?;
    let mut reader = Reader::new(path, at, bytes);
    let mut trailer = Trailer::default();
    let mut start = 0;
    for _ in 0..footer.layout.sections() {
        let end = reader.u64("end of a section")?;
        let home_pages = reader.u32("home pages of a section")?;
        let pages = end.checked_sub(start).filter(|_| end <= footer.pages);
        let legal = pages
            .is_some_and(|pages| pages >= u64::from(home_pages) && (home_pages > 0 || pages == 0));
        if !legal {
            return Err(reader.corrupt("end of a section", footer.pages, end));
        }
        trailer.sections.push(Section { end, home_pages });
        start = end;
    }
    require(path, "end of the sections", at, footer.pages, start)?;
    for _ in 0..footer.listed {
        let value = reader.u32("listed value")?;
        if trailer.listed.last().is_some_and(|last| *last >= value) {
            return Err(reader.corrupt("order of the listed values", 0, value.into()));
        }
        trailer.listed.push(value);
    }
    reader.end("end of the trailer")?;
    Ok(trailer)
}

/// What is known only when all is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Footer {
    pub(crate) layout: Layout,
    pub(crate) entries: u64,
    pub(crate) pages: u64,
    pub(crate) listed: u64,
    pub(crate) header_crc: u32,
    pub(crate) trailer_crc: u32,
}

impl Footer {
    /// Bytes of the trailer; `None` if there can be no such file.
    pub(crate) fn trailer_len(&self) -> Option<u64> {
        let sections = (self.layout.sections() as u64).checked_mul(SECTION_LEN as u64)?;
        self.listed.checked_mul(LISTED_LEN as u64)?.checked_add(sections)
    }

    /// Bytes of the whole file.
    pub(crate) fn file_len(&self) -> Option<u64> {
        let pages = self.pages.checked_add(1)?.checked_mul(PAGE_BYTES)?;
        pages.checked_add(self.trailer_len()?)?.checked_add(FOOTER_LEN as u64)
    }
}

/// The footer and its checksum.
///
/// # Panics
/// If there can be no such file.
pub(crate) fn encode_footer(footer: &Footer, salt: u64) -> (Vec<u8>, u32) {
    let mut bytes = Vec::with_capacity(FOOTER_LEN);
    let mut out = Writer::new(&mut bytes);
    let Layout { prefix, section_bits } = footer.layout;
    out.bytes(FOOTER_MAGIC).u64(prefix.start).u8(prefix.bits).u8(section_bits).bytes(&[0; 6]);
    out.u64(footer.entries).u64(footer.pages).u64(footer.listed);
    out.u32(footer.header_crc).u32(footer.trailer_crc).u32(0);
    let len = footer.file_len().expect("a file is shorter than 2^64");
    let crc = Checksum::of(salt, len - FOOTER_LEN as u64, &bytes);
    Writer::new(&mut bytes).u32(crc);
    assert!(bytes.len() == FOOTER_LEN, "the footer is 64 bytes");
    (bytes, crc)
}

/// Reads the footer of a file of `file_len` bytes, and its checksum.
pub(crate) fn decode_footer(
    path: &Path,
    salt: u64,
    file_len: u64,
    bytes: &[u8],
) -> Result<(Footer, u32)> {
    let at = file_len.saturating_sub(FOOTER_LEN as u64);
    let (covered, _) = bytes.split_at_checked(FOOTER_CRC_AT).unwrap_or((&[], &[]));
    let crc = Checksum::of(salt, at, covered);
    let mut reader = Reader::new(path, at, bytes);
    reader.expect("magic of the footer", FOOTER_MAGIC)?;
    let start = reader.u64("start of the prefix")?;
    let bits = reader.u8("bits of the prefix")?;
    let section_bits = reader.u8("bits of the sections")?;
    reader.expect("zeros", &[0; 6])?;
    let entries = reader.u64("entries")?;
    let pages = reader.u64("pages")?;
    let listed = reader.u64("listed values")?;
    let header_crc = reader.u32("checksum of the header")?;
    let trailer_crc = reader.u32("checksum of the trailer")?;
    reader.expect("zeros", &[0; 4])?;
    let found = reader.u32("checksum of the footer")?;
    let crc_at = at + FOOTER_CRC_AT as u64;
    require(path, "checksum of the footer", crc_at, crc.into(), found.into())?;
    let prefix = Prefix { bits, start };
    if !prefix.is_sound() || section_bits > SECTION_BITS_MAX {
        let limit = PREFIX_BITS_MAX.into();
        return Err(Error::corrupt("bits of the prefix", path, at + 16, limit, bits.into()));
    }
    let layout = Layout { prefix, section_bits };
    let footer = Footer { layout, entries, pages, listed, header_crc, trailer_crc };
    let expected = footer.file_len().unwrap_or(u64::MAX);
    require(path, "length of the file", at + 32, expected, file_len)?;
    Ok((footer, crc))
}
