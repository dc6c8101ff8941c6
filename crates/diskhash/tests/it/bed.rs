//! What the tests stand on: slots that carry their key, an owner that knows them, and a model.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use diskhash::{At, Cursor, Generation, Leftovers, Options, Owner, ReadMode, Table, Verdict};
use vfs::sim::SimDisk;
use vfs::{Env, Result};

/// Key 8 bytes, value 4, mark 4 (0 is a tombstone; listed).
pub(crate) const SLOT_LEN: u16 = 16;

pub(crate) type Hasher = fn(u64) -> u64;

pub(crate) fn mixed(key: u64) -> u64 {
    vfs::Random::new(key).next_u64()
}

pub(crate) fn zero(_: u64) -> u64 {
    0
}

pub(crate) fn highest(_: u64) -> u64 {
    u64::MAX
}

/// Nine hashes for all keys.
pub(crate) fn few(key: u64) -> u64 {
    mixed(key % 9)
}

/// All keys in the lowest 2^-20 of the hashes, with the least and the greatest hash.
pub(crate) fn skewed(key: u64) -> u64 {
    match key % 50 {
        0 => 0,
        1 => u64::MAX,
        _ => mixed(key) >> 20,
    }
}

pub(crate) const HASHERS: [Hasher; 5] = [mixed, zero, highest, few, skewed];

pub(crate) fn slot(key: u64, value: Option<u32>) -> Vec<u8> {
    let mut slot = key.to_le_bytes().to_vec();
    slot.extend_from_slice(&value.unwrap_or(0).to_le_bytes());
    let mark = value.map_or(0, |value| 1 + value % 5);
    slot.extend_from_slice(&mark.to_le_bytes());
    slot
}

fn key_of(slot: &[u8]) -> u64 {
    u64::from_le_bytes(slot[..8].try_into().unwrap())
}

fn mark_of(slot: &[u8]) -> u32 {
    u32::from_le_bytes(slot[12..].try_into().unwrap())
}

fn value_of(slot: &[u8]) -> Option<u32> {
    let value = u32::from_le_bytes(slot[8..12].try_into().unwrap());
    (mark_of(slot) != 0).then_some(value)
}

/// An owner whose tombstones go when they hide nothing. It turns marks of `replace` into 9.
#[derive(Default)]
pub(crate) struct Keys {
    pub(crate) replace: Option<u32>,
    /// Keys that count as expired: they go as tombstones go.
    pub(crate) expired: BTreeSet<u64>,
}

impl Owner for Keys {
    fn same_key(&mut self, newer: &[u8], older: &[u8]) -> Result<bool> {
        Ok(key_of(newer) == key_of(older))
    }

    fn judge(&mut self, slot: &[u8], oldest: bool) -> Result<Verdict> {
        let gone = mark_of(slot) == 0 || self.expired.contains(&key_of(slot));
        if gone && oldest {
            return Ok(Verdict::Drop);
        }
        if self.replace == Some(mark_of(slot)) && mark_of(slot) != 0 {
            let mut other = slot.to_vec();
            other[12] = 9;
            return Ok(Verdict::Replace(other));
        }
        Ok(Verdict::Keep)
    }
}

pub(crate) type Model = BTreeMap<u64, u32>;

pub(crate) fn options() -> Options {
    Options {
        listed: Some(12),
        owner: 7,
        read_mode: ReadMode::Positional,
        partition_bytes: 8 << 10,
        runs_max: 4,
        ..Options::new(SLOT_LEN)
    }
}

pub(crate) fn open_at(disk: &SimDisk, options: &Options, at: At) -> Result<Table> {
    Table::open(disk.root(), &Env::sim(3).env, options.clone(), at, Leftovers::Keep)
}

pub(crate) fn open(disk: &SimDisk, options: &Options) -> Result<Table> {
    open_at(disk, options, At::Latest)
}

pub(crate) type Batch = Vec<(u64, Option<u32>)>;

pub(crate) fn apply(table: &Table, hasher: Hasher, batch: &Batch) -> Result<Arc<Generation>> {
    let slots: Vec<(u64, Vec<u8>)> =
        batch.iter().map(|(key, value)| (hasher(*key), slot(*key, *value))).collect();
    table.apply(slots.iter().map(|(hash, slot)| (*hash, &slot[..])))
}

pub(crate) fn apply_model(model: &mut Model, batch: &Batch) {
    for (key, value) in batch {
        match value {
            Some(value) => drop(model.insert(*key, *value)),
            None => drop(model.remove(key)),
        }
    }
}

/// Does every merge that is due.
pub(crate) fn merge_all(table: &Table, full: bool, owner: &mut dyn Owner) -> Result<()> {
    while let Some(mut job) = table.plan(full) {
        let before = table.newest().id();
        while !job.step(owner)? {}
        table.commit(job.finish())?;
        table.release(before);
    }
    Ok(())
}

pub(crate) fn slots_of(generation: &Generation, hash: u64) -> Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    generation.candidates(hash, &mut |slot| {
        found.push(slot.to_vec());
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

pub(crate) fn get(generation: &Generation, hasher: Hasher, key: u64) -> Result<Option<u32>> {
    let mut found = None;
    generation.candidates(hasher(key), &mut |slot| {
        if key_of(slot) != key {
            return Ok(ControlFlow::Continue(()));
        }
        found = value_of(slot);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

/// What the cursor shows of every key first.
pub(crate) fn walk(generation: &Arc<Generation>) -> Result<Model> {
    let mut newest: BTreeMap<u64, Option<u32>> = BTreeMap::new();
    let mut cursor = generation.cursor();
    let mut before = 0;
    while let Some((hash, slot)) = cursor.next()? {
        assert!(before <= hash, "hashes ascend");
        before = hash;
        newest.entry(key_of(slot)).or_insert_with(|| value_of(slot));
    }
    Ok(newest.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
}

/// A cursor that starts somewhere shows what one from the start shows from there on.
fn judge_starts(generation: &Arc<Generation>) {
    let all = |mut cursor: Cursor| {
        let mut slots = Vec::new();
        while let Some((hash, slot)) = cursor.next().unwrap() {
            slots.push((hash, slot.to_vec()));
        }
        slots
    };
    let whole = all(generation.cursor());
    let middle = whole.get(whole.len() / 2).map_or(1 << 40, |(hash, _)| *hash);
    for from in [middle.saturating_sub(1), middle, middle.saturating_add(1), 1 << 63, u64::MAX] {
        let behind = whole.partition_point(|(hash, _)| *hash < from);
        assert!(all(generation.cursor_from(from)) == whole[behind..], "from {from:x}");
    }
}

/// Every key below `keys`, the cursor, the listed numbers and the check agree with the model.
pub(crate) fn judge(generation: &Arc<Generation>, hasher: Hasher, model: &Model, keys: u64) {
    for key in 0..keys {
        let found = get(generation, hasher, key).unwrap();
        assert_eq!(found, model.get(&key).copied(), "key {key}");
    }
    assert_eq!(walk(generation).unwrap(), *model);
    judge_starts(generation);
    let (mut marks, mut slots) = (BTreeSet::new(), 0);
    let count = &mut |slot: &[u8]| {
        marks.insert(mark_of(slot));
        slots += 1;
        Ok(())
    };
    generation.check(count, &mut |error| panic!("{error}"));
    assert_eq!(generation.listed(), marks);
    let stats = generation.stats();
    assert_eq!(stats.run_slots + stats.partition_slots, slots);
    assert_eq!(generation.is_empty(), slots == 0);
}
