//! A disk that is full: what makes room goes on, reads go on, and nothing acknowledged is lost.
//!
//! fill until refused -> read -> end, open while full -> delete, merge, collect -> free -> write -> recovered twice
//!
//! The other half of R14, a disk that refuses from any one call on, is among the faults of
//! `faults.rs`.

use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};
use engine::{Db, ErrorKind, Options};
use vfs::sim::ImageKind;

use super::history::Bounds;
use super::part::{Finding, Outcome, Part};
use super::plan::{Acks, Append, Config, Jobs, Read};
use super::recovery::{Allowed, Recovery, guard, hush};
use super::run::Run;
use super::trial::End;
use crate::kind::Kind;

const PAGE: u64 = 4096;
/// What is put aside.
const RESERVE: u64 = 192 << 10;
/// The largest disk has so many pages free.
const PAGES_MAX: u64 = 96;
/// More puts than fit on any of the disks.
const PUTS_MAX: usize = 1000;
/// Bytes of the values that fill the disk.
const LENS: [usize; 5] = [40, 190, 340, 490, 640];

/// Disks of many sizes that become full.
pub struct FullDisk {
    seed: u64,
    configs: Vec<Config>,
    /// How many pages are free, for each disk.
    pages: Vec<u64>,
    /// The flag of the command that runs this.
    flag: &'static str,
}

impl FullDisk {
    /// Every third size.
    pub fn ci() -> FullDisk {
        FullDisk::new(1, 3, "--faults")
    }

    /// Every size.
    pub fn long() -> FullDisk {
        FullDisk::new(1, 1, "--long")
    }

    fn new(seed: u64, step: usize, flag: &'static str) -> FullDisk {
        hush();
        let mut configs = Vec::new();
        let modes = [
            (Append::Mapped, Acks::Durable),
            (Append::Mapped, Acks::Never),
            (Append::Positional, Acks::Always),
        ];
        for (append, acks) in modes {
            for kind in Kind::ALL {
                let (read, jobs) = (Read::Positional, Jobs::Seeded);
                configs.push(Config { append, read, acks, jobs, kind });
            }
        }
        let pages = (0..PAGES_MAX).step_by(step).collect();
        FullDisk { seed, configs, pages, flag }
    }
}

/// A file takes some pages whatever it holds: not as many of them as elsewhere.
fn options(config: Config) -> Options {
    let options = config.options().memtable_bytes(8 << 10).table_bytes(64 << 10);
    let options = options.level1_bytes(128 << 10).log_bytes(64 << 10).reserve_bytes(RESERVE);
    options.total_garbage_max(0.1).advised_garbage(0.1).forced_garbage(0.3).promote_min(0.95)
}

impl Part for FullDisk {
    fn name(&self) -> String {
        "R14 full disk".to_owned()
    }

    fn units(&self) -> u64 {
        (self.configs.len() * self.pages.len()) as u64
    }

    fn run(&self, unit: u64) -> Outcome {
        let unit = usize::try_from(unit).expect("units were counted");
        let (config, size) = (self.configs[unit % self.configs.len()], unit / self.configs.len());
        let pages = self.pages[size];
        let end = [End::Close, End::Drop, End::Kill][size % 3];
        let mut outcome = Outcome::default();
        outcome.count("disks", 1);
        let disk = Disk { config, pages, end, seed: self.seed };
        if let Err(error) = guard(|| disk.run(&mut outcome)) {
            outcome.findings.push(Finding::new(
                "full disk",
                format!("{config} with {pages} pages free, {end:?}: {error:#}"),
                format!("cargo xtask crash {} --part \"full disk\" --unit {unit}", self.flag),
            ));
        }
        outcome
    }
}

/// One disk.
struct Disk {
    config: Config,
    pages: u64,
    end: End,
    seed: u64,
}

impl Disk {
    fn run(&self, outcome: &mut Outcome) -> Result<()> {
        let mut run = Run::start_with(self.config, options(self.config), self.seed, None, 0)?;
        run.create_second()?;
        for number in 0..20 {
            run.put(&key(number), LENS[number % LENS.len()])?;
        }
        run.flushing(Db::flush)?;
        let free = run.disk.root().free_space()?;
        let used = {
            run.disk.set_quota(Some(free));
            free - run.disk.root().free_space()?
        };
        run.disk.set_quota(Some(used + self.pages * PAGE));
        let (mut first, mut next) = (0, 20);
        for round in 0..2 {
            next = self.fill(&mut run, next, outcome).context("filling")?;
            verify(&run).context("full")?;
            self.end(&mut run).with_context(|| format!("the end of round {round}"))?;
            run.open_store().context("open while full")?;
            outcome.count("opens while full", 1);
            verify(&run).context("opened while full")?;
            self.empty(&mut run, first..next, outcome).context("making room")?;
            verify(&run).context("emptied")?;
            first = next;
        }
        self.fill(&mut run, next, outcome).context("filling again")?;
        run.disk.set_quota(None);
        run.disk.free(0);
        run.put("a", 700).context("a put when there is space again")?;
        run.sync()?;
        run.flushing(Db::flush).context("a flush when there is space again")?;
        verify(&run).context("with space")?;
        run.put("b", 700)?;
        self.judge(run, outcome)
    }

    /// Puts until the disk is full, with the background work of a running system. Returns the
    /// first key that was not used.
    fn fill(&self, run: &mut Run, first: usize, outcome: &mut Outcome) -> Result<usize> {
        for number in first..first + PUTS_MAX {
            match run.put(&key(number), LENS[number % LENS.len()]) {
                Ok(()) => outcome.count("puts", 1),
                Err(error) => {
                    require_no_space(&error)?;
                    outcome.count("refused puts", 1);
                    ensure!(!run.has_failed(), "a full disk ended all writes: {error:#}");
                    return Ok(number);
                }
            }
            run.sim.spawner.step_one(number as u64);
            ensure!(!run.has_failed(), "a full disk ended all writes: {:?}", run.failure());
        }
        bail!("the disk is never full")
    }

    fn end(&self, run: &mut Run) -> Result<()> {
        match self.end {
            End::Close => run.close().context("close")?,
            End::Drop => run.drop_store(),
            End::Kill => run.kill_store(),
        }
        Ok(())
    }

    /// Deletes, merges and collections, all of which the reserve pays for.
    fn empty(&self, run: &mut Run, keys: Range<usize>, outcome: &mut Outcome) -> Result<()> {
        for number in keys.clone() {
            run.delete(&key(number)).with_context(|| format!("delete {number} of {keys:?}"))?;
            outcome.count("deletes while full", 1);
            run.sim.spawner.step_one(number as u64);
        }
        run.flushing(Db::compact).context("compact")?;
        run.db().collect_garbage().context("collect garbage")?;
        ensure!(!run.has_failed(), "making room ended all writes: {:?}", run.failure());
        Ok(())
    }

    /// What the next process sees.
    fn judge(&self, mut run: Run, outcome: &mut Outcome) -> Result<()> {
        let cut = run.disk.crash(ImageKind::SyncedOnly, self.seed);
        let killed = run.disk.fork(self.seed);
        let bounds = run.history.bounds(usize::MAX);
        let kept = Bounds { durable: run.acknowledged, ..bounds };
        run.kill_store();
        for (image, bounds) in [(cut, bounds), (killed, kept)] {
            outcome.count("recoveries", 1);
            let allowed = Allowed::within(&run.history, bounds, Vec::new());
            let recovery = Recovery { config: self.config, seed: self.seed, settle: true };
            recovery.run(&image, &allowed).context("recovery with space")?;
        }
        Ok(())
    }
}

fn key(number: usize) -> String {
    format!("k{number:05}")
}

fn verify(run: &Run) -> Result<()> {
    run.verify()
}

/// A full disk refuses, and says nothing else.
fn require_no_space(error: &anyhow::Error) -> Result<()> {
    let kind = error.downcast_ref::<engine::Error>().map(engine::Error::kind);
    ensure!(kind == Some(ErrorKind::NoSpace), "{error:#}");
    Ok(())
}
