//! Locks and atomics of every crate above this one: the one seam at which a scheduler can come in.
//!
//! An ordinary build has `parking_lot` and `std` here, and nothing between. Compiled with
//! `--cfg shuttle` or `--cfg loom` the same names lead to a scheduler that decides at each of them
//! which thread goes on: package `schedules` explores the store that way. `Arc`, `Weak` and the
//! simulated disk stay what they are: nobody can be stopped half way through them.

#[cfg(any(shuttle, loom))]
mod model;

#[cfg(not(any(shuttle, loom)))]
pub use std::sync::{OnceLock, atomic};

#[cfg(not(any(shuttle, loom)))]
pub use parking_lot::{
    Condvar, Mutex, MutexGuard, ReentrantMutex, ReentrantMutexGuard, RwLock, RwLockReadGuard,
    RwLockWriteGuard,
};

#[cfg(any(shuttle, loom))]
pub use self::model::{
    Condvar, Mutex, MutexGuard, OnceLock, ReentrantMutex, ReentrantMutexGuard, RwLock,
    RwLockReadGuard, RwLockWriteGuard, atomic,
};

/// Whether the store is to make this mistake, so that a model can prove that it would find it.
/// Never, but under the scheduler, where one can be planted.
#[cfg(not(shuttle))]
#[inline(always)]
pub const fn mistake(_name: &str) -> bool {
    false
}

#[cfg(shuttle)]
pub use self::model::{mistake, plant};

#[cfg(all(loom, not(shuttle)))]
pub use self::model::atomic::weaken;
