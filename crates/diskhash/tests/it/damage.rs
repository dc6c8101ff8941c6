//! Flipped bits, cut, swapped and missing files. Catalogue rows 38, 52, 71.

use diskhash::{At, GENERATION, Options, ReadMode, Table};
use vfs::sim::{Damage, SimDisk};
use vfs::{Error, Kind, Name, Random, Result};

use crate::bed::{
    Batch, Keys, Model, apply, apply_model, get, mixed, open, open_at, options, walk,
};

const KEYS: u64 = 1500;
const MODES: [ReadMode; 2] = [ReadMode::Mapped, ReadMode::Positional];

/// A table with runs and partitions, nothing of it open.
fn table() -> (SimDisk, Model, u64, Vec<(Name, u64)>) {
    let disk = SimDisk::new(1);
    let mut model = Model::new();
    let table = open(&disk, &with(ReadMode::Mapped)).unwrap();
    for round in 0..5 {
        let value = |key| (key % 7 != round).then_some(u32::try_from(key + round).unwrap());
        let keys = 0..if round == 0 { KEYS } else { KEYS / 5 };
        let batch: Batch = keys.map(|key| (key, value(key))).collect();
        apply_model(&mut model, &batch);
        let before = table.newest().id();
        apply(&table, mixed, &batch).unwrap();
        table.release(before);
        if round == 0 {
            crate::bed::merge_all(&table, true, &mut Keys::default()).unwrap();
        }
    }
    let newest = table.newest();
    let stats = newest.stats();
    assert!(stats.runs == 4 && stats.partitions_filled >= 2, "{stats:?}");
    (disk, model, newest.id(), newest.files())
}

fn with(read_mode: ReadMode) -> Options {
    Options { read_mode, runs_max: 9, ..options() }
}

/// The error must name the file, and an offset in it (`len` where it is cut).
fn require_named(error: &Error, name: Name, len: u64) {
    match error {
        Error::Corrupt { path, offset, .. } => {
            assert!(path.ends_with(name.to_string()), "{error}, not {name}");
            assert!(*offset <= len, "{error}");
        }
        other => panic!("{other} is not Corrupt"),
    }
}

/// Whatever is damaged in file `name`: no wrong answer, an error with its name from the check.
fn judge(disk: &SimDisk, model: &Model, id: u64, name: Name, len: u64) {
    for mode in MODES {
        let table = match open_at(disk, &with(mode), At::Generation(id)) {
            Ok(table) => table,
            Err(error) => {
                require_named(&error, name, len);
                continue;
            }
        };
        judge_open(&table, model, name, len);
    }
}

fn judge_open(table: &Table, model: &Model, name: Name, len: u64) {
    let newest = table.newest();
    for key in (0..KEYS).step_by(13) {
        match get(&newest, mixed, key) {
            Ok(found) => assert_eq!(found, model.get(&key).copied()),
            Err(error) => require_named(&error, name, len),
        }
    }
    match walk(&newest) {
        Ok(found) => assert_eq!(found, *model),
        Err(error) => require_named(&error, name, len),
    }
    let mut errors = Vec::new();
    newest.check(&mut |_| Ok(()), &mut |error| errors.push(error));
    assert!(!errors.is_empty(), "the check must find what is wrong in {name}");
    errors.iter().for_each(|error| require_named(error, name, len));
    // Row 86: behind an error there are only errors.
    let mut cursor = newest.cursor();
    while let Ok(Some(_)) = cursor.next() {}
    if cursor.next().is_err() {
        assert!(cursor.next().is_err());
    }
}

// Row 71.
#[test]
fn any_flipped_bit_is_refused_by_name_and_offset_or_changes_no_answer() {
    let (disk, model, id, files) = table();
    let mut random = Random::new(vfs::testing::seed());
    for (name, len) in files {
        for _ in 0..25 {
            let (offset, bit) = (random.below(len), u8::try_from(random.below(8)).unwrap());
            let flip = Damage::FlipBit { offset, bit };
            disk.corrupt(name, &flip);
            judge(&disk, &model, id, name, len);
            disk.corrupt(name, &flip);
        }
    }
}

#[test]
fn every_flipped_bit_of_one_page_header_and_footer_is_found() {
    let (disk, model, id, files) = table();
    let (name, len) = files[1];
    let page = 4096..4096 + 200;
    for offset in (0..64).chain(page).chain(len - 64..len) {
        let bit = u8::try_from(offset % 8).unwrap();
        let flip = Damage::FlipBit { offset, bit };
        disk.corrupt(name, &flip);
        judge(&disk, &model, id, name, len);
        disk.corrupt(name, &flip);
    }
}

// Row 38.
#[test]
fn row_038_a_cut_or_missing_file_is_refused_by_its_name() {
    let (disk, _, id, files) = table();
    for (name, len) in files {
        let bytes = disk.read_file(name).unwrap();
        for cut in [0, 1, 64, len / 2, len - 4096.min(len), len - 1] {
            disk.corrupt(name, &Damage::Truncate { len: cut });
            refused(open_at(&disk, &with(ReadMode::Mapped), At::Generation(id)), name, len);
            disk.write_file(name, &bytes);
        }
        disk.corrupt(name, &Damage::Truncate { len: len + 1 });
        refused(open_at(&disk, &with(ReadMode::Mapped), At::Generation(id)), name, len + 1);
        disk.corrupt(name, &Damage::Remove);
        refused(open_at(&disk, &with(ReadMode::Mapped), At::Generation(id)), name, len);
        disk.write_file(name, &bytes);
    }
    open_at(&disk, &with(ReadMode::Mapped), At::Generation(id)).unwrap();
}

fn refused(result: Result<Table>, name: Name, len: u64) {
    match result {
        Ok(_) => panic!("{name} is damaged and the table opens"),
        Err(error) => require_named(&error, name, len),
    }
}

#[test]
fn pages_and_files_in_each_others_place_are_refused() {
    let (disk, model, id, files) = table();
    let partitions = || files.iter().filter(|(name, _)| name.kind == Kind::new("part"));
    let (name, len) = *partitions().find(|(_, len)| *len > 3 * 4096).expect("one of two pages");
    let swap = Damage::Swap { first: 4096, second: 8192, len: 4096 };
    disk.corrupt(name, &swap);
    judge(&disk, &model, id, name, len);
    disk.corrupt(name, &swap);
    // Another file of the table under this name, of the same length or not.
    let (other, _) = *partitions().find(|(other, _)| *other != name).expect("two partitions");
    let bytes = disk.read_file(other).unwrap();
    disk.write_file(name, &bytes);
    refused(open_at(&disk, &with(ReadMode::Mapped), At::Generation(id)), name, len);
}

#[test]
fn a_damaged_newest_record_without_an_older_one_is_refused_not_forgotten() {
    let (disk, _, id, files) = table();
    let (name, len) = files[0];
    assert_eq!(name, Name::new(GENERATION, id));
    disk.corrupt(name, &Damage::FlipBit { offset: 50, bit: 0 });
    refused(open(&disk, &with(ReadMode::Mapped)), name, len);
    // Nothing was touched.
    disk.corrupt(name, &Damage::FlipBit { offset: 50, bit: 0 });
    assert_eq!(open(&disk, &with(ReadMode::Mapped)).unwrap().newest().files(), files);
    // Data files without any record are not a new table either.
    disk.corrupt(name, &Damage::Remove);
    let error = open(&disk, &with(ReadMode::Mapped)).unwrap_err();
    assert!(error.is_corrupt(), "{error}");
}
