//! Generations come and go: the one place that writes records and removes files.
//!
//! ```text
//! data files written and synced -> sync_dir -> record written and synced -> sync_dir -> readers
//! release: record removed -> data files that no other held generation names
//! ```
//!
//! 1. A record is written only when everything it names is durable, names included.
//! 2. Ids only grow, whatever fails.
//! 3. Once a record may be whole on the disk, nothing that it names is removed by a failure.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use vfs::planted::{self, Bug};
use vfs::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use vfs::sync::{Mutex, RwLock};
use vfs::{Error, Fs, Kind, Name, Result, Rng, write_all_at};

use crate::format::Header;
use crate::generation::{Generation, Partition, Tier};
use crate::options::{GENERATION, Options};
use crate::record::{ID_MAX, encode};
use crate::run::{Expect, Run};

/// What handles, builders, jobs and their results share.
///
/// Never take a lock while holding one below it.
#[derive(Debug)]
pub(crate) struct Shared {
    // Constant after open.
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) options: Options,
    pub(crate) seed: u64,
    pub(crate) quarantined: Vec<String>,

    /// Above every id in use.
    next_id: AtomicU64,
    /// True while a merge is planned, worked on or waiting for its commit.
    pub(crate) merging: AtomicBool,
    /// Files older than this are still to be rewritten, if a rewrite of all was asked for.
    pub(crate) rewrite_below: Mutex<Option<u64>>,
    /// 1. Order of generations. Held across the write of a record.
    commits: Mutex<Commits>,
    /// 2. What readers are given. Never held across I/O.
    newest: RwLock<Arc<Generation>>,
}

#[derive(Debug)]
struct Commits {
    /// Generations that were not released, with the data files they name.
    held: BTreeMap<u64, BTreeSet<Name>>,
    /// A sync failed: what the disk holds is not known.
    poisoned: bool,
    /// Generations that were taken back; no merge of one is committed.
    taken_back: Vec<RangeInclusive<u64>>,
}

/// How the newest generation changes.
#[derive(Debug)]
pub(crate) enum Change {
    /// A run on top.
    Apply(Arc<Run>),
    /// These runs, neighbours, become one or none.
    Runs { from: Vec<Name>, to: Option<Tier> },
    /// The partitions in this part of the hashes become these.
    Partitions { span: Span, to: Vec<Partition> },
}

/// First and last hash of a part of the hashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// New files that wait for their commit: what [`Builder::finish`](crate::Builder::finish) and
/// [`Job::finish`](crate::Job::finish) give. Dropped without one, it removes its files.
#[derive(Debug)]
#[must_use = "nothing changes before `Table::commit`"]
pub struct Built {
    pub(crate) files: NewFiles,
    /// Taken by the commit.
    pub(crate) change: Option<Change>,
    pub(crate) bytes_written: u64,
    /// The generation that was merged; an apply has none.
    pub(crate) base: Option<u64>,
    /// Keeps other merges away; an apply has none.
    #[expect(dead_code, reason = "held, not read")]
    pub(crate) merging: Option<Merging>,
}

impl Built {
    /// Bytes of its files.
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written
    }
}

/// The right to merge, of which a table has one.
#[derive(Debug)]
pub(crate) struct Merging(Arc<Shared>);

impl Merging {
    pub(crate) fn take(shared: &Arc<Shared>) -> Option<Merging> {
        let busy = shared.merging.swap(true, Ordering::AcqRel);
        (!busy).then(|| Merging(Arc::clone(shared)))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Drop for Merging {
    fn drop(&mut self) {
        self.0.merging.store(false, Ordering::Release);
    }
}

/// Files that no record names yet. They are removed when this is dropped.
#[derive(Debug)]
pub(crate) struct NewFiles {
    pub(crate) shared: Arc<Shared>,
    names: Vec<Name>,
}

impl NewFiles {
    pub(crate) fn new(shared: &Arc<Shared>) -> NewFiles {
        NewFiles { shared: Arc::clone(shared), names: Vec::new() }
    }

    /// Creates a file of this kind under a number of its own.
    pub(crate) fn create(&mut self, kind: Kind) -> Result<(Arc<dyn vfs::File>, Header)> {
        let shared = &self.shared;
        let id = shared.take_id()?;
        let name = Name::new(kind, id);
        let file = shared.fs.create_new(name)?;
        self.names.push(name);
        let Options { owner, .. } = shared.options;
        let header = Header {
            shape: shared.options.shape(),
            owner,
            file_id: id,
            salt: shared.rng.next_u64(),
        };
        Ok((file, header))
    }

    /// Opens one of them for reading.
    pub(crate) fn open(&self, name: Name, expect: Expect) -> Result<Arc<Run>> {
        assert!(self.names.contains(&name), "a file that was made here");
        let Options { owner, read_mode, .. } = self.shared.options;
        let shape = self.shared.options.shape();
        Ok(Arc::new(Run::open(&self.shared.fs, name, shape, owner, read_mode, expect)?))
    }

    /// Leaves the files where they are.
    fn keep(&mut self) {
        self.names.clear();
    }
}

impl Drop for NewFiles {
    fn drop(&mut self) {
        for name in &self.names {
            // What stays is set aside by the next open.
            let _ = self.shared.fs.remove(*name);
        }
    }
}

impl Shared {
    /// The state of a table whose newest generation is `newest`.
    pub(crate) fn new(
        fs: &Arc<dyn Fs>,
        rng: &Arc<dyn Rng>,
        options: &Options,
        quarantined: Vec<String>,
        next_id: u64,
        newest: Generation,
    ) -> Shared {
        let held = BTreeMap::from([(newest.id, names_of(&newest))]);
        Shared {
            fs: Arc::clone(fs),
            rng: Arc::clone(rng),
            options: options.clone(),
            seed: newest.seed,
            quarantined,
            next_id: AtomicU64::new(next_id),
            merging: AtomicBool::new(false),
            rewrite_below: Mutex::new(None),
            commits: Mutex::new(Commits { held, poisoned: false, taken_back: Vec::new() }),
            newest: RwLock::new(Arc::new(newest)),
        }
    }

    pub(crate) fn newest(&self) -> Arc<Generation> {
        Arc::clone(&self.newest.read())
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.load(Ordering::Acquire)
    }

    /// The number of a new file. `Invalid` if there are no more: one that bears the last number may
    /// have been put there, and the next open refuses what is behind it.
    pub(crate) fn take_id(&self) -> Result<u64> {
        let next = |id: u64| (id < ID_MAX - 1).then_some(id + 1);
        let taken = self.next_id.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        taken.map_err(|_| Error::invalid("the table has used up its file ids", self.fs.path()))
    }

    /// Makes the change durable on top of the newest generation and gives it to readers.
    pub(crate) fn commit(&self, mut built: Built) -> Result<Arc<Generation>> {
        let mut commits = self.commits.lock();
        if commits.poisoned {
            return Err(Error::Poisoned { path: self.fs.path().to_path_buf() });
        }
        let is_lost = |base: u64| commits.taken_back.iter().any(|gone| gone.contains(&base));
        if built.base.is_some_and(is_lost) {
            let what = "the generation that was merged was taken back";
            return Err(Error::invalid(what, self.fs.path()));
        }
        let change = built.change.take().expect("a change is committed once");
        let mut generation = self.changed(&self.newest(), change);
        if let Err(error) = self.fs.sync_dir() {
            commits.poisoned = true;
            return Err(in_doubt(error));
        }
        if planted::is(Bug::SplitNotAtomic) {
            let (old, new) = (names_of(&self.newest()), names_of(&generation));
            old.difference(&new).try_for_each(|name| self.fs.remove(*name))?;
        }
        generation.id = self.take_id()?;
        let bytes = encode(&generation.record(self.next_id()));
        generation.record_len = bytes.len() as u64;
        match write_record(&self.fs, generation.id, &bytes) {
            Written::Durable => {}
            Written::Gone(error) => return Err(error),
            Written::Unknown(error) => {
                // The record may be whole after a crash, and then all it names must be there.
                commits.poisoned = true;
                built.files.keep();
                return Err(error);
            }
        }
        built.files.keep();
        commits.held.insert(generation.id, names_of(&generation));
        let generation = Arc::new(generation);
        *self.newest.write() = Arc::clone(&generation);
        Ok(generation)
    }

    /// What the newest generation becomes; its id and record are still to come.
    fn changed(&self, newest: &Generation, change: Change) -> Generation {
        let mut runs = newest.runs.clone();
        let mut partitions = newest.partitions.clone();
        let mut applied = newest.applied;
        match change {
            Change::Apply(run) => {
                applied += 1;
                let at = if planted::is(Bug::OldestRunFirst) { runs.len() } else { 0 };
                runs.insert(at, Tier { run, written: 1, newest: applied });
            }
            Change::Runs { from, to } => {
                let at = runs.iter().position(|tier| Some(&tier.run.name) == from.first());
                let at = at.expect("merged runs are still there");
                let gone = runs.splice(at..at + from.len(), to);
                assert!(gone.map(|tier| tier.run.name).eq(from), "merged runs are neighbours");
            }
            Change::Partitions { span, to } => {
                let from = partitions.partition_point(|p| p.prefix.start < span.first);
                let behind = partitions.partition_point(|p| p.prefix.start <= span.last);
                partitions.splice(from..behind, to);
            }
        }
        join_empty(&mut partitions);
        require_cover(&partitions);
        let taken = partitions.iter().map(|p| p.taken).min().expect("at least one partition");
        runs.retain(|tier| tier.newest > taken);
        Generation {
            fs: Arc::clone(&self.fs),
            fixed: newest.fixed,
            id: 0,
            seed: newest.seed,
            applied,
            record_len: 0,
            runs_max: newest.runs_max,
            runs,
            partitions,
        }
    }

    /// Makes `to` the newest generation again and removes what came after it.
    pub(crate) fn revert(&self, to: &Arc<Generation>) -> Result<()> {
        let mut commits = self.commits.lock();
        assert!(commits.held.contains_key(&to.id), "a generation that was not released");
        let last = self.newest.read().id;
        *self.newest.write() = Arc::clone(to);
        commits.taken_back.push(to.id + 1..=last);
        let newer = commits.held.split_off(&(to.id + 1));
        let removed = newer.keys().all(|id| self.fs.remove(Name::new(GENERATION, *id)).is_ok());
        // A record that a crash brings back must find its files. What stays is no harm: the next
        // open sees to it. But what else the failed sync was to make durable is not known.
        if let Err(error) = self.fs.sync_dir() {
            commits.poisoned = true;
            return Err(in_doubt(error));
        }
        if !removed {
            return Ok(());
        }
        for name in newer.into_values().flatten() {
            if !commits.held.values().any(|held| held.contains(&name)) {
                let _ = self.fs.remove(name);
            }
        }
        Ok(())
    }

    /// Removes the record of a generation that nobody reads again, and the files that only it names.
    pub(crate) fn release(&self, id: u64) {
        let mut commits = self.commits.lock();
        assert!(id != self.newest.read().id, "the newest generation is not released");
        let Some(names) = commits.held.remove(&id) else { return };
        // A failure to remove is no harm: the next open sees to the rest.
        if self.fs.remove(Name::new(GENERATION, id)).is_err() {
            return;
        }
        for name in names {
            if !commits.held.values().any(|held| held.contains(&name)) {
                let _ = self.fs.remove(name);
            }
        }
    }
}

fn names_of(generation: &Generation) -> BTreeSet<Name> {
    generation.data_files().map(|run| run.name).collect()
}

/// Buddies that hold nothing become one.
fn join_empty(partitions: &mut Vec<Partition>) {
    let mut joined: Vec<Partition> = Vec::with_capacity(partitions.len());
    for partition in partitions.drain(..) {
        joined.push(partition);
        while let [.., left, right] = &joined[..] {
            let parent = left.prefix.parent().filter(|_| left.prefix != right.prefix);
            let buddies = parent.is_some() && parent == right.prefix.parent();
            let empty = left.run.is_none() && right.run.is_none();
            let bits = left.prefix.bits == right.prefix.bits;
            let Some(prefix) = parent else { break };
            if !(buddies && bits && empty && left.taken == right.taken) {
                break;
            }
            let taken = left.taken;
            joined.truncate(joined.len() - 2);
            joined.push(Partition { prefix, taken, run: None });
        }
    }
    *partitions = joined;
}

/// Partitions must hold every hash once.
fn require_cover(partitions: &[Partition]) {
    let mut start = Some(0);
    for partition in partitions {
        assert!(start == Some(partition.prefix.start), "partitions have neither gap nor overlap");
        start = partition.prefix.last().checked_add(1);
    }
    assert!(start.is_none(), "partitions end with the last hash");
}

/// The error of a commit that poisoned the table: not `NoSpace`, after which it would go on.
fn in_doubt(error: Error) -> Error {
    match error {
        Error::NoSpace { op, path } => {
            Error::Io { op, path, source: io::ErrorKind::StorageFull.into() }
        }
        error => error,
    }
}

/// What became of a record that was to be written.
pub(crate) enum Written {
    /// It will be there after any crash.
    Durable,
    /// It will not be there after any crash.
    Gone(Error),
    /// A crash decides.
    Unknown(Error),
}

/// Writes the record of generation `id`, whose files are durable.
pub(crate) fn write_record(fs: &Arc<dyn Fs>, id: u64, bytes: &[u8]) -> Written {
    let name = Name::new(GENERATION, id);
    let file = match fs.create_new(name) {
        Ok(file) => file,
        Err(error @ Error::NoSpace { .. }) => return Written::Gone(error),
        Err(error) => return Written::Unknown(in_doubt(error)),
    };
    match write_all_at(&*file, bytes, 0) {
        Ok(()) => {}
        // A full disk is no reason to give up: take back what there is of the record.
        Err(error @ Error::NoSpace { .. }) => {
            return match fs.remove(name).and_then(|()| fs.sync_dir()) {
                Ok(()) => Written::Gone(error),
                Err(_) => Written::Unknown(in_doubt(error)),
            };
        }
        Err(error) => return Written::Unknown(in_doubt(error)),
    }
    let sync_file = || match planted::is(Bug::GenerationUnsynced) {
        true => Ok(()),
        false => file.sync_data(),
    };
    let sync_name = |()| match planted::is(Bug::GenerationNameUnsynced) {
        true => Ok(()),
        false => fs.sync_dir(),
    };
    match sync_file().and_then(sync_name) {
        Ok(()) => Written::Durable,
        Err(error) => Written::Unknown(in_doubt(error)),
    }
}
