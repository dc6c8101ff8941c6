//! Bytes of a table file. The only module in this crate that knows a byte position.
//!
//! ```text
//! file   := header tree filter* props footer                 whole pages of 4096 bytes
//! tree   := (leaf | inner)*                                  a node follows all nodes below it
//!
//! header   0 magic      "NELUTREE"
//!          8 version    u32   VERSION
//!         12 page_len   u32   4096
//!         16 owner      u64   who the file belongs to
//!         24 file_id    u64   the number in the file's name
//!         32 salt       u64   random
//!         40 zeros
//!       4092 crc        u32   of the bytes before it, seeded with (file id, 0)
//!
//! page     0 crc        u32   of the rest of all its pages, seeded with (file salt, byte offset)
//!          4 kind       u8    PageKind
//!          5 level      u8    0, or the height of an inner node above the leaves
//!          6 prefix_len u16   node: bytes all its keys start with; else zero
//!          8 span       u32   consecutive pages it fills
//!
//! leaf    12 count      u32   entries, at least 1                            (page, kind 1)
//!         16 prev       u32   page of the leaf before, 0 for none
//!         20 next       u32   page of the leaf behind, 0 for none
//!         24 zeros      [u8; 8]
//!         32 prefix     [u8; prefix_len]   then zeros up to a multiple of 8
//!            heads      [u64; count]       first 8 bytes of each suffix, as a big-endian number
//!            slots      [slot; count + 1]  where each record starts; the last is their end
//!            records    tag u8, suffix_len u16, [expiry u64,] suffix behind its first 8 bytes, value
//!            zeros
//! inner   12 count      u32   children, at least 1                           (page, kind 2)
//!         16 zeros      [u8; 16]
//!         32 prefix     [u8; prefix_len]   then zeros up to a multiple of 8
//!            heads      [u64; count - 1]   of the separators
//!            children   [u32; count]       page numbers, below the node's own
//!            slots      [slot; count]
//!            records    suffix_len u16, suffix behind its first 8 bytes
//!            zeros
//! filter  12 index      u32   0 for the first filter page                    (page, kind 3)
//!         16 zeros      [u8; 48]
//!         64 blocks     [[u8; 64]; 63]
//! props   12 len        u32   bytes of the fields behind it                  (page, kind 4)
//!         16 fields     see `encode_props`, then zeros
//! footer  12 zeros      u32                                                  (page, kind 5)
//!         16 magic      "NELUDONE"
//!         24 len        u64   bytes of the file
//!         32 props      u32   page
//!         36 props_span u32
//!         40 props_crc  u32   the crc field of the props
//!         44 header_crc u32   the crc field of the header
//!         48 zeros
//! ```
//!
//! Little-endian. A slot is a byte offset from the start of the node: u16 in nodes of fewer than
//! 16 pages, else u32. A suffix is a key without the node's prefix; one shorter than 8 bytes is
//! padded with zeros in its head. The file salt mixes salt, owner and file id.

use std::path::Path;

use vfs::planted::{self, Bug};
use vfs::{Checksum, Error, Reader, Result, Writer, first_nonzero};

use crate::entry::{EXTRA_LEN_MAX, FileId, KEY_LEN_MAX, VALUE_LEN_MAX};

pub(crate) const PAGE_LEN: usize = 4096;
pub(crate) const PAGE_BYTES: u64 = 4096;
const PAGE_LEN_FIELD: u32 = 4096;
const MAGIC: &[u8; 8] = b"NELUTREE";
const FOOTER_MAGIC: &[u8; 8] = b"NELUDONE";
const VERSION: u32 = 1;
const HEADER_FIELDS_LEN: usize = 40;
const HEADER_CRC_AT: usize = PAGE_LEN - 4;
const FOOTER_LEN: usize = 48;
const PROPS_AT: usize = 16;

/// Bytes before the heads of a node.
pub(crate) const NODE_HEADER_LEN: usize = 32;
pub(crate) const HEAD_LEN: usize = 8;
pub(crate) const CHILD_LEN: usize = 4;
/// What an entry of a leaf takes at least: a head, a slot, tag and suffix length.
const ENTRY_LEN_MIN: u64 = 8 + 2 + 3;
/// Nodes of this many pages and more have u32 slots.
pub(crate) const WIDE_SPAN: usize = 16;
/// No node is longer: the longest value, and keys and separators of an inner node.
pub(crate) const SPAN_MAX: u32 = 4096 + 1024;
/// No tree is higher: an inner node has at least [`CHILDREN_MIN`] children, but for the last of
/// its level, and page numbers have 32 bits.
pub(crate) const HEIGHT_MAX: u32 = 16;
/// An inner node takes this many children however long their separators are.
pub(crate) const CHILDREN_MIN: usize = 8;

/// Bytes before the blocks of a filter page.
pub(crate) const FILTER_HEADER_LEN: usize = 64;
pub(crate) const BLOCK_LEN: usize = 64;
pub(crate) const BLOCKS_PER_PAGE: u32 = 63;
const _: () = assert!(FILTER_HEADER_LEN + BLOCK_LEN * BLOCKS_PER_PAGE as usize == PAGE_LEN);
const _: () = assert!(SPAN_MAX as usize - 1024 == VALUE_LEN_MAX / PAGE_LEN);
const _: () = assert!(NODE_HEADER_LEN.is_multiple_of(HEAD_LEN) && WIDE_SPAN * PAGE_LEN == 1 << 16);

/// What a page is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum PageKind {
    Leaf = 1,
    Inner = 2,
    Filter = 3,
    Props = 4,
    Footer = 5,
}

/// Page 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) owner: u64,
    pub(crate) file_id: FileId,
    pub(crate) salt: u64,
}

impl Header {
    /// The salt of every page but the header.
    pub(crate) fn file_salt(&self) -> u64 {
        self.salt ^ self.owner.rotate_left(21) ^ self.file_id.0.rotate_left(42)
    }
}

pub(crate) fn encode_header(header: &Header) -> Vec<u8> {
    let mut page = Vec::with_capacity(PAGE_LEN);
    let mut writer = Writer::new(&mut page);
    writer.bytes(MAGIC).u32(VERSION).u32(PAGE_LEN_FIELD);
    writer.u64(header.owner).u64(header.file_id.0).u64(header.salt);
    page.resize(HEADER_CRC_AT, 0);
    let crc = Checksum::of(header.file_id.0, 0, &page);
    page.extend_from_slice(&crc.to_le_bytes());
    page
}

/// The header and its crc. `file_id` is what the file's name says.
pub(crate) fn decode_header(path: &Path, file_id: FileId, page: &[u8]) -> Result<(Header, u32)> {
    let mut reader = Reader::new(path, 0, page);
    reader.expect("magic of a table", MAGIC)?;
    let crc = u32_at(page, HEADER_CRC_AT).unwrap_or(0);
    let sum = Checksum::of(file_id.0, 0, page.get(..HEADER_CRC_AT).unwrap_or(page));
    if page.len() != PAGE_LEN || crc != sum {
        return Err(Error::corrupt("checksum of the header", path, 0, sum.into(), crc.into()));
    }
    reader.version("format version of a table", VERSION)?;
    reader.expect("page length", &PAGE_LEN_FIELD.to_le_bytes())?;
    let owner = reader.u64("owner")?;
    reader.expect("file id", &file_id.0.to_le_bytes())?;
    let salt = reader.u64("salt")?;
    reader.expect("reserved bytes of the header", &[0; HEADER_CRC_AT - HEADER_FIELDS_LEN])?;
    Ok((Header { owner, file_id, salt }, crc))
}

/// The first bytes of a page that is not the header.
pub(crate) fn begin_page(kind: PageKind, level: u8, prefix_len: u16, span: u32) -> [u8; 12] {
    let [p0, p1] = prefix_len.to_le_bytes();
    let [s0, s1, s2, s3] = span.to_le_bytes();
    [0, 0, 0, 0, kind as u8, level, p0, p1, s0, s1, s2, s3]
}

/// Puts the crc of `page`, which starts at page number `number`, into its place and returns it.
pub(crate) fn seal_page(file_salt: u64, number: u32, page: &mut [u8]) -> u32 {
    assert!(!page.is_empty() && page.len().is_multiple_of(PAGE_LEN), "whole pages are sealed");
    let (field, rest) = page.split_first_chunk_mut::<4>().expect("a page has four bytes");
    let crc = Checksum::of(file_salt, place_of(number), rest);
    *field = crc.to_le_bytes();
    crc
}

/// Checks the crc of a whole page and returns it.
pub(crate) fn verify_page(path: &Path, file_salt: u64, number: u32, page: &[u8]) -> Result<u32> {
    let offset = page_offset(number);
    let Some((field, rest)) = page.split_first_chunk::<4>() else {
        return Err(Error::corrupt(
            "length of a page",
            path,
            offset,
            PAGE_BYTES,
            page.len() as u64,
        ));
    };
    let sum = Checksum::of(file_salt, place_of(number), rest);
    let found = u32::from_le_bytes(*field);
    if found != sum && !planted::is(Bug::PageUnchecked) {
        return Err(Error::corrupt("checksum of a page", path, offset, sum.into(), found.into()));
    }
    Ok(sum)
}

/// What a page's checksum covers beside its bytes: where they belong.
fn place_of(number: u32) -> u64 {
    if planted::is(Bug::PageUnsalted) { 0 } else { page_offset(number) }
}

/// Where a page starts in the file.
#[inline]
pub(crate) fn page_offset(number: u32) -> u64 {
    u64::from(number) * PAGE_BYTES
}

/// The fields all nodes share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NodeHeader {
    pub(crate) level: u8,
    pub(crate) prefix_len: u16,
    pub(crate) span: u32,
    pub(crate) count: u32,
    /// Leaves only.
    pub(crate) prev: u32,
    pub(crate) next: u32,
}

pub(crate) fn encode_node_header(node: &NodeHeader, out: &mut Vec<u8>) {
    let kind = if node.level == 0 { PageKind::Leaf } else { PageKind::Inner };
    out.extend_from_slice(&begin_page(kind, node.level, node.prefix_len, node.span));
    Writer::new(out).u32(node.count).u32(node.prev).u32(node.next).u64(0);
}

/// Where `next` stands in a leaf: it is known last.
pub(crate) const NEXT_AT: usize = 20;

/// The header of the node at page `number`. `level` is what its parent says.
#[inline(always)]
pub(crate) fn decode_node_header(
    path: &Path,
    number: u32,
    level: u8,
    page: &[u8],
) -> Result<NodeHeader> {
    let wrong = |what, expected, found| Err(bad_page(what, path, number, expected, found));
    let Some(fields) = page.first_chunk::<NODE_HEADER_LEN>() else {
        return wrong("length of a node", NODE_HEADER_LEN as u64, page.len() as u64);
    };
    let [_, _, _, _, kind, found_level, p0, p1, s0, s1, s2, s3, rest @ ..] = *fields;
    let [c0, c1, c2, c3, b0, b1, b2, b3, n0, n1, n2, n3, zeros @ ..] = rest;
    let wanted = if level == 0 { PageKind::Leaf } else { PageKind::Inner };
    if kind != wanted as u8 {
        return wrong("kind of a node", wanted as u64, kind.into());
    }
    if found_level != level {
        return wrong("level of a node", level.into(), found_level.into());
    }
    let node = NodeHeader {
        level,
        prefix_len: u16::from_le_bytes([p0, p1]),
        span: u32::from_le_bytes([s0, s1, s2, s3]),
        count: u32::from_le_bytes([c0, c1, c2, c3]),
        prev: u32::from_le_bytes([b0, b1, b2, b3]),
        next: u32::from_le_bytes([n0, n1, n2, n3]),
    };
    if zeros != [0; 8] || (level > 0 && (node.prev != 0 || node.next != 0)) {
        return wrong("reserved bytes of a node", 0, 1);
    }
    if node.count == 0 {
        return wrong("count of a node", 1, 0);
    }
    Ok(node)
}

#[cold]
#[inline(never)]
fn bad_page(what: &'static str, path: &Path, number: u32, expected: u64, found: u64) -> Error {
    Error::corrupt(what, path, page_offset(number), expected, found)
}

/// The pages a page claims to fill; the caller checks them against the file.
#[inline]
pub(crate) fn decode_span(page: &[u8]) -> Option<u32> {
    u32_at(page, 8)
}

/// What [`Value`](crate::Value) a leaf's record holds, with [`TAG_EXPIRY`] or without.
pub(crate) const TAG_INLINE: u8 = 1;
pub(crate) const TAG_POINTER: u8 = 2;
pub(crate) const TAG_TOMBSTONE: u8 = 3;
/// Added to a tag when an expiry follows.
pub(crate) const TAG_EXPIRY: u8 = 4;

pub(crate) fn begin_filter_page(index: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&begin_page(PageKind::Filter, 0, 0, 1));
    Writer::new(out).u32(index).bytes(&[0; FILTER_HEADER_LEN - 16]);
}

/// Checks what stands before the blocks of filter page `index`, at page `number`.
pub(crate) fn check_filter_page(path: &Path, number: u32, index: u32, page: &[u8]) -> Result<()> {
    let mut reader = Reader::new(path, page_offset(number) + 4, page.get(4..).unwrap_or(&[]));
    reader.expect("fields of a filter page", &begin_page(PageKind::Filter, 0, 0, 1)[4..])?;
    reader.expect("index of a filter page", &index.to_le_bytes())?;
    reader.expect("reserved bytes of a filter page", &[0; FILTER_HEADER_LEN - 16])
}

/// What a table says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RawProps {
    pub(crate) count: u64,
    pub(crate) tombstones: u64,
    pub(crate) expiring: u64,
    pub(crate) expiry_min: u64,
    pub(crate) first_leaf: u32,
    pub(crate) last_leaf: u32,
    pub(crate) root: u32,
    pub(crate) height: u32,
    /// First page behind the tree, where the filter starts.
    pub(crate) tree_end: u32,
    pub(crate) filter_blocks: u32,
    pub(crate) filter_probes: u32,
    pub(crate) smallest: Vec<u8>,
    pub(crate) largest: Vec<u8>,
    pub(crate) extra: Vec<u8>,
}

impl RawProps {
    pub(crate) fn filter_pages(&self) -> u32 {
        self.filter_blocks.div_ceil(BLOCKS_PER_PAGE)
    }
}

/// The props as whole pages, still unsealed.
pub(crate) fn encode_props(props: &RawProps) -> Vec<u8> {
    let mut body = Vec::new();
    let mut writer = Writer::new(&mut body);
    writer.u64(props.count).u64(props.tombstones).u64(props.expiring).u64(props.expiry_min);
    writer.u32(props.first_leaf).u32(props.last_leaf).u32(props.root).u32(props.height);
    writer.u32(props.tree_end).u32(props.filter_blocks).u32(props.filter_probes).u32(0);
    for bytes in [&props.smallest, &props.largest, &props.extra] {
        writer.u32(u32::try_from(bytes.len()).expect("limits were checked"));
    }
    writer.u32(0).bytes(&props.smallest).bytes(&props.largest).bytes(&props.extra);
    let pages = (PROPS_AT + body.len()).div_ceil(PAGE_LEN);
    let span = u32::try_from(pages).expect("limits were checked");
    let mut out = Vec::with_capacity(pages * PAGE_LEN);
    out.extend_from_slice(&begin_page(PageKind::Props, 0, 0, span));
    let len = u32::try_from(body.len()).expect("limits were checked");
    Writer::new(&mut out).u32(len).bytes(&body).pad(PAGE_LEN);
    out
}

/// Reads props from verified pages at page `number` and checks them against each other and the
/// file.
pub(crate) fn decode_props(path: &Path, number: u32, pages: &[u8]) -> Result<RawProps> {
    let mut reader = Reader::new(path, page_offset(number), pages);
    let span = u32::try_from(pages.len() / PAGE_LEN).unwrap_or(0);
    reader.bytes("checksum", 4)?;
    reader.expect("fields of the props", &begin_page(PageKind::Props, 0, 0, span)[4..])?;
    let len = reader.u32("length of the props")?;
    let at = reader.offset();
    let body = reader.bytes("props", usize::try_from(len).unwrap_or(usize::MAX))?;
    if first_nonzero(reader.rest()).is_some() {
        return Err(reader.corrupt("zeros behind the props", 0, 1));
    }
    let mut reader = Reader::new(path, at, body);
    let mut props = RawProps {
        count: reader.u64("count")?,
        tombstones: reader.u64("tombstones")?,
        expiring: reader.u64("expiring")?,
        expiry_min: reader.u64("smallest expiry")?,
        first_leaf: reader.u32("first leaf")?,
        last_leaf: reader.u32("last leaf")?,
        root: reader.u32("root")?,
        height: reader.u32("height")?,
        tree_end: reader.u32("end of the tree")?,
        filter_blocks: reader.u32("filter blocks")?,
        filter_probes: reader.u32("filter probes")?,
        smallest: Vec::new(),
        largest: Vec::new(),
        extra: Vec::new(),
    };
    reader.expect("reserved bytes of the props", &[0; 4])?;
    let smallest = read_len(&mut reader, "length of the smallest key", KEY_LEN_MAX)?;
    let largest = read_len(&mut reader, "length of the largest key", KEY_LEN_MAX)?;
    let extra = read_len(&mut reader, "length of the owner's bytes", EXTRA_LEN_MAX)?;
    reader.expect("reserved bytes of the props", &[0; 4])?;
    props.smallest = reader.bytes("smallest key", smallest)?.to_vec();
    props.largest = reader.bytes("largest key", largest)?.to_vec();
    props.extra = reader.bytes("owner's bytes", extra)?.to_vec();
    reader.end("end of the props")?;
    check_props(&props, number, &reader)?;
    Ok(props)
}

fn read_len(reader: &mut Reader<'_>, what: &'static str, max: usize) -> Result<usize> {
    let len = reader.u32(what)?;
    match usize::try_from(len) {
        Ok(len) if len <= max => Ok(len),
        _ => Err(reader.corrupt(what, max as u64, len.into())),
    }
}

fn check_props(props: &RawProps, number: u32, reader: &Reader<'_>) -> Result<()> {
    let wrong = |what, expected: u64, found: u64| Err(reader.corrupt(what, expected, found));
    let behind = u64::from(props.tree_end) + u64::from(props.filter_pages());
    if props.tree_end == 0 || behind != u64::from(number) {
        return wrong("page of the props", behind, number.into());
    }
    if props.filter_blocks == 0 && props.filter_probes != 0
        || props.filter_blocks > 0 && !(1..=7).contains(&props.filter_probes)
    {
        return wrong("filter probes", 7, props.filter_probes.into());
    }
    // Sums over many tables must not overflow because of a number that nobody counted.
    let entries_max = u64::from(props.tree_end) * PAGE_BYTES / ENTRY_LEN_MIN;
    if props.count > entries_max {
        return wrong("count", entries_max, props.count);
    }
    if props.tombstones > props.count || props.expiring > props.count {
        return wrong("count", props.count, props.tombstones.max(props.expiring));
    }
    if props.count == 0 {
        let pages = [props.root, props.height, props.first_leaf, props.last_leaf];
        if pages != [0; 4] || props.tree_end != 1 || props.filter_blocks != 0 {
            return wrong("tree of an empty table", 0, props.root.into());
        }
        return Ok(());
    }
    if props.height == 0 || props.height > HEIGHT_MAX {
        return wrong("height", HEIGHT_MAX.into(), props.height.into());
    }
    for page in [props.root, props.first_leaf, props.last_leaf] {
        if page == 0 || page >= props.tree_end {
            return wrong("page of a node", props.tree_end.into(), page.into());
        }
    }
    if props.smallest.is_empty() || props.smallest > props.largest {
        return wrong("order of smallest and largest key", 0, 1);
    }
    Ok(())
}

/// The last page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Footer {
    pub(crate) len: u64,
    pub(crate) props: u32,
    pub(crate) props_span: u32,
    pub(crate) props_crc: u32,
    pub(crate) header_crc: u32,
}

/// The footer, still unsealed.
pub(crate) fn encode_footer(footer: &Footer) -> Vec<u8> {
    let mut page = Vec::with_capacity(PAGE_LEN);
    page.extend_from_slice(&begin_page(PageKind::Footer, 0, 0, 1));
    let mut writer = Writer::new(&mut page);
    writer.u32(0).bytes(FOOTER_MAGIC).u64(footer.len).u32(footer.props).u32(footer.props_span);
    writer.u32(footer.props_crc).u32(footer.header_crc).pad(PAGE_LEN);
    page
}

/// Reads the footer from its verified page `number` and checks where it says the props are.
pub(crate) fn decode_footer(path: &Path, number: u32, page: &[u8]) -> Result<Footer> {
    let mut reader = Reader::new(path, page_offset(number), page);
    reader.bytes("checksum", 4)?;
    reader.expect("fields of the footer", &begin_page(PageKind::Footer, 0, 0, 1)[4..])?;
    reader.expect("reserved bytes of the footer", &[0; 4])?;
    reader.expect("magic of the footer", FOOTER_MAGIC)?;
    let footer = Footer {
        len: reader.u64("length of the file")?,
        props: reader.u32("page of the props")?,
        props_span: reader.u32("pages of the props")?,
        props_crc: reader.u32("checksum of the props")?,
        header_crc: reader.u32("checksum of the header")?,
    };
    reader.expect("reserved bytes of the footer", &[0; PAGE_LEN - FOOTER_LEN])?;
    reader.end("end of the footer")?;
    let len = page_offset(number) + PAGE_BYTES;
    if footer.len != len {
        return Err(reader.corrupt("length of the file", len, footer.len));
    }
    let end = u64::from(footer.props) + u64::from(footer.props_span);
    if footer.props == 0 || footer.props_span == 0 || end != u64::from(number) {
        return Err(reader.corrupt("end of the props", number.into(), end));
    }
    Ok(footer)
}

#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|field| u16::from_le_bytes(*field))
}

#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|field| u32::from_le_bytes(*field))
}

/// The first eight bytes of a suffix as a number that orders as they do; zeros behind a short one.
#[inline]
pub(crate) fn head_of(suffix: &[u8]) -> u64 {
    let bytes = match suffix.first_chunk::<HEAD_LEN>() {
        Some(bytes) => *bytes,
        None => {
            let mut bytes = [0; HEAD_LEN];
            bytes.iter_mut().zip(suffix).for_each(|(to, from)| *to = *from);
            bytes
        }
    };
    u64::from_le_bytes(bytes).swap_bytes()
}

/// The bytes [`head_of`] was made from.
#[inline]
pub(crate) fn head_bytes(head: u64) -> [u8; HEAD_LEN] {
    head.swap_bytes().to_le_bytes()
}
