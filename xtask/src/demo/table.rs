//! The table at the end.

use std::fmt;
use std::time::Duration;

/// What happened, and how fast.
#[derive(Default)]
pub(super) struct Table {
    phases: Vec<Phase>,
    notes: Vec<(&'static str, String)>,
}

struct Phase {
    name: String,
    files: usize,
    bytes: u64,
    time: Duration,
}

impl Table {
    /// Adds a phase that moved so many files and bytes in a time.
    pub(super) fn phase(
        &mut self,
        name: impl Into<String>,
        files: usize,
        bytes: u64,
        time: Duration,
    ) {
        self.phases.push(Phase { name: name.into(), files, bytes, time });
    }

    /// Adds a line below the phases.
    pub(super) fn note(&mut self, name: &'static str, text: String) {
        self.notes.push((name, text));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<26}{:>10}{:>14}{:>9}{:>11}{:>9}",
            "", "files", "bytes", "s", "files/s", "MB/s"
        )?;
        for Phase { name, files, bytes, time } in &self.phases {
            let seconds = time.as_secs_f64().max(1e-9);
            let files_rate = ratio(*files as u64, 1) / seconds;
            let bytes_rate = ratio(*bytes, 1_000_000) / seconds;
            writeln!(
                f,
                "{name:<26}{files:>10}{bytes:>14}{seconds:>9.3}{files_rate:>11.0}{bytes_rate:>9.1}"
            )?;
        }
        for (name, text) in &self.notes {
            writeln!(f, "{name:<26}{text}")?;
        }
        Ok(())
    }
}

/// A quotient for people; 0 if the divisor is.
pub(super) fn ratio(dividend: u64, divisor: u64) -> f64 {
    if divisor == 0 { 0.0 } else { dividend as f64 / divisor as f64 }
}
