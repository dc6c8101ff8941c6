//! Small transactions interleaved in every way, against all serial orders.

use std::collections::BTreeMap;

use engine::{ErrorKind, Keyspace, KeyspaceOptions, Transaction};
use vfs::Random;

use crate::atomic::kinds;
use crate::world::{TestResult, World, assert_sound, key, tiny};

/// What a transaction of a random program does next.
#[derive(Clone, Debug)]
enum Do {
    Get(u64),
    /// Keys from, up to; so many of them, from the front or the back.
    Scan(u64, u64, usize, bool),
    /// All odd keys.
    All,
    /// Writes the sum of what was read so far plus one's own number.
    Put(u64),
    Delete(u64),
}

#[derive(Clone, Debug)]
struct Program {
    number: u64,
    steps: Vec<Do>,
}

/// Anything that can run a program's steps.
trait Store {
    fn get(&self, key: u64) -> Option<u64>;
    fn scan(&self, low: u64, high: u64, count: usize, forward: bool) -> Vec<(u64, u64)>;
    fn all(&self) -> Vec<(u64, u64)>;
    fn put(&mut self, key: u64, value: u64);
    fn delete(&mut self, key: u64);
}

/// Does one step; what was read goes to `seen`.
fn run_step(store: &mut dyn Store, number: u64, step: &Do, seen: &mut Vec<u64>) {
    match *step {
        Do::Get(key) => seen.push(store.get(key).map_or(0, |value| value + 1)),
        Do::Scan(low, high, count, forward) => {
            for (key, value) in store.scan(low, high, count, forward) {
                seen.extend([key, value]);
            }
            seen.push(u64::MAX);
        }
        Do::All => {
            seen.extend(store.all().into_iter().flat_map(|(key, value)| [key, value]));
            seen.push(u64::MAX);
        }
        Do::Put(key) => {
            let sum = seen
                .iter()
                .fold(number, |sum, seen| sum.wrapping_mul(31).wrapping_add(*seen) % 1_000_003);
            store.put(key, sum);
        }
        Do::Delete(key) => store.delete(key),
    }
}

#[derive(Clone, PartialEq, Debug, Default)]
struct Plain(BTreeMap<u64, u64>);

impl Store for Plain {
    fn get(&self, key: u64) -> Option<u64> {
        self.0.get(&key).copied()
    }

    fn scan(&self, low: u64, high: u64, count: usize, forward: bool) -> Vec<(u64, u64)> {
        let range = self.0.range(low..high).map(|(key, value)| (*key, *value));
        match forward {
            true => range.take(count).collect(),
            false => range.rev().take(count).collect(),
        }
    }

    fn all(&self) -> Vec<(u64, u64)> {
        let odd = self.0.iter().filter(|(key, _)| **key % 2 == 1);
        odd.map(|(key, value)| (*key, *value)).collect()
    }

    fn put(&mut self, key: u64, value: u64) {
        self.0.insert(key, value);
    }

    fn delete(&mut self, key: u64) {
        self.0.remove(&key);
    }
}

/// A transaction over two keyspaces: even keys in one, odd keys in the other; scans
/// of ranges in the first, of all in the other.
struct Real {
    txn: Transaction,
    spaces: [Keyspace; 2],
}

impl Real {
    fn space(&self, key: u64) -> &Keyspace {
        &self.spaces[usize::from(key % 2 == 1)]
    }
}

fn decode(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.get(..8).expect("eight bytes").try_into().expect("eight bytes"))
}

fn decode_entry(entry: engine::Result<(engine::Key, engine::Value)>) -> (u64, u64) {
    let (key, value) = entry.expect("a healthy disk");
    let index = String::from_utf8_lossy(&key[3..]).parse().expect("a number");
    (index, decode(&value))
}

impl Store for Real {
    fn get(&self, index: u64) -> Option<u64> {
        let value = self.txn.get(self.space(index), key(index)).expect("a healthy disk");
        value.map(|value| decode(&value))
    }

    fn scan(&self, low: u64, high: u64, count: usize, forward: bool) -> Vec<(u64, u64)> {
        let range = self.txn.range(&self.spaces[0], key(low)..key(high));
        match forward {
            true => range.map(decode_entry).take(count).collect(),
            false => range.rev().map(decode_entry).take(count).collect(),
        }
    }

    fn all(&self) -> Vec<(u64, u64)> {
        let mut all: Vec<_> = self.txn.iter(&self.spaces[1]).map(decode_entry).collect();
        all.sort_unstable();
        all
    }

    fn put(&mut self, index: u64, value: u64) {
        let space = self.space(index).clone();
        // Some values are long enough to live in the value log.
        let mut bytes = value.to_le_bytes().to_vec();
        bytes.resize(if value.is_multiple_of(3) { 100 } else { 8 }, 0);
        self.txn.put(&space, key(index), bytes).expect("within limits");
    }

    fn delete(&mut self, index: u64) {
        let space = self.space(index).clone();
        self.txn.delete(&space, key(index)).expect("within limits");
    }
}

fn random_program(number: u64, random: &mut Random) -> Program {
    let step = |random: &mut Random| {
        let key = random.next_u64() % 6;
        match random.index(8) {
            0 | 1 => Do::Get(key),
            2 => {
                // Only the even keys are in the keyspace that is scanned.
                let low = random.next_u64() % 6;
                Do::Scan(
                    low,
                    low + 1 + random.next_u64() % 6,
                    random.index(4),
                    random.index(2) == 0,
                )
            }
            3 => Do::Delete(key),
            4 => Do::All,
            _ => Do::Put(key),
        }
    };
    let len = 1 + random.index(4);
    Program { number, steps: (0..len).map(|_| step(random)).collect() }
}

/// Every order of the committed ones, until one explains what they read and left.
fn is_serial(start: &Plain, done: &[(Program, Vec<u64>)], end: &Plain) -> bool {
    if done.is_empty() {
        return start == end;
    }
    (0..done.len()).any(|first| {
        let mut rest = done.to_vec();
        let (program, seen) = rest.remove(first);
        let (mut state, mut read) = (Halves(start.clone()), Vec::new());
        for step in &program.steps {
            run_step(&mut state, program.number, step, &mut read);
        }
        read == seen && is_serial(&state.0, &rest, end)
    })
}

/// A plain store whose scans see the even keys only, as [`Real`]'s.
struct Halves(Plain);

impl Store for Halves {
    fn get(&self, key: u64) -> Option<u64> {
        self.0.get(key)
    }

    fn scan(&self, low: u64, high: u64, count: usize, forward: bool) -> Vec<(u64, u64)> {
        let mut all = self.0.scan(low, high, usize::MAX, forward);
        all.retain(|(key, _)| key % 2 == 0);
        all.truncate(count);
        all
    }

    fn all(&self) -> Vec<(u64, u64)> {
        self.0.all()
    }

    fn put(&mut self, key: u64, value: u64) {
        self.0.put(key, value);
    }

    fn delete(&mut self, key: u64) {
        self.0.delete(key);
    }
}

/// Random programs of three transactions, interleaved at random on one thread with flushes and
/// compactions: what commits must have a serial order that explains every read and what is left.
#[test]
fn row_r16_every_interleaving_has_a_serial_order() -> TestResult {
    kinds().into_iter().try_for_each(interleave)
}

fn interleave(odd: KeyspaceOptions) -> TestResult {
    let seed = vfs::testing::seed();
    let mut random = Random::new(seed);
    let world = World::new(seed);
    let db = world.open(&tiny())?;
    let spaces = [db.default_keyspace().clone(), db.keyspace("odd", odd)?];
    let (mut committed, mut lost) = (0, 0);
    let mut state = Plain::default();
    for round in 0..3000_u64 {
        let mut running: Vec<(Program, Real, usize, Vec<u64>)> = Vec::new();
        for number in 0..3 {
            let program = random_program(round * 3 + number, &mut random);
            running.push((
                program,
                Real { txn: db.transaction(), spaces: spaces.clone() },
                0,
                vec![],
            ));
        }
        let mut done = Vec::new();
        while !running.is_empty() {
            let index = random.index(running.len());
            let (program, real, at, seen) = &mut running[index];
            if let Some(step) = program.steps.get(*at) {
                *at += 1;
                run_step(real, program.number, step, seen);
            } else {
                let (program, real, _, seen) = running.remove(index);
                match real.txn.commit() {
                    Ok(()) => done.push((program, seen)),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                        lost += 1;
                    }
                }
            }
            match random.index(200) {
                0 => db.flush()?,
                1 => db.compact()?,
                _ => {}
            }
        }
        committed += done.len();
        let mut end = Plain::default();
        for entry in spaces[0].iter().chain(spaces[1].iter()) {
            let (key, value) = entry?;
            let index = String::from_utf8_lossy(&key[3..]).parse()?;
            end.put(index, decode(&value));
        }
        assert!(
            is_serial(&state, &done, &end),
            "round {round}: from {state:?} by {done:#?} to {end:?}"
        );
        state = end;
    }
    assert!(committed > 4 * lost && lost > 500, "{committed} committed, {lost} lost");
    assert_sound(&db)?;
    Ok(())
}
