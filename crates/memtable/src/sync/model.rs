//! The same names under a scheduler.

use std::sync::PoisonError;

#[cfg(not(shuttle))]
use loom::sync as scheduled;
#[cfg(shuttle)]
use shuttle::sync as scheduled;

pub(crate) use self::scheduled::atomic::Ordering;

#[cfg(shuttle)]
pub(crate) use self::scheduled::atomic::{AtomicBool, AtomicU64};

#[cfg(not(shuttle))]
mod weak;

#[cfg(not(shuttle))]
pub use self::weak::weaken;
#[cfg(not(shuttle))]
pub(crate) use self::weak::{AtomicBool, AtomicU64};

/// As `parking_lot::RwLock`.
pub(crate) struct RwLock<T>(scheduled::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> RwLock<T> {
        RwLock(scheduled::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> scheduled::RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> scheduled::RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As `std::sync::OnceLock`, as far as a table uses it: one thread sets it, under a lock.
pub(crate) struct OnceLock<T> {
    value: std::sync::OnceLock<T>,
    is_set: AtomicBool,
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> OnceLock<T> {
        OnceLock { value: std::sync::OnceLock::new(), is_set: AtomicBool::new(false) }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        if self.is_set.load(Ordering::Acquire) { self.value.get() } else { None }
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        self.value.set(value)?;
        self.is_set.store(true, Ordering::Release);
        Ok(())
    }
}
