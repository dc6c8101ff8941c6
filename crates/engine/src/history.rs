//! What open transactions still need to know of generations that were flushed meanwhile.
//!
//! 1. A transaction is registered before it takes its view, with a seq that is not above the one
//!    it will read at.
//! 2. A flush hands its generation over before the view loses it, so whoever looks into the view
//!    first and here second misses nothing.
//! 3. What is kept is bounded: beyond the bound the oldest transaction has lost.

use std::sync::Arc;

use memtable::Memtable;
use vfs::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, ErrorKind, Result};
use crate::view::Generation;

/// An open transaction.
pub(crate) struct Ticket {
    /// It reads at this seq or above.
    since: u64,
    lost: AtomicBool,
}

impl Ticket {
    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

/// A flushed generation.
struct Kept {
    last_seq: u64,
    bytes: u64,
    memtables: Memtables,
}

/// Memtables by keyspace.
pub(crate) type Memtables = Vec<(u32, Arc<Memtable>)>;

/// The open transactions and what is kept for them.
#[derive(Default)]
pub(crate) struct History {
    /// Oldest first.
    open: Vec<Arc<Ticket>>,
    /// Oldest first.
    kept: Vec<Kept>,
}

impl History {
    /// Registers a transaction that will read at `since` or above.
    pub(crate) fn begin(&mut self, since: u64) -> Arc<Ticket> {
        let ticket = Arc::new(Ticket { since, lost: AtomicBool::new(false) });
        self.open.push(ticket.clone());
        ticket
    }

    /// Lets go of what only this transaction needed.
    pub(crate) fn end(&mut self, ticket: &Arc<Ticket>) {
        self.open.retain(|open| !Arc::ptr_eq(open, ticket));
        self.prune();
    }

    /// Takes over a generation that is about to leave the view, if an open transaction began
    /// before its end. Lets the oldest transactions lose until the rest needs at most
    /// `bytes_max`.
    pub(crate) fn flushed(&mut self, generation: &Generation, bytes_max: u64) {
        let last_seq = generation.last_seq();
        if self.open.iter().all(|open| open.is_lost() || last_seq <= open.since) {
            return;
        }
        let memtables = generation.memtables.read().clone();
        self.kept.push(Kept { last_seq, bytes: generation.bytes(), memtables });
        while self.bytes() > bytes_max {
            let oldest = self.open.iter().find(|open| !open.is_lost());
            let oldest = oldest.expect("what is kept is kept for somebody");
            oldest.lost.store(true, Ordering::Relaxed);
            self.prune();
        }
    }

    /// Every memtable kept that a transaction must look at. `Conflict` if it is too old.
    pub(crate) fn since(&self, ticket: &Ticket) -> Result<Memtables> {
        if ticket.is_lost() {
            let message = "transaction conflict: what was written and flushed since it began \
                takes more than option txn_history_bytes";
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let newer = self.kept.iter().filter(|kept| ticket.since < kept.last_seq);
        Ok(newer.flat_map(|kept| kept.memtables.iter().cloned()).collect())
    }

    /// Bytes of the memtables kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.kept.iter().map(|kept| kept.bytes).sum()
    }

    /// How many transactions are open.
    pub(crate) fn open_count(&self) -> usize {
        self.open.len()
    }

    fn prune(&mut self) {
        let waiting = self.open.iter().filter(|open| !open.is_lost());
        match waiting.map(|open| open.since).min() {
            Some(oldest) => self.kept.retain(|kept| oldest < kept.last_seq),
            None => self.kept.clear(),
        }
    }
}
