//! Hash -> partition, section, page, byte. Pure, widened before every product; the only module
//! that multiplies.
//!
//! ```text
//! kept hash   prefix bits | section bits | fraction ...           from the highest bit down
//!             which file    which section  where in the section's home pages
//! ```
//!
//! A *kept* hash is the hash with its low bits cleared, so that all arithmetic is that of 64 bits,
//! however many bytes are stored.

#[cfg(test)]
mod tests;

pub(crate) const PAGE_LEN: usize = 4096;
pub(crate) const PAGE_BYTES: u64 = 4096;

/// Most bits that tell partitions apart.
pub(crate) const PREFIX_BITS_MAX: u8 = 32;
/// Most bits that tell the sections of a file apart.
pub(crate) const SECTION_BITS_MAX: u8 = 24;

/// The hash as far as it is stored: the upper `hash_bytes` bytes, then zeros.
#[inline]
pub(crate) fn keep(hash: u64, hash_bytes: u8) -> u64 {
    hash & (u64::MAX << unit_bits(hash_bytes))
}

/// Low bits of a hash that are not stored.
#[inline]
pub(crate) fn unit_bits(hash_bytes: u8) -> u32 {
    assert!((5..=8).contains(&hash_bytes), "5 to 8 bytes of the hash are kept");
    64 - 8 * u32::from(hash_bytes)
}

/// Which part of all hashes: those that start with `bits` bits of `start`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Prefix {
    pub(crate) bits: u8,
    /// The smallest of them.
    pub(crate) start: u64,
}

impl Prefix {
    /// All hashes.
    pub(crate) const ALL: Prefix = Prefix { bits: 0, start: 0 };

    /// The largest hash.
    pub(crate) fn last(self) -> u64 {
        self.start | u64::MAX.checked_shr(self.bits.into()).unwrap_or(0)
    }

    pub(crate) fn contains(self, hash: u64) -> bool {
        self.start <= hash && hash <= self.last()
    }

    /// The halves, told apart by the next bit.
    pub(crate) fn halves(self) -> [Prefix; 2] {
        assert!(self.bits < PREFIX_BITS_MAX, "a prefix has at most 32 bits");
        let bits = self.bits + 1;
        let right = self.start | 1 << (64 - u32::from(bits));
        [Prefix { bits, start: self.start }, Prefix { bits, start: right }]
    }

    /// What this and its buddy are the halves of; `None` for all hashes.
    pub(crate) fn parent(self) -> Option<Prefix> {
        let bits = self.bits.checked_sub(1)?;
        let mask = u64::MAX.checked_shl(64 - u32::from(bits)).unwrap_or(0);
        Some(Prefix { bits, start: self.start & mask })
    }

    /// True if no bit behind the prefix is set in `start`.
    pub(crate) fn is_sound(self) -> bool {
        self.bits <= PREFIX_BITS_MAX
            && self.start & u64::MAX.checked_shr(self.bits.into()).unwrap_or(0) == 0
    }
}

/// How a file divides its hashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Layout {
    pub(crate) prefix: Prefix,
    pub(crate) section_bits: u8,
}

impl Layout {
    pub(crate) fn sections(self) -> usize {
        1 << self.section_bits
    }

    /// The section of a hash that has the file's prefix.
    #[inline]
    pub(crate) fn section(self, hash: u64) -> usize {
        let behind = hash << self.prefix.bits;
        let index = behind.checked_shr(64 - u32::from(self.section_bits)).unwrap_or(0);
        usize::try_from(index).expect("at most 24 bits")
    }

    /// Where in its section a hash stands, as a fraction of 2^64.
    #[inline]
    pub(crate) fn fraction(self, hash: u64) -> u64 {
        hash << (u32::from(self.prefix.bits) + u32::from(self.section_bits))
    }

    /// How many kept hashes a section has: one for each unit.
    pub(crate) fn section_span(self, hash_bytes: u8) -> u64 {
        let bits = self.prefix.bits + self.section_bits;
        (u64::MAX >> bits) >> unit_bits(hash_bytes)
    }
}

/// The home page of a fraction among `pages`, counted from the section's first.
#[inline]
pub(crate) fn home(fraction: u64, pages: u32) -> u64 {
    let product = u128::from(fraction) * u128::from(pages);
    u64::try_from(product >> 64).expect("64 bits are left")
}

/// Where in its home page a fraction stands, as a fraction of 2^64.
#[inline]
pub(crate) fn within(fraction: u64, pages: u32) -> u64 {
    fraction.wrapping_mul(u64::from(pages))
}

/// Where about in a column of `count` a fraction stands.
#[inline]
pub(crate) fn scale(fraction: u64, count: usize) -> usize {
    let product = (fraction >> 32) * count as u64;
    usize::try_from(product >> 32).expect("below count")
}

/// Bytes from the start of the file to a page; the header stands before page 0.
#[inline]
pub(crate) fn page_offset(page: u64) -> u64 {
    PAGE_BYTES + page * PAGE_BYTES
}

/// Home pages for so many entries at `capacity` entries a page: filled to 0.85.
pub(crate) fn pages_for(entries: u64, capacity: usize) -> u32 {
    let pages = (u128::from(entries) * 20).div_ceil(capacity as u128 * 17).max(1);
    u32::try_from(pages).unwrap_or(u32::MAX)
}
