//! Waking many threads at once.
//!
//! `parking_lot`'s condition variable wakes one, which wakes the next as it lets go of the mutex:
//! eight threads that wait for one sync were on their way again after eight wake-ups in a row, which
//! took as long as the sync. Here the system wakes all of them in one call.

#[cfg(not(any(shuttle, loom)))]
use std::sync::{Condvar, Mutex, PoisonError};

#[cfg(any(shuttle, loom))]
use super::{Condvar, Mutex};

/// Rings for everybody who waits.
///
/// ```
/// let bell = vfs::sync::Bell::default();
/// let heard = bell.rung();
/// bell.ring();
/// bell.wait(heard); // returns: it has rung since
/// ```
#[derive(Debug)]
pub struct Bell {
    rung: Mutex<u64>,
    rings: Condvar,
}

impl Default for Bell {
    fn default() -> Bell {
        Bell { rung: Mutex::new(0), rings: Condvar::new() }
    }
}

#[cfg(not(any(shuttle, loom)))]
impl Bell {
    /// How often it has rung.
    pub fn rung(&self) -> u64 {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes everybody.
    pub fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.rings.notify_all();
    }

    /// Returns when it has rung more often than that. May return early.
    pub fn wait(&self, heard: u64) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        if *rung == heard {
            drop(self.rings.wait(rung).unwrap_or_else(PoisonError::into_inner));
        }
    }
}

#[cfg(any(shuttle, loom))]
impl Bell {
    /// How often it has rung.
    pub fn rung(&self) -> u64 {
        *self.rung.lock()
    }

    /// Wakes everybody.
    pub fn ring(&self) {
        *self.rung.lock() += 1;
        self.rings.notify_all();
    }

    /// Returns when it has rung more often than that. May return early.
    pub fn wait(&self, heard: u64) {
        let mut rung = self.rung.lock();
        if *rung == heard {
            self.rings.wait(&mut rung);
        }
    }
}
