//! Ordered iteration, both ways, over a pinned view: it holds no lock, and sees nothing that was
//! written after it was made.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use memtable::{Kind, Memtable};
use sstable::{Cursor, Entry, Merge};
use vfs::Bytes;

use crate::error::{Error, Result};
use crate::index::BoxCursor;
use crate::key::Key;
use crate::options::IndexKind;
use crate::pins::Pin;
use crate::read::{self, Value};
use crate::reads::Inside;
use crate::record::ValuePtr;
use crate::scan::Scan;
use crate::state::State;
use crate::view::View;

/// Entries of a keyspace in key order, from either end; those of a hash keyspace in no order,
/// both ends alike.
///
/// It sees the state of the moment it was made, whatever is written, flushed or merged meanwhile,
/// and blocks nobody. An error is the last item of that end: nothing is skipped behind it.
#[must_use = "an iterator does nothing until it is asked"]
pub struct Range {
    inner: Inner,
}

enum Inner {
    Open(Box<Open>),
    /// A hash keyspace: no order, so both ends are one.
    Unordered {
        pin: Arc<Pin>,
        state: Arc<State>,
        scan: Box<Scan>,
    },
    /// The first item is this error.
    Failed(Error),
    Ended,
}

/// Dropped in this order: files are closed before the view that keeps them goes.
struct Open {
    front: Option<Merge<BoxCursor>>,
    back: Option<Merge<BoxCursor>>,
    state: Arc<State>,
    pin: Arc<Pin>,
    view: Arc<View>,
    keyspace: u32,
    inside: Option<Inside>,
    /// What is left.
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
}

impl Range {
    pub(crate) fn new(
        state: &Arc<State>,
        pin: Arc<Pin>,
        keyspace: u32,
        lower: Bound<&[u8]>,
        upper: Bound<&[u8]>,
        inside: Option<Inside>,
    ) -> Range {
        let open = || {
            state.check_open()?;
            let view = pin.view()?;
            if read::find_keyspace(&view, keyspace)?.kind == IndexKind::Hash {
                return Err(unordered());
            }
            let (lower, upper) = (lower.map(<[u8]>::to_vec), upper.map(<[u8]>::to_vec));
            let (state, front, back) = (state.clone(), None, None);
            Ok(Open { front, back, state, pin, view, keyspace, inside, lower, upper })
        };
        let inner = match open() {
            Ok(open) => Inner::Open(Box::new(open)),
            Err(error) => Inner::Failed(error),
        };
        Range { inner }
    }

    /// All entries of a keyspace: in order, if it has one.
    pub(crate) fn all(
        state: &Arc<State>,
        pin: Arc<Pin>,
        keyspace: u32,
        inside: Option<Inside>,
    ) -> Range {
        let is_hash = || {
            state.check_open()?;
            let view = pin.view()?;
            let kind = read::find_keyspace(&view, keyspace)?.kind;
            Ok((kind == IndexKind::Hash).then_some(view))
        };
        let unbounded = Bound::Unbounded;
        match is_hash() {
            Ok(Some(view)) => match Scan::new(state, &view, keyspace, pin.seq, inside) {
                Ok(scan) => {
                    let (state, scan) = (state.clone(), Box::new(scan));
                    Range { inner: Inner::Unordered { pin, state, scan } }
                }
                Err(error) => Range::failed(error),
            },
            Ok(None) => Range::new(state, pin, keyspace, unbounded, unbounded, inside),
            Err(error) => Range::failed(error),
        }
    }

    pub(crate) fn failed(error: Error) -> Range {
        Range { inner: Inner::Failed(error) }
    }

    fn step(&mut self, forward: bool) -> Option<Result<(Key, Value)>> {
        let stepped = match &mut self.inner {
            Inner::Open(open) => {
                let stepped = open.step(forward);
                open.take_note(&stepped, forward);
                Some(stepped)
            }
            Inner::Unordered { pin, state, scan } => {
                Some(state.check_open().and_then(|()| pin.check()).and_then(|()| scan.next()))
            }
            Inner::Failed(_) | Inner::Ended => None,
        };
        match stepped {
            Some(Ok(Some(item))) => return Some(Ok(item)),
            Some(Ok(None)) => self.inner = Inner::Ended,
            Some(Err(error)) => self.inner = Inner::Failed(error),
            None => {}
        }
        match std::mem::replace(&mut self.inner, Inner::Ended) {
            Inner::Failed(error) => Some(Err(error)),
            _ => None,
        }
    }
}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Range").finish_non_exhaustive()
    }
}

impl Iterator for Range {
    type Item = Result<(Key, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(true)
    }
}

impl DoubleEndedIterator for Range {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(false)
    }
}

impl std::iter::FusedIterator for Range {}

/// Entries between the one that a scan is at and the one whose record it asks for: memory answers
/// about so many questions at once.
const AHEAD: usize = 8;

impl Open {
    /// Tells the transaction, if it is in one, what it is about to show.
    fn take_note(&self, stepped: &Result<Option<(Key, Value)>>, forward: bool) {
        if let Some(Inside { watch, .. }) = &self.inside {
            match stepped {
                Ok(Some((key, _))) => watch.shown(key, forward),
                Ok(None) | Err(_) => watch.ended(),
            }
        }
    }

    fn step(&mut self, forward: bool) -> Result<Option<(Key, Value)>> {
        self.state.check_open()?;
        self.pin.check()?;
        self.advance(forward)?;
        loop {
            let side = if forward { &mut self.front } else { &mut self.back };
            let cursor = side.as_mut().expect("advance made it");
            if !cursor.valid() {
                return Ok(None);
            }
            let entry = cursor.entry();
            let inside = match forward {
                true => is_below(entry.key, &self.upper),
                false => is_above(entry.key, &self.lower),
            };
            if !inside {
                return Ok(None);
            }
            if entry.expiry != 0
                && let Some(inside) = &self.inside
            {
                inside.watch.met(entry.key, entry.expiry);
            }
            let expired = entry.expiry != 0 && self.state.is_over(entry.expiry);
            if entry.value == sstable::Value::Tombstone || expired {
                if forward {
                    cursor.next()?
                } else {
                    cursor.prev()?
                }
                continue;
            }
            let key = Key::new(entry.key);
            let value = match entry.value {
                sstable::Value::Pointer(bits) => {
                    if forward && let Some(bits) = cursor.pointer_ahead(AHEAD) {
                        self.view.segments.prefetch(ValuePtr::from_bits(bits));
                    }
                    read::pointed_value(&self.state, &self.view, bits, self.keyspace, &key)?
                }
                _ => cursor.value_bytes(),
            };
            set_excluded(if forward { &mut self.lower } else { &mut self.upper }, &key);
            return Ok(Some((key, Value::new(value))));
        }
    }

    /// Moves the cursor of one end to the first entry that is left, or past it if it stands on
    /// the one handed out last.
    fn advance(&mut self, forward: bool) -> Result<()> {
        let side = if forward { &mut self.front } else { &mut self.back };
        if let Some(cursor) = side {
            if cursor.valid() {
                if forward { cursor.next()? } else { cursor.prev()? }
            }
            return Ok(());
        }
        let own = self.inside.as_ref().and_then(|inside| inside.own.as_ref());
        let mut cursor = Merge::new(sources(&self.view, self.keyspace, self.pin.seq, own)?);
        let bound = if forward { &self.lower } else { &self.upper };
        match (bound, forward) {
            (Bound::Unbounded, true) => cursor.seek_first()?,
            (Bound::Unbounded, false) => cursor.seek_last()?,
            (Bound::Included(key) | Bound::Excluded(key), true) => cursor.seek(key)?,
            (Bound::Included(key) | Bound::Excluded(key), false) => cursor.seek_for_prev(key)?,
        }
        if let Bound::Excluded(key) = bound
            && cursor.valid()
            && cursor.entry().key == key.as_slice()
        {
            if forward { cursor.next()? } else { cursor.prev()? }
        }
        *(if forward { &mut self.front } else { &mut self.back }) = Some(cursor);
        Ok(())
    }
}

/// What `range` and `prefix` say of a hash keyspace.
fn unordered() -> Error {
    Error::invalid("a hash keyspace has no order: it has iter, but neither range nor prefix")
}

/// Everything that may hold entries of a keyspace, newest first.
fn sources(
    view: &View,
    keyspace: u32,
    seq: u64,
    own: Option<&(Arc<Memtable>, u64)>,
) -> Result<Vec<BoxCursor>> {
    let keyspace = read::find_keyspace(view, keyspace)?;
    let mut sources: Vec<BoxCursor> = Vec::new();
    if let Some((table, count)) = own {
        sources.push(Box::new(MemtableCursor(table.cursor(*count))));
    }
    for memtable in keyspace.memtables.iter().filter(|table| !table.is_empty()) {
        sources.push(Box::new(MemtableCursor(memtable.cursor(seq))));
    }
    keyspace.index.cursors(&mut sources)?;
    Ok(sources)
}

fn is_below(key: &[u8], upper: &Bound<Vec<u8>>) -> bool {
    match upper {
        Bound::Unbounded => true,
        Bound::Included(upper) => key <= upper.as_slice(),
        Bound::Excluded(upper) => key < upper.as_slice(),
    }
}

fn is_above(key: &[u8], lower: &Bound<Vec<u8>>) -> bool {
    match lower {
        Bound::Unbounded => true,
        Bound::Included(lower) => key >= lower.as_slice(),
        Bound::Excluded(lower) => key > lower.as_slice(),
    }
}

/// Sets a bound to exclude `key`, in the memory it has.
fn set_excluded(bound: &mut Bound<Vec<u8>>, key: &[u8]) {
    let mut buffer = match std::mem::replace(bound, Bound::Unbounded) {
        Bound::Included(buffer) | Bound::Excluded(buffer) => buffer,
        Bound::Unbounded => Vec::new(),
    };
    buffer.clear();
    buffer.extend_from_slice(key);
    *bound = Bound::Excluded(buffer);
}

/// The smallest key above all keys with a prefix.
pub(crate) fn prefix_end(prefix: &[u8]) -> Bound<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Bound::Excluded(end);
        }
    }
    Bound::Unbounded
}

/// A memtable as a source of a merge.
struct MemtableCursor(memtable::Cursor);

impl Cursor for MemtableCursor {
    fn seek_first(&mut self) -> Result<(), vfs::Error> {
        self.0.seek_first();
        Ok(())
    }

    fn seek_last(&mut self) -> Result<(), vfs::Error> {
        self.0.seek_last();
        Ok(())
    }

    fn seek(&mut self, key: &[u8]) -> Result<(), vfs::Error> {
        self.0.seek(key);
        Ok(())
    }

    fn seek_for_prev(&mut self, key: &[u8]) -> Result<(), vfs::Error> {
        self.0.seek_for_prev(key);
        Ok(())
    }

    fn next(&mut self) -> Result<(), vfs::Error> {
        self.0.next();
        Ok(())
    }

    fn prev(&mut self) -> Result<(), vfs::Error> {
        self.0.prev();
        Ok(())
    }

    fn valid(&self) -> bool {
        self.0.valid()
    }

    fn entry(&self) -> Entry<'_> {
        let entry = self.0.entry();
        let value = match entry.kind {
            Kind::Put => sstable::Value::Inline(entry.value),
            Kind::Pointer => sstable::Value::Pointer(entry.pointer),
            Kind::Delete => sstable::Value::Tombstone,
        };
        Entry { key: entry.key, value, expiry: entry.expiry }
    }

    fn value_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.0.entry().value)
    }
}
