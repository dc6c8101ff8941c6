//! Merges of indexes: one at a time, each installed with one MANIFEST edit.

use std::sync::Arc;

use vfs::sync::atomic::Ordering;

use vfs::planted::{self, Bug};

use crate::dissolve;
use crate::error::Result;
use crate::files::Files;
use crate::index::{FullMerge, Merge, MergeContext};
use crate::options::Options;
use crate::state::State;

/// Does the merge that is most needed anywhere. False if none is.
pub(crate) fn merge_any(state: &State) -> Result<bool> {
    let _merging = state.merging.lock();
    state.check_sound()?;
    state.merges_wait.store(false, Ordering::Relaxed);
    let ids: Vec<u32> = state.view().keyspaces.iter().map(|keyspace| keyspace.id).collect();
    for id in ids {
        if let Some(merge) = plan(state, id, None) {
            state.merges_wait.store(true, Ordering::Relaxed);
            run(state, id, merge, None, AtClose::GiveUp)?;
            return Ok(true);
        }
    }
    state.wake_gc();
    Ok(false)
}

/// What a merge does when the database is closed meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtClose {
    /// It ends at its next step: nobody needs it.
    GiveUp,
    /// It goes on: a flush needs it, and close waits for the flush, or is the one that flushes.
    ///
    /// Postmortem: a close that flushed into a full hash index met its own mark that the database
    /// is closed. It neither flushed nor synced nor sealed the log.
    GoOn,
}

/// Does the merge that a keyspace needs most. False if it needs none.
pub(crate) fn merge_keyspace(state: &State, keyspace: u32, at_close: AtClose) -> Result<bool> {
    let _merging = state.merging.lock();
    state.check_sound()?;
    let Some(merge) = plan(state, keyspace, None) else { return Ok(false) };
    run(state, keyspace, merge, None, at_close)?;
    Ok(true)
}

/// Merges every keyspace's index into one sorted run without anything to drop, as it is when its
/// turn comes.
pub(crate) fn merge_all(state: &State) -> Result<()> {
    let ids: Vec<u32> = state.view().keyspaces.iter().map(|keyspace| keyspace.id).collect();
    for id in ids {
        let full = Arc::new(FullMerge::new(state.now_ms()));
        loop {
            let _merging = state.merging.lock();
            state.check_sound()?;
            let Some(merge) = plan(state, id, Some(&full)) else { break };
            run(state, id, merge, Some(&full), AtClose::GiveUp)?;
        }
    }
    Ok(())
}

/// The merge that a keyspace needs most. Under the manifest lock: a hash index plans on what its
/// table was last given, and that must be what the view has.
fn plan(state: &State, keyspace: u32, full: Option<&Arc<FullMerge>>) -> Option<Box<dyn Merge>> {
    let _manifest = state.manifest.lock();
    let view = state.view();
    let index = &view.keyspace(keyspace)?.index;
    let (files, segments) = (state.files.clone(), view.segments.clone());
    let dissolve = Arc::new(dissolve::sparse(&segments));
    let (now_ms, full) = (full.map_or_else(|| state.now_ms(), |full| full.now_ms), full.cloned());
    let flushes_wait = !view.sealed.is_empty();
    let context = MergeContext {
        is_roomy: is_roomy(&files),
        files,
        keyspace,
        segments,
        dissolve,
        now_ms,
        flushes_wait,
        full,
    };
    index.plan_merge(&context)
}

/// True if there is space for merges that nobody needs now: they must not spend the reserve, nor be
/// tried again and again on a disk that is nearly full.
fn is_roomy(files: &Files) -> bool {
    let Options { table_bytes, segment_bytes, reserve_bytes, .. } = files.options;
    let most = table_bytes.saturating_add(segment_bytes).saturating_mul(4);
    let wanted = most.saturating_add(reserve_bytes.saturating_mul(2));
    !files.reserve.is_spent() && files.fs.free_space().is_ok_and(|free| free >= wanted)
}

/// Runs a merge, and on a full disk another one like it with what the reserve gives. The caller
/// holds the merge lock.
fn run(
    state: &State,
    keyspace: u32,
    merge: Box<dyn Merge>,
    full: Option<&Arc<FullMerge>>,
    at_close: AtClose,
) -> Result<()> {
    match run_once(state, keyspace, merge, at_close) {
        Err(error) if state.pays_for(&error) => {
            let merge = plan(state, keyspace, full);
            merge.map_or(Ok(()), |merge| run_once(state, keyspace, merge, at_close))?;
        }
        done => done?,
    }
    state.restore_reserve().map(drop)
}

/// Runs a merge to its end and installs it.
fn run_once(
    state: &State,
    keyspace: u32,
    mut merge: Box<dyn Merge>,
    at_close: AtClose,
) -> Result<()> {
    let _guard = state.guard("merge");
    let result = (|| {
        state.check_held()?;
        while !merge.step()? {
            match at_close {
                AtClose::GiveUp => state.check_writable()?,
                AtClose::GoOn => state.check_sound()?,
            }
        }
        let delta = merge.finish();
        state.counters.merge_bytes.fetch_add(delta.bytes_written, Ordering::Relaxed);
        if delta.bytes_written > 0 && !planted::is(Bug::MergeNameUnsynced) {
            state.sync_dir()?;
        }
        state.install(keyspace, delta)
    })();
    result.map_err(|error| state.judge(error))?;
    state.counters.merges.fetch_add(1, Ordering::Relaxed);
    state.files.sweep();
    Ok(())
}
