//! Memory of tables that are gone, for tables to come.
//!
//! The system gives out memory zeroed: writing those zeros took a fifth of the time of an
//! unsynced put of 150 bytes. A table writes every byte before it reads it, so it can as well
//! have the memory of one that was flushed.

use std::fmt;
use std::sync::Arc;

use crate::memory::{HUGE_BYTES, Memory};
use crate::sync::LeafMutex;

/// Keeps the large pieces of memory of tables that were dropped, up to a limit, and gives them to
/// tables that grow. Cheap to clone; clones are one pool. The default keeps nothing. What a pool holds is freed with its last
/// clone, and every table holds one.
///
/// ```
/// use memtable::{Memtable, Order, Pool};
///
/// let pool = Pool::new(64 << 20);
/// let table = Memtable::new_in(Order::Ordered, &pool);
/// drop(table); // small as it is, it leaves nothing
/// assert_eq!(pool.bytes(), 0);
/// ```
#[derive(Clone, Default)]
pub struct Pool(Option<Arc<Inner>>);

struct Inner {
    pieces_max: usize,
    pieces: LeafMutex<Vec<Memory>>,
}

impl Pool {
    /// An empty pool that will hold at most `bytes`, rounded down to 2 MiB.
    #[must_use]
    pub fn new(bytes: u64) -> Pool {
        let pieces_max = usize::try_from(bytes / HUGE_BYTES as u64).unwrap_or(usize::MAX);
        let inner = || Arc::new(Inner { pieces_max, pieces: LeafMutex::default() });
        Pool((pieces_max > 0).then(inner))
    }

    /// Memory held for tables to come.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let pieces = self.0.as_ref().map_or(0, |pool| pool.pieces.lock().len());
        (pieces * HUGE_BYTES) as u64
    }

    /// A piece of the one size that is kept, with anything in it.
    pub(crate) fn take(&self) -> Option<Memory> {
        self.0.as_ref()?.pieces.lock().pop()
    }

    /// Keeps a piece, or frees it.
    pub(crate) fn give(&self, memory: Memory) {
        let Some(pool) = self.0.as_ref().filter(|_| memory.len() == HUGE_BYTES) else { return };
        let mut pieces = pool.pieces.lock();
        if pieces.len() < pool.pieces_max {
            pieces.push(memory);
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pieces_max = self.0.as_ref().map_or(0, |pool| pool.pieces_max);
        f.debug_struct("Pool").field("pieces_max", &pieces_max).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
