//! The handle of a snapshot; thin.

use std::fmt;
use std::ops::RangeBounds;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::handle::{Shared, new_prefix, new_range};
use crate::keyspace::Keyspace;
use crate::pins::Pin;
use crate::range::Range;
use crate::read::{self, Value};

/// The state of one moment. Cheap to clone. It keeps the memtables of its moment in memory and
/// superseded files on disk; beyond `Options::pinned_bytes_max` the oldest answers
/// `SnapshotExpired`.
#[derive(Clone)]
pub struct Snapshot {
    shared: Arc<Shared>,
    pin: Arc<Pin>,
}

impl Snapshot {
    pub(crate) fn new(shared: Arc<Shared>, pin: Arc<Pin>) -> Snapshot {
        Snapshot { shared, pin }
    }

    fn check(&self, keyspace: &Keyspace) -> Result<()> {
        self.shared.state.check_open()?;
        if keyspace.owner() == self.shared.state.owner {
            return Ok(());
        }
        let message = format!("keyspace {:?} belongs to another database", keyspace.name());
        Err(Error::new(ErrorKind::Invalid, message))
    }

    /// The value that a key had.
    pub fn get(&self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.check(keyspace)?;
        let view = self.pin.view()?;
        read::get_at(&self.shared.state, &view, self.pin.seq, keyspace.id, key.as_ref())
    }

    /// True if a key had a value.
    pub fn contains(&self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Result<bool> {
        self.check(keyspace)?;
        let view = self.pin.view()?;
        read::contains_at(&self.shared.state, &view, self.pin.seq, keyspace.id, key.as_ref())
    }

    /// Entries whose keys are in a range, in order, from either end. In a hash keyspace the first
    /// item is `Invalid`.
    pub fn range<K: AsRef<[u8]>>(&self, keyspace: &Keyspace, range: impl RangeBounds<K>) -> Range {
        match self.check(keyspace) {
            Ok(()) => new_range(&self.shared.state, self.pin.clone(), keyspace.id, &range),
            Err(error) => Range::failed(error),
        }
    }

    /// Entries whose keys start with a prefix, in order. In a hash keyspace the first item is
    /// `Invalid`.
    pub fn prefix(&self, keyspace: &Keyspace, prefix: impl AsRef<[u8]>) -> Range {
        match self.check(keyspace) {
            Ok(()) => {
                new_prefix(&self.shared.state, self.pin.clone(), keyspace.id, prefix.as_ref())
            }
            Err(error) => Range::failed(error),
        }
    }

    /// All entries; in order, unless it is a hash keyspace.
    pub fn iter(&self, keyspace: &Keyspace) -> Range {
        match self.check(keyspace) {
            Ok(()) => Range::all(&self.shared.state, self.pin.clone(), keyspace.id, None),
            Err(error) => Range::failed(error),
        }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot(seq {})", self.pin.seq)
    }
}
