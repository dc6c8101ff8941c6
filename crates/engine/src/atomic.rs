//! Read and write of one key in one step: optimistic, without a transaction's bookkeeping.
//!
//! read at a seq -> decide -> write, if no version of the key came since -> else again
//!
//! Everything above the seq is in a memtable of the newest view, unless a flush took it away
//! meanwhile: then the attempt counts as lost, too.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use memtable::Memtable;

use crate::error::{Error, Result};
use crate::keyspace::Keyspace;
use crate::options::WriteOptions;
use crate::read::{self, Value};
use crate::record::RecordKind;
use crate::write::{self, Expiry, Op};

/// How long an entry still lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TimeToLive {
    /// It has no time to live.
    Forever,
    /// So long, more than zero, by the database's clock.
    Left(Duration),
}

/// What becomes of a key.
enum Next<'a> {
    Same,
    Gone,
    Put(Cow<'a, [u8]>, Expiry),
}

/// What a key holds.
struct Current {
    value: Option<Value>,
    /// Milliseconds since 1970; 0 if there is no value or it stays.
    expiry: u64,
}

impl Current {
    /// As its expiry is.
    fn kept(&self) -> Expiry {
        if self.expiry == 0 { Expiry::Never } else { Expiry::At(self.expiry) }
    }
}

/// Calls that read and write one key in one step, also against every other writer. What they
/// write is as durable as a `put`; for a durable one use a transaction and
/// [`Transaction::commit_with`](crate::Transaction::commit_with).
///
/// Under contention they try again; `Conflict` after very many attempts means that others write to
/// the key all the time.
impl Keyspace {
    /// Sets a key's value to `new`, or removes it if that is `None`, if it is `expected` now
    /// (`None`: absent). Returns whether it was. The new value lives for ever, as after a `put`.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().expect("a temporary directory");
    /// # let path = dir.path().join("data");
    /// # let db = engine::Db::open(&path, engine::Options::default())?;
    /// assert!(db.compare_and_swap(b"leader", None, Some(b"me"))?);
    /// assert!(!db.compare_and_swap(b"leader", None, Some(b"you"))?);
    /// assert!(db.compare_and_swap(b"leader", Some(b"me"), None)?);
    /// assert!(!db.contains(b"leader")?);
    /// # Ok::<(), engine::Error>(())
    /// ```
    pub fn compare_and_swap(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool> {
        self.update(key.as_ref(), |current| {
            if current.value.as_deref() != expected {
                return (false, Next::Same);
            }
            match new {
                Some(new) => (true, Next::Put(new.into(), Expiry::Never)),
                None if expected.is_none() => (true, Next::Same),
                None => (true, Next::Gone),
            }
        })
    }

    /// Sets a key's value to what `update` makes of it, or removes it if that is `None`; returns
    /// the value it had. The time to live stays as it is: an updated counter expires when it
    /// would have. `update` may be asked again after it lost to another write; the last answer
    /// counts. If it returns what it was given, nothing is written.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().expect("a temporary directory");
    /// # let path = dir.path().join("data");
    /// # let db = engine::Db::open(&path, engine::Options::default())?;
    /// let increment = |old: Option<&[u8]>| {
    ///     let count = old.map_or(0, |old| old.try_into().map_or(0, u64::from_le_bytes));
    ///     Some((count + 1).to_le_bytes().to_vec())
    /// };
    /// assert_eq!(db.fetch_update(b"visits", increment)?, None);
    /// assert_eq!(db.fetch_update(b"visits", increment)?.as_deref(), Some(&1_u64.to_le_bytes()[..]));
    /// # Ok::<(), engine::Error>(())
    /// ```
    pub fn fetch_update(
        &self,
        key: impl AsRef<[u8]>,
        mut update: impl FnMut(Option<&[u8]>) -> Option<Vec<u8>>,
    ) -> Result<Option<Value>> {
        self.update(key.as_ref(), |current| {
            let old = current.value.as_deref();
            let next = match update(old) {
                new if new.as_deref() == old => Next::Same,
                Some(new) => Next::Put(new.into(), current.kept()),
                None => Next::Gone,
            };
            (current.value.clone(), next)
        })
    }

    /// Removes a key and returns the value it had. Of several callers one gets it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().expect("a temporary directory");
    /// # let path = dir.path().join("data");
    /// # let db = engine::Db::open(&path, engine::Options::default())?;
    /// db.put(b"job", b"sweep")?;
    /// assert_eq!(db.delete_and_get(b"job")?.as_deref(), Some(b"sweep".as_slice()));
    /// assert_eq!(db.delete_and_get(b"job")?, None);
    /// # Ok::<(), engine::Error>(())
    /// ```
    pub fn delete_and_get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.update(key.as_ref(), |current| {
            let next = if current.value.is_some() { Next::Gone } else { Next::Same };
            (current.value.clone(), next)
        })
    }

    /// Lets a key vanish after `ttl` from now (rounded up to milliseconds), whatever time it had
    /// left. False if it has no value. The value is written anew.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().expect("a temporary directory");
    /// # let path = dir.path().join("data");
    /// # let db = engine::Db::open(&path, engine::Options::default())?;
    /// use engine::TimeToLive;
    /// use std::time::Duration;
    /// db.put(b"session", b"alice")?;
    /// assert!(db.expire(b"session", Duration::from_secs(60))?);
    /// assert!(matches!(db.ttl(b"session")?, Some(TimeToLive::Left(left)) if left.as_secs() < 61));
    /// assert!(db.persist(b"session")?);
    /// assert_eq!(db.ttl(b"session")?, Some(TimeToLive::Forever));
    /// assert!(!db.expire(b"nobody", Duration::from_secs(60))?);
    /// # Ok::<(), engine::Error>(())
    /// ```
    pub fn expire(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<bool> {
        self.update(key.as_ref(), |current| match &current.value {
            Some(value) => (true, Next::Put(value.to_vec().into(), Expiry::After(ttl))),
            None => (false, Next::Same),
        })
    }

    /// Lets a key live for ever. False if it has no value. The value is written anew if it had a
    /// time to live.
    pub fn persist(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.update(key.as_ref(), |current| match &current.value {
            Some(value) if current.expiry != 0 => {
                (true, Next::Put(value.to_vec().into(), Expiry::Never))
            }
            value => (value.is_some(), Next::Same),
        })
    }

    /// How long a key still lives; `None` if it has no value. The value is not read.
    pub fn ttl(&self, key: impl AsRef<[u8]>) -> Result<Option<TimeToLive>> {
        let state = &self.shared.state;
        state.check_open()?;
        let view = state.view();
        let seq = state.visible();
        let (is_there, expiry) =
            read::contains_with_expiry(state, &view, seq, self.id, key.as_ref())?;
        if !is_there {
            return Ok(None);
        }
        if expiry == 0 {
            return Ok(Some(TimeToLive::Forever));
        }
        let left = expiry.saturating_sub(state.now_ms());
        let is_over = state.is_over(expiry) || left == 0;
        Ok((!is_over).then(|| TimeToLive::Left(Duration::from_millis(left))))
    }

    /// Decides over a key by what it holds, until no other write comes in between.
    fn update<'a, T>(
        &self,
        key: &[u8],
        mut decide: impl FnMut(&Current) -> (T, Next<'a>),
    ) -> Result<T> {
        let state = &self.shared.state;
        state.turns.until_won(|| {
            state.check_open()?;
            let (view, seq) = state.newest();
            let (value, expiry) = read::get_with_expiry(state, &view, seq, self.id, key)?;
            drop(view);
            let expiry = if value.is_some() { expiry } else { 0 };
            let current = Current { value, expiry };
            let (answer, next) = decide(&current);
            let (kind, value, expiry) = match &next {
                Next::Same => return Ok(answer),
                Next::Gone => (RecordKind::Delete, [].as_slice(), Expiry::Never),
                Next::Put(value, expiry) => (RecordKind::Put, &**value, *expiry),
            };
            let op = Op { keyspace: self.id, kind, expiry, key, value };
            let admit = || self.admit(key, seq, &current);
            write::write_if(state, &[op], &WriteOptions::default(), &admit)?;
            Ok(answer)
        })
    }

    /// `Conflict` if a key may not be what it was at `seq`. The caller holds the commit lock.
    fn admit(&self, key: &[u8], seq: u64, current: &Current) -> Result<()> {
        let state = &self.shared.state;
        let view = state.view();
        let keyspace = read::find_keyspace(&view, self.id)?;
        let newer = |table: &Arc<Memtable>| {
            table.max_seq() > Some(seq) && table.newest_seq(key) > Some(seq)
        };
        let why = if view.flushed_seq > seq {
            "may have been written and flushed since it was read"
        } else if keyspace.memtables.iter().any(newer) {
            "was written since it was read"
        } else if state.is_over(current.expiry) {
            "expired since it was read"
        } else {
            return Ok(());
        };
        Err(Error::lost_over(&keyspace.name, key, why))
    }
}
