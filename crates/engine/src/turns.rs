//! How the losers of optimistic attempts come to an end: one after the other.
//!
//! The first attempt of a call waits for nobody. A loser waits for its turn and keeps it until it
//! wins, so losers do not beat each other; one that keeps losing, to calls that are new each time,
//! makes new calls wait for their turn as well.

use std::time::Duration;

use vfs::sync::atomic::{AtomicU32, Ordering};
use vfs::sync::{ReentrantMutex, ReentrantMutexGuard};

use crate::error::{ErrorKind, Result};

/// Attempts before a call gives up with `Conflict`: by then somebody writes to what it reads all
/// the time and takes no turns, or the call's own closure does.
const ATTEMPTS_MAX: u32 = 100;
/// Lost attempts after which new calls wait.
const STARVING_AFTER: u32 = 4;
/// How long a loser waits for its turn before it tries all the same: whoever has the turn runs
/// foreign code, which may be waiting for this very thread.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// The queue of those that have lost.
#[derive(Default)]
pub(crate) struct Turns {
    /// Reentrant: a closure may make such calls itself.
    turn: ReentrantMutex<()>,
    starving: AtomicU32,
}

impl Turns {
    /// Makes attempts until one ends in something else than `Conflict`.
    pub(crate) fn until_won<T>(&self, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        let is_anybody_starving = self.starving.load(Ordering::Relaxed) > 0;
        let mut turn = is_anybody_starving.then(|| self.wait()).flatten();
        let mut starving = None;
        let mut lost = 0;
        loop {
            let error = match attempt() {
                Err(error) if error.kind() == ErrorKind::Conflict => error,
                ended => return ended,
            };
            lost += 1;
            if lost == ATTEMPTS_MAX {
                return Err(error);
            }
            turn = turn.or_else(|| self.wait());
            if lost >= STARVING_AFTER {
                starving.get_or_insert_with(|| Starving::new(self));
            }
        }
    }

    fn wait(&self) -> Option<ReentrantMutexGuard<'_, ()>> {
        self.turn.try_lock_for(WAIT_MAX)
    }
}

/// While it lives, new calls wait for their turn.
struct Starving<'a>(&'a Turns);

impl Starving<'_> {
    fn new(turns: &Turns) -> Starving<'_> {
        turns.starving.fetch_add(1, Ordering::Relaxed);
        Starving(turns)
    }
}

impl Drop for Starving<'_> {
    fn drop(&mut self) {
        self.0.starving.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
