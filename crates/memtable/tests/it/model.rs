//! The table against a `BTreeMap` of every version.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use memtable::{Cursor, Entry, Kind, Memtable, Order};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// An entry that owns its bytes.
#[derive(Clone, PartialEq, Debug)]
struct Owned {
    key: Vec<u8>,
    seq: u64,
    kind: Kind,
    expiry: u64,
    pointer: u64,
    value: Vec<u8>,
}

impl Owned {
    fn of(entry: Entry<'_>) -> Owned {
        let Entry { key, seq, kind, expiry, pointer, value } = entry;
        Owned { key: key.to_vec(), seq, kind, expiry, pointer, value: value.to_vec() }
    }

    fn borrow(&self) -> Entry<'_> {
        let Owned { key, seq, kind, expiry, pointer, value } = self;
        Entry { key, seq: *seq, kind: *kind, expiry: *expiry, pointer: *pointer, value }
    }
}

#[derive(Default)]
struct Model(BTreeMap<(Vec<u8>, Reverse<u64>), Owned>);

impl Model {
    fn insert(&mut self, entry: &Owned) {
        self.0.insert((entry.key.clone(), Reverse(entry.seq)), entry.clone());
    }

    fn get(&self, key: &[u8], seq: u64) -> Option<&Owned> {
        let (found, entry) = self.0.range((key.to_vec(), Reverse(seq))..).next()?;
        (found.0 == key).then_some(entry)
    }

    fn keys(&self) -> Vec<&Vec<u8>> {
        let mut keys: Vec<&Vec<u8>> = self.0.keys().map(|(key, _)| key).collect();
        keys.dedup();
        keys
    }

    /// What a cursor at `seq` shows, in order.
    fn at(&self, seq: u64) -> Vec<Owned> {
        self.keys().into_iter().filter_map(|key| self.get(key, seq)).cloned().collect()
    }
}

fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("SEED is a number")],
        Err(_) => {
            let first: u64 = rand::random();
            (0..count).map(|index| first.wrapping_add(index)).collect()
        }
    }
}

/// Kinds of keys that strain different parts: ties, prefixes, zeros, words, long keys.
fn random_key(rng: &mut SmallRng, shape: u32) -> Vec<u8> {
    match shape {
        0 => {
            let len = rng.random_range(1..6);
            (0..len).map(|_| [0, 1, b'a', 255][rng.random_range(0..4)]).collect()
        }
        1 => format!(
            "tenant-0000000017/table-{:02}/{:05}",
            rng.random_range(0..4),
            rng.random_range(0..400)
        )
        .into_bytes(),
        2 => rng.random::<[u8; 2]>().to_vec(),
        3 => {
            let mut key = b"https://www.".to_vec();
            for _ in 0..rng.random_range(1..6) {
                key.extend_from_slice(
                    [b"blog/".as_slice(), b"index/", b"x/"][rng.random_range(0..3)],
                );
            }
            key
        }
        _ => vec![b'z'; rng.random_range(1..300)],
    }
}

fn random_entry(rng: &mut SmallRng, shape: u32, seq: u64) -> Owned {
    let key = random_key(rng, shape);
    let expiry = if rng.random_range(0..4) == 0 { rng.random() } else { 0 };
    let pointer = if rng.random_range(0..3) == 0 { rng.random() } else { 0 };
    let kind =
        [Kind::Put, Kind::Put, Kind::Put, Kind::Delete, Kind::Pointer][rng.random_range(0..5)];
    let value_len = match rng.random_range(0..100) {
        0 => rng.random_range(16_000..40_000),
        1..20 => 0,
        _ => rng.random_range(1..200),
    };
    let value_len = if kind == Kind::Put { value_len } else { 0 };
    Owned { key, seq, kind, expiry, pointer, value: vec![rng.random(); value_len] }
}

/// A table, its model, and the last sequence used.
struct Pair {
    table: Arc<Memtable>,
    model: Model,
    seq: u64,
    shape: u32,
}

impl Pair {
    fn new(order: Order, shape: u32) -> Pair {
        let table = Arc::new(Memtable::new(order));
        Pair { table, model: Model::default(), seq: 0, shape }
    }

    fn insert_some(&mut self, rng: &mut SmallRng) {
        let mut batch = Vec::new();
        self.seq += rng.random_range(1..4);
        for _ in 0..rng.random_range(1..6) {
            // One sequence for a whole batch or one per entry: owners do either.
            self.seq += rng.random_range(0..2);
            batch.push(random_entry(rng, self.shape, self.seq));
        }
        for entry in &batch {
            self.model.insert(entry);
        }
        if let [entry] = &batch[..] {
            self.table.insert_one(entry.borrow());
        } else {
            self.table.insert(&batch.iter().map(Owned::borrow).collect::<Vec<_>>());
        }
    }

    fn check_point(&self, rng: &mut SmallRng) {
        let (key, seq) = (random_key(rng, self.shape), rng.random_range(0..self.seq + 2));
        let found = self.table.get(&key, seq, Owned::of);
        assert_eq!(found.as_ref(), self.model.get(&key, seq), "{key:?} at {seq}");
        let newest = self.model.get(&key, u64::MAX).map(|entry| entry.seq);
        assert_eq!(self.table.newest_seq(&key), newest);
    }

    fn check_counts(&self) {
        let versions = &self.model.0;
        assert_eq!(self.table.entries(), versions.len() as u64);
        assert_eq!(self.table.keys(), self.model.keys().len() as u64);
        assert_eq!(self.table.min_seq(), versions.values().map(|entry| entry.seq).min());
        assert_eq!(self.table.max_seq(), versions.values().map(|entry| entry.seq).max());
    }

    fn check_scan(&self, seq: u64) {
        let mut found = Vec::new();
        let mut scan = self.table.scan(seq);
        while let Some(entry) = scan.next() {
            found.push(Owned::of(entry));
        }
        assert_eq!(scan.next(), None);
        found.sort_by(|left, right| left.key.cmp(&right.key));
        assert_eq!(found, self.model.at(seq));
    }

    fn check_newest(&self) {
        let mut found = Vec::new();
        self.table.for_each_newest(|entry| found.push(Owned::of(entry)));
        found.sort_by(|left, right| left.key.cmp(&right.key));
        assert_eq!(found, self.model.at(u64::MAX));
    }

    fn check_walk(&self, seq: u64) {
        let want = self.model.at(seq);
        let mut found = Vec::new();
        let mut cursor = self.table.cursor(seq);
        cursor.seek_first();
        while cursor.valid() {
            found.push(Owned::of(cursor.entry()));
            cursor.next();
        }
        assert_eq!(found, want, "forward at {seq}");
        found.clear();
        cursor.seek_last();
        while cursor.valid() {
            found.push(Owned::of(cursor.entry()));
            cursor.prev();
        }
        found.reverse();
        assert_eq!(found, want, "backward at {seq}");
    }
}

/// A cursor and where it must be in what it must show, whatever is inserted meanwhile.
struct Walk {
    cursor: Cursor,
    want: Vec<Owned>,
    at: Option<usize>,
}

impl Walk {
    fn new(pair: &Pair, rng: &mut SmallRng) -> Walk {
        let seq = if rng.random() { pair.seq } else { rng.random_range(0..pair.seq + 1) };
        Walk { cursor: pair.table.cursor(seq), want: pair.model.at(seq), at: None }
    }

    fn step(&mut self, rng: &mut SmallRng, shape: u32) {
        match (rng.random_range(0..20), self.at) {
            (0, _) => {
                self.cursor.seek_first();
                self.at = Some(0);
            }
            (1, _) => {
                self.cursor.seek_last();
                self.at = self.want.len().checked_sub(1);
            }
            (2..5, _) => {
                let key = random_key(rng, shape);
                self.cursor.seek(&key);
                self.at = Some(self.want.partition_point(|entry| entry.key < key));
            }
            (5..8, _) | (_, None) => {
                let key = random_key(rng, shape);
                self.cursor.seek_for_prev(&key);
                self.at = self.want.partition_point(|entry| entry.key <= key).checked_sub(1);
            }
            (8..14, Some(at)) => {
                // Runs of one direction, long enough to leave windows and leaves behind.
                let count = rng.random_range(1..150).min(self.want.len() - at);
                (0..count).for_each(|_| self.cursor.next());
                self.at = Some(at + count);
            }
            (_, Some(at)) => {
                let count = rng.random_range(1..150).min(at + 1);
                (0..count).for_each(|_| self.cursor.prev());
                self.at = (at + 1 - count).checked_sub(1);
            }
        }
        self.at = self.at.filter(|at| *at < self.want.len());
        let found = self.cursor.valid().then(|| Owned::of(self.cursor.entry()));
        assert_eq!(found.as_ref(), self.at.map(|at| &self.want[at]));
    }
}

#[test]
fn model_agrees_at_every_sequence_on_look_ups_walks_and_scans() {
    for seed in seeds(10) {
        println!("SEED={seed}");
        let rng = &mut SmallRng::seed_from_u64(seed);
        let order = if rng.random_range(0..3) == 0 { Order::Unordered } else { Order::Ordered };
        let mut pair = Pair::new(order, rng.random_range(0..5));
        for _ in 0..rng.random_range(1..500) {
            pair.insert_some(rng);
            pair.check_point(rng);
        }
        for _ in 0..2 {
            pair.check_counts();
            pair.check_newest();
            for _ in 0..200 {
                pair.check_point(rng);
            }
            for seq in [0, pair.seq / 3, pair.seq / 2, pair.seq - 1, pair.seq, u64::MAX] {
                pair.check_scan(seq);
                if order == Order::Ordered {
                    pair.check_walk(seq);
                }
            }
            pair.table.seal();
        }
    }
}

#[test]
fn every_snapshot_of_a_small_table_agrees() {
    for seed in seeds(3) {
        println!("SEED={seed}");
        let rng = &mut SmallRng::seed_from_u64(seed);
        let mut pair = Pair::new(Order::Ordered, 0);
        for _ in 0..40 {
            pair.insert_some(rng);
        }
        for seq in 0..=pair.seq {
            for key in pair.model.keys() {
                let found = pair.table.get(key, seq, Owned::of);
                assert_eq!(found.as_ref(), pair.model.get(key, seq), "{key:?} at {seq}");
            }
            pair.check_walk(seq);
            pair.check_scan(seq);
        }
    }
}

#[test]
fn row_112_cursors_agree_under_random_moves_while_the_table_grows_and_is_sealed() {
    for seed in seeds(10) {
        println!("SEED={seed}");
        let rng = &mut SmallRng::seed_from_u64(seed);
        let mut pair = Pair::new(Order::Ordered, rng.random_range(0..5));
        for _ in 0..rng.random_range(1..400) {
            pair.insert_some(rng);
        }
        let mut walks: Vec<Walk> = (0..3).map(|_| Walk::new(&pair, rng)).collect();
        for round in 0..400 {
            if round == 300 {
                pair.table.seal();
            } else if round < 300 {
                pair.insert_some(rng);
            }
            let index = rng.random_range(0..walks.len());
            if rng.random_range(0..40) == 0 {
                walks[index] = Walk::new(&pair, rng);
            }
            for _ in 0..3 {
                walks[index].step(rng, pair.shape);
            }
        }
    }
}

#[test]
fn a_cursor_at_an_old_sequence_passes_over_many_newer_keys() {
    let table = Arc::new(Memtable::new(Order::Ordered));
    let key = |number: u64| (number * 7_919 % 20_000).to_le_bytes().map(|byte| byte ^ 0x55);
    table.insert(&[Entry::put(&[0; 3], 1, b"first"), Entry::put(&[0xff; 9], 1, b"last")]);
    for number in 0..20_000 {
        table.insert_one(Entry::put(&key(number), number + 2, b""));
    }
    for _ in 0..2 {
        let mut cursor = table.cursor(1);
        cursor.seek_first();
        assert_eq!(cursor.entry().value, b"first");
        cursor.next();
        assert_eq!(cursor.entry().value, b"last");
        cursor.prev();
        assert_eq!(cursor.entry().value, b"first");
        cursor.seek(&[0, 0, 1]);
        assert_eq!(cursor.entry().value, b"last");
        let mut scan = table.scan(1);
        assert_eq!(scan.next().map(|entry| entry.value), Some(b"first".as_slice()));
        assert_eq!(scan.next().map(|entry| entry.value), Some(b"last".as_slice()));
        assert_eq!(scan.next(), None);
        table.seal();
    }
}

#[test]
fn a_cursor_outlives_every_other_owner_of_its_table() {
    let table = Arc::new(Memtable::new(Order::Ordered));
    table.insert(&[Entry::put(b"a", 1, b"1"), Entry::put(b"b", 1, b"2")]);
    let mut cursor = table.cursor(1);
    drop(table);
    cursor.seek_first();
    cursor.next();
    assert_eq!(cursor.entry().value, b"2");
}
