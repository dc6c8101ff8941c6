//! Moving through an ordered table at a sequence, both ways, while it may still grow.
//!
//! A cursor loads a window of entries in one step under the table's lock (none if the table is
//! sealed) and then moves inside it. A window is always extended from the key at its end, so
//! whatever is inserted meanwhile, keys come out strictly ascending or descending.

use std::sync::Arc;

use crate::arena::Address;
use crate::entry::{Entry, Order};
use crate::ordered::Ordered;
use crate::records::Records;
use crate::table::{Content, Memtable};
use crate::window::Window;

/// Entries in the first window after a seek: most seeks read one or a few.
const COUNT_FIRST: usize = 4;
/// Every further window is this many times longer: few are wanted where most entries come from
/// other tables ...
const COUNT_FACTOR: usize = 2;
/// ... up to this length; from here on windows end where leaves end.
const COUNT_MAX: usize = 64;

/// A position in a table, which it keeps alive; holds no lock between calls.
///
/// Shows at most one version per key: the newest whose sequence is at most the cursor's,
/// deletions included. Versions inserted after the cursor was made may or may not show, if their
/// sequence is not above the cursor's. Starts invalid; a seek makes it valid if there is such an
/// entry.
///
/// ```
/// use std::sync::Arc;
/// use memtable::{Entry, Memtable, Order};
///
/// let table = Arc::new(Memtable::new(Order::Ordered));
/// table.insert(&[Entry::put(b"a", 1, b"1"), Entry::put(b"c", 1, b"3")]);
/// let mut cursor = table.cursor(1);
/// cursor.seek(b"b");
/// assert_eq!(cursor.entry().key, b"c");
/// cursor.prev();
/// assert_eq!(cursor.entry().key, b"a");
/// cursor.prev();
/// assert!(!cursor.valid());
/// ```
pub struct Cursor {
    table: Arc<Memtable>,
    seq: u64,
    window: Window,
    /// Index in the window; its length when the cursor is not valid.
    at: usize,
    /// Entries wanted in the next window.
    count: usize,
    /// The leaf whose last (or, loaded backwards, first) key is the window's: the next window
    /// begins in its neighbour.
    leaf_done: Option<u32>,
    is_forward: bool,
}

/// Which way, and from where.
#[derive(Clone, Copy)]
enum Start<'a> {
    First,
    Last,
    /// The first key not before this one.
    From(&'a [u8]),
    /// The last key not behind this one.
    UpTo(&'a [u8]),
    /// The key after the one of this record.
    After(Address),
    /// The key before the one of this record.
    Before(Address),
}

impl Start<'_> {
    fn is_forward(self) -> bool {
        matches!(self, Start::First | Start::From(_) | Start::After(_))
    }
}

impl Memtable {
    /// A cursor that shows the table as of `seq`.
    ///
    /// # Panics
    ///
    /// If the table keeps no order: see [`scan`](Memtable::scan) for those.
    #[must_use]
    pub fn cursor(self: &Arc<Self>, seq: u64) -> Cursor {
        assert!(self.order() == Order::Ordered, "an unordered table has no cursors");
        Cursor {
            table: Arc::clone(self),
            seq,
            window: Window::default(),
            at: 0,
            count: COUNT_FIRST,
            leaf_done: None,
            is_forward: true,
        }
    }
}

impl Cursor {
    /// Moves to the first key.
    pub fn seek_first(&mut self) {
        self.begin(Start::First);
    }

    /// Moves to the last key.
    pub fn seek_last(&mut self) {
        self.begin(Start::Last);
    }

    /// Moves to the first key that is not before `key`, which may be any bytes. O(log n).
    pub fn seek(&mut self, key: &[u8]) {
        self.begin(Start::From(key));
    }

    /// Moves to the last key that is not behind `key`, which may be any bytes. O(log n).
    pub fn seek_for_prev(&mut self, key: &[u8]) {
        self.begin(Start::UpTo(key));
    }

    /// Moves to the next key; behind the last one the cursor becomes invalid.
    ///
    /// # Panics
    ///
    /// If the cursor is not valid.
    #[inline]
    pub fn next(&mut self) {
        assert!(self.valid(), "next from a valid position only");
        self.at += 1;
        if self.at == self.window.items().len() {
            let last = self.window.items()[self.at - 1].first;
            self.extend(Start::After(last));
        }
    }

    /// Moves to the key before; before the first one the cursor becomes invalid.
    ///
    /// # Panics
    ///
    /// If the cursor is not valid.
    #[inline]
    pub fn prev(&mut self) {
        assert!(self.valid(), "prev from a valid position only");
        if self.at == 0 {
            let first = self.window.items()[0].first;
            self.extend(Start::Before(first));
        } else {
            self.at -= 1;
        }
    }

    /// Whether the cursor is at an entry.
    #[inline]
    #[must_use]
    pub fn valid(&self) -> bool {
        self.at < self.window.items().len()
    }

    /// The entry the cursor is at.
    ///
    /// # Panics
    ///
    /// If the cursor is not valid.
    #[inline]
    #[must_use]
    pub fn entry(&self) -> Entry<'_> {
        assert!(self.valid(), "an entry at a valid position only");
        self.window.entry(&self.table, self.at)
    }

    /// The key the cursor is at.
    ///
    /// # Panics
    ///
    /// If the cursor is not valid.
    #[inline]
    #[must_use]
    pub fn key(&self) -> &[u8] {
        assert!(self.valid(), "a key at a valid position only");
        self.window.key(&self.table, self.at)
    }

    /// The sequence the cursor reads at.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    fn begin(&mut self, start: Start<'_>) {
        self.count = COUNT_FIRST;
        self.leaf_done = None;
        self.load(start);
    }

    fn extend(&mut self, start: Start<'_>) {
        self.count = (self.count * COUNT_FACTOR).min(COUNT_MAX);
        // The leaf that is done is the one at the end the last load ran to.
        if start.is_forward() != self.is_forward {
            self.leaf_done = None;
        }
        self.load(start);
    }

    /// Replaces the window by the entries from `start` on; it stays empty at an end.
    fn load(&mut self, start: Start<'_>) {
        let Cursor { table, seq, window, count, leaf_done, .. } = self;
        self.is_forward = start.is_forward();
        let mut is_at_end = false;
        while !is_at_end {
            window.clear();
            is_at_end = table.with_content(|content, is_sealed| {
                if content.is_empty() {
                    return true;
                }
                table.walk(is_sealed);
                let ordered = table.order_of(content, is_sealed);
                let mut load = Load { content, window, start, seq: *seq, count: *count, is_sealed };
                load.run(ordered, leaf_done)
            });
            if !window.items().is_empty() {
                break;
            }
        }
        if !self.is_forward {
            window.reverse();
        }
        self.at = if self.is_forward { 0 } else { window.items().len().saturating_sub(1) };
    }
}

impl std::fmt::Debug for Cursor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Cursor")
            .field("seq", &self.seq)
            .field("valid", &self.valid())
            .finish_non_exhaustive()
    }
}

/// One step of loading, under the table's lock.
struct Load<'a> {
    content: &'a Content,
    window: &'a mut Window,
    start: Start<'a>,
    seq: u64,
    count: usize,
    is_sealed: bool,
}

impl Load<'_> {
    /// Returns true when the table's end was reached.
    fn run(&mut self, ordered: &Ordered, leaf_done: &mut Option<u32>) -> bool {
        let mut next = match leaf_done.take() {
            Some(leaf) => self.neighbour(ordered, leaf),
            None => Some(self.leaf(ordered)),
        };
        while let Some(leaf) = next {
            if self.take_leaf(ordered, leaf) {
                return false;
            }
            if self.window.is_full(COUNT_MAX / 2) || self.window.has_looked_enough() {
                *leaf_done = Some(leaf);
                return false;
            }
            next = self.neighbour(ordered, leaf);
        }
        true
    }

    fn records(&self) -> &Records {
        &self.content.records
    }

    fn leaf(&self, ordered: &Ordered) -> u32 {
        match self.start {
            Start::First => ordered.leaf_first(),
            Start::Last => ordered.leaf_last(),
            Start::From(key) | Start::UpTo(key) => ordered.leaf_of(key, self.records()),
            Start::After(first) | Start::Before(first) => {
                ordered.leaf_of(self.records().key(first), self.records())
            }
        }
    }

    fn neighbour(&self, ordered: &Ordered, leaf: u32) -> Option<u32> {
        if self.start.is_forward() { ordered.leaf_after(leaf) } else { ordered.leaf_before(leaf) }
    }

    /// Takes what is on the right side of `start` in a leaf. Returns true if the window was full
    /// before the leaf's end.
    fn take_leaf(&mut self, ordered: &Ordered, leaf: u32) -> bool {
        // Windows end inside a leaf only while they are short, or when copies grow large.
        let count = if self.count < COUNT_MAX { self.count } else { usize::MAX };
        let records = &self.content.records;
        let sorted = ordered.sorted(leaf, records);
        let rank = |key, or_equal| sorted.rank(key, or_equal, records);
        let (from, to) = match self.start {
            Start::First | Start::Last => (0, sorted.slots().len()),
            Start::From(key) => (rank(key, false), sorted.slots().len()),
            Start::After(first) => (rank(records.key(first), true), sorted.slots().len()),
            Start::UpTo(key) => (0, rank(key, true)),
            Start::Before(first) => (0, rank(records.key(first), false)),
        };
        let slots = &sorted.slots()[from..to];
        let len = slots.len();
        if count == usize::MAX {
            records.warm(slots);
        }
        for index in 0..len {
            let slot = slots[if self.start.is_forward() { index } else { len - 1 - index }];
            self.window.look(records, slot.1, self.seq, self.is_sealed);
            if self.window.is_full(count) && index + 1 < len {
                return true;
            }
        }
        false
    }
}
