//! A generation ends and the next begins.

use std::sync::Arc;

use vfs::sync::atomic::Ordering;

use crate::error::Result;
use crate::state::{Commit, State};
use crate::view::{Generation, KeyspaceView, View, new_memtable};

/// Ends the active generation and starts the next: a new log segment, new memtables for all
/// keyspaces, one view swap. `&mut Commit` is the proof that the commit lock is held, so nothing
/// can land between the old memtables and the new ones.
pub(crate) fn seal(state: &State, commit: &mut Commit) -> Result<()> {
    state.check_held()?;
    state.log.rotate()?;
    let segment = state.log.segment(state.log.active()).expect("the log has its active segment");
    let view = state.view();
    let fresh = |keyspace: &Arc<KeyspaceView>| {
        (keyspace.id, new_memtable(keyspace.kind, &state.files.pool))
    };
    let memtables: Vec<_> = view.keyspaces.iter().map(fresh).collect();
    for ((id, table), (fresh_id, fresh)) in commit.memtables.iter().zip(&memtables) {
        assert!(id == fresh_id, "keyspaces come and go under the commit lock");
        // Who walks a keyspace while it is written to will do so again.
        if table.was_walked() {
            fresh.keep_order();
        }
        table.seal();
    }
    view.active.unlogged.store(commit.unlogged, Ordering::Release);
    let active = Arc::new(Generation::new(memtables.clone(), vec![segment]));
    state.swap_view(|view| {
        let mut sealed = vec![view.active.clone()];
        sealed.extend(view.sealed.iter().cloned());
        let keyspaces = view.keyspaces.iter().zip(&memtables).map(|(old, (id, table))| {
            assert!(old.id == *id, "keyspaces come and go under the commit lock");
            let mut tables = vec![table.clone()];
            tables.extend(old.memtables.iter().cloned());
            Arc::new(KeyspaceView { memtables: tables, ..KeyspaceView::clone(old) })
        });
        View { active: active.clone(), sealed, keyspaces: keyspaces.collect(), ..view.clone() }
    });
    commit.memtables = memtables;
    commit.bytes = 0;
    commit.entries = 0;
    commit.log_bytes = 0;
    commit.unlogged = false;
    state.wake_flush();
    state.wake_ready();
    Ok(())
}

#[cfg(test)]
mod tests;
