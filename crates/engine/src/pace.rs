//! How writers slow down before they would have to stop.
//!
//! Where writers are faster than merges, files of flushes pile up until an index takes no more, and
//! whoever writes then waits for a merge, which may be seconds. So from half way on a generation is
//! to take as long to fill as merges took for what one brings, and longer the less room is left: the
//! same waits, cut into pieces of less than a millisecond. RocksDB's `delayed_write_rate` is set; this
//! one is measured.

use std::collections::BTreeMap;
use std::time::Duration;

use vfs::sync::Mutex;
use vfs::sync::atomic::{AtomicU64, Ordering};

use crate::files::Files;
use crate::index::Backlog;
use crate::view::View;

/// A writer is at most so much ahead of its pace: shorter waits cost more than they are.
const AHEAD_MAX: Duration = Duration::from_micros(200);
/// A write waits at most so long for each of its entries,
const WAIT_MAX: Duration = Duration::from_millis(1);
/// and for all of them.
const WAIT_MAX_TOGETHER: Duration = Duration::from_millis(100);

/// How quickly writers may write.
#[derive(Default)]
pub(crate) struct Pace {
    /// Nanoseconds that filling a generation takes at least; 0 is no limit.
    lasts: AtomicU64,
    /// Leaf. By keyspace.
    progress: Mutex<BTreeMap<u32, Progress>>,
}

impl Pace {
    /// Takes note of what a view to come says of flushes and merges. The caller orders views.
    pub(crate) fn follow(&self, view: &View, files: &Files) {
        let now = files.env.clock.mono();
        let mut progress = self.progress.lock();
        progress.retain(|id, _| view.keyspace(*id).is_some());
        let mut lasts = Duration::ZERO;
        for keyspace in &view.keyspaces {
            let progress = progress.entry(keyspace.id).or_default();
            let slowest = progress.follow(keyspace.index.backlog(files), view.sealed.len(), now);
            lasts = lasts.max(slowest);
        }
        let ns = u64::try_from(lasts.as_nanos()).unwrap_or(u64::MAX);
        self.lasts.store(ns, Ordering::Relaxed);
    }

    /// How long the filling of a generation takes at least; `None` while there is room.
    pub(crate) fn generation_lasts(&self) -> Option<Duration> {
        match self.lasts.load(Ordering::Relaxed) {
            0 => None,
            ns => Some(Duration::from_nanos(ns)),
        }
    }
}

/// How quickly merges take what flushes bring to an index.
#[derive(Default)]
struct Progress {
    /// Files at the last look.
    files: usize,
    /// Since when a merge is due that takes them.
    due_since: Option<Duration>,
    /// What the last such merge took for each file, the merges before it that were needed more
    /// included. `None` before the first one.
    per_file: Option<Duration>,
}

impl Progress {
    /// How long a generation is to last from now on; zero is no limit. `sealed`: generations whose
    /// files are still to come.
    fn follow(&mut self, backlog: Option<Backlog>, sealed: usize, now: Duration) -> Duration {
        let Backlog { files, due, most } =
            backlog.unwrap_or(Backlog { files: 0, due: 1, most: usize::MAX });
        let taken = self.files.saturating_sub(files);
        if let Some(since) = self.due_since.filter(|_| taken > 0) {
            let taken = u32::try_from(taken).unwrap_or(u32::MAX);
            self.per_file = Some(now.saturating_sub(since) / taken);
            self.due_since = None;
        }
        self.files = files;
        self.due_since = self.due_since.or(Some(now)).filter(|_| files >= due);
        let half = most.saturating_sub(due) / 2;
        let coming = files + sealed;
        match self.per_file {
            Some(per_file) if half > 0 && coming > most - half => {
                // As quickly as merges go where half of `half` is left; quicker before, slower behind.
                let room = most.saturating_sub(coming) as f64;
                per_file.mul_f64(half as f64 / (2.0 * room.max(0.5)))
            }
            _ => Duration::ZERO,
        }
    }
}

/// Where the active generation was when its pace was last set.
#[derive(Default)]
pub(crate) struct Paced {
    lasts: Duration,
    since: Duration,
    filled: f64,
}

impl Paced {
    /// How long a write of so many entries is to wait first, at `filled` of a generation that is to
    /// last so long.
    pub(crate) fn wait(
        &mut self,
        lasts: Duration,
        filled: f64,
        now: Duration,
        entries: usize,
    ) -> Option<Duration> {
        if lasts != self.lasts || filled < self.filled {
            *self = Paced { lasts, since: now, filled };
            return None;
        }
        let due = self.since.saturating_add(lasts.mul_f64((filled - self.filled).min(1.0)));
        let ahead = due.checked_sub(now).filter(|ahead| *ahead > AHEAD_MAX)?;
        let entries = u32::try_from(entries).unwrap_or(u32::MAX);
        let most = WAIT_MAX.saturating_mul(entries).min(WAIT_MAX_TOGETHER);
        Some(ahead.min(most))
    }
}

#[cfg(test)]
mod tests;
