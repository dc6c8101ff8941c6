//! The operations of a thread: number `index` is a pure function of seed, thread and index, so
//! that the parent knows what the child attempted without being told.

use std::collections::BTreeMap;

use anyhow::Context;
use vfs::Random;
use xtask::kind::Kind;

/// Keyspaces that every thread writes to: one of each kind.
pub(super) const SPACES: [(&str, Kind); 2] = [("ordered", Kind::Btree), ("hashed", Kind::Hash)];
/// Different keys of a thread in each keyspace.
pub(super) const KEYS: u64 = 250;

/// One change of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Change {
    /// Index into [`SPACES`].
    pub(super) space: usize,
    pub(super) key: Vec<u8>,
    /// `None` deletes.
    pub(super) value: Option<Vec<u8>>,
    /// Put with an expiry that is far away.
    pub(super) expires: bool,
}

/// What a write asks for beyond the database's policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wish {
    /// Nothing.
    Policy,
    /// On stable storage when it returns.
    Durable,
    /// In no log: it lasts when its generation is flushed.
    Unlogged,
}

/// What a thread does next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Op {
    /// A put or delete of its own.
    Single { change: Change, wish: Wish },
    /// A put or delete by `compare_and_swap`, once refused and once done.
    Swap { change: Change },
    /// Changes that hold together.
    Batch { changes: Vec<Change>, wish: Wish },
    /// The same in a transaction, which reads every key before and after.
    Transact { changes: Vec<Change>, wish: Wish },
    /// `Db::flush`.
    Flush,
    /// `Db::compact`.
    Compact,
    /// `Db::collect_garbage`.
    Collect,
    /// `Db::checkpoint`; the result is opened, compared and removed.
    Checkpoint,
    /// `Db::sync`.
    Sync,
    /// Takes a snapshot, or lets the oldest go after reading it again.
    Snapshot,
    /// Reads everything of this thread and compares.
    Scan,
    /// Closes and opens the database; only where a single thread writes.
    Reopen,
}

impl Op {
    /// Operation number `index` of a thread.
    pub(super) fn draw(seed: u64, thread: u8, index: u64) -> Op {
        let mixed = Random::new(seed ^ (u64::from(thread) << 56)).next_u64();
        let mut random = Random::new(mixed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let wish = Wish::draw(&mut random, seed);
        match random.below(1000) {
            0..700 => {
                let change = Change::draw(&mut random, thread, index);
                Op::Single { change, wish }
            }
            700..740 => {
                let change = Change::draw(&mut random, thread, index);
                Op::Swap { change: Change { expires: false, ..change } }
            }
            kind @ 740..910 => {
                let count = 2 + random.below(10);
                let change = |_| Change::draw(&mut random, thread, index);
                let changes = (0..count).map(change).collect();
                match kind < 850 {
                    true => Op::Batch { changes, wish },
                    false => Op::Transact { changes, wish },
                }
            }
            910..925 => Op::Flush,
            925..930 => Op::Compact,
            930..937 => Op::Collect,
            937..940 => Op::Checkpoint,
            940..955 => Op::Sync,
            955..985 => Op::Snapshot,
            985..995 => Op::Scan,
            _ => Op::Reopen,
        }
    }

    /// Its changes, in order.
    pub(super) fn changes(&self) -> &[Change] {
        match self {
            Op::Single { change, .. } | Op::Swap { change } => std::slice::from_ref(change),
            Op::Batch { changes, .. } | Op::Transact { changes, .. } => changes,
            _ => &[],
        }
    }

    /// True if it skips the log.
    pub(super) fn is_unlogged(&self) -> bool {
        matches!(
            self,
            Op::Single { wish: Wish::Unlogged, .. }
                | Op::Batch { wish: Wish::Unlogged, .. }
                | Op::Transact { wish: Wish::Unlogged, .. }
        )
    }

    /// True if everything that was acknowledged before it lasts once it returned, logged or not.
    /// `alone`: no other thread uses the database.
    pub(super) fn flushes(&self, alone: bool) -> bool {
        match self {
            Op::Flush | Op::Compact | Op::Checkpoint => true,
            Op::Reopen => alone,
            _ => false,
        }
    }
}

impl Wish {
    /// Of a hundred writes four are durable, and none, few or many skip the log: that is one
    /// database's habit.
    fn draw(random: &mut Random, seed: u64) -> Wish {
        let unlogged = [0, 5, 40][usize::try_from(seed % 3).expect("below three")];
        match random.below(100) {
            0..4 => Wish::Durable,
            share if share < 4 + unlogged => Wish::Unlogged,
            _ => Wish::Policy,
        }
    }
}

/// Operations that were acknowledged and lost, as half-open ranges, of which only those without a
/// log count.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Lost(pub(super) Vec<(u64, u64)>);

impl Lost {
    /// True if operation `index` was lost, given that it skips the log.
    fn contains(&self, index: u64) -> bool {
        self.0.iter().any(|(from, to)| *from <= index && index < *to)
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ranges: Vec<String> = self.0.iter().map(|(from, to)| format!("{from}-{to}")).collect();
        f.write_str(&ranges.join("+"))
    }
}

impl std::str::FromStr for Lost {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Lost> {
        let range = |range: &str| -> anyhow::Result<(u64, u64)> {
            let (from, to) = range.split_once('-').context("a range is FROM-TO")?;
            Ok((from.parse()?, to.parse()?))
        };
        let ranges = text.split('+').filter(|range| !range.is_empty());
        Ok(Lost(ranges.map(range).collect::<anyhow::Result<_>>()?))
    }
}

impl Change {
    fn draw(random: &mut Random, thread: u8, index: u64) -> Change {
        let space = random.index(SPACES.len());
        let key = key(thread, random.below(KEYS));
        let value = (!random.percent(15)).then(|| value(random, index));
        let expires = value.is_some() && random.percent(5);
        Change { space, key, value, expires }
    }
}

/// What the keys of a thread start with.
pub(super) fn key_prefix(thread: u8) -> Vec<u8> {
    format!("t{thread:03}/").into_bytes()
}

/// Key number `number` of a thread; some are long.
pub(super) fn key(thread: u8, number: u64) -> Vec<u8> {
    let mut key = key_prefix(thread);
    key.extend_from_slice(format!("{number:04}").as_bytes());
    let long = match number % 16 {
        0 => 40,
        1 => 300,
        2 if number == 2 => 9_000,
        _ => 0,
    };
    key.resize(key.len() + long, b'-');
    key
}

/// A value that tells which operation wrote it, of a length that is empty, inline, separated or
/// larger than a segment.
fn value(random: &mut Random, index: u64) -> Vec<u8> {
    let len = match random.below(100) {
        0..4 => return Vec::new(),
        4..50 => random.index(60),
        50..80 => random.index(600),
        80..96 => random.index(4_000),
        96..99 => random.index(20_000),
        _ => random.index(120_000),
    };
    let mut value = index.to_le_bytes().to_vec();
    value.extend_from_slice(&random.bytes(len));
    value
}

/// What the keyspaces hold.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Model {
    pub(super) spaces: [BTreeMap<Vec<u8>, Vec<u8>>; SPACES.len()],
}

impl Model {
    /// Does what the database does.
    pub(super) fn apply(&mut self, op: &Op) {
        op.changes().iter().for_each(|change| self.change(change));
    }

    /// Does one change.
    pub(super) fn change(&mut self, Change { space, key, value, .. }: &Change) {
        match value {
            Some(value) => self.spaces[*space].insert(key.clone(), value.clone()),
            None => self.spaces[*space].remove(key),
        };
    }

    /// The state of a thread's keys after its first `count` operations, but for those that were
    /// lost.
    pub(super) fn after(seed: u64, thread: u8, count: u64, lost: &Lost) -> Model {
        let mut model = Model::default();
        for index in 0..count {
            let op = Op::draw(seed, thread, index);
            if !(op.is_unlogged() && lost.contains(index)) {
                model.apply(&op);
            }
        }
        model
    }
}

/// The first difference between two states, in words.
pub(super) fn difference(found: &Model, expected: &Model) -> Option<String> {
    let spaces = found.spaces.iter().zip(&expected.spaces);
    for ((name, _), (found, expected)) in SPACES.iter().zip(spaces) {
        let differing =
            found.keys().chain(expected.keys()).find(|key| found.get(*key) != expected.get(*key));
        let Some(key) = differing else { continue };
        let shown = |value: Option<&Vec<u8>>| match value {
            None => "nothing".to_owned(),
            Some(value) => {
                let head = value.get(..8).and_then(|head| head.try_into().ok());
                let writer = head.map_or("?".to_owned(), |h| u64::from_le_bytes(h).to_string());
                format!("{} bytes of operation {writer}", value.len())
            }
        };
        let (found, expected) = (shown(found.get(key)), shown(expected.get(key)));
        let key = key.escape_ascii().to_string();
        return Some(format!("{name} {key:.40} holds {found}, expected {expected}"));
    }
    None
}

#[cfg(test)]
mod tests;
