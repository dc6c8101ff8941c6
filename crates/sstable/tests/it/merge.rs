//! A merge is one sorted map in which newer sources hide older ones.

use std::ops::Bound;
use std::sync::Arc;

use sstable::{Cursor, Merge, ReadMode, Table};
use vfs::Random;
use vfs::sim::{At, CallKind, Fault, SimDisk, Times, What};

use crate::tables::{
    MODES, Model, at, build_and_open, name, neighbours, owned, random_key, random_model,
};

/// Tables, newest first, and what they are together.
fn tables(disk: &SimDisk, random: &mut Random, count: u64) -> (Vec<Arc<Table>>, Model) {
    let fs = disk.root();
    let mut whole = Model::new();
    let mut tables = Vec::new();
    for id in 1..=count {
        let entries = random.index(80);
        let shape = [0, 1, 3][random.index(3)];
        let model = random_model(random, entries, shape);
        tables.push(build_and_open(&fs, id, &model, MODES[random.index(2)]));
        for (key, kept) in model {
            whole.entry(key).or_insert(kept);
        }
    }
    (tables, whole)
}

fn walk<C: Cursor>(merge: &mut Merge<C>, model: &Model, random: &mut Random, steps: usize) {
    let keys: Vec<&Vec<u8>> = model.keys().collect();
    let mut place: Option<Vec<u8>> = None;
    for _ in 0..steps {
        let target = match keys.len() {
            0 => random_key(random, 0),
            count => neighbours(keys[random.index(count)]).swap_remove(random.index(3)),
        };
        let here = place.clone();
        let expected = match random.below(20) {
            0 => {
                merge.seek_first().unwrap();
                model.iter().next()
            }
            1 => {
                merge.seek_last().unwrap();
                model.iter().next_back()
            }
            2 => {
                merge.seek(&target).unwrap();
                model.range(target..).next()
            }
            3 => {
                merge.seek_for_prev(&target).unwrap();
                model.range(..=target).next_back()
            }
            4..13 => {
                merge.next().unwrap();
                here.and_then(|key| model.range((Bound::Excluded(key), Bound::Unbounded)).next())
            }
            _ => {
                merge.prev().unwrap();
                here.and_then(|key| model.range(..key).next_back())
            }
        };
        assert_eq!(at(merge), owned(expected));
        place = expected.map(|(key, _)| key.clone());
    }
}

#[test]
fn row_112_a_merge_answers_as_a_btreemap_does_in_both_directions() {
    for seed in vfs::testing::seeds(12) {
        let mut random = Random::new(seed);
        let disk = SimDisk::new(seed);
        let count = [0, 1, 2, 3, 5, 8, 9, 20][random.index(8)];
        let (tables, model) = tables(&disk, &mut random, count);
        let mut merge = Merge::new(tables.iter().map(Table::cursor).collect());
        assert!(!merge.valid());
        walk(&mut merge, &model, &mut random, 1500);
        let boxed = |table: &Arc<Table>| -> Box<dyn Cursor + Send> { Box::new(table.cursor()) };
        let mut merge = Merge::new(tables.iter().map(boxed).collect());
        walk(&mut merge, &model, &mut random, 500);
        // Merges of merges, as keyspaces do with levels.
        let (newer, older) = tables.split_at(tables.len() / 2);
        let part = |tables: &[Arc<Table>]| Merge::new(tables.iter().map(Table::cursor).collect());
        let mut merge = Merge::new(vec![part(newer), part(older)]);
        walk(&mut merge, &model, &mut random, 500);
    }
}

#[test]
fn versions_are_met_one_by_one_newest_first() {
    for seed in vfs::testing::seeds(12) {
        let mut random = Random::new(seed);
        let disk = SimDisk::new(seed);
        let count = [0, 1, 2, 3, 9, 20][random.index(6)];
        let (tables, model) = tables(&disk, &mut random, count);
        let mut versions = Vec::new();
        for (age, table) in tables.iter().enumerate() {
            let mut cursor = table.cursor();
            cursor.seek_first().unwrap();
            while cursor.valid() {
                versions.push((cursor.key().to_vec(), age, at(&cursor)));
                cursor.next().unwrap();
            }
        }
        versions.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        let mut merge = Merge::new(tables.iter().map(Table::cursor).collect());
        merge.seek_first().unwrap();
        for (index, (key, _, version)) in versions.iter().enumerate() {
            assert_eq!(at(&merge), *version, "version {index}");
            let is_older = versions.get(index + 1).is_some_and(|next| next.0 == *key);
            assert_eq!(merge.next_version().unwrap(), is_older, "behind version {index}");
        }
        assert!(!merge.valid() && !merge.next_version().unwrap());
        walk(&mut merge, &model, &mut random, 50);
    }
}

// Rows 45 and 86: a read that fails at any moment ends the merge with an error; nothing is left
// out, and after a seek everything is there again.
#[test]
fn rows_045_and_086_a_failed_read_never_shortens_a_merge() {
    let mut random = Random::new(vfs::testing::seed());
    let disk = SimDisk::new(3);
    let fs = disk.root();
    let mut whole = Model::new();
    for id in 1..=3 {
        let model = random_model(&mut random, 120, 3);
        build_and_open(&fs, id, &model, ReadMode::Positional);
        for (key, kept) in model {
            whole.entry(key).or_insert(kept);
        }
    }
    let open = || -> Vec<Arc<Table>> {
        let one = |id| Table::open(&fs, name(id), ReadMode::Positional, None).unwrap();
        (1..=3).map(one).collect()
    };
    for forward in [true, false] {
        for (what, fails) in [(What::Io, true), (What::Short(7), false)] {
            for nth in 0.. {
                let tables = open();
                let mut merge = Merge::new(tables.iter().map(Table::cursor_verifying).collect());
                let call = At::Kind(CallKind::Read, disk.calls_of(CallKind::Read) + nth);
                let hits = disk.faults_hit();
                disk.fault(Fault { at: call, what, times: Times::Once });
                let mut seen = Vec::new();
                let mut step = if forward { merge.seek_first() } else { merge.seek_last() };
                while step.is_ok() && merge.valid() {
                    seen.push(at(&merge).unwrap());
                    step = if forward { merge.next() } else { merge.prev() };
                }
                let hit = disk.faults_hit() > hits;
                disk.clear_faults();
                assert_eq!(step.is_err(), hit && fails);
                let pairs: Vec<_> = whole.clone().into_iter().collect();
                let pairs: Vec<_> = if forward { pairs } else { pairs.into_iter().rev().collect() };
                if step.is_err() {
                    assert_eq!(seen[..], pairs[..seen.len()]);
                    assert!(!merge.valid());
                    assert!(merge.next().is_err() && merge.prev().is_err() && !merge.valid());
                    walk_again(&mut merge, &whole);
                } else {
                    assert_eq!(seen, pairs);
                }
                if !hit {
                    assert!(nth > 3, "a merge of three tables reads a few pages");
                    break;
                }
            }
        }
    }
}

fn walk_again<C: Cursor>(merge: &mut Merge<C>, model: &Model) {
    merge.seek_first().unwrap();
    for pair in model {
        assert_eq!(at(merge), owned(Some(pair)));
        merge.next().unwrap();
    }
    assert!(!merge.valid());
}
