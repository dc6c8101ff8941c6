//! Look-ups in a hash index of 2 million slots, in page cache: `diskhash` beside parity-db.
//!
//! `cargo bench -p benches`. `ENTRIES=8000000` for another size.
//!
//! Both answer "which eight bytes stand under this hash?": `diskhash` from its own directory,
//! parity-db from a column of 32-byte keys with eight-byte values whose keys are hashes already
//! (`uniform`), so that it does not hash again. parity-db's index gives an address of its value
//! table, which it reads and compares, so its figure holds that access too; `diskhash` leaves that
//! to its owner. The full-page scan of the same pages is in `crates/diskhash/benches`.

use std::hint::black_box;
use std::ops::ControlFlow;

use criterion::{Criterion, Throughput};
use diskhash::{At, Leftovers, Table};
use vfs::{Env, Random, StdFs};

/// Slots that one apply brings, as a flush of the engine does.
const APPLY: u64 = 300_000;

fn hash(number: u64) -> u64 {
    Random::new(number).next_u64()
}

/// A key whose first bytes are the hash.
fn key(number: u64) -> [u8; 32] {
    let mut key = [0; 32];
    for (index, byte) in key.chunks_exact_mut(8).enumerate() {
        byte.copy_from_slice(&hash(number ^ (index as u64) << 56).to_le_bytes());
    }
    key
}

fn table(dir: &std::path::Path, entries: u64, compact: bool) -> Table {
    let fs = StdFs::create(dir).expect("a scratch directory");
    let options = diskhash::Options::new(8);
    let table = Table::open(fs, &Env::system(), options, At::Latest, Leftovers::Keep);
    let table = table.expect("a new table");
    let mut start = 0;
    while start < entries {
        let end = entries.min(start + APPLY);
        let mut builder = table.builder();
        for number in start..end {
            builder.add(hash(number), &number.to_le_bytes());
        }
        let before = table.newest().id();
        if let Some(built) = builder.finish().expect("written") {
            table.commit(built).expect("committed");
            table.release(before);
        }
        merge(&table, false);
        start = end;
    }
    if compact {
        merge(&table, true);
    }
    table
}

fn merge(table: &Table, full: bool) {
    while let Some(mut job) = table.plan(full) {
        while !job.step(&mut Distinct).expect("merged") {}
        let before = table.newest().id();
        table.commit(job.finish()).expect("committed");
        table.release(before);
    }
}

/// No key was put twice.
struct Distinct;

impl diskhash::Owner for Distinct {
    fn same_key(&mut self, newer: &[u8], older: &[u8]) -> vfs::Result<bool> {
        Ok(newer == older)
    }

    fn judge(&mut self, _: &[u8], _: bool) -> vfs::Result<diskhash::Verdict> {
        Ok(diskhash::Verdict::Keep)
    }
}

fn main() {
    let mut c = Criterion::default().configure_from_args();
    let entries =
        std::env::var("ENTRIES").map_or(2_000_000, |text| text.parse().expect("a number"));
    let dir = tempfile::tempdir().expect("a scratch directory");
    let mut group = c.benchmark_group("hash_index");
    group.throughput(Throughput::Elements(1));

    for (name, compact) in [("with runs", false), ("compacted", true)] {
        let table = table(&dir.path().join(name), entries, compact);
        let generation = table.newest();
        let look_up = |hash: u64| {
            let mut found = 0;
            let visit = &mut |slot: &[u8]| {
                found = u64::from_le_bytes(slot.try_into().expect("eight bytes")) + 1;
                Ok(ControlFlow::Break(()))
            };
            generation.candidates(hash, visit).expect("readable");
            found
        };
        let mut random = Random::new(1);
        group.bench_function(format!("diskhash {name}, hit"), |b| {
            b.iter(|| assert!(black_box(look_up(hash(random.below(entries)))) > 0));
        });
        group.bench_function(format!("diskhash {name}, miss"), |b| {
            b.iter(|| black_box(look_up(hash(entries + random.below(entries)))));
        });
    }

    let path = dir.path().join("parity");
    let mut options = parity_db::Options::with_columns(&path, 1);
    options.columns[0].uniform = true;
    let db = parity_db::Db::open_or_create(&options).expect("a new database");
    for start in (0..entries).step_by(10_000) {
        let numbers = start..entries.min(start + 10_000);
        let changes = numbers.map(|n| (0, key(n).to_vec(), Some(n.to_le_bytes().to_vec())));
        db.commit(changes).expect("committed");
    }
    // Reopened, so that everything went from its queue and log into the index.
    drop(db);
    let db = parity_db::Db::open(&options).expect("the database");
    let mut random = Random::new(1);
    group.bench_function("parity-db, hit", |b| {
        b.iter(|| {
            let key = key(random.below(entries));
            black_box(db.get(0, &key).expect("readable")).expect("it is there")
        });
    });
    group.bench_function("parity-db, miss", |b| {
        b.iter(|| {
            let key = key(entries + random.below(entries));
            assert!(black_box(db.get(0, &key).expect("readable")).is_none());
        });
    });
    group.finish();
    c.final_summary();
}
