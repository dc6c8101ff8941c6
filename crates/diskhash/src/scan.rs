//! Walks one file, or a part of its hashes, in order.

use std::sync::Arc;

use vfs::{ReadAhead, Result};

use crate::address::{PAGE_LEN, Prefix};
use crate::page::Page;
use crate::run::Run;

/// Pages of a walk from which on the system is asked to read ahead: a sample takes one or two.
const PAGES_MIN: usize = 4;

/// A position in a run. It reads whole pages and verifies each.
#[derive(Debug)]
pub(crate) struct RunCursor {
    run: Arc<Run>,
    /// The page the position is on, and the one behind the last.
    page: u64,
    end: u64,
    /// The page's bytes, its hashes, and where its slots stand.
    buffer: Box<[u8; PAGE_LEN]>,
    hashes: Vec<u64>,
    slots_at: usize,
    index: usize,
    /// The last hash of the part.
    last: u64,
    /// Pages that were read, and how far the system was asked for more.
    pages: usize,
    ahead: ReadAhead,
}

impl RunCursor {
    /// At the first entry of a part of the hashes.
    pub(crate) fn new(run: &Arc<Run>, part: Prefix) -> Result<RunCursor> {
        let own = run.layout.prefix;
        let start = part.start.max(own.start);
        let meet = start <= part.last() && start <= own.last();
        let mut cursor = RunCursor {
            run: Arc::clone(run),
            page: if meet { run.first_page(start) } else { run.pages() },
            end: run.pages(),
            buffer: Box::new([0; PAGE_LEN]),
            hashes: Vec::new(),
            slots_at: 0,
            index: 0,
            last: part.last(),
            pages: 0,
            ahead: ReadAhead::default(),
        };
        cursor.load()?;
        // What overflowed from pages before stands first.
        while cursor.hash().is_some_and(|hash| hash < start) {
            cursor.advance()?;
        }
        Ok(cursor)
    }

    /// The kept hash at the position; `None` behind the last.
    #[inline]
    pub(crate) fn hash(&self) -> Option<u64> {
        self.hashes.get(self.index).copied().filter(|hash| *hash <= self.last)
    }

    /// The slot at the position; empty behind the last.
    #[inline]
    pub(crate) fn slot(&self) -> &[u8] {
        let len = self.run.shape().slot_len();
        let at = self.slots_at + self.index * len;
        self.buffer.get(at..at + len).unwrap_or(&[])
    }

    /// On to the next entry.
    #[inline]
    pub(crate) fn advance(&mut self) -> Result<()> {
        self.index += 1;
        if self.index < self.hashes.len() {
            return Ok(());
        }
        self.page += 1;
        self.load()
    }

    /// Reads pages until one has entries.
    fn load(&mut self) -> Result<()> {
        let before = self.hashes.last().copied().unwrap_or(0);
        self.index = 0;
        self.hashes.clear();
        while self.page < self.end && before <= self.last {
            self.pages += 1;
            if self.pages >= PAGES_MIN {
                self.run.read_ahead(self.page, &mut self.ahead);
            }
            self.run.copy_page(self.page, &mut self.buffer)?;
            let shape = self.run.shape();
            if let Some(page) = Page::new(shape, &self.buffer[..]).filter(|p| p.count() > 0) {
                self.slots_at = shape.slots_at(page.is_wide());
                self.hashes.extend((0..page.count()).map(|index| page.hash(index)));
                let own = self.run.layout.prefix;
                let ends = [page.hash(0), page.last()];
                let inside = ends.iter().all(|hash| own.contains(*hash));
                let ascend = self.hashes.is_sorted() && before <= ends[0];
                if !ascend || !inside || self.hashes.last() != Some(&ends[1]) {
                    self.hashes.clear();
                    return Err(self.run.wrong("order of the hashes", self.page));
                }
                return Ok(());
            }
            self.page += 1;
        }
        Ok(())
    }
}
