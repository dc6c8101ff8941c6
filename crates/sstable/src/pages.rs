//! Brings pages of a file into memory, verified.
//!
//! Mapped: a page is a slice of the mapping; its checksum is computed the first time it is used
//! since the file was opened, and when the caller asks. Positional: a page is read into a buffer
//! of its own and verified every time (the read costs ten times more than the checksum), but for
//! inner nodes, of which a bounded number is kept.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vfs::sync::RwLock;
use vfs::sync::atomic::{AtomicU64, Ordering};
use vfs::{Bytes, Error, File, Part, ReadAhead, Result, SharedBytes, read_exact_at};

use crate::format::{PAGE_LEN, SPAN_MAX, decode_span, page_offset, verify_page};

const LINE_LEN: usize = 64;
/// Lines of a node that a search looks at before it reads an entry: header, prefix, heads.
const LINES: usize = 12;

/// Most bytes of inner nodes that are kept for positional reads.
const KEPT_LEN_MAX: usize = 4 << 20;

/// When checksums are computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verify {
    /// On the first read since open.
    First,
    /// On this read.
    Always,
}

/// Up to which byte of the file a walk has asked for what comes next.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked(usize);

/// Where pages come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A mapping of the whole file.
    Mapped(SharedBytes),
    /// The open file.
    Positional(Arc<dyn File>),
}

/// The pages of one file.
#[derive(Debug)]
pub(crate) struct PageReader {
    path: PathBuf,
    source: Source,
    file_salt: u64,
    /// A bit per page of the file: verified since open. Mapped only.
    seen: Vec<AtomicU64>,
    /// Inner nodes by page. Positional only.
    kept: RwLock<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    nodes: HashMap<u32, Bytes>,
    len: usize,
}

impl PageReader {
    /// A reader of a file of `page_count` pages.
    pub(crate) fn new(
        path: PathBuf,
        source: Source,
        file_salt: u64,
        page_count: u32,
    ) -> PageReader {
        let words = match source {
            Source::Mapped(_) => page_count.div_ceil(64) as usize,
            Source::Positional(_) => 0,
        };
        let mut seen = Vec::new();
        seen.resize_with(words, AtomicU64::default);
        PageReader { path, source, file_salt, seen, kept: RwLock::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn is_mapped(&self) -> bool {
        matches!(self.source, Source::Mapped(_))
    }

    /// The node at page `number`, which must end at or before page `end`: that keeps a node below
    /// its parent and a chain of leaves from running in a circle.
    #[inline(always)]
    pub(crate) fn node(
        &self,
        number: u32,
        end: u32,
        inner: bool,
        verify: Verify,
    ) -> Result<Part<'_>> {
        let Source::Mapped(whole) = &self.source else {
            return self.read_node(number, end, inner, verify);
        };
        let start = number as usize * PAGE_LEN;
        let first = whole.get(start..start + PAGE_LEN).unwrap_or(&[]);
        touch(first);
        let span = self.span(number, end, first)?;
        let Some(bytes) = whole.get(start..start + span as usize * PAGE_LEN) else {
            return Err(self.beyond_end(number, span));
        };
        self.verify_mapped(number, bytes, verify)?;
        Ok(Part::Mapped { whole, start, bytes })
    }

    #[inline(never)]
    fn read_node(&self, number: u32, end: u32, inner: bool, verify: Verify) -> Result<Part<'_>> {
        let kept = inner && verify == Verify::First;
        if kept && let Some(bytes) = self.kept.read().nodes.get(&number) {
            return Ok(Part::Owned(bytes.clone()));
        }
        let Source::Positional(file) = &self.source else { unreachable!("a mapping is sliced") };
        let mut buffer = vec![0; PAGE_LEN];
        read_exact_at(&**file, &mut buffer, page_offset(number))?;
        let span = self.span(number, end, &buffer)? as usize;
        if span > 1 {
            buffer.resize(span * PAGE_LEN, 0);
            let rest = buffer.get_mut(PAGE_LEN..).unwrap_or(&mut []);
            read_exact_at(&**file, rest, page_offset(number + 1))?;
        }
        verify_page(&self.path, self.file_salt, number, &buffer)?;
        let bytes = Bytes::from(buffer);
        if inner {
            self.keep(number, &bytes);
        }
        Ok(Part::Owned(bytes))
    }

    /// `span` pages from `number` on that have one checksum.
    pub(crate) fn run(&self, number: u32, span: u32, verify: Verify) -> Result<Part<'_>> {
        match &self.source {
            Source::Mapped(_) => {
                let pages = self.mapped(number, span)?;
                self.verify_mapped(number, &pages, verify)?;
                Ok(pages)
            }
            Source::Positional(_) => {
                let bytes = self.read(number, span)?;
                verify_page(&self.path, self.file_salt, number, &bytes)?;
                Ok(Part::Owned(bytes))
            }
        }
    }

    /// Asks for what stands some records behind these bytes of a page (or before them), in this page
    /// or the next, but for what was asked for already: a walk comes there soon. Entries lie in
    /// order, but the processor's own look ahead ends with each page and starts anew.
    #[inline]
    pub(crate) fn prefetch_ahead(
        &self,
        number: u32,
        part: Range<usize>,
        Asked(asked): Asked,
        forward: bool,
    ) -> Asked {
        const AHEAD: usize = 1 << 10;
        let Source::Mapped(whole) = &self.source else { return Asked(asked) };
        let at = number as usize * PAGE_LEN;
        let (start, end) = (at + part.start, at + part.end);
        let ahead = AHEAD.max(2 * part.len());
        if forward {
            let upto = end + ahead;
            let from = if (end..upto).contains(&asked) { asked } else { end };
            vfs::prefetch(whole, from, upto - from);
            return Asked(upto);
        }
        let from = start.saturating_sub(ahead);
        let upto = if (from..start).contains(&asked) { asked } else { start };
        vfs::prefetch(whole, from, upto - from);
        Asked(from)
    }

    /// Has every page verified again on its next read.
    pub(crate) fn forget_verified(&self) {
        self.seen.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    /// True if page `number` was read and verified since the file was opened.
    #[inline]
    pub(crate) fn was_read(&self, number: u32) -> bool {
        let word = self.seen.get(number as usize / 64);
        // Nothing is published through the bit: the bytes are the file's either way.
        word.is_some_and(|word| (word.load(Ordering::Relaxed) >> (number % 64)) & 1 == 1)
    }

    /// Has the system read what a walk that comes to a page meets behind it, or before it.
    pub(crate) fn read_ahead(&self, number: u32, ahead: &mut ReadAhead, forward: bool) {
        let Source::Mapped(whole) = &self.source else { return };
        let at = number as usize * PAGE_LEN;
        if forward { ahead.forward(whole, at) } else { ahead.backward(whole, at) }
    }

    /// Asks for the lines of a node that a search looks at.
    #[inline]
    pub(crate) fn prefetch_node(&self, number: u32) {
        if let Source::Mapped(whole) = &self.source {
            vfs::prefetch(whole, number as usize * PAGE_LEN, LINES * LINE_LEN);
        }
    }

    /// Asks for the line at `at` of a page.
    #[inline]
    pub(crate) fn prefetch(&self, number: u32, at: usize) {
        if let Source::Mapped(whole) = &self.source {
            vfs::prefetch(whole, number as usize * PAGE_LEN + at, 1);
        }
    }

    /// `span` pages from `number` on, unverified.
    pub(crate) fn raw(&self, number: u32, span: u32) -> Result<Part<'_>> {
        match &self.source {
            Source::Mapped(_) => self.mapped(number, span),
            Source::Positional(_) => Ok(Part::Owned(self.read(number, span)?)),
        }
    }

    /// Computes the checksum of one page.
    pub(crate) fn verify(&self, number: u32, page: &[u8]) -> Result<()> {
        verify_page(&self.path, self.file_salt, number, page).map(drop)
    }

    /// Positional only; the caller knows that the file has these pages.
    fn read(&self, number: u32, span: u32) -> Result<Bytes> {
        let Source::Positional(file) = &self.source else { unreachable!("a mapping is sliced") };
        let mut buffer = vec![0; span as usize * PAGE_LEN];
        read_exact_at(&**file, &mut buffer, page_offset(number))?;
        Ok(Bytes::from(buffer))
    }

    fn mapped(&self, number: u32, span: u32) -> Result<Part<'_>> {
        let Source::Mapped(whole) = &self.source else { unreachable!("a file is read") };
        let start = number as usize * PAGE_LEN;
        let part = Part::of(whole, start, span as usize * PAGE_LEN);
        part.ok_or_else(|| self.beyond_end(number, span))
    }

    #[cold]
    fn beyond_end(&self, number: u32, span: u32) -> Error {
        let end = page_offset(number) + u64::from(span) * page_offset(1);
        let len = if let Source::Mapped(whole) = &self.source { whole.len() as u64 } else { 0 };
        Error::corrupt("end of a page", &self.path, len, end, len)
    }

    #[inline(always)]
    fn span(&self, number: u32, end: u32, page: &[u8]) -> Result<u32> {
        let span = decode_span(page).unwrap_or(0);
        let room = end.saturating_sub(number).min(SPAN_MAX);
        if span == 0 || span > room {
            return Err(self.bad_span(number, room, span));
        }
        Ok(span)
    }

    #[cold]
    fn bad_span(&self, number: u32, room: u32, span: u32) -> Error {
        let at = page_offset(number);
        Error::corrupt("pages of a node", &self.path, at, room.into(), span.into())
    }

    #[inline(always)]
    fn verify_mapped(&self, number: u32, pages: &[u8], verify: Verify) -> Result<()> {
        if self.was_read(number) && verify == Verify::First {
            return Ok(());
        }
        self.verify_first(number, pages)
    }

    #[inline(never)]
    fn verify_first(&self, number: u32, pages: &[u8]) -> Result<()> {
        self.verify(number, pages)?;
        if let Some(word) = self.seen.get(number as usize / 64) {
            word.fetch_or(1 << (number % 64), Ordering::Relaxed);
        }
        Ok(())
    }

    fn keep(&self, number: u32, bytes: &Bytes) {
        let mut kept = self.kept.write();
        if kept.len + bytes.len() <= KEPT_LEN_MAX
            && kept.nodes.insert(number, bytes.clone()).is_none()
        {
            kept.len += bytes.len();
        }
    }
}

/// Asks for the first lines of a node at once: header, prefix, heads and slots. Each would otherwise
/// be waited for after the one before. They are loads whose results nothing waits for. Measured,
/// ns a look-up in 2 M entries of 174 bytes and in 8 M of 32, where one miss cost 300: 1 line 850
/// and 1050, 5 lines 700 and 930, 12 lines 730 and 750, 20 lines 900 and 810.
#[inline]
fn touch(page: &[u8]) {
    for line in page.iter().step_by(LINE_LEN).take(LINES) {
        std::hint::black_box(*line);
    }
}
