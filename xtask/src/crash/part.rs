//! The seam by which every exploration plugs into `cargo xtask crash`.
//!
//! part -> units -> threads -> outcomes -> sum
//!
//! 1. A unit depends on its number and its part's settings alone: whoever runs it, in whichever
//!    order, gets the same outcome. So work can be spread, stopped and resumed.
//! 2. What is counted is summed; nothing else passes between units.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What was done, by name. Summed over units.
pub type Counts = BTreeMap<String, u64>;

/// One exploration: pieces of work that are independent of each other, numbered from 0.
pub trait Part: Sync {
    /// Name in reports and in the state of a long run, with the bars it serves.
    fn name(&self) -> String;

    /// How many pieces.
    fn units(&self) -> u64;

    /// Does one. Depends on its number and the part's own settings alone, never on other pieces,
    /// threads or time.
    fn run(&self, unit: u64) -> Outcome;
}

/// Something that must not be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// What.
    pub what: String,
    /// The command that shows it again.
    pub replay: String,
    /// How it came about: the kind of crash image, of fault, of damage.
    pub kind: String,
    /// A test that fails while it is so, ready to be put into a file; empty if there is none.
    #[serde(default)]
    pub regression: String,
}

impl Finding {
    /// One without a test.
    pub fn new(kind: impl Into<String>, what: String, replay: String) -> Finding {
        Finding { what, replay, kind: kind.into(), regression: String::new() }
    }
}

/// What one unit did and found.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// What was done.
    pub counts: Counts,
    /// What must not be.
    pub findings: Vec<Finding>,
}

impl Outcome {
    /// Counts `count` more of something.
    pub fn count(&mut self, what: &str, count: u64) {
        match self.counts.get_mut(what) {
            Some(sum) => *sum += count,
            None => drop(self.counts.insert(what.to_owned(), count)),
        }
    }

    /// Sums.
    pub fn add(&mut self, other: Outcome) {
        for (what, count) in &other.counts {
            self.count(what, *count);
        }
        self.findings.extend(other.findings);
    }
}

/// A test that runs a replay line again, for `xtask/tests/it/regressions.rs`.
pub(super) fn regression(line: &str) -> String {
    format!(
        "#[test]\nfn a_crash_that_was_found_once() {{\n    // Believed: ...\n    // True: ...\n    \
         require({line:?});\n}}\n"
    )
}
