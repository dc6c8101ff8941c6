//! Creating and dropping keyspaces: one MANIFEST edit each, behind a synced log, so that what
//! survives a crash is a prefix of the history across it.

use std::sync::Arc;

use vfs::planted::{self, Bug};

use crate::catalog::Change;
use crate::error::{Error, ErrorKind, Result};
use crate::hash_delta::HashIndex;
use crate::hash_table::HashTable;
use crate::index::Index;
use crate::levels::Levels;
use crate::options::{DEFAULT_KEYSPACE, IndexKind, KEYSPACE_NAME_LEN_MAX, KeyspaceOptions};
use crate::reap;
use crate::state::State;
use crate::view::{KeyspaceView, View, new_memtable};

/// Names that start with this are kept for the engine.
const RESERVED_PREFIX: &str = "__";

fn check_name(name: &str) -> Result<()> {
    let len = name.len();
    if len == 0 {
        return Err(Error::invalid("the keyspace name is empty; names have 1 to 255 bytes"));
    }
    if len > KEYSPACE_NAME_LEN_MAX {
        let message = format!("the keyspace name has {len} bytes, at most {KEYSPACE_NAME_LEN_MAX}");
        return Err(Error::invalid(message));
    }
    if name.starts_with(RESERVED_PREFIX) {
        let message = format!("keyspace name {name:?} is reserved: it starts with __");
        return Err(Error::invalid(message));
    }
    Ok(())
}

fn find<'a>(view: &'a View, name: &str) -> Option<&'a Arc<KeyspaceView>> {
    view.keyspaces.iter().find(|keyspace| &*keyspace.name == name)
}

/// Opens a keyspace or creates it.
pub(crate) fn open_or_create(
    state: &State,
    name: &str,
    options: &KeyspaceOptions,
) -> Result<(u32, Arc<str>, IndexKind)> {
    state.check_open()?;
    check_name(name)?;
    let existing = |view: &View| match find(view, name) {
        Some(found) if found.kind == options.kind => {
            Ok(Some((found.id, found.name.clone(), found.kind)))
        }
        Some(found) => {
            let (is, asked) = (found.kind.as_str(), options.kind.as_str());
            let message = format!("keyspace {name:?} has a {is} index, not a {asked} index");
            Err(Error::invalid(message))
        }
        None => Ok(None),
    };
    if let Some(found) = existing(&state.view())? {
        return Ok(found);
    }
    state.check_writable()?;
    state.log.sync().map_err(|error| state.judge(error.into()))?;
    let mut manifest = state.manifest.lock();
    if let Some(found) = existing(&state.view())? {
        return Ok(found);
    }
    let used_up = || Error::invalid("the database has used up its keyspace numbers");
    let id = match planted::is(Bug::KeyspaceIdReused) {
        true => (0..).find(|id| !manifest.catalog().keyspaces.contains_key(id)),
        false => state.files.take_keyspace(),
    };
    let id = id.ok_or_else(used_up)?;
    let index = options.kind.as_str().to_owned();
    let mut changes = vec![Change::KeyspaceCreated { id, name: name.to_owned(), index }];
    let index = new_index(state, id, options.kind, &mut changes)?;
    let edit = match state.prepare(&mut manifest, changes) {
        Ok(edit) => edit,
        Err(error) => {
            // Refused, so no MANIFEST names what was made for it.
            index.retire(&state.files);
            drop((index, manifest));
            state.sweep();
            return Err(error);
        }
    };
    if !planted::is(Bug::KeyspaceUnrecorded) {
        state.commit(&mut manifest, edit)?;
    }
    let name: Arc<str> = name.into();
    add_to_view(state, id, &name, options.kind, index);
    Ok((id, name, options.kind))
}

/// An empty index, whose files are durable. Adds what the MANIFEST must know of it to `changes`.
fn new_index(
    state: &State,
    id: u32,
    kind: IndexKind,
    changes: &mut Vec<Change>,
) -> Result<Arc<dyn Index>> {
    match kind {
        IndexKind::BTree => Ok(Arc::new(Levels::default())),
        IndexKind::Hash => {
            state.check_held()?;
            let table = HashTable::create(&state.files, id).map_err(|error| state.judge(error))?;
            state.sync_dir()?;
            let generation = table.table.newest().id();
            changes.push(Change::KeyHasher { keyspace: id, tag: table.hasher_tag() });
            changes.push(Change::HashGeneration { keyspace: id, generation });
            Ok(Arc::new(HashIndex::newest(Arc::new(table))))
        }
    }
}

fn add_to_view(state: &State, id: u32, name: &Arc<str>, kind: IndexKind, index: Arc<dyn Index>) {
    let table = new_memtable(kind, &state.files.pool);
    let (name, memtables) = (name.clone(), vec![table.clone()]);
    let keyspace = KeyspaceView { id, name, kind, memtables, index };
    let mut commit = state.commit.lock();
    state.swap_view(|view| {
        view.active.memtables.write().push((id, table.clone()));
        view.with_keyspace(keyspace)
    });
    commit.memtables.push((id, table));
    assert!(commit.memtables.is_sorted_by_key(|(id, _)| *id), "ids only grow");
}

/// Drops a keyspace.
pub(crate) fn drop_keyspace(state: &State, name: &str) -> Result<()> {
    state.with_reserve(|| drop_once(state, name))?;
    state.restore_reserve().map(drop)
}

fn drop_once(state: &State, name: &str) -> Result<()> {
    state.check_writable()?;
    if name == DEFAULT_KEYSPACE {
        return Err(Error::invalid("the default keyspace cannot be dropped"));
    }
    let missing = || Error::new(ErrorKind::NotFound, format!("there is no keyspace {name:?}"));
    find(&state.view(), name).ok_or_else(missing)?;
    state.log.sync().map_err(|error| state.judge(error.into()))?;
    let mut manifest = state.manifest.lock();
    let view = state.view();
    let id = find(&view, name).ok_or_else(missing)?.id;
    let without = |view: &View| {
        let mut next = view.clone();
        next.keyspaces.retain(|keyspace| keyspace.id != id);
        next
    };
    let unlisted = reap::unlisted(manifest.catalog(), &reap::listed(&without(&view), &[]));
    let mut changes = vec![Change::KeyspaceDropped { id }];
    changes.extend(unlisted.changes());
    state.commit_changes(&mut manifest, changes)?;
    let mut commit = state.commit.lock();
    commit.memtables.retain(|(other, _)| *other != id);
    state.swap_view(|view| {
        let mut next = without(view);
        unlisted.remove_from(&mut next.segments, &state.files);
        next
    });
    drop(commit);
    state.reaped(&unlisted);
    let dropped = view.keyspace(id).expect("it was there");
    state.doubtful.lock().extend(&dropped.index.listed());
    dropped.index.retire(&state.files);
    drop((manifest, view));
    state.sweep();
    state.wake_gc();
    Ok(())
}
