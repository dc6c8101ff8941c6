//! Flipped bits, cut files, misplaced pages: the answer stays right or is `Corrupt`.

use std::sync::Arc;

use sstable::{Cursor, ReadMode, Table};
use vfs::sim::{Damage, SimDisk};
use vfs::{Error, Fs, Random, Result};

use crate::tables::{
    MODES, Model, PAGE_LEN, at, build, build_and_open, expect, found, inline, name, owned,
    tall_model,
};

fn tall_table() -> (SimDisk, Arc<dyn Fs>, Model, Vec<u8>) {
    let disk = SimDisk::new(1);
    let fs = disk.root();
    let model = tall_model(&mut Random::new(11), 10);
    let table = build_and_open(&fs, 1, &model, ReadMode::Mapped);
    assert_eq!(table.props().height, 3);
    assert!(table.check().unwrap().filter_pages > 0);
    let bytes = disk.read_file(name(1)).unwrap();
    (disk, fs, model, bytes)
}

fn refused<T>(result: Result<T>) {
    match result {
        Err(Error::Corrupt { path, .. }) => assert!(path.ends_with(name(1).to_string())),
        Err(error) => panic!("{error} is not Corrupt"),
        Ok(_) => panic!("damage was not seen"),
    }
}

/// Every answer is the model's or `Corrupt`; the check refuses.
fn judge(fs: &Arc<dyn Fs>, model: &Model) {
    for mode in MODES {
        let table = match Table::open(fs, name(1), mode, None) {
            Ok(table) => table,
            damaged => {
                refused(damaged);
                continue;
            }
        };
        for (key, kept) in model {
            match table.get(key) {
                // Row 52: never "not found" because a filter or an inner node is damaged.
                Ok(answer) => assert_eq!(answer, Some(found(kept))),
                damaged => refused(damaged),
            }
        }
        let mut cursor = table.cursor();
        let mut pairs = model.iter();
        let mut step = cursor.seek_first();
        while step.is_ok() {
            assert_eq!(at(&cursor), owned(pairs.next()));
            if !cursor.valid() {
                break;
            }
            step = cursor.next();
        }
        if step.is_err() {
            // Row 86: nothing is skipped behind an error.
            refused(step);
            assert!(!cursor.valid());
            assert!(cursor.next().is_err() && cursor.prev().is_err());
        }
        refused(table.check());
    }
}

// Row 71.
#[test]
fn every_flipped_bit_of_header_and_footer_is_refused_at_open() {
    let (disk, fs, _, bytes) = tall_table();
    let footer = bytes.len() - PAGE_LEN;
    for offset in (0..PAGE_LEN).chain(footer..bytes.len()) {
        for bit in 0..8 {
            let flip = Damage::FlipBit { offset: offset as u64, bit };
            disk.corrupt(name(1), &flip);
            refused(Table::open(&fs, name(1), ReadMode::Positional, None));
            disk.corrupt(name(1), &flip);
        }
    }
    Table::open(&fs, name(1), ReadMode::Mapped, None).unwrap().check().unwrap();
}

// Rows 52 and 71.
#[test]
fn a_flipped_bit_anywhere_is_refused_or_does_not_change_the_answer() {
    let (disk, fs, model, bytes) = tall_table();
    let mut random = Random::new(vfs::testing::seed());
    for page in 1..bytes.len() / PAGE_LEN - 1 {
        for place in 0..48 {
            // The fields of the page's start, then anywhere.
            let within = if place < 24 { random.index(64) } else { random.index(PAGE_LEN) };
            let offset = (page * PAGE_LEN + within) as u64;
            let flip = Damage::FlipBit { offset, bit: [0, 3, 7][random.index(3)] };
            disk.corrupt(name(1), &flip);
            judge(&fs, &model);
            disk.corrupt(name(1), &flip);
        }
    }
}

// Rows 38 and 75.
#[test]
fn a_cut_or_grown_file_is_refused_at_open() {
    let (disk, fs, _, bytes) = tall_table();
    let near_pages = (0..bytes.len()).filter(|len| (len + 2) % PAGE_LEN < 5);
    let everywhere = (0..bytes.len()).step_by(997);
    for len in near_pages.chain(everywhere) {
        disk.write_file(name(1), &bytes[..len]);
        for mode in MODES {
            refused(Table::open(&fs, name(1), mode, None));
        }
    }
    for more in [1, 4095, 4096, 8192, 1 << 20] {
        let mut grown = bytes.clone();
        grown.resize(bytes.len() + more, 0);
        disk.write_file(name(1), &grown);
        refused(Table::open(&fs, name(1), ReadMode::Mapped, None));
    }
}

// Row 40: what is wrong is reported page by page, what is whole stays readable.
#[test]
fn one_zeroed_page_costs_no_more_than_its_own_entries() {
    let (disk, fs, model, _) = tall_table();
    disk.corrupt(name(1), &Damage::Zero { offset: PAGE_LEN as u64, len: PAGE_LEN as u64 });
    let table = Table::open(&fs, name(1), ReadMode::Mapped, None).unwrap();
    let lost = model.keys().filter(|key| table.get(key).is_err()).count();
    assert!(0 < lost && lost < 8, "{lost} entries were lost");
    match table.check() {
        Err(Error::Corrupt { offset, .. }) => assert_eq!(offset, PAGE_LEN as u64),
        other => panic!("{other:?}"),
    }
}

#[test]
fn row_073_pages_in_each_others_place_are_refused() {
    let (disk, fs, model, bytes) = tall_table();
    let pages = bytes.len() / PAGE_LEN;
    for first in 1..pages {
        for second in (first + 1..pages).step_by(3) {
            let (first, second) = ((first * PAGE_LEN) as u64, (second * PAGE_LEN) as u64);
            let swap = Damage::Swap { first, second, len: PAGE_LEN as u64 };
            disk.corrupt(name(1), &swap);
            judge(&fs, &model);
            disk.corrupt(name(1), &swap);
        }
    }
}

#[test]
fn row_073_a_page_of_another_file_is_refused() {
    let (disk, fs, model, bytes) = tall_table();
    build(&fs, 2, &model).unwrap();
    let other = disk.read_file(name(2)).unwrap();
    assert_eq!(bytes.len(), other.len());
    for page in 0..bytes.len() / PAGE_LEN {
        let range = page * PAGE_LEN..(page + 1) * PAGE_LEN;
        let mut mixed = bytes.clone();
        mixed[range.clone()].copy_from_slice(&other[range]);
        if mixed == bytes {
            continue; // inside a value, in a node of several pages
        }
        disk.write_file(name(1), &mixed);
        judge(&fs, &model);
    }
    disk.write_file(name(1), &other);
    refused(Table::open(&fs, name(1), ReadMode::Mapped, None));
}

#[test]
fn only_the_table_that_is_expected_opens() {
    let disk = SimDisk::new(1);
    let fs = disk.root();
    let model = Model::from([(b"a".to_vec(), inline(b"1"))]);
    let built = build(&fs, 1, &model).unwrap();
    let right = expect(&built).unwrap();
    let mut wrong = [right; 3];
    wrong[0].len += 4096;
    wrong[1].footer_crc ^= 1;
    wrong[2].owner ^= 1;
    for mode in MODES {
        Table::open(&fs, name(1), mode, Some(right)).unwrap();
        for wrong in wrong {
            refused(Table::open(&fs, name(1), mode, Some(wrong)));
        }
    }
    let missing = Table::open(&fs, name(2), ReadMode::Mapped, None);
    assert!(matches!(missing, Err(Error::NotFound { .. })));
}

// Row 75.
#[test]
fn positional_reads_survive_a_file_that_is_cut_while_open() {
    let (disk, fs, model, bytes) = tall_table();
    let table = Table::open(&fs, name(1), ReadMode::Positional, None).unwrap();
    disk.write_file(name(1), &bytes);
    let table_again = Table::open(&fs, name(1), ReadMode::Positional, None).unwrap();
    disk.corrupt(name(1), &Damage::Truncate { len: 3 * PAGE_LEN as u64 + 100 });
    let mut refusals = 0;
    for table in [table, table_again] {
        for (key, kept) in &model {
            match table.get(key) {
                Ok(answer) => assert_eq!(answer, Some(found(kept))),
                damaged => {
                    refused(damaged);
                    refusals += 1;
                }
            }
        }
    }
    assert!(refusals > 0, "the cut was met");
}
