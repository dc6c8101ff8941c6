//! Time, randomness and background work, injected so that a test can hold them still.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;

/// What time it is. Order never depends on it.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Milliseconds since 1970, UTC. May jump either way.
    fn wall_ms(&self) -> u64;

    /// Time since some fixed moment; never goes back.
    fn mono(&self) -> Duration;

    /// Returns when so much time has passed; a simulated clock lets it pass.
    fn sleep(&self, time: Duration);
}

/// Where salts and sampling come from.
pub trait Rng: Send + Sync + fmt::Debug {
    /// 64 random bits.
    fn next_u64(&self) -> u64;
}

/// What a background job wants after a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// There is more to do: call again.
    Again,
    /// Nothing to do until [`Job::wake`].
    Park,
    /// Nothing to do until [`Job::wake`] or until this much time has passed.
    ParkFor(Duration),
    /// Never call again.
    Stop,
}

/// One step of background work: does a bounded piece, never waits for another job.
pub type Step = Box<dyn FnMut() -> Next + Send>;

/// Runs background work: threads in production; in tests a queue that a seed steps through.
pub trait Spawner: Send + Sync + fmt::Debug {
    /// Starts a job. Its step is called at once and then as its [`Next`] says. A step that panics
    /// ends the job; the owner learns of it through its own guard inside the step.
    fn spawn(&self, name: &'static str, step: Step) -> Result<Box<dyn Job>>;

    /// Where jobs run only when told to (a simulation), runs one step of one and returns true;
    /// false if nothing could run, and always where jobs have threads of their own. Who waits for
    /// background work calls this before blocking, with no lock held, and looks again while it
    /// returns true.
    fn run_one(&self) -> bool {
        false
    }
}

/// A running job.
pub trait Job: Send + Sync + fmt::Debug {
    /// Calls the step soon, if it is parked.
    fn wake(&self);

    /// Waits for the running step, then ends the job; the step is dropped when this returns.
    /// A second call does nothing.
    fn stop(&self);
}

/// The seams to everything but the disk.
#[derive(Clone, Debug)]
pub struct Env {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub rng: Arc<dyn Rng>,
    /// Threads.
    pub spawner: Arc<dyn Spawner>,
}
