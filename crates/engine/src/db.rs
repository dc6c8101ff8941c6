//! The public face; thin. The work is in `write.rs`, `read.rs`, `flush.rs` and `recover.rs`.

use std::fmt;
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use vfs::{Env, Fs, StdFs};

use crate::atomic::TimeToLive;
use crate::batch::Batch;
use crate::check::{self, CheckReport};
use crate::checkpoint;
use crate::collect;
use crate::error::{ErrorKind, Result};
use crate::flush;
use crate::handle::Shared;
use crate::jobs;
use crate::keyspace::Keyspace;
use crate::keyspaces;
use crate::merge;
use crate::options::{DEFAULT_KEYSPACE, IndexKind, KeyspaceOptions, Options, WriteOptions};
use crate::range::Range;
use crate::read::Value;
use crate::recover;
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::stats::{self, Stats};
use crate::txn::{self, Transaction};
use crate::write;

/// Log segments behind the recovered memtables at which an open flushes them: a chain of crashes
/// or short opens must not make it grow for ever.
const REPLAY_SEGMENTS_MAX: usize = 8;

/// An open database. Cheap to clone; all clones are one database.
///
/// Dropping the last handle (`Db`, [`Keyspace`], [`Snapshot`], [`Transaction`]) closes it;
/// [`Db::close`] also says whether that went well.
///
/// ```
/// # let dir = tempfile::tempdir().expect("a temporary directory");
/// # let path = dir.path().join("data");
/// use engine::{Db, Options};
/// let db = Db::open(&path, Options::default())?;
/// db.put(b"name", b"lotus")?;
/// assert_eq!(db.get(b"name")?.as_deref(), Some(b"lotus".as_slice()));
/// db.delete(b"name")?;
/// db.close()?;
/// # Ok::<(), engine::Error>(())
/// ```
#[derive(Clone)]
pub struct Db {
    shared: Arc<Shared>,
    default: Keyspace,
}

impl Db {
    /// Opens the database in a directory, or creates it there.
    ///
    /// # Errors
    /// `Locked` if it is open elsewhere, `Invalid` for options out of range or a path that holds
    /// something else, `NotFound` if it is missing and may not be created, `Corrupt` if a file
    /// that it needs is missing or damaged. Nothing is changed then.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Db> {
        options.validate()?;
        let path = path.as_ref();
        let fs = match StdFs::open(path) {
            Err(vfs::Error::NotFound { .. }) if options.create_if_missing => StdFs::create(path)?,
            opened => opened?,
        };
        Db::open_on(fs, Env::system(), options)
    }

    /// Opens the database in an open directory of any file system, with injected time, randomness
    /// and background work.
    ///
    /// # Errors
    /// As [`Db::open`].
    pub fn open_on(fs: Arc<dyn Fs>, env: Env, options: Options) -> Result<Db> {
        options.validate()?;
        let (state, recovery) = recover::open(fs, env, options)?;
        let state = Arc::new(state);
        if state.view().active.segments.read().len() > REPLAY_SEGMENTS_MAX {
            // Every open adds a segment to a log that is not flushed. On a full disk that waits.
            match flush::flush_all(&state) {
                Err(error) if error.kind() != ErrorKind::NoSpace => return Err(error),
                _ => {}
            }
        }
        let jobs = jobs::spawn(&state)?;
        state.jobs.set(jobs).expect("jobs are set once");
        if state.is_pressed() {
            state.wake_flush();
        }
        state.wake_merge();
        let shared = Arc::new(Shared::new(state, recovery));
        let default = KeyspaceOptions { kind: shared.state.files.options.default_kind };
        let (id, name, kind) =
            keyspaces::open_or_create(&shared.state, DEFAULT_KEYSPACE, &default)?;
        let default = Keyspace::new(shared.clone(), id, name, kind);
        Ok(Db { shared, default })
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        &self.shared.state
    }

    /// Sets a key's value in the default keyspace. An empty value is a value.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.default.put(key, value)
    }

    /// As [`Db::put`], with options for this write.
    pub fn put_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: WriteOptions,
    ) -> Result<()> {
        self.default.put_with(key, value, options)
    }

    /// The value of a key in the default keyspace.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.default.get(key)
    }

    /// True if a key has a value in the default keyspace.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.default.contains(key)
    }

    /// Removes a key from the default keyspace; it need not exist.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<()> {
        self.default.delete(key)
    }

    /// Entries of the default keyspace whose keys are in a range, in order.
    pub fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Range {
        self.default.range(range)
    }

    /// Entries of the default keyspace whose keys start with a prefix, in order.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Range {
        self.default.prefix(prefix)
    }

    /// All entries of the default keyspace, in order.
    pub fn iter(&self) -> Range {
        self.default.iter()
    }

    /// The default keyspace.
    pub fn default_keyspace(&self) -> &Keyspace {
        &self.default
    }

    /// Opens a keyspace, or creates it, durably. Names are 1 to 255 bytes of UTF-8; those that
    /// start with `__` are reserved.
    ///
    /// # Errors
    /// `Invalid` for such a name, or if the keyspace exists with another kind of index.
    pub fn keyspace(&self, name: &str, options: KeyspaceOptions) -> Result<Keyspace> {
        let (id, name, kind) = keyspaces::open_or_create(self.state(), name, &options)?;
        Ok(Keyspace::new(self.shared.clone(), id, name, kind))
    }

    /// Names and kinds of all keyspaces, in the order they were created.
    pub fn keyspaces(&self) -> Result<Vec<(String, IndexKind)>> {
        self.state().check_open()?;
        let view = self.state().view();
        Ok(view.keyspaces.iter().map(|found| (found.name.to_string(), found.kind)).collect())
    }

    /// Removes a keyspace and everything in it, durably. Snapshots still see it; other handles
    /// get `NotFound`.
    ///
    /// # Errors
    /// `NotFound` if there is none, `Invalid` for the default keyspace.
    pub fn drop_keyspace(&self, name: &str) -> Result<()> {
        keyspaces::drop_keyspace(self.state(), name)
    }

    /// An empty batch for [`Db::write`].
    pub fn batch(&self) -> Batch {
        Batch::new(self.state().owner)
    }

    /// Writes a batch: all of it or, after an error or a crash, nothing of it. After `Io` or
    /// `ReadOnly` it is unknown which, until the database is opened again.
    pub fn write(&self, batch: Batch, options: WriteOptions) -> Result<()> {
        write::write_batch(self.state(), &batch, &options)
    }

    /// The state of this moment, to read from for as long as one likes.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.shared.clone(), self.state().pin())
    }

    /// Begins a transaction on the state of this moment.
    pub fn transaction(&self) -> Transaction {
        Transaction::begin(&self.shared)
    }

    /// Runs a transaction and commits it; after a `Conflict` again, so `run` should have no
    /// effect but through its transaction. An error of `run` other than `Conflict` rolls back and
    /// is returned. Those that lost take turns, so that they do not lose to each other for ever.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().expect("a temporary directory");
    /// # let path = dir.path().join("data");
    /// # let db = engine::Db::open(&path, engine::Options::default())?;
    /// let accounts = db.default_keyspace();
    /// db.put(b"alice", [9])?;
    /// let left = db.transact(|txn| {
    ///     let of = |name: &[u8]| -> engine::Result<u8> {
    ///         Ok(txn.get(accounts, name)?.map_or(0, |value| value[0]))
    ///     };
    ///     let (alice, bob) = (of(b"alice")?, of(b"bob")?);
    ///     txn.put(accounts, b"alice", [alice - 4])?;
    ///     txn.put(accounts, b"bob", [bob + 4])?;
    ///     Ok(alice - 4)
    /// })?;
    /// assert_eq!((left, db.get(b"bob")?.as_deref()), (5, Some([4].as_slice())));
    /// # Ok::<(), engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Conflict` after very many lost attempts, of which one that held too much memory
    /// (`Options::pinned_bytes_max`) is one; otherwise as [`Transaction::commit`].
    pub fn transact<T>(&self, run: impl FnMut(&mut Transaction) -> Result<T>) -> Result<T> {
        self.transact_with(WriteOptions::default(), run)
    }

    /// As [`Db::transact`], committing as [`Transaction::commit_with`] does.
    ///
    /// # Errors
    /// As [`Db::transact`].
    pub fn transact_with<T>(
        &self,
        options: WriteOptions,
        run: impl FnMut(&mut Transaction) -> Result<T>,
    ) -> Result<T> {
        txn::transact(&self.shared, &options, run)
    }

    /// [`Keyspace::compare_and_swap`] in the default keyspace.
    pub fn compare_and_swap(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool> {
        self.default.compare_and_swap(key, expected, new)
    }

    /// [`Keyspace::fetch_update`] in the default keyspace.
    pub fn fetch_update(
        &self,
        key: impl AsRef<[u8]>,
        update: impl FnMut(Option<&[u8]>) -> Option<Vec<u8>>,
    ) -> Result<Option<Value>> {
        self.default.fetch_update(key, update)
    }

    /// [`Keyspace::delete_and_get`] in the default keyspace.
    pub fn delete_and_get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.default.delete_and_get(key)
    }

    /// [`Keyspace::expire`] in the default keyspace.
    pub fn expire(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<bool> {
        self.default.expire(key, ttl)
    }

    /// [`Keyspace::persist`] in the default keyspace.
    pub fn persist(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.default.persist(key)
    }

    /// [`Keyspace::ttl`] in the default keyspace.
    pub fn ttl(&self, key: impl AsRef<[u8]>) -> Result<Option<TimeToLive>> {
        self.default.ttl(key)
    }

    /// Returns when everything acknowledged before is on stable storage, but for batches that
    /// skipped the log.
    pub fn sync(&self) -> Result<()> {
        self.state().check_writable()?;
        write::sync(self.state())
    }

    /// Moves everything from memory into index files and value segments; returns when that is
    /// durable.
    pub fn flush(&self) -> Result<()> {
        self.state().check_writable()?;
        flush::flush_all(self.state())
    }

    /// Flushes, then merges every index into one sorted run without tombstones, expired entries
    /// and shadowed versions. Takes as long as reading and writing all index files does.
    pub fn compact(&self) -> Result<()> {
        self.flush()?;
        merge::merge_all(self.state())
    }

    /// Makes a second database in a directory, which is created if it is missing: exactly what was
    /// acknowledged when this was called, and perhaps what other threads wrote meanwhile. Files
    /// that never change are linked and take no space, the newest part of the log is copied; on
    /// another file system everything is. Reads, writes, flushes and merges go on meanwhile, and
    /// afterwards the two databases know nothing of each other.
    ///
    /// Everything is on stable storage when this returns. A directory in which a checkpoint was
    /// interrupted does not open as a database and says why. After a clean error it is as empty as
    /// it was.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().expect("a temporary directory");
    /// # let (path, backup) = (dir.path().join("data"), dir.path().join("backup"));
    /// use engine::{Db, Options};
    /// let db = Db::open(&path, Options::default())?;
    /// db.put(b"name", b"lotus")?;
    /// db.checkpoint(&backup)?;
    /// db.delete(b"name")?;
    /// let copy = Db::open(&backup, Options::default())?;
    /// assert_eq!(copy.get(b"name")?.as_deref(), Some(b"lotus".as_slice()));
    /// # Ok::<(), engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the directory holds anything, an unfinished checkpoint for example; `Locked` if
    /// somebody uses it; `NoSpace` if it does not fit there, `ReadOnly` after a failure: a log that
    /// takes no sync has no certain end.
    pub fn checkpoint(&self, path: impl AsRef<Path>) -> Result<()> {
        self.state().check_writable()?;
        self.checkpoint_on(&StdFs::create(path)?)
    }

    /// As [`Db::checkpoint`], into an open directory of any file system.
    ///
    /// # Errors
    /// As [`Db::checkpoint`].
    pub fn checkpoint_on(&self, fs: &Arc<dyn Fs>) -> Result<()> {
        checkpoint::checkpoint(self.state(), fs)
    }

    /// Rewrites value files until no more of their bytes are known garbage than four fifths of what
    /// [`Options::total_garbage_max`] allows, so that the background has nothing to do for a while,
    /// and none is above [`Options::forced_garbage`].
    /// Readers, writers, flushes and merges go on meanwhile. What an index still holds, be it
    /// expired, is not garbage: [`Db::compact`] first lets go of all that can go.
    ///
    /// # Errors
    /// `Corrupt` or `Io`, naming file and offset, for a file that cannot be read: it stays as it
    /// is, the others are done, and the database goes on. `NoSpace` changes nothing.
    pub fn collect_garbage(&self) -> Result<()> {
        self.state().check_writable()?;
        collect::collect_all(self.state())
    }

    /// Reads and verifies every byte of every file. Damage is in the report, not an error.
    pub fn check(&self) -> Result<CheckReport> {
        self.state().check_open()?;
        check::check(self.state())
    }

    /// Numbers about the database.
    pub fn stats(&self) -> Stats {
        stats::collect(self.state(), self.shared.recovery())
    }

    /// Closes the database for all its handles and says whether that went well. Afterwards every
    /// call is `Closed`, a second close too, and the directory can be opened again. Memory is
    /// let go with the last handle, a mapped file with the last `Value` in it.
    pub fn close(self) -> Result<()> {
        self.shared.close()
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Db({})", self.state().files.fs.path().display())
    }
}
