//! A clean close: afterwards nothing is in doubt, and the next open replays little or nothing.

use std::sync::atomic::Ordering;

use crate::error::Result;
use crate::flush;
use crate::jobs;
use crate::manifest::Change;
use crate::state::State;

/// Log bytes that a close leaves to the next open's replay instead of flushing them.
const REPLAY_BYTES_MAX: u64 = 4 << 20;

/// Ends the jobs, flushes what should not be replayed, seals the log and records its end.
pub(crate) fn close(state: &State) -> Result<()> {
    state.closed.store(true, Ordering::Release);
    jobs::stop(state);
    let result = close_files(state);
    state.files.sweep();
    *state.lock.lock() = None;
    result
}

fn close_files(state: &State) -> Result<()> {
    // A writer that passed its check is done when it lets go of the commit lock; later ones see
    // that the database is closed.
    let much = {
        let commit = state.commit.lock();
        commit.unlogged || commit.log_bytes > REPLAY_BYTES_MAX || !state.view().sealed.is_empty()
    };
    if much {
        flush::flush_all(state)?;
    }
    state.check_sound()?;
    let last_seq = state.commit.lock().last_seq;
    let end = state.log.seal()?.end;
    let mut manifest = state.manifest.lock();
    let closed = Change::Closed { segment: end.id.0, offset: end.len, last_seq };
    state.commit_changes(&mut manifest, vec![closed])
}
