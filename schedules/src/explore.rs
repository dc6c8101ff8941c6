//! Runs a model under many schedules, and tells how to see a failure again.
//!
//! A chunk of schedules has one scheduler with one seed. Even chunks choose uniformly among the
//! threads that can run; odd ones are PCT (Burckhardt et al., "A Randomized Scheduler with
//! Probabilistic Guarantees of Finding Bugs", 2010): threads have priorities, which change at few
//! points, so that one may stand still for a long time while others run.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use shuttle::scheduler::{PctScheduler, RandomScheduler, RoundRobinScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};
use vfs::SimDisk;
use vfs::sync::plant;

/// A small program of some threads that judges itself: it panics when something is wrong.
pub(crate) struct Model {
    pub(crate) name: &'static str,
    /// What it shows, with the rows of the catalogue.
    pub(crate) promise: &'static str,
    /// Makes what every schedule begins with.
    pub(crate) prepare: fn() -> SimDisk,
    pub(crate) run: fn(&SimDisk),
    /// What it must find: mistakes that the store or the model itself can be made to make.
    pub(crate) mistakes: &'static [&'static str],
}

/// A schedule under which a model fails.
pub(crate) struct Failure {
    /// Which schedule of the chunk, from 1.
    pub(crate) schedule: u64,
    pub(crate) what: String,
}

/// Preemptions of a PCT schedule, from a chunk to the next.
const DEPTHS: [usize; 3] = [2, 3, 4];
const STACK_BYTES: usize = 512 << 10;
/// Steps after which a schedule counts as endless.
const STEPS_MAX: usize = 200_000;

thread_local! {
    /// Schedules begun by this thread.
    static BEGUN: Cell<u64> = const { Cell::new(0) };
    static MESSAGE: Cell<Option<String>> = const { Cell::new(None) };
}

impl Model {
    /// Runs the `count` schedules of a chunk, with a mistake or without.
    pub(crate) fn explore(
        &self,
        chunk: u64,
        count: u64,
        mistake: Option<&'static str>,
    ) -> Result<(), Failure> {
        listen();
        let (prepare, run) = (self.prepare, self.run);
        let slot = std::sync::Arc::new(std::sync::Mutex::new(None));
        let base = slot.clone();
        let prepared = attempt(RoundRobinScheduler::new(1), move || {
            *base.lock().expect("no panic") = Some(prepare());
        });
        let failed = |what| Failure { schedule: 0, what };
        prepared.map_err(failed)?;
        let base = slot.lock().expect("no panic").take().expect("it was prepared");
        let count = usize::try_from(count).expect("a chunk");
        let body = move || {
            BEGUN.set(BEGUN.get() + 1);
            run(&base);
        };
        plant(mistake);
        BEGUN.set(0);
        let depth = DEPTHS[usize::try_from(chunk / 2 % 3).expect("small")];
        let done = match chunk.is_multiple_of(2) {
            true => attempt(RandomScheduler::new_from_seed(chunk, count), body),
            false => attempt(PctScheduler::new_from_seed(chunk, depth, count), body),
        };
        plant(None);
        done.map_err(|what| Failure { schedule: BEGUN.get(), what })
    }
}

/// Runs all schedules of a scheduler; the message of the first panic, if there is one.
fn attempt(
    scheduler: impl Scheduler + 'static,
    body: impl Fn() + Send + Sync + 'static,
) -> Result<(), String> {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    config.silence_warnings = true;
    MESSAGE.set(None);
    let ran = panic::catch_unwind(AssertUnwindSafe(|| Runner::new(scheduler, config).run(body)));
    ran.map(drop).map_err(|panic| MESSAGE.take().unwrap_or_else(|| message(&*panic)))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

/// Keeps the first panic's message and place instead of printing it.
fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        panic::set_hook(Box::new(|info| {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let text = format!("{}, at {place}", message(info.payload()));
            if std::env::var_os("RUST_BACKTRACE").is_some() {
                eprintln!("{text}\n{}", Backtrace::force_capture());
            }
            let first = MESSAGE.take().unwrap_or(text);
            MESSAGE.set(Some(first));
        }));
    });
}
