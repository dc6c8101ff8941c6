//! How writers slow down before they would have to stop.
//!
//! Where writers are faster than merges, files of flushes pile up until an index takes no more, and
//! whoever writes then waits for a merge, which may be seconds. So from half way on writers go twice
//! as quickly as merges took what flushes brought, and slower the less room is left, so that the room
//! never ends: the same waits, cut into pieces of less than a millisecond. RocksDB's
//! `delayed_write_rate` is set; this one is measured.

use std::collections::BTreeMap;
use std::time::Duration;

use vfs::sync::Mutex;
use vfs::sync::atomic::{AtomicBool, Ordering};

use crate::files::Files;
use crate::index::Backlog;
use crate::view::View;

/// A writer is at most so much ahead of its pace: shorter waits cost more than they are.
const AHEAD_MAX: Duration = Duration::from_micros(200);
/// A write waits at most so long for each of its entries,
const WAIT_MAX: Duration = Duration::from_millis(1);
/// and for all of them.
const WAIT_MAX_TOGETHER: Duration = Duration::from_millis(100);

/// The least room there is, in generations: less is not worth a longer wait.
const ROOM_MIN: f64 = 0.001;

/// How quickly writers may write.
#[derive(Default)]
pub(crate) struct Pace {
    /// There is a limit.
    is_limited: AtomicBool,
    /// Leaf. The strictest one of any keyspace.
    limit: Mutex<Option<Limit>>,
    /// Leaf. By keyspace.
    progress: Mutex<BTreeMap<u32, Progress>>,
}

/// At `left` of the room left a generation is to last `time / left`: in each `time` writers take the
/// same part of what is left.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Limit {
    time: Duration,
    /// Generations until writers must stop, the active one included.
    room: u32,
}

impl Limit {
    /// How long it takes at least to get from one filling of the active generation to a later one.
    fn between(self, from: f64, to: f64) -> Duration {
        let left = |filled: f64| (f64::from(self.room) - filled).max(ROOM_MIN);
        self.time.mul_f64((left(from) / left(to)).ln().max(0.0))
    }

    fn is_stricter(self, other: Limit) -> bool {
        self.between(0.0, 0.5) > other.between(0.0, 0.5)
    }
}

impl Pace {
    /// Takes note of what a view to come says of flushes and merges. The caller orders views.
    pub(crate) fn follow(&self, view: &View, files: &Files) {
        let now = files.env.clock.mono();
        let mut progress = self.progress.lock();
        progress.retain(|id, _| view.keyspace(*id).is_some());
        let mut strictest: Option<Limit> = None;
        for keyspace in &view.keyspaces {
            let progress = progress.entry(keyspace.id).or_default();
            let limit = progress.follow(keyspace.index.backlog(files), view.sealed.len(), now);
            let is_stricter =
                |limit: &Limit| strictest.is_none_or(|other| limit.is_stricter(other));
            strictest = limit.filter(is_stricter).or(strictest);
        }
        drop(progress);
        *self.limit.lock() = strictest;
        self.is_limited.store(strictest.is_some(), Ordering::Relaxed);
    }

    /// How quickly the active generation may fill; `None` while there is room.
    pub(crate) fn limit(&self) -> Option<Limit> {
        if self.is_limited.load(Ordering::Relaxed) { *self.limit.lock() } else { None }
    }
}

/// How quickly merges take what flushes bring to an index.
#[derive(Default)]
struct Progress {
    /// Files at the last look.
    files: usize,
    /// Since when a merge is due that takes them.
    due_since: Option<Duration>,
    /// What such merges took for each file, the merges before them that were needed more included: the
    /// last one, or the mean of it and those before if that is more. `None` before the first one.
    per_file: Option<Duration>,
}

impl Progress {
    /// How quickly the active generation may fill from now on. `sealed`: generations whose files are
    /// still to come.
    fn follow(&mut self, backlog: Option<Backlog>, sealed: usize, now: Duration) -> Option<Limit> {
        let Backlog { files, due, most } =
            backlog.unwrap_or(Backlog { files: 0, due: 1, most: usize::MAX });
        let small = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let taken = self.files.saturating_sub(files);
        if let Some(since) = self.due_since.filter(|_| taken > 0) {
            let last = now.saturating_sub(since) / small(taken);
            self.per_file = Some(self.per_file.map_or(last, |mean| last.max((mean + last) / 2)));
            self.due_since = None;
        }
        self.files = files;
        self.due_since = self.due_since.or(Some(now)).filter(|_| files >= due);
        // One that is not done yet took so much at least.
        let going = self.due_since.map(|since| now.saturating_sub(since) / small(files));
        let half = most.saturating_sub(due) / 2;
        let room = (most - most.min(files + sealed)).saturating_add(1);
        let per_file = self.per_file.max(going).filter(|_| room <= half)?;
        if per_file.is_zero() {
            return None;
        }
        Some(Limit { time: per_file.saturating_mul(small(half)) / 2, room: small(room) })
    }
}

/// Where the active generation was when its limit was last set.
#[derive(Default)]
pub(crate) struct Paced {
    limit: Option<Limit>,
    since: Duration,
    filled: f64,
}

impl Paced {
    /// How long a write of so many entries is to wait first, when so much of the generation is full.
    pub(crate) fn wait(
        &mut self,
        limit: Limit,
        filled: f64,
        now: Duration,
        entries: usize,
    ) -> Option<Duration> {
        if self.limit != Some(limit) || filled < self.filled {
            *self = Paced { limit: Some(limit), since: now, filled };
            return None;
        }
        let due = self.since.saturating_add(limit.between(self.filled, filled));
        let ahead = due.checked_sub(now).filter(|ahead| *ahead > AHEAD_MAX)?;
        let entries = u32::try_from(entries).unwrap_or(u32::MAX);
        let most = WAIT_MAX.saturating_mul(entries).min(WAIT_MAX_TOGETHER);
        Some(ahead.min(most))
    }
}

#[cfg(test)]
mod tests;
