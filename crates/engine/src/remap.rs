//! Remap tables: where the records of an address space are after garbage collection moved them.
//!
//! A record is *moved* (the table lists its address), *dropped* (its address is inside the address
//! space and not listed) or, outside, unknown: that is damage. A table leads from the original
//! address to the present file; the next collection replaces it, so that tables never chain.

use std::path::PathBuf;
use std::sync::Arc;

use vfs::planted::{self, Bug};
use vfs::sync::OnceLock;
use vfs::sync::atomic::{AtomicU64, Ordering};
use vfs::{Access, File, Name, Part, Reader, SharedBytes};
use wal::SegmentId;

use crate::catalog::RemapRecord;
use crate::error::{Error, Result};
use crate::files::{Files, REMAP};
use crate::options::ReadMode;
use crate::remap_format::{
    self as format, ENTRIES_PER_PAGE, ENTRY_LEN, Footer, Header, NUMBERS_PER_PAGE, PAGE_BYTES,
    PAGE_HEADER_LEN, PAGE_LEN, PageKind, TARGETS_MAX, UNIT, page_offset, units,
};

/// Where a record is now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    /// Where it was written first, in the table's address space.
    pub(crate) offset: u64,
    /// The rewritten file it is in.
    pub(crate) target: SegmentId,
    /// Where in that file.
    pub(crate) position: u64,
}

/// Writes a table front to back, with one page of it in memory and a number for each page.
///
/// Dropped before [`Builder::finish`] it removes its file.
pub(crate) struct Builder {
    files: Arc<Files>,
    file: Arc<dyn File>,
    id: u64,
    salt: u64,
    header_crc: u32,
    address_len: u64,
    /// The page of entries that is being filled.
    page: Vec<u8>,
    in_page: usize,
    /// Pages written.
    pages: u64,
    targets: Vec<u32>,
    fences: Vec<u32>,
    count: u64,
    last: Option<u64>,
    keep: bool,
}

impl Builder {
    /// Starts the table of an address space of `address_len` bytes.
    pub(crate) fn create(files: &Arc<Files>, segment: u32, address_len: u64) -> Result<Builder> {
        let id = files.take_file_id()?;
        let file = files.fs.create_new(Name::new(REMAP, id))?;
        let salt = files.env.rng.next_u64();
        let header = Header { db_id: files.db_id, file_id: id, salt, segment };
        let (page, header_crc) = format::encode_header(&header);
        let mut builder = Builder {
            files: files.clone(),
            file,
            id,
            salt: header.file_salt(),
            header_crc,
            address_len,
            page: format::begin_page(PageKind::Entries),
            in_page: 0,
            pages: 0,
            targets: Vec::new(),
            fences: Vec::new(),
            count: 0,
            last: None,
            keep: false,
        };
        builder.write(&page)?;
        Ok(builder)
    }

    fn write(&mut self, page: &[u8]) -> Result<()> {
        vfs::write_all_at(&*self.file, page, page_offset(self.pages))?;
        self.pages += 1;
        Ok(())
    }

    /// Adds where a record is. Offsets ascend.
    pub(crate) fn add(&mut self, entry: Entry) -> Result<()> {
        let Entry { offset, target, position } = entry;
        assert!(self.last.is_none_or(|last| last < offset), "offsets ascend");
        assert!(offset < self.address_len, "offset {offset} is inside the address space");
        self.last = Some(offset);
        if self.in_page == ENTRIES_PER_PAGE {
            self.end_entries()?;
        }
        if self.in_page == 0 {
            self.fences.push(units(offset));
        }
        let target = self.target_index(target)?;
        format::encode_entry(units(offset), target, position, &mut self.page);
        self.in_page += 1;
        self.count += 1;
        Ok(())
    }

    fn target_index(&mut self, target: SegmentId) -> Result<u16> {
        // Neighbours mostly went to the same file, the one that was added last.
        let found = self.targets.iter().rposition(|known| *known == target.0);
        let index = found.unwrap_or(self.targets.len());
        if index == TARGETS_MAX {
            let what = "an address space is spread over too many files";
            return Err(vfs::Error::invalid(what, self.file.path()).into());
        }
        if found.is_none() {
            self.targets.push(target.0);
        }
        Ok(u16::try_from(index).expect("below the limit"))
    }

    fn end_entries(&mut self) -> Result<()> {
        if self.in_page == 0 {
            return Ok(());
        }
        let mut page = std::mem::replace(&mut self.page, format::begin_page(PageKind::Entries));
        format::seal_page(self.salt, self.pages, self.in_page, &mut page);
        self.in_page = 0;
        self.write(&page)
    }

    /// Writes the rest and syncs the file (not the directory). `records`: how many the address
    /// space had.
    pub(crate) fn finish(mut self, records: u64) -> Result<RemapRecord> {
        self.end_entries()?;
        let numbers: Vec<u32> = self.targets.iter().chain(&self.fences).copied().collect();
        for some in numbers.chunks(NUMBERS_PER_PAGE) {
            let mut page = format::begin_page(PageKind::Numbers);
            some.iter().for_each(|number| page.extend_from_slice(&number.to_le_bytes()));
            format::seal_page(self.salt, self.pages, some.len(), &mut page);
            self.write(&page)?;
        }
        let footer = Footer {
            len: page_offset(self.pages + 1),
            count: self.count,
            address_len: self.address_len,
            records,
            targets: u32::try_from(self.targets.len()).expect("few"),
            header_crc: self.header_crc,
        };
        let (page, footer_crc) = format::encode_footer(self.salt, self.pages, &footer);
        self.write(&page)?;
        if !planted::is(Bug::RemapUnsynced) {
            self.file.sync_data()?;
        }
        self.keep = true;
        let targets = std::mem::take(&mut self.targets);
        Ok(RemapRecord { file: self.id, len: footer.len, footer_crc, targets })
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        if !self.keep {
            self.files.abandon(Name::new(REMAP, self.id));
        }
    }
}

/// An open table. Cheap to share; safe from many threads. A page is verified when it is first
/// read, each time it is where it is not mapped, and when the caller asks.
pub(crate) struct Remap {
    path: PathBuf,
    salt: u64,
    record: RemapRecord,
    footer: Footer,
    map: Option<SharedBytes>,
    /// `None` once only the mapping is needed.
    file: Option<Arc<dyn File>>,
    /// A bit for each page that was verified.
    verified: Vec<AtomicU64>,
    /// The first offset of each page, in units. Read when they are first needed.
    fences: OnceLock<Vec<u32>>,
}

impl Remap {
    /// Opens the table that the MANIFEST names for an address space.
    pub(crate) fn open(files: &Files, segment: u32, record: &RemapRecord) -> Result<Arc<Remap>> {
        let name = Name::new(REMAP, record.file);
        let file = files.fs.open(name, Access::Read).map_err(Error::named_file)?;
        let path = file.path().to_path_buf();
        let len = file.len()?;
        if len != record.len || !len.is_multiple_of(PAGE_BYTES) || len < 2 * PAGE_BYTES {
            return Err(Error::corrupt("length of a remap table", &path, 0, record.len, len));
        }
        let read = |number: u64| -> Result<Vec<u8>> {
            let mut page = vec![0; PAGE_LEN];
            vfs::read_exact_at(&*file, &mut page, page_offset(number))?;
            Ok(page)
        };
        let expected = Header { db_id: files.db_id, file_id: record.file, salt: 0, segment };
        let (header, header_crc) = format::decode_header(&path, expected, &read(0)?)?;
        let (salt, last) = (header.file_salt(), len / PAGE_BYTES - 1);
        let (footer, footer_crc) = format::decode_footer(&path, salt, last, &read(last)?)?;
        let targets = record.targets.len() as u64;
        let rules = [
            ("footer of a remap table", u64::from(record.footer_crc), u64::from(footer_crc)),
            ("header of a remap table", u64::from(footer.header_crc), u64::from(header_crc)),
            ("targets of a remap table", targets, u64::from(footer.targets)),
        ];
        if let Some((what, expected, found)) = rules.into_iter().find(|(_, a, b)| a != b) {
            return Err(Error::corrupt(what, &path, page_offset(last), expected, found));
        }
        let map = match files.options.read_mode {
            ReadMode::Mapped => Some(SharedBytes::new(file.map(len)?)),
            ReadMode::Positional => None,
        };
        let file = map.is_none().then_some(file);
        let words = usize::try_from(last / 64 + 1).expect("a table fits in memory");
        let verified = (0..words).map(|_| AtomicU64::new(0)).collect();
        let (record, fences) = (record.clone(), OnceLock::new());
        Ok(Arc::new(Remap { path, salt, record, footer, map, file, verified, fences }))
    }

    /// What the MANIFEST says of it.
    pub(crate) fn record(&self) -> &RemapRecord {
        &self.record
    }

    pub(crate) fn name(&self) -> Name {
        Name::new(REMAP, self.record.file)
    }

    /// Records that are still somewhere.
    pub(crate) fn count(&self) -> u64 {
        self.footer.count
    }

    /// Records the address space had.
    pub(crate) fn records(&self) -> u64 {
        self.footer.records
    }

    /// Bytes of the address space.
    pub(crate) fn address_len(&self) -> u64 {
        self.footer.address_len
    }

    /// Where the record is that was written at `offset`: file and position; `None` if it was
    /// dropped. `Corrupt` if no record can have been there. O(log n), one page beyond the fences.
    pub(crate) fn find(&self, offset: u64, verify: bool) -> Result<Option<(SegmentId, u64)>> {
        if offset >= self.footer.address_len || !offset.is_multiple_of(UNIT) {
            let (what, limit) = ("address of a record that moved", self.footer.address_len);
            return Err(Error::corrupt(what, &self.path, 0, limit, offset));
        }
        let unit = units(offset);
        let after = self.fences()?.partition_point(|first| *first <= unit);
        let Some(page) = after.checked_sub(1) else { return Ok(None) };
        let bytes = self.entries(page as u64, verify)?;
        let (entries, _) = bytes.as_chunks::<ENTRY_LEN>();
        let unit_of = |[a, b, c, d, ..]: &[u8; ENTRY_LEN]| u32::from_le_bytes([*a, *b, *c, *d]);
        let Ok(index) = entries.binary_search_by_key(&unit, unit_of) else { return Ok(None) };
        let entry = self.entry(page as u64, index, &bytes)?;
        Ok(Some((entry.target, entry.position)))
    }

    /// One entry of a page.
    fn entry(&self, page: u64, index: usize, entries: &[u8]) -> Result<Entry> {
        let start = index * ENTRY_LEN;
        let at = page_offset(page + 1) + (PAGE_HEADER_LEN + start) as u64;
        let bytes = entries.get(start..).unwrap_or_default();
        let mut reader = Reader::new(&self.path, at, bytes);
        let (offset, target, position) = format::decode_entry(&mut reader)?;
        match self.record.targets.get(usize::from(target)) {
            Some(id) => Ok(Entry { offset, target: SegmentId(*id), position }),
            None => {
                let limit = self.record.targets.len() as u64;
                Err(reader.corrupt("target of a remap entry", limit, target.into()).into())
            }
        }
    }

    /// The entries of a page of them.
    fn entries(&self, index: u64, verify: bool) -> Result<Part<'_>> {
        let before = index * ENTRIES_PER_PAGE as u64;
        let left = self.footer.count.saturating_sub(before);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(ENTRIES_PER_PAGE);
        let page = self.page(index + 1, PageKind::Entries, count, verify)?;
        Ok(page.part(PAGE_HEADER_LEN..PAGE_HEADER_LEN + count * ENTRY_LEN))
    }

    /// A page, verified if it was not before, or again.
    ///
    /// Postmortem: a page that is read anew each time was verified once. When it rotted behind that,
    /// a record that had moved looked dropped: an older value was served, and a merge let go of the
    /// entry for good.
    fn page(&self, number: u64, kind: PageKind, count: usize, verify: bool) -> Result<Part<'_>> {
        let page = match (&self.map, &self.file) {
            (Some(map), _) => {
                let start = usize::try_from(page_offset(number)).expect("it is mapped");
                Part::of(map, start, PAGE_LEN).expect("the length was looked at")
            }
            (None, file) => {
                let file = file.as_ref().expect("a table that is not mapped keeps its file");
                let mut page = vec![0; PAGE_LEN];
                vfs::read_exact_at(&**file, &mut page, page_offset(number))?;
                Part::Owned(page.into())
            }
        };
        let word = &self.verified[usize::try_from(number / 64).expect("a page of the file")];
        let bit = 1 << (number % 64);
        if verify || self.map.is_none() || word.load(Ordering::Relaxed) & bit == 0 {
            let (_, found, reader) = format::open_page(&self.path, self.salt, number, kind, &page)?;
            if found != count {
                let (expected, found) = (count as u64, found as u64);
                return Err(reader.corrupt("count of a remap page", expected, found).into());
            }
            word.fetch_or(bit, Ordering::Relaxed);
        }
        Ok(page)
    }

    fn entry_pages(&self) -> u64 {
        self.footer.count.div_ceil(ENTRIES_PER_PAGE as u64)
    }

    fn fences(&self) -> Result<&[u32]> {
        if let Some(fences) = self.fences.get() {
            return Ok(fences);
        }
        let fences = self.read_fences(false)?;
        Ok(self.fences.get_or_init(|| fences))
    }

    fn read_fences(&self, verify: bool) -> Result<Vec<u32>> {
        let targets = &self.record.targets;
        let pages = usize::try_from(self.entry_pages()).expect("a table fits in memory");
        let total = targets.len() + pages;
        let mut numbers = Vec::with_capacity(total);
        let first = 1 + self.entry_pages();
        for number in first.. {
            let count = (total - numbers.len()).min(NUMBERS_PER_PAGE);
            if count == 0 {
                break;
            }
            let page = self.page(number, PageKind::Numbers, count, verify)?;
            let (found, _) = page[PAGE_HEADER_LEN..].as_chunks::<4>();
            numbers.extend(found.iter().take(count).map(|bytes| u32::from_le_bytes(*bytes)));
        }
        let fences = numbers.split_off(targets.len());
        let at = page_offset(first);
        if numbers != *targets {
            let differing = numbers.iter().zip(targets).find(|(a, b)| a != b);
            let (found, expected) = differing.map_or((0, 0), |(a, b)| (*a, *b));
            let what = "targets of a remap table";
            return Err(Error::corrupt(what, &self.path, at, expected.into(), found.into()));
        }
        if !fences.is_sorted_by(|a, b| a < b) {
            return Err(Error::corrupt("order of a remap table", &self.path, at, 1, 0));
        }
        Ok(fences)
    }

    /// Every entry in the order of offsets; each page is verified again.
    pub(crate) fn cursor(self: &Arc<Self>) -> RemapCursor {
        RemapCursor { remap: self.clone(), next: 0, page: Vec::new(), last: None }
    }

    /// Verifies every page and hands each entry to `visit`.
    pub(crate) fn check(
        self: &Arc<Self>,
        visit: &mut dyn FnMut(Entry) -> Result<()>,
    ) -> Result<()> {
        let fences = self.read_fences(true)?;
        let mut cursor = self.cursor();
        let mut index = 0;
        while let Some(entry) = cursor.next()? {
            let (page, rest) = (index / ENTRIES_PER_PAGE, index % ENTRIES_PER_PAGE);
            if rest == 0 && fences.get(page) != Some(&units(entry.offset)) {
                let (expected, found) = (entry.offset / UNIT, fences.get(page).copied());
                let (at, found) = (page_offset(page as u64 + 1), found.unwrap_or(0).into());
                return Err(Error::corrupt(
                    "first of a remap page",
                    &self.path,
                    at,
                    expected,
                    found,
                ));
            }
            visit(entry)?;
            index += 1;
        }
        Ok(())
    }
}

/// Reads a table front to back.
pub(crate) struct RemapCursor {
    remap: Arc<Remap>,
    next: u64,
    page: Vec<u8>,
    last: Option<u64>,
}

impl RemapCursor {
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        let remap = &self.remap;
        if self.next == remap.footer.count {
            return Ok(None);
        }
        let page = self.next / ENTRIES_PER_PAGE as u64;
        let index = usize::try_from(self.next % ENTRIES_PER_PAGE as u64).expect("below a page's");
        if index == 0 {
            self.page.clear();
            self.page.extend_from_slice(&remap.entries(page, true)?);
        }
        let entry = remap.entry(page, index, &self.page)?;
        let limit = remap.footer.address_len;
        if self.last.is_some_and(|last| last >= entry.offset) || entry.offset >= limit {
            let at = page_offset(page + 1) + (PAGE_HEADER_LEN + index * ENTRY_LEN) as u64;
            let what = "order of remap entries";
            return Err(Error::corrupt(what, &remap.path, at, limit, entry.offset));
        }
        self.last = Some(entry.offset);
        self.next += 1;
        Ok(Some(entry))
    }
}

#[cfg(test)]
mod tests;
