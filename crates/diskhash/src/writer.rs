//! Writes one run or partition, front to back, from entries in the order of their hashes.
//!
//! ```text
//! add -> section in memory -(complete: its count is known)-> pages -> buffer -> file
//! ```
//!
//! 1. A section's home pages are as many as its entries fill to 0.85. It is gathered in memory, about
//!    1 MiB of it, so that merges, which drop what they drop, need not know their count beforehand.
//! 2. An entry stands in its home page, or where that is full, in the next page with room. No page
//!    before it that is behind its home has room; each of them *continues*.
//! 3. Pages are written once; nothing is patched.

use std::collections::BTreeSet;
use std::sync::Arc;

use vfs::planted::{self, Bug};
use vfs::{BLOCK_LEN, Checksum, File, Result, write_all_at, write_blocks_at};

use crate::address::{Layout, PAGE_BYTES, Prefix, SECTION_BITS_MAX, home, page_offset, pages_for};
use crate::format::{
    Footer, Header, Section, Trailer, WIDE_SPAN_MIN, encode_footer, encode_header, encode_trailer,
};
use crate::page::PageFill;
use crate::run::Expect;

/// About how many bytes of entries a section should have.
const SECTION_BYTES: u64 = 1 << 20;
/// A section that grows beyond this many bytes (equal hashes) is written as it comes.
const SECTION_LEN_MAX: usize = 4 << 20;

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct RunWriter {
    file: Arc<dyn File>,
    header: Header,
    salt: u64,
    layout: Layout,
    /// Where in the slot the listed number stands.
    listed_at: Option<usize>,

    sections: Vec<Section>,
    /// Entries of the current section that are not in pages yet.
    hashes: Vec<u64>,
    slots: Vec<u8>,
    /// Home pages of the current section once it is being written.
    home_pages: Option<u32>,
    /// The page that is filled, counted from the start of the file, and its section's first.
    page: u64,
    first: u64,
    fill: PageFill,

    buffer: Vec<u8>,
    written: u64,
    header_crc: u32,
    entries: u64,
    listed: BTreeSet<u32>,
    last_listed: Option<u32>,
}

/// Bits of the section number for a file of at most so many entries.
pub(crate) fn section_bits(prefix: Prefix, entries_max: u64, entry_len: u64) -> u8 {
    let sections = entries_max.saturating_mul(entry_len).div_ceil(SECTION_BYTES).max(1);
    let bits = u8::try_from(sections.next_power_of_two().trailing_zeros()).expect("up to 64");
    // What is left of the stored 40 bits must tell pages apart.
    bits.min(SECTION_BITS_MAX).min(36_u8.saturating_sub(prefix.bits))
}

impl RunWriter {
    /// Starts an empty file.
    pub(crate) fn new(
        file: Arc<dyn File>,
        header: Header,
        layout: Layout,
        listed: Option<u16>,
    ) -> RunWriter {
        let (buffer, header_crc) = encode_header(&header);
        RunWriter {
            file,
            header,
            salt: header.file_salt(),
            layout,
            listed_at: listed.map(usize::from),
            sections: Vec::new(),
            hashes: Vec::new(),
            slots: Vec::new(),
            home_pages: None,
            page: 0,
            first: 0,
            fill: PageFill::new(header.shape),
            buffer,
            written: 0,
            header_crc,
            entries: 0,
            listed: BTreeSet::new(),
            last_listed: None,
        }
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// Adds an entry behind all others; equal hashes newest first.
    #[inline]
    pub(crate) fn add(&mut self, hash: u64, slot: &[u8]) -> Result<()> {
        assert!(self.layout.prefix.contains(hash), "a hash of another partition");
        let section = self.layout.section(hash);
        while self.sections.len() < section {
            self.close_section()?;
        }
        assert!(self.sections.len() == section, "hashes ascend");
        self.entries += 1;
        self.list(slot);
        if self.home_pages.is_some() {
            return self.place(hash, slot);
        }
        self.hashes.push(hash);
        self.slots.extend_from_slice(slot);
        if self.slots.len() + self.hashes.len() * size_of::<u64>() > SECTION_LEN_MAX {
            self.write_gathered()?;
        }
        Ok(())
    }

    #[inline]
    fn list(&mut self, slot: &[u8]) {
        let Some(at) = self.listed_at else { return };
        let field = slot.get(at..).and_then(<[u8]>::first_chunk::<4>);
        let value = u32::from_le_bytes(*field.expect("the slot holds the listed number"));
        if self.last_listed != Some(value) {
            self.last_listed = Some(value);
            self.listed.insert(value);
        }
    }

    /// Decides on the section's home pages and writes what was gathered.
    fn write_gathered(&mut self) -> Result<()> {
        let shape = self.header.shape;
        let count = self.hashes.len() as u64;
        let span = self.layout.section_span(shape.hash_bytes);
        let mut pages = pages_for(count, shape.capacity(false));
        let wide = span / u64::from(pages) >= WIDE_SPAN_MIN;
        if wide {
            pages = pages_for(count, shape.capacity(true));
        }
        self.home_pages = Some(pages);
        self.fill.reset(wide);
        let hashes = std::mem::take(&mut self.hashes);
        let slots = std::mem::take(&mut self.slots);
        for (hash, slot) in hashes.iter().zip(slots.chunks_exact(shape.slot_len())) {
            self.place(*hash, slot)?;
        }
        (self.hashes, self.slots) = (hashes, slots);
        self.hashes.clear();
        self.slots.clear();
        Ok(())
    }

    /// Puts an entry on the first page from its home on that has room.
    #[inline]
    fn place(&mut self, hash: u64, slot: &[u8]) -> Result<()> {
        let pages = self.home_pages.expect("the section is being written");
        let home = self.first + home(self.layout.fraction(hash), pages);
        loop {
            if home <= self.page && self.fill.push(hash, slot) {
                return Ok(());
            }
            self.finish_page(home <= self.page)?;
        }
    }

    fn finish_page(&mut self, continues: bool) -> Result<()> {
        self.fill.finish(continues, self.salt, self.page, &mut self.buffer);
        self.page += 1;
        if self.buffer.len() >= BLOCK_LEN {
            self.written += write_blocks_at(&*self.file, &mut self.buffer, self.written)?;
        }
        Ok(())
    }

    fn write_buffer(&mut self) -> Result<()> {
        write_all_at(&*self.file, &self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn close_section(&mut self) -> Result<()> {
        if !self.hashes.is_empty() {
            self.write_gathered()?;
        }
        let home_pages = self.home_pages.take().unwrap_or(0);
        while !self.fill.is_empty() || self.page < self.first + u64::from(home_pages) {
            self.finish_page(false)?;
        }
        self.sections.push(Section { end: self.page, home_pages });
        self.first = self.page;
        Ok(())
    }

    /// Makes the file one of the left half of its prefix; the writer of the right half has this
    /// layout. Nothing of the right half may have been added.
    pub(crate) fn halve(&mut self) -> Layout {
        let [left, right] = self.layout.prefix.halves();
        let section_bits = self.layout.section_bits - 1;
        self.layout = Layout { prefix: left, section_bits };
        assert!(self.sections.len() < self.layout.sections(), "the right half has not begun");
        Layout { prefix: right, section_bits }
    }

    /// Writes what is left and syncs the file; its name is the caller's to sync.
    pub(crate) fn finish(mut self) -> Result<Expect> {
        while self.sections.len() < self.layout.sections() {
            self.close_section()?;
        }
        let trailer = Trailer {
            sections: std::mem::take(&mut self.sections),
            listed: self.listed.iter().copied().collect(),
        };
        let at = self.written + self.buffer.len() as u64;
        assert!(at == page_offset(self.page) && at.is_multiple_of(PAGE_BYTES), "whole pages");
        let bytes = encode_trailer(&trailer);
        let footer = Footer {
            layout: self.layout,
            entries: self.entries,
            pages: self.page,
            listed: trailer.listed.len() as u64,
            header_crc: self.header_crc,
            trailer_crc: Checksum::of(self.salt, at, &bytes),
        };
        let (end, footer_crc) = encode_footer(&footer, self.salt);
        self.buffer.extend_from_slice(&bytes);
        self.buffer.extend_from_slice(&end);
        self.write_buffer()?;
        assert!(Some(self.written) == footer.file_len(), "the footer ends the file");
        if !planted::is(Bug::RunUnsynced) {
            self.file.sync_data()?;
        }
        Ok(Expect { len: self.written, footer_crc, entries: self.entries })
    }
}
