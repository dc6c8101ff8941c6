//! Finds a fingerprint in the sorted column of a page: interpolation, then a scan in blocks.
//!
//! Hashes are even, so the guess is off by a few entries (half the square root of the count, in
//! the mean). A block of 16 is judged without a branch, in a form that compilers turn into vector
//! code; [`lower_bound_plain`] is its twin without tricks, for the tests.

#[cfg(test)]
mod tests;

use crate::format::PAGE_HEADER_LEN;

/// Fingerprints judged at once: those of one cache line.
const BLOCK: usize = 16;
/// Fingerprints on the line of the page's header: the first block.
const FIRST: usize = 10;
const _: () = assert!(PAGE_HEADER_LEN + FIRST * 4 == BLOCK * 4, "blocks are cache lines");

/// The index of the first of the ascending `column` of 32-bit numbers that is not below `target`;
/// their count if all are. `guess` may be anything: it only decides where the search starts.
#[inline]
pub(crate) fn lower_bound(column: &[u8], target: u32, guess: usize) -> usize {
    let (numbers, _) = column.as_chunks::<4>();
    let mut start = block_of(guess.min(numbers.len().saturating_sub(1)));
    let mut from_below = false;
    loop {
        let rest = numbers.get(start..).unwrap_or(&[]);
        let len = if start == 0 { FIRST } else { BLOCK };
        let part = rest.get(..len).unwrap_or(rest);
        let below = count_below(part, target);
        if below == part.len() && start + below < numbers.len() {
            start += below;
            from_below = true;
        } else if below == 0 && start > 0 && !from_below {
            start = block_of(start - 1);
        } else {
            return start + below;
        }
    }
}

/// Where the block of number `index` starts.
#[inline]
fn block_of(index: usize) -> usize {
    ((index + BLOCK - FIRST) / BLOCK * BLOCK).saturating_sub(BLOCK - FIRST)
}

#[inline]
fn count_below(part: &[[u8; 4]], target: u32) -> usize {
    let below = |number: &[u8; 4]| u32::from(u32::from_le_bytes(*number) < target);
    if let Some(block) = part.first_chunk::<BLOCK>() {
        return block.iter().map(below).sum::<u32>() as usize;
    }
    part.iter().map(below).sum::<u32>() as usize
}

/// As [`lower_bound`], by looking at every one.
#[cfg(test)]
pub(crate) fn lower_bound_plain(column: &[u8], target: u32) -> usize {
    let numbers = column.as_chunks::<4>().0.iter();
    numbers.take_while(|number| u32::from_le_bytes(**number) < target).count()
}

/// The index of the first of `count` ascending numbers, told by `number`, that is not below
/// `target`. For the wide columns of small files.
#[inline]
pub(crate) fn lower_bound_wide(count: usize, target: u64, number: impl Fn(usize) -> u64) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if number(middle) < target {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
