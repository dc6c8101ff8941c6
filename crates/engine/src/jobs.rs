//! The background jobs: flush, merge, garbage collection, and the periodic sync. Each is a step that a test can call.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use vfs::{Job, Next};
use wal::AppendMode;

use crate::collect;
use crate::error::{Error, ErrorKind, Result};
use crate::flush;
use crate::merge;
use crate::options::Durability;
use crate::state::{Jobs, State};
use crate::write;

/// How long a job waits after a full disk refused it.
const RETRY: Duration = Duration::from_millis(200);

/// Starts the jobs of a database.
pub(crate) fn spawn(state: &Arc<State>) -> Result<Jobs> {
    let again = |more: bool| if more { Next::Again } else { Next::Park };
    let flush = job(state, "flush", |state| {
        if flush::flush_oldest(state)? {
            return Ok(Next::Again);
        }
        flush::write_back(state).map(|()| Next::Park)
    })?;
    let merge = job(state, "merge", move |state| merge::merge_any(state).map(again))?;
    let gc = match state.files.options.gc_interval.is_zero() {
        true => None,
        false => Some(job(state, "garbage collection", collect::background)?),
    };
    let sync = match state.files.options.durability {
        Durability::Interval(period) => {
            let sync = move |state: &State| write::sync(state).map(|()| Next::ParkFor(period));
            Some(job(state, "sync", sync)?)
        }
        _ => None,
    };
    let ready = match state.log.append_mode() {
        AppendMode::Mapped => Some(job(state, "log", |state| {
            state.log.make_ready();
            flush::start_log(state).map(|()| Next::Park)
        })?),
        _ => None,
    };
    Ok(Jobs { flush, merge, gc, sync, ready })
}

/// A job that calls `step` when it asks for it.
fn job(
    state: &Arc<State>,
    name: &'static str,
    step: impl Fn(&State) -> Result<Next> + Send + 'static,
) -> Result<Box<dyn Job>> {
    let weak: Weak<State> = Arc::downgrade(state);
    let call = move || {
        let Some(state) = weak.upgrade() else { return Next::Stop };
        match catch_unwind(AssertUnwindSafe(|| step(&state))) {
            Ok(Ok(next)) => next,
            Ok(Err(error)) if error.kind() == ErrorKind::NoSpace => Next::ParkFor(RETRY),
            Ok(Err(error)) => {
                if error.kind() != ErrorKind::Closed {
                    state.fail(&error);
                }
                Next::Stop
            }
            Err(panic) => {
                let reason = panic.downcast_ref::<String>().map(String::as_str);
                let reason = reason.or(panic.downcast_ref::<&str>().copied());
                let reason = reason.unwrap_or("no message");
                let message = format!("the background {name} panicked: {reason}");
                state.fail(&Error::new(ErrorKind::ReadOnly, message));
                Next::Stop
            }
        }
    };
    Ok(state.files.env.spawner.spawn(name, Box::new(call))?)
}

/// Waits for the running steps and ends the jobs.
pub(crate) fn stop(state: &State) {
    if let Some(jobs) = state.jobs.get() {
        jobs.flush.stop();
        jobs.merge.stop();
        for job in [&jobs.gc, &jobs.sync, &jobs.ready].into_iter().flatten() {
            job.stop();
        }
    }
}
