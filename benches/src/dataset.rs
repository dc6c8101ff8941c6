//! Entries whose keys and values are functions of their number, so that no run holds a copy of
//! what it wrote and every read can be verified.

use vfs::Random;

/// Bytes of a key.
pub const KEY_LEN: usize = 24;

/// Bytes that values are cut from: far more than any cache level but the last, and no value
/// compresses or repeats at once.
const POOL_LEN: usize = 1 << 20;

/// `count` entries with random-looking keys, all different, and values of one length.
///
/// ```
/// let dataset = benches::dataset::Dataset::new(10, 150, 1);
/// assert_eq!(dataset.value(3).len(), 150);
/// assert_ne!(dataset.key(3), dataset.key(4));
/// ```
#[derive(Debug)]
pub struct Dataset {
    count: u64,
    value_len: usize,
    seed: u64,
    pool: Vec<u8>,
}

impl Dataset {
    /// A dataset of `count` entries.
    ///
    /// # Panics
    /// If `count` is 0 or a value is longer than half a mebibyte.
    pub fn new(count: u64, value_len: usize, seed: u64) -> Dataset {
        assert!(count > 0, "a dataset has entries");
        assert!(value_len <= POOL_LEN / 2, "values are cut from a pool of {POOL_LEN} bytes");
        Dataset { count, value_len, seed, pool: Random::new(seed).bytes(POOL_LEN) }
    }

    /// How many entries it has.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> u64 {
        self.count * (KEY_LEN + self.value_len) as u64
    }

    /// Key number `number`: hexadecimal digits. In the order of the numbers, keys are in random
    /// order. Numbers from `count` on give keys that no entry has.
    pub fn key(&self, number: u64) -> [u8; KEY_LEN] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        // A bijection of 64 bits: the first 16 digits alone tell keys apart.
        let mut random = Random::new(self.seed ^ number.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let words = [random.next_u64(), random.next_u64()];
        let mut key = [0; KEY_LEN];
        for (index, digit) in key.iter_mut().enumerate() {
            let nibble = words[index / 16] >> (60 - index % 16 * 4) & 15;
            *digit = DIGITS[usize::try_from(nibble).expect("four bits")];
        }
        key
    }

    /// Value number `number`.
    pub fn value(&self, number: u64) -> &[u8] {
        let start = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 45;
        let start = usize::try_from(start).expect("19 bits");
        &self.pool[start..start + self.value_len]
    }
}

#[cfg(test)]
mod tests;
