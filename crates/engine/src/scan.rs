//! Iteration in no order, over a pinned view of a hash keyspace: the memtables, newest first, then
//! the index.
//!
//! A key is shown where its newest version is, once: in a memtable unless a newer one has it, in
//! the index unless a memtable has it or a newer slot of the same hash was of the same key.

use std::collections::HashSet;
use std::sync::Arc;

use memtable::{Kind, Memtable};
use vfs::Bytes;

use crate::error::Result;
use crate::hash_delta::HashIndex;
use crate::key::Key;
use crate::read::{self, Value};
use crate::reads::{Inside, Watch};
use crate::record::{RecordKind, ValuePtr};
use crate::slot::Slot;
use crate::state::State;
use crate::view::View;

/// A walk over all entries of a hash keyspace. Dropped in this order: files are closed before the
/// view that keeps them goes.
pub(crate) struct Scan {
    index: Option<diskhash::Cursor>,
    state: Arc<State>,
    view: Arc<View>,
    keyspace: u32,
    /// Newest first, each with the seq up to which it counts.
    memtables: Vec<Source>,
    /// The transaction that it is inside of.
    watch: Option<Watch>,
    /// The memtable that is walked; behind the last, the index.
    at: usize,
    memtable: Option<memtable::Scan>,
    seen: Seen,
}

type Source = (Arc<Memtable>, u64);

/// Keys that were met under one hash of the index.
#[derive(Default)]
struct Seen {
    hash: u64,
    /// The key met last, and those before it: hardly ever is there more than one.
    last: Option<Key>,
    before: HashSet<Vec<u8>>,
}

impl Seen {
    /// Takes note of a key; false if it was met before under the same hash.
    fn insert(&mut self, hash: u64, key: &[u8]) -> bool {
        if self.hash != hash {
            self.hash = hash;
            self.last = None;
            self.before.clear();
        }
        if self.last.as_deref() == Some(key) || self.before.contains(key) {
            return false;
        }
        if let Some(last) = self.last.replace(Key::new(key)) {
            self.before.insert(last.to_vec());
        }
        true
    }
}

impl Scan {
    pub(crate) fn new(
        state: &Arc<State>,
        view: &Arc<View>,
        keyspace: u32,
        seq: u64,
        inside: Option<Inside>,
    ) -> Result<Scan> {
        let found = read::find_keyspace(view, keyspace)?;
        let (own, watch) = match inside {
            Some(Inside { own, watch }) => (own, Some(watch)),
            None => (None, None),
        };
        let memtables = found.memtables.iter().filter(|table| !table.is_empty());
        let memtables = memtables.map(|table| (table.clone(), seq));
        Ok(Scan {
            index: None,
            state: state.clone(),
            view: view.clone(),
            keyspace,
            memtables: own.into_iter().chain(memtables).collect(),
            watch,
            at: 0,
            memtable: None,
            seen: Seen::default(),
        })
    }

    /// The next entry.
    pub(crate) fn next(&mut self) -> Result<Option<(Key, Value)>> {
        while let Some((memtable, seq)) = self.memtables.get(self.at) {
            let scan = self.memtable.get_or_insert_with(|| memtable.scan(*seq));
            while let Some(entry) = scan.next() {
                let newer = self.memtables.get(..self.at).unwrap_or_default();
                if entry.kind == Kind::Delete
                    || has(newer, entry.key)
                    || is_gone(&self.state, &self.watch, entry.key, entry.expiry)
                {
                    continue;
                }
                let key = Key::new(entry.key);
                let value = match entry.kind {
                    Kind::Pointer => {
                        let pointer = ValuePtr::from_bits(entry.pointer);
                        read::logged_value(&self.state, &self.view, pointer, self.keyspace, &key)?
                    }
                    Kind::Put | Kind::Delete => Bytes::copy_from_slice(entry.value),
                };
                return Ok(Some((key, Value::new(value))));
            }
            self.memtable = None;
            self.at += 1;
        }
        self.next_of_index()
    }

    fn next_of_index(&mut self) -> Result<Option<(Key, Value)>> {
        let Scan { state, view, keyspace, memtables, watch, index, seen, .. } = self;
        let values = view.values(state.files.db_id, *keyspace);
        let index = match index {
            Some(index) => index,
            None => {
                let found = read::find_keyspace(view, *keyspace)?;
                index.insert(HashIndex::of(&*found.index).generation().cursor())
            }
        };
        while let Some((hash, slot)) = index.next()? {
            let found = values.record(Slot::decode(slot).pointer, |record, bytes| {
                let newest = seen.insert(hash, record.key) && !has(memtables, record.key);
                if !newest
                    || record.kind == RecordKind::Delete
                    || is_gone(state, watch, record.key, record.expiry)
                {
                    return Ok(None);
                }
                let value = Value::new(bytes.slice_ref(record.value));
                Ok(Some((Key::new(record.key), value)))
            })?;
            // A record that was dropped was shadowed.
            if let Some(Some(entry)) = found {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }
}

/// True if one of the memtables has a version of a key that counts.
fn has(memtables: &[Source], key: &[u8]) -> bool {
    memtables.iter().any(|(table, seq)| table.get(key, *seq, |_| ()).is_some())
}

/// True if the newest version of a key has expired; a transaction takes note of it.
fn is_gone(state: &State, watch: &Option<Watch>, key: &[u8], expiry: u64) -> bool {
    if expiry != 0
        && let Some(watch) = watch
    {
        watch.met(key, expiry);
    }
    expiry != 0 && state.is_over(expiry)
}
