//! Locks and atomics of every crate above this one: the one seam at which a scheduler can come in.
//!
//! An ordinary build has `parking_lot` and `std` here, and nothing between. Compiled with
//! `--cfg shuttle` or `--cfg loom` the same names lead to a scheduler that decides at each of them
//! which thread goes on: package `schedules` explores the store that way. `Arc`, `Weak` and the
//! simulated disk stay what they are: nobody can be stopped half way through them.

mod bell;
#[cfg(any(shuttle, loom))]
mod model;

#[cfg(not(any(shuttle, loom)))]
use std::{ops::Deref, sync::Arc};

pub use self::bell::Bell;

#[cfg(not(any(shuttle, loom)))]
pub use std::sync::{OnceLock, atomic};
#[cfg(not(any(shuttle, loom)))]
pub use std::thread::yield_now;

#[cfg(not(any(shuttle, loom)))]
pub use parking_lot::{
    Condvar, Mutex, MutexGuard, ReentrantMutex, ReentrantMutexGuard, RwLock, RwLockReadGuard,
    RwLockWriteGuard,
};

#[cfg(any(shuttle, loom))]
pub use self::model::{
    Condvar, Mutex, MutexGuard, OnceLock, ReentrantMutex, ReentrantMutexGuard, RwLock,
    RwLockReadGuard, RwLockWriteGuard, Swap, atomic, yield_now,
};

/// A shared pointer that is read all the time, by many threads, and replaced now and then. Who
/// reads it writes no memory that other threads use: a look leaves a mark in memory of its own
/// thread (`arc_swap`), and whoever replaces the pointer takes over what is marked.
#[cfg(not(any(shuttle, loom)))]
#[derive(Debug)]
pub struct Swap<T>(arc_swap::ArcSwap<T>);

#[cfg(not(any(shuttle, loom)))]
impl<T> Swap<T> {
    /// Points to `value`.
    pub fn new(value: Arc<T>) -> Swap<T> {
        Swap(arc_swap::ArcSwap::new(value))
    }

    /// The newest value, for a moment: a thread has few marks, and pays for more.
    #[inline]
    pub fn look(&self) -> impl Deref<Target = Arc<T>> {
        self.0.load()
    }

    /// The newest value, to keep.
    pub fn get(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// Points to `value` from now on. Two who replace it at once need a lock of their own.
    pub fn set(&self, value: Arc<T>) {
        self.0.store(value);
    }
}

/// Guesses what a thread meets next from what it met last, without memory that threads share.
/// Right or wrong, a guess changes nothing but the time that something takes. Under the scheduler
/// it is always the same: a schedule must lead to the same steps each time.
pub mod habit {
    #[cfg(not(any(shuttle, loom)))]
    use std::cell::Cell;

    #[cfg(not(any(shuttle, loom)))]
    thread_local! {
        static MET: Cell<bool> = const { Cell::new(true) };
    }

    /// What this thread noted last; true before it noted anything.
    #[inline]
    pub fn guess() -> bool {
        #[cfg(not(any(shuttle, loom)))]
        return MET.try_with(Cell::get).unwrap_or(true);
        #[cfg(any(shuttle, loom))]
        true
    }

    /// Takes note of what this thread met.
    #[inline]
    pub fn note(met: bool) {
        #[cfg(not(any(shuttle, loom)))]
        let _ = MET.try_with(|last| last.set(met));
        #[cfg(any(shuttle, loom))]
        let _ = met;
    }
}

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
