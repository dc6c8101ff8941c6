//! A clean close: afterwards nothing is in doubt, and the next open replays little or nothing.

use vfs::sync::atomic::Ordering;

use crate::catalog::Change;
use crate::error::{ErrorKind, Result};
use crate::flush;
use crate::jobs;
use crate::state::State;

/// Log bytes that a close leaves to the next open's replay instead of flushing them.
const REPLAY_BYTES_MAX: u64 = 4 << 20;
/// Log segments that a close leaves to the next open's replay: every open adds one.
const REPLAY_SEGMENTS_MAX: usize = 4;

/// Ends the jobs, flushes what should not be replayed, seals the log, records its end and lets go
/// of the directory.
pub(crate) fn close(state: &State) -> Result<()> {
    state.closed.store(true, Ordering::Release);
    jobs::stop(state);
    let flushed = flush_much(state);
    // Whoever flushes, merges or makes an edit on a caller's thread is done when these are held,
    // and is refused afterwards: by then another process may have the directory.
    let flushing = state.flushing.lock();
    let merging = state.merging.lock();
    let mut collecting = state.collecting.lock();
    // A collection that is not finished never was.
    collecting.run = None;
    let sealed = match flushed {
        Ok(()) => seal_log(state),
        // What was acknowledged is in the log, for the next open, and the log needs no space.
        Err(error) if error.kind() == ErrorKind::NoSpace => seal_log(state).and(Err(error)),
        Err(error) => Err(error),
    };
    state.files.sweep();
    let manifest = state.manifest.lock();
    let commit = state.commit.lock();
    state.release();
    drop((commit, manifest, collecting, merging, flushing));
    sealed
}

/// Flushes unless replaying is as good.
fn flush_much(state: &State) -> Result<()> {
    // A writer that passed its check is done when it lets go of the commit lock; later ones see
    // that the database is closed.
    let much = {
        let commit = state.commit.lock();
        let view = state.view();
        let segments = view.active.segments.read().len();
        commit.unlogged
            || commit.log_bytes > REPLAY_BYTES_MAX
            || !view.sealed.is_empty()
            || (segments > REPLAY_SEGMENTS_MAX && !view.active.is_empty())
    };
    if much { flush::flush_all(state) } else { Ok(()) }
}

fn seal_log(state: &State) -> Result<()> {
    state.check_sound()?;
    let last_seq = state.commit.lock().last_seq;
    let end = state.log.seal()?.end;
    let mut manifest = state.manifest.lock();
    let closed = Change::Closed { segment: end.id.0, offset: end.len, last_seq };
    match state.close_manifest(&mut manifest, vec![closed.clone()]) {
        // There is no space for a whole file, but perhaps for one edit more.
        Err(error) if error.kind() == ErrorKind::NoSpace => {
            state.with_reserve(|| state.commit_changes(&mut manifest, vec![closed.clone()]))
        }
        closed => closed,
    }
}
