//! A table answers as a `BTreeMap` does.

use std::ops::Bound;
use std::sync::Arc;

use sstable::{Cursor, ReadMode, Table, key_hash};
use vfs::{Fs, Random};

use crate::tables::{
    MODES, Model, at, build_and_open, found, inline, neighbours, owned, random_key, random_model,
    tall_model,
};

fn check_against(table: &Arc<Table>, model: &Model, random: &mut Random) {
    let report = table.check().expect("a built table is whole");
    assert_eq!(report.entries, model.len() as u64);
    let props = table.props();
    assert_eq!((props.count, &props.extra[..]), (model.len() as u64, &b"extra"[..]));
    let ends = (model.keys().next(), model.keys().next_back());
    let empty = Vec::new();
    assert_eq!(&props.smallest, ends.0.unwrap_or(&empty));
    assert_eq!(&props.largest, ends.1.unwrap_or(&empty));
    for (key, kept) in model {
        assert!(table.may_contain(key_hash(key)), "the filter knows {key:?}");
        assert_eq!(table.get(key).unwrap(), Some(found(kept)), "get {key:?}");
    }
    let keys: Vec<&Vec<u8>> = model.keys().collect();
    for _ in 0..200.min(keys.len()) {
        for key in neighbours(keys[random.index(keys.len())]) {
            table.prefetch_filter(key_hash(&key));
            assert_eq!(table.get(&key).unwrap(), model.get(&key).map(found));
            assert_eq!(table.get_unfiltered(&key).unwrap(), model.get(&key).map(found));
        }
    }
    walk_whole(table, model);
    walk_at_random(table, model, random);
}

fn walk_whole(table: &Arc<Table>, model: &Model) {
    let mut cursor = table.cursor();
    assert!(!cursor.valid(), "no place before the first seek");
    cursor.seek_first().unwrap();
    for pair in model {
        assert_eq!(at(&cursor), owned(Some(pair)));
        cursor.next().unwrap();
    }
    assert!(!cursor.valid());
    let mut cursor = table.cursor_verifying();
    cursor.seek_last().unwrap();
    for pair in model.iter().rev() {
        assert_eq!(at(&cursor), owned(Some(pair)));
        cursor.prev().unwrap();
    }
    assert!(!cursor.valid());
}

// Row 112: an iterator that jumps between leaves when its direction changes.
fn walk_at_random(table: &Arc<Table>, model: &Model, random: &mut Random) {
    let keys: Vec<&Vec<u8>> = model.keys().collect();
    let mut cursor = table.cursor();
    let mut place: Option<Vec<u8>> = None;
    for _ in 0..2000 {
        let target = match keys.len() {
            0 => random_key(random, 4),
            count => {
                let around = neighbours(keys[random.index(count)]);
                around[random.index(around.len())].clone()
            }
        };
        let here = place.clone();
        let expected = match random.below(16) {
            0 => {
                cursor.seek_first().unwrap();
                model.iter().next()
            }
            1 => {
                cursor.seek_last().unwrap();
                model.iter().next_back()
            }
            2 | 3 => {
                cursor.seek(&target).unwrap();
                model.range(target..).next()
            }
            4 | 5 => {
                cursor.seek_for_prev(&target).unwrap();
                model.range(..=target).next_back()
            }
            6..11 => {
                cursor.next().unwrap();
                here.and_then(|key| model.range((Bound::Excluded(key), Bound::Unbounded)).next())
            }
            _ => {
                cursor.prev().unwrap();
                here.and_then(|key| model.range(..key).next_back())
            }
        };
        assert_eq!(at(&cursor), owned(expected));
        place = expected.map(|(key, _)| key.clone());
    }
}

#[test]
fn row_112_a_table_answers_as_a_btreemap_does() {
    let mut random = Random::new(vfs::testing::seed());
    let dir = tempfile::tempdir().unwrap();
    let fs: Arc<dyn Fs> = vfs::StdFs::open(dir.path()).unwrap();
    for (id, shape) in (1..).zip([0, 1, 2, 3, 4, 5, 6]) {
        let count = if shape == 5 { 60 } else { 1 + random.index(3000) };
        let model = random_model(&mut random, count, shape);
        let table = build_and_open(&fs, id, &model, ReadMode::Mapped);
        check_against(&table, &model, &mut random);
        let table = Table::open(&fs, crate::tables::name(id), ReadMode::Positional, None).unwrap();
        check_against(&table, &model, &mut random);
    }
}

#[test]
fn an_empty_table_is_a_table() {
    let dir = tempfile::tempdir().unwrap();
    let fs = vfs::StdFs::open(dir.path()).unwrap();
    for (id, mode) in (1..).zip(MODES) {
        let table = build_and_open(&fs, id, &Model::new(), mode);
        assert!(table.is_empty());
        check_against(&table, &Model::new(), &mut Random::new(1));
    }
}

#[test]
fn a_tree_of_several_levels_answers_as_a_btreemap_does() {
    let dir = tempfile::tempdir().unwrap();
    let fs = vfs::StdFs::open(dir.path()).unwrap();
    let mut random = Random::new(7);
    let model = tall_model(&mut random, 1200);
    let table = build_and_open(&fs, 1, &model, ReadMode::Mapped);
    assert!(table.props().height >= 4, "height {}", table.props().height);
    check_against(&table, &model, &mut random);
    let table = build_and_open(&fs, 2, &model, ReadMode::Positional);
    check_against(&table, &model, &mut random);
}

#[test]
fn the_filter_stops_nearly_all_absent_keys() {
    let dir = tempfile::tempdir().unwrap();
    let fs = vfs::StdFs::open(dir.path()).unwrap();
    let model: Model = (0..20_000_u32).map(|n| (n.to_le_bytes().to_vec(), inline(b""))).collect();
    let table = build_and_open(&fs, 1, &model, ReadMode::Mapped);
    let absent = 20_000..120_000_u32;
    let passed = absent.filter(|n| table.may_contain(key_hash(&n.to_le_bytes()))).count();
    assert!(passed < 1_500, "{passed} of 100,000 passed");
}

#[test]
fn a_found_value_lives_longer_than_its_table() {
    let dir = tempfile::tempdir().unwrap();
    let fs = vfs::StdFs::open(dir.path()).unwrap();
    for (id, mode) in (1..).zip(MODES) {
        let model = Model::from([(b"k".to_vec(), inline(b"value"))]);
        let table = build_and_open(&fs, id, &model, mode);
        let found = table.get(b"k").unwrap().unwrap();
        let mut cursor = table.cursor();
        cursor.seek_first().unwrap();
        drop(table);
        assert_eq!(found.value, sstable::FoundValue::Inline("value".into()));
        assert_eq!(cursor.value_bytes(), "value");
    }
}
