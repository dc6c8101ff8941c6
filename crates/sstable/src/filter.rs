//! A blocked Bloom filter: all bits of a key are in one cache line.
//!
//! Putze, Sanders, Singler: "Cache-, Hash- and Space-Efficient Bloom Filters" (2007). About 1 %
//! false positives at 10 bits a key; never a false negative.

use xxhash_rust::xxh3::xxh3_64;

use vfs::planted::{self, Bug};

use crate::format::{
    BLOCK_LEN, BLOCKS_PER_PAGE, FILTER_HEADER_LEN, PAGE_LEN, begin_filter_page, seal_page,
};

/// XXH3 (64 bits, seed 0) of a key. The filters on disk depend on it: it never changes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct KeyHash(pub u64);

/// The hash of a key, to be computed once for all tables a read asks.
///
/// ```
/// assert_eq!(sstable::key_hash(b"lotus"), sstable::key_hash(b"lotus"));
/// ```
pub fn key_hash(key: &[u8]) -> KeyHash {
    KeyHash(xxh3_64(key))
}

/// Blocks a filter of `count` keys has at `bits_per_key`; a table of so many keys that the number
/// does not fit gets the largest filter there is.
pub(crate) fn block_count(count: u64, bits_per_key: u32) -> u32 {
    let bits = u128::from(count) * u128::from(bits_per_key);
    u32::try_from(bits.div_ceil(512)).unwrap_or(u32::MAX - BLOCKS_PER_PAGE)
}

/// Bits tested for each key: ln 2 for each bit a key has, at most 7 (9 hash bits choose each).
pub(crate) fn probe_count(bits_per_key: u32) -> u32 {
    (bits_per_key.saturating_mul(69) / 100).clamp(1, 7)
}

/// The block a hash belongs to: its upper half scaled to `blocks`.
pub(crate) fn block_of(hash: KeyHash, blocks: u32) -> u32 {
    let scaled = ((hash.0 >> 32) * u64::from(blocks)) >> 32;
    u32::try_from(scaled).expect("below a 32-bit number of blocks")
}

/// The bits of a hash inside its block: word index and mask, once for each probe.
fn bits(hash: KeyHash, probes: u32) -> impl Iterator<Item = (usize, u64)> {
    let mixed = hash.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = mixed ^ (mixed >> 32);
    (0..probes).map(move |probe| {
        let bit = (mixed >> (9 * probe)) & 511;
        (usize::try_from(bit >> 6).expect("three bits"), 1 << (bit & 63))
    })
}

/// Whether all bits of the hash are set in its block.
pub(crate) fn block_contains(block: &[u8; BLOCK_LEN], hash: KeyHash, probes: u32) -> bool {
    let (words, _) = block.as_chunks::<8>();
    bits(hash, probes).all(|(word, mask)| {
        words.get(word).is_some_and(|bytes| u64::from_le_bytes(*bytes) & mask != 0)
    })
}

/// Filter page and byte in it where a block starts.
pub(crate) fn block_place(block: u32) -> (u32, usize) {
    let in_page = (block % BLOCKS_PER_PAGE) as usize;
    (block / BLOCKS_PER_PAGE, FILTER_HEADER_LEN + in_page * BLOCK_LEN)
}

/// The filter of `hashes` as whole, sealed pages; the first gets page number `first`.
pub(crate) fn build(
    hashes: &[KeyHash],
    blocks: u32,
    probes: u32,
    file_salt: u64,
    first: u32,
) -> Vec<u8> {
    let pages = blocks.div_ceil(BLOCKS_PER_PAGE);
    let mut out = Vec::with_capacity(pages as usize * PAGE_LEN);
    for index in 0..pages {
        begin_filter_page(index, &mut out);
        out.resize((index as usize + 1) * PAGE_LEN, 0);
    }
    for hash in hashes.iter().skip(usize::from(planted::is(Bug::FilterForgetsKey))) {
        let (page, at) = block_place(block_of(*hash, blocks));
        let start = page as usize * PAGE_LEN + at;
        let block = out.get_mut(start..start + BLOCK_LEN).expect("a block below their number");
        let (words, _) = block.as_chunks_mut::<8>();
        for (word, mask) in bits(*hash, probes) {
            let bytes = words.get_mut(word).expect("nine bits of a 512-bit block");
            *bytes = (u64::from_le_bytes(*bytes) | mask).to_le_bytes();
        }
    }
    for (number, page) in (first..).zip(out.chunks_exact_mut(PAGE_LEN)) {
        seal_page(file_salt, number, page);
    }
    out
}

#[cfg(test)]
mod tests;
