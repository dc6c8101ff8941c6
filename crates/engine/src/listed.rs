//! Which address spaces an index file points into: what garbage collection may not forget.
//!
//! ```text
//! version u8 | { first u32, last u32 }*        ranges of segment ids, ascending, inclusive
//! ```

use std::path::Path;

use vfs::{Reader, Result};

const VERSION: u8 = 1;
const RANGE_LEN: usize = 8;
/// Ranges that a file may list; more and the next file begins.
pub(crate) const RANGES_MAX: usize = 4096;

/// A set of segment ids, kept as ranges: files point into few segments, mostly neighbours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Ascending, inclusive, with gaps between them.
    ranges: Vec<(u32, u32)>,
}

impl Listed {
    /// Every id: what a file without a list may point into.
    pub(crate) fn everything() -> Listed {
        Listed { ranges: vec![(0, u32::MAX)] }
    }

    pub(crate) fn insert(&mut self, id: u32) {
        let index = self.ranges.partition_point(|(_, last)| *last < id);
        if self.ranges.get(index).is_some_and(|(first, _)| *first <= id) {
            return;
        }
        let joins_left = index > 0 && self.ranges[index - 1].1.checked_add(1) == Some(id);
        let joins_right =
            self.ranges.get(index).is_some_and(|(first, _)| id.checked_add(1) == Some(*first));
        match (joins_left, joins_right) {
            (true, true) => {
                self.ranges[index - 1].1 = self.ranges[index].1;
                self.ranges.remove(index);
            }
            (true, false) => self.ranges[index - 1].1 = id,
            (false, true) => self.ranges[index].0 = id,
            (false, false) => self.ranges.insert(index, (id, id)),
        }
    }

    pub(crate) fn contains(&self, id: u32) -> bool {
        let index = self.ranges.partition_point(|(_, last)| *last < id);
        self.ranges.get(index).is_some_and(|(first, _)| *first <= id)
    }

    /// True if some id is in both.
    pub(crate) fn meets(&self, other: &Listed) -> bool {
        let (mut ours, mut theirs) =
            (self.ranges.iter().peekable(), other.ranges.iter().peekable());
        while let (Some((first, last)), Some((other_first, other_last))) =
            (ours.peek(), theirs.peek())
        {
            if last < other_first {
                ours.next();
            } else if other_last < first {
                theirs.next();
            } else {
                return true;
            }
        }
        false
    }

    /// Adds every id of `other`.
    pub(crate) fn extend(&mut self, other: &Listed) {
        let mut all: Vec<(u32, u32)> = self.ranges.iter().chain(&other.ranges).copied().collect();
        all.sort_unstable();
        self.ranges.clear();
        for (first, last) in all {
            match self.ranges.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last);
                }
                _ => self.ranges.push((first, last)),
            }
        }
    }

    pub(crate) fn range_count(&self) -> usize {
        self.ranges.len()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        for (first, last) in &self.ranges {
            bytes.extend(first.to_le_bytes());
            bytes.extend(last.to_le_bytes());
        }
        bytes
    }

    /// Reads the list of the file at `path`. One without a list was written before there were any.
    pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Listed> {
        if bytes.is_empty() {
            return Ok(Listed::everything());
        }
        let mut reader = Reader::new(path, 0, bytes);
        reader.expect("version of a list of segments", &[VERSION])?;
        let mut listed = Listed::default();
        for _ in 0..(bytes.len() - 1) / RANGE_LEN {
            let (first, last) = (reader.u32("listed segment")?, reader.u32("listed segment")?);
            let follows = listed.ranges.last().is_none_or(|(_, before)| *before < first);
            if first > last || !follows {
                return Err(reader.corrupt("listed segment", first.into(), last.into()));
            }
            listed.ranges.push((first, last));
        }
        if bytes.len() != 1 + listed.ranges.len() * RANGE_LEN {
            return Err(reader.corrupt("list of segments", 0, bytes.len() as u64));
        }
        Ok(listed)
    }
}

impl FromIterator<u32> for Listed {
    fn from_iter<I: IntoIterator<Item = u32>>(ids: I) -> Listed {
        let mut listed = Listed::default();
        ids.into_iter().for_each(|id| listed.insert(id));
        listed
    }
}

#[cfg(test)]
mod tests;
