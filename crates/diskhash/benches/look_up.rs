//! Look-ups, beside two other ways to find a fingerprint in a page, and what it takes to build a run.
//!
//! `ENTRIES=16000000 cargo bench -p diskhash` sets the length of the single file (4 M by default).
//! *scan* compares every fingerprint of the home page, *binary* searches them by halves; both over
//! the same arrays in memory, without checksums, overflow or a table around them.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput};
use diskhash::{At, Generation, Leftovers, Options, Table};
use vfs::{Env, Random, StdFs};

const SLOT_LEN: usize = 12;
const RUN_SLOTS: u64 = 300_000;

fn hash(key: u64) -> u64 {
    Random::new(key).next_u64()
}

fn slot(key: u64) -> [u8; SLOT_LEN] {
    let mut slot = [0; SLOT_LEN];
    slot[..8].copy_from_slice(&key.to_le_bytes());
    slot
}

fn open(path: &std::path::Path) -> Table {
    let fs = StdFs::open(path).expect("it opens");
    let options = Options::new(u16::try_from(SLOT_LEN).expect("short"));
    Table::open(fs, &Env::system(), options, At::Latest, Leftovers::Keep).expect("it opens")
}

fn fill(table: &Table, keys: std::ops::Range<u64>) -> Arc<Generation> {
    let slots: Vec<(u64, [u8; SLOT_LEN])> = keys.map(|key| (hash(key), slot(key))).collect();
    table.apply(slots.iter().map(|(hash, slot)| (*hash, &slot[..]))).expect("applied")
}

fn find(generation: &Generation, key: u64) -> bool {
    let (wanted, mut found) = (slot(key), false);
    generation
        .candidates(hash(key), &mut |slot| {
            found = slot == wanted;
            Ok(if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
        .expect("readable");
    found
}

/// Keys that were never added start here.
const ABSENT: u64 = 1 << 40;

fn look_ups(c: &mut Criterion, group: &str, generation: &Generation, keys: u64) {
    let mut random = Random::new(1);
    let mut group = c.benchmark_group(group);
    group.throughput(Throughput::Elements(1));
    group.bench_function("hit", |b| {
        b.iter(|| assert!(find(black_box(generation), random.below(keys))));
    });
    group.bench_function("miss", |b| {
        b.iter(|| assert!(!find(black_box(generation), ABSENT + random.below(keys))));
    });
    group.finish();
}

/// Pages of fingerprints in memory, each with its slots behind them.
struct Pages {
    pages: Vec<(Vec<u32>, Vec<u64>)>,
}

impl Pages {
    fn new(keys: u64) -> Pages {
        let count = usize::try_from(keys / 216 + 1).expect("fits into memory");
        let mut pages = vec![(Vec::new(), Vec::new()); count];
        let mut all: Vec<(u64, u64)> = (0..keys).map(|key| (hash(key), key)).collect();
        all.sort_unstable();
        for (hash, key) in all {
            let (fingerprints, slots) = &mut pages[page_of(hash, count)];
            fingerprints.push(fingerprint_of(hash, count));
            slots.push(key);
        }
        Pages { pages }
    }

    fn find(&self, key: u64, search: impl Fn(&[u32], u32) -> usize) -> bool {
        let hash = hash(key);
        let (fingerprints, slots) = &self.pages[page_of(hash, self.pages.len())];
        let wanted = fingerprint_of(hash, self.pages.len());
        let mut at = search(fingerprints, wanted);
        while fingerprints.get(at) == Some(&wanted) {
            if slots[at] == key {
                return true;
            }
            at += 1;
        }
        false
    }
}

fn page_of(hash: u64, count: usize) -> usize {
    let page = (u128::from(hash) * count as u128) >> 64;
    usize::try_from(page).expect("below count")
}

/// Where in its page the hash stands, in 2^-32.
fn fingerprint_of(hash: u64, count: usize) -> u32 {
    u32::try_from(hash.wrapping_mul(count as u64) >> 32).expect("32 bits are left")
}

fn scan(fingerprints: &[u32], wanted: u32) -> usize {
    // Every one is looked at: without an order nothing tells where to stop.
    fingerprints.iter().map(|found| usize::from(*found < wanted)).sum()
}

fn binary(fingerprints: &[u32], wanted: u32) -> usize {
    fingerprints.partition_point(|found| *found < wanted)
}

fn others(c: &mut Criterion, keys: u64) {
    let pages = Pages::new(keys);
    for (name, search) in
        [("scan", scan as fn(&[u32], u32) -> usize), ("binary", binary as fn(&[u32], u32) -> usize)]
    {
        let mut random = Random::new(1);
        let mut group = c.benchmark_group(format!("one_file_{name}"));
        group.throughput(Throughput::Elements(1));
        group.bench_function("hit", |b| {
            b.iter(|| assert!(black_box(&pages).find(random.below(keys), search)));
        });
        group.bench_function("miss", |b| {
            b.iter(|| assert!(!black_box(&pages).find(ABSENT + random.below(keys), search)));
        });
        group.finish();
    }
}

fn builds(c: &mut Criterion) {
    let slots: Vec<(u64, [u8; SLOT_LEN])> =
        (0..RUN_SLOTS).map(|key| (hash(key), slot(key))).collect();
    let dir = tempfile::tempdir().expect("a scratch directory");
    let table = open(dir.path());
    let mut group = c.benchmark_group("build");
    group.throughput(Throughput::Elements(RUN_SLOTS)).sample_size(20);
    group.bench_function("run_of_300k", |b| {
        b.iter_batched(
            || (),
            |()| {
                let mut builder = table.builder();
                for (hash, slot) in &slots {
                    builder.add(*hash, slot);
                }
                builder.finish().expect("built")
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn main() {
    let mut c = Criterion::default().configure_from_args().sample_size(20);
    let entries = std::env::var("ENTRIES")
        .ok()
        .map_or(4_000_000, |text| text.parse().expect("ENTRIES is a number"));
    builds(&mut c);
    let dir = tempfile::tempdir().expect("a scratch directory");
    let table = open(dir.path());
    for run in 0..6 {
        fill(&table, run * RUN_SLOTS..(run + 1) * RUN_SLOTS);
    }
    look_ups(&mut c, "six_runs", &table.newest(), 6 * RUN_SLOTS);
    let dir = tempfile::tempdir().expect("a scratch directory");
    let table = open(dir.path());
    let generation = fill(&table, 0..entries);
    look_ups(&mut c, "one_file", &generation, entries);
    others(&mut c, entries);
    c.final_summary();
}
