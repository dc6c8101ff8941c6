//! A clock that a test sets, random numbers from a seed, and background work that a test steps
//! through: one seed, one schedule.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::env::{Clock, Env, Job, Next, Rng, Spawner, Step};
use crate::error::Result;
use crate::random::Random;

/// Steps after which [`SimSpawner::run_until_idle`] calls a schedule endless.
const STEPS_MAX: u64 = 10_000_000;

/// An [`Env`] and the handles a test steers it with.
///
/// ```
/// use std::time::Duration;
/// use vfs::{Clock, Env, Next};
///
/// let sim = Env::sim(7);
/// let job = sim.env.spawner.spawn("example", Box::new(|| Next::Park))?;
/// assert_eq!(sim.spawner.run_until_idle(), 1); // runs only when told to
/// job.wake();
/// assert!(sim.spawner.step_one(0));
///
/// let before = sim.env.clock.wall_ms();
/// sim.clock.advance(Duration::from_millis(5));
/// assert_eq!(sim.env.clock.wall_ms(), before + 5);
/// # Ok::<(), vfs::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SimEnv {
    /// What the code under test is given.
    pub env: Env,
    /// Its clock.
    pub clock: Arc<SimClock>,
    /// Its random numbers.
    pub rng: Arc<SimRng>,
    /// Its background work.
    pub spawner: Arc<SimSpawner>,
}

impl Env {
    /// A simulated environment; equal seeds give equal runs.
    pub fn sim(seed: u64) -> SimEnv {
        let clock = Arc::new(SimClock::default());
        let rng = Arc::new(SimRng::new(seed));
        let spawner = Arc::new(SimSpawner::new(seed, Arc::clone(&clock)));
        let env = Env { clock: clock.clone(), rng: rng.clone(), spawner: spawner.clone() };
        SimEnv { env, clock, rng, spawner }
    }
}

/// A clock that stands still until it is told otherwise.
#[derive(Debug)]
pub struct SimClock {
    wall_ms: AtomicU64,
    mono_ns: AtomicU64,
}

impl Default for SimClock {
    /// Starts at an arbitrary moment of 2025.
    fn default() -> SimClock {
        SimClock { wall_ms: AtomicU64::new(1_750_000_000_000), mono_ns: AtomicU64::new(0) }
    }
}

impl SimClock {
    /// Lets time pass: both clocks move forward. Saturates.
    pub fn advance(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.mono_ns
            .store(self.mono_ns.load(Ordering::SeqCst).saturating_add(ns), Ordering::SeqCst);
        self.set_wall_ms(self.wall_ms().saturating_add(ms));
    }

    /// Sets the wall clock, as an administrator would: any value, forwards or backwards.
    pub fn set_wall_ms(&self, wall_ms: u64) {
        self.wall_ms.store(wall_ms, Ordering::SeqCst);
    }

    /// Moves the wall clock alone. Saturates at both ends.
    pub fn jump_wall_ms(&self, delta_ms: i64) {
        self.set_wall_ms(self.wall_ms().saturating_add_signed(delta_ms));
    }
}

impl Clock for SimClock {
    fn wall_ms(&self) -> u64 {
        self.wall_ms.load(Ordering::SeqCst)
    }

    fn mono(&self) -> Duration {
        Duration::from_nanos(self.mono_ns.load(Ordering::SeqCst))
    }

    fn sleep(&self, time: Duration) {
        self.advance(time);
    }
}

/// Random numbers from a seed.
#[derive(Debug)]
pub struct SimRng {
    random: Mutex<Random>,
}

impl SimRng {
    /// Equal seeds give equal numbers.
    pub fn new(seed: u64) -> SimRng {
        SimRng { random: Mutex::new(Random::new(seed)) }
    }
}

impl Rng for SimRng {
    fn next_u64(&self) -> u64 {
        self.random.lock().next_u64()
    }
}

/// Background work that runs only when a test says so, in the thread that says so.
///
/// Dropping a job's handle ends the job, as [`Job::stop`] does.
pub struct SimSpawner {
    clock: Arc<SimClock>,
    queue: Arc<Mutex<Queue>>,
}

struct Queue {
    random: Random,
    next_id: u64,
    /// In order of creation.
    jobs: Vec<Entry>,
}

struct Entry {
    id: u64,
    name: &'static str,
    /// Taken while the step runs.
    step: Option<Step>,
    wait: Wait,
    woken: bool,
}

enum Wait {
    /// Wants to run.
    Ready,
    /// Until woken.
    Parked,
    /// Until woken or until this moment of the monotonic clock.
    Until(Duration),
}

impl Entry {
    fn runnable(&self, now: Duration) -> bool {
        let due = match self.wait {
            Wait::Ready => true,
            Wait::Parked => false,
            Wait::Until(moment) => moment <= now,
        };
        self.step.is_some() && (due || self.woken)
    }
}

impl fmt::Debug for SimSpawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = self.queue.lock();
        let names: Vec<_> = queue.jobs.iter().map(|job| job.name).collect();
        f.debug_struct("SimSpawner").field("jobs", &names).finish_non_exhaustive()
    }
}

impl SimSpawner {
    /// A spawner whose `Next::ParkFor` follows `clock`.
    pub fn new(seed: u64, clock: Arc<SimClock>) -> SimSpawner {
        let queue = Queue { random: Random::new(seed ^ 0x6a0b), next_id: 0, jobs: Vec::new() };
        SimSpawner { clock, queue: Arc::new(Mutex::new(queue)) }
    }

    /// How many jobs could run now.
    pub fn runnable(&self) -> usize {
        let now = self.clock.mono();
        self.queue.lock().jobs.iter().filter(|job| job.runnable(now)).count()
    }

    /// The moment of the monotonic clock at which the next sleeping job becomes runnable by
    /// itself.
    pub fn next_due(&self) -> Option<Duration> {
        let due = |job: &Entry| match job.wait {
            Wait::Until(moment) => Some(moment),
            Wait::Ready | Wait::Parked => None,
        };
        self.queue.lock().jobs.iter().filter_map(due).min()
    }

    /// Runs one step of the runnable job `choice % runnable`; false if there is none.
    ///
    /// # Panics
    /// If the step panics, after ending the job as a thread would.
    pub fn step_one(&self, choice: u64) -> bool {
        let now = self.clock.mono();
        let (id, mut step) = {
            let mut queue = self.queue.lock();
            let runnable = queue.jobs.iter_mut().filter(|job| job.runnable(now));
            let mut runnable: Vec<_> = runnable.collect();
            if runnable.is_empty() {
                return false;
            }
            let count = runnable.len() as u64;
            let index = usize::try_from(choice % count).expect("below a usize");
            let job = &mut runnable[index];
            // What it was woken for before this step, the step will see.
            job.woken = false;
            (job.id, job.step.take().expect("a runnable job has a step"))
        };
        // Removes the job if the step unwinds.
        let mut guard = Running { queue: &self.queue, id, keep: false };
        let next = step();
        let mut queue = self.queue.lock();
        let Some(job) = queue.jobs.iter_mut().find(|job| job.id == id) else {
            drop(queue); // stopped from inside its own step
            guard.keep = true;
            return true;
        };
        job.wait = match next {
            Next::Again => Wait::Ready,
            Next::Park => Wait::Parked,
            Next::ParkFor(time) => Wait::Until(now.saturating_add(time)),
            Next::Stop => {
                drop(queue); // the guard takes the queue again
                return true;
            }
        };
        job.step = Some(step);
        guard.keep = true;
        drop(queue);
        true
    }

    /// Runs steps in the order that the seed gives, until nothing is runnable. Returns how many.
    /// Time does not pass.
    ///
    /// # Panics
    /// If it does not end within 10 million steps.
    pub fn run_until_idle(&self) -> u64 {
        for steps in 0..STEPS_MAX {
            let choice = self.queue.lock().random.next_u64();
            if !self.step_one(choice) {
                return steps;
            }
        }
        panic!("background work does not come to rest: {self:?}");
    }
}

struct Running<'a> {
    queue: &'a Mutex<Queue>,
    id: u64,
    keep: bool,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.keep {
            self.queue.lock().jobs.retain(|job| job.id != self.id);
        }
    }
}

impl Spawner for SimSpawner {
    fn spawn(&self, name: &'static str, step: Step) -> Result<Box<dyn Job>> {
        let mut queue = self.queue.lock();
        let id = queue.next_id;
        queue.next_id += 1;
        queue.jobs.push(Entry { id, name, step: Some(step), wait: Wait::Ready, woken: false });
        Ok(Box::new(SimJob { id, queue: Arc::clone(&self.queue) }))
    }

    fn run_one(&self) -> bool {
        let choice = self.queue.lock().random.next_u64();
        self.step_one(choice)
    }
}

struct SimJob {
    id: u64,
    queue: Arc<Mutex<Queue>>,
}

impl fmt::Debug for SimJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimJob").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Job for SimJob {
    fn wake(&self) {
        if let Some(job) = self.queue.lock().jobs.iter_mut().find(|job| job.id == self.id) {
            job.woken = true;
        }
    }

    fn stop(&self) {
        let ended = {
            let mut queue = self.queue.lock();
            let index = queue.jobs.iter().position(|job| job.id == self.id);
            index.map(|index| queue.jobs.remove(index))
        };
        drop(ended); // the step may own what takes the queue's lock when it is dropped
    }
}

impl Drop for SimJob {
    fn drop(&mut self) {
        self.stop();
    }
}
