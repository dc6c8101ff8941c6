//! The handle: apply, commit, plan, release.

use std::sync::Arc;

use vfs::{Env, Fs, Name, Result};

use crate::address::{Layout, Prefix, keep};
use crate::commit::{Built, Change, NewFiles, Shared};
use crate::generation::Generation;
use crate::options::{Options, RUN};
use crate::recover::{At, Leftovers, open};
use crate::writer::{RunWriter, section_bits};

/// A table: one directory, changed by commits only.
///
/// ```
/// # fn main() -> vfs::Result<()> {
/// # let dir = tempfile::tempdir().expect("a scratch directory");
/// use std::ops::ControlFlow;
///
/// use diskhash::{At, Leftovers, Options, Table};
///
/// let fs = vfs::StdFs::open(dir.path())?;
/// let env = vfs::Env::system();
/// let table = Table::open(fs, &env, Options::new(4), At::Latest, Leftovers::Keep)?;
/// let before = table.newest().id();
/// let (lily, rose) = (0x1b2c_0000_0000_0001, 0x3d4e_0000_0000_0002);
/// let generation = table.apply([(lily, &b"lily"[..]), (rose, b"rose")])?;
/// table.release(before);
///
/// let mut found = Vec::new();
/// generation.candidates(rose, &mut |slot| {
///     found.push(slot.to_vec());
///     Ok(ControlFlow::Continue(()))
/// })?;
/// assert_eq!(found, [b"rose"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Table {
    pub(crate) shared: Arc<Shared>,
}

impl Table {
    /// Opens the table in a directory that nobody else uses; [`At::Latest`] makes one, durably, if
    /// there is none.
    ///
    /// # Errors
    /// `Invalid` if an option is out of range or differs from the one that is stored; `Corrupt`
    /// with file and offset if the generation is not there whole.
    pub fn open(
        fs: Arc<dyn Fs>,
        env: &Env,
        options: Options,
        at: At,
        leftovers: Leftovers,
    ) -> Result<Table> {
        Ok(Table { shared: Arc::new(open(&fs, env, &options, at, leftovers)?) })
    }

    /// Names that the open set aside, as they are now.
    pub fn quarantined(&self) -> &[String] {
        &self.shared.quarantined
    }

    /// A random number, drawn when the table was made: the key for its owner's hash.
    pub fn seed(&self) -> u64 {
        self.shared.seed
    }

    /// The directory.
    pub fn fs(&self) -> &Arc<dyn Fs> {
        &self.shared.fs
    }

    /// The newest generation.
    pub fn newest(&self) -> Arc<Generation> {
        self.shared.newest()
    }

    /// Starts an apply whose run is written without a lock.
    pub fn builder(&self) -> Builder {
        Builder { shared: Arc::clone(&self.shared), order: Vec::new(), slots: Vec::new() }
    }

    /// Puts what was built on top of the newest generation: atomic, and durable when this
    /// returns. Commits wait for each other.
    ///
    /// # Errors
    /// Nothing has changed for readers. After `NoSpace` the table goes on; after any other failure
    /// to write or sync a record later commits are `Poisoned`, and what a crash leaves is the old
    /// generation or the new one.
    ///
    /// # Panics
    /// If another table built it.
    pub fn commit(&self, built: Built) -> Result<Arc<Generation>> {
        assert!(Arc::ptr_eq(&self.shared, &built.files.shared), "built by this table");
        self.shared.commit(built)
    }

    /// Removes what was built. Dropping it does the same.
    pub fn abandon(&self, built: Built) {
        drop(built);
    }

    /// Adds slots, the later ones newer among equal hashes, in one commit. Without any, nothing
    /// happens.
    ///
    /// # Errors
    /// Those of [`Builder::finish`] and [`Table::commit`].
    ///
    /// # Panics
    /// If a slot has another length than [`Options::slot_len`].
    pub fn apply<'a>(
        &self,
        slots: impl IntoIterator<Item = (u64, &'a [u8])>,
    ) -> Result<Arc<Generation>> {
        let mut builder = self.builder();
        for (hash, slot) in slots {
            builder.add(hash, slot);
        }
        match builder.finish()? {
            Some(built) => self.commit(built),
            None => Ok(self.newest()),
        }
    }

    /// Takes back every commit after a generation, which must not be released: it is the newest
    /// again, and what came later is removed, as far as nothing else names it. For an owner that
    /// tells its readers of a commit only later, and could not. Ids are not used again; a merge that
    /// was planned on what is taken back is `Invalid` when it is to be committed.
    ///
    /// # Errors
    /// A failed sync of the directory: what else it was to make durable is not known, and the table
    /// takes no more commits. It reads on, at that generation.
    ///
    /// # Panics
    /// If the generation was released.
    pub fn revert(&self, to: &Arc<Generation>) -> Result<()> {
        self.shared.revert(to)
    }

    /// Tells that nobody reads this generation again: removes its record and the files that no
    /// other generation names. One that is not held any more is left alone. A file that cannot be
    /// removed is no harm: the next open sets it aside.
    ///
    /// # Panics
    /// If it is the newest.
    pub fn release(&self, generation: u64) {
        self.shared.release(generation);
    }
}

/// Gathers the slots of one apply: 16 bytes and the slot in memory for each.
#[derive(Debug)]
#[must_use = "nothing is written before `finish`"]
pub struct Builder {
    shared: Arc<Shared>,
    /// Kept hash above, then how many were added later: sorted, equal hashes are newest first.
    order: Vec<u128>,
    slots: Vec<u8>,
}

impl Builder {
    /// Adds a slot. Any order; among equal hashes the later added is the newer.
    ///
    /// # Panics
    /// If the slot has another length than [`Options::slot_len`].
    pub fn add(&mut self, hash: u64, slot: &[u8]) {
        let Options { slot_len, hash_bytes, .. } = self.shared.options;
        assert!(slot.len() == usize::from(slot_len), "a slot has the table's length");
        let age = u64::MAX - self.order.len() as u64;
        self.order.push(u128::from(keep(hash, hash_bytes)) << 64 | u128::from(age));
        self.slots.extend_from_slice(slot);
    }

    /// How many slots were added.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// True if none was added.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Writes and syncs the run, for [`Table::commit`]; `None` if nothing was added.
    ///
    /// # Errors
    /// What the disk says. Its file is removed again.
    pub fn finish(mut self) -> Result<Option<Built>> {
        if self.order.is_empty() {
            return Ok(None);
        }
        self.order.sort_unstable();
        let Options { slot_len, listed, .. } = self.shared.options;
        let slot_len = usize::from(slot_len);
        let mut files = NewFiles::new(&self.shared);
        let (file, header) = files.create(RUN)?;
        let entry_len = (slot_len + size_of::<u64>()) as u64;
        let section_bits = section_bits(Prefix::ALL, self.order.len() as u64, entry_len);
        let layout = Layout { prefix: Prefix::ALL, section_bits };
        let mut writer = RunWriter::new(file, header, layout, listed);
        for entry in &self.order {
            let hash = u64::try_from(entry >> 64).expect("64 bits are left");
            let age = u64::try_from(entry & u128::from(u64::MAX)).expect("64 bits are left");
            let index = usize::try_from(u64::MAX - age).expect("an index of the slots");
            writer.add(hash, &self.slots[index * slot_len..(index + 1) * slot_len])?;
        }
        let expect = writer.finish()?;
        let run = files.open(Name::new(RUN, header.file_id), expect)?;
        let change = Some(Change::Apply(run));
        Ok(Some(Built { files, change, bytes_written: expect.len, base: None, merging: None }))
    }
}
