//! `cargo xtask kill`: SIGKILL for a writing child, at a random moment, against a model.
//!
//! ```text
//! child:  operation returns -> report over a pipe     parent: reads reports -> SIGKILL -> opens
//!                                                              -> compares with the model
//! ```
//!
//! 1. A process that is killed loses nothing acknowledged, whatever the durability policy: the
//!    state found is the one after the acknowledged operations, or after one more.
//! 2. Batches are whole; forward, reverse, snapshot and gets agree; `check` finds no damage.
//! 3. The operations are a function of the seed alone; the moment of the kill is not.

mod plan;
mod stream;
mod verify;
mod child;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use engine::Db;
use indicatif::{ProgressBar, ProgressStyle};
use vfs::Random;

use child::REPORT_LEN;
use plan::{Config, Moment, Round, configs};
use stream::Model;
use verify::Progress;

/// Rounds that a database lives: kills meet what earlier kills left.
const LIVES: u64 = 8;
/// A child that reports nothing for so long hangs.
const HANG: Duration = Duration::from_secs(60);

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
    /// Runs as the child with this config; `dir` is the database.
    #[arg(long, hide = true, requires_all = ["dir", "seed"])]
    child_config: Option<usize>,
    /// Seed of the child's limits.
    #[arg(long, hide = true, default_value_t = 0)]
    child_tuning: u64,
    /// First operation of each of the child's threads.
    #[arg(long, hide = true, value_delimiter = ',')]
    child_next: Vec<u64>,
}

/// Runs the rounds; an error is a violation.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let seed = arguments.seed.unwrap_or_else(|| vfs::Env::system().rng.next_u64());
    if let (Some(index), Some(dir)) = (arguments.child_config, &arguments.dir) {
        let config = *configs().get(index).context("no such config")?;
        return child::run(dir, config, arguments.child_tuning, seed, &arguments.child_next);
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
    let mut summary = Summary::default();
    let bar = ProgressBar::new(arguments.rounds).with_style(
        ProgressStyle::with_template("{wide_bar} {pos}/{len} kills {msg} {eta}")
            .expect("a constant template"),
    );
    let mut life = None;
    for index in 0..arguments.rounds {
        if index % LIVES == 0 {
            life = Some(Life::new(work.path(), seed, index)?);
        }
        let life = life.as_mut().expect("the first round makes one");
        let round = Round::draw(seed, index);
        if let Err(error) = life.kill_once(round, &mut summary) {
            bar.finish_and_clear();
            drop(work.keep());
            let again = format!("cargo xtask kill --seed {seed} --rounds {}", index + 1);
            let config = configs()[round.config];
            return Err(error.context(format!(
                "VIOLATION in round {index} ({config:?}, {round:?}); the database is kept in {}; \
                 again: {again}",
                life.data().display()
            )));
        }
        bar.set_message(format!("{} acknowledged", summary.acknowledged));
        bar.inc(1);
    }
    bar.finish_and_clear();
    println!("{} kills, {summary}, nothing acknowledged was lost", arguments.rounds);
    Ok(())
}

/// What the rounds met.
#[derive(Default)]
struct Summary {
    acknowledged: u64,
    /// Kills before the first report of a child: in the middle of its open, mostly.
    early: u64,
    /// Kills whose interrupted operation was found done.
    in_doubt_done: u64,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Summary { acknowledged, early, in_doubt_done } = self;
        write!(
            f,
            "{acknowledged} operations acknowledged, {early} kills before a child's first, \
             {in_doubt_done} interrupted operations found done"
        )
    }
}

/// A database over several kills.
struct Life {
    seed: u64,
    dir: PathBuf,
    threads: Vec<Progress>,
}

impl Life {
    fn new(parent: &Path, seed: u64, index: u64) -> anyhow::Result<Life> {
        // A seed of its own for each life, so that operations are not the same again.
        let seed = Random::new(seed ^ index).next_u64();
        let dir = parent.join(format!("{index}"));
        // Earlier lives were verified.
        if let Some(old) = index.checked_sub(LIVES).map(|old| parent.join(format!("{old}"))) {
            std::fs::remove_dir_all(&old).with_context(|| format!("remove {}", old.display()))?;
        }
        std::fs::create_dir(&dir).with_context(|| format!("create {}", dir.display()))?;
        let count = if (index / LIVES).is_multiple_of(2) { 1 } else { 3 };
        let threads = (0..count).map(|thread| Progress {
            seed,
            thread,
            acknowledged: 0,
            model: Model::default(),
        });
        Ok(Life { seed, dir, threads: threads.collect() })
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn kill_once(&mut self, round: Round, summary: &mut Summary) -> anyhow::Result<()> {
        let reports = self.run_child(round)?;
        summary.acknowledged += reports.len() as u64;
        summary.early += u64::from(reports.is_empty());
        for (thread, index) in reports {
            let progress = self.threads.get_mut(usize::from(thread));
            let progress = progress.with_context(|| format!("a report of thread {thread}"))?;
            let expected = progress.acknowledged;
            anyhow::ensure!(index == expected, "report {index} of {thread}, expected {expected}");
            progress.model.apply(&stream::Op::draw(self.seed, thread, index));
            progress.acknowledged += 1;
        }
        let before: u64 = self.threads.iter().map(|progress| progress.acknowledged).sum();
        self.verify(round)?;
        let after: u64 = self.threads.iter().map(|progress| progress.acknowledged).sum();
        summary.in_doubt_done += after - before;
        Ok(())
    }

    fn verify(&mut self, round: Round) -> anyhow::Result<()> {
        let data = self.data();
        if !data.exists() {
            let done = self.threads.iter().any(|progress| progress.acknowledged > 0);
            anyhow::ensure!(!done, "the database is gone");
            return Ok(());
        }
        let copied = self.dir.join("copy");
        let opened = if round.copy { &copied } else { &data };
        if round.copy {
            copy_dir(&data, &copied)?;
        }
        let config: Config = configs()[round.config];
        // Other limits than the child's: what is on disk must not depend on them.
        let options = config.options(round.tuning.rotate_left(32));
        let db = Db::open(opened, options).context("open after the kill")?;
        verify::database(&db, &mut self.threads)?;
        db.close().context("close after the kill")?;
        if round.copy {
            std::fs::remove_dir_all(&copied).context("remove the copy")?;
        }
        Ok(())
    }

    /// Starts a child, kills it, returns its reports in order.
    fn run_child(&self, round: Round) -> anyhow::Result<Vec<(u8, u64)>> {
        let next: Vec<String> =
            self.threads.iter().map(|progress| progress.acknowledged.to_string()).collect();
        let program = std::env::current_exe().context("find this program")?;
        let mut child = Command::new(program)
            .arg("kill")
            .arg("--dir")
            .arg(self.data())
            .args(["--seed", &self.seed.to_string()])
            .args(["--child-config", &round.config.to_string()])
            .args(["--child-tuning", &round.tuning.to_string()])
            .args(["--child-next", &next.join(",")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start the child")?;
        let result = watch(&mut child, round.moment);
        // In any case: no child outlives its round.
        let killed = child.kill();
        let output = child.wait_with_output().context("wait for the child")?;
        let (reports, ended) = result?;
        killed.context("kill the child")?;
        let message = String::from_utf8_lossy(&output.stderr);
        let by_itself = ended || output.status.code().is_some();
        anyhow::ensure!(!by_itself, "the child ended by itself ({}): {message}", output.status);
        Ok(reports)
    }
}

/// Reads reports until the moment to kill, kills, reads the rest. True if the pipe ended before.
fn watch(child: &mut Child, moment: Moment) -> anyhow::Result<(Vec<(u8, u64)>, bool)> {
    let mut pipe = child.stdout.take().context("the child's output is a pipe")?;
    let (sender, receiver) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut report = [0; REPORT_LEN];
        // An error is the end too: the parent sees too few reports for the state it finds.
        while pipe.read_exact(&mut report).is_ok() {
            let [thread, index @ ..] = report;
            if sender.send((thread, u64::from_le_bytes(index))).is_err() {
                return;
            }
        }
    });
    let patience = if moment.from_start { moment.after } else { HANG };
    let mut deadline = Instant::now() + patience;
    let mut reports = Vec::new();
    let mut ended = false;
    while (reports.len() as u64) < moment.acknowledged {
        let left = deadline.saturating_duration_since(Instant::now());
        match receiver.recv_timeout(left) {
            Ok(report) => {
                if reports.is_empty() && !moment.from_start {
                    deadline = Instant::now() + moment.after;
                }
                reports.push(report);
            }
            Err(mpsc::RecvTimeoutError::Timeout) if reports.is_empty() && !moment.from_start => {
                anyhow::bail!("the child hangs: no operation in {} s", HANG.as_secs());
            }
            Err(mpsc::RecvTimeoutError::Timeout) => break,
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                ended = true;
                break;
            }
        }
    }
    child.kill().context("kill the child")?;
    // What is in the pipe was acknowledged before the kill.
    reports.extend(receiver.iter());
    reader.join().map_err(|_| anyhow::anyhow!("the reading thread panicked"))?;
    Ok((reports, ended))
}

fn copy_dir(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir(to).with_context(|| format!("create {}", to.display()))?;
    for entry in std::fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
        let entry = entry?;
        let file = to.join(entry.file_name());
        std::fs::copy(entry.path(), &file).with_context(|| format!("copy {}", file.display()))?;
    }
    Ok(())
}
