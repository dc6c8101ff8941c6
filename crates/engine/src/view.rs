//! What readers see: a view of memtables, indexes and segments, immutable but for the growing
//! active memtables. What RocksDB calls a superversion.

use std::sync::Arc;

use memtable::{Memtable, Order, Pool};
use vfs::sync::RwLock;
use vfs::sync::atomic::AtomicBool;
use wal::{Segment, SegmentId};

use crate::error::Result;
use crate::files::Files;
use crate::index::Index;
use crate::options::IndexKind;
use crate::vlog::{self, Segments, Values};

/// The memtables that fill together and are flushed together, and the log segments behind them.
pub(crate) struct Generation {
    /// By keyspace. Grows when a keyspace is created.
    pub(crate) memtables: RwLock<Vec<(u32, Arc<Memtable>)>>,
    /// The log segments its records are in, oldest first. Grows when the log rotates.
    pub(crate) segments: RwLock<Vec<Arc<Segment>>>,
    /// True if it was sealed with batches in it that are in no log.
    pub(crate) unlogged: AtomicBool,
}

impl Generation {
    pub(crate) fn new(memtables: Vec<(u32, Arc<Memtable>)>, segments: Vec<Arc<Segment>>) -> Self {
        let (memtables, segments) = (RwLock::new(memtables), RwLock::new(segments));
        Generation { memtables, segments, unlogged: AtomicBool::new(false) }
    }

    pub(crate) fn segment(&self, id: SegmentId) -> Option<Arc<Segment>> {
        self.segments.read().iter().find(|segment| segment.id() == id).cloned()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.memtables.read().iter().all(|(_, table)| table.is_empty())
    }

    /// Newest seq in it; 0 if it is empty.
    pub(crate) fn last_seq(&self) -> u64 {
        let tables = self.memtables.read();
        tables.iter().filter_map(|(_, table)| table.max_seq()).max().unwrap_or(0)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.memtables.read().iter().map(|(_, table)| table.bytes()).sum()
    }
}

/// A keyspace in a view.
#[derive(Clone)]
pub(crate) struct KeyspaceView {
    pub(crate) id: u32,
    pub(crate) name: Arc<str>,
    pub(crate) kind: IndexKind,
    /// Newest first: the active one, then the sealed ones.
    pub(crate) memtables: Vec<Arc<Memtable>>,
    pub(crate) index: Arc<dyn Index>,
}

/// Everything a reader needs, immutable but for the growing active memtables: what RocksDB calls
/// a superversion.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) active: Arc<Generation>,
    /// Newest first.
    pub(crate) sealed: Vec<Arc<Generation>>,
    /// By id.
    pub(crate) keyspaces: Vec<Arc<KeyspaceView>>,
    pub(crate) segments: Arc<Segments>,
    pub(crate) flushed_seq: u64,
}

impl View {
    pub(crate) fn keyspace(&self, id: u32) -> Option<&Arc<KeyspaceView>> {
        let index = self.keyspaces.binary_search_by_key(&id, |keyspace| keyspace.id).ok()?;
        self.keyspaces.get(index)
    }

    /// The log segment behind a memtable that a pointer in it goes into.
    pub(crate) fn log_segment(&self, id: SegmentId) -> Result<Arc<Segment>> {
        let generations = std::iter::once(&self.active).chain(&self.sealed);
        let found = generations.into_iter().find_map(|generation| generation.segment(id));
        found.ok_or_else(|| vlog::missing_segment(id))
    }

    /// What a keyspace's index reads its records from.
    pub(crate) fn values(&self, db_id: u64, keyspace: u32) -> Values<'_> {
        Values { db_id, keyspace, segments: &self.segments, verifies: false }
    }

    /// The view with one keyspace's part replaced.
    pub(crate) fn with_keyspace(&self, keyspace: KeyspaceView) -> View {
        let mut next = self.clone();
        let at = next.keyspaces.partition_point(|other| other.id < keyspace.id);
        match next.keyspaces.get_mut(at) {
            Some(old) if old.id == keyspace.id => *old = Arc::new(keyspace),
            _ => next.keyspaces.insert(at, Arc::new(keyspace)),
        }
        next
    }

    /// True if the sealed generations or some index ask writers to wait.
    pub(crate) fn is_pressed(&self, files: &Files) -> bool {
        self.sealed.len() >= files.options.sealed_max
            || self.keyspaces.iter().any(|keyspace| keyspace.index.is_stalled(files))
    }
}

/// An empty memtable for a keyspace.
pub(crate) fn new_memtable(kind: IndexKind, pool: &Pool) -> Arc<Memtable> {
    let order = match kind {
        IndexKind::BTree => Order::Ordered,
        IndexKind::Hash => Order::Unordered,
    };
    Arc::new(Memtable::new_in(order, pool))
}
