//! An immutable hash-ordered file: open, find the page of a hash, look there.

#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vfs::sync::atomic::{AtomicU64, Ordering};
use vfs::sync::habit;
use vfs::{Access, Bytes, Error, File, Fs, Name, ReadAhead, Result, read_exact_at};

use crate::address::{Layout, PAGE_BYTES, PAGE_LEN, Prefix, home, page_offset, scale, within};
use crate::format::{
    FOOTER_LEN, PAGE_HEADER_LEN, Section, Shape, WIDE_SPAN_MIN, decode_footer, decode_header,
    decode_trailer, require, verify_page,
};
use crate::options::ReadMode;
use crate::page::Page;

/// What the generation record says of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Expect {
    pub(crate) len: u64,
    pub(crate) footer_crc: u32,
    pub(crate) entries: u64,
}

/// When a mapped page's checksum is computed; one that is read into a buffer is always verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verify {
    /// On the first read since open.
    First,
    /// On this read.
    Always,
}

#[derive(Debug)]
pub(crate) enum Source {
    Mapped(Bytes),
    Positional(Arc<dyn File>),
}

/// An open run or partition.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) name: Name,
    pub(crate) expect: Expect,
    pub(crate) layout: Layout,
    pub(crate) listed: Vec<u32>,
    pub(crate) sections: Vec<Section>,
    shape: Shape,
    /// Most home pages of a section whose pages hold more hashes than narrow fingerprints tell
    /// apart. (A few sections of no more pages were written narrow.)
    wide_pages_max: u64,
    salt: u64,
    path: PathBuf,
    source: Source,
    /// A bit per page: verified since open. Mapped only.
    seen: Vec<AtomicU64>,
}

/// Where a hash is at home.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) page: u64,
    /// The page behind the section.
    pub(crate) end: u64,
    /// Where in the page, as a fraction of 2^64.
    within: u64,
    /// Its fingerprints are probably wide.
    wide: bool,
}

impl Run {
    /// Opens the file that a record names. `Corrupt` if it is not there or not what the record
    /// says.
    pub(crate) fn open(
        fs: &Arc<dyn Fs>,
        name: Name,
        shape: Shape,
        owner: u64,
        mode: ReadMode,
        expect: Expect,
    ) -> Result<Run> {
        let file = fs.open(name, Access::Read).map_err(|error| missing(error, expect.len))?;
        let path = file.path();
        let len = file.len()?;
        let floor = PAGE_BYTES + FOOTER_LEN as u64;
        if len != expect.len || len < floor {
            let wanted = expect.len.max(floor);
            return Err(Error::corrupt("length of the file", path, len.min(wanted), wanted, len));
        }
        let mut page = vec![0; PAGE_LEN];
        read_exact_at(&*file, &mut page, 0)?;
        let (header, header_crc) = decode_header(path, name.id, &page)?;
        require(path, "slot_len", 12, shape.slot_len.into(), header.shape.slot_len.into())?;
        require(path, "hash_bytes", 14, shape.hash_bytes.into(), header.shape.hash_bytes.into())?;
        require(path, "owner", 16, owner, header.owner)?;
        let salt = header.file_salt();
        let footer_at = len - FOOTER_LEN as u64;
        let mut bytes = [0; FOOTER_LEN];
        read_exact_at(&*file, &mut bytes, footer_at)?;
        let (footer, footer_crc) = decode_footer(path, salt, len, &bytes)?;
        let same = |what, expected, found| require(path, what, footer_at, expected, found);
        same("checksum of the footer", expect.footer_crc.into(), footer_crc.into())?;
        same("checksum of the header", footer.header_crc.into(), header_crc.into())?;
        same("entries", expect.entries, footer.entries)?;
        let room = footer.pages.saturating_mul(shape.capacity(false) as u64);
        if footer.entries > room {
            return Err(Error::corrupt("entries", path, footer_at, room, footer.entries));
        }
        let trailer_at = page_offset(footer.pages);
        let trailer_len = usize::try_from(footer_at - trailer_at).map_err(|_| {
            Error::invalid("the trailer of the file does not fit into memory", path)
        })?;
        let mut bytes = vec![0; trailer_len];
        read_exact_at(&*file, &mut bytes, trailer_at)?;
        let trailer = decode_trailer(path, salt, &footer, &bytes)?;
        let source = match mode {
            ReadMode::Mapped => Source::Mapped(file.map(len)?),
            ReadMode::Positional => Source::Positional(Arc::clone(&file)),
        };
        let mut seen = Vec::new();
        if mode == ReadMode::Mapped {
            let words = usize::try_from(footer.pages.div_ceil(64)).expect("the file is mapped");
            seen.resize_with(words, AtomicU64::default);
        }
        Ok(Run {
            name,
            expect,
            layout: footer.layout,
            listed: trailer.listed,
            sections: trailer.sections,
            shape,
            wide_pages_max: footer.layout.section_span(shape.hash_bytes()) / WIDE_SPAN_MIN,
            salt,
            path: path.to_path_buf(),
            source,
            seen,
        })
    }

    /// `Corrupt` unless the file holds this part of the hashes.
    pub(crate) fn require_prefix(&self, prefix: Prefix) -> Result<()> {
        let found = self.layout.prefix;
        let at = self.expect.len - FOOTER_LEN as u64 + 8;
        require(&self.path, "start of the prefix", at, prefix.start, found.start)?;
        require(&self.path, "bits of the prefix", at + 8, prefix.bits.into(), found.bits.into())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    pub(crate) fn pages(&self) -> u64 {
        self.sections.last().map_or(0, |section| section.end)
    }

    pub(crate) fn entries(&self) -> u64 {
        self.expect.entries
    }

    /// Reads everything but the pages once more, for a check.
    pub(crate) fn check_ends(&self, fs: &Arc<dyn Fs>, owner: u64) -> Result<()> {
        let mode = ReadMode::Positional;
        Run::open(fs, self.name, self.shape, owner, mode, self.expect).map(drop)
    }

    /// The home of a kept hash that has the file's prefix; `None` if its section is empty.
    #[inline]
    pub(crate) fn locate(&self, hash: u64) -> Option<Place> {
        let index = self.layout.section(hash);
        let section = self.sections.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.sections[before].end);
        if section.home_pages == 0 {
            return None;
        }
        let fraction = self.layout.fraction(hash);
        let page = start + home(fraction, section.home_pages);
        let within = within(fraction, section.home_pages);
        let wide = u64::from(section.home_pages) <= self.wide_pages_max;
        Some(Place { page, end: section.end, within, wide })
    }

    /// The first page on which an entry from `hash` on may stand.
    pub(crate) fn first_page(&self, hash: u64) -> u64 {
        match self.locate(hash) {
            Some(place) => place.page,
            // An empty section starts where it ends.
            None => self.sections.get(self.layout.section(hash)).map_or(0, |section| section.end),
        }
    }

    /// Has the system read what follows a page, for a walk that comes there.
    pub(crate) fn read_ahead(&self, number: u64, ahead: &mut ReadAhead) {
        if let (Source::Mapped(whole), Ok(at)) =
            (&self.source, usize::try_from(page_offset(number)))
        {
            ahead.forward(whole, at);
        }
    }

    /// Reads a page to keep it, verified.
    pub(crate) fn copy_page(&self, number: u64, buffer: &mut [u8; PAGE_LEN]) -> Result<()> {
        match (self.mapped(number), &self.source) {
            (Some(bytes), Source::Mapped(_)) => buffer.copy_from_slice(bytes),
            _ => drop(self.page(number, Verify::Always, buffer)?),
        }
        verify_page(&self.path, self.salt, number, buffer)?;
        match Page::new(self.shape, buffer) {
            Some(_) => Ok(()),
            None => Err(self.wrong("header of a page", number)),
        }
    }

    /// Asks for the lines of a page that a look-up will need: the header's, and some about where
    /// the fingerprint and the slot stand if the page is filled as most are; the slot's only in a
    /// thread that found the last hash. Those of several files are under way together.
    #[inline]
    pub(crate) fn prefetch(&self, place: Place) {
        const LINE_LEN: usize = 64;
        let Some(page) = self.mapped(place.page) else { return };
        let Place { within, wide, .. } = place;
        let about = scale(within, self.shape.capacity(wide) * 17 / 20);
        vfs::prefetch(page, 0, 1);
        let fingerprint_at = PAGE_HEADER_LEN + about * self.shape.fingerprint_len(wide);
        vfs::prefetch(page, fingerprint_at.saturating_sub(LINE_LEN), 3 * LINE_LEN);
        if !habit::guess() {
            return;
        }
        // A slot is found within about twelve of the guess.
        let slot_at = self.shape.slots_at(wide) + about * self.shape.slot_len();
        vfs::prefetch(page, slot_at.saturating_sub(2 * LINE_LEN), 4 * LINE_LEN);
    }

    #[inline]
    fn mapped(&self, page: u64) -> Option<&[u8]> {
        let Source::Mapped(whole) = &self.source else { return None };
        let start = usize::try_from(page_offset(page)).ok()?;
        whole.get(start..start.checked_add(PAGE_LEN)?)
    }

    /// A page, verified; `buffer` is where it is read into unless it is mapped.
    #[inline]
    pub(crate) fn page<'a>(
        &'a self,
        number: u64,
        verify: Verify,
        buffer: &'a mut [u8],
    ) -> Result<Page<'a>> {
        let bytes = match &self.source {
            Source::Mapped(whole) => {
                let bytes = self.mapped(number).ok_or_else(|| {
                    let (at, len) = (page_offset(number), whole.len() as u64);
                    Error::corrupt("end of a page", &self.path, at, at + PAGE_BYTES, len)
                })?;
                self.verify_mapped(number, bytes, verify)?;
                bytes
            }
            Source::Positional(file) => {
                read_exact_at(&**file, buffer, page_offset(number))?;
                verify_page(&self.path, self.salt, number, buffer)?;
                &buffer[..]
            }
        };
        Page::new(self.shape, bytes).ok_or_else(|| self.wrong("header of a page", number))
    }

    #[inline]
    fn verify_mapped(&self, number: u64, bytes: &[u8], verify: Verify) -> Result<()> {
        let word = usize::try_from(number / 64).ok().and_then(|index| self.seen.get(index));
        // Nothing is published through the bit: the bytes are the file's either way.
        let seen = word.map_or(0, |word| word.load(Ordering::Relaxed)) >> (number % 64);
        if seen & 1 == 1 && verify == Verify::First {
            return Ok(());
        }
        self.verify_first(number, bytes, word)
    }

    #[inline(never)]
    fn verify_first(&self, number: u64, bytes: &[u8], word: Option<&AtomicU64>) -> Result<()> {
        verify_page(&self.path, self.salt, number, bytes)?;
        if let Some(word) = word {
            word.fetch_or(1 << (number % 64), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Has every page verified again on its next read.
    pub(crate) fn forget_verified(&self) {
        self.seen.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    #[cold]
    pub(crate) fn wrong(&self, what: &'static str, page: u64) -> Error {
        Error::corrupt(what, &self.path, page_offset(page), 0, 0)
    }

    /// Shows every slot of a kept hash, newest first.
    #[inline]
    pub(crate) fn candidates(
        &self,
        hash: u64,
        place: Place,
        visit: &mut dyn FnMut(&[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        match self.source {
            Source::Mapped(_) => self.search(hash, place, &mut [], visit),
            Source::Positional(_) => self.search(hash, place, &mut [0; PAGE_LEN], visit),
        }
    }

    #[inline]
    fn search(
        &self,
        hash: u64,
        place: Place,
        buffer: &mut [u8],
        visit: &mut dyn FnMut(&[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        for number in place.page..place.end {
            let page = self.page(number, Verify::First, buffer)?;
            let mut index = page.lower_bound(hash);
            while page.is_at(index, hash) {
                if visit(page.slot(index))?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                index += 1;
            }
            // Something behind the hash on this page, or nothing moved on: it is not further on.
            if index < page.count() || !page.continues() {
                break;
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// A named file that is not there is damage.
pub(crate) fn missing(error: Error, len: u64) -> Error {
    match error {
        Error::NotFound { path } => Error::corrupt("missing file", path, 0, len, 0),
        other => other,
    }
}
