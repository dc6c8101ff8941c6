//! A table that an earlier build wrote. `tests/golden/v1` was made by
//! `cargo test -p sstable --test it -- --ignored write_the_golden_table`, once.

use sstable::{FoundValue, Table};
use vfs::golden;
use vfs::sim::SimDisk;

use crate::tables::{MODES, Model, build, found, inline, name};

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/v1");

/// Two levels of nodes, a jumbo leaf, every kind of value, expiries.
fn model() -> Model {
    let mut model = Model::new();
    for index in 0..120_u64 {
        let kept = match index % 5 {
            0 => (FoundValue::Pointer(index << 32), 0),
            1 => (FoundValue::Tombstone, 0),
            2 => (inline(b"").0, 1 << 41),
            _ => inline(&[u8::try_from(index).unwrap(); 60]),
        };
        model.insert(format!("prefix/{index:05}").into_bytes(), kept);
    }
    model.insert(vec![b'q'; 5000], inline(&[7; 300]));
    model
}

#[test]
#[ignore = "writes the golden table, once for each format version: cargo xtask golden"]
fn write_the_golden_table() {
    let disk = SimDisk::new(18);
    build(&disk.root(), 18, &model()).unwrap();
    golden::save(&disk, DIR, |_| true).unwrap();
}

#[test]
fn the_golden_table_holds_what_was_written() {
    let fs = golden::load(DIR).unwrap().root();
    for mode in MODES {
        let table = Table::open(&fs, name(18), mode, None).unwrap();
        for (key, kept) in model() {
            assert_eq!(table.get(&key).unwrap(), Some(found(&kept)), "{}", key.escape_ascii());
        }
        assert_eq!(table.get(b"prefix/00000x").unwrap(), None);
        assert_eq!(table.check().unwrap().entries, model().len() as u64);
    }
}
