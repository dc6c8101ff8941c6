//! Every key of a table at a sequence, ordered or not, in the order in which keys first came.

use std::sync::Arc;

use crate::arena::Address;
use crate::entry::Entry;
use crate::table::Memtable;
use crate::window::Window;

/// Entries per window.
const COUNT: usize = 64;

/// Walks all keys of a table once; holds no lock between calls. Made by [`Memtable::scan`].
///
/// Shows at most one version per key: the newest whose sequence is at most the scan's, deletions
/// included. Keys inserted after the scan was made may or may not show, if their sequence is not
/// above the scan's.
pub struct Scan {
    table: Arc<Memtable>,
    seq: u64,
    window: Window,
    /// Index in the window of the entry after the one last returned.
    at: usize,
    /// The last key looked at.
    last: Option<Address>,
}

impl Memtable {
    /// A scan of the table, ordered or not, as of `seq`.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use memtable::{Entry, Memtable, Order};
    ///
    /// let table = Arc::new(Memtable::new(Order::Unordered));
    /// table.insert(&[Entry::put(b"b", 1, b""), Entry::put(b"a", 1, b"")]);
    /// let mut scan = table.scan(1);
    /// assert_eq!(scan.next().map(|entry| entry.key), Some(b"b".as_slice()));
    /// assert_eq!(scan.next().map(|entry| entry.key), Some(b"a".as_slice()));
    /// assert_eq!(scan.next(), None);
    /// ```
    #[must_use]
    pub fn scan(self: &Arc<Self>, seq: u64) -> Scan {
        Scan { table: Arc::clone(self), seq, window: Window::default(), at: 0, last: None }
    }
}

impl Scan {
    /// The next key's version; None at the end, and again whenever asked there.
    // Not an iterator: what it returns is borrowed from the scan.
    #[expect(clippy::should_implement_trait, reason = "an Iterator cannot lend its items")]
    pub fn next(&mut self) -> Option<Entry<'_>> {
        while self.at == self.window.items().len() {
            if !self.load() {
                return None;
            }
        }
        self.at += 1;
        Some(self.window.entry(&self.table, self.at - 1))
    }

    /// Replaces the window by the next; it may be empty. Returns false at the end.
    fn load(&mut self) -> bool {
        let Scan { table, seq, window, at, last } = self;
        window.clear();
        *at = 0;
        let before = *last;
        table.with_content(|content, is_sealed| {
            for first in content.records.firsts(before) {
                *last = Some(first);
                window.look(&content.records, first, *seq, is_sealed);
                if window.is_full(COUNT) || window.has_looked_enough() {
                    break;
                }
            }
        });
        *last != before
    }
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Scan").field("seq", &self.seq).finish_non_exhaustive()
    }
}
