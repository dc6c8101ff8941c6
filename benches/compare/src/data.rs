//! The entries: functions of their numbers, so that every read is verified and nothing is held.

use std::ops::Deref;

use benches::dataset::{Dataset, KEY_LEN};

use crate::size::Size;

/// Values that a key may have in the course of a measurement. A reader beside a writer accepts any
/// of them, and nothing else.
pub const VERSIONS: u64 = 4;

/// Bytes at both ends of a value that a quick check compares.
const ENDS: usize = 16;

/// A key, on the stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    bytes: [u8; KEY_LEN],
    len: usize,
}

impl Key {
    /// Becomes this key, which is as long.
    ///
    /// # Panics
    /// If it is not.
    pub fn copy_from(&mut self, key: &[u8]) {
        self.bytes[..self.len].copy_from_slice(key);
    }
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Entries of one size. Keys are hexadecimal digits in random order, values do not compress.
#[derive(Debug)]
pub struct Data {
    size: Size,
    dataset: Dataset,
}

impl Data {
    /// `count` entries; numbers from `count` on give keys of no entry yet.
    pub fn new(size: Size, count: u64) -> Data {
        Data { size, dataset: Dataset::new(count, size.value_len(), 1) }
    }

    /// The shape of the entries.
    pub fn size(&self) -> Size {
        self.size
    }

    /// How many entries a fill puts.
    pub fn count(&self) -> u64 {
        self.dataset.count()
    }

    /// Bytes of key and value of one entry.
    pub fn entry_len(&self) -> u64 {
        (self.size.key_len() + self.size.value_len()) as u64
    }

    /// Key number `number`.
    pub fn key(&self, number: u64) -> Key {
        Key { bytes: self.dataset.key(number), len: self.size.key_len() }
    }

    /// One of the values that key number `number` may have.
    pub fn value(&self, number: u64, version: u64) -> &[u8] {
        self.dataset.value(number + ((version % VERSIONS) << 40))
    }

    /// Is this one of the values of key number `number`? Compares every byte.
    pub fn is_right(&self, number: u64, value: &[u8]) -> bool {
        (0..VERSIONS).any(|version| self.value(number, version) == value)
    }

    /// The same, but compares only the length and both ends: cheaper than reading the value.
    pub fn seems_right(&self, number: u64, value: &[u8]) -> bool {
        let len = self.size.value_len();
        value.len() == len
            && (0..VERSIONS).any(|version| {
                let expected = self.value(number, version);
                expected[..ENDS] == value[..ENDS] && expected[len - ENDS..] == value[len - ENDS..]
            })
    }
}

/// A number out of the first bytes of a value; their sum over all entries tells whether a scan met
/// each of them.
pub fn digest(value: &[u8]) -> u64 {
    value.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_another_key_is_wrong() {
        let data = Data::new(Size::Medium, 1000);
        for number in 0..1000 {
            for version in 0..VERSIONS {
                assert!(data.is_right(number, data.value(number, version)));
                assert!(data.seems_right(number, data.value(number, version)));
            }
            assert!(!data.is_right(number, data.value(number + 1, 0)));
            assert!(!data.seems_right(number, data.value(number + 1, 0)));
            assert!(!data.seems_right(number, &data.value(number, 0)[1..]));
        }
    }

    #[test]
    fn keys_are_as_long_as_their_size_says() {
        assert_eq!(Data::new(Size::Small, 1).key(5).len(), 24);
        assert_eq!(Data::new(Size::Large, 1).key(5).len(), 16);
    }
}
