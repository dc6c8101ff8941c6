//! One sorted file of 24-byte keys and 150-byte values, in page cache: ours, RocksDB's, lsm-tree's.
//!
//! `ENTRIES=8000000` for another number than 1 million. The rocksdb crate does not expose RocksDB's
//! `SstFileReader`, so its file is written by `SstFileWriter` and ingested into an empty database:
//! a get looks at an empty memtable first, and then at one file. lsm-tree's table is likewise
//! ingested into an empty tree.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use benches::dataset::{Dataset, KEY_LEN};
use criterion::{Criterion, Throughput};
use lsm_tree::{AbstractTree, Cache, Config, Guard, SequenceNumberCounter};
use rocksdb::{BlockBasedOptions, DB, DBCompressionType, Options, SstFileWriter};
use sstable::{Builder, BuilderOptions, Cursor, Entry, FileId, ReadMode, Table, Value};
use vfs::{Kind, Name, Random};

const KIND: Kind = Kind::new("tbl");
const CACHE_BYTES: usize = 256 << 20;

type Entries<'a> = [([u8; KEY_LEN], &'a [u8])];

/// What is measured of each.
struct Reader<'a> {
    name: &'a str,
    /// Is the key there?
    get: &'a dyn Fn(&[u8]) -> bool,
    /// Reads everything; returns how many entries there are.
    scan: &'a dyn Fn() -> usize,
}

fn measure(c: &mut Criterion, entries: &Entries<'_>, absent: &[[u8; KEY_LEN]], of: &Reader<'_>) {
    let mut random = Random::new(1);
    let mut group = c.benchmark_group(format!("sstable, {}", of.name));
    group.throughput(Throughput::Elements(1));
    group.bench_function("hit", |b| {
        b.iter(|| assert!((of.get)(&entries[random.index(entries.len())].0)));
    });
    group.bench_function("miss", |b| {
        b.iter(|| assert!(!(of.get)(&absent[random.index(absent.len())])));
    });
    group.throughput(Throughput::Elements(entries.len() as u64)).sample_size(10);
    group.bench_function("scan", |b| b.iter(|| assert_eq!((of.scan)(), entries.len())));
    group.finish();
}

fn ours(dir: &Path, entries: &Entries<'_>) -> Arc<Table> {
    let fs = vfs::StdFs::create(dir).expect("a directory");
    let name = Name::new(KIND, 1);
    let file = fs.create_new(name).expect("created");
    let options = BuilderOptions { file_id: FileId(1), owner: 1, salt: 1, bloom_bits_per_key: 10 };
    let mut builder = Builder::new(file, options).expect("options are legal");
    for (key, value) in entries {
        builder.add(Entry { key, value: Value::Inline(value), expiry: 0 }).expect("keys ascend");
    }
    builder.finish(b"").expect("built");
    Table::open(&fs, name, ReadMode::Mapped, None).expect("it opens")
}

fn rocks(dir: &Path, entries: &Entries<'_>) -> DB {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&rocksdb::Cache::new_lru_cache(CACHE_BYTES));
    table.set_bloom_filter(10.0, false);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::None);
    let file = dir.join("file.sst");
    let mut writer = SstFileWriter::create(&options);
    writer.open(&file).expect("created");
    for (key, value) in entries {
        writer.put(key, value).expect("keys ascend");
    }
    writer.finish().expect("built");
    let db = DB::open(&options, dir.join("db")).expect("a new database");
    db.ingest_external_file(vec![file]).expect("ingested");
    db
}

fn lsm(dir: &Path, entries: &Entries<'_>) -> lsm_tree::AnyTree {
    let counter = SequenceNumberCounter::default();
    let cache = Arc::new(Cache::with_capacity_bytes(CACHE_BYTES as u64));
    let tree = Config::new(dir, counter.clone(), counter).use_cache(cache).open();
    let tree = tree.expect("a new tree");
    let mut ingestion = tree.ingestion().expect("it takes files");
    for (key, value) in entries {
        ingestion.write(*key, *value).expect("keys ascend");
    }
    ingestion.finish().expect("built");
    tree
}

fn main() {
    let mut c = Criterion::default().configure_from_args();
    let count = std::env::var("ENTRIES").map_or(1_000_000, |text| text.parse().expect("a number"));
    let data = Dataset::new(count, 150, 1);
    let mut entries: Vec<([u8; KEY_LEN], &[u8])> =
        (0..count).map(|number| (data.key(number), data.value(number))).collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    let absent: Vec<[u8; KEY_LEN]> = (count..2 * count).map(|number| data.key(number)).collect();
    let dir = tempfile::tempdir().expect("a scratch directory");

    let table = ours(&dir.path().join("ours"), &entries);
    let scan = || {
        let mut cursor = table.cursor();
        cursor.seek_first().expect("readable");
        let mut met = 0;
        while cursor.valid() {
            black_box(cursor.entry());
            met += 1;
            cursor.next().expect("readable");
        }
        met
    };
    let get = |key: &[u8]| black_box(table.get(key).expect("readable")).is_some();
    measure(&mut c, &entries, &absent, &Reader { name: "ours", get: &get, scan: &scan });

    let path = dir.path().join("rocksdb");
    std::fs::create_dir(&path).expect("a directory");
    let db = rocks(&path, &entries);
    let scan = || {
        let mut iterator = db.raw_iterator();
        iterator.seek_to_first();
        let mut met = 0;
        while let Some(entry) = iterator.item() {
            black_box(entry);
            met += 1;
            iterator.next();
        }
        met
    };
    let get = |key: &[u8]| black_box(db.get_pinned(key).expect("readable")).is_some();
    measure(&mut c, &entries, &absent, &Reader { name: "rocksdb", get: &get, scan: &scan });

    let tree = lsm(&dir.path().join("lsm-tree"), &entries);
    let newest = lsm_tree::SeqNo::MAX;
    let scan = || {
        let touch = |guard: lsm_tree::IterGuardImpl| {
            black_box(guard.into_inner().expect("readable"));
        };
        tree.iter(newest, None).map(touch).count()
    };
    let get = |key: &[u8]| black_box(tree.get(key, newest).expect("readable")).is_some();
    measure(&mut c, &entries, &absent, &Reader { name: "lsm-tree", get: &get, scan: &scan });
    c.final_summary();
}
