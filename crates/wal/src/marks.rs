//! A bit for what starts in each few bytes of a segment: what a reader has verified.

use vfs::sync::OnceLock;
use vfs::sync::atomic::{AtomicU64, Ordering};

/// What is marked takes at least so many bytes: two that start in the same have one mark.
pub const MARK_BYTES: usize = 32;

/// Marks of one segment. Takes memory when the first is set: 4 KiB for each MiB of the segment.
#[derive(Debug, Default)]
pub(crate) struct Marks(OnceLock<Vec<AtomicU64>>);

impl Marks {
    /// Sets the mark of `offset`, in a segment of `len` bytes.
    #[inline]
    pub(crate) fn set(&self, offset: u64, len: usize) {
        let words = self.0.get_or_init(|| {
            let words = len.div_ceil(MARK_BYTES * 64);
            (0..words).map(|_| AtomicU64::new(0)).collect()
        });
        let (word, bit) = place(offset);
        if let Some(word) = words.get(word) {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(crate) fn get(&self, offset: u64) -> bool {
        let (word, bit) = place(offset);
        // Nothing is published through the bit: the bytes are the file's either way.
        let word = self.0.get().and_then(|words| words.get(word));
        word.is_some_and(|word| word.load(Ordering::Relaxed) & bit != 0)
    }

    /// Asks for the mark's memory.
    #[inline]
    pub(crate) fn prefetch(&self, offset: u64) {
        if let Some(word) = self.0.get().and_then(|words| words.get(place(offset).0)) {
            vfs::prefetch_of(word);
        }
    }
}

fn place(offset: u64) -> (usize, u64) {
    let number = offset / MARK_BYTES as u64;
    (usize::try_from(number / 64).unwrap_or(usize::MAX), 1 << (number % 64))
}

#[cfg(test)]
mod tests;
