//! The table: who may change it, what readers see, and how much memory it holds.

use crate::arena::Address;
use crate::entry::{Entry, Order};
use crate::leaf::LEAF_CAP;
use crate::ordered::{LEAF_KEYS_OPEN, Ordered};
use crate::point::Point;
use crate::pool::Pool;
use crate::records::Records;
use crate::sync::{AtomicBool, AtomicU64, BuiltOnce, OnceLock, Ordering, RwLock};

/// A table's content, open or sealed.
pub(crate) struct Content {
    pub(crate) records: Records,
    point: Point,
    /// None until somebody asked for the order; for ever if the table keeps none.
    ordered: BuiltOnce<Ordered>,
    order: Order,
    entries: u64,
    seq_min: u64,
    seq_max: u64,
}

/// Sorted (or only findable), versioned entries in memory.
///
/// Many threads may read while one inserts; inserts exclude each other. A version is visible to
/// a reader that asks at its sequence or above, so an owner that publishes a sequence after
/// inserting all of its batch shows batches whole. Once [sealed](Memtable::seal) a table never
/// changes, and reading it takes no lock.
///
/// ```
/// use memtable::{Entry, Kind, Memtable, Order};
///
/// let table = Memtable::new(Order::Ordered);
/// table.insert(&[Entry::put(b"a", 1, b"one"), Entry::put(b"b", 1, b"")]);
/// table.insert_one(Entry::delete(b"a", 2));
/// assert_eq!(table.get(b"a", 1, |entry| entry.value.to_vec()), Some(b"one".to_vec()));
/// assert_eq!(table.get(b"a", 2, |entry| entry.kind), Some(Kind::Delete));
/// assert_eq!(table.get(b"b", 2, |entry| entry.value.len()), Some(0));
/// assert_eq!(table.get(b"c", 2, |_| ()), None);
/// ```
pub struct Memtable {
    // Constant.
    order: Order,

    /// The content while the table is open. Held to write for one insert; held to read for one
    /// look-up or one step of a cursor. None once sealed.
    open: RwLock<Option<Content>>,
    /// The content once sealed; set under the lock above, before it is released.
    sealed: OnceLock<Content>,

    // Changed under the lock to write, read without it.
    bytes: AtomicU64,
    entries: AtomicU64,
    keys: AtomicU64,
    seq_min: AtomicU64,
    seq_max: AtomicU64,

    /// A cursor moved while the table was open.
    walked: AtomicBool,
}

/// Entries between the one that is inserted and the one whose place in the index is loaded.
const AHEAD: usize = 6;

impl Memtable {
    /// An empty table, which holds almost no memory until the first insert.
    #[must_use]
    pub fn new(order: Order) -> Memtable {
        Memtable::new_in(order, &Pool::default())
    }

    /// As [`Memtable::new`], in memory of the pool where it has some, which gets it back when the
    /// table is dropped.
    #[must_use]
    pub fn new_in(order: Order, pool: &Pool) -> Memtable {
        let content = Content {
            records: Records::new(pool),
            point: Point::new(),
            ordered: BuiltOnce::new(),
            order,
            entries: 0,
            seq_min: u64::MAX,
            seq_max: 0,
        };
        Memtable {
            order,
            bytes: AtomicU64::new(content.bytes()),
            open: RwLock::new(Some(content)),
            sealed: OnceLock::new(),
            entries: AtomicU64::new(0),
            keys: AtomicU64::new(0),
            seq_min: AtomicU64::new(u64::MAX),
            seq_max: AtomicU64::new(0),
            walked: AtomicBool::new(false),
        }
    }

    /// Inserts a batch: all of it, or, if this panics, nothing.
    ///
    /// An entry with the key and sequence of one that is here replaces it. No look-up sees part
    /// of the batch; cursors are consistent at sequences published after this returned. Bytes
    /// are copied, so the caller's buffers are free afterwards. Takes O(1) per key, O(log n) per
    /// new one once somebody walked the table.
    ///
    /// Running out of memory ends the process, as everywhere in the standard collections.
    ///
    /// # Panics
    ///
    /// If the table is sealed, an entry breaks a limit of [`Entry`], sequences decrease within
    /// the batch or below the newest version of a key, or the table would hold more than about
    /// 28 GiB of keys and of values under 16 KiB.
    pub fn insert(&self, entries: &[Entry<'_>]) {
        for entry in entries {
            entry.assert_limits();
        }
        let ascending = entries.is_sorted_by_key(|entry| entry.seq);
        assert!(ascending, "sequences never decrease within a batch");
        let mut open = self.open.write();
        let content = content_mut(&mut open);
        content.records.assert_room(entries);
        // Nothing below may panic once the first entry is in.
        if entries.first().is_some_and(|entry| entry.seq < content.seq_max) {
            for entry in entries {
                content.assert_follows(entry);
            }
        }
        for (index, entry) in entries.iter().enumerate() {
            if let Some(later) = entries.get(index + AHEAD) {
                content.point.expect(content.point.hash(later.key));
            }
            content.insert(entry);
        }
        self.publish(content);
    }

    /// Inserts one entry: [`insert`](Memtable::insert) of a batch of one, but quicker.
    ///
    /// # Panics
    ///
    /// As [`insert`](Memtable::insert).
    pub fn insert_one(&self, entry: Entry<'_>) {
        entry.assert_limits();
        let mut open = self.open.write();
        let content = content_mut(&mut open);
        content.records.assert_room(&[entry]);
        content.insert(&entry);
        self.publish(content);
    }

    /// Asks for the memory that the next insert of `key` will look at, and does not wait for it: it
    /// comes while the caller does something else. The table's index of keys is larger than the
    /// caches, so an insert begins with a miss. Changes nothing.
    #[inline]
    pub fn expect(&self, key: &[u8]) {
        if let Some(content) = &*self.open.read() {
            content.point.expect(content.point.hash(key));
        }
    }

    /// Shows the content's counts to those who read them without the lock, `entries` last: who
    /// sees that the table is not empty sees its sequences too.
    fn publish(&self, content: &Content) {
        self.bytes.store(content.bytes(), Ordering::Release);
        self.keys.store(content.point.used() as u64, Ordering::Release);
        self.seq_min.store(content.seq_min, Ordering::Release);
        self.seq_max.store(content.seq_max, Ordering::Release);
        self.entries.store(content.entries, Ordering::Release);
    }

    /// Calls `read` with the newest version of `key` whose sequence is at most `seq`, and returns
    /// what it returns; None if there is no such version. A [`Kind::Delete`](crate::Kind::Delete)
    /// version is one.
    ///
    /// While the table is open `read` runs under its lock: it must be short and must not use this
    /// table, or it may wait for ever.
    pub fn get<R>(&self, key: &[u8], seq: u64, read: impl FnOnce(Entry<'_>) -> R) -> Option<R> {
        // Who looks into a table that nobody has written to writes nothing either: no lock.
        if self.is_empty() {
            return None;
        }
        self.with_content(|content, _| {
            let first = content.find(key)?;
            let version = content.records.visible(first, seq)?;
            Some(read(content.records.entry(first, version)))
        })
    }

    /// The sequence of the newest version of `key`, published or not; None if it has none here.
    pub fn newest_seq(&self, key: &[u8]) -> Option<u64> {
        self.with_content(|content, _| {
            content.find(key).map(|first| content.records.newest_seq(first))
        })
    }

    /// Calls `visit` with the newest version of every key, published or not, in the order in
    /// which the keys first came.
    ///
    /// While the table is open this runs under its lock and holds back inserts until it returns;
    /// [`scan`](Memtable::scan) does not. `visit` must not use this table.
    pub fn for_each_newest(&self, mut visit: impl FnMut(Entry<'_>)) {
        self.with_content(|content, _| {
            for first in content.records.firsts(None) {
                let newest = content.records.visible(first, u64::MAX);
                let newest = newest.expect("every key has a version");
                visit(content.records.entry(first, newest));
            }
        });
    }

    /// Ends the table's growth: from now on inserts panic and reads take no lock. Doing it twice
    /// is fine. Moves a few words, whatever the table holds.
    pub fn seal(&self) {
        let mut open = self.open.write();
        if let Some(content) = open.take() {
            let was_sealed = self.sealed.set(content).is_err();
            assert!(!was_sealed, "only an open table has open content");
        }
    }

    /// Whether [`seal`](Memtable::seal) was called.
    pub fn is_sealed(&self) -> bool {
        self.sealed.get().is_some()
    }

    /// The order the table keeps.
    pub fn order(&self) -> Order {
        self.order
    }

    /// Whether a cursor was moved in the table while it was open and held something.
    pub fn was_walked(&self) -> bool {
        self.walked.load(Ordering::Relaxed)
    }

    /// Whether the keys are in order already: somebody walked the table, or asked to
    /// [keep](Memtable::keep_order) the order.
    pub fn keeps_order(&self) -> bool {
        self.with_content(|content, _| content.ordered.get().is_some())
    }

    /// Puts the keys in order now and from here on with every insert, as the first cursor of the
    /// table would. An owner whose last table was [walked](Memtable::was_walked) spares the reader
    /// of the next one the wait: sorting takes about 0.1 us a key, inserting in order 0.3 us.
    ///
    /// # Panics
    ///
    /// If the table keeps no order.
    pub fn keep_order(&self) {
        assert!(self.order == Order::Ordered, "an unordered table has no order to keep");
        self.with_content(|content, is_sealed| {
            self.order_of(content, is_sealed);
        });
    }

    /// Memory held, in bytes: this struct and every allocation of it, at the size asked for
    /// (arena chunks count whole, filled or not), and, until the keys of an ordered table are put
    /// in order, about what that will take at the most. What the allocator adds is not included. O(1),
    /// no lock; during an insert it may still show what was held before, and it falls a little
    /// when the order is built.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// Versions held; one that was replaced does not count. O(1), no lock.
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Acquire)
    }

    /// Distinct keys held. O(1), no lock.
    pub fn keys(&self) -> u64 {
        self.keys.load(Ordering::Acquire)
    }

    /// Whether nothing was ever inserted.
    pub fn is_empty(&self) -> bool {
        self.entries() == 0
    }

    /// The lowest sequence inserted; None if the table is empty.
    pub fn min_seq(&self) -> Option<u64> {
        (!self.is_empty()).then(|| self.seq_min.load(Ordering::Acquire))
    }

    /// The highest sequence inserted; None if the table is empty.
    pub fn max_seq(&self) -> Option<u64> {
        (!self.is_empty()).then(|| self.seq_max.load(Ordering::Acquire))
    }

    /// The content, if it can no longer change.
    #[inline]
    pub(crate) fn sealed_content(&self) -> Option<&Content> {
        self.sealed.get()
    }

    /// Runs `read` on the content, under the lock while the table is open; tells it whether the
    /// content is sealed.
    #[inline]
    pub(crate) fn with_content<R>(&self, read: impl FnOnce(&Content, bool) -> R) -> R {
        if let Some(content) = self.sealed.get() {
            return read(content, true);
        }
        let open = self.open.read();
        match &*open {
            Some(content) => read(content, false),
            None => {
                drop(open);
                read(self.sealed.get().expect("content is open or sealed"), true)
            }
        }
    }

    /// The keys of this table's content in order; they are put in order if nobody asked before.
    /// While the table is open, inserts wait for that.
    #[inline]
    pub(crate) fn order_of<'a>(&self, content: &'a Content, is_sealed: bool) -> &'a Ordered {
        if let Some(ordered) = content.ordered.get() {
            return ordered;
        }
        let leaf_keys = if is_sealed { LEAF_CAP } else { LEAF_KEYS_OPEN };
        let ordered = content.ordered.get_or_init(|| Ordered::build(&content.records, leaf_keys));
        // Nobody inserts meanwhile, and whoever built it with us stores the same.
        self.bytes.store(content.bytes(), Ordering::Release);
        ordered
    }

    /// A cursor moves in the table.
    #[inline]
    pub(crate) fn walk(&self, is_sealed: bool) {
        if !is_sealed && !self.walked.load(Ordering::Relaxed) {
            self.walked.store(true, Ordering::Relaxed);
        }
    }
}

impl std::fmt::Debug for Memtable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Memtable")
            .field("order", &self.order)
            .field("sealed", &self.is_sealed())
            .field("entries", &self.entries())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

fn content_mut(open: &mut Option<Content>) -> &mut Content {
    open.as_mut().expect("a sealed table takes no more entries")
}

impl Content {
    fn bytes(&self) -> u64 {
        let ordered = match (self.order, self.ordered.get()) {
            (Order::Unordered, _) => 0,
            (Order::Ordered, None) => Ordered::bytes_to_come(self.point.used()),
            (Order::Ordered, Some(ordered)) => ordered.bytes(),
        };
        (size_of::<Memtable>() + self.records.bytes() + self.point.bytes() + ordered) as u64
    }

    /// Whether there is no key.
    pub(crate) fn is_empty(&self) -> bool {
        self.point.used() == 0
    }

    #[inline]
    fn find(&self, key: &[u8]) -> Option<Address> {
        self.point.find(self.point.hash(key), |first| self.records.key(first) == key)
    }

    fn assert_follows(&self, entry: &Entry<'_>) {
        let newest = self.find(entry.key).map(|first| self.records.newest_seq(first));
        assert!(newest.is_none_or(|seq| seq <= entry.seq), "a key's sequences never decrease");
    }

    fn insert(&mut self, entry: &Entry<'_>) {
        let is_new = self.insert_version(entry);
        self.entries += u64::from(is_new);
        self.seq_min = self.seq_min.min(entry.seq);
        self.seq_max = self.seq_max.max(entry.seq);
    }

    /// Returns false if the entry replaced another.
    fn insert_version(&mut self, entry: &Entry<'_>) -> bool {
        let hash = self.point.hash(entry.key);
        let found = self.point.find(hash, |first| self.records.key(first) == entry.key);
        if let Some(first) = found {
            return self.records.push_version(first, entry);
        }
        let first = self.records.push_key(entry);
        self.point.add(hash, first);
        if let Some(ordered) = self.ordered.get_mut() {
            ordered.insert(entry.key, first, &self.records);
        }
        true
    }
}
