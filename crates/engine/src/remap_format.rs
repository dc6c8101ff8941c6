//! Bytes of a remap table. The only module that knows a byte position of a `.map` file.
//!
//! ```text
//! file    := header entries* numbers* footer          whole pages of 4096 bytes
//!
//! page     0 crc         u32   of the rest of the page, seeded with (file salt, byte offset)
//!          4 kind        u8    1 header, 2 entries, 3 numbers, 4 footer
//!          5 reserved    u8    zero
//!          6 count       u16   entries or numbers in it; else zero
//!
//! header   8 magic       "NELUMMAP"                               (page, kind 1)
//!         16 version     u32   1
//!         20 page_len    u32   4096
//!         24 db_id       u64   whose file it is
//!         32 file_id     u64   the number in the file's name
//!         40 salt        u64   random
//!         48 segment     u32   the address space
//!         52 zeros
//! entries  8 entries     [{ offset / 8 u32, target u16, position / 8 u32 }; count]
//!            zeros                     ascending offsets; 408 entries a page but the last
//! numbers  8 numbers     [u32; count]  first the targets (segment ids of rewritten files), then
//!            zeros                     the first offset / 8 of every page of entries
//! footer   8 magic       "NELUMEND"                               (page, kind 4)
//!         16 len         u64   bytes of the file
//!         24 count       u64   entries
//!         32 address_len u64   bytes of the address space: no record starts behind
//!         40 records     u64   records the address space had, dead ones included
//!         48 targets     u32   how many
//!         52 header_crc  u32   the crc field of the header
//!         56 zeros
//! ```
//!
//! Little-endian. The header's crc is seeded with (file id, 0); the file salt mixes salt, database
//! and file id. What is inside the address space and not listed was dropped.

use std::path::Path;

use vfs::{Checksum, Error, Reader, Result, Writer};

pub(crate) const PAGE_LEN: usize = 4096;
pub(crate) const PAGE_BYTES: u64 = 4096;
const PAGE_LEN_FIELD: u32 = 4096;
const MAGIC: &[u8; 8] = b"NELUMMAP";
const FOOTER_MAGIC: &[u8; 8] = b"NELUMEND";
const VERSION: u32 = 1;
/// Bytes of a page before what it holds.
pub(crate) const PAGE_HEADER_LEN: usize = 8;
pub(crate) const ENTRY_LEN: usize = 10;
const NUMBER_LEN: usize = 4;
pub(crate) const ENTRIES_PER_PAGE: usize = (PAGE_LEN - PAGE_HEADER_LEN) / ENTRY_LEN;
pub(crate) const NUMBERS_PER_PAGE: usize = (PAGE_LEN - PAGE_HEADER_LEN) / NUMBER_LEN;
/// Files that the records of one address space can be spread over: an index of 16 bits.
pub(crate) const TARGETS_MAX: usize = 1 << 16;
/// No address space is longer: an offset is a number of units in 32 bits.
const ADDRESS_LEN_MAX: u64 = (u32::MAX as u64) * UNIT;
/// Records are aligned to it.
pub(crate) const UNIT: u64 = 8;
const _: () = assert!(ENTRIES_PER_PAGE == 408 && NUMBERS_PER_PAGE == 1022, "the format is frozen");

/// What a page is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum PageKind {
    Header = 1,
    Entries = 2,
    Numbers = 3,
    Footer = 4,
}

/// Page 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) db_id: u64,
    pub(crate) file_id: u64,
    pub(crate) salt: u64,
    /// The address space.
    pub(crate) segment: u32,
}

impl Header {
    /// The salt of every page but the header.
    pub(crate) fn file_salt(&self) -> u64 {
        self.salt ^ self.db_id.rotate_left(21) ^ self.file_id.rotate_left(42)
    }
}

/// The last page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Footer {
    pub(crate) len: u64,
    pub(crate) count: u64,
    pub(crate) address_len: u64,
    pub(crate) records: u64,
    pub(crate) targets: u32,
    pub(crate) header_crc: u32,
}

/// Where a page starts in the file.
pub(crate) fn page_offset(page: u64) -> u64 {
    page * PAGE_BYTES
}

/// A length or offset in units of 8 bytes.
pub(crate) fn units(bytes: u64) -> u32 {
    assert!(bytes.is_multiple_of(UNIT), "records are aligned");
    u32::try_from(bytes / UNIT).expect("a file is shorter than 32 GiB")
}

pub(crate) fn begin_page(kind: PageKind) -> Vec<u8> {
    let mut page = Vec::with_capacity(PAGE_LEN);
    Writer::new(&mut page).u32(0).u8(kind as u8).u8(0).u16(0);
    page
}

/// Fills a page up, puts count and crc into their places, and returns the crc.
pub(crate) fn seal_page(salt: u64, number: u64, count: usize, page: &mut Vec<u8>) -> u32 {
    assert!(page.len() <= PAGE_LEN, "a page overflows");
    page.resize(PAGE_LEN, 0);
    let count = u16::try_from(count).expect("a page holds few");
    page[6..8].copy_from_slice(&count.to_le_bytes());
    let crc = Checksum::of(salt, page_offset(number), &page[4..]);
    page[..4].copy_from_slice(&crc.to_le_bytes());
    crc
}

/// Checks a page's crc and kind; gives the crc, its count and a reader of what follows.
pub(crate) fn open_page<'a>(
    path: &'a Path,
    salt: u64,
    number: u64,
    kind: PageKind,
    page: &'a [u8],
) -> Result<(u32, usize, Reader<'a>)> {
    let offset = page_offset(number);
    let mut reader = Reader::new(path, offset, page);
    let found = reader.u32("checksum of a remap page")?;
    let crc = Checksum::of(salt, offset, reader.rest());
    if crc != found {
        let what = "checksum of a remap page";
        return Err(Error::corrupt(what, path, offset, crc.into(), found.into()));
    }
    reader.expect("kind of a remap page", &[kind as u8, 0])?;
    let count = usize::from(reader.u16("count of a remap page")?);
    Ok((crc, count, reader))
}

/// The page, sealed, and its crc.
pub(crate) fn encode_header(header: &Header) -> (Vec<u8>, u32) {
    let mut page = begin_page(PageKind::Header);
    let mut writer = Writer::new(&mut page);
    writer.bytes(MAGIC).u32(VERSION).u32(PAGE_LEN_FIELD);
    writer.u64(header.db_id).u64(header.file_id).u64(header.salt).u32(header.segment);
    let crc = seal_page(header.file_id, 0, 0, &mut page);
    (page, crc)
}

/// The header and its crc. `expected` is what the names and the MANIFEST say; its salt does not
/// count.
pub(crate) fn decode_header(path: &Path, expected: Header, page: &[u8]) -> Result<(Header, u32)> {
    let Header { db_id, file_id, segment, .. } = expected;
    let (crc, _, mut reader) = open_page(path, file_id, 0, PageKind::Header, page)?;
    reader.expect("magic of a remap table", MAGIC)?;
    reader.version("format version of a remap table", VERSION)?;
    reader.expect("page length of a remap table", &PAGE_LEN_FIELD.to_le_bytes())?;
    reader.expect("database of a remap table", &db_id.to_le_bytes())?;
    reader.expect("file id of a remap table", &file_id.to_le_bytes())?;
    let salt = reader.u64("salt of a remap table")?;
    reader.expect("address space of a remap table", &segment.to_le_bytes())?;
    Ok((Header { salt, ..expected }, crc))
}

pub(crate) fn encode_entry(unit: u32, target: u16, position: u64, page: &mut Vec<u8>) {
    Writer::new(page).u32(unit).u16(target).u32(units(position));
}

/// Offset, index of the target and position of an entry.
pub(crate) fn decode_entry(reader: &mut Reader<'_>) -> Result<(u64, u16, u64)> {
    let offset = u64::from(reader.u32("offset of a remap entry")?) * UNIT;
    let target = reader.u16("target of a remap entry")?;
    let position = u64::from(reader.u32("position of a remap entry")?) * UNIT;
    Ok((offset, target, position))
}

/// The page, sealed, and its crc.
pub(crate) fn encode_footer(salt: u64, number: u64, footer: &Footer) -> (Vec<u8>, u32) {
    let mut page = begin_page(PageKind::Footer);
    let mut writer = Writer::new(&mut page);
    writer.bytes(FOOTER_MAGIC).u64(footer.len).u64(footer.count).u64(footer.address_len);
    writer.u64(footer.records).u32(footer.targets).u32(footer.header_crc);
    let crc = seal_page(salt, number, 0, &mut page);
    (page, crc)
}

/// The footer, which is page `number`, and its crc; it fits a file of that many pages.
pub(crate) fn decode_footer(
    path: &Path,
    salt: u64,
    number: u64,
    page: &[u8],
) -> Result<(Footer, u32)> {
    let (crc, _, mut reader) = open_page(path, salt, number, PageKind::Footer, page)?;
    reader.expect("magic of a remap footer", FOOTER_MAGIC)?;
    reader.expect("length of a remap table", &page_offset(number + 1).to_le_bytes())?;
    let footer = Footer {
        len: page_offset(number + 1),
        count: reader.u64("entries of a remap table")?,
        address_len: reader.u64("address space of a remap table")?,
        records: reader.u64("records of an address space")?,
        targets: reader.u32("targets of a remap table")?,
        header_crc: reader.u32("header of a remap table")?,
    };
    let entry_pages = footer.count.div_ceil(ENTRIES_PER_PAGE as u64);
    let numbers = u64::from(footer.targets).saturating_add(entry_pages);
    let pages = entry_pages.saturating_add(numbers.div_ceil(NUMBERS_PER_PAGE as u64));
    if pages.saturating_add(1) != number {
        return Err(reader.corrupt("pages of a remap table", number, pages));
    }
    let address_len = footer.address_len;
    if address_len > ADDRESS_LEN_MAX || !address_len.is_multiple_of(UNIT) {
        return Err(reader.corrupt("address space of a remap table", ADDRESS_LEN_MAX, address_len));
    }
    Ok((footer, crc))
}

#[cfg(test)]
mod tests;
