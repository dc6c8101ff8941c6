//! `cargo xtask kill`: SIGKILL for a writing child, at a random moment, against a model.
//!
//! ```text
//! child:  operation returns -> report over a pipe     parent: reads reports -> SIGKILL -> opens
//!                                                              -> compares with the model
//! ```
//!
//! 1. A process that is killed loses nothing acknowledged, whatever the durability policy: the
//!    state found is the one after the acknowledged operations, or after one more. Operations that
//!    skip the log may be lost, but none before an acknowledged flush, and generation by
//!    generation: those before some moment are there, those behind it are not (`settle.rs`).
//! 2. Batches and transactions are whole, over both kinds of keyspace; forward, reverse, snapshot
//!    and gets agree; `check` finds no damage, also after everything was merged and collected.
//! 3. A checkpoint that the kill interrupted is the state at its call or says that it is
//!    unfinished.
//! 4. The operations are a function of the seed alone; the moment of the kill is not.
//!
//! Limits are tiny: flushes, merges and garbage collection run all the time, in the background and
//! as operations.

mod plan;
mod stream;
mod child;
mod settle;
mod verify;
mod life;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;

use life::{Life, Summary};
use plan::{Round, configs};
use stream::Lost;

/// Rounds that a database lives: kills meet what earlier kills left.
const LIVES: u64 = 8;

/// How often to kill.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Kills.
    #[arg(long, default_value_t = 40)]
    rounds: u64,
    /// Seed of the operations and options. Default: drawn, and printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Directory for the databases. Default: a temporary one.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Databases that live at the same time.
    #[arg(long, default_value_t = 3)]
    lanes: usize,
    /// Runs as the child with this config; `dir` is the database.
    #[arg(long, hide = true, requires_all = ["dir", "seed"])]
    child_config: Option<usize>,
    /// Seed of the child's limits.
    #[arg(long, hide = true, default_value_t = 0)]
    child_tuning: u64,
    /// First operation of each of the child's threads.
    #[arg(long, hide = true, value_delimiter = ',')]
    child_next: Vec<u64>,
    /// Which of the operations before are lost, for each of the child's threads.
    #[arg(long, hide = true, value_delimiter = ',')]
    child_lost: Vec<Lost>,
}

/// Runs the rounds; an error is a violation.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let seed = arguments.seed.unwrap_or_else(|| vfs::Env::system().rng.next_u64());
    if let (Some(index), Some(dir)) = (arguments.child_config, &arguments.dir) {
        let config = *configs().get(index).context("no such config")?;
        let options = config.options(arguments.child_tuning, seed);
        return child::run(dir, &options, seed, &arguments.child_next, &arguments.child_lost);
    }
    println!("SEED={seed}");
    let mut builder = tempfile::Builder::new();
    let work = match &arguments.dir {
        Some(dir) => {
            std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
            builder.prefix("kill-").tempdir_in(dir)?
        }
        None => builder.prefix("kill-").tempdir()?,
    };
    let bar = ProgressBar::new(arguments.rounds).with_style(
        ProgressStyle::with_template("{wide_bar} {pos}/{len} kills {msg} {eta}")
            .expect("a constant template"),
    );
    let rounds = Rounds {
        seed,
        count: arguments.rounds,
        work: work.path(),
        bar: &bar,
        next: AtomicU64::new(0),
        summary: Mutex::default(),
        violation: Mutex::default(),
    };
    std::thread::scope(|scope| {
        for _ in 0..arguments.lanes.max(1) {
            scope.spawn(|| rounds.run_lane());
        }
    });
    bar.finish_and_clear();
    let Rounds { summary, violation, .. } = rounds;
    if let Some(violation) = violation.into_inner() {
        drop(work.keep());
        return Err(violation);
    }
    let summary = summary.into_inner();
    println!("{} kills, {summary}, nothing acknowledged was lost", arguments.rounds);
    Ok(())
}

/// What the lanes share.
struct Rounds<'a> {
    seed: u64,
    count: u64,
    work: &'a Path,
    bar: &'a ProgressBar,
    /// The first round of the next life.
    next: AtomicU64,
    summary: Mutex<Summary>,
    violation: Mutex<Option<anyhow::Error>>,
}

impl Rounds<'_> {
    /// Lives one database after the other, until there is no more or something is wrong.
    fn run_lane(&self) {
        loop {
            let first = self.next.fetch_add(LIVES, Ordering::Relaxed);
            if first >= self.count || self.violation.lock().is_some() {
                return;
            }
            if let Err(error) = self.live(first) {
                self.violation.lock().get_or_insert(error);
            }
        }
    }

    /// The rounds of one database.
    fn live(&self, first: u64) -> anyhow::Result<()> {
        let alone = (first / LIVES).is_multiple_of(2);
        let mut life = Life::new(self.work, self.seed, first, alone)?;
        for index in first..self.count.min(first + LIVES) {
            let round = Round::draw(self.seed, index);
            let mut summary = Summary::default();
            life.kill_once(round, &mut summary).map_err(|error| {
                let again = format!("cargo xtask kill --seed {} --rounds {}", self.seed, index + 1);
                let config = configs()[round.config];
                error.context(format!(
                    "VIOLATION in round {index} ({config:?}, {round:?}); the database is kept in \
                     {}; again: {again}",
                    life.data().display()
                ))
            })?;
            let mut sum = self.summary.lock();
            sum.add(&summary);
            self.bar.set_message(format!("{} acknowledged", sum.acknowledged));
            self.bar.inc(1);
        }
        life.end()
    }
}
