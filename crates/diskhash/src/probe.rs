//! Finds a fingerprint in the sorted column of a page: interpolation, then a scan in blocks.
//!
//! Hashes are even, so the guess is off by a few entries (half the square root of the count, in
//! the mean). A window of 32 about it is judged without a branch, in a form that compilers turn into
//! vector code; it holds the place 19 times in 20. [`lower_bound_plain`] is the twin without
//! tricks, for the tests.

#[cfg(test)]
mod tests;

/// Fingerprints judged at once: two cache lines of them.
const WINDOW: usize = 32;

/// The index of the first of the ascending `column` of 32-bit numbers that is not below `target`;
/// their count if all are. `guess` may be anything: it only decides where the search starts.
#[inline]
pub(crate) fn lower_bound(column: &[u8], target: u32, guess: usize) -> usize {
    let (numbers, _) = column.as_chunks::<4>();
    let last_start = numbers.len().saturating_sub(WINDOW);
    let mut start = guess.saturating_sub(WINDOW / 2).min(last_start);
    let mut from_below = false;
    loop {
        let rest = numbers.get(start..).unwrap_or(&[]);
        let below = match rest.first_chunk::<WINDOW>() {
            Some(window) => count_below(window, target),
            None => count_below(rest, target),
        };
        if below == WINDOW && start < last_start {
            start = (start + WINDOW).min(last_start);
            from_below = true;
        } else if below == 0 && start > 0 && !from_below {
            start = start.saturating_sub(WINDOW);
        } else {
            return start + below;
        }
    }
}

#[inline]
fn count_below(part: &[[u8; 4]], target: u32) -> usize {
    let below = |number: &[u8; 4]| u32::from(u32::from_le_bytes(*number) < target);
    part.iter().map(below).fold(0_u32, u32::wrapping_add) as usize
}

/// As [`lower_bound`], by looking at every one.
#[cfg(test)]
pub(crate) fn lower_bound_plain(column: &[u8], target: u32) -> usize {
    let numbers = column.as_chunks::<4>().0.iter();
    numbers.take_while(|number| u32::from_le_bytes(**number) < target).count()
}

/// The index of the first of `count` ascending numbers, told by `number`, that is not below
/// `target`. For the wide columns of small files. `guess` may be anything, as above.
#[inline]
pub(crate) fn lower_bound_wide(
    count: usize,
    target: u64,
    guess: usize,
    number: impl Fn(usize) -> u64,
) -> usize {
    let mut low = guess.saturating_sub(WINDOW / 2).min(count);
    let mut high = (low + WINDOW).min(count);
    if low > 0 && number(low - 1) >= target {
        (low, high) = (0, low - 1);
    } else if high < count && number(high) < target {
        (low, high) = (high + 1, count);
    }
    // Branch-free: the comparison is a coin toss.
    let mut len = high - low;
    while len > 0 {
        let half = len.div_ceil(2);
        low += if number(low + half - 1) < target { half } else { 0 };
        len -= half;
    }
    low
}
