//! Point gets, scans and builds on one table of 2 million entries of 174 bytes, in page cache.
//!
//! `cargo bench -p sstable`. `ENTRIES=8000000 VALUE_LEN=16` for another shape.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput};
use sstable::{
    Builder, BuilderOptions, Built, Cursor, Entry, FileId, Merge, ReadMode, Table, Value,
};
use vfs::{Fs, Kind, Name, Random};

const KIND: Kind = Kind::new("tbl");

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// 24 bytes, spread evenly, in the order of `n`.
fn key(n: u64) -> [u8; 24] {
    let mut key = [b'0'; 24];
    let text = format!("key:{n:012}/{:07}", n.wrapping_mul(7919) % 10_000_000);
    key.copy_from_slice(text.as_bytes());
    key
}

fn build(fs: &Arc<dyn Fs>, id: u64, keys: &[[u8; 24]], value: &[u8]) -> Built {
    let file = fs.create_new(Name::new(KIND, id)).expect("created");
    let options =
        BuilderOptions { file_id: FileId(id), owner: 1, salt: id, bloom_bits_per_key: 10 };
    let mut builder = Builder::new(file, options).expect("options are legal");
    for key in keys {
        builder.add(Entry { key, value: Value::Inline(value), expiry: 0 }).expect("keys ascend");
    }
    builder.finish(b"").expect("built")
}

fn gets(c: &mut Criterion, table: &Arc<Table>, keys: &[[u8; 24]], label: &str) {
    let mut random = Random::new(1);
    let mut group = c.benchmark_group(label);
    group.throughput(Throughput::Elements(1));
    group.bench_function("get_hit", |b| {
        b.iter(|| {
            let key = &keys[random.index(keys.len() / 2) * 2];
            black_box(table.get(key).expect("readable")).expect("it is there")
        });
    });
    group.bench_function("get_miss", |b| {
        b.iter(|| {
            let mut key = keys[random.index(keys.len())];
            key[23] = b'x';
            assert!(black_box(table.get(&key).expect("readable")).is_none());
        });
    });
    group.bench_function("get_miss_unfiltered", |b| {
        b.iter(|| {
            let mut key = keys[random.index(keys.len())];
            key[23] = b'x';
            assert!(black_box(table.get_unfiltered(&key).expect("readable")).is_none());
        });
    });
    group.bench_function("seek", |b| {
        let mut cursor = table.cursor();
        b.iter(|| {
            cursor.seek(&keys[random.index(keys.len())]).expect("readable");
            black_box(cursor.valid())
        });
    });
    for (name, forward) in [("scan", true), ("scan_back", false)] {
        let mut cursor = table.cursor();
        group.bench_function(name, |b| {
            b.iter(|| {
                if !cursor.valid() {
                    if forward { cursor.seek_first() } else { cursor.seek_last() }
                        .expect("readable");
                }
                black_box(cursor.entry());
                if forward { cursor.next() } else { cursor.prev() }.expect("readable");
            });
        });
    }
    group.finish();
}

fn main() {
    let mut c = Criterion::default().configure_from_args().sample_size(20);
    let count = number("ENTRIES", 2_000_000);
    let value = vec![b'v'; usize::try_from(number("VALUE_LEN", 150)).expect("a length")];
    let keys: Vec<[u8; 24]> = (0..count).map(key).collect();
    let dir = tempfile::tempdir().expect("a scratch directory");
    let fs = vfs::StdFs::open(dir.path()).expect("it opens");
    build(&fs, 1, &keys, &value);
    for mode in [ReadMode::Mapped, ReadMode::Positional] {
        let table = Table::open(&fs, Name::new(KIND, 1), mode, None).expect("it opens");
        gets(&mut c, &table, &keys, &format!("{mode:?}").to_lowercase());
    }

    let runs: Vec<Arc<Table>> = (0..5)
        .map(|run| {
            let id = 10 + run;
            let part: Vec<[u8; 24]> = keys
                .iter()
                .skip(usize::try_from(run).expect("small"))
                .step_by(5)
                .copied()
                .collect();
            build(&fs, id, &part, &value);
            Table::open(&fs, Name::new(KIND, id), ReadMode::Mapped, None).expect("it opens")
        })
        .collect();
    let mut group = c.benchmark_group("merge");
    group.throughput(Throughput::Elements(1));
    let mut merge = Merge::new(runs.iter().map(Table::cursor).collect());
    group.bench_function("scan_5_runs", |b| {
        b.iter(|| {
            if !merge.valid() {
                merge.seek_first().expect("readable");
            }
            black_box(merge.entry());
            merge.next().expect("readable");
        });
    });
    group.finish();

    let mut group = c.benchmark_group("build");
    let part = keys.get(..200_000).unwrap_or(&keys);
    group.throughput(Throughput::Elements(part.len() as u64)).sample_size(10);
    let mut id = 100;
    for (name, value) in [("value_8", &value[..8.min(value.len())]), ("value_150", &value[..])] {
        group.bench_function(name, |b| {
            b.iter_batched(
                || {
                    id += 1;
                    id
                },
                |id| {
                    build(&fs, id, part, value);
                    fs.remove(Name::new(KIND, id)).expect("it was built");
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.bench_function("open", |b| {
        b.iter(|| Table::open(&fs, Name::new(KIND, 1), ReadMode::Mapped, None).expect("it opens"));
    });
    group.finish();
    c.final_summary();
}
