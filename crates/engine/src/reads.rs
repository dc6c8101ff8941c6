//! What a transaction has read, and whether somebody wrote it since.
//!
//! Points are remembered by key, iterators by the stretches of keys they have shown from either
//! end, gaps included: a key that appears in a gap later is a conflict too (no phantoms). Of
//! entries with a time to live the one that expires soonest is remembered: if it does so while
//! the transaction is open, it was seen, or would be seen now, in two states.

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::Arc;

use memtable::{Memtable, Order};
use vfs::sync::Mutex;

use crate::error::{Error, ErrorKind, Result};
use crate::history::Memtables;
use crate::view::View;

/// A transaction's read set. Grows by what is read; an iterator adds to it from wherever it is.
pub(crate) struct Reads {
    /// When the transaction began: what had expired by then stays so.
    start_ms: u64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    keyspaces: Vec<KeyspaceReads>,
    soonest: Option<Expiring>,
}

/// So many keys are looked up in no time.
const POINTS_FEW: usize = 1000;

/// What was read of one keyspace.
struct KeyspaceReads {
    id: u32,
    name: Arc<str>,
    points: HashSet<Box<[u8]>>,
    spans: Vec<Span>,
}

/// What an iterator has shown of its range.
struct Span {
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
    /// The last key shown from the front, and from the back.
    front: Option<Vec<u8>>,
    back: Option<Vec<u8>>,
    /// Everything was shown.
    whole: bool,
}

/// The entry met that expires first.
struct Expiring {
    expiry: u64,
    keyspace: Arc<str>,
    key: Box<[u8]>,
}

impl Inner {
    /// The index of a keyspace's reads, which may be none yet.
    fn index(&mut self, id: u32, name: &str) -> usize {
        let found = self.keyspaces.iter().position(|keyspace| keyspace.id == id);
        found.unwrap_or_else(|| {
            let (points, spans) = (HashSet::new(), Vec::new());
            self.keyspaces.push(KeyspaceReads { id, name: name.into(), points, spans });
            self.keyspaces.len() - 1
        })
    }

    fn expires(&mut self, expiry: u64, keyspace: usize, key: &[u8]) {
        if self.soonest.as_ref().is_none_or(|soonest| expiry < soonest.expiry) {
            let keyspace = self.keyspaces[keyspace].name.clone();
            self.soonest = Some(Expiring { expiry, keyspace, key: key.into() });
        }
    }
}

impl Reads {
    pub(crate) fn new(start_ms: u64) -> Reads {
        Reads { start_ms, inner: Mutex::default() }
    }

    /// A key was read, and an entry was met that expires at `expiry` (0: never, or none).
    pub(crate) fn point(&self, id: u32, name: &str, key: &[u8], expiry: u64) {
        let mut inner = self.inner.lock();
        let index = inner.index(id, name);
        let points = &mut inner.keyspaces[index].points;
        if !points.contains(key) {
            points.insert(key.into());
        }
        if self.start_ms < expiry {
            inner.expires(expiry, index, key);
        }
    }

    /// An iterator begins.
    pub(crate) fn span(
        self: &Arc<Self>,
        id: u32,
        name: &str,
        lower: Bound<&[u8]>,
        upper: Bound<&[u8]>,
    ) -> Watch {
        let mut inner = self.inner.lock();
        let keyspace = inner.index(id, name);
        let spans = &mut inner.keyspaces[keyspace].spans;
        let (lower, upper) = (lower.map(<[u8]>::to_vec), upper.map(<[u8]>::to_vec));
        spans.push(Span { lower, upper, front: None, back: None, whole: false });
        let span = spans.len() - 1;
        Watch { reads: self.clone(), keyspace, span }
    }

    /// True if a check may take long: it walks through memtables, or looks up many keys.
    pub(crate) fn is_long(&self) -> bool {
        let inner = self.inner.lock();
        let points: usize = inner.keyspaces.iter().map(|keyspace| keyspace.points.len()).sum();
        points > POINTS_FEW || inner.keyspaces.iter().any(|keyspace| !keyspace.spans.is_empty())
    }

    /// `Conflict` if an entry that was met has expired meanwhile.
    pub(crate) fn check_clock(&self, now_ms: u64) -> Result<()> {
        match &self.inner.lock().soonest {
            Some(Expiring { expiry, keyspace, key }) if *expiry <= now_ms => {
                Err(Error::lost_over(keyspace, key, "expired while the transaction was open"))
            }
            _ => Ok(()),
        }
    }

    /// `Conflict` if something that was read has a version above `since` in a memtable of the
    /// view or in one kept from before, or is in a keyspace that was dropped.
    pub(crate) fn check(&self, view: &View, kept: &Memtables, since: u64) -> Result<()> {
        for reads in &self.inner.lock().keyspaces {
            let Some(keyspace) = view.keyspace(reads.id) else {
                let name = &reads.name;
                let message = format!("transaction conflict: keyspace {name:?} was dropped");
                return Err(Error::new(ErrorKind::Conflict, message));
            };
            let kept = kept.iter().filter(|(id, _)| *id == reads.id).map(|(_, table)| table);
            for table in keyspace.memtables.iter().chain(kept) {
                if table.max_seq().is_some_and(|newest| newest > since)
                    && let Some(key) = reads.find_newer(table, since)
                {
                    let why = "was written since the transaction began";
                    return Err(Error::lost_over(&reads.name, &key, why));
                }
            }
        }
        Ok(())
    }
}

impl KeyspaceReads {
    /// A key that was read and has a version above `since` in a table.
    fn find_newer(&self, table: &Arc<Memtable>, since: u64) -> Option<Vec<u8>> {
        let is_newer = |key: &[u8]| table.newest_seq(key).is_some_and(|seq| seq > since);
        if let Some(key) = self.points.iter().find(|key| is_newer(key)) {
            return Some(key.to_vec());
        }
        if table.order() == Order::Unordered && !self.spans.is_empty() {
            // There are no stretches without an order: any write counts.
            let mut found = None;
            table.for_each_newest(|entry| {
                if found.is_none() && entry.seq > since {
                    found = Some(entry.key.to_vec());
                }
            });
            return found;
        }
        self.spans.iter().find_map(|span| span.find_newer(table, since))
    }
}

impl Span {
    fn find_newer(&self, table: &Arc<Memtable>, since: u64) -> Option<Vec<u8>> {
        let lower = self.lower.as_ref().map(Vec::as_slice);
        let upper = self.upper.as_ref().map(Vec::as_slice);
        if self.whole {
            return find_newer(table, since, lower, upper);
        }
        let in_front = self.front.as_deref();
        let in_front = in_front.map(|end| find_newer(table, since, lower, Bound::Included(end)));
        in_front.flatten().or_else(|| {
            let start = self.back.as_deref()?;
            find_newer(table, since, Bound::Included(start), upper)
        })
    }
}

/// The first key between two bounds that has a version above `since`. O(keys between them).
fn find_newer(
    table: &Arc<Memtable>,
    since: u64,
    lower: Bound<&[u8]>,
    upper: Bound<&[u8]>,
) -> Option<Vec<u8>> {
    // Also versions that nobody may see yet.
    let mut cursor = table.cursor(u64::MAX);
    match lower {
        Bound::Unbounded => cursor.seek_first(),
        Bound::Included(key) | Bound::Excluded(key) => cursor.seek(key),
    }
    while cursor.valid() {
        let entry = cursor.entry();
        let is_inside = match upper {
            Bound::Unbounded => true,
            Bound::Included(end) => entry.key <= end,
            Bound::Excluded(end) => entry.key < end,
        };
        if !is_inside {
            return None;
        }
        if entry.seq > since && lower != Bound::Excluded(entry.key) {
            return Some(entry.key.to_vec());
        }
        cursor.next();
    }
    None
}

/// What an iterator inside a transaction has besides.
pub(crate) struct Inside {
    /// The transaction's own writes up to a number of them: newer than everything else.
    pub(crate) own: Option<(Arc<Memtable>, u64)>,
    /// Takes note of what is shown.
    pub(crate) watch: Watch,
}

/// Tells a read set what an iterator shows.
pub(crate) struct Watch {
    reads: Arc<Reads>,
    keyspace: usize,
    span: usize,
}

impl Watch {
    /// An entry was met, shown or not, that expires at `expiry`.
    pub(crate) fn met(&self, key: &[u8], expiry: u64) {
        if self.reads.start_ms < expiry {
            self.reads.inner.lock().expires(expiry, self.keyspace, key);
        }
    }

    /// A key is shown, and with it everything between it and the one shown before.
    pub(crate) fn shown(&self, key: &[u8], forward: bool) {
        self.change(|span| {
            let end = if forward { &mut span.front } else { &mut span.back };
            let end = end.get_or_insert_default();
            end.clear();
            end.extend_from_slice(key);
        });
    }

    /// The iterator has shown that nothing else is there; or it failed.
    pub(crate) fn ended(&self) {
        self.change(|span| span.whole = true);
    }

    fn change(&self, change: impl FnOnce(&mut Span)) {
        change(&mut self.reads.inner.lock().keyspaces[self.keyspace].spans[self.span]);
    }
}
