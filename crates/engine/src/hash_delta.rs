//! One version of a hash index, and the next: what a flush or merge built becomes the table's
//! newest generation, and the old one is released when no view holds it.

use std::collections::BTreeMap;
use std::sync::Arc;

use diskhash::{Built, Generation};
use vfs::sync::Mutex;

use crate::catalog::Change;
use crate::error::Result;
use crate::files::Files;
use crate::hash_table::HashTable;
use crate::index::{Delta, Index, Installed};

/// One version of the index.
pub(crate) struct HashIndex {
    pub(crate) table: Arc<HashTable>,
    version: Arc<Version>,
}

/// Held by the indexes of views, and by the delta that replaces it until that is dropped: when the
/// last goes, the generation is released.
struct Version {
    generation: Arc<Generation>,
}

impl HashIndex {
    /// The table's newest generation.
    pub(crate) fn newest(table: Arc<HashTable>) -> HashIndex {
        let generation = table.table.newest();
        HashIndex { table, version: Arc::new(Version { generation }) }
    }

    pub(crate) fn of(index: &dyn Index) -> &HashIndex {
        index.as_any().downcast_ref().expect("a keyspace keeps its kind of index")
    }

    pub(crate) fn generation(&self) -> &Arc<Generation> {
        &self.version.generation
    }
}

/// What is built, and then what it was built on, in case that must come back.
struct Pending {
    built: Option<Built>,
    /// As a version, for whose end the removal of its files waits.
    before: Option<Arc<Version>>,
}

/// The change that makes a table's next generation. Abandoned after it was installed, which is
/// before anybody saw it, it takes the table back.
pub(crate) fn into_delta(
    table: Arc<HashTable>,
    built: Built,
    garbage: BTreeMap<u32, u64>,
) -> Delta {
    let bytes_written = built.bytes_written();
    let pending = Arc::new(Mutex::new(Pending { built: Some(built), before: None }));
    let abandon = {
        let (table, pending) = (table.clone(), pending.clone());
        move |_: &Files| {
            let mut pending = pending.lock();
            drop(pending.built.take());
            let before = pending.before.take();
            Ok(before.map_or(Ok(()), |before| table.table.revert(&before.generation))?)
        }
    };
    let install = move |index: &dyn Index| -> Result<Installed> {
        let old = HashIndex::of(index).version.clone();
        let mut pending = pending.lock();
        let built = pending.built.take().expect("a delta is installed once");
        let newest = table.table.newest().id();
        assert!(newest == old.generation.id(), "the view has the table's newest generation");
        let generation = table.table.commit(built)?.id();
        pending.before = Some(old.clone());
        let keyspace = table.keyspace;
        let changes = vec![Change::HashGeneration { keyspace, generation }];
        let index = Arc::new(HashIndex::newest(table.clone()));
        let weak = Arc::downgrade(&table);
        let retire = move |files: &Files| {
            let id = old.generation.id();
            files.retire_with(&old, move |_| {
                // Without its table the whole directory goes.
                if let Some(table) = weak.upgrade() {
                    table.table.release(id);
                }
            });
        };
        Ok(Installed { changes, index, retire: Box::new(retire) })
    };
    let (install, abandon) = (Box::new(install), Box::new(abandon));
    Delta { install, abandon, bytes_written, garbage, copied: Vec::new() }
}

/// The change that changes nothing: a search that found nothing to do, or what to do next.
pub(crate) fn unchanged() -> Delta {
    let install = |index: &dyn Index| -> Result<Installed> {
        let HashIndex { table, version } = HashIndex::of(index);
        let index = Arc::new(HashIndex { table: table.clone(), version: version.clone() });
        Ok(Installed { changes: Vec::new(), index, retire: Box::new(|_| ()) })
    };
    let (install, abandon) = (Box::new(install), Box::new(|_: &Files| Ok(())));
    let (garbage, copied) = (BTreeMap::new(), Vec::new());
    Delta { install, abandon, bytes_written: 0, garbage, copied }
}

#[cfg(test)]
mod tests;
