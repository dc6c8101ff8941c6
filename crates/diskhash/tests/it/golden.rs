//! A table that an earlier build wrote. `tests/golden/v1` was made by
//! `cargo test -p diskhash --test it -- --ignored write_the_golden_table`, once.

use vfs::golden;
use vfs::sim::SimDisk;

use crate::bed::{Batch, Keys, Model, apply, apply_model, judge, merge_all, mixed, open, options};

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/v1");

/// Puts of some keys, deletes of others, new values for the rest.
fn batch(round: u32) -> Batch {
    let of = |key: u64| (key % 7 != u64::from(round)).then_some(100 * round + 1);
    (0..200).filter(|key| key % 3 != u64::from(round)).map(|key| (key, of(key))).collect()
}

/// Partitions from two batches, and a third as a run beside them.
fn write(disk: &SimDisk) -> Model {
    let table = open(disk, &options()).unwrap();
    let mut model = Model::new();
    for round in 0..3 {
        apply(&table, mixed, &batch(round)).unwrap();
        apply_model(&mut model, &batch(round));
        if round == 1 {
            merge_all(&table, true, &mut Keys::default()).unwrap();
        }
    }
    model
}

#[test]
#[ignore = "writes the golden table, once for each format version: cargo xtask golden"]
fn write_the_golden_table() {
    let disk = SimDisk::new(18);
    write(&disk);
    golden::save(&disk, DIR, |_| true).unwrap();
}

#[test]
fn the_golden_table_holds_what_was_written_and_goes_on() {
    let mut model = write(&SimDisk::new(18));
    let disk = golden::load(DIR).unwrap();
    let table = open(&disk, &options()).unwrap();
    judge(&table.newest(), mixed, &model, 210);
    apply(&table, mixed, &batch(5)).unwrap();
    apply_model(&mut model, &batch(5));
    merge_all(&table, true, &mut Keys::default()).unwrap();
    judge(&table.newest(), mixed, &model, 210);
    drop(table);
    judge(&open(&disk, &options()).unwrap().newest(), mixed, &model, 210);
}
