//! Many cursors as one, newest first: of equal keys the one of the earliest source is seen.
//!
//! The sources that are at an entry are kept in order of their keys. A step moves the front, then
//! puts it where it belongs: one comparison while a source runs on, a few for a handful of sources,
//! a binary search for many. For the handful of runs a read meets that beats a heap.
//!
//! 1. Forwards, every source but the front is at its first key behind the present one, or at the
//!    present one if it is shadowed; backwards alike. Turning around re-seeks all of them.
//! 2. After an error every move is an error until a seek succeeds.

use std::cmp::Ordering;
use std::path::Path;

use vfs::{Bytes, Result};

use crate::cursor::{Cursor, after_error};
use crate::entry::{Entry, Value};

/// Up to this many sources a place is found by looking at one after the other.
const LINEAR_MAX: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Direction {
    Forward,
    Backward,
}

/// A [`Cursor`] over the union of several, newest first.
///
/// ```
/// # fn main() -> vfs::Result<()> {
/// # let dir = tempfile::tempdir().expect("a scratch directory");
/// # use sstable::{Builder, BuilderOptions, Entry, FileId, ReadMode, Table, Value};
/// # use vfs::{Kind, Name};
/// # let fs = vfs::StdFs::open(dir.path())?;
/// # let build = |id: u64, key: &[u8], value: &[u8]| {
/// #     let name = Name::new(Kind::new("tbl"), id);
/// #     let options =
/// #         BuilderOptions { file_id: FileId(id), owner: 7, salt: 5, bloom_bits_per_key: 10 };
/// #     let mut builder = Builder::new(fs.create_new(name)?, options)?;
/// #     builder.add(Entry { key, value: Value::Inline(value), expiry: 0 })?;
/// #     builder.finish(b"")?;
/// #     Table::open(&fs, name, ReadMode::Mapped, None)
/// # };
/// # let (old, new) = (build(1, b"lotus", b"old")?, build(2, b"lotus", b"new")?);
/// use sstable::{Cursor, Merge};
///
/// let mut merge = Merge::new(vec![new.cursor(), old.cursor()]);
/// merge.seek_first()?;
/// assert_eq!(merge.entry().value, Value::Inline(b"new"));
/// merge.next()?;
/// assert!(!merge.valid());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Merge<C> {
    sources: Vec<C>,
    /// Sources at an entry, in order of key (descending when backward), equal keys newest first.
    order: Vec<usize>,
    /// Sources taken out of the order by the present step.
    moved: Vec<usize>,
    /// No other source is known to be at the key of the front.
    alone: bool,
    direction: Direction,
    failed: bool,
    /// The key around which the direction changes.
    turn: Vec<u8>,
}

impl<C: Cursor> Merge<C> {
    /// A cursor over `sources`, newest first; not valid until its first seek.
    pub fn new(sources: Vec<C>) -> Merge<C> {
        let order = Vec::with_capacity(sources.len());
        let (moved, turn, direction) = (Vec::new(), Vec::new(), Direction::Forward);
        Merge { sources, order, moved, alone: false, direction, failed: false, turn }
    }

    /// Seeks every source and starts again.
    fn restart(
        &mut self,
        direction: Direction,
        mut seek: impl FnMut(&mut C) -> Result<()>,
    ) -> Result<()> {
        self.order.clear();
        self.moved.clear();
        self.alone = false;
        self.direction = direction;
        self.failed = true;
        for index in 0..self.sources.len() {
            seek(self.source(index))?;
            self.insert(index);
        }
        self.failed = false;
        Ok(())
    }

    /// Moves past the entry that is seen and past no other, forwards: true if what is seen then is
    /// an older entry of the same key. For whoever must meet what the newest one hides, as a merge
    /// that counts what it drops; it seeks before it walks in another way again.
    ///
    /// # Errors
    /// As the source that moves; then every move is an error until a seek succeeds.
    ///
    /// # Panics
    /// If the last seek or step was backward.
    #[inline]
    pub fn next_version(&mut self) -> Result<bool> {
        if self.failed {
            return Err(after_error(Path::new("merge of cursors")));
        }
        assert!(self.direction == Direction::Forward, "older versions are behind, going forward");
        let Some(front) = self.order.first().copied() else { return Ok(false) };
        let hides = |second: &usize| self.key_of(*second) == self.key_of(front);
        let is_older = !self.alone && self.order.get(1).is_some_and(hides);
        self.failed = true;
        self.move_source(front)?;
        self.place_front(front);
        self.failed = false;
        Ok(is_older)
    }

    fn source(&mut self, index: usize) -> &mut C {
        self.sources.get_mut(index).expect("the order holds indexes of sources")
    }

    fn key_of(&self, index: usize) -> &[u8] {
        self.sources.get(index).expect("the order holds indexes of sources").key()
    }

    /// The source that the cursor is at.
    #[inline]
    fn front(&self) -> &C {
        let front = self.order.first().filter(|_| self.valid());
        let front = *front.expect("the cursor is at an entry: ask valid() first");
        self.sources.get(front).expect("an index of a source")
    }

    /// Which of two sources comes first.
    fn compare(&self, a: usize, b: usize) -> Ordering {
        self.compare_keys(a, b).then(a.cmp(&b))
    }

    #[inline]
    fn compare_keys(&self, a: usize, b: usize) -> Ordering {
        let keys = self.key_of(a).cmp(self.key_of(b));
        if self.direction == Direction::Forward { keys } else { keys.reverse() }
    }

    /// Puts a source that has moved into the order, unless it is past its end.
    fn insert(&mut self, source: usize) {
        if !self.sources.get(source).expect("an index of a source").valid() {
            return;
        }
        let before = |other: &usize| self.compare(*other, source) == Ordering::Less;
        let place = if self.order.len() <= LINEAR_MAX {
            self.order.iter().position(|other| !before(other)).unwrap_or(self.order.len())
        } else {
            self.order.partition_point(before)
        };
        self.order.insert(place, source);
    }

    /// Moves one source in the present direction.
    fn move_source(&mut self, index: usize) -> Result<()> {
        let direction = self.direction;
        let source = self.source(index);
        match direction {
            Direction::Forward => source.next(),
            Direction::Backward => source.prev(),
        }
    }

    /// Moves every source that is at the present key, in the present direction.
    fn step(&mut self) -> Result<()> {
        let Some((front, rest)) = self.order.split_first() else { return Ok(()) };
        let front = *front;
        let shadowed = if self.alone { 0 } else { self.count_at(self.key_of(front), rest) };
        self.failed = true;
        if shadowed == 0 {
            self.move_source(front)?;
            self.place_front(front);
        } else {
            self.alone = false;
            self.moved.extend(self.order.drain(..=shadowed));
            while let Some(index) = self.moved.pop() {
                self.move_source(index)?;
                self.insert(index);
            }
        }
        self.failed = false;
        Ok(())
    }

    /// How many of the first sources are at a key.
    fn count_at(&self, key: &[u8], sources: &[usize]) -> usize {
        sources.iter().take_while(|source| self.key_of(**source) == key).count()
    }

    /// Puts the front, which alone has moved, where it belongs: as a rule it runs on.
    #[inline]
    fn place_front(&mut self, front: usize) {
        if self.sources.get(front).expect("an index of a source").valid() {
            let Some(second) = self.order.get(1) else {
                self.alone = true;
                return;
            };
            let keys = self.compare_keys(front, *second);
            self.alone = keys == Ordering::Less;
            if keys.then(front.cmp(second)) == Ordering::Less {
                return;
            }
        }
        self.alone = false;
        self.order.remove(0);
        self.insert(front);
    }

    /// Puts every source behind the present key, as seen in the new direction.
    fn turn_around(&mut self, direction: Direction) -> Result<()> {
        let Some(front) = self.order.first().copied() else { return Ok(()) };
        let mut turn = std::mem::take(&mut self.turn);
        turn.clear();
        turn.extend_from_slice(self.key_of(front));
        let result = self.restart(direction, |source| match direction {
            Direction::Forward => {
                source.seek(&turn)?;
                if source.valid() && source.key() == turn { source.next() } else { Ok(()) }
            }
            Direction::Backward => {
                source.seek_for_prev(&turn)?;
                if source.valid() && source.key() == turn { source.prev() } else { Ok(()) }
            }
        });
        self.turn = turn;
        result
    }

    fn advance(&mut self, direction: Direction) -> Result<()> {
        if self.failed {
            return Err(after_error(Path::new("merge of cursors")));
        }
        if self.direction == direction { self.step() } else { self.turn_around(direction) }
    }
}

impl<C: Cursor> Cursor for Merge<C> {
    fn seek_first(&mut self) -> Result<()> {
        self.restart(Direction::Forward, C::seek_first)
    }

    fn seek_last(&mut self) -> Result<()> {
        self.restart(Direction::Backward, C::seek_last)
    }

    fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.restart(Direction::Forward, |source| source.seek(key))
    }

    fn seek_for_prev(&mut self, key: &[u8]) -> Result<()> {
        self.restart(Direction::Backward, |source| source.seek_for_prev(key))
    }

    fn next(&mut self) -> Result<()> {
        self.advance(Direction::Forward)
    }

    fn prev(&mut self) -> Result<()> {
        self.advance(Direction::Backward)
    }

    fn valid(&self) -> bool {
        !self.failed && !self.order.is_empty()
    }

    fn entry(&self) -> Entry<'_> {
        self.front().entry()
    }

    fn key(&self) -> &[u8] {
        self.front().key()
    }

    fn value_bytes(&self) -> Bytes {
        self.front().value_bytes()
    }

    /// Of the source in front, as if no other came between.
    fn value_ahead(&self, steps: isize) -> Option<Value<'_>> {
        self.sources.get(*self.order.first()?)?.value_ahead(steps)
    }
}
