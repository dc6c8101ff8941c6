use std::time::Instant;

use super::{Drive, Progress};
use crate::crash::part::{Finding, Outcome, Part};

/// Units of numbers; some of them are findings.
struct Numbers {
    units: u64,
    bad: Option<u64>,
}

impl Part for Numbers {
    fn name(&self) -> String {
        "numbers".to_owned()
    }

    fn units(&self) -> u64 {
        self.units
    }

    fn run(&self, unit: u64) -> Outcome {
        let mut outcome = Outcome::default();
        outcome.count("units", 1);
        outcome.count("sum", unit);
        if self.bad == Some(unit) {
            outcome.findings.push(Finding {
                what: "bad".to_owned(),
                replay: unit.to_string(),
                kind: "number".to_owned(),
                regression: String::new(),
            });
        }
        outcome
    }
}

const DRIVE: Drive = Drive { threads: 2, findings_max: 1, deadline: None };

#[test]
fn every_unit_runs_once_on_any_number_of_threads() {
    for threads in [1, 2, 5] {
        let part = Numbers { units: 100, bad: None };
        let done = Drive { threads, ..DRIVE }.run(&part, Progress::default(), &|_| ());
        assert_eq!((done.below, done.above.len()), (100, 0));
        assert_eq!(done.outcome.counts["units"], 100);
        assert_eq!(done.outcome.counts["sum"], 99 * 50);
    }
}

#[test]
fn a_resumed_part_runs_what_is_missing_and_nothing_twice() {
    let part = Numbers { units: 20, bad: None };
    let mut before = Progress::default();
    for unit in [0, 1, 2, 5, 9, 19] {
        before.finish(unit, part.run(unit));
    }
    assert_eq!((before.below, before.done()), (3, 6));
    let text = serde_json::to_string(&before).expect("text");
    let before: Progress = serde_json::from_str(&text).expect("the same");
    let done = DRIVE.run(&part, before, &|_| ());
    assert_eq!((done.below, done.outcome.counts["units"]), (20, 20));
    assert_eq!(done.outcome.counts["sum"], 190);
}

#[test]
fn a_finding_ends_the_part_and_is_kept() {
    let part = Numbers { units: 1_000_000, bad: Some(3) };
    let done = DRIVE.run(&part, Progress::default(), &|_| ());
    assert_eq!(done.outcome.findings.len(), 1);
    assert!(done.done() < 1_000_000);
}

#[test]
fn nothing_begins_behind_the_deadline() {
    let part = Numbers { units: 100, bad: None };
    let late = Drive { deadline: Some(Instant::now()), ..DRIVE };
    assert_eq!(late.run(&part, Progress::default(), &|_| ()).done(), 0);
}
