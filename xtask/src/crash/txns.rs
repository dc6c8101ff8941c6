//! R16: transactions that many make at a time are as if one came after the other, under flushes,
//! compactions, garbage collections, expiring entries and crashes.
//!
//! Three histories, each with a check that knows nothing of the engine: *list-append*, whose lists
//! say in which order appends came and whose reads say what they saw (`append.rs`); a *bank*, whose
//! money stays (`bank.rs`); *leases*, of which there is one at a time (`leases.rs`).
//!
//! Most units interleave the steps of several transactions, background jobs and maintenance on one
//! thread, as their seed says, so that they can be shown again. In the last steps of a round the
//! disk records, and crashes at some of its calls are opened and judged; the next round goes on
//! from one of them. Every eighth unit uses threads and a real directory instead.

mod append;
mod bank;
mod leases;

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use engine::{Db, Durability, Keyspace, Options, ReadMode};
use vfs::sim::{ImageKind, SimDisk};
use vfs::{Clock, Env, Random, SimEnv};

use self::append::{Checked, History, Lists};
use self::bank::{Bank, Clerk};
use self::leases::Leases;
use super::part::{Finding, Outcome, Part};
use super::recovery::{guard, hush};
use crate::kind::Kind;

/// Operations of a unit, about.
const OPERATIONS_PER_UNIT: u64 = 10_000;
/// Of these, what counts: some kinds of units do other work besides.
const COUNTED_PER_UNIT: u64 = 8_500;
/// Rounds of a unit; between them the database is crashed or closed.
const ROUNDS: u64 = 3;
/// Who makes transactions at a time.
const WORKERS: u64 = 4;
/// Steps at the end of a round in which the disk records.
const RECORDED_STEPS: u64 = 60;
/// Crashes that are opened in a round.
const CRASHES: u64 = 6;
/// One in so many units uses threads.
const THREADED_EVERY: u64 = 8;

/// The part: so many operations, about.
#[derive(Clone, Copy, Debug)]
pub struct Transactions {
    /// Operations in transactions.
    pub operations: u64,
    /// Equal seeds do the same, but for the units with threads.
    pub seed: u64,
}

impl Transactions {
    /// What CI runs.
    pub fn quick(seed: u64) -> Transactions {
        Transactions { operations: 1_000_000, seed }
    }

    /// What a long run does.
    pub fn long(seed: u64) -> Transactions {
        Transactions { operations: 100_000_000, seed }
    }
}

impl Part for Transactions {
    fn name(&self) -> String {
        "R16 transactions".to_owned()
    }

    fn units(&self) -> u64 {
        self.operations.div_ceil(COUNTED_PER_UNIT)
    }

    fn run(&self, unit: u64) -> Outcome {
        hush();
        let seed = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ unit << 16;
        let mut outcome = Outcome::default();
        let done = guard(|| match unit % THREADED_EVERY {
            7 if (unit / THREADED_EVERY).is_multiple_of(2) => append_by_threads(seed, &mut outcome),
            7 => bank_by_threads(seed, &mut outcome),
            3 => leases(seed, &mut outcome),
            even if even.is_multiple_of(2) => append(seed, &mut outcome),
            _ => bank(seed, &mut outcome),
        });
        if let Err(error) = done {
            outcome.findings.push(Finding::new(
                "history",
                format!("{error:#}"),
                format!("cargo xtask crash --transactions --seed {} --unit {unit}", self.seed),
            ));
        }
        outcome
    }
}

/// Small enough that everything happens all the time; which, the seed says.
fn options(seed: u64) -> Options {
    let read = if seed & 1 << 40 == 0 { ReadMode::Mapped } else { ReadMode::Positional };
    let kib = if seed & 1 << 41 == 0 { 4 } else { 32 };
    Options::default()
        .durability(Durability::Never)
        .read_mode(read)
        .memtable_bytes(kib << 10)
        .segment_bytes(kib << 10)
        .log_bytes(kib << 12)
        .table_bytes(4096)
        .inline_max(64)
        .promote_min(0.3)
        .advised_garbage(0.1)
        .forced_garbage(0.3)
        .total_garbage_max(0.05)
        .gc_interval(Duration::from_millis(20))
        .level0_files(2)
        .level0_files_max(3)
        .level1_bytes(8192)
        .level_multiplier(2)
}

/// A machine: a disk, a clock, background work. Its database is opened again and again.
struct World {
    disk: SimDisk,
    sim: SimEnv,
    seed: u64,
    random: Random,
    turn: u64,
}

impl World {
    fn new(seed: u64) -> World {
        World::of(SimDisk::new(seed), Env::sim(seed), seed)
    }

    fn of(disk: SimDisk, sim: SimEnv, seed: u64) -> World {
        World { disk, sim, seed, random: Random::new(seed ^ 0x7e57), turn: 0 }
    }

    fn open(&self) -> Result<(Db, Vec<Keyspace>)> {
        let db = Db::open_on(self.disk.root(), self.sim.env.clone(), options(self.seed))?;
        let spaces = spaces(&db)?;
        Ok((db, spaces))
    }

    /// What else happens between two steps of transactions.
    fn between(&mut self, db: &Db) -> Result<()> {
        if self.random.index(6) == 0 {
            self.sim.clock.advance(Duration::from_millis(self.random.below(4)));
            let choice = self.random.next_u64();
            self.sim.spawner.step_one(choice);
        }
        if self.random.index(400) == 0 {
            self.turn += 1;
            match self.turn % 4 {
                0 | 1 => db.flush()?,
                2 => db.compact()?,
                _ => db.collect_garbage()?,
            }
        }
        Ok(())
    }

    /// The machine after the power went out at a boundary.
    fn crashed(&self, boundary: usize, kind: ImageKind, seed: u64) -> World {
        let sim = Env::sim(seed);
        sim.clock.set_wall_ms(self.sim.clock.wall_ms());
        World::of(
            self.disk.image(boundary, kind, seed),
            sim,
            seed & !(3 << 40) | self.seed & 3 << 40,
        )
    }

    /// Crashes at some of the recorded boundaries.
    fn crashes(&mut self) -> Vec<(usize, World)> {
        let (kinds, boundaries) = (ImageKind::kinds(), self.disk.boundaries());
        let crash = |_| {
            let boundary = self.random.index(boundaries);
            let kind = kinds[self.random.index(kinds.len())];
            let seed = self.random.next_u64();
            (boundary, self.crashed(boundary, kind, seed))
        };
        (0..CRASHES).map(crash).collect()
    }
}

/// A keyspace of every kind beside the default one.
fn spaces(db: &Db) -> Result<Vec<Keyspace>> {
    let mut spaces = vec![db.default_keyspace().clone()];
    for kind in Kind::ALL {
        spaces.push(db.keyspace(&format!("{kind} of two"), kind.options())?);
    }
    Ok(spaces)
}

fn require_sound(db: &Db) -> Result<()> {
    let report = db.check()?;
    ensure!(report.is_sound(), "{:?}", report.damage);
    Ok(())
}

/// When each recorded boundary was: the ticks at the last step that had ended and at the first that
/// had not begun.
struct Moments(Vec<(usize, u64)>);

impl Moments {
    fn note(&mut self, disk: &SimDisk, tick: u64) {
        self.0.push((disk.boundaries() - 1, tick));
    }

    fn at(&self, boundary: usize) -> (u64, u64) {
        let ended = self.0.iter().rev().find(|(calls, _)| *calls <= boundary);
        let begins = self.0.iter().find(|(calls, _)| *calls >= boundary);
        let last = |moment: Option<&(usize, u64)>, none| moment.map_or(none, |(_, tick)| *tick);
        (last(ended, 0), last(begins, u64::MAX))
    }
}

fn append(seed: u64, outcome: &mut Outcome) -> Result<()> {
    let mut world = World::new(seed);
    for number in 0..ROUNDS {
        let (db, spaces) = world.open()?;
        let before = append::lists(&spaces)?;
        let history = History::new(&db, &spaces, number, false);
        let mut workers: Vec<_> =
            (0..WORKERS).map(|worker| append::Worker::new(worker, seed ^ number)).collect();
        let enough = OPERATIONS_PER_UNIT / ROUNDS / WORKERS;
        let step = |world: &mut World, workers: &mut Vec<append::Worker>| {
            let index = world.random.index(workers.len());
            workers[index].step(&history)?;
            world.between(&db)?;
            Ok::<bool, anyhow::Error>(workers[index].done < enough)
        };
        while step(&mut world, &mut workers)? {}
        world.disk.record();
        let mut moments = Moments(Vec::new());
        moments.note(&world.disk, history.now());
        for _ in 0..RECORDED_STEPS {
            step(&mut world, &mut workers)?;
            moments.note(&world.disk, history.now());
        }
        let lists = append::lists(&spaces)?;
        require_sound(&db)?;
        let workers = workers.into_iter().map(append::Worker::into_txns).collect();
        let checked = append::check(workers, &before, &lists);
        outcome.count("operations", checked.operations as u64);
        outcome.count("transactions lost", checked.lost as u64);
        let stats = db.stats();
        outcome.count("flushes", stats.flushes);
        outcome.count("merges", stats.merges);
        outcome.count("collections", stats.gc_runs);
        let crashes = world.crashes();
        drop((history, spaces));
        world.disk.kill();
        drop(db);
        for (boundary, crashed) in crashes {
            judge_lists(&crashed, &checked, (&before, &lists), moments.at(boundary))
                .with_context(|| format!("round {number}, a crash at call {boundary}"))?;
            outcome.count("crashes", 1);
            world = crashed;
        }
    }
    Ok(())
}

/// What a crash left is part of the history, and what was before the history is there.
fn judge_lists(
    crashed: &World,
    checked: &Checked,
    (before, lists): (&Lists, &Lists),
    (from, to): (u64, u64),
) -> Result<()> {
    let (db, spaces) = crashed.open()?;
    let image = append::lists(&spaces)?;
    checked.check_image(&image, lists, from, to);
    for (list, elements) in before {
        let kept = image.get(list).map_or(&[][..], Vec::as_slice);
        ensure!(kept.starts_with(elements), "what an earlier round left is durable");
    }
    require_sound(&db)?;
    drop(spaces);
    db.close()?;
    Ok(())
}

fn bank(seed: u64, outcome: &mut Outcome) -> Result<()> {
    let mut world = World::new(seed);
    for number in 0..ROUNDS {
        let (db, spaces) = world.open()?;
        let bank = Bank::open(&db, &spaces)?;
        bank.audit()?;
        let mut clerks: Vec<_> =
            (0..WORKERS).map(|clerk| Clerk::new(clerk, seed ^ number)).collect();
        let enough = OPERATIONS_PER_UNIT / ROUNDS / WORKERS;
        let step = |world: &mut World, clerks: &mut Vec<Clerk>| {
            let index = world.random.index(clerks.len());
            clerks[index].step(&bank)?;
            world.between(&db)?;
            Ok::<bool, anyhow::Error>(clerks[index].done < enough)
        };
        while step(&mut world, &mut clerks)? {}
        world.disk.record();
        for _ in 0..RECORDED_STEPS {
            step(&mut world, &mut clerks)?;
        }
        bank.audit()?;
        require_sound(&db)?;
        outcome.count("operations", clerks.iter().map(|clerk| clerk.done).sum());
        outcome.count("transactions lost", clerks.iter().map(|clerk| clerk.lost).sum());
        let crashes = world.crashes();
        drop((bank, spaces, clerks));
        world.disk.kill();
        drop(db);
        for (boundary, crashed) in crashes {
            let (db, spaces) = crashed.open()?;
            let audited = Bank::open(&db, &spaces).and_then(|bank| bank.audit());
            audited.with_context(|| format!("round {number}, a crash at call {boundary}"))?;
            require_sound(&db)?;
            drop(spaces);
            db.close()?;
            outcome.count("crashes", 1);
            world = crashed;
        }
    }
    Ok(())
}

fn leases(seed: u64, outcome: &mut Outcome) -> Result<()> {
    let mut world = World::new(seed);
    for round in 0..ROUNDS {
        let (db, spaces) = world.open()?;
        let kind = 1 + usize::from(seed & 1 << 16 != 0);
        let mut leases = Leases::new(&db, &spaces[kind])?;
        let mut workers: Vec<_> =
            (0..WORKERS).map(|name| leases::Worker::new(name, seed ^ round)).collect();
        let mut done = 0;
        while done < OPERATIONS_PER_UNIT / ROUNDS {
            let index = world.random.index(workers.len());
            workers[index].step(&mut leases, &world.sim.clock)?;
            world.between(&db)?;
            done = workers.iter().map(|worker| worker.done).sum();
        }
        outcome.count("operations", done);
        outcome.count("leases", leases.audit()?);
        outcome.count("work under leases", leases.worked);
        require_sound(&db)?;
        world.disk.record();
        let (_, crashed) = world.crashes().pop().context("there is one")?;
        drop((leases, workers, spaces));
        world.disk.kill();
        drop(db);
        world = crashed;
    }
    Ok(())
}

/// A database in a real directory, with threads behind it.
fn real(seed: u64, use_it: impl FnOnce(&Db, &[Keyspace]) -> Result<()>) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let options = options(seed).memtable_bytes(64 << 10).segment_bytes(64 << 10);
    let db = Db::open(scratch.path(), options.log_bytes(512 << 10).level1_bytes(1 << 20))?;
    let spaces = spaces(&db)?;
    use_it(&db, &spaces)?;
    require_sound(&db)?;
    drop(spaces);
    Ok(db.close()?)
}

/// Runs workers on threads of their own until each has done enough.
fn by_threads<W: Send>(
    workers: Vec<W>,
    work: impl Fn(&mut W) -> Result<()> + Sync,
) -> Result<Vec<W>> {
    let work = &work;
    thread::scope(|scope| {
        let start = |mut worker: W| scope.spawn(move || work(&mut worker).map(|()| worker));
        let threads: Vec<_> = workers.into_iter().map(start).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, Result<W>>| {
            thread.join().map_err(|_| anyhow!("a worker panicked"))?
        };
        threads.into_iter().map(join).collect()
    })
}

fn append_by_threads(seed: u64, outcome: &mut Outcome) -> Result<()> {
    real(seed, |db, spaces| {
        let history = History::new(db, spaces, 0, true);
        let workers = (0..WORKERS).map(|worker| append::Worker::new(worker, seed)).collect();
        let workers = by_threads(workers, |worker| {
            let mut steps = 0_u64;
            while worker.done < OPERATIONS_PER_UNIT / WORKERS {
                worker.step(&history)?;
                steps += 1;
                maintain(db, steps)?;
            }
            Ok(())
        })?;
        let workers = workers.into_iter().map(append::Worker::into_txns).collect();
        let checked = append::check(workers, &Lists::new(), &append::lists(spaces)?);
        outcome.count("operations", checked.operations as u64);
        outcome.count("operations by threads", checked.operations as u64);
        outcome.count("transactions lost", checked.lost as u64);
        Ok(())
    })
}

fn bank_by_threads(seed: u64, outcome: &mut Outcome) -> Result<()> {
    real(seed, |db, spaces| {
        let bank = Bank::open(db, spaces)?;
        let clerks = (0..WORKERS).map(|clerk| Clerk::new(clerk, seed)).collect();
        let clerks = by_threads(clerks, |clerk| {
            let mut steps = 0_u64;
            while clerk.done < OPERATIONS_PER_UNIT / WORKERS {
                clerk.step(&bank)?;
                steps += 1;
                maintain(db, steps)?;
            }
            Ok(())
        })?;
        bank.audit()?;
        let done = clerks.iter().map(|clerk| clerk.done).sum();
        outcome.count("operations", done);
        outcome.count("operations by threads", done);
        outcome.count("transactions lost", clerks.iter().map(|clerk| clerk.lost).sum());
        Ok(())
    })
}

/// Now and then something for the files, while others go on.
fn maintain(db: &Db, steps: u64) -> Result<()> {
    match steps % 6000 {
        1000 | 3000 => db.flush()?,
        2000 => db.compact()?,
        5000 => db.collect_garbage()?,
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests;
