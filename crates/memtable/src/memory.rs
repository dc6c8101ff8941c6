//! Memory of a fixed length, zeroed; what is large lies in huge pages where the system has them.
//!
//! A table of some 64 MiB is touched all over by every insert. In pages of 4 KiB each of those
//! touches misses the translation cache too, and the first touch of each page is a fault; in pages
//! of 2 MiB the table needs a few dozen translations and as many faults
//! (decision 0009).

use std::ops::{Deref, DerefMut};

#[cfg(target_os = "linux")]
use memmap2::Advice;
use memmap2::MmapMut;

/// A huge page. Memory of at least this length is mapped by itself.
pub(crate) const HUGE_BYTES: usize = 2 << 20;

/// Zeroed bytes that never move.
pub(crate) enum Memory {
    Heap(Box<[u8]>),
    Mapped(MmapMut),
}

impl Memory {
    /// `len` bytes, all 0.
    ///
    /// Running out of memory ends the process, as everywhere in the standard collections; a system
    /// that gives no mapping is asked for heap instead.
    pub(crate) fn zeroed(len: usize) -> Memory {
        if len < HUGE_BYTES {
            return Memory::heap(len);
        }
        let Ok(mapping) = MmapMut::map_anon(len) else { return Memory::heap(len) };
        // Advice: refused where there are no huge pages, and then these are ordinary pages.
        #[cfg(target_os = "linux")]
        let _ = mapping.advise(Advice::HugePage);
        Memory::Mapped(mapping)
    }

    fn heap(len: usize) -> Memory {
        Memory::Heap(vec![0; len].into_boxed_slice())
    }

    /// No bytes.
    pub(crate) fn empty() -> Memory {
        Memory::heap(0)
    }
}

impl Deref for Memory {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Memory::Heap(bytes) => bytes,
            Memory::Mapped(mapping) => mapping,
        }
    }
}

impl DerefMut for Memory {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Memory::Heap(bytes) => bytes,
            Memory::Mapped(mapping) => mapping,
        }
    }
}

#[cfg(test)]
mod tests;
