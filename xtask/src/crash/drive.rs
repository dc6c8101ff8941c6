//! Runs the units of parts: on threads, with a progress bar, from where an earlier run stopped.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::part::{Finding, Outcome, Part};

/// How far a part is.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// All units below this are done.
    pub below: u64,
    /// Units done above it.
    pub above: BTreeSet<u64>,
    /// What they did and found.
    pub outcome: Outcome,
    /// Time spent on it, by the clock on the wall.
    pub seconds: f64,
}

impl Progress {
    /// Units done.
    pub fn done(&self) -> u64 {
        self.below + self.above.len() as u64
    }

    /// The first unit from `from` on that is not done.
    fn next(&self, from: u64) -> u64 {
        let from = from.max(self.below);
        let mut taken = self.above.range(from..);
        (from..).find(|unit| taken.next() != Some(unit)).expect("numbers do not end")
    }

    fn finish(&mut self, unit: u64, outcome: Outcome) {
        self.above.insert(unit);
        while self.above.remove(&self.below) {
            self.below += 1;
        }
        self.outcome.add(outcome);
    }
}

/// How parts are run.
#[derive(Clone, Copy, Debug)]
pub struct Drive {
    /// Threads that work.
    pub threads: usize,
    /// Stop after so many findings in one part.
    pub findings_max: usize,
    /// Begin no unit after this.
    pub deadline: Option<Instant>,
}

impl Drive {
    /// Runs a part from where `progress` says it is, until it is done, the deadline has come or
    /// enough was found. `keep` is called now and then with how far it is.
    pub fn run(
        &self,
        part: &dyn Part,
        progress: Progress,
        keep: &(dyn Fn(&Progress) + Sync),
    ) -> Progress {
        let (started, before) = (Instant::now(), progress.seconds);
        let bar = bar(part, &progress);
        let shared = Mutex::new((progress, 0));
        let stop = AtomicBool::new(false);
        let kept = Mutex::new(Instant::now());
        let work = || {
            loop {
                let late = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
                if late || stop.load(Ordering::Relaxed) {
                    return;
                }
                let unit = {
                    let (progress, next) = &mut *shared.lock();
                    let unit = progress.next(*next);
                    *next = unit + 1;
                    unit
                };
                if unit >= part.units() {
                    return;
                }
                let outcome = part.run(unit);
                let (progress, _) = &mut *shared.lock();
                progress.finish(unit, outcome);
                progress.seconds = before + started.elapsed().as_secs_f64();
                bar.set_position(progress.done());
                bar.set_message(rates(progress));
                if progress.outcome.findings.len() >= self.findings_max {
                    stop.store(true, Ordering::Relaxed);
                }
                let mut kept = kept.lock();
                if kept.elapsed() > Duration::from_secs(10) {
                    keep(progress);
                    *kept = Instant::now();
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(work);
            }
        });
        bar.finish_and_clear();
        let (progress, _) = shared.into_inner();
        keep(&progress);
        progress
    }
}

fn bar(part: &dyn Part, progress: &Progress) -> ProgressBar {
    let bar = ProgressBar::new(part.units());
    let style = "{prefix} {elapsed_precise} [{bar:24}] {pos}/{len} {wide_msg}";
    let style = ProgressStyle::with_template(style).expect("a constant template");
    bar.set_style(style.progress_chars("=> "));
    bar.set_prefix(part.name());
    bar.set_position(progress.done());
    bar
}

/// The counts that are largest, with how many a second.
fn rates(progress: &Progress) -> String {
    let mut counts: Vec<(&String, &u64)> = progress.outcome.counts.iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let rate = |(what, count): &(&String, &u64)| {
        format!("{count} {what} ({:.0}/s)", **count as f64 / progress.seconds.max(0.001))
    };
    counts.iter().take(2).map(rate).collect::<Vec<_>>().join(", ")
}

/// One line on how far a part is, one for what it counted, and what it found.
pub fn describe(part: &dyn Part, progress: &Progress) -> String {
    let (done, units) = (progress.done(), part.units());
    let counts = progress.outcome.counts.iter();
    let counts: Vec<String> = counts.map(|(what, count)| format!("{count} {what}")).collect();
    let findings = &progress.outcome.findings;
    let mut text = format!(
        "{}: {done} of {units} units in {:.1} s, {} findings\n    {}\n",
        part.name(),
        progress.seconds,
        findings.len(),
        counts.join(", ")
    );
    for finding in findings {
        let Finding { kind, what, replay, .. } = finding;
        text += &format!("FINDING ({kind}) {what}\n  again: {replay}\n");
    }
    text
}

/// Puts a test for each finding that has one into `folder`; returns the files.
///
/// # Errors
/// Of the folder.
pub fn write_regressions(folder: &Path, findings: &[Finding]) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for finding in findings.iter().filter(|finding| !finding.regression.is_empty()) {
        std::fs::create_dir_all(folder)?;
        let number = xxh3_64(finding.replay.as_bytes());
        let file = folder.join(format!("{number:016x}.rs"));
        let what = finding.what.replace('\n', "\n// ");
        std::fs::write(&file, format!("// {what}\n{}", finding.regression))?;
        files.push(file);
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
