//! For fuzz targets: a page without a file around it. No part of the interface.

use crate::format::Shape;
use crate::page::Page;

/// A page of slots, its bytes as they come.
#[derive(Clone, Copy, Debug)]
pub struct PageView<'a>(Page<'a>);

impl<'a> PageView<'a> {
    /// `None` if these bytes cannot be a page of a table with such slots and hashes.
    ///
    /// # Panics
    /// Unless `slot_len` is 1 to 1024 and `hash_bytes` 5 to 8.
    pub fn new(slot_len: u16, hash_bytes: u8, bytes: &'a [u8]) -> Option<PageView<'a>> {
        Page::new(Shape::new(slot_len, hash_bytes), bytes).map(PageView)
    }

    /// Entries.
    pub fn count(&self) -> usize {
        self.0.count()
    }

    /// The kept hash of the first entry and that of the last, as the header has them.
    pub fn ends(&self) -> (u64, u64) {
        (self.0.base(), self.0.last())
    }

    /// The kept hash and the slot of an entry.
    pub fn entry(&self, index: usize) -> (u64, &'a [u8]) {
        (self.0.hash(index), self.0.slot(index))
    }

    /// The first entry that is not below a kept hash.
    pub fn lower_bound(&self, hash: u64) -> usize {
        self.0.lower_bound(hash)
    }

    /// True if entry `index` is there and has this kept hash.
    pub fn is_at(&self, index: usize, hash: u64) -> bool {
        self.0.is_at(index, hash)
    }
}
