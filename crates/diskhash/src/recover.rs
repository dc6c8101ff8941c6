//! From any directory to a table: which record counts, what is set aside.
//!
//! 1. Everything that can fail is looked at before anything is changed.
//! 2. A record that is not whole is an unfinished commit if an older whole one stands beside it, or
//!    if no data file was ever made. Otherwise it is damage.
//! 3. What the record does not name is renamed, never removed; what was renamed is removed when
//!    the owner says that the last close was clean.
//! 4. What an open gave is there after any later crash.

use std::collections::BTreeSet;
use std::sync::Arc;

use vfs::{Access, DirEntry, Env, Error, Fs, Kind, Name, Result};

use crate::address::Prefix;
use crate::commit::{Shared, Written, write_record};
use crate::generation::{Generation, Partition, Tier, read_record};
use crate::options::{GENERATION, Options, PARTITION, RUN};
use crate::record::{FileRecord, Fixed, ID_MAX, PartitionRecord, Record, RunRecord, encode};
use crate::run::Run;

/// Which generation to open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    /// The newest whole one; in an empty directory a new table is made.
    Latest,
    /// This one, which must be whole.
    Generation(u64),
}

/// What becomes of files that an earlier open has set aside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leftovers {
    /// They stay, for somebody to look at.
    Keep,
    /// They go: the owner knows that the last close was clean.
    Remove,
}

/// A directory as it was found.
struct Found<'a> {
    fs: &'a Arc<dyn Fs>,
    options: &'a Options,
    /// Files with legal names.
    entries: Vec<DirEntry>,
}

/// Opens or makes a table.
pub(crate) fn open(
    fs: &Arc<dyn Fs>,
    env: &Env,
    options: &Options,
    at: At,
    leftovers: Leftovers,
) -> Result<Shared> {
    options.validate(&**fs)?;
    let mut entries = fs.list()?.entries;
    let seen = entries.iter().map(|entry| entry.name.id).max().unwrap_or(0);
    entries.retain(|entry| !entry.is_dir);
    if seen >= ID_MAX {
        return Err(Error::invalid("a file's id leaves no room for others", fs.path()));
    }
    let behind = seen + 1;
    let found = Found { fs, options, entries };
    let Some(record) = found.choose(at)? else {
        return found.create(env, behind);
    };
    require_options(&**fs, options, &record.fixed)?;
    let generation = found.generation(&record)?;
    if at == At::Latest {
        make_durable(fs, generation.id)?;
    }
    let quarantined = found.tidy(&generation, record.next_id, leftovers)?;
    let next_id = record.next_id.max(behind);
    Ok(Shared::new(fs, &env.rng, options, quarantined, next_id, generation))
}

impl Found<'_> {
    fn files(&self) -> impl Iterator<Item = &DirEntry> {
        self.entries.iter().filter(|entry| !entry.name.quarantined)
    }

    /// The record that counts; `None` if a table is to be made.
    fn choose(&self, at: At) -> Result<Option<Record>> {
        if let At::Generation(id) = at {
            return read_record(self.fs, id).map(Some);
        }
        let mut ids: Vec<u64> =
            self.files().filter(|e| e.name.kind == GENERATION).map(|e| e.name.id).collect();
        ids.sort_unstable();
        let mut damage = None;
        for id in ids.into_iter().rev() {
            match read_record(self.fs, id) {
                Ok(record) => return Ok(Some(record)),
                Err(error) if error.is_corrupt() => damage = damage.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        let is_data = |entry: &&DirEntry| [RUN, PARTITION].contains(&entry.name.kind);
        let Some(data) = self.files().find(is_data) else { return Ok(None) };
        let path = self.fs.path().join(data.name.to_string());
        let orphan = || Error::corrupt("file of a table that has no record", path, 0, 1, 0);
        Err(damage.unwrap_or_else(orphan))
    }

    /// Makes an empty table beside what is there.
    fn create(&self, env: &Env, id: u64) -> Result<Shared> {
        let Options { slot_len, hash_bytes, listed, owner, .. } = *self.options;
        let record = Record {
            fixed: Fixed { slot_len, hash_bytes, listed, owner },
            id,
            seed: env.rng.next_u64(),
            next_id: id + 1,
            applied: 0,
            runs: Vec::new(),
            partitions: vec![PartitionRecord { file: None, prefix: Prefix::ALL, taken: 0 }],
        };
        let generation = self.generation(&record)?;
        let quarantined = self.set_aside(&generation)?;
        match write_record(self.fs, id, &encode(&record)) {
            Written::Durable => {}
            Written::Gone(error) | Written::Unknown(error) => return Err(error),
        }
        Ok(Shared::new(self.fs, &env.rng, self.options, quarantined, id + 1, generation))
    }

    /// Opens every file that the record names.
    fn generation(&self, record: &Record) -> Result<Generation> {
        let Options { owner, read_mode, runs_max, .. } = *self.options;
        let shape = self.options.shape();
        let open = |kind: Kind, file: FileRecord| {
            let name = Name::new(kind, file.id);
            Run::open(self.fs, name, shape, owner, read_mode, file.expect).map(Arc::new)
        };
        let mut runs = Vec::new();
        for run in &record.runs {
            let RunRecord { file, written, newest } = *run;
            let run = open(RUN, file)?;
            run.require_prefix(Prefix::ALL)?;
            runs.push(Tier { run, written, newest });
        }
        let mut partitions = Vec::new();
        for partition in &record.partitions {
            let PartitionRecord { file, prefix, taken } = *partition;
            let run = file.map(|file| open(PARTITION, file)).transpose()?;
            if let Some(run) = &run {
                run.require_prefix(prefix)?;
            }
            partitions.push(Partition { prefix, taken, run });
        }
        Ok(Generation {
            fs: Arc::clone(self.fs),
            fixed: record.fixed,
            id: record.id,
            seed: record.seed,
            applied: record.applied,
            record_len: encode(record).len() as u64,
            runs_max,
            runs,
            partitions,
        })
    }

    /// Renames what the generation does not know, older records apart.
    fn set_aside(&self, generation: &Generation) -> Result<Vec<String>> {
        let known: BTreeSet<Name> = generation.files().into_iter().map(|(name, _)| name).collect();
        let is_older = |name: Name| name.kind == GENERATION && name.id < generation.id;
        let is_unfinished = |name: Name| is_older(name) && read_record(self.fs, name.id).is_err();
        let mut quarantined = Vec::new();
        for name in self.files().map(|entry| entry.name) {
            if known.contains(&name) || (is_older(name) && !is_unfinished(name)) {
                continue;
            }
            match self.fs.rename(name, name.quarantine()) {
                Ok(()) => quarantined.push(name.quarantine().to_string()),
                // One was set aside under this name before: both stay.
                Err(Error::Invalid { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(quarantined)
    }

    /// Sets aside what is unknown, removes older records, and leftovers of which no id can come
    /// back because of it.
    fn tidy(
        &self,
        generation: &Generation,
        next_id: u64,
        leftovers: Leftovers,
    ) -> Result<Vec<String>> {
        let quarantined = self.set_aside(generation)?;
        let is_older =
            |name: Name| name.kind == GENERATION && !name.quarantined && name.id < generation.id;
        let is_left =
            |name: Name| name.quarantined && name.id < next_id && leftovers == Leftovers::Remove;
        let aside: BTreeSet<&String> = quarantined.iter().collect();
        let mut changed = !quarantined.is_empty();
        for name in self.entries.iter().map(|entry| entry.name) {
            let renamed = aside.contains(&name.quarantine().to_string());
            if (is_older(name) && !renamed) || is_left(name) {
                self.fs.remove(name)?;
                changed = true;
            }
        }
        if changed {
            self.fs.sync_dir()?;
        }
        Ok(quarantined)
    }
}

/// `Invalid`, naming the option, if the table was made with another value.
fn require_options(fs: &dyn Fs, options: &Options, fixed: &Fixed) -> Result<()> {
    let rules = [
        (options.slot_len == fixed.slot_len, "slot_len"),
        (options.hash_bytes == fixed.hash_bytes, "hash_bytes"),
        (options.listed == fixed.listed, "listed"),
        (options.owner == fixed.owner, "owner"),
    ];
    match rules.iter().find(|(same, _)| !same) {
        None => Ok(()),
        Some((_, option)) => {
            let what = format!("the table was made with another {option}");
            Err(Error::invalid(what, fs.path()))
        }
    }
}

/// What a process that was killed has written may still be on its way to the disk.
fn make_durable(fs: &Arc<dyn Fs>, id: u64) -> Result<()> {
    fs.open(Name::new(GENERATION, id), Access::ReadWrite)?.sync_data()?;
    fs.sync_dir()
}
