//! Finds a fingerprint in the sorted column of a page: interpolation, then a scan in blocks.
//!
//! Hashes are even, so the guess is off by a few entries (half the square root of the count, in
//! the mean). A block of 16 is judged without a branch, in a form that compilers turn into vector
//! code; [`lower_bound_plain`] is its twin without tricks, for the tests.

#[cfg(test)]
mod tests;

/// Fingerprints judged at once: one cache line.
const BLOCK: usize = 16;

/// The index of the first of the ascending `column` of 32-bit numbers that is not below `target`;
/// their count if all are. `guess` may be anything: it only decides where the search starts.
#[inline]
pub(crate) fn lower_bound(column: &[u8], target: u32, guess: usize) -> usize {
    let (numbers, _) = column.as_chunks::<4>();
    let mut block = guess.min(numbers.len().saturating_sub(1)) / BLOCK;
    let mut from_below = false;
    loop {
        let start = block * BLOCK;
        let part = numbers.get(start..).unwrap_or(&[]);
        let part = part.get(..BLOCK).unwrap_or(part);
        let below = count_below(part, target);
        if below == part.len() && start + below < numbers.len() {
            block += 1;
            from_below = true;
        } else if below == 0 && block > 0 && !from_below {
            block -= 1;
        } else {
            return start + below;
        }
    }
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
