//! The handle of a keyspace; thin.

use std::fmt;
use std::ops::RangeBounds;
use std::sync::Arc;
use std::time::Duration;

use crate::batch::Batch;
use crate::error::Result;
use crate::handle::{Shared, new_prefix, new_range};
use crate::options::{IndexKind, WriteOptions};
use crate::range::Range;
use crate::read::{self, Value};
use crate::record::RecordKind;
use crate::write::{self, Expiry, Op};

/// A namespace of keys with an index of its own. Cheap to clone.
#[derive(Clone)]
pub struct Keyspace {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: u32,
    name: Arc<str>,
    kind: IndexKind,
}

impl Keyspace {
    pub(crate) fn new(shared: Arc<Shared>, id: u32, name: Arc<str>, kind: IndexKind) -> Keyspace {
        Keyspace { shared, id, name, kind }
    }

    /// Which open database it belongs to.
    pub(crate) fn owner(&self) -> u64 {
        self.shared.state.owner
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its kind of index.
    pub fn kind(&self) -> IndexKind {
        self.kind
    }

    /// Sets a key's value. An empty value is a value.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.put_with(key, value, WriteOptions::default())
    }

    /// As [`Keyspace::put`], with options for this write.
    pub fn put_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: WriteOptions,
    ) -> Result<()> {
        let (key, value) = (key.as_ref(), value.as_ref());
        let (kind, expiry) = (RecordKind::Put, Expiry::of_ttl(options.ttl));
        let op = Op { keyspace: self.id, kind, expiry, key, value };
        write::write(&self.shared.state, &[op], &options)
    }

    /// The value of a key.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        read::get(&self.shared.state, self.id, key.as_ref())
    }

    /// True if a key has a value, which is not read.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let state = &self.shared.state;
        state.check_open()?;
        let view = state.view();
        read::contains_at(state, &view, state.visible(), self.id, key.as_ref())
    }

    /// Removes a key; it need not exist.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<()> {
        self.delete_with(key, WriteOptions::default())
    }

    /// As [`Keyspace::delete`], with options for this write.
    pub fn delete_with(&self, key: impl AsRef<[u8]>, options: WriteOptions) -> Result<()> {
        let (kind, key) = (RecordKind::Delete, key.as_ref());
        let op = Op { keyspace: self.id, kind, expiry: Expiry::Never, key, value: &[] };
        write::write(&self.shared.state, &[op], &options)
    }

    /// Entries whose keys are in a range, in order, from either end. In a hash keyspace the first
    /// item is `Invalid`.
    pub fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Range {
        let pin = self.shared.state.pin();
        new_range(&self.shared.state, pin, self.id, &range)
    }

    /// Entries whose keys start with a prefix, in order. In a hash keyspace the first item is
    /// `Invalid`.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Range {
        let pin = self.shared.state.pin();
        new_prefix(&self.shared.state, pin, self.id, prefix.as_ref())
    }

    /// All entries; in order, unless this is a hash keyspace.
    pub fn iter(&self) -> Range {
        let pin = self.shared.state.pin();
        Range::all(&self.shared.state, pin, self.id, None)
    }
}

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyspace({:?})", self.name)
    }
}

/// Filling a batch.
impl Batch {
    /// Sets a key's value.
    pub fn put(&mut self, keyspace: &Keyspace, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.push_to(keyspace, RecordKind::Put, None, key.as_ref(), value.as_ref());
    }

    /// Sets a key's value, which vanishes after `ttl`.
    pub fn put_ttl(
        &mut self,
        keyspace: &Keyspace,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        ttl: Duration,
    ) {
        self.push_to(keyspace, RecordKind::Put, Some(ttl), key.as_ref(), value.as_ref());
    }

    /// Removes a key; it need not exist.
    pub fn delete(&mut self, keyspace: &Keyspace, key: impl AsRef<[u8]>) {
        self.push_to(keyspace, RecordKind::Delete, None, key.as_ref(), &[]);
    }

    fn push_to(
        &mut self,
        keyspace: &Keyspace,
        kind: RecordKind,
        ttl: Option<Duration>,
        key: &[u8],
        value: &[u8],
    ) {
        if keyspace.owner() != self.owner {
            self.foreign = Some(keyspace.name.clone());
        }
        self.push(keyspace.id, kind, ttl, key, value);
    }
}
