//! Which segment, and where in it: the names of places in a log.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use vfs::sync::atomic::{AtomicU32, Ordering};
use vfs::{Error, Reader, Result};

/// Every frame and every payload starts at a multiple of this many bytes.
pub(crate) const ALIGN: u64 = 8;

/// Which segment. Ids grow with age and are never used twice; 0 means none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct SegmentId(pub u32);

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in a log: of a frame's first byte, or of a byte inside a payload (an *address*).
///
/// Positions order as the bytes do: a later segment is behind every byte of an earlier one.
///
/// ```
/// use wal::{Position, SegmentId};
/// let position = Position { segment: SegmentId(3), offset: 4096 };
/// assert_eq!(position.encode(), [3, 0, 0, 0, 0, 2, 0, 0]);
/// assert_eq!(Position::decode(position.encode()), position);
/// assert!(position < Position { segment: SegmentId(4), offset: 96 });
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Position {
    /// The segment.
    pub segment: SegmentId,
    /// Bytes from the start of its file; a multiple of 8.
    pub offset: u64,
}

impl Position {
    /// Bytes of an encoded position.
    pub const ENCODED_LEN: usize = 8;

    /// Segment, then offset / 8, both as `u32`, little-endian.
    ///
    /// # Panics
    /// If the offset is no multiple of 8 or at 32 GiB or beyond: no log has such a position.
    pub fn encode(self) -> [u8; Position::ENCODED_LEN] {
        let word = (u64::from(self.units()) << 32) | u64::from(self.segment.0);
        word.to_le_bytes()
    }

    /// The position whose [`Position::encode`] is `bytes`. Total: any bytes are some position.
    pub fn decode(bytes: [u8; Position::ENCODED_LEN]) -> Position {
        let word = u64::from_le_bytes(bytes);
        let low = u32::try_from(word & u64::from(u32::MAX)).expect("masked to 32 bits");
        Position { segment: SegmentId(low), offset: (word >> 32) * ALIGN }
    }

    /// A number that orders as positions do.
    pub(crate) fn to_key(self) -> u64 {
        (u64::from(self.segment.0) << 32) | u64::from(self.units())
    }

    /// The position with this [`Position::to_key`].
    pub(crate) fn from_key(key: u64) -> Position {
        let segment = u32::try_from(key >> 32).expect("32 bits are left");
        Position { segment: SegmentId(segment), offset: (key & u64::from(u32::MAX)) * ALIGN }
    }

    /// The offset in units of eight bytes.
    pub(crate) fn units(self) -> u32 {
        assert!(self.offset.is_multiple_of(ALIGN), "offset {} is not aligned", self.offset);
        u32::try_from(self.offset / ALIGN).expect("a segment is shorter than 32 GiB")
    }

    pub(crate) fn read(what: &'static str, reader: &mut Reader<'_>) -> Result<Position> {
        Ok(Position::decode(reader.array(what)?))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.segment, self.offset)
    }
}

/// Hands out segment ids. Clones share one counter, so that an owner's own segments and those of
/// its log never meet.
#[derive(Clone, Debug, Default)]
pub struct SegmentIds(Arc<AtomicU32>);

impl SegmentIds {
    /// A name with this id or a higher one is no segment's, unless a log says that it is its own:
    /// whoever puts one there must not take the last ids away, of which each open needs some. At a
    /// segment a millisecond, ids come here after 49 days.
    pub const PLANTED_MIN: u32 = u32::MAX - (1 << 20);

    /// An allocator whose first id is 1.
    pub fn new() -> SegmentIds {
        SegmentIds::default()
    }

    /// An id that was never given before. `Invalid` when all are used up.
    pub fn next(&self) -> Result<SegmentId> {
        let step = |last: u32| last.checked_add(1);
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step) {
            Ok(last) => Ok(SegmentId(last + 1)),
            Err(_) => Err(Error::invalid("all segment ids are used up", Path::new(""))),
        }
    }

    /// Never gives `id` or any below it again.
    pub fn raise_above(&self, id: SegmentId) {
        self.0.fetch_max(id.0, Ordering::Relaxed);
    }

    /// The highest id given or seen so far.
    pub fn peek(&self) -> SegmentId {
        SegmentId(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests;
