use std::sync::atomic::{AtomicU64, Ordering};

use super::{Long, table};
use crate::crash::drive::Drive;
use crate::crash::part::{Outcome, Part};

/// Counts how often its units ran, over all runs.
struct Counted<'a>(&'a AtomicU64);

impl Part for Counted<'_> {
    fn name(&self) -> String {
        "counted".to_owned()
    }

    fn units(&self) -> u64 {
        10
    }

    fn run(&self, _: u64) -> Outcome {
        self.0.fetch_add(1, Ordering::Relaxed);
        let mut outcome = Outcome::default();
        outcome.count("things", 3);
        outcome
    }
}

#[test]
fn a_resumed_run_does_nothing_twice_and_a_new_one_refuses_an_old_file() {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("state").join("long.json");
    let drive = Drive { threads: 2, findings_max: 1, deadline: None };
    let parts: Vec<Box<dyn Part>> = vec![Box::new(Counted(&RUNS))];
    let first = Long { file: file.clone(), resume: false };
    assert_eq!(first.run(&parts, &drive).expect("a run"), 0);
    assert_eq!(RUNS.load(Ordering::Relaxed), 10);
    assert!(first.run(&parts, &drive).is_err(), "the file is there");
    let again = Long { resume: true, ..first };
    assert_eq!(again.run(&parts, &drive).expect("a run"), 0);
    assert_eq!(RUNS.load(Ordering::Relaxed), 10);
    let table = table(&file).expect("a table");
    assert!(table.contains("| counted | 100.0 % | 30 things | 0 |"), "{table}");
}
