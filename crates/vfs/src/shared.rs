//! Bytes of which many threads hold slices at once.
//!
//! [`Bytes`] counts its slices in one place: two threads that take slices of one mapping write to
//! one cache line in turn, and a read of memory that nobody changes gets slower with every core.
//! Here a thread counts in one of sixteen places, each in cache lines of its own.

use std::cell::Cell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, Range};
use std::sync::OnceLock;
use std::thread;

use bytes::Bytes;

/// Places to count slices in.
const COUNTERS: usize = 16;

/// The bytes of a mapping, to take slices of. A slice keeps the mapping, as one of [`Bytes`] does.
///
/// ```
/// use vfs::{Bytes, SharedBytes};
///
/// let shared = SharedBytes::new(Bytes::from_static(b"lotus pond"));
/// let pond = shared.slice(6..10);
/// drop(shared);
/// assert_eq!(*pond, *b"pond");
/// ```
pub struct SharedBytes {
    whole: Bytes,
    /// The same bytes, counted apart, made when a thread first needs them.
    counted: Box<[OnceLock<Bytes>; COUNTERS]>,
}

impl SharedBytes {
    /// Takes bytes over.
    pub fn new(whole: Bytes) -> SharedBytes {
        SharedBytes { whole, counted: Box::new([const { OnceLock::new() }; COUNTERS]) }
    }

    /// A part of the bytes, without a copy.
    ///
    /// # Panics
    /// If the range is not inside the bytes.
    #[inline]
    pub fn slice(&self, part: Range<usize>) -> Bytes {
        let alone = || Bytes::from_owner(Alone(self.whole.clone()));
        self.counted[counter()].get_or_init(alone).slice(part)
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.whole
    }
}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedBytes").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// `Bytes` keeps its counter in front of the owner, in one allocation: as far apart as processors
/// fetch cache lines, which is two at a time.
#[repr(align(128))]
struct Alone(Bytes);

impl AsRef<[u8]> for Alone {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Some bytes of a file, in place if it is mapped. Unlike [`Bytes`] it counts nothing until a
/// slice of it is kept.
#[derive(Debug)]
pub enum Part<'a> {
    /// Of a mapping.
    Mapped {
        /// All of it.
        whole: &'a SharedBytes,
        /// Where the part starts.
        start: usize,
        /// The part.
        bytes: &'a [u8],
    },
    /// Read.
    Owned(Bytes),
}

impl<'a> Part<'a> {
    /// A part of a mapping; `None` if it is not inside.
    #[inline]
    pub fn of(whole: &'a SharedBytes, start: usize, len: usize) -> Option<Part<'a>> {
        let bytes = whole.get(start..start.checked_add(len)?)?;
        Some(Part::Mapped { whole, start, bytes })
    }

    /// A part of the part.
    ///
    /// # Panics
    /// If the range is not inside.
    #[inline]
    #[must_use]
    pub fn part(self, part: Range<usize>) -> Part<'a> {
        match self {
            Part::Mapped { whole, start, bytes } => {
                Part::Mapped { whole, start: start + part.start, bytes: &bytes[part] }
            }
            Part::Owned(bytes) => Part::Owned(bytes.slice(part)),
        }
    }

    /// A part of the part, to keep, without a copy.
    ///
    /// # Panics
    /// If the range is not inside.
    #[inline]
    pub fn slice(&self, part: Range<usize>) -> Bytes {
        assert!(part.start <= part.end && part.end <= self.len(), "inside the part");
        match self {
            Part::Mapped { whole, start, .. } => whole.slice(start + part.start..start + part.end),
            Part::Owned(bytes) => bytes.slice(part),
        }
    }

    /// The same for a slice that was taken of this part by reference.
    ///
    /// # Panics
    /// If it lies elsewhere.
    #[inline]
    pub fn slice_ref(&self, part: &[u8]) -> Bytes {
        let start = (part.as_ptr() as usize).checked_sub(self.as_ptr() as usize);
        let start = start.expect("a slice of this part");
        self.slice(start..start + part.len())
    }

    /// All of it, to keep.
    pub fn bytes(&self) -> Bytes {
        self.slice(0..self.len())
    }
}

impl Deref for Part<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Part::Mapped { bytes, .. } => bytes,
            Part::Owned(bytes) => bytes,
        }
    }
}

/// The counter of the calling thread. Threads that are started one after the other have different
/// ones.
#[inline]
fn counter() -> usize {
    thread_local! {
        static COUNTER: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    // A thread that ends takes any.
    COUNTER
        .try_with(|counter| {
            if counter.get() == usize::MAX {
                counter.set(number_of_thread() % COUNTERS);
            }
            counter.get()
        })
        .unwrap_or(0)
}

/// A thread's number. The library shows it only to a hasher.
#[cold]
fn number_of_thread() -> usize {
    struct Number(usize);

    impl Hasher for Number {
        fn write(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.0 = self.0.rotate_left(8) ^ usize::from(*byte);
            }
        }

        fn write_u64(&mut self, number: u64) {
            self.0 = usize::try_from(number % (1 << 20)).expect("it is small");
        }

        fn finish(&self) -> u64 {
            self.0 as u64
        }
    }

    let mut number = Number(0);
    thread::current().id().hash(&mut number);
    number.0
}

#[cfg(test)]
mod tests;
