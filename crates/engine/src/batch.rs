//! What to write, together or not at all.

use std::sync::Arc;
use std::time::Duration;

use crate::record::RecordKind;

/// Writes that take effect together, across keyspaces: after a crash all of them are there or
/// none. Of two writes to one key the later one holds.
///
/// Filling a batch never fails; `Db::write` checks it whole before anything changes.
///
/// ```no_run
/// # fn main() -> engine::Result<()> {
/// let db = engine::Db::open("data", engine::Options::default())?;
/// let users = db.keyspace("users", engine::KeyspaceOptions::btree())?;
/// let mut batch = db.batch();
/// batch.put(&users, b"alice", b"1");
/// batch.delete(&users, b"bob");
/// db.write(batch, engine::WriteOptions::default())?;
/// # Ok(())
/// # }
/// ```
///
/// Keys and values are copied. The type has no lifetime, so a batch, or a database, that kept the
/// caller's buffer by reference would not compile (row 110):
///
/// ```
/// fn fill(batch: &mut engine::Batch, users: &engine::Keyspace) -> engine::Result<()> {
///     let mut key = String::new();
///     for name in ["alice", "bob"] {
///         key.clear();
///         key.push_str(name);
///         batch.put(users, &key, &key);
///         users.put(&key, &key)?;
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a batch does nothing until `Db::write`"]
pub struct Batch {
    /// Which database the keyspaces must belong to.
    pub(crate) owner: u64,
    pub(crate) entries: Vec<BatchEntry>,
    /// Keys and values, one after the other, as the entries slice them.
    bytes: Vec<u8>,
    /// A keyspace of another database was used.
    pub(crate) foreign: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchEntry {
    pub(crate) keyspace: u32,
    pub(crate) kind: RecordKind,
    pub(crate) ttl: Option<Duration>,
    start: usize,
    key_len: usize,
    value_len: usize,
}

impl Batch {
    pub(crate) fn new(owner: u64) -> Batch {
        Batch { owner, entries: Vec::new(), bytes: Vec::new(), foreign: None }
    }

    /// How many writes it holds.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if it holds none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets every write, keeps the memory.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
        self.foreign = None;
    }

    /// Adds a write to keyspace number `keyspace` of this batch's database.
    pub(crate) fn push(
        &mut self,
        keyspace: u32,
        kind: RecordKind,
        ttl: Option<Duration>,
        key: &[u8],
        value: &[u8],
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        let (key_len, value_len) = (key.len(), value.len());
        self.entries.push(BatchEntry { keyspace, kind, ttl, start, key_len, value_len });
    }

    pub(crate) fn key(&self, entry: &BatchEntry) -> &[u8] {
        &self.bytes[entry.start..entry.start + entry.key_len]
    }

    pub(crate) fn value(&self, entry: &BatchEntry) -> &[u8] {
        let start = entry.start + entry.key_len;
        &self.bytes[start..start + entry.value_len]
    }
}
