//! What a body may use: memory, time, stack. Bars R9 and R10, rows 68 and 69.
//!
//! A body runs in a thread of its own, whose stack is small and whose allocations are counted: by
//! [`Counting`], which a binary must install as its global allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// No body may ever hold more: an allocation beyond it is refused, which ends the process.
pub const HARD_BYTES: usize = 64 << 20;
/// What any file may cost, however short.
const FLOOR_BYTES: usize = 1 << 20;
/// What a file may cost for each of its bytes.
const FACTOR: usize = 16;
/// Of a body's thread. A debug build without optimisation needs more than a release build.
const STACK_BYTES: usize = if cfg!(debug_assertions) { 1 << 20 } else { 256 << 10 };
/// Processor time that a fuzz target gives to one input.
pub const TIME_MAX: Duration = Duration::from_secs(1);

thread_local! {
    /// Bytes that this thread holds, less those it freed for others: below 0, if it did that only.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    /// The most it ever held since the mark was set.
    static PEAK: Cell<isize> = const { Cell::new(0) };
    /// True in the thread of a body: there [`HARD_BYTES`] holds.
    static LIMITED: Cell<bool> = const { Cell::new(false) };
}

/// The system's allocator, counting what each thread holds.
#[derive(Debug)]
pub struct Counting;

impl Counting {
    fn take(len: usize) -> bool {
        let live = LIVE.get().saturating_add_unsigned(len);
        // What a panic says of itself takes memory too, and must not end in a second one.
        if live > HARD && LIMITED.get() && !thread::panicking() {
            return false;
        }
        LIVE.set(live);
        PEAK.set(PEAK.get().max(live));
        true
    }

    fn give(len: usize) {
        LIVE.set(LIVE.get().saturating_sub_unsigned(len));
    }
}

const HARD: isize = HARD_BYTES.cast_signed();

// SAFETY: every call goes to the system's allocator unchanged or is refused with a null pointer;
// counting touches thread-local numbers without destructors and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !Counting::take(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !Counting::take(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Counting::give(layout.size());
        // SAFETY: `pointer` came from this allocator, hence from the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What opening and reading files of so many bytes may hold: R9.
pub fn allowance(file_bytes: usize) -> usize {
    FLOOR_BYTES.max(FACTOR.saturating_mul(file_bytes))
}

/// The result of `work`, which may hold [`allowance`] more than what is held now.
///
/// # Panics
/// If it held more. Without [`Counting`] nothing is seen.
#[track_caller]
pub fn bounded<T>(file_bytes: usize, work: impl FnOnce() -> T) -> T {
    within(allowance(file_bytes), work)
}

/// The result of `work`, which may hold so many bytes more than what is held now.
///
/// # Panics
/// If it held more.
#[track_caller]
pub fn within<T>(bytes_max: usize, work: impl FnOnce() -> T) -> T {
    let (before, outer) = (LIVE.get(), PEAK.get());
    PEAK.set(before);
    let result = work();
    let held = PEAK.get() - before;
    assert!(held <= bytes_max.cast_signed(), "{held} bytes were held, {bytes_max} are allowed");
    PEAK.set(PEAK.get().max(outer));
    result
}

/// How a body is judged beside what it asserts itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judge {
    /// Memory and stack only: the machine may be slow, the build too.
    Space,
    /// Also the processor time, which may come to this.
    SpaceAndTime(Duration),
}

/// Processor time of this thread so far.
fn time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("a thread's time is not negative")
}

/// Runs a body with an input, in a thread with a small stack, holding at most `bytes_max`.
///
/// # Panics
/// If the body does, or uses more than it may.
pub fn run(body: fn(&[u8]), data: &[u8], bytes_max: usize, judge: Judge) {
    let limited = || {
        LIMITED.set(true);
        within(bytes_max.min(HARD_BYTES), || body(data));
        if let Judge::SpaceAndTime(max) = judge {
            let time = time();
            assert!(time <= max, "{time:?} of processor time, {max:?} are allowed");
        }
        LIMITED.set(false);
    };
    thread::scope(|scope| {
        let builder = thread::Builder::new().stack_size(STACK_BYTES);
        let body = builder.spawn_scoped(scope, limited).expect("a thread starts");
        if let Err(panic) = body.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

#[cfg(test)]
mod tests;
