//! Runs a sequence of calls on a simulated disk that records every boundary, and keeps the history
//! that the oracle judges by.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use engine::{Batch, Db, Keyspace, KeyspaceOptions, Snapshot, Stats, WriteOptions};
use vfs::sim::SimDisk;
use vfs::{Clock, Env, Fs, Random, SimEnv};

use super::history::{Change, Entry, History, Seen, diff, visible};
use super::liar::{Lie, LyingFs};
use super::observe;
use super::plan::{Config, INLINE_MAX, Jobs, Op};

/// The second keyspace.
const SECOND: &str = "second";
/// How long a value with an expiry lives.
const TTL: Duration = Duration::from_secs(1);
/// How far a tick takes the clock: beyond every expiry so far.
const TICK: Duration = Duration::from_secs(2);
/// A separated value that leaves its log segment mostly dead, so that a flush copies it.
const MIDDLE_LEN: usize = 2 * INLINE_MAX + 100;
/// A separated value that makes its log segment worth keeping.
const BIG_LEN: usize = 10 * INLINE_MAX;
/// Longer than a log segment.
const HUGE_LEN: usize = 6000;

/// A finished run.
#[derive(Debug)]
pub struct Recording {
    /// The disk, with the state at every boundary.
    pub disk: SimDisk,
    /// What was attempted and acknowledged at which call.
    pub history: History,
    /// The boundary behind the prelude.
    pub prelude: usize,
    /// The boundary before the last call of the sequence: what lies before it, shorter sequences
    /// have too.
    pub first: usize,
    /// The last boundary: after every call.
    pub last: usize,
    /// What the store says about itself at the end.
    pub stats: Stats,
}

/// Runs the prelude and then `ops` on a fresh disk.
///
/// # Errors
/// Any failure of a call, and anything read that the model does not say: the disk is sound.
pub fn record(config: Config, ops: &[Op], seed: u64, lie: Option<Lie>) -> Result<Recording> {
    let disk = SimDisk::new(seed);
    disk.record();
    let honest = disk.root();
    let fs = match lie {
        Some(lie) => LyingFs::before(honest, lie),
        None => honest,
    };
    let mut run = Run::start(config, seed, disk, fs)?;
    run.prelude().context("prelude")?;
    let prelude = run.calls();
    let mut first = 0;
    for (index, op) in ops.iter().enumerate() {
        first = run.calls();
        run.step(*op).with_context(|| format!("call {} ({})", index + 1, op.name()))?;
    }
    let last = run.calls();
    run.verify().context("what the run itself reads")?;
    let stats = run.db().stats();
    let Run { disk, history, .. } = run;
    disk.kill();
    Ok(Recording { disk, history, prelude, first, last, stats })
}

/// A snapshot, what it was taken of, and the keyspaces it can be asked about.
struct Held {
    snapshot: Snapshot,
    keyspaces: Vec<Keyspace>,
    state: super::history::State,
}

struct Run {
    config: Config,
    disk: SimDisk,
    fs: Arc<dyn Fs>,
    sim: SimEnv,
    random: Random,
    /// Gone only while the store is reopened.
    db: Option<Db>,
    history: History,
    /// Generations of earlier opens.
    generations: u64,
    /// Generations that are flushed for sure.
    flushed: u64,
    snapshots: Vec<Held>,
}

impl Run {
    fn start(config: Config, seed: u64, disk: SimDisk, fs: Arc<dyn Fs>) -> Result<Run> {
        let sim = Env::sim(seed);
        let mut history = History::default();
        history.tick(0, sim.clock.wall_ms());
        let db = Db::open_on(fs.clone(), sim.env.clone(), config.options())?;
        Ok(Run {
            config,
            disk,
            fs,
            sim,
            random: Random::new(seed ^ 0x0b5e),
            db: Some(db),
            history,
            generations: 0,
            flushed: 0,
            snapshots: Vec::new(),
        })
    }

    /// Something in every layer: two keyspaces, tables, a value segment, a synced log, a tail.
    fn prelude(&mut self) -> Result<()> {
        self.create_second()?;
        self.put("a", 40)?;
        self.put("b", 40)?;
        self.put("c", MIDDLE_LEN)?;
        self.batch(false)?;
        self.flushing(Db::flush)?;
        self.put("b", 60)?;
        self.put("d", 40)?;
        self.sync()?;
        // Where writes are not durable, the first call finds something unsynced.
        self.put("b", 70)
    }

    fn step(&mut self, op: Op) -> Result<()> {
        match op {
            Op::Put => self.put("a", 40)?,
            Op::BigPut => self.put("a", BIG_LEN)?,
            Op::HugePut => self.put("c", HUGE_LEN)?,
            Op::Delete => self.delete("a")?,
            Op::Batch => self.batch(false)?,
            Op::Unlogged => self.batch(true)?,
            Op::TtlPut => self.put_ttl("a")?,
            Op::Flush => self.flushing(Db::flush)?,
            Op::Compact => self.flushing(Db::compact)?,
            Op::Snapshot => self.snapshot(),
            Op::Tick => self.tick(),
            Op::Reopen => self.reopen()?,
            Op::Sync => self.sync()?,
            Op::Recreate => {
                self.commit(vec![Change::Drop(SECOND.to_owned())], false, |run| {
                    Ok(run.db().drop_keyspace(SECOND)?)
                })?;
                self.durable();
                self.create_second()?;
            }
            Op::Jobs => {
                self.sim.spawner.run_until_idle();
            }
        }
        if self.config.jobs == Jobs::Seeded {
            for _ in 0..self.random.below(4) {
                let choice = self.random.next_u64();
                self.sim.spawner.step_one(choice);
            }
        }
        Ok(())
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("the store is open between calls")
    }

    /// Changing calls of the file system so far, which is the number of the present boundary.
    fn calls(&self) -> usize {
        self.disk.boundaries() - 1
    }

    fn second(&self) -> Result<Keyspace> {
        observe::keyspace(self.db(), SECOND)
    }

    /// The generation of memtables that fills now, counted from the first open.
    fn generation(&self) -> u64 {
        let stats = self.db().stats();
        self.generations + stats.flushes + stats.sealed_generations + 1
    }

    /// One commit: attempted from here on; acknowledged, as the configuration promises, when
    /// `call` returned.
    fn commit(
        &mut self,
        changes: Vec<Change>,
        unlogged: bool,
        call: impl FnOnce(&mut Run) -> Result<()>,
    ) -> Result<()> {
        self.history.attempt(self.calls(), changes, unlogged);
        call(self)?;
        self.history.placed(self.generation());
        if self.config.acks_are_durable() && !unlogged {
            self.durable();
        }
        Ok(())
    }

    /// Everything so far was acknowledged as durable.
    fn durable(&mut self) {
        self.history.durable(self.calls(), self.flushed);
    }

    /// A value that no other commit writes.
    fn value(&self, len: usize) -> Arc<[u8]> {
        let number = self.history.len();
        let mut value = format!("value {number} ").into_bytes();
        let mut filler = Random::new(number as u64);
        value.extend(filler.bytes(len.saturating_sub(value.len())));
        value.into()
    }

    fn put_change(keyspace: &str, key: &str, value: &Arc<[u8]>, expiry_ms: u64) -> Change {
        let entry = Entry { value: value.clone(), expiry_ms };
        Change::Put(keyspace.to_owned(), key.as_bytes().to_vec(), entry)
    }

    fn put(&mut self, key: &str, len: usize) -> Result<()> {
        let value = self.value(len);
        let change = Run::put_change(engine::DEFAULT_KEYSPACE, key, &value, 0);
        let options = self.config.write_options();
        self.commit(vec![change], false, |run| Ok(run.db().put_with(key, &value, options)?))
    }

    fn put_ttl(&mut self, key: &str) -> Result<()> {
        let value = self.value(50);
        let ttl_ms = u64::try_from(TTL.as_millis()).expect("a second");
        let expiry_ms = self.sim.clock.wall_ms() + ttl_ms;
        let change = Run::put_change(engine::DEFAULT_KEYSPACE, key, &value, expiry_ms);
        let options = self.config.write_options().ttl(TTL);
        self.commit(vec![change], false, |run| Ok(run.db().put_with(key, &value, options)?))
    }

    fn delete(&mut self, key: &str) -> Result<()> {
        let change = Change::Delete(engine::DEFAULT_KEYSPACE.to_owned(), key.as_bytes().to_vec());
        let options = self.config.write_options();
        self.commit(vec![change], false, |run| {
            Ok(run.db().default_keyspace().delete_with(key, options)?)
        })
    }

    /// Puts and a delete in two keyspaces.
    fn batch(&mut self, unlogged: bool) -> Result<()> {
        let value = self.value(30);
        let second = self.second()?;
        let changes = vec![
            Run::put_change(engine::DEFAULT_KEYSPACE, "a", &value, 0),
            Run::put_change(SECOND, "x", &value, 0),
            Change::Delete(engine::DEFAULT_KEYSPACE.to_owned(), b"d".to_vec()),
            Run::put_change(SECOND, "y", &value, 0),
        ];
        let options = match unlogged {
            true => WriteOptions::default().disable_wal(),
            false => self.config.write_options(),
        };
        self.commit(changes, unlogged, |run| {
            let db = run.db();
            let mut batch: Batch = db.batch();
            batch.put(db.default_keyspace(), "a", &value);
            batch.put(&second, "x", &value);
            batch.delete(db.default_keyspace(), "d");
            batch.put(&second, "y", &value);
            Ok(db.write(batch, options)?)
        })
    }

    fn create_second(&mut self) -> Result<()> {
        self.commit(vec![Change::Create(SECOND.to_owned())], false, |run| {
            run.db().keyspace(SECOND, KeyspaceOptions::btree())?;
            Ok(())
        })?;
        self.durable();
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        self.db().sync()?;
        self.durable();
        Ok(())
    }

    /// A call after which everything so far is flushed.
    fn flushing(&mut self, call: impl FnOnce(&Db) -> engine::Result<()>) -> Result<()> {
        call(self.db())?;
        self.flushed = self.generation() - 1;
        self.durable();
        Ok(())
    }

    fn snapshot(&mut self) {
        let snapshot = self.db().snapshot();
        let keyspaces = [engine::DEFAULT_KEYSPACE, SECOND];
        let keyspaces = keyspaces.map(|name| observe::keyspace(self.db(), name));
        let keyspaces = keyspaces.into_iter().filter_map(Result::ok).collect();
        self.snapshots.push(Held { snapshot, keyspaces, state: self.history.now() });
    }

    fn tick(&mut self) {
        self.sim.clock.advance(TICK);
        self.history.tick(self.calls(), self.sim.clock.wall_ms());
    }

    fn reopen(&mut self) -> Result<()> {
        self.verify()?;
        self.snapshots.clear();
        let generation = self.generation();
        self.db.take().expect("the store is open").close().context("close")?;
        self.generations = generation;
        // A clean close loses nothing, unlogged batches included.
        self.flushed = generation;
        self.durable();
        let opened = Db::open_on(self.fs.clone(), self.sim.env.clone(), self.config.options());
        self.db = Some(opened.context("open after a clean close")?);
        Ok(())
    }

    /// What the store says against what it was told.
    fn verify(&self) -> Result<()> {
        let clock_ms = self.sim.clock.wall_ms();
        let expected = visible(&self.history.now(), clock_ms);
        let found = observe::read(self.db())?;
        require_equal(&expected, &found)?;
        for held in &self.snapshots {
            let mut expected = visible(&held.state, clock_ms);
            for keyspace in &held.keyspaces {
                let found = observe::read_snapshot(&held.snapshot, keyspace)?;
                let name = keyspace.name().to_owned();
                let expected = expected.remove(&name).map(|entries| (name.clone(), entries));
                let expected: Seen = expected.into_iter().collect();
                require_equal(&expected, &Seen::from([(name, found)])).context("snapshot")?;
            }
        }
        let failure = self.db().stats().failure;
        ensure!(failure.is_none(), "the store became read-only: {failure:?}");
        Ok(())
    }
}

fn require_equal(expected: &Seen, found: &Seen) -> Result<()> {
    ensure!(expected == found, "not what was written:\n{}", diff(expected, found));
    Ok(())
}
