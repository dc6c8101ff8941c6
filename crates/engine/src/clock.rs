//! The time as readers were told it, and how much of that is written down.
//!
//! reader meets an expired entry -> `met` -> the next logged batch, sync or MANIFEST edit writes it down
//!
//! 1. While a database is open its time never goes back, whatever the wall clock does.
//! 2. An entry that a reader saw expired stays so after a crash and under a clock that was set back, if
//!    anything that was logged or edited after it is durable: the time goes with it, in its frame.
//!
//! A reader pays a comparison, and only when it meets an entry that has expired.

use vfs::sync::atomic::{AtomicU64, Ordering};

/// Times in milliseconds since 1970.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// The latest that anybody was told.
    told: AtomicU64,
    /// The latest expiry of an entry that somebody saw expired.
    met: AtomicU64,
    /// What is in the log or the MANIFEST, or in a frame or edit on its way there.
    written: AtomicU64,
}

impl Clock {
    /// One that goes on where an earlier open stopped.
    pub(crate) fn starting_at(ms: u64) -> Clock {
        let clock = Clock::default();
        clock.told.store(ms, Ordering::Relaxed);
        clock.written.store(ms, Ordering::Relaxed);
        clock
    }

    /// Never less than anybody was told before.
    pub(crate) fn tell(&self, wall_ms: u64) -> u64 {
        self.told.fetch_max(wall_ms, Ordering::Relaxed).max(wall_ms)
    }

    /// The latest time anybody was told.
    pub(crate) fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }

    /// Somebody is about to say that an entry with this expiry has expired.
    pub(crate) fn met(&self, expiry: u64) {
        if self.met.load(Ordering::Relaxed) < expiry {
            self.met.fetch_max(expiry, Ordering::Relaxed);
        }
    }

    /// The time to write down, if an answer rests on one that is not.
    pub(crate) fn due(&self) -> Option<u64> {
        let is_due = self.met.load(Ordering::Relaxed) > self.written.load(Ordering::Relaxed);
        is_due.then(|| self.told())
    }

    /// A frame or an edit holds this time.
    pub(crate) fn wrote(&self, ms: u64) {
        self.written.fetch_max(ms, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
