//! R12: the same seed twice makes the same calls of the file system, on the same bytes, and reads the
//! same. What else the harness says rests on it: without it no finding could be shown again.

use anyhow::{Context, Result, ensure};

use super::call::{Op, random_sequence};
use super::part::{Finding, Outcome, Part};
use super::plan::{Cell, Config};
use super::recovery::{guard, hush};
use super::workload;

/// Calls in a sequence.
const LEN: usize = 40;

/// The part: so many seeds, each run twice in one of the configurations.
#[derive(Clone, Copy, Debug)]
pub struct Determinism {
    /// How many.
    pub seeds: u64,
    /// The first of them.
    pub seed: u64,
}

impl Determinism {
    /// What CI runs.
    pub fn quick(seed: u64) -> Determinism {
        Determinism { seeds: 200, seed }
    }

    /// What a long run does.
    pub fn long(seed: u64) -> Determinism {
        Determinism { seeds: 1000, seed }
    }
}

/// What must be equal.
#[derive(PartialEq, Eq, Debug)]
struct Print {
    calls: u64,
    trace: u64,
    /// Of every name and byte on the disk.
    disk: u64,
}

fn print(config: Config, ops: &[Op], seed: u64) -> Result<Print> {
    let recording = workload::record(config, ops, seed, None)?;
    let disk = &recording.disk;
    Ok(Print { calls: disk.calls(), trace: disk.trace_hash(), disk: disk.fingerprint() })
}

impl Part for Determinism {
    fn name(&self) -> String {
        "R12 determinism".to_owned()
    }

    fn units(&self) -> u64 {
        self.seeds
    }

    fn run(&self, unit: u64) -> Outcome {
        hush();
        let seed = self.seed.wrapping_add(unit);
        let configs = Config::all();
        let config = configs[usize::try_from(unit).expect("few") % configs.len()];
        let ops = random_sequence(&Op::drawn(), LEN, seed);
        let mut outcome = Outcome::default();
        let done = guard(|| {
            let once = print(config, &ops, seed)?;
            let twice = print(config, &ops, seed).context("the second time")?;
            ensure!(once == twice, "{once:?} and then {twice:?}");
            // A hash that is always the same would prove nothing.
            let other = print(config, &ops, seed ^ 1 << 63).context("with another seed")?;
            ensure!(once.trace != other.trace, "another seed, the same trace: {once:?}");
            outcome.count("seeds", 1);
            outcome.count("calls compared", once.calls);
            Ok(())
        });
        if let Err(error) = done {
            outcome.findings.push(Finding::new(
                "determinism",
                format!("{error:#}"),
                format!("cargo xtask crash --replay \"{}\"", Cell::run(config, &ops, seed)),
            ));
        }
        outcome
    }
}

#[cfg(test)]
mod tests;
