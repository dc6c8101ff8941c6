//! The entries a cursor or scan has at hand: loaded a few at a time, usable without a lock.
//!
//! From a sealed table a window holds addresses only. From an open one it holds copies, taken
//! under the table's lock; large values are shared instead of copied.

use std::sync::Arc;

use crate::arena::Address;
use crate::entry::{Entry, Kind};
use crate::records::Records;
use crate::table::{Content, Memtable};

/// A window of an open table stops growing when its copies reach this many bytes.
const COPY_BYTES_MAX: usize = 64 << 10;

/// What a window of an open table takes at first: a handful of small entries.
const COPY_BYTES_FIRST: usize = 1 << 10;

/// Keys looked at in one load, visible or not, before the lock is released in between.
const LOOK_MAX: usize = 1024;

/// A version and the key it belongs to.
#[derive(Clone, Copy)]
pub(crate) struct Item {
    pub(crate) first: Address,
    version: Address,
}

/// An entry copied out of an open table.
struct Copied {
    seq: u64,
    kind: Kind,
    expiry: u64,
    pointer: u64,
    /// Where the key starts in the window's bytes; the value follows, unless it is shared.
    start: usize,
    key_len: usize,
    value_len: usize,
    shared: Option<Arc<[u8]>>,
}

#[derive(Default)]
pub(crate) struct Window {
    /// Ascending, whichever way it was loaded.
    items: Vec<Item>,
    /// As many as `items`, or none if the table was sealed.
    copied: Vec<Copied>,
    bytes: Vec<u8>,
    looked: usize,
}

impl Window {
    pub(crate) fn clear(&mut self) {
        self.items.clear();
        self.copied.clear();
        self.bytes.clear();
        self.looked = 0;
    }

    pub(crate) fn items(&self) -> &[Item] {
        &self.items
    }

    /// Looks at a key and takes its version visible at `seq`, if there is one.
    #[inline]
    pub(crate) fn look(&mut self, records: &Records, first: Address, seq: u64, is_sealed: bool) {
        self.looked += 1;
        let Some(version) = records.visible(first, seq) else { return };
        self.items.push(Item { first, version });
        if is_sealed {
            return;
        }
        let entry = records.entry(first, version);
        let start = self.bytes.len();
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(COPY_BYTES_FIRST);
        }
        let shared = records.large(version).cloned();
        self.bytes.extend_from_slice(entry.key);
        if shared.is_none() {
            self.bytes.extend_from_slice(entry.value);
        }
        self.copied.push(Copied {
            seq: entry.seq,
            kind: entry.kind,
            expiry: entry.expiry,
            pointer: entry.pointer,
            start,
            key_len: entry.key.len(),
            value_len: entry.value.len(),
            shared,
        });
    }

    /// Whether enough was taken: `count` entries, or as many bytes as a window may copy.
    #[inline]
    pub(crate) fn is_full(&self, count: usize) -> bool {
        self.items.len() >= count || self.bytes.len() >= COPY_BYTES_MAX
    }

    /// Whether so many keys were looked at that the lock should be released for a moment.
    pub(crate) fn has_looked_enough(&self) -> bool {
        self.looked >= LOOK_MAX
    }

    pub(crate) fn reverse(&mut self) {
        self.items.reverse();
        self.copied.reverse();
    }

    /// The key at `index`.
    #[inline]
    pub(crate) fn key<'a>(&'a self, table: &'a Memtable, index: usize) -> &'a [u8] {
        match self.copied.get(index) {
            Some(copied) => &self.bytes[copied.start..copied.start + copied.key_len],
            None => sealed(table).records.key(self.items[index].first),
        }
    }

    /// The entry at `index`.
    #[inline]
    pub(crate) fn entry<'a>(&'a self, table: &'a Memtable, index: usize) -> Entry<'a> {
        let item = self.items[index];
        let Some(copied) = self.copied.get(index) else {
            return sealed(table).records.entry(item.first, item.version);
        };
        let (key, rest) = self.bytes[copied.start..].split_at(copied.key_len);
        let value = match &copied.shared {
            Some(shared) => shared,
            None => &rest[..copied.value_len],
        };
        Entry {
            key,
            seq: copied.seq,
            kind: copied.kind,
            expiry: copied.expiry,
            pointer: copied.pointer,
            value,
        }
    }
}

fn sealed(table: &Memtable) -> &Content {
    table.sealed_content().expect("only entries of a sealed table are not copied")
}
