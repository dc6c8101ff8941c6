//! The real clock, randomness and threads.

#[cfg(test)]
mod tests;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle, ThreadId};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex};

use crate::env::{Clock, Env, Job, Next, Rng, Spawner, Step};
use crate::error::{Error, Result};

impl Env {
    /// The system's clock, random numbers from a generator that the system seeds, and threads.
    ///
    /// ```
    /// let env = vfs::Env::system();
    /// assert!(env.clock.mono() <= env.clock.mono());
    /// assert_ne!(env.rng.next_u64(), env.rng.next_u64());
    /// ```
    pub fn system() -> Env {
        Env {
            clock: Arc::new(SystemClock::new()),
            rng: Arc::new(SystemRng),
            spawner: Arc::new(ThreadSpawner),
        }
    }
}

/// The system's clock.
#[derive(Debug)]
pub struct SystemClock {
    /// Where [`Clock::mono`] counts from.
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[expect(clippy::disallowed_methods, reason = "the place that Clock stands for")]
    pub fn new() -> SystemClock {
        SystemClock { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the place that Clock stands for")]
    fn wall_ms(&self) -> u64 {
        // Before 1970 is a machine without a clock: 0.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn mono(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, time: Duration) {
        thread::sleep(time);
    }
}

/// Random numbers from a generator per thread, which the system seeds.
#[derive(Debug, Default)]
pub struct SystemRng;

impl Rng for SystemRng {
    fn next_u64(&self) -> u64 {
        rand::random()
    }
}

/// One thread per job.
///
/// Dropping a job's handle asks it to end, without waiting as [`Job::stop`] does. A job may be
/// stopped from inside its own step: then `stop` returns at once, and the job ends after the step.
#[derive(Debug, Default)]
pub struct ThreadSpawner;

impl Spawner for ThreadSpawner {
    fn spawn(&self, name: &'static str, step: Step) -> Result<Box<dyn Job>> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let inside = Arc::clone(&shared);
        let handle = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || inside.run(step))
            .map_err(|error| Error::io("spawn", name, error))?;
        let thread = handle.thread().id();
        Ok(Box::new(ThreadJob { name, shared, thread, handle: Mutex::new(Some(handle)) }))
    }
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Called since the step last began: the next park is none.
    woken: bool,
    /// The owner wants the end.
    stopping: bool,
    /// The step is dropped.
    ended: bool,
}

impl Shared {
    fn run(&self, mut step: Step) {
        loop {
            {
                let mut state = self.state.lock();
                if state.stopping {
                    break;
                }
                // What was woken for before this step, the step will see.
                state.woken = false;
            }
            // The panic was reported by its hook; the owner's guard inside the step knows of it.
            let Ok(next) = catch_unwind(AssertUnwindSafe(&mut step)) else { break };
            match next {
                Next::Again => {}
                Next::Park => self.park(None),
                Next::ParkFor(time) => self.park(Some(time)),
                Next::Stop => break,
            }
        }
        // A step that panics while it is dropped must not leave `stop` waiting.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(step)));
        self.state.lock().ended = true;
        self.changed.notify_all();
    }

    fn park(&self, time: Option<Duration>) {
        let mut state = self.state.lock();
        let idle = |state: &mut State| !state.woken && !state.stopping;
        match time {
            None => self.changed.wait_while(&mut state, idle),
            Some(time) => {
                self.changed.wait_while_for(&mut state, idle, time);
            }
        }
    }
}

struct ThreadJob {
    name: &'static str,
    shared: Arc<Shared>,
    thread: ThreadId,
    /// Taken by the first `stop`.
    handle: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for ThreadJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadJob").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Job for ThreadJob {
    fn wake(&self) {
        self.shared.state.lock().woken = true;
        self.shared.changed.notify_all();
    }

    fn stop(&self) {
        let mut state = self.shared.state.lock();
        state.stopping = true;
        self.shared.changed.notify_all();
        if thread::current().id() == self.thread {
            return; // a thread cannot wait for itself
        }
        self.shared.changed.wait_while(&mut state, |state| !state.ended);
        drop(state);
        if let Some(handle) = self.handle.lock().take() {
            handle.join().expect("the thread catches every panic");
        }
    }
}

impl Drop for ThreadJob {
    fn drop(&mut self) {
        self.shared.state.lock().stopping = true;
        self.shared.changed.notify_all();
    }
}
