//! CRC-32 (IEEE) seeded with where the bytes belong, so that right bytes in a wrong place fail.

#[cfg(test)]
mod tests;

/// A running checksum over some bytes and the place they belong to.
///
/// The seed is mixed from a salt (one per file) and an offset. For fixed bytes two different
/// 32-bit seeds always give different sums; two places share a seed once in 2^32.
///
/// ```
/// use vfs::Checksum;
/// let mut sum = Checksum::at(7, 4096);
/// sum.update(b"lotus");
/// assert_eq!(sum.finish(), Checksum::of(7, 4096, b"lotus"));
/// assert_ne!(Checksum::of(7, 4096, b"lotus"), Checksum::of(7, 8192, b"lotus"));
/// ```
#[derive(Clone, Debug)]
pub struct Checksum(crc32fast::Hasher);

impl Checksum {
    /// Starts a sum for bytes at `offset` of the file salted with `salt`.
    pub fn at(salt: u64, offset: u64) -> Checksum {
        Checksum(crc32fast::Hasher::new_with_initial(seed(salt, offset)))
    }

    /// The sum of `bytes` at `offset` of the file salted with `salt`.
    pub fn of(salt: u64, offset: u64, bytes: &[u8]) -> u32 {
        let mut sum = Checksum::at(salt, offset);
        sum.update(bytes);
        sum.finish()
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The sum of everything added so far.
    pub fn finish(self) -> u32 {
        self.0.finalize()
    }
}

/// Folds salt and offset to 32 bits with the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
fn seed(salt: u64, offset: u64) -> u32 {
    let mut x = salt ^ offset.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    u32::try_from(x >> 32).expect("32 bits are left")
}
