//! Walks one file, or a part of its hashes, in order.

use std::sync::Arc;

use vfs::Result;

use crate::address::{PAGE_LEN, Prefix};
use crate::page::Page;
use crate::run::{Run, Verify};

/// A position in a run. It reads whole pages and verifies each.
#[derive(Debug)]
pub(crate) struct RunCursor {
    run: Arc<Run>,
    /// The page the position is on, and the one behind the last.
    page: u64,
    end: u64,
    /// Entry of the page, and how many it has.
    index: usize,
    count: usize,
    /// The page's bytes.
    buffer: Box<[u8; PAGE_LEN]>,
    hash: u64,
    last: u64,
    done: bool,
}

impl RunCursor {
    /// At the first entry of a part of the hashes.
    pub(crate) fn new(run: &Arc<Run>, part: Prefix) -> Result<RunCursor> {
        let layout = run.layout;
        let start =
            if layout.prefix.contains(part.start) { part.start } else { layout.prefix.start };
        let page = run.first_page(start);
        let mut cursor = RunCursor {
            run: Arc::clone(run),
            page,
            end: run.pages(),
            index: 0,
            count: 0,
            buffer: Box::new([0; PAGE_LEN]),
            hash: 0,
            last: part.last(),
            done: false,
        };
        cursor.load()?;
        while let Some(hash) = cursor.hash()
            && hash < start
        {
            cursor.advance()?;
        }
        Ok(cursor)
    }

    /// The kept hash at the position; `None` behind the last.
    #[inline]
    pub(crate) fn hash(&self) -> Option<u64> {
        (!self.done).then_some(self.hash)
    }

    /// The slot at the position; empty behind the last.
    #[inline]
    pub(crate) fn slot(&self) -> &[u8] {
        match self.view() {
            Some(page) => page.slot(self.index),
            None => &[],
        }
    }

    #[inline]
    fn view(&self) -> Option<Page<'_>> {
        Page::new(self.run.shape(), &self.buffer[..])
    }

    /// On to the next entry.
    #[inline]
    pub(crate) fn advance(&mut self) -> Result<()> {
        self.index += 1;
        if self.index == self.count {
            self.page += 1;
            self.index = 0;
            return self.load();
        }
        self.read_hash()
    }

    fn read_hash(&mut self) -> Result<()> {
        let before = self.hash;
        let hash = self.view().map_or(0, |page| page.hash(self.index));
        if hash < before {
            self.done = true;
            return Err(self.run.wrong("order of the hashes", self.page));
        }
        self.hash = hash;
        self.done = hash > self.last;
        Ok(())
    }

    /// Reads pages until one has entries.
    fn load(&mut self) -> Result<()> {
        while self.page < self.end {
            self.run.copy_page(self.page, &mut self.buffer)?;
            self.count = self.view().map_or(0, |page| page.count());
            if self.count > 0 {
                return self.read_hash();
            }
            self.page += 1;
        }
        self.done = true;
        Ok(())
    }
}
