//! The table against crossbeam-skiplist and a `BTreeMap` behind a lock: the same keys, 150-byte
//! values, one thread.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main,
};
use crossbeam_skiplist::SkipMap;
use memtable::{Entry, Memtable, Order};
use parking_lot::RwLock;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

const KEYS: usize = 300_000;
const VALUE: [u8; 150] = [7; 150];

/// What is measured of each structure.
trait Table {
    fn insert(&self, key: &[u8], seq: u64, value: &[u8]);
    /// The length of the newest value, or None.
    fn get(&self, key: &[u8]) -> Option<usize>;
    /// Touches every key and value in order; returns how many.
    fn walk(&self) -> usize;
    /// No more inserts.
    fn seal(&self) {}
}

type Versioned = (Vec<u8>, Reverse<u64>);
type Item<'a> = crossbeam_skiplist::map::Entry<'a, Versioned, Vec<u8>>;

struct Ours(Arc<Memtable>);

impl Table for Ours {
    fn insert(&self, key: &[u8], seq: u64, value: &[u8]) {
        self.0.insert_one(Entry { pointer: seq * 8 + 8, ..Entry::put(key, seq, value) });
    }

    fn get(&self, key: &[u8]) -> Option<usize> {
        self.0.get(key, u64::MAX, |entry| entry.value.len())
    }

    fn walk(&self) -> usize {
        let mut count = 0;
        let mut cursor = self.0.cursor(u64::MAX);
        cursor.seek_first();
        while cursor.valid() {
            let entry = cursor.entry();
            black_box((entry.key[0], entry.value[0]));
            count += 1;
            cursor.next();
        }
        count
    }

    fn seal(&self) {
        self.0.seal();
    }
}

#[derive(Default)]
struct Skiplist(SkipMap<Versioned, Vec<u8>>);

impl Table for Skiplist {
    fn insert(&self, key: &[u8], seq: u64, value: &[u8]) {
        self.0.insert((key.to_vec(), Reverse(seq)), value.to_vec());
    }

    fn get(&self, key: &[u8]) -> Option<usize> {
        let entry = self.0.range((key.to_vec(), Reverse(u64::MAX))..).next()?;
        (entry.key().0 == key).then(|| entry.value().len())
    }

    fn walk(&self) -> usize {
        let touch = |entry: &Item<'_>| {
            black_box((entry.key().0[0], entry.value()[0]));
        };
        self.0.iter().inspect(touch).count()
    }
}

#[derive(Default)]
struct Locked(RwLock<BTreeMap<Versioned, Vec<u8>>>);

impl Table for Locked {
    fn insert(&self, key: &[u8], seq: u64, value: &[u8]) {
        self.0.write().insert((key.to_vec(), Reverse(seq)), value.to_vec());
    }

    fn get(&self, key: &[u8]) -> Option<usize> {
        let map = self.0.read();
        let (found, value) = map.range((key.to_vec(), Reverse(u64::MAX))..).next()?;
        (found.0 == key).then_some(value.len())
    }

    fn walk(&self) -> usize {
        let touch = |(key, value): &(&Versioned, &Vec<u8>)| {
            black_box((key.0[0], value[0]));
        };
        self.0.read().iter().inspect(touch).count()
    }
}

type MakeTable = fn() -> Box<dyn Table>;

const TABLES: [(&str, MakeTable); 4] = [
    ("memtable", || Box::new(Ours(Arc::new(Memtable::new(Order::Ordered))))),
    ("memtable unordered", || Box::new(Ours(Arc::new(Memtable::new(Order::Unordered))))),
    ("crossbeam-skiplist", || Box::<Skiplist>::default()),
    ("BTreeMap in RwLock", || Box::<Locked>::default()),
];

fn keys(set: &str) -> Vec<Vec<u8>> {
    const WORDS: [&str; 8] =
        ["index", "blog", "products", "news", "articles", "user", "images", "download"];
    let rng = &mut SmallRng::seed_from_u64(42);
    let make = |_| match set {
        "random" => rng.random::<[u8; 24]>().to_vec(),
        "prefix" => {
            let (tenant, table) = (rng.random_range(0..50), rng.random_range(0..20));
            let id: u64 = rng.random();
            format!("tenant-{tenant:012}/database/collection-{table:05}/{id:016x}").into_bytes()
        }
        _ => {
            let host = rng.random_range(0..1000) * rng.random_range(0..1000) / 1000;
            let mut url = format!("https://www.site-{host:03}.example.com");
            for _ in 0..rng.random_range(2..5) {
                url.push('/');
                url.push_str(WORDS[rng.random_range(0..WORDS.len())]);
            }
            format!("{url}/item-{}.html", rng.random_range(0..100_000_000)).into_bytes()
        }
    };
    (0..KEYS).map(make).collect()
}

fn fill(table: &dyn Table, keys: &[Vec<u8>]) {
    for (seq, key) in keys.iter().enumerate() {
        table.insert(key, seq as u64, &VALUE);
    }
}

fn group<'a>(criterion: &'a mut Criterion, name: String) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).throughput(Throughput::Elements(KEYS as u64));
    group
}

fn insert(criterion: &mut Criterion) {
    for set in ["random", "prefix", "urls"] {
        let keys = keys(set);
        let mut group = group(criterion, format!("insert {set}"));
        for (name, make) in TABLES {
            group.bench_function(name, |bencher| {
                let run = |table: Box<dyn Table>| {
                    fill(&*table, &keys);
                    table
                };
                bencher.iter_batched(make, run, BatchSize::PerIteration);
            });
        }
    }
}

fn get(criterion: &mut Criterion) {
    for set in ["random", "prefix", "urls"] {
        let mut keys = keys(set);
        let mut group = group(criterion, format!("get {set}"));
        for (name, make) in TABLES {
            let table = make();
            fill(&*table, &keys);
            table.seal();
            // Asked in an order of its own, from one place, so that the asking costs little.
            keys.shuffle(&mut SmallRng::seed_from_u64(43));
            let asked: Vec<u8> = keys.concat();
            let ends: Vec<usize> = keys
                .iter()
                .scan(0, |end, key| {
                    *end += key.len();
                    Some(*end)
                })
                .collect();
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let mut start = 0;
                    let hits = ends.iter().filter(|end| {
                        let key = &asked[start..**end];
                        start = **end;
                        table.get(key).is_some()
                    });
                    assert_eq!(hits.count(), KEYS);
                });
            });
        }
    }
}

fn walk(criterion: &mut Criterion) {
    for set in ["random", "prefix", "urls"] {
        let keys = keys(set);
        let mut group = group(criterion, format!("walk {set}"));
        for (name, make) in TABLES {
            if name == "memtable unordered" {
                continue;
            }
            let table = make();
            fill(&*table, &keys);
            if name == "memtable" {
                group.bench_function("memtable, open", |bencher| bencher.iter(|| table.walk()));
            }
            table.seal();
            group.bench_function(name, |bencher| {
                bencher.iter(|| assert!(table.walk() + 100 > KEYS));
            });
        }
    }
}

criterion_group!(benches, insert, get, walk);
criterion_main!(benches);
