//! Limits: one below, at and above each (row 65); an error changes nothing.

use sstable::{
    Builder, BuilderOptions, EXTRA_LEN_MAX, Entry, KEY_LEN_MAX, ReadMode, Table, VALUE_LEN_MAX,
    Value,
};
use vfs::sim::{Damage, SimDisk};
use vfs::{Error, Result};

use crate::tables::{MODES, Model, at, build_and_open, entry, found, inline, name, options};

fn invalid<T>(result: Result<T>) {
    assert!(matches!(result, Err(Error::Invalid { .. })));
}

#[test]
fn row_065_a_refused_entry_changes_nothing() {
    let disk = SimDisk::new(1);
    let fs = disk.root();
    let mut builder = Builder::new(fs.create_new(name(1)).unwrap(), options(1)).unwrap();
    let put = |key, value| Entry { key, value: Value::Inline(value), expiry: 0 };
    let (long_key, long_value) = (vec![b'z'; KEY_LEN_MAX + 1], vec![0; VALUE_LEN_MAX + 1]);
    invalid(builder.add(put(b"", b"")));
    assert_eq!((builder.count(), builder.last_key()), (0, None));
    builder.add(put(b"m", b"1")).unwrap();
    for refused in [
        put(b"", b""),
        put(&long_key, b""),
        put(b"n", &long_value),
        put(b"m", b"2"),
        put(b"l", b"2"),
        put(b"", &long_value),
    ] {
        invalid(builder.add(refused));
        assert_eq!((builder.count(), builder.last_key()), (1, Some(&b"m"[..])));
    }
    builder.add(put(&long_key[..KEY_LEN_MAX], &long_value[..VALUE_LEN_MAX])).unwrap();
    builder.finish(b"").unwrap();
    let table = Table::open(&fs, name(1), ReadMode::Mapped, None).unwrap();
    assert_eq!(table.check().unwrap().entries, 2);
}

#[test]
fn row_065_the_longest_and_shortest_keys_and_values_are_kept() {
    let disk = SimDisk::new(1);
    let fs = disk.root();
    let mut model = Model::new();
    for first in [0, 1, 0xff] {
        model.insert(vec![first], inline(b""));
        for len in [KEY_LEN_MAX - 1, KEY_LEN_MAX] {
            model.insert(vec![first; len], inline(&[first; 3]));
        }
    }
    for (letter, len) in (b'a'..).zip([VALUE_LEN_MAX, VALUE_LEN_MAX - 1, 1 << 20, 65_535, 4096]) {
        model.insert(vec![letter], inline(&vec![letter; len]));
    }
    for (id, mode) in (1..).zip(MODES) {
        let table = build_and_open(&fs, id, &model, mode);
        table.check().unwrap();
        for (key, kept) in &model {
            assert_eq!(table.get(key).unwrap(), Some(found(kept)));
        }
    }
}

// Row 66: lengths of nodes around 64 KiB, where slots change their width.
#[test]
fn row_066_leaves_around_the_change_of_slot_width_are_read_back() {
    let disk = SimDisk::new(1);
    let fs = disk.root();
    for (id, len) in (1..).zip((61_300..61_500).step_by(7).chain(65_400..65_600)) {
        let model = Model::from([
            (b"a".to_vec(), inline(b"before")),
            (b"b".to_vec(), inline(&vec![7; len])),
            (b"c".to_vec(), inline(b"behind")),
        ]);
        let table = build_and_open(&fs, id, &model, ReadMode::Mapped);
        table.check().unwrap();
        let mut cursor = table.cursor();
        sstable::Cursor::seek_last(&mut cursor).unwrap();
        assert_eq!(at(&cursor).unwrap().0, b"c");
        assert_eq!(table.get(b"b").unwrap(), Some(found(&model[&b"b".to_vec()])));
    }
}

#[test]
fn row_067_options_and_owners_bytes_have_limits() {
    let disk = SimDisk::new(1);
    let fs = disk.root();
    let file = fs.create_new(name(1)).unwrap();
    for (bits, legal) in [(0, true), (1, true), (64, true), (65, false), (u32::MAX, false)] {
        let options = BuilderOptions { bloom_bits_per_key: bits, ..options(1) };
        assert_eq!(Builder::new(file.clone(), options).is_ok(), legal, "{bits} bits");
    }
    let extra = vec![9; EXTRA_LEN_MAX + 1];
    invalid(Builder::new(file.clone(), options(1)).unwrap().finish(&extra));
    let model = Model::from([(vec![1; KEY_LEN_MAX], inline(b"x"))]);
    let mut builder = Builder::new(file.clone(), options(1)).unwrap();
    for (key, kept) in &model {
        builder.add(entry(key, kept)).unwrap();
    }
    builder.finish(&extra[..EXTRA_LEN_MAX]).unwrap();
    let table = Table::open(&fs, name(1), ReadMode::Mapped, None).unwrap();
    assert_eq!(table.props().extra, extra[..EXTRA_LEN_MAX]);
    table.check().unwrap();
    // A table is built in an empty file only.
    invalid(Builder::new(file, options(1)));
}

#[test]
fn every_number_of_filter_bits_finds_every_key() {
    let disk = SimDisk::new(1);
    let fs = disk.root();
    for bits in [0, 1, 2, 7, 10, 33, 64] {
        let id = u64::from(bits) + 1;
        let options = BuilderOptions { bloom_bits_per_key: bits, ..options(id) };
        let mut builder = Builder::new(fs.create_new(name(id)).unwrap(), options).unwrap();
        for n in 0..500_u16 {
            let key = [n.to_le_bytes()[1], n.to_le_bytes()[0]];
            builder.add(Entry { key: &key, value: Value::Tombstone, expiry: 0 }).unwrap();
        }
        builder.finish(b"").unwrap();
        for mode in MODES {
            let table = Table::open(&fs, name(id), mode, None).unwrap();
            assert_eq!(table.check().unwrap().tombstones, 500);
        }
    }
}

#[test]
fn another_version_and_another_format_are_told_apart_by_name() {
    let disk = SimDisk::new(1);
    let fs = disk.root();
    build_and_open(&fs, 1, &Model::from([(b"k".to_vec(), inline(b""))]), ReadMode::Mapped);
    for (offset, wanted) in [(0, "magic of a table"), (8, "checksum of the header")] {
        disk.corrupt(name(1), &Damage::FlipBit { offset, bit: 1 });
        match Table::open(&fs, name(1), ReadMode::Mapped, None) {
            Err(Error::Corrupt { what, offset: 0, .. }) => assert_eq!(what, wanted),
            other => panic!("{other:?}"),
        }
        disk.corrupt(name(1), &Damage::FlipBit { offset, bit: 1 });
    }
    // A newer build's: all is whole but the version.
    let mut page = disk.read_file(name(1)).expect("it is there")[..4096].to_vec();
    page[8] = 2;
    let crc = vfs::Checksum::of(1, 0, &page[..4092]).to_le_bytes();
    page[4092..].copy_from_slice(&crc);
    disk.corrupt(name(1), &Damage::Overwrite { offset: 0, bytes: page });
    match Table::open(&fs, name(1), ReadMode::Mapped, None) {
        Err(Error::Invalid { what, .. }) => {
            assert_eq!(what, "format version of a table 2, this build knows 1");
        }
        other => panic!("{other:?}"),
    }
}
