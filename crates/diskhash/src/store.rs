//! The convenient face: get, put, delete and commit, for an owner that has no log of its own.
//!
//! ```text
//! put, delete -> pending (in memory) -> commit -> merges that are due, then one apply
//! get         -> pending, then candidates
//! ```
//!
//! 1. A crash shows exactly the last commit.
//! 2. Each slot on disk has one byte more than the owner's: 0 for a deleted one, 1 for one that is
//!    there. A deleted slot is a copy of what it deletes, so that merges can tell its key.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use vfs::{Env, Error, Fs, Lock, Result, StdFs};

use crate::address::keep;
use crate::format::SLOT_LEN_MAX;
use crate::generation::Stats;
use crate::merge::{Owner, Verdict};
use crate::options::Options;
use crate::recover::{At, Leftovers};
use crate::table::Table;

const DELETED: u8 = 0;
const THERE: u8 = 1;

type SameKey = Box<dyn FnMut(&[u8], &[u8]) -> Result<bool> + Send>;

/// A table with changes of its own in memory, for one owner at a time.
///
/// Slots are told apart by closures: `matches` of each call says whether a slot is the key's that
/// is meant, `same_key` given at open whether two slots are of one key.
///
/// ```
/// # fn main() -> vfs::Result<()> {
/// # let dir = tempfile::tempdir().expect("a scratch directory");
/// # let path = dir.path();
/// use diskhash::{Options, Store};
///
/// // A slot is a key of 4 bytes and a position of 4.
/// let same_key = |one: &[u8], other: &[u8]| Ok(one[..4] == other[..4]);
/// let mut store = Store::open_dir(path, Options::new(8), same_key)?;
/// let hash = 0x9e37_79b9_7f4a_7c15; // of the key, better keyed with `store.seed()`
/// store.put(hash, b"lily0001", |slot| Ok(&slot[..4] == b"lily"))?;
/// store.commit()?;
/// assert_eq!(store.get(hash, |slot| Ok(&slot[..4] == b"lily"))?, Some(b"lily0001".to_vec()));
/// store.close()
/// # }
/// ```
pub struct Store {
    table: Table,
    slot_len: usize,
    hash_bytes: u8,
    same_key: SameKey,
    /// By kept hash; of each key one slot, with its last byte.
    pending: BTreeMap<u64, Vec<Vec<u8>>>,
    lock: Box<dyn Lock>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("table", &self.table).finish_non_exhaustive()
    }
}

/// Merges by the owner's word; deleted slots go when they hide nothing.
struct Merger<'a> {
    same_key: &'a mut SameKey,
}

impl Owner for Merger<'_> {
    fn same_key(&mut self, newer: &[u8], older: &[u8]) -> Result<bool> {
        (self.same_key)(split(newer).0, split(older).0)
    }

    fn judge(&mut self, slot: &[u8], oldest: bool) -> Result<Verdict> {
        let is_spent = oldest && split(slot).1 == DELETED;
        Ok(if is_spent { Verdict::Drop } else { Verdict::Keep })
    }
}

/// The owner's part of a slot, and the byte behind it.
fn split(slot: &[u8]) -> (&[u8], u8) {
    let (mark, slot) = slot.split_last().expect("a slot has a last byte");
    (slot, *mark)
}

fn join(slot: &[u8], mark: u8) -> Vec<u8> {
    let mut joined = Vec::with_capacity(slot.len() + 1);
    joined.extend_from_slice(slot);
    joined.push(mark);
    joined
}

impl Store {
    /// Opens or makes a store in the directory at `path`, which is created if it is missing.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_dir(
        path: impl AsRef<Path>,
        options: Options,
        same_key: impl FnMut(&[u8], &[u8]) -> Result<bool> + Send + 'static,
    ) -> Result<Store> {
        Store::open(StdFs::create(path)?, &Env::system(), options, same_key)
    }

    /// Opens or makes a store in a directory of its own, and locks that. `same_key` tells whether
    /// two slots that were put under one hash are of one key.
    ///
    /// # Errors
    /// `Locked`, `Invalid` for an option out of range (a slot has at most 1023 bytes here) or other
    /// than stored, `Corrupt` with file and offset, and what the disk says.
    pub fn open(
        fs: Arc<dyn Fs>,
        env: &Env,
        options: Options,
        same_key: impl FnMut(&[u8], &[u8]) -> Result<bool> + Send + 'static,
    ) -> Result<Store> {
        if options.slot_len == 0 || options.slot_len >= SLOT_LEN_MAX {
            return Err(Error::invalid("slot_len is 1 to 1023", fs.path()));
        }
        let lock = fs.lock()?;
        let (slot_len, hash_bytes) = (options.slot_len.into(), options.hash_bytes);
        let options = Options { slot_len: options.slot_len + 1, ..options };
        let open =
            |leftovers| Table::open(Arc::clone(&fs), env, options.clone(), At::Latest, leftovers);
        let mut table = open(Leftovers::Keep)?;
        if table.quarantined().is_empty() {
            // Nothing unknown was left: what an earlier open has set aside is not needed.
            table = open(Leftovers::Remove)?;
        }
        let same_key: SameKey = Box::new(same_key);
        Ok(Store { table, slot_len, hash_bytes, same_key, pending: BTreeMap::new(), lock })
    }

    /// A random number, drawn when the store was made: the key for the owner's hash.
    pub fn seed(&self) -> u64 {
        self.table.seed()
    }

    /// What is on disk, in numbers.
    pub fn stats(&self) -> Stats {
        self.table.newest().stats()
    }

    /// How many puts and deletes wait for a commit.
    pub fn pending(&self) -> usize {
        self.pending.values().map(Vec::len).sum()
    }

    /// The newest slot of the key that `matches` knows, committed or not.
    ///
    /// # Errors
    /// `Corrupt`, what the disk says, and what `matches` says.
    pub fn get(
        &self,
        hash: u64,
        mut matches: impl FnMut(&[u8]) -> Result<bool>,
    ) -> Result<Option<Vec<u8>>> {
        let found = self.find(hash, &mut matches)?;
        Ok(found.filter(|slot| split(slot).1 == THERE).map(|mut slot| {
            slot.pop();
            slot
        }))
    }

    fn find(
        &self,
        hash: u64,
        matches: &mut dyn FnMut(&[u8]) -> Result<bool>,
    ) -> Result<Option<Vec<u8>>> {
        for slot in self.pending.get(&keep(hash, self.hash_bytes)).into_iter().flatten() {
            if matches(split(slot).0)? {
                return Ok(Some(slot.clone()));
            }
        }
        let mut found = None;
        self.table.newest().candidates(hash, &mut |slot| {
            if !matches(split(slot).0)? {
                return Ok(ControlFlow::Continue(()));
            }
            found = Some(slot.to_vec());
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }

    /// Puts a slot in the place of the key's older one, from the next commit on durably.
    ///
    /// # Errors
    /// What `matches` says; `Invalid` if the slot has another length than the store's.
    pub fn put(
        &mut self,
        hash: u64,
        slot: &[u8],
        mut matches: impl FnMut(&[u8]) -> Result<bool>,
    ) -> Result<()> {
        if slot.len() != self.slot_len {
            let what = format!("a slot has {} bytes, not {}", self.slot_len, slot.len());
            return Err(Error::invalid(what, self.table.fs().path()));
        }
        self.set(hash, join(slot, THERE), &mut matches)
    }

    /// Deletes the key's slot, from the next commit on durably. False if there is none.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn delete(
        &mut self,
        hash: u64,
        mut matches: impl FnMut(&[u8]) -> Result<bool>,
    ) -> Result<bool> {
        let found = self.find(hash, &mut matches)?;
        let Some(slot) = found.filter(|slot| split(slot).1 == THERE) else { return Ok(false) };
        self.set(hash, join(split(&slot).0, DELETED), &mut matches)?;
        Ok(true)
    }

    fn set(
        &mut self,
        hash: u64,
        slot: Vec<u8>,
        matches: &mut dyn FnMut(&[u8]) -> Result<bool>,
    ) -> Result<()> {
        let slots = self.pending.entry(keep(hash, self.hash_bytes)).or_default();
        for old in slots.iter_mut() {
            if matches(split(old).0)? {
                *old = slot;
                return Ok(());
            }
        }
        slots.push(slot);
        Ok(())
    }

    /// Makes all puts and deletes so far durable, all or none, after the merges that are due.
    ///
    /// # Errors
    /// `Locked` if somebody took the lock away, what `same_key` says, and what the disk says. What
    /// was to be committed still waits, and a crash shows the last commit; after `NoSpace` or an
    /// error of `same_key` the next commit may succeed.
    pub fn commit(&mut self) -> Result<()> {
        self.lock.verify()?;
        while let Some(mut job) = self.table.plan(false) {
            let mut owner = Merger { same_key: &mut self.same_key };
            while !job.step(&mut owner)? {}
            self.replace(job.finish())?;
        }
        let mut builder = self.table.builder();
        for (hash, slots) in &self.pending {
            for slot in slots {
                builder.add(*hash, slot);
            }
        }
        if let Some(built) = builder.finish()? {
            self.replace(built)?;
        }
        self.pending.clear();
        Ok(())
    }

    fn replace(&mut self, built: crate::commit::Built) -> Result<()> {
        let before = self.table.newest().id();
        self.table.commit(built)?;
        self.table.release(before);
        Ok(())
    }

    /// Shows every slot that is there with its kept hash, committed or not, in the order of the
    /// hashes.
    ///
    /// # Errors
    /// As [`Store::get`], and what `same_key` and `visit` say.
    pub fn for_each(&mut self, mut visit: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let generation = self.table.newest();
        let mut cursor = generation.cursor();
        let mut waiting = self.pending.iter().peekable();
        // The newest slots of the keys of one hash.
        let (mut group, mut heads) = (0, Vec::<Vec<u8>>::new());
        loop {
            let next = cursor.next()?;
            let until = next.map_or(u64::MAX, |(hash, _)| hash);
            while let Some((hash, slots)) = waiting.next_if(|(hash, _)| **hash <= until) {
                show(group, &mut heads, &mut visit)?;
                group = *hash;
                heads.clone_from(slots);
            }
            let Some((hash, slot)) = next else { break };
            if hash != group {
                show(group, &mut heads, &mut visit)?;
                group = hash;
            }
            let mut is_older = false;
            for head in &heads {
                is_older = is_older || (self.same_key)(split(head).0, split(slot).0)?;
            }
            if !is_older {
                heads.push(slot.to_vec());
            }
        }
        show(group, &mut heads, &mut visit)
    }

    /// Commits what waits, and lets go of the directory. A store that is dropped instead forgets
    /// what was not committed.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn close(mut self) -> Result<()> {
        self.commit()
    }
}

fn show(
    hash: u64,
    heads: &mut Vec<Vec<u8>>,
    visit: &mut impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<()> {
    for head in heads.drain(..) {
        let (slot, mark) = split(&head);
        if mark == THERE {
            visit(hash, slot)?;
        }
    }
    Ok(())
}
