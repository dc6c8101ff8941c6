//! What all handles of a database share, and what they do alike.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use vfs::sync::atomic::{AtomicBool, Ordering};

use crate::close;
use crate::error::{Error, Result};
use crate::pins::Pin;
use crate::range::{self, Range};
use crate::replay::RecoveryReport;
use crate::state::State;

/// What every handle shares; dropping the last one closes the database.
pub(crate) struct Shared {
    pub(crate) state: Arc<State>,
    recovery: RecoveryReport,
    closing: AtomicBool,
}

impl Shared {
    pub(crate) fn new(state: Arc<State>, recovery: RecoveryReport) -> Shared {
        Shared { state, recovery, closing: AtomicBool::new(false) }
    }

    /// What the open met.
    pub(crate) fn recovery(&self) -> &RecoveryReport {
        &self.recovery
    }

    /// Closes the database. `Closed` if that was done before.
    pub(crate) fn close(&self) -> Result<()> {
        if self.closing.swap(true, Ordering::AcqRel) {
            return Err(Error::closed());
        }
        close::close(&self.state)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Whoever wants to know calls `close`.
        drop(self.close());
    }
}

pub(crate) fn new_range<K: AsRef<[u8]>>(
    state: &Arc<State>,
    pin: Arc<Pin>,
    keyspace: u32,
    range: &impl RangeBounds<K>,
) -> Range {
    let lower = range.start_bound().map(AsRef::as_ref);
    let upper = range.end_bound().map(AsRef::as_ref);
    Range::new(state, pin, keyspace, lower, upper, None)
}

pub(crate) fn new_prefix(state: &Arc<State>, pin: Arc<Pin>, keyspace: u32, prefix: &[u8]) -> Range {
    let end = range::prefix_end(prefix);
    let upper = end.as_ref().map(Vec::as_slice);
    Range::new(state, pin, keyspace, Bound::Included(prefix), upper, None)
}
