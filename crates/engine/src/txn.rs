//! Optimistic, serializable transactions.
//!
//! begin  -> registered in the history -> view and seq pinned
//! read   -> own writes, newest first -> the pinned state; noted in the read set
//! write  -> batch, and an overlay for own reads
//! commit -> [commit lock: nothing that was read has changed -> seq, log frame, memtables] -> ack
//!
//! 1. A transaction that commits read what it would read at its place in the order of all writes:
//!    no version above its seq, in any memtable that was active since it began, is of a key or in a
//!    stretch of keys that it read, and nothing it read expired while it was open.
//! 2. Check and place in the order are one step under the commit lock. Whoever has a seq is in a
//!    memtable when that lock is released, visible or not.
//! 3. One that writes nothing commits without a check but the clock's: it read one state, which is
//!    a place in the order.
//!
//! A false conflict is allowed, a missed one never. A write nobody reads never conflicts.

use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::time::Duration;

use memtable::{Entry, Kind, Memtable, Pool};

use vfs::planted::{self, Bug};

use crate::batch::Batch;
use crate::error::{Error, ErrorKind, Result};
use crate::handle::Shared;
use crate::history::Ticket;
use crate::keyspace::Keyspace;
use crate::options::{BATCH_LEN_MAX, VALUE_LEN_MAX, WriteOptions};
use crate::pins::Pin;
use crate::range::{Range, prefix_end};
use crate::read::{self, Value};
use crate::reads::{Inside, Reads};
use crate::record::RecordKind;
use crate::view::new_memtable;
use crate::write::{self, Op};

/// Reads and writes that take effect together at one moment, across keyspaces, or not at all.
///
/// It reads the state of the moment it began plus its own writes, in iterators too, and blocks
/// nobody. [`commit`](Transaction::commit) fails with `Conflict` if something it read, gaps in
/// ranges included, was written or expired since; then nothing was changed and the whole
/// transaction may be run again, which [`Db::transact`](crate::Db::transact) does by itself.
/// Dropping it is [`rollback`](Transaction::rollback).
///
/// While it is open it keeps the memtables of its moment in memory, as a snapshot does
/// (`Options::pinned_bytes_max`), and those flushed since (`Options::txn_history_bytes`). A commit
/// looks up each key it read in the memtables written to since, and walks through what of them is
/// inside the ranges it read: first while others write on, then again for what came meanwhile.
///
/// ```
/// # let dir = tempfile::tempdir().expect("a temporary directory");
/// # let path = dir.path().join("data");
/// # let db = engine::Db::open(&path, engine::Options::default())?;
/// # let seats = db.default_keyspace();
/// db.put(b"seat 1", b"free")?;
/// let mut txn = db.transaction();
/// if txn.get(seats, b"seat 1")?.as_deref() == Some(b"free") {
///     txn.put(seats, b"seat 1", b"alice")?;
/// }
/// txn.commit()?;
/// assert_eq!(db.get(b"seat 1")?.as_deref(), Some(b"alice".as_slice()));
/// # Ok::<(), engine::Error>(())
/// ```
///
/// It ends by being given away, so it cannot end twice (row 113):
///
/// ```compile_fail,E0382
/// # fn main() -> engine::Result<()> {
/// # let db = engine::Db::open("data", engine::Options::default())?;
/// let txn = db.transaction();
/// txn.commit()?;
/// txn.rollback();
/// # Ok(())
/// # }
/// ```
///
/// nor be written into when it is over (row 87), by whatever was read in it: values are owned, there is
/// no guard that writes when it is dropped.
///
/// ```compile_fail,E0382
/// # fn main() -> engine::Result<()> {
/// # let db = engine::Db::open("data", engine::Options::default())?;
/// let mut txn = db.transaction();
/// let value = txn.get(db.default_keyspace(), b"seat 1")?;
/// txn.commit()?;
/// txn.put(db.default_keyspace(), b"seat 1", b"late")?;
/// drop(value);
/// # Ok(())
/// # }
/// ```
#[must_use = "a transaction that is not committed changes nothing"]
pub struct Transaction {
    shared: Arc<Shared>,
    ticket: Arc<Ticket>,
    pin: Arc<Pin>,
    reads: Arc<Reads>,
    writes: Batch,
    /// Key and value bytes of the writes.
    bytes: usize,
    /// Own writes by keyspace; an entry's seq and pointer is the number of the write, from 1.
    own: Vec<(u32, Arc<Memtable>)>,
}

impl Transaction {
    pub(crate) fn begin(shared: &Arc<Shared>) -> Transaction {
        let (shared, state) = (shared.clone(), &shared.state);
        // In this order: the time before the state, so that whatever expires from here on counts
        // as expiring meanwhile, and the ticket before the view, so that no flush in between is
        // missed.
        let reads = Arc::new(Reads::new(state.now_ms()));
        let ticket = {
            let mut history = state.history.lock();
            history.begin(state.visible())
        };
        let pin = state.pin();
        let writes = Batch::new(state.owner);
        Transaction { ticket, pin, reads, writes, bytes: 0, own: Vec::new(), shared }
    }

    fn check(&self, keyspace: &Keyspace) -> Result<()> {
        self.shared.state.check_open()?;
        if keyspace.owner() == self.shared.state.owner {
            return Ok(());
        }
        let name = keyspace.name();
        Err(Error::invalid(format!("keyspace {name:?} belongs to another database")))
    }

    fn own(&self, id: u32) -> Option<&Arc<Memtable>> {
        self.own.iter().find(|(own, _)| *own == id).map(|(_, table)| table)
    }

    /// The value of a key: what this transaction wrote, else what it was when it began. A time to
    /// live that was given in this transaction runs from the commit.
    ///
    /// # Errors
    /// `NotFound` if the keyspace was not there when the transaction began, `SnapshotExpired` if
    /// it has been open for too long.
    pub fn get(&self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.check(keyspace)?;
        let key = key.as_ref();
        let read = |entry: Entry<'_>| match entry.kind {
            Kind::Delete => None,
            Kind::Put | Kind::Pointer => Some(Value::new(vfs::Bytes::copy_from_slice(entry.value))),
        };
        if let Some(own) = self.own(keyspace.id).and_then(|own| own.get(key, u64::MAX, read)) {
            return Ok(own);
        }
        let (state, view) = (&self.shared.state, self.pin.view()?);
        let (value, expiry) = read::get_with_expiry(state, &view, self.pin.seq, keyspace.id, key)?;
        self.reads.point(keyspace.id, keyspace.name(), key, expiry);
        Ok(value)
    }

    /// True if a key has a value, which is not read.
    pub fn contains(&self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Result<bool> {
        self.check(keyspace)?;
        let key = key.as_ref();
        let is_put = |entry: Entry<'_>| entry.kind != Kind::Delete;
        if let Some(own) = self.own(keyspace.id).and_then(|own| own.get(key, u64::MAX, is_put)) {
            return Ok(own);
        }
        let (state, view) = (&self.shared.state, self.pin.view()?);
        let (is_there, expiry) =
            read::contains_with_expiry(state, &view, self.pin.seq, keyspace.id, key)?;
        self.reads.point(keyspace.id, keyspace.name(), key, expiry);
        Ok(is_there)
    }

    /// Entries whose keys are in a range, in order, from either end, own writes up to this call
    /// included. What it shows, gaps included, counts as read; what it is never asked for does
    /// not.
    pub fn range<K: AsRef<[u8]>>(&self, keyspace: &Keyspace, range: impl RangeBounds<K>) -> Range {
        let lower = range.start_bound().map(AsRef::as_ref);
        let upper = range.end_bound().map(AsRef::as_ref);
        self.new_range(keyspace, lower, upper)
    }

    /// Entries whose keys start with a prefix, in order; as [`Transaction::range`].
    pub fn prefix(&self, keyspace: &Keyspace, prefix: impl AsRef<[u8]>) -> Range {
        let end = prefix_end(prefix.as_ref());
        let upper = end.as_ref().map(Vec::as_slice);
        self.new_range(keyspace, Bound::Included(prefix.as_ref()), upper)
    }

    /// All entries, in order; as [`Transaction::range`]. In a hash keyspace in no order, and then any
    /// write to the keyspace is a conflict.
    pub fn iter(&self, keyspace: &Keyspace) -> Range {
        if let Err(error) = self.check(keyspace) {
            return Range::failed(error);
        }
        let inside = self.inside(keyspace, Bound::Unbounded, Bound::Unbounded);
        Range::all(&self.shared.state, self.pin.clone(), keyspace.id, Some(inside))
    }

    fn new_range(&self, keyspace: &Keyspace, lower: Bound<&[u8]>, upper: Bound<&[u8]>) -> Range {
        if let Err(error) = self.check(keyspace) {
            return Range::failed(error);
        }
        let inside = self.inside(keyspace, lower, upper);
        let (state, pin) = (&self.shared.state, self.pin.clone());
        Range::new(state, pin, keyspace.id, lower, upper, Some(inside))
    }

    fn inside(&self, keyspace: &Keyspace, lower: Bound<&[u8]>, upper: Bound<&[u8]>) -> Inside {
        let own = self.own(keyspace.id).map(|own| (own.clone(), self.writes.len() as u64));
        Inside { own, watch: self.reads.span(keyspace.id, keyspace.name(), lower, upper) }
    }

    /// Sets a key's value. An empty value is a value.
    ///
    /// # Errors
    /// `Invalid` over a limit; the transaction goes on without this write.
    pub fn put(
        &mut self,
        keyspace: &Keyspace,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<()> {
        self.write(keyspace, RecordKind::Put, None, key.as_ref(), value.as_ref())
    }

    /// Sets a key's value, which vanishes `ttl` after the commit (rounded up to milliseconds).
    ///
    /// # Errors
    /// As [`Transaction::put`].
    pub fn put_ttl(
        &mut self,
        keyspace: &Keyspace,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        ttl: Duration,
    ) -> Result<()> {
        self.write(keyspace, RecordKind::Put, Some(ttl), key.as_ref(), value.as_ref())
    }

    /// Removes a key; it need not exist.
    ///
    /// # Errors
    /// As [`Transaction::put`].
    pub fn delete(&mut self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Result<()> {
        self.write(keyspace, RecordKind::Delete, None, key.as_ref(), &[])
    }

    fn write(
        &mut self,
        keyspace: &Keyspace,
        kind: RecordKind,
        ttl: Option<Duration>,
        key: &[u8],
        value: &[u8],
    ) -> Result<()> {
        self.check(keyspace)?;
        read::check_key(key)?;
        if value.len() > VALUE_LEN_MAX {
            let found = value.len();
            let message = format!("the value has {found} bytes, at most {VALUE_LEN_MAX}");
            return Err(Error::invalid(message));
        }
        let bytes = self.bytes + key.len() + value.len();
        if bytes > BATCH_LEN_MAX {
            let message = format!("the transaction has more than {BATCH_LEN_MAX} bytes to write");
            return Err(Error::invalid(message));
        }
        self.bytes = bytes;
        let id = keyspace.id;
        let table = self.own(id).cloned().unwrap_or_else(|| {
            let table = new_memtable(keyspace.kind(), &Pool::default());
            self.own.push((id, table.clone()));
            table
        });
        self.writes.push(id, kind, ttl, key, value);
        let number = self.writes.len() as u64;
        let kind = if kind == RecordKind::Put { Kind::Put } else { Kind::Delete };
        table.insert_one(Entry { key, seq: number, kind, expiry: 0, pointer: number, value });
        Ok(())
    }

    /// Makes the writes visible, all at once; as durable as a `put`.
    ///
    /// # Errors
    /// `Conflict` if something that was read has changed since, a keyspace that was read is gone,
    /// or the transaction was open for too long (`Options::txn_history_bytes`): nothing was
    /// changed; run it again. [`Error::conflict`] names the key. `NotFound` if a keyspace to be
    /// written to was dropped. Otherwise as [`Db::write`](crate::Db::write).
    pub fn commit(self) -> Result<()> {
        self.commit_with(WriteOptions::default())
    }

    /// As [`Transaction::commit`], with options for the write; a time to live is for the entries
    /// that have none of their own. A transaction that wrote nothing, committed as durable,
    /// returns when what it read is.
    ///
    /// # Errors
    /// As [`Transaction::commit`].
    pub fn commit_with(self, options: WriteOptions) -> Result<()> {
        let state = &self.shared.state;
        state.check_open()?;
        options.validate()?;
        if self.writes.is_empty() {
            self.reads
                .check_clock(state.now_ms())
                .map_err(|error| write::after_loss(state, error))?;
            return if options.durable { write::write(state, &[], &options) } else { Ok(()) };
        }
        let ops = self.ops(&options);
        let mut since = self.pin.seq;
        if self.reads.is_long() {
            // The long checks outside the lock; what came until then need not be looked at again.
            let last_seq = state.commit.lock().last_seq;
            self.admit(since).map_err(|error| write::after_loss(state, error))?;
            since = since.max(last_seq);
        }
        write::write_if(state, &ops, &options, &|| self.admit(since))
    }

    /// Forgets the writes. Dropping the transaction does the same.
    pub fn rollback(self) {}

    /// The last write to each key.
    fn ops(&self, options: &WriteOptions) -> Vec<Op<'_>> {
        let entries = self.writes.entries.iter().zip(1..);
        let keys: u64 = self.own.iter().map(|(_, own)| own.keys()).sum();
        let all = keys == self.writes.len() as u64;
        let is_last = |keyspace: u32, key: &[u8], number: u64| {
            let own = self.own(keyspace).expect("every write is in the overlay");
            own.get(key, u64::MAX, |entry| entry.pointer) == Some(number)
        };
        let last = entries.filter(|(entry, number)| {
            all || is_last(entry.keyspace, self.writes.key(entry), *number)
        });
        last.map(|(entry, _)| write::op_of(&self.writes, entry, options)).collect()
    }

    /// `Conflict` if something that was read has changed after `since`, or the transaction is too
    /// old to tell.
    fn admit(&self, since: u64) -> Result<()> {
        let state = &self.shared.state;
        if planted::is(Bug::ConflictMissed) {
            return Ok(());
        }
        // The view first: what a flush takes from it is in the history before.
        let view = state.view();
        let kept = state.history.lock().since(&self.ticket)?;
        self.reads.check(&view, &kept, since)?;
        self.reads.check_clock(state.now_ms())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.shared.state.history.lock().end(&self.ticket);
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transaction(seq {}, {} writes)", self.pin.seq, self.writes.len())
    }
}

/// Runs transactions until one commits.
pub(crate) fn transact<T>(
    shared: &Arc<Shared>,
    options: &WriteOptions,
    mut run: impl FnMut(&mut Transaction) -> Result<T>,
) -> Result<T> {
    shared.state.turns.until_won(|| {
        let mut txn = Transaction::begin(shared);
        let pin = txn.pin.clone();
        let ended = run(&mut txn).and_then(|answer| {
            txn.commit_with(options.clone())?;
            Ok(answer)
        });
        // The next attempt has a snapshot of its own.
        ended.map_err(|error| match error.kind() {
            ErrorKind::SnapshotExpired if pin.check().is_err() => error.lost(),
            _ => error,
        })
    })
}
