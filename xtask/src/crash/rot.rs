//! R7: a cleanly closed database is damaged in every way, one at a time: nothing wrong is ever
//! served, and nothing goes unreported.
//!
//! ```text
//! base.rs    the databases, built once; which page of which file a key needs
//! case.rs    one damage; all that are tried
//! judge.rs   open, every get, scans in both directions, check, merges, reopen
//! ```

mod base;
mod case;
mod judge;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, anyhow};
use engine::ReadMode;

use self::base::{Base, Bases};
use self::case::{Case, Extent};
use self::judge::Ask;
use super::part::{Finding, Outcome, Part};

/// Damages that one unit tries.
const UNIT: usize = 64;

/// R7, at some size.
pub struct Rot {
    extent: Extent,
    depth: Depth,
    plan: OnceLock<Plan>,
}

/// How much is asked after a damage. Always: opening, the keys that read what is damaged, `check`
/// if those notice nothing. The rest in turn, after one damage in an odd number, so that both ways
/// of reading have their turn.
#[derive(Clone, Copy)]
struct Depth {
    /// After one damage in so many everything is asked, after the others a sixteenth of the keys
    /// and a quarter of a scan. At most 9, as many as there are damages of one byte: then each byte
    /// has one.
    whole_every: usize,
    /// One in so many is also merged, collected and reopened.
    merged_every: usize,
}

impl Depth {
    const CI: Depth = Depth { whole_every: 1, merged_every: 17 };
    const LONG: Depth = Depth { whole_every: 9, merged_every: 45 };

    fn of(self, number: usize) -> Ask {
        let merges = number.is_multiple_of(self.merged_every);
        // Neighbours share a turn: they are read in the one way and the other.
        let turn = (!number.is_multiple_of(self.whole_every)).then_some(number / 2);
        Ask { turn, merges }
    }
}

struct Plan {
    bases: Bases,
    /// Which base, which damage.
    cases: Vec<(u8, Case)>,
}

impl Rot {
    /// Every bit of headers and footers, a fiftieth of the rest.
    pub fn ci() -> Rot {
        Rot::new(50, 1, Depth::CI)
    }

    /// Every bit, every length, every pair of blocks.
    pub fn long() -> Rot {
        Rot::new(1, 1, Depth::LONG)
    }

    fn new(every: u64, edges_every: u64, depth: Depth) -> Rot {
        let extent = Extent { every, edges_every, seed: 7 };
        Rot { extent, depth, plan: OnceLock::new() }
    }

    /// One in so many of what [`Rot::ci`] tries.
    pub fn sample(every: u64) -> Rot {
        Rot::new(50 * every, every, Depth::CI)
    }

    fn plan(&self) -> &Plan {
        self.plan.get_or_init(|| {
            let bases = Arc::new(Base::all().expect("the reference databases are made"));
            let all = bases.iter().enumerate().flat_map(|(number, base)| {
                let number = u8::try_from(number).expect("two");
                case::cases(base, self.extent).into_iter().map(move |case| (number, case))
            });
            let cases = all.collect();
            Plan { bases, cases }
        })
    }

    /// Runs one damage again, told by the line of a finding: base, then what `Case` shows.
    ///
    /// # Errors
    /// If it must not be, or there is no such damage.
    pub fn replay(line: &str) -> Result<String> {
        let bases = Base::all()?;
        let (name, line) = line.split_once(' ').context("a line starts with a base")?;
        let base = bases.iter().find(|base| base.name == name);
        let base = base.with_context(|| format!("no base is called {name:?}"))?;
        let case = Case::parse(line, base)?;
        let mut text = String::new();
        for read in [ReadMode::Positional, ReadMode::Mapped] {
            let verdict = judge(base, case, read, Ask::EVERYTHING)?;
            text += &format!("{read:?}: {verdict:?}\n");
        }
        Ok(text)
    }
}

/// A panic is a finding too.
fn judge(base: &Base, case: Case, read: ReadMode, ask: Ask) -> Result<judge::Verdict> {
    let judged = catch_unwind(AssertUnwindSafe(|| judge::judge(base, case, read, ask)));
    judged.unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or(payload.downcast_ref::<&str>().copied());
        Err(anyhow!("a panic: {}", text.unwrap_or("of no words")))
    })
}

impl Part for Rot {
    fn name(&self) -> String {
        "R7 rot".to_owned()
    }

    fn units(&self) -> u64 {
        self.plan().cases.len().div_ceil(UNIT) as u64
    }

    fn run(&self, unit: u64) -> Outcome {
        let plan = self.plan();
        let first = usize::try_from(unit).expect("a number below that of the units") * UNIT;
        let mut outcome = Outcome::default();
        let cases = plan.cases.iter().enumerate().skip(first).take(UNIT);
        for (number, (base, case)) in cases {
            let base = &plan.bases[usize::from(*base)];
            // Neighbouring bits are read in the one way and the other.
            let read = [ReadMode::Positional, ReadMode::Mapped][number % 2];
            outcome.count(case.kind(), 1);
            outcome.count("damages judged", 1);
            let ask = self.depth.of(number);
            outcome.count("asked everything", u64::from(ask.turn.is_none()));
            match judge(base, *case, read, ask) {
                Ok(verdict) => count(&verdict, *case, &mut outcome),
                Err(error) => outcome.findings.push(finding(base, *case, read, &error)),
            }
        }
        outcome
    }
}

fn count(verdict: &judge::Verdict, case: Case, outcome: &mut Outcome) {
    let what = match verdict {
        _ if case.is_transient() => return,
        judge::Verdict { noticed: false, .. } => "changed nothing",
        judge::Verdict { opened: false, .. } => "refused at open",
        judge::Verdict { unreadable, .. } if unreadable.is_empty() => "reported, all readable",
        _ => "reported, some unreadable",
    };
    outcome.count(what, 1);
}

fn finding(base: &Base, case: Case, read: ReadMode, error: &anyhow::Error) -> Finding {
    let line = format!("{} {}", base.name, case.show(base));
    Finding::new(
        case.kind().to_owned(),
        format!("{read:?}, {line}: {error:#}"),
        format!("cargo xtask crash --rot-replay {line:?}"),
    )
}

#[cfg(test)]
mod tests;
