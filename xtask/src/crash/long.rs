//! The state of a long run: how far each part is, kept in a file, so that it may be stopped at any
//! moment and resumed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::drive::{Drive, Progress, describe};
use super::part::Part;

/// What the file holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    /// By the name of the part.
    parts: BTreeMap<String, Kept>,
}

/// One part's state.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Kept {
    units: u64,
    /// The commits that were run.
    commits: BTreeSet<String>,
    progress: Progress,
}

/// A long run.
#[derive(Clone, Debug)]
pub struct Long {
    /// The file of its state.
    pub file: PathBuf,
    /// Goes on where the file says; else the file must not be there.
    pub resume: bool,
}

impl Long {
    /// Runs what is left of the parts. Returns how many findings there are in all.
    ///
    /// # Errors
    /// Of the file.
    pub fn run(&self, parts: &[Box<dyn Part>], drive: &Drive) -> Result<usize> {
        let state = Mutex::new(self.load()?);
        let commit = commit();
        let mut findings = 0;
        for part in parts {
            let kept = state.lock().parts.get(&part.name()).cloned().unwrap_or_default();
            let same = kept.units == 0 || kept.units == part.units();
            ensure!(same, "{} has another size than in {}", part.name(), self.file.display());
            let keep = |progress: &Progress| {
                let mut state = state.lock();
                let kept = state.parts.entry(part.name()).or_default();
                kept.units = part.units();
                kept.commits.insert(commit.clone());
                kept.progress = progress.clone();
                if let Err(error) = save(&self.file, &state) {
                    eprintln!("the state is not kept: {error:#}");
                }
            };
            let done = kept.progress.done() == part.units();
            let progress =
                if done { kept.progress } else { drive.run(&**part, kept.progress, &keep) };
            print!("{}", describe(&**part, &progress));
            findings += progress.outcome.findings.len();
        }
        Ok(findings)
    }

    fn load(&self) -> Result<State> {
        if !self.resume {
            let there = self.file.exists();
            ensure!(!there, "{} is there: --resume goes on with it", self.file.display());
            return Ok(State::default());
        }
        read(&self.file)
    }
}

fn read(file: &Path) -> Result<State> {
    if !file.exists() {
        return Ok(State::default());
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{}", file.display()))
}

/// Written beside and renamed, so that a stop in the middle costs nothing.
fn save(file: &Path, state: &State) -> Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let beside = file.with_extension("new");
    std::fs::write(&beside, serde_json::to_string_pretty(state)?)?;
    std::fs::rename(&beside, file).with_context(|| format!("{}", file.display()))
}

/// The commit of the tree that runs, with a plus sign if it was changed since.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => commit,
        _ => commit + "+",
    }
}

/// The state of a run as a table, for `docs/reliability.md`.
///
/// # Errors
/// Of the file.
pub fn table(file: &Path) -> Result<String> {
    let mut text =
        "| part | done | counted | findings | hours | commits |\n|---|---|---|---|---|---|\n"
            .to_owned();
    for (name, Kept { units, commits, progress }) in read(file)?.parts {
        let counts = progress.outcome.counts.iter();
        let counts: Vec<String> = counts.map(|(what, count)| format!("{count} {what}")).collect();
        let share = 100.0 * progress.done() as f64 / units.max(1) as f64;
        let commits: Vec<String> = commits.into_iter().collect();
        text += &format!(
            "| {name} | {share:.1} % | {} | {} | {:.2} | {} |\n",
            counts.join(", "),
            progress.outcome.findings.len(),
            progress.seconds / 3600.0,
            commits.join(", ")
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
