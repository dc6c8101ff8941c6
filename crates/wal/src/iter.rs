//! Reading a log: one record by its position, or all in order.

use std::collections::VecDeque;
use std::sync::Arc;

use vfs::{Bytes, Error, Result};

use crate::format::HEADER_LEN;
use crate::frames::FrameIter;
use crate::log::Log;
use crate::position::{Position, SegmentId};
use crate::segment::Segment;

/// Records of a log in order, as they were when the iterator was made; holds no lock. After the
/// first error nothing more comes.
#[derive(Debug)]
pub struct Iter {
    /// Segments to be read, each with its first frame and its end.
    rest: VecDeque<(Arc<Segment>, u64, u64)>,
    current: Option<FrameIter>,
    /// What to say first, and last.
    error: Option<Error>,
}

impl Iterator for Iter {
    /// Where the record is, its seq, what was appended.
    type Item = Result<(Position, u64, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.error.take() {
            self.rest.clear();
            return Some(Err(error));
        }
        loop {
            match self.current.as_mut().and_then(Iterator::next) {
                Some(Ok(frame)) => return Some(Ok((frame.position, frame.seq, frame.payload))),
                Some(Err(error)) => {
                    self.rest.clear();
                    self.current = None;
                    return Some(Err(error));
                }
                None => {
                    let (segment, offset, end) = self.rest.pop_front()?;
                    self.current = Some(FrameIter::new(segment, offset, end));
                }
            }
        }
    }
}

impl std::iter::FusedIterator for Iter {}

impl Log {
    /// The record at `position`, verified; without a copy where the segment is mapped.
    ///
    /// # Errors
    /// `NotFound` if the segment was forgotten or never was; `Corrupt` if no record starts there.
    pub fn read(&self, position: Position) -> Result<Bytes> {
        let segment = self.segment(position.segment);
        let segment =
            segment.ok_or_else(|| Error::NotFound { path: self.path_of(position.segment) })?;
        Ok(FrameIter::single(segment, position.offset)?.payload)
    }

    /// All records that are in place, from the oldest segment that was not forgotten.
    pub fn iter(&self) -> Iter {
        self.iter_range(Position::default(), SegmentId(u32::MAX))
    }

    /// The record at `position` and all behind it. A position past the end gives nothing; one in a
    /// segment that was forgotten, or where no record starts, gives an error.
    pub fn iter_from(&self, position: Position) -> Iter {
        let mut iter = self.iter_range(position, SegmentId(u32::MAX));
        let is_missing = self.segment(position.segment).is_none();
        if is_missing && position < self.end() {
            iter.error = Some(Error::NotFound { path: self.path_of(position.segment) });
        }
        iter
    }

    /// All records in segments up to `last`, that one included.
    pub fn iter_until(&self, last: SegmentId) -> Iter {
        self.iter_range(Position::default(), last)
    }

    fn iter_range(&self, from: Position, last: SegmentId) -> Iter {
        let segments = self.segments.read();
        let range = segments.range(from.segment..).take_while(|(id, _)| **id <= last);
        let rest = range.map(|(id, segment)| {
            let start = if *id == from.segment { from.offset } else { HEADER_LEN };
            (Arc::clone(segment), start, segment.len())
        });
        Iter { rest: rest.collect(), current: None, error: None }
    }
}
