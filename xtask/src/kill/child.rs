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
use engine::{Db, Keyspace, KeyspaceOptions, Options, Snapshot, WriteOptions};

use super::plan::Config;
use super::stream::{Model, Op, SPACES, key_prefix};

/// Bytes of a report.
pub(super) const REPORT_LEN: usize = 9;
/// Snapshots that a thread holds.
const SNAPSHOTS_MAX: usize = 3;
/// An expiry that no round reaches.
const TTL: Duration = Duration::from_secs(1_000_000);

/// Runs until killed. `next` holds, for each thread, the number of its first operation.
pub(super) fn run(
    dir: &Path,
    config: Config,
    tuning: u64,
    seed: u64,
    next: &[u64],
) -> anyhow::Result<()> {
    let options = config.options(tuning);
    let db = Db::open(dir, options.clone())?;
    let alone = next.len() == 1;
    let workers = (0u8..).zip(next).map(|(thread, next)| {
        let reopen = alone.then(|| (dir.to_owned(), options.clone()));
        Worker::new(db.clone(), seed, thread, *next, reopen)
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
    /// How to open again, if this thread may.
    reopen: Option<(PathBuf, Options)>,
}

fn open_spaces(db: &Db) -> engine::Result<Vec<Keyspace>> {
    SPACES.iter().map(|name| db.keyspace(name, KeyspaceOptions::btree())).collect()
}

impl Worker {
    fn new(
        db: Db,
        seed: u64,
        thread: u8,
        index: u64,
        reopen: Option<(PathBuf, Options)>,
    ) -> anyhow::Result<Worker> {
        let spaces = open_spaces(&db)?;
        let model = Model::after(seed, thread, index);
        Ok(Worker { db, spaces, seed, thread, index, model, held: VecDeque::new(), reopen })
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
            Op::Single { change, durable } => {
                let space = &self.spaces[change.space];
                let options = write_options(*durable);
                match &change.value {
                    None => space.delete_with(&change.key, options)?,
                    Some(value) => {
                        let options = if change.expires { options.ttl(TTL) } else { options };
                        space.put_with(&change.key, value, options)?;
                    }
                }
            }
            Op::Batch { changes, durable } => {
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
                self.db.write(batch, write_options(*durable))?;
            }
            Op::Flush => self.db.flush()?,
            Op::Compact => self.db.compact()?,
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
            let read = self.read(|space, prefix| snapshot.prefix(space, prefix));
            compare(&read?, &model).context("a snapshot read later state")?;
        }
        self.held.push_back((self.db.snapshot(), self.model.clone()));
        Ok(())
    }

    fn scan(&self) -> anyhow::Result<()> {
        compare(&self.read(|space, prefix| space.prefix(prefix))?, &self.model)?;
        for (space, expected) in self.spaces.iter().zip(&self.model.spaces) {
            for (key, value) in expected {
                let found = space.get(key)?;
                let name = key.escape_ascii();
                anyhow::ensure!(found.as_deref() == Some(value.as_slice()), "get of {name}");
            }
        }
        Ok(())
    }

    /// Everything of this thread.
    fn read(&self, range: impl Fn(&Keyspace, &[u8]) -> engine::Range) -> anyhow::Result<Model> {
        let prefix = key_prefix(self.thread);
        let mut model = Model::default();
        for (space, found) in self.spaces.iter().zip(&mut model.spaces) {
            for entry in range(space, &prefix) {
                let (key, value) = entry?;
                found.insert(key.to_vec(), value.into_vec());
            }
        }
        Ok(model)
    }

    fn close_and_open(&mut self) -> anyhow::Result<()> {
        let Some((dir, options)) = &self.reopen else { return Ok(()) };
        self.held.clear();
        self.spaces.clear();
        self.db.clone().close().context("close")?;
        // The handle that is left must not outlive the next one: it answers `Closed`.
        self.db = Db::open(dir, options.clone()).context("open again")?;
        self.spaces = open_spaces(&self.db)?;
        Ok(())
    }
}

fn write_options(durable: bool) -> WriteOptions {
    if durable { WriteOptions::default().durable() } else { WriteOptions::default() }
}

/// Unbuffered: `Stdout` would hold a report back until a newline.
fn write_report(report: &[u8; REPORT_LEN]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(report)?;
    Ok(out.flush()?)
}

fn compare(found: &Model, expected: &Model) -> anyhow::Result<()> {
    match super::verify::difference(found, expected) {
        None => Ok(()),
        Some(difference) => anyhow::bail!("{difference}"),
    }
}
