//! One database over several kills.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Context;
use engine::Db;
use vfs::Random;
use walkdir::WalkDir;

use super::child::{self, REPORT_LEN};
use super::plan::{Config, Moment, Round, configs, patient};
use super::settle::{self, Progress};
use super::verify;

/// A child that reports nothing for so long hangs.
const HANG: Duration = Duration::from_secs(60);

/// What the rounds met.
#[derive(Default)]
pub(super) struct Summary {
    pub(super) acknowledged: u64,
    /// Kills before the first report of a child: in the middle of its open, mostly.
    early: u64,
    /// Operations that skipped the log.
    unlogged: u64,
    /// Kills that lost some of those, as they may.
    losing: u64,
    /// Kills whose interrupted operation was found done.
    in_doubt_done: u64,
    /// Kills after which the database held values that garbage collection had moved.
    remapped: u64,
}

impl Summary {
    pub(super) fn add(&mut self, other: &Summary) {
        self.acknowledged += other.acknowledged;
        self.early += other.early;
        self.unlogged += other.unlogged;
        self.losing += other.losing;
        self.in_doubt_done += other.in_doubt_done;
        self.remapped += other.remapped;
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Summary { acknowledged, early, unlogged, losing, in_doubt_done, remapped } = self;
        write!(
            f,
            "{acknowledged} operations acknowledged ({unlogged} in no log, of which {losing} kills \
             took some), {early} kills before a child's first, {in_doubt_done} interrupted \
             operations found done, {remapped} kills left moved values"
        )
    }
}

/// A database over several kills.
pub(super) struct Life {
    seed: u64,
    dir: PathBuf,
    threads: Vec<Progress>,
}

impl Life {
    pub(super) fn new(parent: &Path, seed: u64, index: u64, alone: bool) -> anyhow::Result<Life> {
        // A seed of its own for each life, so that operations are not the same again.
        let seed = Random::new(seed ^ index).next_u64();
        let dir = parent.join(format!("{index}"));
        std::fs::create_dir(&dir).with_context(|| format!("create {}", dir.display()))?;
        let count = if alone { 1 } else { 3 };
        let threads = (0..count).map(|thread| Progress::after(seed, thread, 0));
        Ok(Life { seed, dir, threads: threads.collect() })
    }

    /// Removes everything: it was verified.
    pub(super) fn end(self) -> anyhow::Result<()> {
        let dir = self.dir;
        std::fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))
    }

    /// The database's directory.
    pub(super) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// One round.
    pub(super) fn kill_once(&mut self, round: Round, summary: &mut Summary) -> anyhow::Result<()> {
        let reports = self.run_child(round)?;
        summary.acknowledged += reports.len() as u64;
        summary.early += u64::from(reports.is_empty());
        self.threads.iter_mut().for_each(Progress::begin);
        settle::acknowledge(&mut self.threads, &reports)?;
        let count = |of: fn(&Progress) -> u64| self.threads.iter().map(of).sum::<u64>();
        summary.unlogged += count(Progress::unlogged);
        let losses = |progress: &Progress| progress.lost.0.len() as u64;
        let (before, lost_before) = (count(|progress| progress.acknowledged), count(losses));
        self.verify(round, summary)?;
        let count = |of: fn(&Progress) -> u64| self.threads.iter().map(of).sum::<u64>();
        summary.in_doubt_done += count(|progress| progress.acknowledged) - before;
        summary.losing += u64::from(count(losses) > lost_before);
        Ok(())
    }

    fn verify(&mut self, round: Round, summary: &mut Summary) -> anyhow::Result<()> {
        let data = self.data();
        if !data.exists() {
            let done = self.threads.iter().any(|progress| progress.acknowledged > 0);
            anyhow::ensure!(!done, "the database is gone");
            return Ok(());
        }
        let config: Config = configs()[round.config];
        // Other limits than the child's: what is on disk must not depend on them.
        let options = patient(config.options(round.tuning.rotate_left(32), self.seed));
        for progress in &self.threads {
            let dir = child::checkpoint_dir(&data, progress.thread);
            verify::checkpoint(&dir, options.clone(), progress)?;
        }
        let copied = self.dir.join("copy");
        let opened = if round.copy { &copied } else { &data };
        if round.copy {
            copy_dir(&data, &copied)?;
        }
        let db = Db::open(opened, options).context("open after the kill")?;
        summary.remapped += u64::from(db.stats().remap_tables > 0);
        verify::database(&db, &mut self.threads)?;
        if round.settle {
            db.compact().context("compact after the kill")?;
            db.collect_garbage().context("collect garbage after the kill")?;
            verify::database(&db, &mut self.threads).context("after garbage collection")?;
        }
        db.close().context("close after the kill")?;
        if round.copy {
            std::fs::remove_dir_all(&copied).context("remove the copy")?;
        }
        for progress in &self.threads {
            let dir = child::checkpoint_dir(&data, progress.thread);
            for dir in [dir.with_extension("gone"), dir] {
                if dir.exists() {
                    std::fs::remove_dir_all(&dir).context("remove a checkpoint")?;
                }
            }
        }
        Ok(())
    }

    /// Starts a child, kills it, returns its reports in order.
    fn run_child(&self, round: Round) -> anyhow::Result<Vec<(u8, u64)>> {
        let next: Vec<String> =
            self.threads.iter().map(|progress| progress.acknowledged.to_string()).collect();
        let lost: Vec<String> =
            self.threads.iter().map(|progress| progress.lost.to_string()).collect();
        let program = std::env::current_exe().context("find this program")?;
        let mut child = Command::new(program)
            .arg("kill")
            .arg("--dir")
            .arg(self.data())
            .args(["--seed", &self.seed.to_string()])
            .args(["--child-config", &round.config.to_string()])
            .args(["--child-tuning", &round.tuning.to_string()])
            .args(["--child-next", &next.join(",")])
            .args(["--child-lost", &lost.join(",")])
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
    for entry in WalkDir::new(from) {
        let entry = entry.with_context(|| format!("list {}", from.display()))?;
        let below = entry.path().strip_prefix(from).expect("the walk stays below its start");
        let target = to.join(below);
        let copied = match entry.file_type().is_dir() {
            true => std::fs::create_dir(&target),
            false => std::fs::copy(entry.path(), &target).map(drop),
        };
        copied.with_context(|| format!("copy {}", target.display()))?;
    }
    Ok(())
}
