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
        /// What was lent last.
        lent: Option<(Key, Value)>,
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
    /// What was asked for. What the cursor of the other end stands at, and what is behind that, was
    /// handed out.
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
    /// The value of the entry that was found last, where that lies in a segment.
    pointed: Option<Bytes>,
    /// How many of the entries that come next had their records asked for: behind `back`, behind
    /// `front`.
    asked: [isize; 2],
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
            let (pointed, asked) = (None, [0; 2]);
            Ok(Open {
                front,
                back,
                state,
                pin,
                view,
                keyspace,
                inside,
                lower,
                upper,
                pointed,
                asked,
            })
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
                    Range { inner: Inner::Unordered { pin, state, scan, lent: None } }
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

    /// The next entry, lent until the next call: as [`next`](Iterator::next), but neither is the key
    /// copied nor the value's memory counted, which is a sixth of a walk through small entries.
    /// Both ways of asking may take turns.
    ///
    /// # Errors
    /// What the item would be; the walk is over then.
    ///
    /// ```
    /// # fn main() -> engine::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a scratch directory");
    /// # let db = engine::Db::open(dir.path().join("db"), engine::Options::default())?;
    /// db.put(b"lotus", b"pink")?;
    /// db.put(b"lily", b"white")?;
    /// let mut bytes = 0;
    /// let mut flowers = db.prefix(b"l");
    /// while let Some((key, value)) = flowers.next_ref()? {
    ///     bytes += key.len() + value.len();
    /// }
    /// assert_eq!(bytes, 18);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn next_ref(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        self.lend(true)
    }

    /// As [`Range::next_ref`], from the other end.
    ///
    /// # Errors
    /// What the item would be; nothing more comes from this end then.
    #[inline]
    pub fn next_back_ref(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        self.lend(false)
    }

    fn lend(&mut self, forward: bool) -> Result<Option<(&[u8], &[u8])>> {
        if self.find(forward) {
            let Inner::Open(open) = &self.inner else { unreachable!("it was found there") };
            return Ok(Some(open.lent(forward)));
        }
        let Some(item) = self.step_otherwise() else { return Ok(None) };
        let item = item?;
        let Inner::Unordered { lent, .. } = &mut self.inner else { unreachable!("it came of it") };
        let (key, value) = lent.insert(item);
        Ok(Some((key, value)))
    }

    #[inline]
    fn step(&mut self, forward: bool) -> Option<Result<(Key, Value)>> {
        if !self.find(forward) {
            return self.step_otherwise();
        }
        let Inner::Open(open) = &mut self.inner else { unreachable!("it was found there") };
        let value = open.take_value(forward);
        // Made where it is returned: the processor waits for a key that is moved while it is still
        // being written.
        Some(Ok((Key::new(open.cursor(forward).key()), Value::new(value))))
    }

    /// Moves one end of a range with an order to its next entry; false if there is none to show.
    #[inline]
    fn find(&mut self, forward: bool) -> bool {
        let Inner::Open(open) = &mut self.inner else { return false };
        match open.step(forward) {
            Ok(true) => return true,
            Ok(false) => self.inner = Inner::Ended,
            Err(error) => self.inner = Inner::Failed(error),
        }
        false
    }

    #[cold]
    fn step_otherwise(&mut self) -> Option<Result<(Key, Value)>> {
        if let Inner::Unordered { pin, state, scan, .. } = &mut self.inner {
            match state.check_open().and_then(|()| pin.check()).and_then(|()| scan.next()) {
                Ok(Some(item)) => return Some(Ok(item)),
                Ok(None) => self.inner = Inner::Ended,
                Err(error) => self.inner = Inner::Failed(error),
            }
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
const AHEAD: isize = 8;

impl Open {
    /// Moves one end to the next entry that is to be shown; false if there is none. Tells the
    /// transaction, if it is in one.
    fn step(&mut self, forward: bool) -> Result<bool> {
        let stepped = self.find(forward);
        if let Some(Inside { watch, .. }) = &self.inside {
            match stepped {
                Ok(true) => watch.shown(self.cursor(forward).key(), forward),
                Ok(false) | Err(_) => watch.ended(),
            }
        }
        stepped
    }

    /// What an end is at.
    #[inline]
    fn cursor(&self, forward: bool) -> &Merge<BoxCursor> {
        let side = if forward { &self.front } else { &self.back };
        side.as_ref().expect("this end is at an entry")
    }

    /// The entry that an end is at.
    #[inline]
    fn lent(&self, forward: bool) -> (&[u8], &[u8]) {
        let entry = self.cursor(forward).entry();
        match (&self.pointed, entry.value) {
            (None, sstable::Value::Inline(value)) => (entry.key, value),
            (pointed, _) => (entry.key, pointed.as_deref().expect("find read it")),
        }
    }

    /// The value of the entry that an end is at.
    #[inline]
    fn take_value(&mut self, forward: bool) -> Bytes {
        self.pointed.take().unwrap_or_else(|| self.cursor(forward).value_bytes())
    }

    fn find(&mut self, forward: bool) -> Result<bool> {
        self.state.check_open()?;
        self.pin.check()?;
        self.pointed = None;
        self.advance(forward)?;
        let asked = &mut self.asked[usize::from(forward)];
        loop {
            *asked = (*asked - 1).max(0);
            let (side, other) = match forward {
                true => (&mut self.front, &self.back),
                false => (&mut self.back, &self.front),
            };
            let cursor = side.as_mut().expect("advance made it");
            if !cursor.valid() {
                return Ok(false);
            }
            let entry = cursor.entry();
            let inside = match forward {
                true => is_below(entry.key, &self.upper),
                false => is_above(entry.key, &self.lower),
            };
            if !inside || other.as_ref().is_some_and(|other| is_met(entry.key, other, forward)) {
                return Ok(false);
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
            if let sstable::Value::Pointer(bits) = entry.value {
                while *asked < AHEAD {
                    let steps = if forward { *asked + 1 } else { -*asked - 1 };
                    match cursor.value_ahead(steps) {
                        Some(sstable::Value::Pointer(bits)) => {
                            self.view.segments.prefetch(ValuePtr::from_bits(bits));
                        }
                        Some(_) => {}
                        None => break,
                    }
                    *asked += 1;
                }
                let (state, view) = (&self.state, &self.view);
                let value = read::pointed_value(state, view, bits, self.keyspace, entry.key)?;
                self.pointed = Some(value);
            }
            return Ok(true);
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

/// True if the other end has been at `key` or has nothing left.
fn is_met(key: &[u8], other: &Merge<BoxCursor>, forward: bool) -> bool {
    !other.valid() || if forward { key >= other.key() } else { key <= other.key() }
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

    fn key(&self) -> &[u8] {
        self.0.key()
    }

    fn value_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.0.entry().value)
    }
}
