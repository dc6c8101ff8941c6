//! Walking entries in order, both ways.
//!
//! 1. A cursor is at an entry or it is invalid; past either end it is invalid.
//! 2. After an error every move is an error until a seek succeeds: nothing is skipped in silence.

use std::ops::Range;
use std::sync::Arc;

use vfs::{Bytes, Error, ReadAhead, Result};

use crate::entry::{Entry, Value};
use crate::node::{Held, Layout, Node};
use crate::pages::{Asked, Verify};
use crate::table::Table;

/// Leaves of a walk from which on the system is asked to read ahead; of one through pages that were
/// read before, which as a rule are in memory. Asking takes 2 us, a tenth of a scan of 100 entries.
const LEAVES_MIN: usize = 4;
const LEAVES_MIN_KNOWN: usize = 16;

/// A place in ascending entries with distinct keys. Object-safe.
pub trait Cursor {
    /// To the first entry; invalid if there is none.
    fn seek_first(&mut self) -> Result<()>;

    /// To the last entry; invalid if there is none.
    fn seek_last(&mut self) -> Result<()>;

    /// To the first entry whose key is not below `key`; invalid if there is none.
    fn seek(&mut self, key: &[u8]) -> Result<()>;

    /// To the last entry whose key is not above `key`; invalid if there is none.
    fn seek_for_prev(&mut self, key: &[u8]) -> Result<()>;

    /// To the entry behind; invalid past the last. An invalid cursor stays where it is.
    fn next(&mut self) -> Result<()>;

    /// To the entry before; invalid past the first. An invalid cursor stays where it is.
    fn prev(&mut self) -> Result<()>;

    /// True at an entry.
    fn valid(&self) -> bool;

    /// The entry the cursor is at.
    ///
    /// # Panics
    /// If the cursor is not valid.
    fn entry(&self) -> Entry<'_>;

    /// The key the cursor is at.
    ///
    /// # Panics
    /// If the cursor is not valid.
    fn key(&self) -> &[u8] {
        self.entry().key
    }

    /// The inline value the cursor is at, without a copy where that can be; empty for a pointer
    /// and a tombstone.
    ///
    /// # Panics
    /// If the cursor is not valid.
    fn value_bytes(&self) -> Bytes;

    /// The value of the entry so many steps forward (backward if negative), if that is known
    /// without going there: what it points to can be asked for early. Advice; `None` says nothing.
    fn value_ahead(&self, _steps: isize) -> Option<Value<'_>> {
        None
    }
}

impl<C: Cursor + ?Sized> Cursor for Box<C> {
    fn seek_first(&mut self) -> Result<()> {
        (**self).seek_first()
    }

    fn seek_last(&mut self) -> Result<()> {
        (**self).seek_last()
    }

    fn seek(&mut self, key: &[u8]) -> Result<()> {
        (**self).seek(key)
    }

    fn seek_for_prev(&mut self, key: &[u8]) -> Result<()> {
        (**self).seek_for_prev(key)
    }

    fn next(&mut self) -> Result<()> {
        (**self).next()
    }

    fn prev(&mut self) -> Result<()> {
        (**self).prev()
    }

    fn valid(&self) -> bool {
        (**self).valid()
    }

    fn entry(&self) -> Entry<'_> {
        (**self).entry()
    }

    fn key(&self) -> &[u8] {
        (**self).key()
    }

    fn value_bytes(&self) -> Bytes {
        (**self).value_bytes()
    }

    fn value_ahead(&self, steps: isize) -> Option<Value<'_>> {
        (**self).value_ahead(steps)
    }
}

/// A [`Cursor`] over one table. Owns what it needs: it may outlive the caller's handle. A step
/// allocates nothing while the table is mapped.
#[derive(Debug)]
pub struct TableCursor {
    table: Arc<Table>,
    verify: Verify,
    leaf: Option<Leaf>,
    /// The key at `index` of the leaf.
    key: Vec<u8>,
    index: usize,
    here: Option<Here>,
    /// How far what comes next was asked for.
    asked: Asked,
    /// Leaves that were entered one after the other, and how far the system was asked for more.
    leaves: usize,
    ahead: ReadAhead,
    failed: bool,
}

#[derive(Debug)]
struct Leaf {
    bytes: Bytes,
    layout: Layout,
}

/// What the entry at the cursor holds.
#[derive(Debug)]
struct Here {
    held: Held,
    expiry: u64,
}

impl Table {
    /// A cursor over all entries; not valid until its first seek.
    pub fn cursor(self: &Arc<Self>) -> TableCursor {
        TableCursor {
            table: self.clone(),
            verify: Verify::First,
            leaf: None,
            key: Vec::new(),
            index: 0,
            here: None,
            asked: Asked::default(),
            leaves: 0,
            ahead: ReadAhead::default(),
            failed: false,
        }
    }

    /// A cursor that verifies every page it reads, whether it was read before or not: for merges,
    /// which must not copy damage under a new checksum.
    pub fn cursor_verifying(self: &Arc<Self>) -> TableCursor {
        TableCursor { verify: Verify::Always, ..self.cursor() }
    }
}

impl TableCursor {
    /// Runs a move; one that fails leaves the cursor invalid and failed.
    #[inline]
    fn guard(&mut self, step: impl FnOnce(&mut TableCursor) -> Result<()>) -> Result<()> {
        let result = step(self);
        self.failed = result.is_err();
        if self.failed {
            (self.here, self.leaf) = (None, None);
        }
        result
    }

    #[inline]
    fn refuse_failed(&self) -> Result<()> {
        if self.failed { Err(after_error(self.table.path())) } else { Ok(()) }
    }

    fn load(&mut self, number: u32, end: u32) -> Result<()> {
        let pages = self.table.pages.node(number, end, false, self.verify)?;
        let layout = Node::parse(self.table.path(), number, 0, &pages)?.layout;
        let bytes = pages.bytes();
        self.enter(Leaf { bytes, layout });
        Ok(())
    }

    fn enter(&mut self, leaf: Leaf) {
        let node = Node::resume(self.table.path(), &leaf.bytes, leaf.layout);
        self.key.clear();
        self.key.extend_from_slice(node.prefix());
        self.leaf = Some(leaf);
    }

    /// To entry `index` of the leaf, which has one.
    #[inline(never)]
    fn place(&mut self, index: usize) -> Result<()> {
        let leaf = self.leaf.as_ref().expect("a leaf was loaded");
        let node = Node::resume(self.table.path(), &leaf.bytes, leaf.layout);
        let (held, expiry) = node.read_entry(index, &mut self.key)?;
        self.here = Some(Here { held, expiry });
        self.index = index;
        Ok(())
    }

    /// Loads the leaf that `key` belongs into, from where a new walk may start; where the key
    /// stands in it, and whether it is there.
    fn descend(&mut self, key: &[u8]) -> Result<(usize, bool)> {
        let (number, pages) = self.table.leaf_of(key, self.verify)?;
        let node = Node::parse(self.table.path(), number, 0, &pages)?;
        let (found, layout) = (node.lower_bound(key)?, node.layout);
        let bytes = pages.bytes();
        self.leaves = 0;
        self.enter(Leaf { bytes, layout });
        Ok(found)
    }

    fn next_leaf(&mut self) -> Result<()> {
        let layout = self.leaf.as_ref().expect("a leaf was loaded").layout;
        let (next, end) = (layout.next, self.table.shape.tree_end);
        if next == 0 {
            self.here = None;
            return Ok(());
        }
        if next < layout.page + layout.span || next >= end {
            return Err(self.bad_link("page of the next leaf", layout, next));
        }
        self.read_ahead(next, true);
        self.load(next, end)?;
        self.place(0)
    }

    fn prev_leaf(&mut self) -> Result<()> {
        let layout = self.leaf.as_ref().expect("a leaf was loaded").layout;
        if layout.prev == 0 {
            self.here = None;
            return Ok(());
        }
        if layout.prev >= layout.page {
            return Err(self.bad_link("page of the leaf before", layout, layout.prev));
        }
        self.read_ahead(layout.prev, false);
        self.load(layout.prev, layout.page)?;
        self.place_last()
    }

    /// Has the system read what follows page `number`, if the walk is a long one.
    fn read_ahead(&mut self, number: u32, forward: bool) {
        self.leaves += 1;
        let is_known = self.table.pages.was_read(number);
        if self.leaves >= if is_known { LEAVES_MIN_KNOWN } else { LEAVES_MIN } {
            self.table.pages.read_ahead(number, &mut self.ahead, forward);
        }
    }

    fn place_last(&mut self) -> Result<()> {
        let keys = self.leaf.as_ref().expect("a leaf was loaded").layout.keys;
        self.place((keys as usize).saturating_sub(1))
    }

    fn bad_link(&self, what: &'static str, layout: Layout, found: u32) -> Error {
        let offset = crate::format::page_offset(layout.page);
        Error::corrupt(what, self.table.path(), offset, layout.page.into(), found.into())
    }

    /// To the first or last entry of a leaf at the edge of the table.
    fn seek_edge(&mut self, number: u32, last: bool) -> Result<()> {
        self.here = None;
        if self.table.shape.height == 0 {
            return Ok(());
        }
        self.load(number, self.table.shape.tree_end)?;
        if last { self.place_last() } else { self.place(0) }
    }

    /// Asks for what a walk in this direction meets soon.
    #[inline]
    fn ask_ahead(&mut self, forward: bool) {
        if let (Some(leaf), Some(Here { held: Held::Inline(value), .. })) = (&self.leaf, &self.here)
        {
            self.asked = self.table.pages.prefetch_ahead(
                leaf.layout.page,
                value.clone(),
                self.asked,
                forward,
            );
        }
    }

    #[inline]
    fn here(&self) -> (&Leaf, &Here) {
        let both = self.leaf.as_ref().zip(self.here.as_ref());
        both.expect("the cursor is at an entry: ask valid() first")
    }
}

/// What a move after a failed one gets.
pub(crate) fn after_error(path: &std::path::Path) -> Error {
    Error::invalid("a cursor that met an error must seek before it moves", path)
}

impl Cursor for TableCursor {
    fn seek_first(&mut self) -> Result<()> {
        self.guard(|cursor| cursor.seek_edge(cursor.table.shape.first_leaf, false))
    }

    fn seek_last(&mut self) -> Result<()> {
        self.guard(|cursor| cursor.seek_edge(cursor.table.shape.last_leaf, true))
    }

    fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.guard(|cursor| {
            cursor.here = None;
            if cursor.table.shape.height == 0 {
                return Ok(());
            }
            let (index, _) = cursor.descend(key)?;
            let leaf = cursor.leaf.as_ref().expect("a leaf was loaded");
            if index < leaf.layout.keys as usize { cursor.place(index) } else { cursor.next_leaf() }
        })
    }

    fn seek_for_prev(&mut self, key: &[u8]) -> Result<()> {
        self.guard(|cursor| {
            cursor.here = None;
            if cursor.table.shape.height == 0 {
                return Ok(());
            }
            let (index, equal) = cursor.descend(key)?;
            match (index + usize::from(equal)).checked_sub(1) {
                Some(index) => cursor.place(index),
                None => cursor.prev_leaf(),
            }
        })
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        self.refuse_failed()?;
        if self.here.is_none() {
            return Ok(());
        }
        self.guard(|cursor| {
            let keys = cursor.leaf.as_ref().map_or(0, |leaf| leaf.layout.keys as usize);
            let next = cursor.index + 1;
            if next < keys {
                cursor.place(next)?
            } else {
                cursor.next_leaf()?
            }
            cursor.ask_ahead(true);
            Ok(())
        })
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        self.refuse_failed()?;
        if self.here.is_none() {
            return Ok(());
        }
        self.guard(|cursor| {
            match cursor.index.checked_sub(1) {
                Some(index) => cursor.place(index)?,
                None => cursor.prev_leaf()?,
            }
            cursor.ask_ahead(false);
            Ok(())
        })
    }

    #[inline]
    fn valid(&self) -> bool {
        self.here.is_some()
    }

    #[inline]
    fn entry(&self) -> Entry<'_> {
        let (leaf, here) = self.here();
        Entry { key: &self.key, value: value_of(leaf, &here.held), expiry: here.expiry }
    }

    #[inline]
    fn key(&self) -> &[u8] {
        assert!(self.here.is_some(), "the cursor is at an entry: ask valid() first");
        &self.key
    }

    #[inline]
    fn value_bytes(&self) -> Bytes {
        match self.here() {
            (leaf, Here { held: Held::Inline(range), .. }) => leaf.bytes.slice(range.clone()),
            _ => Bytes::new(),
        }
    }

    fn value_ahead(&self, steps: isize) -> Option<Value<'_>> {
        let leaf = self.leaf.as_ref()?;
        let index = self.index.checked_add_signed(steps)?;
        if index >= leaf.layout.keys as usize {
            return None;
        }
        let node = Node::resume(self.table.path(), &leaf.bytes, leaf.layout);
        node.held(index).ok().map(|(held, _)| value_of(leaf, &held))
    }
}

#[inline]
fn value_of<'a>(leaf: &'a Leaf, held: &Held) -> Value<'a> {
    match held {
        Held::Inline(range) => Value::Inline(inline(leaf, range)),
        Held::Pointer(to) => Value::Pointer(*to),
        Held::Tombstone => Value::Tombstone,
    }
}

#[inline]
fn inline<'a>(leaf: &'a Leaf, range: &Range<usize>) -> &'a [u8] {
    leaf.bytes.get(range.clone()).unwrap_or(&[])
}
