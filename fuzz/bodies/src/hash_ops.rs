//! A hash table: forged files and then calls, or calls against a `BTreeMap` over reopens. Rows 60
//! to 63, 97.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use diskhash::{
    At, GENERATION, Generation, Leftovers, Options, Owner, PARTITION, RUN, ReadMode, Table, Verdict,
};
use vfs::sim::ImageKind;
use vfs::{Env, Kind, Name, Result, SimDisk};

use crate::forge;
use crate::input::Input;
use crate::limits::bounded;
use crate::verdict::clear;

/// Key 4 bytes, value 4 (0 is a tombstone), listed 4.
const SLOT_LEN: u16 = 12;
const KINDS: [Kind; 3] = [GENERATION, RUN, PARTITION];
const FILES_MAX: usize = 6;
/// Calls after which an input counts as used up.
const CALLS_MAX: usize = 60;

/// Keys of the model: enough for some partitions.
const KEYS: u32 = 1000;

type Model = BTreeMap<u32, u32>;

/// The body.
pub(crate) fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let control = input.u8();
    let disk = SimDisk::new(1);
    let options = Options {
        owner: 7,
        listed: (control & 2 == 0).then_some(8),
        read_mode: [ReadMode::Mapped, ReadMode::Positional][usize::from(control >> 2 & 1)],
        hash_bytes: 5 + (control >> 4 & 3),
        runs_max: 3,
        partition_bytes: 8 << 10,
        ..Options::new(SLOT_LEN)
    };
    if control & 1 == 1 {
        model(&disk, &options, &mut input);
    } else {
        let mut calls = input.part();
        let (at, file_bytes) = files(&disk, &mut input, control & 8 == 0);
        bounded(file_bytes, || hostile(&disk, &options, at, &mut calls, file_bytes));
    }
}

/// Puts the input's files there; the generation to be opened, and how many bytes they have.
fn files(disk: &SimDisk, input: &mut Input<'_>, fix: bool) -> (At, usize) {
    let mut total = 0;
    let mut generations = Vec::new();
    for _ in 0..FILES_MAX {
        if input.is_empty() {
            break;
        }
        let name = Name::new(KINDS[input.below(3)], input.number());
        let mut bytes = input.part().expand();
        if fix && name.kind != GENERATION {
            forge::run(name.id, &mut bytes);
        }
        if name.kind == GENERATION {
            generations.push((name, bytes.clone()));
        }
        total += bytes.len();
        disk.write_file(name, &bytes);
    }
    let named = |id| {
        let file = |kind| disk.read_file(Name::new(kind, id));
        file(RUN).or_else(|| file(PARTITION))
    };
    for (name, bytes) in generations.iter_mut().filter(|_| fix) {
        forge::generation(name.id, bytes, named);
        disk.write_file(*name, bytes);
    }
    let first = generations.first().map(|(name, _)| At::Generation(name.id));
    let latest = input.below(2) == 0;
    (first.filter(|_| !latest).unwrap_or(At::Latest), total)
}

fn open(disk: &SimDisk, options: &Options, at: At) -> Result<Table> {
    Table::open(disk.root(), &Env::sim(3).env, options.clone(), at, Leftovers::Keep)
}

fn hostile(disk: &SimDisk, options: &Options, at: At, calls: &mut Input<'_>, len: usize) {
    let Some(table) = clear(open(disk, options, at)) else { return };
    read(&table.newest(), len);
    for _ in 0..CALLS_MAX {
        if calls.is_empty() {
            break;
        }
        let before = table.newest().id();
        let built = match calls.u8() % 4 {
            0 => clear(table.apply([(calls.u64(), &[calls.u8(); 12][..])])).map(drop),
            1 => merge(&table, true),
            2 => merge(&table, false),
            _ => {
                let hash = calls.u64();
                let seen = &mut |slot: &[u8]| {
                    assert!(slot.len() == usize::from(SLOT_LEN), "a slot");
                    Ok(ControlFlow::Continue(()))
                };
                clear(table.newest().candidates(hash, seen));
                None
            }
        };
        if built.is_some() && table.newest().id() != before {
            table.release(before);
        }
    }
    read(&table.newest(), len);
}

fn merge(table: &Table, full: bool) -> Option<()> {
    let mut job = table.plan(full)?;
    while !clear(job.step(&mut Keys))? {}
    clear(table.commit(job.finish())).map(drop)
}

/// Walks all of it. No walk is longer than the files are.
fn read(generation: &Arc<Generation>, len: usize) {
    let mut errors = 0;
    generation.check(&mut |_| Ok(()), &mut |error| {
        errors += u32::from(clear(Err::<(), _>(error)).is_none())
    });
    for from in [0, 1 << 40, u64::MAX] {
        let mut cursor = generation.cursor_from(from);
        let (mut before, mut steps) = (0, 0);
        let failed = loop {
            match cursor.next() {
                Ok(Some((hash, slot))) => {
                    assert!(before <= hash && slot.len() == usize::from(SLOT_LEN), "hashes ascend");
                    before = hash;
                    steps += 1;
                    assert!(steps <= len + 16 * CALLS_MAX, "a walk is no longer than the files");
                }
                Ok(None) => break false,
                Err(error) => break clear(Err::<(), _>(error)).is_none(),
            }
        };
        match cursor.next() {
            Ok(shown) => assert!(!failed && shown.is_none(), "what ended goes on"),
            Err(_) => assert!(failed, "an end is no error"),
        }
    }
    std::hint::black_box((generation.listed(), generation.stats(), errors));
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |field| u32::from_le_bytes(*field))
}

fn slot(key: u32, value: u32) -> Vec<u8> {
    [key, value, value % 5].into_iter().flat_map(u32::to_le_bytes).collect()
}

struct Keys;

impl Owner for Keys {
    fn same_key(&mut self, newer: &[u8], older: &[u8]) -> Result<bool> {
        Ok(number(newer, 0) == number(older, 0))
    }

    fn judge(&mut self, slot: &[u8], oldest: bool) -> Result<Verdict> {
        let is_spent = oldest && number(slot, 4) == 0;
        Ok(if is_spent { Verdict::Drop } else { Verdict::Keep })
    }
}

/// Hashes of which some are equal, some differ only in bytes that are not kept, some are at the
/// ends.
fn hash(key: u32) -> u64 {
    match key % 64 {
        0 => 0,
        1 => u64::MAX,
        2..8 => u64::from(key >> 3) << 20,
        8..12 => (u64::from(key % 64) << 56) | u64::from(key),
        _ => vfs::Random::new(u64::from(key)).next_u64(),
    }
}

fn model(disk: &SimDisk, options: &Options, input: &mut Input<'_>) {
    let mut disk = disk.clone();
    let mut table = open(&disk, options, At::Latest).expect("an empty directory");
    let (mut model, mut value) = (Model::new(), 1);
    for _ in 0..CALLS_MAX {
        if input.is_empty() {
            break;
        }
        let before = table.newest().id();
        match input.u8() % 8 {
            0..=3 => {
                // A batch: some keys of a stretch are put or deleted.
                let (start, count) = (u32::from(input.u8()), u32::from(input.u8()));
                let (step, mask) = (u32::from(input.u8()), input.u8());
                let mut slots = Vec::new();
                for index in 0..count {
                    let key = (start + index * step) % KEYS;
                    let deleted = mask >> (index % 8) & 1 == 1;
                    value += 1;
                    let value = if deleted { 0 } else { value };
                    slots.push((hash(key), slot(key, value)));
                    if deleted {
                        model.remove(&key)
                    } else {
                        model.insert(key, value)
                    };
                }
                let slots = slots.iter().map(|(hash, slot)| (*hash, &slot[..]));
                table.apply(slots).expect("the disk is sound");
            }
            4 | 5 => drop(merge(&table, false)),
            6 => drop(merge(&table, true)),
            _ => {
                let kinds = ImageKind::kinds();
                let kind = kinds[input.below(kinds.len())];
                disk = disk.crash(kind, 1);
                table = open(&disk, options, At::Latest).expect("a crash is no damage");
                judge(&table.newest(), &model);
                continue;
            }
        }
        if table.newest().id() != before {
            table.release(before);
        }
    }
    judge(&table.newest(), &model);
}

fn judge(generation: &Arc<Generation>, model: &Model) {
    generation.check(&mut |_| Ok(()), &mut |error| panic!("{error}"));
    let mut newest: BTreeMap<u32, u32> = BTreeMap::new();
    let mut cursor = generation.cursor();
    while let Some((_, slot)) = cursor.next().expect("the table is sound") {
        newest.entry(number(slot, 0)).or_insert(number(slot, 4));
    }
    newest.retain(|_, value| *value != 0);
    assert!(newest == *model, "the cursor shows {newest:?}, not {model:?}");
    for key in (0..KEYS).step_by(7) {
        let mut found = None;
        let seen = &mut |slot: &[u8]| {
            if number(slot, 0) != key {
                return Ok(ControlFlow::Continue(()));
            }
            found = Some(number(slot, 4)).filter(|value| *value != 0);
            Ok(ControlFlow::Break(()))
        };
        generation.candidates(hash(key), seen).expect("the table is sound");
        assert!(found == model.get(&key).copied(), "key {key}: {found:?}");
    }
}
