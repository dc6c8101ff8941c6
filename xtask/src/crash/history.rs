//! The oracle: what a crash may leave.
//!
//! Every mutation of a run is a commit. `D` commits are known to be durable, `A` were attempted;
//! a recovered store equals the history after `s` commits for one `s` in `D..=A`: nothing
//! acknowledged is lost, no hole, nothing invented, no batch in halves, across keyspaces. Batches
//! that skipped the log come with the flush of their generation, all of it or nothing.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

/// Keys and values of every keyspace, as read from a store.
pub type Seen = BTreeMap<String, BTreeMap<Vec<u8>, Arc<[u8]>>>;

/// A value of the model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The value.
    pub value: Arc<[u8]>,
    /// When it vanishes, in milliseconds since 1970; 0 for never.
    pub expiry_ms: u64,
}

/// What a store should hold, expired entries included.
pub type State = BTreeMap<String, BTreeMap<Vec<u8>, Entry>>;

/// One part of a commit.
#[derive(Clone, Debug)]
pub enum Change {
    /// A key gets a value.
    Put(String, Vec<u8>, Entry),
    /// A key is removed.
    Delete(String, Vec<u8>),
    /// A keyspace begins.
    Create(String),
    /// A keyspace ends with all that is in it.
    Drop(String),
}

impl Change {
    fn apply(&self, state: &mut State) {
        match self {
            Change::Put(keyspace, key, entry) => {
                if let Some(entries) = state.get_mut(keyspace) {
                    entries.insert(key.clone(), entry.clone());
                }
            }
            Change::Delete(keyspace, key) => {
                if let Some(entries) = state.get_mut(keyspace) {
                    entries.remove(key);
                }
            }
            Change::Create(keyspace) => {
                state.entry(keyspace.clone()).or_default();
            }
            Change::Drop(keyspace) => {
                state.remove(keyspace);
            }
        }
    }
}

/// A commit: all of it or nothing.
#[derive(Clone, Debug)]
struct Commit {
    changes: Vec<Change>,
    unlogged: bool,
    /// Which generation of memtables it is in; they are flushed in order.
    generation: u64,
}

/// What a crash may leave at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Bounds {
    /// Commits that must be there (unlogged ones aside).
    pub durable: usize,
    /// Commits that may be there.
    pub attempted: usize,
    /// Generations that must be flushed: up to this one.
    pub flushed: u64,
    /// The wall clock.
    pub clock_ms: u64,
}

/// The commits of a run and when they were attempted and acknowledged, counted in calls of the
/// file system.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What there was before the first commit.
    base: State,
    /// How many commits made that.
    settled: usize,
    commits: Vec<Commit>,
    /// (calls so far, commits attempted from there on)
    attempts: Vec<(usize, usize)>,
    /// (calls so far, commits and generations durable from there on)
    acks: Vec<(usize, usize, u64)>,
    /// (calls so far, the wall clock from there on)
    clock: Vec<(usize, u64)>,
}

impl History {
    /// A history that begins with a state; with the default keyspace, whatever that says.
    pub fn on(base: State) -> History {
        History::behind(0, base)
    }

    /// As [`History::on`], for a state that so many commits made.
    pub fn behind(settled: usize, base: State) -> History {
        History { base, settled, ..History::default() }
    }

    /// A store was opened and shows this: what came before it is no longer in doubt.
    pub fn settle(&mut self, base: State) {
        self.base = base;
        self.settled += self.commits.len();
        self.commits.clear();
        self.attempts.clear();
        self.acks.clear();
    }

    /// The newest commit was refused before anything changed.
    pub fn refused(&mut self) {
        self.commits.pop().expect("a commit was attempted");
        self.attempts.pop();
    }

    /// A commit is about to be made, behind `calls` calls.
    pub fn attempt(&mut self, calls: usize, changes: Vec<Change>, unlogged: bool) {
        self.commits.push(Commit { changes, unlogged, generation: u64::MAX });
        self.attempts.push((calls, self.commits.len()));
    }

    /// The same commits for a run that counts its calls from 0: all of them lie before it.
    pub fn told_again(&self) -> History {
        let Bounds { durable, attempted, flushed, clock_ms } = self.bounds(usize::MAX);
        History {
            base: self.base.clone(),
            settled: self.settled,
            commits: self.commits.clone(),
            attempts: vec![(0, attempted)],
            acks: vec![(0, durable, flushed)],
            clock: vec![(0, clock_ms)],
        }
    }

    /// The newest commit returned; it is in this generation.
    pub fn placed(&mut self, generation: u64) {
        self.commits.last_mut().expect("a commit was attempted").generation = generation;
    }

    /// Everything so far was acknowledged as durable at this call; unlogged commits up to that
    /// generation.
    pub fn durable(&mut self, calls: usize, flushed: u64) {
        self.acks.push((calls, self.commits.len(), flushed));
    }

    /// The wall clock changed.
    pub fn tick(&mut self, calls: usize, clock_ms: u64) {
        self.clock.push((calls, clock_ms));
    }

    /// Commits so far.
    pub fn len(&self) -> usize {
        self.commits.len()
    }

    /// Commits ever, but the refused ones: no two that go on have the same number.
    pub fn number(&self) -> usize {
        self.settled + self.commits.len()
    }

    /// True before the first commit.
    pub fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// What a crash behind `boundary` calls may leave.
    pub fn bounds(&self, boundary: usize) -> Bounds {
        let attempted = self.attempts.partition_point(|(calls, _)| *calls < boundary);
        let acked = self.acks.partition_point(|(calls, ..)| *calls <= boundary);
        let ticked = self.clock.partition_point(|(calls, _)| *calls <= boundary);
        let ack = acked.checked_sub(1).map(|index| self.acks[index]);
        let durable = ack.map_or(0, |(_, durable, _)| durable);
        let attempted = attempted.checked_sub(1).map_or(0, |index| self.attempts[index].1);
        Bounds {
            durable,
            // A commit may be attempted and acknowledged without a single call.
            attempted: attempted.max(durable),
            flushed: ack.map_or(0, |(.., flushed)| flushed),
            clock_ms: ticked.checked_sub(1).map_or(0, |index| self.clock[index].1),
        }
    }

    /// What the run itself should see now.
    pub fn now(&self) -> State {
        self.state(self.commits.len(), u64::MAX)
    }

    /// The state after the first `len` commits.
    pub fn after(&self, len: usize) -> State {
        self.state(len, u64::MAX)
    }

    /// True if the newest commit makes or ends a keyspace.
    pub fn ends_with_keyspace(&self) -> bool {
        let changes = self.commits.last().map_or(&[][..], |commit| &commit.changes[..]);
        changes.iter().any(|change| matches!(change, Change::Create(_) | Change::Drop(_)))
    }

    /// The state after the first `len` commits, of the unlogged ones only those in generations up
    /// to `flushed`.
    fn state(&self, len: usize, flushed: u64) -> State {
        let mut state = self.base.clone();
        state.entry(engine::DEFAULT_KEYSPACE.to_owned()).or_default();
        for commit in &self.commits[..len] {
            if !commit.unlogged || commit.generation <= flushed {
                commit.changes.iter().for_each(|change| change.apply(&mut state));
            }
        }
        state
    }

    /// Every state that a crash may leave.
    pub fn candidates(&self, bounds: Bounds) -> Vec<State> {
        let mut states = Vec::new();
        let attempted = &self.commits[..bounds.attempted];
        let unlogged = |commit: &&Commit| commit.unlogged && commit.generation > bounds.flushed;
        let mut generations: Vec<u64> =
            attempted.iter().filter(unlogged).map(|commit| commit.generation).collect();
        generations.insert(0, bounds.flushed);
        generations.dedup();
        for flushed in generations {
            let in_flushed =
                |commit: &Commit| commit.generation <= flushed && commit.generation != u64::MAX;
            let least = attempted.iter().rposition(in_flushed).map_or(0, |index| index + 1);
            for len in bounds.durable.max(least)..=bounds.attempted {
                states.push(self.state(len, flushed));
            }
        }
        states
    }
}

/// What a reader sees of a state at a time.
pub fn visible(state: &State, clock_ms: u64) -> Seen {
    let mut seen = Seen::new();
    for (keyspace, entries) in state {
        let live = |entry: &&Entry| entry.expiry_ms == 0 || entry.expiry_ms > clock_ms;
        let entries = entries.iter().filter(|(_, entry)| live(entry));
        let entries = entries.map(|(key, entry)| (key.clone(), entry.value.clone()));
        seen.insert(keyspace.clone(), entries.collect());
    }
    seen
}

/// True if some entry of a state vanishes after `clock_ms`.
pub fn will_expire(states: &[State], clock_ms: u64) -> bool {
    let entries = states.iter().flat_map(BTreeMap::values).flat_map(BTreeMap::values);
    entries.into_iter().any(|entry| entry.expiry_ms > clock_ms)
}

/// A line for each difference.
pub fn diff(expected: &Seen, found: &Seen) -> String {
    let mut text = String::new();
    let names = expected.keys().chain(found.keys().filter(|name| !expected.contains_key(*name)));
    for name in names {
        let (Some(want), Some(have)) = (expected.get(name), found.get(name)) else {
            let which = if found.contains_key(name) { "should not exist" } else { "is missing" };
            writeln!(text, "  keyspace {name} {which}").expect("memory takes text");
            continue;
        };
        for key in want.keys().chain(have.keys().filter(|key| !want.contains_key(*key))) {
            let (want, have) = (want.get(key), have.get(key));
            if want != have {
                let key = key.escape_ascii();
                let (want, have) = (describe(want), describe(have));
                writeln!(text, "  {name}/{key}: expected {want}, found {have}")
                    .expect("memory takes text");
            }
        }
    }
    text
}

fn describe(value: Option<&Arc<[u8]>>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(value) => {
            let head = value[..value.len().min(24)].escape_ascii();
            format!("{} bytes \"{head}\"", value.len())
        }
    }
}

#[cfg(test)]
mod tests;
