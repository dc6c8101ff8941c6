//! The interleavings of the store's threads: package `schedules`, compiled under the scheduler and
//! run a chunk at a time.
//!
//! cargo build with `--cfg shuttle` -> `schedules list` -> a unit is a chunk of one model
//!
//! The store under a scheduler is another build of it, with other locks, so it has a program and
//! a target directory of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use parking_lot::Mutex;

use super::part::{Finding, Outcome, Part};

/// Schedules of each model in CI.
pub const COUNT_CI: u64 = 2_000;
/// Schedules of each model in the long run.
pub const COUNT_LONG: u64 = 100_000;
/// Schedules of a chunk: enough that a scheduler that has to learn how long a program is has
/// learnt it, few enough for a short unit. Half of the chunks choose at random, half are PCT.
const CHUNK: u64 = 500;
/// Schedules within which every planted mistake is found.
const COUNT_PLANTED: u64 = 100_000;

/// The built program.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    models: Vec<Model>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Model {
    name: String,
    promise: String,
}

impl Program {
    /// Builds it, with cargo, from the workspace in `root`.
    ///
    /// # Errors
    /// If it does not build, or does not say which models it has.
    pub fn build(root: &Path) -> Result<Program> {
        let path = build(root, "shuttle", "target/schedules")?;
        let mut program = Program { path, models: Vec::new() };
        for line in program.ask(&["list"])?.lines() {
            let (name, promise) = line.split_once(' ').context("a line of `schedules list`")?;
            program.models.push(Model { name: name.to_owned(), promise: promise.to_owned() });
        }
        ensure!(!program.models.is_empty(), "the program has no models");
        Ok(program)
    }

    /// What it answers; a failing model is an answer.
    fn ask(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.path);
        let output = command.args(arguments).output();
        let output = output.with_context(|| format!("starting {command:?}"))?;
        let is_answer = output.status.success() || output.status.code() == Some(2);
        if !is_answer {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{command:?}: {}: {}", output.status, said.lines().last().unwrap_or_default());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn index(&self, unit: u64) -> usize {
        usize::try_from(unit % self.models.len() as u64).expect("below the count of models")
    }
}

/// Builds package `schedules` under a scheduler, in a target directory of its own.
fn build(root: &Path, scheduler: &str, target: &str) -> Result<PathBuf> {
    let target = root.join(target);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--release", "--package", "schedules"]);
    // What the environment asks of other builds is not for this one.
    build.env_remove("CARGO_ENCODED_RUSTFLAGS").env("RUSTFLAGS", format!("--cfg {scheduler}"));
    build.env("CARGO_TARGET_DIR", &target).current_dir(root);
    let status = build.status().context("starting cargo")?;
    ensure!(status.success(), "{build:?}: {status}");
    Ok(target.join("release/schedules"))
}

/// Runs the small programs in which the orders of loads and stores count, in every execution that
/// loom knows of; then again with all orders relaxed, which they must notice. Prints a line each.
///
/// # Errors
/// If one of them fails, or none notices.
pub fn explore_orders(root: &Path) -> Result<()> {
    let path = build(root, "loom", "target/orders")?;
    for arguments in [&[][..], &["weak"]] {
        if !arguments.is_empty() {
            println!("with all orders relaxed, which must fail:");
        }
        let mut command = Command::new(&path);
        // loom says at length how an execution fails; who wants to see it runs the program.
        let output = command.args(arguments).output();
        let output = output.with_context(|| format!("starting {command:?}"))?;
        print!("{}", String::from_utf8_lossy(&output.stdout));
        ensure!(output.status.success(), "{command:?}: {}", output.status);
    }
    Ok(())
}

/// Every model under many schedules.
#[derive(Debug)]
pub struct Schedules {
    program: Program,
    count: u64,
    /// Schedules and seconds of each model, as far as this process ran them.
    times: Mutex<BTreeMap<String, (u64, f64)>>,
}

impl Schedules {
    /// At least `count` schedules of each model.
    pub fn new(program: Program, count: u64) -> Schedules {
        Schedules { program, count, times: Mutex::default() }
    }

    /// A line for each model: how many schedules this process ran, and how many a second.
    pub fn rates(&self) -> String {
        let mut lines = String::new();
        for (name, (count, seconds)) in self.times.lock().iter() {
            let rate = *count as f64 / seconds.max(0.001);
            lines += &format!("  {name:16} {count:>8} schedules, {rate:>7.0}/s on a thread\n");
        }
        lines
    }

    /// Runs a chunk.
    fn ran(&self, model: &Model, chunk: u64) -> Result<Answer> {
        let (chunk, count) = (chunk.to_string(), CHUNK.to_string());
        let answer = self.program.ask(&["run", &model.name, &chunk, &count])?;
        answer.parse()
    }
}

impl Part for Schedules {
    fn name(&self) -> String {
        "schedules of threads (rows 2, 14, 27, 35, 53, 84, 85)".to_owned()
    }

    fn units(&self) -> u64 {
        self.count.div_ceil(CHUNK) * self.program.models.len() as u64
    }

    fn run(&self, unit: u64) -> Outcome {
        let model = &self.program.models[self.program.index(unit)];
        let chunk = unit / self.program.models.len() as u64;
        let mut outcome = Outcome::default();
        let (count, what) = match self.ran(model, chunk) {
            Ok(Answer::Ok { count, seconds }) => {
                let mut times = self.times.lock();
                let sum = times.entry(model.name.clone()).or_default();
                *sum = (sum.0 + count, sum.1 + seconds);
                (count, None)
            }
            Ok(Answer::Failed { schedule, what }) => (schedule, Some(what)),
            Err(error) => (0, Some(format!("{error:#}"))),
        };
        outcome.count(&format!("schedules of {}", model.name), count);
        if let Some(what) = what {
            let Model { name, promise } = model;
            outcome.findings.push(Finding::new(
                "schedule",
                format!("{name}: {what}. Promised: {promise}"),
                format!("cargo xtask crash --schedule {name}:{chunk}"),
            ));
        }
        outcome
    }
}

/// The mistakes that models must find, one model after the other.
#[derive(Debug)]
pub struct Mistakes {
    program: Program,
}

impl Mistakes {
    /// Of all models.
    pub fn new(program: Program) -> Mistakes {
        Mistakes { program }
    }
}

impl Part for Mistakes {
    fn name(&self) -> String {
        "mistakes planted for schedules (R11)".to_owned()
    }

    fn units(&self) -> u64 {
        self.program.models.len() as u64
    }

    fn run(&self, unit: u64) -> Outcome {
        let name = &self.program.models[self.program.index(unit)].name;
        let mut outcome = Outcome::default();
        let mut missed = |what: String| {
            let replay =
                format!("target/schedules/release/schedules planted {name} {COUNT_PLANTED}");
            outcome.findings.push(Finding::new("planted", what, replay));
        };
        let (mut found, mut schedules) = (0, 0);
        match self.program.ask(&["planted", name, &COUNT_PLANTED.to_string()]) {
            Err(error) => missed(format!("{name}: {error:#}")),
            Ok(answer) => {
                for line in answer.lines() {
                    let after = line.strip_prefix("found ").and_then(|rest| rest.split_once(' '));
                    match after.and_then(|(after, _)| after.parse::<u64>().ok()) {
                        Some(after) => (found, schedules) = (found + 1, schedules + after),
                        None => missed(format!("{name} is asleep: {line}")),
                    }
                }
            }
        }
        if found == 0 {
            missed(format!("{name} found no mistake"));
        }
        outcome.count("mistakes found", found);
        outcome.count("schedules until found", schedules);
        outcome
    }
}

/// Runs a chunk again, told as `MODEL:CHUNK`, and shows how it fails.
///
/// # Errors
/// If it fails.
pub fn replay(root: &Path, line: &str) -> Result<()> {
    let (model, chunk) = line.split_once(':').context("a schedule is told as MODEL:CHUNK")?;
    let program = Program::build(root)?;
    let mut command = Command::new(&program.path);
    command.args(["run", model, chunk, &CHUNK.to_string()]).env("RUST_BACKTRACE", "1");
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    ensure!(status.success(), "{line} fails");
    Ok(())
}

/// What the program says of a chunk.
#[derive(PartialEq, Debug)]
enum Answer {
    Ok { count: u64, seconds: f64 },
    Failed { schedule: u64, what: String },
}

impl std::str::FromStr for Answer {
    type Err = anyhow::Error;

    fn from_str(answer: &str) -> Result<Answer> {
        let mut words = answer.trim().splitn(3, ' ');
        let mut next = || words.next().with_context(|| format!("{answer:?} is no answer"));
        match next()? {
            "ok" => Ok(Answer::Ok { count: next()?.parse()?, seconds: next()?.parse()? }),
            "failed" => Ok(Answer::Failed { schedule: next()?.parse()?, what: next()?.to_owned() }),
            _ => bail!("{answer:?} is no answer"),
        }
    }
}

#[cfg(test)]
mod tests;
