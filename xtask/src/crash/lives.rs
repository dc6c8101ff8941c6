//! The random exploration: lives of one database, each ended by a crash and begun on what that left.
//!
//! ```text
//! open -> read: a state that the last crash may leave? -> check -> calls -> crash -> open -> ...
//!                                                          -> at the end: compact, collect, close, open
//! ```
//!
//! 1. A crash inside an open leaves what the crash before it may have left.
//! 2. A commit that was refused for want of space never happened; behind any other failure a life
//!    makes no more calls, and the commit in doubt may be there or not.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use engine::{Db, ErrorKind, TimeToLive};
use vfs::sim::{At, Fault, SimDisk, Times, What};
use vfs::{Clock, Env};

use super::call::Op;
use super::copies;
use super::history::{State, visible, will_expire};
use super::images::{self, Effort};
use super::minimise::shortest;
use super::observe;
use super::part::{Finding, Outcome, Part, regression};
use super::plan::Place;
use super::program::{Life, Program, Step};
use super::recovery::{guard, hush};
use super::run::{Promise, Run};
use super::workload::{self, MANY};

/// Programs that one unit runs.
const PER_UNIT: u64 = 25;
/// What a call of the disk may do wrong.
const FAULTS: [(What, Times); 8] = [
    (What::Io, Times::Once),
    (What::NoSpace, Times::Once),
    (What::NoSpace, Times::Forever),
    (What::Short(3), Times::Once),
    (What::SyncLost, Times::Once),
    (What::SyncReverted, Times::Once),
    (What::SyncSurvived, Times::Once),
    (What::SyncLate, Times::Once),
];
/// Of drawn numbers of failing calls, one lies in so many calls of a life.
const FAULT_CALLS: u32 = 600;

/// Random programs by seed.
#[derive(Clone, Copy, Debug)]
pub struct Lives {
    /// The first seed.
    pub first: u64,
    /// How many.
    pub seeds: u64,
    /// Leaves lives and calls out of what was found as long as it fails.
    pub minimise: bool,
}

impl Part for Lives {
    fn name(&self) -> String {
        "R2 R6 lives and crashes".to_owned()
    }

    fn units(&self) -> u64 {
        self.seeds.div_ceil(PER_UNIT)
    }

    fn run(&self, unit: u64) -> Outcome {
        let mut outcome = Outcome::default();
        for seed in unit * PER_UNIT..self.seeds.min((unit + 1) * PER_UNIT) {
            let program = Program::draw(self.first + seed, &drawn_images());
            outcome.count("seeds", 1);
            if let Err(error) = run(&program, &mut outcome) {
                outcome.findings.push(self.finding(&program, &error));
            }
        }
        outcome
    }
}

/// The numbers of the images that a program may draw: all kinds, and a killed process.
pub fn drawn_images() -> Vec<usize> {
    images::images(usize::MAX, &Effort { draws: 4, ..Effort::FULL })
}

impl Lives {
    fn finding(&self, program: &Program, error: &anyhow::Error) -> Finding {
        let fails = |program: &Program| run(program, &mut Outcome::default()).is_err();
        let short = match self.minimise {
            true => shortest_program(program, &fails),
            false => program.clone(),
        };
        let again = run(&short, &mut Outcome::default()).err();
        let end = short.lives.last().map(|life| life.end.image);
        Finding {
            what: format!("{:#}", again.as_ref().unwrap_or(error)),
            replay: format!("cargo xtask crash --replay \"{short}\""),
            kind: end.map_or_else(String::new, images::image_name),
            regression: regression(&short.to_string()),
        }
    }
}

/// Drops lives from the front, then calls, as long as it still fails.
fn shortest_program(program: &Program, fails: &dyn Fn(&Program) -> bool) -> Program {
    let with = |lives: &[Life]| Program { seed: program.seed, lives: lives.to_vec() };
    let lives = shortest(&program.lives, &|lives| !lives.is_empty() && fails(&with(lives)));
    let mut program = with(&lives);
    for index in 0..program.lives.len() {
        let steps = program.lives[index].steps.clone();
        let with = |steps: &[Step]| {
            let mut shorter = program.clone();
            shorter.lives[index].steps = steps.to_vec();
            shorter
        };
        program = with(&shortest(&steps, &|steps| fails(&with(steps))));
    }
    program
}

/// Runs a program.
///
/// # Errors
/// What must not be.
pub fn run(program: &Program, outcome: &mut Outcome) -> Result<()> {
    run_watched(program, outcome, &|_, _, _| ())
}

/// Is shown the disk of each life, its crash, and the disk behind that.
pub(super) type Watch<'a> = &'a dyn Fn(&SimDisk, Place, &SimDisk);

/// As [`run`], watched.
pub(super) fn run_watched(program: &Program, outcome: &mut Outcome, watch: Watch) -> Result<()> {
    hush();
    guard(|| run_lives(program, outcome, watch))
}

fn run_lives(program: &Program, outcome: &mut Outcome, watch: Watch) -> Result<()> {
    let mut disk = SimDisk::new(program.seed);
    copies::make_places(&disk, 0)?;
    disk = disk.fork(program.seed);
    let mut left = Left { states: vec![empty()], commits: 0, clock_ms: 1_700_000_000_000 };
    for (index, life) in program.lives.iter().enumerate() {
        let seed = program.seed ^ (index as u64).wrapping_mul(0x9e37_79b9);
        outcome.count("crashes", 1);
        let lived = live(&disk, life, seed, left, outcome);
        let (place, next) =
            lived.with_context(|| format!("life {} of {}", index + 1, program.lives.len()))?;
        let image = crash(&disk, place, seed);
        watch(&disk, place, &image);
        (disk, left) = (image, next);
    }
    let last = program.lives.last().expect("a program has lives");
    end(&disk, last, program.seed, left).context("after the last crash")
}

fn empty() -> State {
    State::from([(engine::DEFAULT_KEYSPACE.to_owned(), Default::default())])
}

/// What a crash may have left.
struct Left {
    states: Vec<State>,
    /// Commits of all lives: no two lives write the same value.
    commits: usize,
    clock_ms: u64,
}

impl Left {
    /// The one of the states that a store shows.
    fn find(&self, db: &Db, clock_ms: u64) -> Result<State> {
        let seen = observe::read(db)?;
        let same = self.states.iter().rev().filter(|state| visible(state, clock_ms) == seen);
        let with_expiries = will_expire(&self.states, clock_ms);
        for state in same {
            if !with_expiries || has_expiries(db, state, clock_ms)? {
                return Ok(state.clone());
            }
        }
        let [oldest, newest] = [self.states.first(), self.states.last()]
            .map(|state| visible(state.expect("at least one state is allowed"), clock_ms));
        let against = |state| super::history::diff(state, &seen);
        anyhow::bail!(
            "none of {} states; against the oldest\n{}against the newest\n{}",
            self.states.len(),
            against(&oldest),
            against(&newest)
        )
    }
}

/// True if the entries that are there vanish when a state says, and the others never.
fn has_expiries(db: &Db, state: &State, clock_ms: u64) -> Result<bool> {
    for (name, entries) in state {
        let keyspace = observe::keyspace(db, name)?;
        for (key, entry) in entries {
            let expected = match entry.expiry_ms {
                0 => TimeToLive::Forever,
                ms if ms <= clock_ms => continue,
                ms => TimeToLive::Left(Duration::from_millis(ms - clock_ms)),
            };
            if keyspace.ttl(key).context("ttl")? != Some(expected) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// One life, where it ends, and what that may leave.
fn live(
    disk: &SimDisk,
    life: &Life,
    seed: u64,
    left: Left,
    outcome: &mut Outcome,
) -> Result<(Place, Left)> {
    disk.record();
    let (fs, sim) = (copies::home(disk)?, Env::sim(seed));
    sim.clock.set_wall_ms(left.clock_ms);
    let calls_before = disk.calls();
    let config = life.config;
    if let Some(fault) = fault(life, calls_before) {
        disk.fault(fault);
    }
    let opened = Run::open(config, life.options(), disk.clone(), fs.clone(), sim, empty());
    let mut run = match opened {
        Err(error) if disk.faults_hit() > 0 => {
            // The disk is to blame. Whatever the open did, the next one finds what was there.
            ensure!(is_of_disk(&error), "not an error of the disk: {error:#}");
            outcome.count("failed opens", 1);
            return Ok((place(disk, life, disk.boundaries() - 1), left));
        }
        other => other?,
    };
    let opened_at = run.calls();
    let base = match left.find(run.db(), left.clock_ms) {
        Err(error) if disk.faults_hit() > 0 && is_of_disk(&error) => {
            return Ok((place(disk, life, opened_at), left));
        }
        found => found?,
    };
    let checked = observe::check(run.db(), &fs);
    ensure!(checked.is_ok() || disk.faults_hit() > 0, "{:#}", checked.expect_err("an error"));
    run.begin(base, left.commits, seed);
    outcome.count("calls", life.steps.len() as u64);
    let failed = act_all(&mut run, life)?;
    if !failed {
        verify(&run).context("what the life itself reads")?;
    }
    let last = run.calls();
    let boundary = last * usize::from(life.end.permille) / 1000;
    let (commits, clock_ms) = (run.history.number(), run.sim.clock.wall_ms());
    let states = match boundary < opened_at {
        true => left.states,
        false => run.history.candidates(run.history.bounds(boundary)),
    };
    let place = place(disk, life, boundary);
    run.die();
    Ok((place, Left { states, commits, clock_ms }))
}

/// What is read is right; on a faulty disk, or an error.
fn verify(run: &Run) -> Result<()> {
    let result = run.verify();
    match &result {
        Err(error) if run.disk.faults_hit() > 0 && is_of_disk(error) => Ok(()),
        _ => result,
    }
}

/// The fault that a life has, on a disk that saw so many calls.
fn fault(life: &Life, calls_before: u64) -> Option<Fault> {
    let number = life.fault.checked_sub(1)?;
    let (what, times) = FAULTS[(number / FAULT_CALLS) as usize % FAULTS.len()];
    Some(Fault { at: At::Call(calls_before + u64::from(number % FAULT_CALLS)), what, times })
}

fn engine_error(error: &anyhow::Error) -> Option<&engine::Error> {
    error.chain().find_map(|cause| cause.downcast_ref::<engine::Error>())
}

/// True if a call of the store or of the disk itself failed.
fn is_of_disk(error: &anyhow::Error) -> bool {
    engine_error(error).is_some() || error.chain().any(|cause| cause.is::<vfs::Error>())
}

/// Where a life ends. After a failed sync the page cache is not what the disk holds, and no
/// promise is made to a process that is only killed.
fn place(disk: &SimDisk, life: &Life, boundary: usize) -> Place {
    let image = match life.end.image {
        images::KILLED if disk.faults_hit() > 0 => 0,
        image => image,
    };
    Place { boundary, image }
}

/// What it leaves.
fn crash(disk: &SimDisk, place: Place, seed: u64) -> SimDisk {
    let image = images::build(disk, place, seed);
    disk.kill();
    image
}

/// Makes the calls of a life. True if one failed because of a faulty disk and no more were made.
fn act_all(run: &mut Run, life: &Life) -> Result<bool> {
    for (number, step) in life.steps.iter().enumerate() {
        let result = act(run, *step);
        workload::work(run);
        let Err(error) = result else { continue };
        let error = error.context(format!("call {} ({})", number + 1, step.op.name()));
        let kind = engine_error(&error).map(engine::Error::kind);
        ensure!(run.disk.faults_hit() > 0 && is_of_disk(&error), error);
        let is_open = run.has_db();
        if kind != Some(ErrorKind::NoSpace) || !is_open || run.db().stats().failure.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// One call.
fn act(run: &mut Run, step: Step) -> Result<()> {
    let (key, len) = (format!("k{}", step.key), usize::from(step.len));
    if !run.has_second()? {
        run.create_second()?;
    }
    match step.op {
        Op::Put | Op::BigPut | Op::HugePut => run.put(&key, len),
        Op::Delete => run.delete(&key),
        Op::TtlPut => run.put_ttl(&key),
        Op::Swap => run.swap(&key),
        Op::Expire => run.expire(&key),
        Op::Batch => run.batch(Promise::Config),
        Op::Unlogged => run.batch(Promise::Nobody),
        Op::Many => run.many(0..MANY, true),
        op => workload::step(run, op),
    }
}

/// After the last crash: everything is there, once more after all was merged, collected and closed.
fn end(disk: &SimDisk, life: &Life, seed: u64, left: Left) -> Result<()> {
    let (fs, sim) = (copies::home(disk)?, Env::sim(seed ^ 0xe4d));
    sim.clock.set_wall_ms(left.clock_ms);
    let db = Db::open_on(fs.clone(), sim.env.clone(), life.options()).context("open")?;
    left.find(&db, left.clock_ms)?;
    // A hash table removes what was set aside once it has stored a higher id.
    for (name, _) in db.keyspaces().context("list of keyspaces")? {
        observe::keyspace(&db, &name)?.put("probe", [7; 40]).context("put")?;
    }
    let seen = observe::read(&db)?;
    observe::check(&db, &fs)?;
    db.compact().context("compact")?;
    db.collect_garbage().context("garbage collection")?;
    db.close().context("close")?;
    let db = Db::open_on(fs.clone(), sim.env.clone(), life.options()).context("last open")?;
    let again = observe::read(&db)?;
    ensure!(seen == again, "compact, close and open:\n{}", super::history::diff(&seen, &again));
    observe::check(&db, &fs)?;
    observe::require_nothing_set_aside(&fs)?;
    disk.kill();
    drop(db);
    Ok(())
}

#[cfg(test)]
mod tests;
