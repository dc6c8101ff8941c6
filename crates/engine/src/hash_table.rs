//! The table of a hash keyspace: a directory of its own, in which `diskhash` keeps slots by the
//! hash of their keys. Which of its generations counts is the MANIFEST's to say.
//!
//! 1. A directory's number is its keyspace's and never used again.
//! 2. An unknown directory is not removed before its files were set aside and a clean close
//!    followed.

use std::time::Duration;

use diskhash::{At, Leftovers, Table};
use vfs::planted::{self, Bug};
use vfs::sync::Mutex;
use vfs::{DirEntry, Fs, Kind, Name};

use crate::catalog::KeyspaceRecord;
use crate::error::{Error, Result};
use crate::files::Files;
use crate::options::{KeyHasher, ReadMode};
use crate::slot::{SEGMENT_OFFSET, SLOT_LEN};

/// The directory of a hash keyspace's table; its number is the keyspace's.
pub(crate) const HASH: Kind = Kind::new("hash");

/// Bytes of a key's hash that the table keeps; one look-up in a thousand in 10^9 keys meets a
/// second candidate (decision 0004).
const HASH_BYTES: u8 = 5;
/// Runs at which a merge must come first.
const RUNS_MAX: usize = 8;
/// The smallest partition that `diskhash` splits.
const PARTITION_BYTES_MIN: u64 = 8 << 10;

/// An open table and how its keys are hashed.
pub(crate) struct HashTable {
    pub(crate) keyspace: u32,
    pub(crate) table: Table,
    hasher: KeyHasher,
    pub(crate) sweep: Mutex<Sweep>,
    /// When it is next looked at how much has expired, by the monotonic clock.
    pub(crate) next_look: Mutex<Duration>,
}

impl HashTable {
    fn new(files: &Files, keyspace: u32, table: Table) -> HashTable {
        let (hasher, sweep) = (files.options.key_hasher, Mutex::default());
        HashTable { keyspace, table, hasher, sweep, next_look: Mutex::default() }
    }

    /// Makes an empty table, durably but for its directory's own name. A failure leaves nothing
    /// behind, if the disk lets it.
    pub(crate) fn create(files: &Files, keyspace: u32) -> Result<HashTable> {
        let name = Name::new(HASH, keyspace.into());
        let dir = files.fs.create_dir(name)?;
        let (options, keep) = (options(files, keyspace), Leftovers::Keep);
        match Table::open(dir, &files.env, options, At::Latest, keep) {
            Ok(table) => Ok(HashTable::new(files, keyspace, table)),
            Err(error) => {
                // What stays is seen to by the next open.
                remove(&*files.fs, name);
                Err(error.into())
            }
        }
    }

    /// Opens the generation that the MANIFEST names. `clean`: what was set aside may go.
    pub(crate) fn open(
        files: &Files,
        keyspace: u32,
        record: &KeyspaceRecord,
        clean: bool,
    ) -> Result<HashTable> {
        if record.hasher != tag(files.options.key_hasher) {
            let name = &record.name;
            let message = format!("option key_hasher: keyspace {name:?} was made with another one");
            return Err(Error::invalid(message));
        }
        let name = Name::new(HASH, keyspace.into());
        let dir = files.fs.open_dir(name).map_err(Error::named_file)?;
        let at = match planted::is(Bug::NewestGenerationOpened) {
            true => At::Latest,
            false => At::Generation(record.generation),
        };
        let leftovers = if clean { Leftovers::Remove } else { Leftovers::Keep };
        let table = Table::open(dir, &files.env, options(files, keyspace), at, leftovers)?;
        Ok(HashTable::new(files, keyspace, table))
    }

    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        (self.hasher)(self.table.seed(), key)
    }

    /// A key's hash as far as the table keeps it.
    pub(crate) fn kept_hash(&self, key: &[u8]) -> u64 {
        self.hash(key) & (u64::MAX << (64 - 8 * u32::from(HASH_BYTES)))
    }

    /// What the MANIFEST keeps of the function that hashes the keys.
    pub(crate) fn hasher_tag(&self) -> u64 {
        tag(self.hasher)
    }

    /// What its open set aside: directory and former name.
    pub(crate) fn quarantined(&self) -> impl Iterator<Item = String> + '_ {
        let former = |name: &String| name.trim_end_matches(".bad").to_owned();
        self.table.quarantined().iter().map(move |name| format!("{}/{}", self.name(), former(name)))
    }

    /// The directory's name.
    pub(crate) fn name(&self) -> Name {
        Name::new(HASH, self.keyspace.into())
    }
}

/// What is known of entries in a table's partitions that have expired.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Sweep {
    /// Nothing.
    #[default]
    Unknown,
    /// There are many: everything with a number up to this is being folded into partitions, one
    /// job after the other. (Not what flushes bring meanwhile, or it might never end.)
    Folding { upto: u64 },
    /// There are some, and all partitions are being rewritten, one job after the other.
    Rewriting,
    /// There are none in this generation until that time, if ever.
    Clean { generation: u64, until_ms: Option<u64> },
}

fn options(files: &Files, keyspace: u32) -> diskhash::Options {
    let slot_len = u16::try_from(SLOT_LEN).expect("a slot is short");
    diskhash::Options {
        hash_bytes: HASH_BYTES,
        owner: files.db_id ^ u64::from(keyspace).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        listed: Some(SEGMENT_OFFSET),
        read_mode: match files.options.read_mode {
            ReadMode::Mapped => diskhash::ReadMode::Mapped,
            ReadMode::Positional => diskhash::ReadMode::Positional,
        },
        runs_max: RUNS_MAX,
        partition_bytes: files.options.table_bytes.max(PARTITION_BYTES_MIN),
        ..diskhash::Options::new(slot_len)
    }
}

/// Tells one hash function from another by what it makes of two keys.
fn tag(hasher: KeyHasher) -> u64 {
    hasher(1, b"nelumbo").rotate_left(1) ^ hasher(2, b"lotus")
}

/// Removes a directory and its files, as far as they can be removed. True if it is gone.
pub(crate) fn remove(fs: &dyn Fs, name: Name) -> bool {
    let dir = match fs.open_dir(name) {
        Ok(dir) => dir,
        Err(error) => return matches!(error, vfs::Error::NotFound { .. }),
    };
    let Ok(listing) = dir.list() else { return false };
    for entry in listing.entries.iter().filter(|entry| !entry.is_dir) {
        drop(dir.remove(entry.name));
    }
    drop(dir);
    fs.remove_dir(name).is_ok()
}

/// Sets aside the files of a directory that nothing names; after a clean close (`clean`) removes
/// those set aside before, and the directory when it is empty. Gives the names that were set aside.
pub(crate) fn set_aside(fs: &dyn Fs, entry: &DirEntry, clean: bool) -> Result<Vec<String>> {
    let dir = fs.open_dir(entry.name)?;
    let listing = dir.list()?;
    let (mut left, mut changed) = (listing.foreign.len(), false);
    let mut names = Vec::new();
    for file in &listing.entries {
        if !file.is_dir && file.name.quarantined && clean {
            dir.remove(file.name)?;
            changed = true;
            continue;
        }
        left += 1;
        if file.is_dir || file.name.quarantined {
            continue;
        }
        match dir.rename(file.name, file.name.quarantine()) {
            // Somebody copied it back beside its quarantined self; both stay.
            Err(vfs::Error::Invalid { .. }) => continue,
            renamed => renamed?,
        }
        names.push(format!("{}/{}", entry.name, file.name));
        changed = true;
    }
    if changed {
        dir.sync_dir()?;
    }
    if clean && left == 0 {
        fs.remove_dir(entry.name)?;
    }
    Ok(names)
}
