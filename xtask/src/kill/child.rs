//! The child: does its threads' operations and reports each one after it returned.
//!
//! ```text
//! report := thread u8, index u64      little-endian; one write each, so that a kill cuts none
//! ```

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use engine::{Db, ErrorKind, Keyspace, Options, Range, Snapshot, Transaction, WriteOptions};
use xtask::kind::Kind;

use super::plan::patient;
use super::stream::{Change, Lost, Model, Op, SPACES, Wish, key_prefix};

/// Bytes of a report.
pub(super) const REPORT_LEN: usize = 9;
/// Snapshots that a thread holds.
const SNAPSHOTS_MAX: usize = 3;
/// An expiry that no round reaches.
const TTL: Duration = Duration::from_secs(1_000_000);

/// Runs until killed. `next` holds, for each thread, the number of its first operation.
/// `lost`, which of the operations before it are not there.
pub(super) fn run(
    dir: &Path,
    options: &Options,
    seed: u64,
    next: &[u64],
    lost: &[Lost],
) -> anyhow::Result<()> {
    anyhow::ensure!(next.len() == lost.len(), "each thread has its losses");
    let db = Db::open(dir, options.clone())?;
    let alone = next.len() == 1;
    let workers = (0u8..).zip(next.iter().zip(lost)).map(|(thread, (next, lost))| {
        let place = Place { dir: dir.to_owned(), options: options.clone(), alone };
        let model = Model::after(seed, thread, *next, lost);
        Worker::new(db.clone(), seed, thread, *next, model, place)
    });
    let workers = workers.collect::<anyhow::Result<Vec<_>>>()?;
    drop(db);
    std::thread::scope(|scope| {
        for mut worker in workers {
            scope.spawn(move || {
                let Err(error) = worker.run() else { return };
                let (thread, index) = (worker.thread, worker.index);
                // The parent takes an exit for a violation; the others need not go on.
                eprintln!("thread {thread}, operation {index}: {error:#}");
                std::process::exit(1);
            });
        }
    });
    Ok(())
}

/// One writing thread.
struct Worker {
    db: Db,
    spaces: Vec<Keyspace>,
    seed: u64,
    thread: u8,
    index: u64,
    model: Model,
    held: VecDeque<(Snapshot, Model)>,
    place: Place,
}

/// Where the database is and how to open it.
struct Place {
    dir: PathBuf,
    options: Options,
    /// No other thread uses it.
    alone: bool,
}

fn open_spaces(db: &Db) -> engine::Result<Vec<Keyspace>> {
    SPACES.iter().map(|(name, kind)| db.keyspace(name, kind.options())).collect()
}

/// The directory in which a thread makes its checkpoints, beside the database.
pub(super) fn checkpoint_dir(data: &Path, thread: u8) -> PathBuf {
    data.with_file_name(format!("checkpoint-{thread}"))
}

impl Worker {
    fn new(
        db: Db,
        seed: u64,
        thread: u8,
        index: u64,
        model: Model,
        place: Place,
    ) -> anyhow::Result<Worker> {
        let spaces = open_spaces(&db)?;
        Ok(Worker { db, spaces, seed, thread, index, model, held: VecDeque::new(), place })
    }

    fn run(&mut self) -> anyhow::Result<()> {
        let mut report = [0; REPORT_LEN];
        report[0] = self.thread;
        loop {
            let op = Op::draw(self.seed, self.thread, self.index);
            self.perform(&op)?;
            self.model.apply(&op);
            report[1..].copy_from_slice(&self.index.to_le_bytes());
            write_report(&report)?;
            self.index += 1;
        }
    }

    fn perform(&mut self, op: &Op) -> anyhow::Result<()> {
        match op {
            Op::Single { change, wish } => {
                let space = &self.spaces[change.space];
                let options = write_options(*wish);
                match &change.value {
                    None => space.delete_with(&change.key, options)?,
                    Some(value) => {
                        let options = if change.expires { options.ttl(TTL) } else { options };
                        space.put_with(&change.key, value, options)?;
                    }
                }
            }
            Op::Batch { changes, wish } => {
                let mut batch = self.db.batch();
                for change in changes {
                    let space = &self.spaces[change.space];
                    match &change.value {
                        None => batch.delete(space, &change.key),
                        Some(value) if change.expires => {
                            batch.put_ttl(space, &change.key, value, TTL);
                        }
                        Some(value) => batch.put(space, &change.key, value),
                    }
                }
                self.db.write(batch, write_options(*wish))?;
            }
            Op::Swap { change } => self.swap(change)?,
            Op::Transact { changes, wish } => self.transact(changes, *wish)?,
            Op::Flush => self.db.flush()?,
            Op::Compact => self.db.compact()?,
            Op::Collect => self.db.collect_garbage()?,
            Op::Checkpoint => self.checkpoint().context("checkpoint")?,
            Op::Sync => self.db.sync()?,
            Op::Snapshot => self.turn_snapshots()?,
            Op::Scan => self.scan().context("a scan differs from what this thread wrote")?,
            Op::Reopen => self.close_and_open()?,
        }
        Ok(())
    }

    /// Holds one snapshot more; reads the oldest again and lets it go.
    fn turn_snapshots(&mut self) -> anyhow::Result<()> {
        if self.held.len() == SNAPSHOTS_MAX
            && let Some((snapshot, model)) = self.held.pop_front()
        {
            let read = read(&self.spaces, self.thread, &|space, prefix| match prefix {
                Some(prefix) => snapshot.prefix(space, prefix),
                None => snapshot.iter(space),
            });
            if let Some(read) = unless_expired(read)? {
                compare(&read, &model).context("a snapshot read later state")?;
            }
        }
        self.held.push_back((self.db.snapshot(), self.model.clone()));
        Ok(())
    }

    fn scan(&self) -> anyhow::Result<()> {
        if let Some(read) = unless_expired(read_newest(&self.spaces, self.thread))? {
            compare(&read, &self.model)?;
        }
        for (space, expected) in self.spaces.iter().zip(&self.model.spaces) {
            for (key, value) in expected {
                let found = space.get(key)?;
                let name = key.escape_ascii();
                anyhow::ensure!(found.as_deref() == Some(value.as_slice()), "get of {name}");
            }
        }
        Ok(())
    }

    /// What this thread knows of a key.
    fn known(&self, change: &Change) -> Option<&[u8]> {
        self.model.spaces[change.space].get(&change.key).map(Vec::as_slice)
    }

    /// No other thread writes to this thread's keys: what it expects is there.
    fn swap(&self, change: &Change) -> anyhow::Result<()> {
        let (space, before) = (&self.spaces[change.space], self.known(change));
        let after = change.value.as_deref();
        let wrong = b"nobody wrote this".as_slice();
        let taken = space.compare_and_swap(&change.key, Some(wrong), after)?;
        anyhow::ensure!(!taken, "a swap took a value for another");
        let done = space.compare_and_swap(&change.key, before, after)?;
        anyhow::ensure!(done, "a swap did not know the value");
        Ok(())
    }

    /// Conflicts may be, though none is true: the keys are this thread's own.
    fn transact(&self, changes: &[Change], wish: Wish) -> anyhow::Result<()> {
        let mut wrong = None;
        self.db.transact_with(write_options(wish), |transaction| {
            wrong = self.try_transact(transaction, changes)?;
            Ok(())
        })?;
        match wrong {
            None => Ok(()),
            Some(wrong) => anyhow::bail!("a transaction reads {wrong}"),
        }
    }

    /// What is wrong with what was read.
    fn try_transact(
        &self,
        transaction: &mut Transaction,
        changes: &[Change],
    ) -> engine::Result<Option<&'static str>> {
        let mut wrong = None;
        for change in changes {
            let found = transaction.get(&self.spaces[change.space], &change.key)?;
            if found.as_deref() != self.known(change) {
                wrong = Some("another value than this thread wrote");
            }
        }
        let mut after = self.model.clone();
        for change in changes {
            let space = &self.spaces[change.space];
            after.change(change);
            match &change.value {
                None => transaction.delete(space, &change.key)?,
                Some(value) if change.expires => {
                    transaction.put_ttl(space, &change.key, value, TTL)?;
                }
                Some(value) => transaction.put(space, &change.key, value)?,
            }
        }
        for change in changes {
            let found = transaction.get(&self.spaces[change.space], &change.key)?;
            let expected = after.spaces[change.space].get(&change.key).map(Vec::as_slice);
            if found.as_deref() != expected {
                wrong = Some("another value than it wrote itself");
            }
        }
        Ok(wrong)
    }

    /// Makes a checkpoint, opens it, compares it with what this thread wrote, removes it.
    fn checkpoint(&self) -> anyhow::Result<()> {
        let dir = checkpoint_dir(&self.place.dir, self.thread);
        self.db.checkpoint(&dir)?;
        let options = patient(self.place.options.clone()).create_if_missing(false);
        let copy = Db::open(&dir, options)?;
        let spaces = open_spaces(&copy)?;
        compare(&read_newest(&spaces, self.thread)?, &self.model)?;
        let report = copy.check()?;
        anyhow::ensure!(report.is_sound(), "check found damage: {:?}", report.damage);
        drop(spaces);
        copy.close()?;
        // The parent must not take one that is half removed for one that is damaged.
        let gone = dir.with_extension("gone");
        std::fs::rename(&dir, &gone)?;
        Ok(std::fs::remove_dir_all(&gone)?)
    }

    fn close_and_open(&mut self) -> anyhow::Result<()> {
        let Place { dir, options, alone } = &self.place;
        if !alone {
            return Ok(());
        }
        self.held.clear();
        self.spaces.clear();
        self.db.clone().close().context("close")?;
        // The handle that is left must not outlive the next one: it answers `Closed`.
        self.db = Db::open(dir, options.clone()).context("open again")?;
        self.spaces = open_spaces(&self.db)?;
        Ok(())
    }
}

/// What was read, unless what it was read from held more memory than the options allow.
fn unless_expired(read: anyhow::Result<Model>) -> anyhow::Result<Option<Model>> {
    let expired = |error: &anyhow::Error| {
        let error = error.downcast_ref::<engine::Error>();
        error.is_some_and(|error| error.kind() == ErrorKind::SnapshotExpired)
    };
    match read {
        Err(error) if expired(&error) => Ok(None),
        read => read.map(Some),
    }
}

/// Everything of a thread in the newest state.
pub(super) fn read_newest(spaces: &[Keyspace], thread: u8) -> anyhow::Result<Model> {
    read(spaces, thread, &|space, prefix| match prefix {
        Some(prefix) => space.prefix(prefix),
        None => space.iter(),
    })
}

/// Everything of a thread: by prefix where keys have an order, else out of everything.
fn read(
    spaces: &[Keyspace],
    thread: u8,
    range: &dyn Fn(&Keyspace, Option<&[u8]>) -> Range,
) -> anyhow::Result<Model> {
    let prefix = key_prefix(thread);
    let mut model = Model::default();
    for (space, found) in spaces.iter().zip(&mut model.spaces) {
        let ordered = Kind::of(space.kind()).is_ordered();
        for entry in range(space, ordered.then_some(&prefix)) {
            let (key, value) = entry?;
            if key.starts_with(&prefix) {
                let twice = found.insert(key.to_vec(), value.into_vec()).is_some();
                anyhow::ensure!(!twice, "{} shows a key twice", space.name());
            }
        }
    }
    Ok(model)
}

fn write_options(wish: Wish) -> WriteOptions {
    match wish {
        Wish::Policy => WriteOptions::default(),
        Wish::Durable => WriteOptions::default().durable(),
        Wish::Unlogged => WriteOptions::default().disable_wal(),
    }
}

/// Unbuffered: `Stdout` would hold a report back until a newline.
fn write_report(report: &[u8; REPORT_LEN]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(report)?;
    Ok(out.flush()?)
}

fn compare(found: &Model, expected: &Model) -> anyhow::Result<()> {
    match super::stream::difference(found, expected) {
        None => Ok(()),
        Some(difference) => anyhow::bail!("{difference}"),
    }
}
