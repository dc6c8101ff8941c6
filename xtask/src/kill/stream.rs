//! The operations of a thread: number `index` is a pure function of seed, thread and index, so
//! that the parent knows what the child attempted without being told.

use std::collections::BTreeMap;

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

/// What a thread does next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Op {
    /// A put or delete of its own.
    Single { change: Change, durable: bool },
    /// A put or delete by `compare_and_swap`, once refused and once done.
    Swap { change: Change },
    /// Changes that hold together.
    Batch { changes: Vec<Change>, durable: bool },
    /// The same in a transaction, which reads every key before and after.
    Transact { changes: Vec<Change>, durable: bool },
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
        let durable = random.percent(4);
        match random.below(1000) {
            0..700 => {
                let change = Change::draw(&mut random, thread, index);
                Op::Single { change, durable }
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
                    true => Op::Batch { changes, durable },
                    false => Op::Transact { changes, durable },
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

    /// The state of a thread's keys after its first `count` operations.
    pub(super) fn after(seed: u64, thread: u8, count: u64) -> Model {
        let mut model = Model::default();
        (0..count).for_each(|index| model.apply(&Op::draw(seed, thread, index)));
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
