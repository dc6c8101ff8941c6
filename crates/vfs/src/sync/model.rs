//! The same names under a scheduler: its locks, with the interface of `parking_lot`.
//!
//! A thread that panics ends the schedule, so poisoned locks are of no interest. Formatting takes
//! no lock: it must not be a point at which threads change.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

#[cfg(not(shuttle))]
use loom::{sync as scheduled, thread};
#[cfg(shuttle)]
use shuttle::{sync as scheduled, thread};

use self::atomic::{AtomicBool, Ordering};

#[cfg(not(shuttle))]
pub mod weak;

#[cfg(not(shuttle))]
pub use self::weak as atomic;

#[cfg(shuttle)]
pub mod atomic {
    //! The scheduler's atomics.

    pub use shuttle::sync::atomic::*;
}

/// Lets another thread run.
pub fn yield_now() {
    thread::yield_now();
}

/// As `parking_lot::Mutex`.
pub struct Mutex<T>(scheduled::Mutex<T>);

/// As `parking_lot::MutexGuard`.
pub struct MutexGuard<'a, T> {
    /// `None` only while a condition variable has it.
    inner: Option<scheduled::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    /// A free lock.
    pub fn new(value: T) -> Mutex<T> {
        Mutex(scheduled::Mutex::new(value))
    }

    /// Waits for the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        MutexGuard { inner: Some(inner) }
    }

    /// The lock, if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok().map(|inner| MutexGuard { inner: Some(inner) })
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mutex")
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.inner.as_ref().expect("held but in a wait")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_mut().expect("held but in a wait")
    }
}

/// As `parking_lot::Condvar`.
pub struct Condvar(scheduled::Condvar);

impl Condvar {
    /// Nobody waits.
    #[expect(clippy::new_without_default, reason = "as much as is used")]
    pub fn new() -> Condvar {
        Condvar(scheduled::Condvar::new())
    }

    /// Lets go of the lock, waits, takes it again.
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let inner = guard.inner.take().expect("held but in a wait");
        guard.inner = Some(self.0.wait(inner).unwrap_or_else(PoisonError::into_inner));
    }

    /// Wakes one.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Condvar")
    }
}

/// As `parking_lot::RwLock`.
pub struct RwLock<T>(scheduled::RwLock<T>);

/// As `parking_lot::RwLockReadGuard`.
pub type RwLockReadGuard<'a, T> = scheduled::RwLockReadGuard<'a, T>;

/// As `parking_lot::RwLockWriteGuard`.
pub type RwLockWriteGuard<'a, T> = scheduled::RwLockWriteGuard<'a, T>;

impl<T> RwLock<T> {
    /// A free lock.
    pub fn new(value: T) -> RwLock<T> {
        RwLock(scheduled::RwLock::new(value))
    }

    /// Waits until nobody writes.
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody reads or writes.
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> RwLock<T> {
        RwLock::new(T::default())
    }
}

impl<T> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RwLock")
    }
}

/// As `std::sync::OnceLock`; a second one that fills waits for the first, and others are asked
/// meanwhile.
pub struct OnceLock<T> {
    value: std::sync::OnceLock<T>,
    is_set: AtomicBool,
    filling: Mutex<()>,
}

impl<T> OnceLock<T> {
    /// Empty.
    pub fn new() -> OnceLock<T> {
        let (value, is_set) = (std::sync::OnceLock::new(), AtomicBool::new(false));
        OnceLock { value, is_set, filling: Mutex::new(()) }
    }

    /// What it was set to.
    pub fn get(&self) -> Option<&T> {
        if self.is_set.load(Ordering::Acquire) { self.value.get() } else { None }
    }

    /// Fills it, or gives the value back.
    pub fn set(&self, value: T) -> Result<(), T> {
        let _filling = self.filling.lock();
        self.value.set(value)?;
        self.is_set.store(true, Ordering::Release);
        Ok(())
    }

    /// What it holds, by `init` if that is nothing.
    pub fn get_or_init(&self, init: impl FnOnce() -> T) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        let _filling = self.filling.lock();
        if self.value.get().is_none() {
            assert!(self.value.set(init()).is_ok(), "one at a time fills it");
            self.is_set.store(true, Ordering::Release);
        }
        self.value.get().expect("it is filled")
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> OnceLock<T> {
        OnceLock::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// As `parking_lot::ReentrantMutex`.
pub struct ReentrantMutex<T> {
    owner: Mutex<Owner>,
    freed: Condvar,
    value: T,
}

#[derive(Default)]
struct Owner {
    thread: Option<thread::ThreadId>,
    depth: usize,
}

/// As `parking_lot::ReentrantMutexGuard`.
pub struct ReentrantMutexGuard<'a, T> {
    lock: &'a ReentrantMutex<T>,
}

impl<T> ReentrantMutex<T> {
    /// Waits for the lock. Time does not pass here: who waits gets it in the end.
    pub fn try_lock_for(&self, _time: Duration) -> Option<ReentrantMutexGuard<'_, T>> {
        let me = thread::current().id();
        let mut owner = self.owner.lock();
        while owner.thread.is_some_and(|thread| thread != me) {
            self.freed.wait(&mut owner);
        }
        owner.thread = Some(me);
        owner.depth += 1;
        drop(owner);
        Some(ReentrantMutexGuard { lock: self })
    }
}

impl<T: Default> Default for ReentrantMutex<T> {
    fn default() -> ReentrantMutex<T> {
        let (owner, freed) = (Mutex::default(), Condvar::new());
        ReentrantMutex { owner, freed, value: T::default() }
    }
}

impl<T> Deref for ReentrantMutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.lock.value
    }
}

impl<T> Drop for ReentrantMutexGuard<'_, T> {
    fn drop(&mut self) {
        let mut owner = self.lock.owner.lock();
        owner.depth -= 1;
        if owner.depth == 0 {
            owner.thread = None;
            self.lock.freed.notify_one();
        }
    }
}

#[cfg(shuttle)]
mod planted {
    use std::cell::Cell;

    thread_local! {
        static PLANTED: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    /// Whether the store is to make this mistake.
    pub fn mistake(name: &str) -> bool {
        PLANTED.get() == Some(name)
    }

    /// Makes the store make a mistake, in every schedule that this thread explores.
    pub fn plant(name: Option<&'static str>) {
        PLANTED.set(name);
    }
}

#[cfg(shuttle)]
pub use self::planted::{mistake, plant};

/// As the pointer of an ordinary build, behind a lock: what is explored is who sees which value.
#[derive(Debug)]
pub struct Swap<T>(RwLock<Arc<T>>);

impl<T> Swap<T> {
    /// Points to `value`.
    pub fn new(value: Arc<T>) -> Swap<T> {
        Swap(RwLock::new(value))
    }

    /// The newest value, for a moment.
    pub fn look(&self) -> impl Deref<Target = Arc<T>> {
        Looked(self.get())
    }

    /// The newest value, to keep.
    pub fn get(&self) -> Arc<T> {
        self.0.read().clone()
    }

    /// Points to `value` from now on.
    pub fn set(&self, value: Arc<T>) {
        *self.0.write() = value;
    }
}

struct Looked<T>(Arc<T>);

impl<T> Deref for Looked<T> {
    type Target = Arc<T>;

    fn deref(&self) -> &Arc<T> {
        &self.0
    }
}
