//! A range that is asked in both ways in turn: for entries to keep, and for lent ones.

use engine::{Range, Result};

/// An entry.
pub(crate) type Item = (Vec<u8>, Vec<u8>);

/// Every second entry is lent.
pub(crate) struct Mixed {
    range: Range,
    is_lent: bool,
}

impl Mixed {
    /// `is_lent`: the first one, already.
    pub(crate) fn new(range: Range, is_lent: bool) -> Mixed {
        Mixed { range, is_lent }
    }

    fn step(&mut self, forward: bool) -> Option<Result<Item>> {
        self.is_lent = !self.is_lent;
        if self.is_lent {
            let entry = if forward { self.range.next() } else { self.range.next_back() };
            return entry.map(|entry| entry.map(|(key, value)| (key.to_vec(), value.into_vec())));
        }
        let entry = if forward { self.range.next_ref() } else { self.range.next_back_ref() };
        entry.map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec()))).transpose()
    }
}

impl Iterator for Mixed {
    type Item = Result<Item>;

    fn next(&mut self) -> Option<Result<Item>> {
        self.step(true)
    }
}

impl DoubleEndedIterator for Mixed {
    fn next_back(&mut self) -> Option<Result<Item>> {
        self.step(false)
    }
}
