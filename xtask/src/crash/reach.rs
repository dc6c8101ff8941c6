//! Which parts of the store an exploration ran: an exploration of what never happens proves
//! nothing.

use std::collections::BTreeMap;
use std::fmt;

use engine::Stats;
use vfs::sim::{Call, CallKind};

use crate::kind::Kind;

/// Counts over runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reach {
    /// Flushed generations.
    pub flushes: u64,
    /// Installed merges.
    pub merges: u64,
    /// Waits of writers.
    pub stalls: u64,
    /// Hash tables seen with more than one partition.
    pub split: u64,
    /// Installed garbage collections.
    pub collected: u64,
    /// Bytes that these wrote.
    pub moved_bytes: u64,
    /// Files created, by kind.
    pub created: BTreeMap<String, u64>,
    /// Files removed, by kind.
    pub removed: BTreeMap<String, u64>,
}

impl Reach {
    /// Counts what one open of a store did.
    pub fn add_stats(&mut self, stats: &Stats) {
        self.flushes += stats.flushes;
        self.merges += stats.merges;
        self.stalls += stats.stalls;
        self.collected += stats.gc_runs;
        self.moved_bytes += stats.gc_written_bytes;
        let hashed = stats.keyspaces.iter().filter(|found| Kind::of(found.kind) == Kind::Hash);
        let split = hashed.filter(|found| found.levels.last().is_some_and(|last| last.0 > 1));
        self.split += split.count() as u64;
    }

    /// Counts what was created and removed.
    pub fn add_calls(&mut self, calls: &[Call]) {
        for call in calls {
            let counts = match call.kind {
                CallKind::Create => &mut self.created,
                CallKind::Remove => &mut self.removed,
                _ => continue,
            };
            let kind = call.path.rsplit('.').next().unwrap_or_default();
            *counts.entry(kind.to_owned()).or_default() += 1;
        }
    }

    /// Sums.
    pub fn add(&mut self, other: &Reach) {
        self.flushes += other.flushes;
        self.merges += other.merges;
        self.stalls += other.stalls;
        self.split += other.split;
        self.collected += other.collected;
        self.moved_bytes += other.moved_bytes;
        for (sums, counts) in
            [(&mut self.created, &other.created), (&mut self.removed, &other.removed)]
        {
            for (kind, count) in counts {
                *sums.entry(kind.clone()).or_default() += count;
            }
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reached: {} flushes, {} merges, ", self.flushes, self.merges)?;
        write!(f, "{} stalls, {} split tables, ", self.stalls, self.split)?;
        write!(f, "{} collections of {} bytes", self.collected, self.moved_bytes)?;
        for (word, counts) in [("created", &self.created), ("removed", &self.removed)] {
            let counts = counts.iter().map(|(kind, count)| format!("{count} {kind}"));
            write!(f, "; {word} {}", counts.collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }
}
