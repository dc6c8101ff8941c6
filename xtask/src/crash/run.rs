//! A store under a workload, beside the history of what it was told.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use engine::{Batch, DEFAULT_KEYSPACE, Db, ErrorKind, Keyspace, Options, Snapshot, WriteOptions};
use vfs::sim::SimDisk;
use vfs::{Clock, Env, Fs, Random, SimEnv};

use super::copies::{self, Copy};
use super::history::{Change, Entry, History, Seen, State, diff, visible};
use super::liar::{Lie, LyingFs};
use super::observe;
use super::plan::{Acks, Config};
use super::reach::Reach;
use crate::kind::Kind;

/// The second keyspace, of the configuration's kind.
pub(super) const SECOND: &str = "second";
/// How long a value with an expiry lives.
const TTL: Duration = Duration::from_secs(1);
/// How far a tick takes the clock: beyond every expiry so far.
pub(super) const TICK: Duration = Duration::from_secs(2);

/// Who promises that a commit is durable when its call returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Promise {
    /// The configuration, by its policy or by the options of its writes.
    Config,
    /// The policy: the call takes no options.
    Policy,
    /// Nobody: it skips the log.
    Nobody,
}

/// A snapshot, what it was taken of, and the keyspaces it can be asked about.
pub(super) struct Held {
    snapshot: Snapshot,
    keyspaces: Vec<Keyspace>,
    state: State,
}

/// A store under a workload.
pub(super) struct Run {
    pub(super) config: Config,
    pub(super) options: Options,
    pub(super) disk: SimDisk,
    /// The boundary before the store is made.
    pub(super) started: usize,
    pub(super) fs: Arc<dyn Fs>,
    pub(super) sim: SimEnv,
    pub(super) random: Random,
    pub(super) seed: u64,
    /// Gone only while the store is reopened.
    pub(super) db: Option<Db>,
    pub(super) history: History,
    /// Commits that returned well; of those after them nobody knows.
    pub(super) acknowledged: usize,
    /// Generations of earlier opens.
    pub(super) generations: u64,
    /// Generations that are flushed for sure.
    pub(super) flushed: u64,
    pub(super) snapshots: Vec<Held>,
    pub(super) copies: Vec<Copy>,
    /// What earlier opens reached.
    pub(super) reach: Reach,
}

impl Run {
    /// A fresh disk that records, with places for so many checkpoints.
    pub(super) fn start(config: Config, seed: u64, lie: Option<Lie>, places: usize) -> Result<Run> {
        Run::start_with(config, config.options(), seed, lie, places)
    }

    /// As [`Run::start`], with options that are not the configuration's.
    pub(super) fn start_with(
        config: Config,
        options: Options,
        seed: u64,
        lie: Option<Lie>,
        places: usize,
    ) -> Result<Run> {
        let disk = SimDisk::new(seed);
        // Recording comes first, so that boundaries and the trace count the same calls.
        disk.record();
        copies::make_places(&disk, places)?;
        let started = disk.boundaries() - 1;
        let honest = copies::home(&disk)?;
        let fs = match lie {
            Some(lie) => LyingFs::before(honest, lie),
            None => honest,
        };
        let sim = Env::sim(seed);
        let mut run = Run::open(config, options, disk, fs, sim, State::new())?;
        (run.started, run.seed) = (started, seed);
        run.random = Random::new(seed ^ 0x0b5e);
        Ok(run)
    }

    /// A store in a directory that holds `base`, or that is empty.
    pub(super) fn open(
        config: Config,
        options: Options,
        disk: SimDisk,
        fs: Arc<dyn Fs>,
        sim: SimEnv,
        base: State,
    ) -> Result<Run> {
        let mut history = History::on(base);
        history.tick(0, sim.clock.wall_ms());
        let db = Db::open_on(fs.clone(), sim.env.clone(), options.clone()).context("open")?;
        Ok(Run {
            config,
            options,
            started: disk.boundaries() - 1,
            disk,
            fs,
            sim,
            random: Random::new(0),
            seed: 0,
            db: Some(db),
            history,
            acknowledged: 0,
            generations: 0,
            flushed: 0,
            snapshots: Vec::new(),
            copies: Vec::new(),
            reach: Reach::default(),
        })
    }

    /// What the store holds that was opened, after so many commits; the seed draws what background
    /// jobs do.
    pub(super) fn begin(&mut self, base: State, commits: usize, seed: u64) {
        self.history = History::behind(commits, base);
        self.acknowledged = 0;
        self.history.tick(0, self.sim.clock.wall_ms());
        self.random = Random::new(seed);
    }

    /// False behind a close that no open followed.
    pub(super) fn has_db(&self) -> bool {
        self.db.is_some()
    }

    /// The process is gone: nothing is closed.
    pub(super) fn die(self) {
        self.disk.kill();
    }

    pub(super) fn db(&self) -> &Db {
        self.db.as_ref().expect("the store is open between calls")
    }

    /// Changing calls of the file system so far, which is the number of the present boundary.
    pub(super) fn calls(&self) -> usize {
        self.disk.boundaries() - 1
    }

    /// The keyspace that most calls write to.
    pub(super) fn main_name(&self) -> &'static str {
        match self.config.kind {
            Kind::Btree => DEFAULT_KEYSPACE,
            Kind::Hash => SECOND,
        }
    }

    /// The other one.
    fn side_name(&self) -> &'static str {
        match self.config.kind {
            Kind::Btree => SECOND,
            Kind::Hash => DEFAULT_KEYSPACE,
        }
    }

    pub(super) fn keyspace(&self, name: &str) -> Result<Keyspace> {
        observe::keyspace(self.db(), name)
    }

    /// The generation of memtables that fills now, counted from the first open.
    pub(super) fn generation(&self) -> u64 {
        let stats = self.db().stats();
        self.generations + stats.flushes + stats.sealed_generations + 1
    }

    /// One commit: attempted from here on; acknowledged, as promised, when `call` returned.
    pub(super) fn commit(
        &mut self,
        changes: Vec<Change>,
        promise: Promise,
        call: impl FnOnce(&Run) -> Result<()>,
    ) -> Result<()> {
        let failed_before = self.has_failed();
        self.history.attempt(self.calls(), changes, promise == Promise::Nobody);
        if let Err(error) = call(self) {
            let kind = error.downcast_ref::<engine::Error>().map(engine::Error::kind);
            let says_no = matches!(kind, Some(ErrorKind::NoSpace | ErrorKind::Invalid));
            // Only what ends all writes may have happened nevertheless.
            if failed_before || says_no || !self.has_failed() {
                self.history.refused();
            }
            return Err(error);
        }
        self.history.placed(self.generation());
        self.acknowledged = self.history.len();
        let durable = match promise {
            Promise::Config => self.config.acks_are_durable(),
            Promise::Policy => self.config.acks == Acks::Always,
            Promise::Nobody => false,
        };
        if durable {
            self.durable();
        }
        Ok(())
    }

    /// Everything so far was acknowledged as durable.
    pub(super) fn durable(&mut self) {
        self.history.durable(self.calls(), self.flushed);
    }

    /// A value that no other commit writes.
    fn value(&self, len: usize) -> Arc<[u8]> {
        let number = self.history.number();
        let mut value = format!("value {number} ").into_bytes();
        let mut filler = Random::new(number as u64);
        value.extend(filler.bytes(len.saturating_sub(value.len())));
        value.into()
    }

    /// Everything acknowledged.
    pub(super) fn now(&self) -> State {
        self.history.after(self.acknowledged)
    }

    /// What a key of the main keyspace holds now.
    fn current(&self, key: &str) -> Option<Arc<[u8]>> {
        let seen = visible(&self.now(), self.sim.clock.wall_ms());
        seen.get(self.main_name()).and_then(|entries| entries.get(key.as_bytes()).cloned())
    }

    pub(super) fn put(&mut self, key: &str, len: usize) -> Result<()> {
        let (main, value) = (self.keyspace(self.main_name())?, self.value(len));
        let change = put(main.name(), key, &value, 0);
        let options = self.config.write_options();
        let call = |_: &Run| Ok(main.put_with(key, &value, options)?);
        self.commit(vec![change], Promise::Config, call)
    }

    pub(super) fn put_ttl(&mut self, key: &str) -> Result<()> {
        let (main, value) = (self.keyspace(self.main_name())?, self.value(50));
        let change = put(main.name(), key, &value, self.expiry_ms());
        let options = self.config.write_options().ttl(TTL);
        let call = |_: &Run| Ok(main.put_with(key, &value, options)?);
        self.commit(vec![change], Promise::Config, call)
    }

    fn expiry_ms(&self) -> u64 {
        self.sim.clock.wall_ms() + u64::try_from(TTL.as_millis()).expect("a second")
    }

    pub(super) fn delete(&mut self, key: &str) -> Result<()> {
        let main = self.keyspace(self.main_name())?;
        let change = Change::Delete(main.name().to_owned(), key.as_bytes().to_vec());
        let options = self.config.write_options();
        let call = |_: &Run| Ok(main.delete_with(key, options)?);
        self.commit(vec![change], Promise::Config, call)
    }

    /// Puts and a delete in two keyspaces.
    pub(super) fn batch(&mut self, promise: Promise) -> Result<()> {
        let value = self.value(30);
        let (main, side) = (self.keyspace(self.main_name())?, self.keyspace(self.side_name())?);
        let changes = vec![
            put(main.name(), "a", &value, 0),
            put(side.name(), "x", &value, 0),
            Change::Delete(main.name().to_owned(), b"d".to_vec()),
            put(side.name(), "y", &value, 0),
        ];
        let options = match promise {
            Promise::Nobody => WriteOptions::default().disable_wal(),
            Promise::Config | Promise::Policy => self.config.write_options(),
        };
        self.commit(changes, promise, |run| {
            let mut batch: Batch = run.db().batch();
            batch.put(&main, "a", &value);
            batch.put(&side, "x", &value);
            batch.delete(&main, "d");
            batch.put(&side, "y", &value);
            Ok(run.db().write(batch, options)?)
        })
    }

    /// Puts or deletes many small values of the main keyspace in one batch.
    pub(super) fn many(&mut self, numbers: Range<usize>, present: bool) -> Result<()> {
        let (main, value) = (self.keyspace(self.main_name())?, self.value(8));
        let keys: Vec<String> = numbers.map(|number| format!("m{number:03}")).collect();
        let change = |key: &String| match present {
            true => put(main.name(), key, &value, 0),
            false => Change::Delete(main.name().to_owned(), key.as_bytes().to_vec()),
        };
        let (changes, options) = (keys.iter().map(change).collect(), self.config.write_options());
        self.commit(changes, Promise::Config, |run| {
            let mut batch = run.db().batch();
            for key in &keys {
                match present {
                    true => batch.put(&main, key, &value),
                    false => batch.delete(&main, key),
                }
            }
            Ok(run.db().write(batch, options)?)
        })
    }

    /// A transaction that reads in both keyspaces, writes to both, and sees what it wrote.
    pub(super) fn transact(&mut self) -> Result<()> {
        let value = self.value(40);
        let (main, side) = (self.keyspace(self.main_name())?, self.keyspace(self.side_name())?);
        let changes = vec![
            put(main.name(), "b", &value, 0),
            put(side.name(), "x", &value, 0),
            Change::Delete(side.name().to_owned(), b"y".to_vec()),
        ];
        let (before, options) = (self.current("b"), self.config.write_options());
        self.commit(changes, Promise::Config, |run| {
            let mut transaction = run.db().transaction();
            let found = transaction.get(&main, "b")?;
            ensure!(found.as_deref() == before.as_deref(), "a transaction reads another state");
            transaction.put(&main, "b", &value)?;
            transaction.put(&side, "x", &value)?;
            transaction.delete(&side, "y")?;
            let found = [transaction.get(&side, "x")?, transaction.get(&side, "y")?];
            let found = found.each_ref().map(|value| value.as_deref());
            ensure!(found == [Some(&*value), None], "a transaction misses its own writes");
            Ok(transaction.commit_with(options)?)
        })
    }

    pub(super) fn swap(&mut self, key: &str) -> Result<()> {
        let (main, value) = (self.keyspace(self.main_name())?, self.value(45));
        let (before, change) = (self.current(key), put(main.name(), key, &value, 0));
        self.commit(vec![change], Promise::Policy, |_| {
            let expected = before.as_deref();
            ensure!(
                !main.compare_and_swap(key, Some(b"another"), None)?,
                "a value was taken for another"
            );
            ensure!(main.compare_and_swap(key, expected, Some(&value))?, "a value was not known");
            Ok(())
        })
    }

    pub(super) fn expire(&mut self, key: &str) -> Result<()> {
        let main = self.keyspace(self.main_name())?;
        let Some(value) = self.current(key) else {
            ensure!(!main.expire(key, TTL)?, "an expiry for a key that is not there");
            return Ok(());
        };
        let change = put(main.name(), key, &value, self.expiry_ms());
        self.commit(vec![change], Promise::Policy, |_| {
            ensure!(main.expire(key, TTL)?, "no expiry for a key that is there");
            Ok(())
        })
    }

    /// True if the second keyspace exists.
    pub(super) fn has_second(&self) -> Result<bool> {
        Ok(self.db().keyspaces()?.iter().any(|(name, _)| name == SECOND))
    }

    pub(super) fn create_second(&mut self) -> Result<()> {
        let kind = self.config.kind;
        self.commit(vec![Change::Create(SECOND.to_owned())], Promise::Policy, |run| {
            run.db().keyspace(SECOND, kind.options())?;
            Ok(())
        })?;
        self.durable();
        Ok(())
    }

    pub(super) fn drop_second(&mut self) -> Result<()> {
        self.commit(vec![Change::Drop(SECOND.to_owned())], Promise::Policy, |run| {
            Ok(run.db().drop_keyspace(SECOND)?)
        })?;
        self.durable();
        Ok(())
    }

    pub(super) fn sync(&mut self) -> Result<()> {
        self.db().sync()?;
        self.durable();
        Ok(())
    }

    /// A call after which everything so far is flushed.
    pub(super) fn flushing(&mut self, call: impl FnOnce(&Db) -> engine::Result<()>) -> Result<()> {
        call(self.db())?;
        self.flushed = self.generation() - 1;
        self.durable();
        Ok(())
    }

    pub(super) fn snapshot(&mut self) {
        let snapshot = self.db().snapshot();
        let keyspaces = [DEFAULT_KEYSPACE, SECOND].map(|name| self.keyspace(name));
        let keyspaces = keyspaces.into_iter().filter_map(Result::ok).collect();
        self.snapshots.push(Held { snapshot, keyspaces, state: self.now() });
    }

    pub(super) fn tick(&mut self) {
        self.advance(TICK);
    }

    pub(super) fn advance(&mut self, time: Duration) {
        self.sim.clock.advance(time);
        self.history.tick(self.calls(), self.sim.clock.wall_ms());
    }

    /// A checkpoint; everything acknowledged is durable when it returns, unlogged batches too.
    pub(super) fn checkpoint(&mut self) -> Result<()> {
        let number = self.copies.len() + 1;
        let target = copies::place(&self.disk, number)?;
        let (state, begun) = (self.now(), self.calls());
        if let Err(error) = self.db().checkpoint_on(&target) {
            self.copies.push(Copy { state, begun, done: usize::MAX });
            return Err(error.into());
        }
        self.flushed = self.flushed.max(self.generations + self.db().stats().flushes);
        self.durable();
        self.copies.push(Copy { state, begun, done: self.calls() });
        self.check_copies()
    }

    /// Reads every checkpoint made so far.
    pub(super) fn check_copies(&self) -> Result<()> {
        // On a disk of its own, so that the run's calls stay its own. They are not counted where
        // nothing is recorded.
        let (copies, calls) = (self.read_copies()?, self.calls().max(1));
        let clock_ms = self.sim.clock.wall_ms();
        copies::judge(&copies, &copies::allowed(&self.copies, calls, clock_ms))
    }

    fn read_copies(&self) -> Result<copies::Shown> {
        let fork = self.disk.fork(self.seed);
        let sim = Env::sim(self.seed ^ 0xc0);
        sim.clock.set_wall_ms(self.sim.clock.wall_ms());
        copies::read(&fork, &sim, self.config, self.copies.len())
    }

    /// What the store says against what it was told.
    pub(super) fn verify(&self) -> Result<()> {
        let clock_ms = self.sim.clock.wall_ms();
        let expected = visible(&self.now(), clock_ms);
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
        if !self.copies.is_empty() {
            let allowed = copies::allowed(&self.copies, self.calls(), clock_ms);
            copies::judge(&self.read_copies()?, &allowed).context("at the end")?;
        }
        let failure = self.db().stats().failure;
        let blameless = self.disk.faults_hit() == 0;
        ensure!(failure.is_none() || !blameless, "the store became read-only: {failure:?}");
        Ok(())
    }
}

fn put(keyspace: &str, key: &str, value: &Arc<[u8]>, expiry_ms: u64) -> Change {
    let entry = Entry { value: value.clone(), expiry_ms };
    Change::Put(keyspace.to_owned(), key.as_bytes().to_vec(), entry)
}

pub(super) fn require_equal(expected: &Seen, found: &Seen) -> Result<()> {
    ensure!(expected == found, "not what was written:\n{}", diff(expected, found));
    Ok(())
}
