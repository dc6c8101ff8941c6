//! One thread at a time works for all that wait: the state machine of group commit.
//!
//! ```text
//! idle --reach(target) ahead of done--> busy (the leader works, without the lock)
//! busy --reach(target)----------------> wait for the leader; then done, or lead the next group
//! busy --the work fails or panics-----> poisoned, for ever; everyone gets an error
//! ```
//!
//! 1. At most one work runs at a time.
//! 2. Nobody returns `Ok` before a work that started after the target was set has ended well.
//! 3. After a failure nobody returns `Ok`, not even for a target that was reached before.

use std::path::{Path, PathBuf};

use vfs::planted::{self, Bug};
use vfs::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use vfs::sync::{Condvar, Mutex, mistake};
use vfs::{Error, Result};

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

/// How far some work got, and who is at it.
#[derive(Debug)]
pub(crate) struct Turn {
    /// How far everything is done: [`Position::to_key`].
    done: AtomicU64,
    /// True while a leader works.
    busy: Mutex<bool>,
    /// A leader has ended.
    changed: Condvar,
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
        let mut busy = self.turn.busy.lock();
        match self.done {
            Some(done) => {
                self.turn.done.fetch_max(done.to_key(), Ordering::AcqRel);
            }
            None if mistake("a failed sync is forgotten") => {}
            None => self.poison.set(),
        }
        *busy = false;
        self.turn.changed.notify_all();
    }
}

impl Turn {
    /// Everything before `done` is done already.
    pub(crate) fn new(done: Position) -> Turn {
        Turn {
            done: AtomicU64::new(done.to_key()),
            busy: Mutex::new(false),
            changed: Condvar::new(),
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
        let mut busy = self.busy.lock();
        loop {
            poison.check()?;
            if target <= self.done() || (*busy && mistake("a sync under way counts for all")) {
                return Ok(());
            }
            if !*busy {
                break;
            }
            self.changed.wait(&mut busy);
        }
        *busy = true;
        drop(busy);

        let mut lead = Lead { turn: self, poison, done: None };
        let done = work()?;
        assert!(target <= done, "the work stopped at {done}, before {target}");
        lead.done = Some(done);
        drop(lead);
        poison.check()
    }
}

#[cfg(test)]
mod tests;
