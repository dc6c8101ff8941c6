use std::collections::BTreeMap;
use std::sync::Arc;

use sstable::Value;
use vfs::sim::SimDisk;
use vfs::{Env, Random};
use wal::SegmentIds;

use super::*;
use crate::files::NextIds;
use crate::options::{Options, ReadMode};

fn files(disk: &SimDisk) -> Arc<Files> {
    let options = Options::default().read_mode(ReadMode::Positional);
    Arc::new(Files::new(
        disk.root(),
        Env::sim(1).env,
        7,
        options,
        SegmentIds::new(),
        NextIds { file: 1, keyspace: 1 },
        0,
    ))
}

fn key(index: u32) -> Vec<u8> {
    format!("key{index:05}").into_bytes()
}

/// A level of files with `per_file` keys each, from `keys`.
fn level_of(files: &Arc<Files>, keys: &[u32], per_file: usize) -> Levels {
    let mut output = TableOutput::new(files.clone(), 0, 1, Ends::never());
    for chunk in keys.chunks(per_file) {
        add(&mut output, chunk);
        output.end_table().expect("a healthy disk");
    }
    version_of(output)
}

fn add(output: &mut TableOutput, keys: &[u32]) {
    for index in keys {
        let (key, value) = (key(*index), index.to_le_bytes());
        let entry = Entry { key: &key, value: Value::Inline(&value), expiry: 0 };
        output.add(entry).expect("a healthy disk");
    }
}

fn version_of(output: TableOutput) -> Levels {
    let mut delta = output.into_delta(Vec::new(), BTreeMap::new());
    let installed = (delta.install)(&Levels::default()).expect("a healthy disk");
    installed.index.as_any().downcast_ref::<Levels>().expect("it is ordered").clone()
}

#[test]
fn row_112_a_level_cursor_agrees_with_a_map_under_random_moves() {
    let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(112);
    println!("SEED={seed}");
    let mut random = Random::new(seed);
    let disk = SimDisk::new(seed);
    let files = files(&disk);
    for per_file in [1, 2, 7, 1000] {
        let mut indexes: Vec<u32> = (0..300).filter(|_| random.percent(40)).collect();
        indexes.sort_unstable();
        let levels = level_of(&files, &indexes, per_file);
        let map: BTreeMap<Vec<u8>, u32> = indexes.iter().map(|i| (key(*i), *i)).collect();
        let mut cursor = LevelCursor::new(levels.levels[1].clone());
        let mut at: Option<Vec<u8>> = None;
        for _ in 0..3000 {
            let target = key(u32::try_from(random.below(310)).expect("small"));
            let first = |range: Option<(&Vec<u8>, &u32)>| range.map(|(key, _)| key.clone());
            match (random.below(8), &at) {
                (0, _) => {
                    cursor.seek_first().expect("a healthy disk");
                    at = first(map.first_key_value());
                }
                (1, _) => {
                    cursor.seek_last().expect("a healthy disk");
                    at = first(map.last_key_value());
                }
                (2, _) | (_, None) => {
                    cursor.seek(&target).expect("a healthy disk");
                    at = first(map.range(target..).next());
                }
                (3, _) => {
                    cursor.seek_for_prev(&target).expect("a healthy disk");
                    at = first(map.range(..=target).next_back());
                }
                (4 | 5, Some(key)) => {
                    cursor.next().expect("a healthy disk");
                    at = first(map.range(key.clone()..).nth(1));
                }
                (_, Some(key)) => {
                    cursor.prev().expect("a healthy disk");
                    at = first(map.range(..key.clone()).next_back());
                }
            }
            assert_eq!(cursor.valid(), at.is_some());
            if let Some(key) = &at {
                assert_eq!(cursor.entry().key, key.as_slice());
                assert_eq!(cursor.entry().value, Value::Inline(&map[key].to_le_bytes()));
            }
        }
    }
}

#[test]
fn the_file_that_may_hold_a_key_is_found_by_its_range() {
    let disk = SimDisk::new(1);
    let levels = level_of(&files(&disk), &[10, 20, 30, 40], 2);
    let found = |index| find(&levels.levels[1], &key(index)).map(|table| table.smallest().to_vec());
    assert_eq!(found(5), None);
    assert_eq!(found(10), Some(key(10)));
    assert_eq!(found(15), Some(key(10)));
    assert_eq!(found(25), None);
    assert_eq!(found(40), Some(key(30)));
    assert_eq!(found(41), None);
    assert!(levels.may_exist_below(0, &key(15)));
    assert!(!levels.may_exist_below(1, &key(15)));
}

#[test]
fn overlapping_files_in_a_disjoint_level_are_damage() {
    let disk = SimDisk::new(1);
    let files = files(&disk);
    let one = level_of(&files, &[1, 5], 2);
    let two = level_of(&files, &[5, 9], 2);
    let records: Vec<TableRecord> =
        one.tables().chain(two.tables()).map(|table| table.record.clone()).collect();
    let error = Levels::open(&files, &records).err().expect("they overlap");
    assert_eq!(error.kind(), crate::ErrorKind::Corrupt);
    assert!(error.to_string().contains(".tbl"), "{error}");
}

#[test]
fn row_038_a_missing_empty_or_cut_table_is_corrupt_and_named() {
    let disk = SimDisk::new(38);
    let files = files(&disk);
    let levels = level_of(&files, &[1, 2, 3], 3);
    let table = levels.tables().next().expect("there is one").clone();
    let records = [table.record.clone()];
    let name = table.name();
    drop((levels, table));
    for len in [records[0].len - 1, 4096, 1, 0] {
        let file = files.fs.open(name, vfs::Access::ReadWrite).expect("it is there");
        file.truncate(len).expect("nobody maps it");
        let error = Levels::open(&files, &records).err().expect("it is cut");
        assert_eq!(error.kind(), crate::ErrorKind::Corrupt, "at {len}: {error}");
        assert!(error.to_string().contains(&name.to_string()), "{error}");
    }
    files.fs.remove(name).expect("it is there");
    let error = Levels::open(&files, &records).err().expect("it is missing");
    assert_eq!(error.kind(), crate::ErrorKind::Corrupt);
    assert!(error.to_string().contains(&name.to_string()), "{error}");
}

#[test]
fn files_end_where_those_of_the_next_level_begin() {
    const TABLE_BYTES: u64 = 64 << 10;
    let files = files(&SimDisk::new(7));
    let keys: Vec<u32> = (0..40_000).collect();
    // Below: a file for each 300 keys, then one for all the others, which no file may end for.
    let (small, large) = keys.split_at(20_000);
    let below = level_of(&files, small, 300);
    let below = below.with(&level_of(&files, large, large.len()).levels[1], &[]);
    let write = |below: &Level| {
        let ends = Ends::at(TABLE_BYTES, below.clone());
        let mut output = TableOutput::new(files.clone(), 0, 1, ends);
        add(&mut output, &keys);
        output.end_table().expect("a healthy disk");
        version_of(output).levels[1].clone()
    };
    let begin = |level: &Level, key: &[u8]| level.iter().any(|table| table.smallest() == key);
    let bytes = |table: &Arc<LevelTable>| table.record.len;

    let aligned = write(&below.levels[1]);
    let (mut early, mut late) = (0, 0);
    for pair in aligned.windows(2) {
        if begin(&below.levels[1], pair[1].smallest()) {
            early += 1;
            assert!(bytes(&pair[0]) >= TABLE_BYTES / 4 * 3 - 4096, "{}", bytes(&pair[0]));
            assert!(bytes(&pair[0]) < TABLE_BYTES, "the next one begins soon");
        } else {
            late += 1;
            assert!(bytes(&pair[0]).abs_diff(2 * TABLE_BYTES) <= 8192, "{}", bytes(&pair[0]));
        }
    }
    assert!(early > 3 && late > 1, "{early} ends met one below, {late} did not");

    let alone = write(&Level::default());
    let (_, full) = alone.split_last().expect("there are keys");
    assert!(full.iter().all(|table| bytes(table).abs_diff(TABLE_BYTES) <= 8192));
    let meet = |level: &Level, below: &Level| {
        let meets = |a: &LevelTable, b: &LevelTable| {
            a.smallest() <= b.largest() && b.smallest() <= a.largest()
        };
        let of = |table: &Arc<LevelTable>| below.iter().filter(|b| meets(table, b)).count();
        level.iter().map(of).sum::<usize>()
    };
    let below = &below.levels[1];
    assert!(meet(&aligned, below) < meet(&alone, below), "that is what it is for");
}
