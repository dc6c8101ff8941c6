//! A run as processes: how one ends, and how the next goes on, on the same disk or on a copy.

use anyhow::{Context, Result};
use engine::Db;
use vfs::sim::SimDisk;
use vfs::{Clock, Env, Random};

use super::copies;
use super::history::{History, State};
use super::reach::Reach;
use super::run::{Run, SECOND};

impl Run {
    /// A clean close.
    pub(super) fn close(&mut self) -> engine::Result<()> {
        self.snapshots.clear();
        self.generations = self.generation();
        self.db.take().expect("the store is open").close()?;
        // It loses nothing, unlogged batches included.
        self.flushed = self.generations;
        self.durable();
        Ok(())
    }

    /// Looks, closes, and opens again.
    pub(super) fn reopen(&mut self) -> Result<()> {
        self.verify()?;
        self.restart()
    }

    /// As [`Run::reopen`], without a look before it.
    pub(super) fn restart(&mut self) -> Result<()> {
        self.snapshots.clear();
        self.reach.add_stats(&self.db().stats());
        self.close().context("close")?;
        self.open_store().context("open after a clean close")
    }

    /// The store goes, and nobody asks how that went.
    pub(super) fn drop_store(&mut self) {
        self.snapshots.clear();
        if self.has_db() {
            self.generations = self.generation();
        }
        drop(self.db.take());
    }

    /// The process is killed.
    pub(super) fn kill_store(&mut self) {
        self.disk.kill();
        self.drop_store();
    }

    /// True if the store takes no more writes.
    pub(super) fn has_failed(&self) -> bool {
        self.db().stats().failure.is_some()
    }

    /// Why the store takes no more writes.
    pub(super) fn failure(&self) -> Option<String> {
        self.db().stats().failure
    }

    /// The store was opened and shows this state.
    pub(super) fn settle(&mut self, state: State) {
        self.history.settle(state);
        self.acknowledged = 0;
    }

    /// True if the second keyspace is there.
    pub(super) fn expects_second(&self) -> bool {
        self.now().contains_key(SECOND)
    }

    /// The same story told on by another process, on another disk with the same bytes. Its store
    /// is not open yet.
    pub(super) fn resume(&self, disk: SimDisk) -> Result<Run> {
        let sim = Env::sim(self.seed);
        sim.clock.set_wall_ms(self.sim.clock.wall_ms());
        // Whether it was replayed into this generation or flushed, it is in none that comes.
        let generations = match &self.db {
            Some(_) => self.generation(),
            None => self.generations,
        };
        Ok(Run {
            options: self.options.clone(),
            fs: copies::home(&disk)?,
            disk,
            started: 0,
            sim,
            random: Random::new(self.seed ^ 0x0b5e),
            db: None,
            history: self.history.told_again(),
            generations,
            snapshots: Vec::new(),
            copies: Vec::new(),
            reach: Reach::default(),
            ..*self
        })
    }

    /// The beginning of the story: nothing was done yet, on an empty disk.
    pub(super) fn forget(&self, disk: SimDisk) -> Result<Run> {
        let mut run = self.resume(disk)?;
        run.history = History::default();
        run.history.tick(0, run.sim.clock.wall_ms());
        (run.acknowledged, run.generations, run.flushed) = (0, 0, 0);
        Ok(run)
    }

    /// Opens the store as a process does that was just started.
    pub(super) fn open_store(&mut self) -> Result<()> {
        self.fs = copies::home(&self.disk)?;
        let opened = Db::open_on(self.fs.clone(), self.sim.env.clone(), self.options.clone());
        self.db = Some(opened?);
        Ok(())
    }
}
