//! Reads and judges every byte of a generation.

use std::collections::BTreeSet;

use vfs::{Error, Name, ReadAhead, Result};

use crate::address::{PAGE_LEN, home, page_offset};
use crate::format::require_zeros;
use crate::generation::{Generation, read_record};
use crate::options::GENERATION;
use crate::page::Page;
use crate::run::{Run, Verify};

impl Generation {
    /// Reads every byte of every file and judges it: checksums, lengths, order, homes, counts,
    /// listed numbers, unused bytes. Shows every slot, shadowed ones included, file by file, and
    /// reports what is wrong, and what `visit` says, and goes on with the next file. Only for
    /// generations that are not released.
    pub fn check(&self, visit: &mut dyn FnMut(&[u8]) -> Result<()>, report: &mut dyn FnMut(Error)) {
        if let Err(error) = self.check_record() {
            report(error);
        }
        for run in self.data_files() {
            if let Err(error) = self.check_run(run, visit) {
                report(error);
            }
        }
    }

    /// The record must still say what this generation was opened or committed with.
    fn check_record(&self) -> Result<()> {
        let found = read_record(&self.fs, self.id)?;
        if found == self.record(found.next_id) {
            return Ok(());
        }
        let path = self.fs.path().join(Name::new(GENERATION, self.id).to_string());
        Err(Error::corrupt("generation record", path, 0, self.record_len, self.record_len))
    }

    fn check_run(&self, run: &Run, visit: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        run.check_ends(&self.fs, self.fixed.owner)?;
        let mut walk = Walk { run, visit, entries: 0, before: None, listed: BTreeSet::new() };
        let listed_at = self.fixed.listed.map(usize::from);
        let (mut start, mut ahead) = (0, ReadAhead::default());
        for (index, section) in run.sections.iter().enumerate() {
            let mut continues = false;
            for number in start..section.end {
                run.read_ahead(number, &mut ahead);
                continues = walk.page(index, start, number, continues, listed_at)?;
            }
            if continues {
                return Err(run.wrong("end of an overflow", section.end));
            }
            start = section.end;
        }
        let listed = walk.listed.iter().copied();
        if walk.entries != run.entries() || !listed.eq(run.listed.iter().copied()) {
            let at = page_offset(run.pages());
            let (expected, found) = (run.entries(), walk.entries);
            return Err(Error::corrupt("entries of a file", run.path(), at, expected, found));
        }
        Ok(())
    }
}

struct Walk<'a> {
    run: &'a Run,
    visit: &'a mut dyn FnMut(&[u8]) -> Result<()>,
    entries: u64,
    before: Option<u64>,
    listed: BTreeSet<u32>,
}

impl Walk<'_> {
    /// Judges one page of a section that starts at page `start`; `overflows` tells what the page
    /// before it said. Returns whether it continues.
    fn page(
        &mut self,
        section: usize,
        start: u64,
        number: u64,
        overflows: bool,
        listed_at: Option<usize>,
    ) -> Result<bool> {
        let run = self.run;
        let mut buffer = [0; PAGE_LEN];
        let page = run.page(number, Verify::Always, &mut buffer)?;
        for (at, bytes) in page.padding() {
            require_zeros(run.path(), page_offset(number) + at as u64, bytes)?;
        }
        let home_pages = run.sections.get(section).map_or(0, |section| section.home_pages);
        let is_extra = number - start >= u64::from(home_pages);
        if page.count() == 0 && (is_extra || overflows || page.continues()) {
            return Err(run.wrong("page without entries", number));
        }
        self.judge_ends(&page, number)?;
        for index in 0..page.count() {
            let hash = page.hash(index);
            if self.before.is_some_and(|before| hash < before) {
                return Err(run.wrong("order of the hashes", number));
            }
            self.before = Some(hash);
            let layout = run.layout;
            let inside = layout.prefix.contains(hash) && layout.section(hash) == section;
            let at_home = start + home(layout.fraction(hash), home_pages);
            // The first entry tells whether the page before was right to say that it continues.
            let told = index > 0 || overflows == (at_home < number);
            if !inside || at_home > number || !told {
                return Err(run.wrong("home of a hash", number));
            }
            let slot = page.slot(index);
            if let Some(field) = listed_at.and_then(|at| slot.get(at..)?.first_chunk::<4>()) {
                self.listed.insert(u32::from_le_bytes(*field));
            }
            self.entries += 1;
            (self.visit)(slot)?;
        }
        Ok(page.continues())
    }

    /// Base and span must be what the entries say.
    fn judge_ends(&self, page: &Page<'_>, number: u64) -> Result<()> {
        let last = page.count().checked_sub(1).map_or(0, |last| page.hash(last));
        let first = if page.count() == 0 { 0 } else { page.hash(0) };
        if page.last() != last || page.base() != first {
            return Err(self.run.wrong("span of a page", number));
        }
        Ok(())
    }
}
