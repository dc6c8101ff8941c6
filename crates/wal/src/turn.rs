//! One thread at a time works for all that wait: the state machine of group commit.
//!
//! ```text
//! idle --reach(target) ahead of done--> busy (the leader works, without the lock)
//! busy --reach(target)----------------> wait for the leader; then done, or lead the next group
//! busy --the work fails or panics-----> poisoned, for ever; everyone gets an error
//! ```
//!
//! A leader that gathers gives those who were acknowledged last a moment to come back: threads that
//! commit one record after the other would otherwise form two groups that take turns, each waiting
//! for the other's work. (PostgreSQL's `commit_delay` waits a fixed time; here the last group says
//! for how many, and the wait is short and given up where nobody comes.)
//!
//! 1. At most one work runs at a time.
//! 2. Nobody returns `Ok` before a work that started after the target was set has ended well.
//! 3. After a failure nobody returns `Ok`, not even for a target that was reached before.

use std::path::{Path, PathBuf};
use std::time::Duration;

use vfs::planted::{self, Bug};
use vfs::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use vfs::sync::{Bell, Mutex, mistake, yield_now};
use vfs::{Clock, Error, Result};

use crate::position::Position;

/// Whether a write or a sync has failed. Never unset.
#[derive(Debug)]
pub(crate) struct Poison {
    path: PathBuf,
    failed: AtomicBool,
}

impl Poison {
    pub(crate) fn new(path: &Path) -> Poison {
        Poison { path: path.to_path_buf(), failed: AtomicBool::new(false) }
    }

    /// `Poisoned` after a failure.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_set() {
            return Err(Error::Poisoned { path: self.path.clone() });
        }
        Ok(())
    }

    pub(crate) fn is_set(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    pub(crate) fn set(&self) {
        self.failed.store(!planted::is(Bug::SyncRetried), Ordering::Release);
    }

    /// Passes a result on; a failure is remembered.
    pub(crate) fn watch<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.set();
        }
        result
    }
}

/// Longest wait for a group, in times that a leader lets other threads run: some 100 us where there
/// are none. Half of what the work takes is the other limit.
const PATIENCE_MAX: usize = 256;
/// One leader in so many is as patient as it can be, however vain it was before.
const PATIENT_EVERY: u64 = 16;

/// How far some work got, and who is at it.
#[derive(Debug)]
pub(crate) struct Turn {
    /// How far everything is done: [`Position::to_key`].
    done: AtomicU64,
    queue: Mutex<Queue>,
    /// Rings when a leader has ended.
    bell: Bell,
}

#[derive(Debug)]
struct Queue {
    /// True while a leader works.
    busy: bool,
    /// How many leaders have ended.
    ended: u64,
    /// Who waits for the present leader.
    waiting: usize,
    /// Who was there when the last leader ended, itself included.
    expected: usize,
    /// How often the next leader lets others run, at the most.
    patience: usize,
    /// How long the work took the last time.
    took: Duration,
}

/// Ends the leader's turn however it ends.
struct Lead<'a> {
    turn: &'a Turn,
    poison: &'a Poison,
    /// `None` until the work ended well.
    done: Option<Position>,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut queue = self.turn.queue.lock();
        match self.done {
            Some(done) => {
                self.turn.done.fetch_max(done.to_key(), Ordering::AcqRel);
            }
            None if mistake("a failed sync is forgotten") => {}
            None => self.poison.set(),
        }
        queue.busy = false;
        queue.ended += 1;
        queue.expected = queue.waiting + 1;
        if std::mem::take(&mut queue.waiting) > 0 {
            drop(queue);
            self.turn.bell.ring();
        }
    }
}

impl Turn {
    /// Everything before `done` is done already.
    pub(crate) fn new(done: Position) -> Turn {
        let queue = Queue {
            busy: false,
            ended: 0,
            waiting: 0,
            expected: 1,
            patience: PATIENCE_MAX,
            took: Duration::ZERO,
        };
        Turn {
            done: AtomicU64::new(done.to_key()),
            queue: Mutex::new(queue),
            bell: Bell::default(),
        }
    }

    /// How far everything is done.
    pub(crate) fn done(&self) -> Position {
        Position::from_key(self.done.load(Ordering::Acquire))
    }

    /// Returns when everything before `target` is done, by this thread's `work` or another's.
    /// The work does all there is and says how far it got, which must be `target` at least.
    pub(crate) fn reach(
        &self,
        target: Position,
        poison: &Poison,
        work: impl FnOnce() -> Result<Position>,
    ) -> Result<()> {
        let mut queue = self.queue.lock();
        let mut counted = None;
        loop {
            poison.check()?;
            if target <= self.done() || (queue.busy && mistake("a sync under way counts for all")) {
                return Ok(());
            }
            if !queue.busy {
                break;
            }
            if counted != Some(queue.ended) {
                counted = Some(queue.ended);
                queue.waiting += 1;
            }
            // Before the leader can end, so that its ring is not missed.
            let heard = self.bell.rung();
            drop(queue);
            self.bell.wait(heard);
            queue = self.queue.lock();
        }
        queue.busy = true;
        drop(queue);

        let mut lead = Lead { turn: self, poison, done: None };
        let done = work()?;
        assert!(target <= done, "the work stopped at {done}, before {target}");
        lead.done = Some(done);
        drop(lead);
        poison.check()
    }

    /// As [`Turn::reach`], for work that costs much more than what it does for each: the leader
    /// first waits a moment for those who were there when the last one ended.
    pub(crate) fn reach_together(
        &self,
        target: Position,
        poison: &Poison,
        clock: &dyn Clock,
        work: impl FnOnce() -> Result<Position>,
    ) -> Result<()> {
        self.reach(target, poison, || {
            self.gather(clock);
            let begun = clock.mono();
            let done = work()?;
            self.queue.lock().took = clock.mono().saturating_sub(begun);
            Ok(done)
        })
    }

    fn gather(&self, clock: &dyn Clock) {
        let mut queue = self.queue.lock();
        let (expected, before) = (queue.expected, queue.waiting);
        if before + 1 >= expected {
            return;
        }
        let patience = match queue.ended % PATIENT_EVERY {
            0 => PATIENCE_MAX,
            _ => queue.patience,
        };
        let upto = clock.mono() + queue.took / 2;
        for _ in 0..patience {
            drop(queue);
            yield_now();
            queue = self.queue.lock();
            if queue.waiting + 1 >= expected || upto <= clock.mono() {
                break;
            }
        }
        if queue.waiting == before {
            queue.patience = patience / 2;
        } else if queue.waiting + 1 >= expected {
            queue.patience = PATIENCE_MAX;
        }
    }
}

#[cfg(test)]
mod tests;
