use std::collections::BTreeMap;
use std::sync::Arc;

use sstable::Cursor;
use vfs::sim::{At, CallKind, Fault, SimDisk, Times, What};
use vfs::{Env, Random};
use wal::SegmentIds;

use super::*;
use crate::files::NextIds;
use crate::index::{FullMerge, Index};
use crate::options::{Options, ReadMode};
use crate::vlog::Values;

/// What a key may have at one level.
#[derive(Clone, Debug)]
enum Version {
    Value(Vec<u8>),
    Expired(Vec<u8>),
    Tombstone,
}

type Versions = BTreeMap<Vec<u8>, Version>;
type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn files(disk: &SimDisk, options: Options) -> Arc<Files> {
    let env = Env::sim(1).env;
    Arc::new(Files::new(
        disk.root(),
        env,
        7,
        options,
        SegmentIds::new(),
        NextIds { file: 1, keyspace: 1 },
        0,
    ))
}

fn tiny_options() -> Options {
    let mut options = Options::default()
        .table_bytes(4096)
        .level0_files(2)
        .level1_bytes(4096)
        .level_multiplier(2)
        .read_mode(ReadMode::Positional);
    options.table_bytes = 1;
    options
}

/// The index with one more file, which is the newest of its level.
fn with_table(levels: &Levels, files: &Arc<Files>, level: u8, versions: &Versions) -> Levels {
    let mut output = TableOutput::new(files.clone(), 0, level, Ends::never());
    for (key, version) in versions {
        let (value, expiry) = match version {
            Version::Value(value) => (Value::Inline(value), 0),
            Version::Expired(value) => (Value::Inline(value), 1),
            Version::Tombstone => (Value::Tombstone, 0),
        };
        output.add(Entry { key, value, expiry }).expect("a healthy disk");
    }
    output.end_table().expect("a healthy disk");
    installed(levels, output.into_delta(Vec::new(), BTreeMap::new()))
}

fn installed(levels: &Levels, mut delta: Delta) -> Levels {
    let installed = (delta.install)(levels).expect("a healthy disk");
    installed.index.as_any().downcast_ref::<Levels>().expect("it is ordered").clone()
}

fn context(files: &Arc<Files>, full: bool) -> MergeContext {
    let (files, segments, dissolve) = (files.clone(), Arc::default(), Arc::default());
    let now_ms = files.now_ms();
    let full = full.then(|| Arc::new(FullMerge::new(now_ms)));
    MergeContext {
        files,
        keyspace: 0,
        segments,
        dissolve,
        is_roomy: true,
        now_ms,
        flushes_wait: false,
        full,
    }
}

fn get(levels: &Levels, key: &[u8]) -> Option<sstable::Found> {
    let values = Values { db_id: 7, keyspace: 0, segments: &Segments::default(), verifies: true };
    levels.get(key, &values).expect("a healthy disk")
}

fn run(mut merge: Box<dyn Merge>) -> Result<Delta> {
    while !merge.step()? {}
    Ok(merge.finish())
}

fn overlay(model: &mut Model, versions: &Versions) {
    for (key, version) in versions {
        match version {
            Version::Value(value) => drop(model.insert(key.clone(), value.clone())),
            Version::Expired(_) | Version::Tombstone => drop(model.remove(key)),
        }
    }
}

fn scan(levels: &Levels, now_ms: u64) -> Result<Model> {
    let mut sources = Vec::new();
    levels.cursors(&mut sources)?;
    let mut cursor = sstable::Merge::new(sources);
    cursor.seek_first()?;
    let mut found = Model::new();
    while cursor.valid() {
        let entry = cursor.entry();
        if let Value::Inline(value) = entry.value
            && !is_expired(entry.expiry, now_ms)
        {
            found.insert(entry.key.to_vec(), value.to_vec());
        }
        cursor.next()?;
    }
    Ok(found)
}

fn random_versions(random: &mut Random, keys: &[Vec<u8>]) -> Versions {
    let mut versions = Versions::new();
    for key in keys {
        let version = match random.below(10) {
            0..4 => continue,
            4..7 => Version::Value(random.bytes(12)),
            7 => Version::Expired(random.bytes(12)),
            _ => Version::Tombstone,
        };
        versions.insert(key.clone(), version);
    }
    versions
}

/// An index of random shape, empty middle levels included, and what it holds.
fn random_shape(random: &mut Random, files: &Arc<Files>, keys: &[Vec<u8>]) -> (Levels, Model) {
    let mut levels = Levels::default();
    let mut model = Model::new();
    let depth = 1 + random.index(4);
    for level in (1..=depth).rev().filter(|_| random.percent(70)).collect::<Vec<_>>() {
        let level = u8::try_from(level).expect("a small number");
        // Disjoint files: each takes a stretch of the keys.
        for stretch in keys.chunks(1 + random.index(keys.len())) {
            let versions = random_versions(random, stretch);
            if !versions.is_empty() {
                overlay(&mut model, &versions);
                levels = with_table(&levels, files, level, &versions);
            }
        }
    }
    for _ in 0..random.below(4) {
        let versions = random_versions(random, keys);
        if !versions.is_empty() {
            overlay(&mut model, &versions);
            levels = with_table(&levels, files, 0, &versions);
        }
    }
    (levels, model)
}

fn keys(count: u32) -> Vec<Vec<u8>> {
    (0..count).map(|index| format!("key{index:03}").into_bytes()).collect()
}

/// A file as small as possible: every entry gets one of its own (row 46 too).
#[test]
fn row_041_042_044_046_every_merge_of_every_shape_keeps_what_the_index_says() {
    let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok());
    let seeds = seed.map_or(0..60, |seed| seed..seed + 1);
    for seed in seeds {
        println!("SEED={seed}");
        let mut random = Random::new(seed);
        let disk = SimDisk::new(seed);
        let files = files(&disk, tiny_options());
        let now_ms = files.env.clock.wall_ms();
        let keys = keys(24);
        let (mut levels, model) = random_shape(&mut random, &files, &keys);
        assert_eq!(scan(&levels, now_ms).expect("a healthy disk"), model, "before any merge");
        for full in [false, true] {
            while let Some(merge) = plan(&levels, &context(&files, full)) {
                let delta = run(merge).expect("a healthy disk");
                levels = installed(&levels, delta);
                let found = scan(&levels, now_ms).expect("a healthy disk");
                assert_eq!(found, model, "after a merge, full {full}");
                for key in &keys {
                    let found = get(&levels, key);
                    let live = found.is_some_and(|found| {
                        !matches!(found.value, sstable::FoundValue::Tombstone)
                            && !is_expired(found.expiry, now_ms)
                    });
                    assert_eq!(live, model.contains_key(key), "get {}", key.escape_ascii());
                }
            }
        }
        let shape = levels.shape();
        assert_eq!(shape.entries, model.len() as u64, "a full merge leaves live entries only");
        let used = shape.levels.iter().filter(|(files, _)| *files > 0).count();
        assert!(used <= 1, "a full merge leaves one run: {shape:?}");
    }
}

#[test]
fn row_045_a_failing_read_fails_the_merge_or_changes_nothing() {
    let mut hit = 0;
    for nth in 0.. {
        let disk = SimDisk::new(45);
        let files = files(&disk, tiny_options());
        let now_ms = files.env.clock.wall_ms();
        let (levels, model) = random_shape(&mut Random::new(5), &files, &keys(40));
        // Opened anew, so that every page is read and verified again.
        let records: Vec<_> = levels.levels[0]
            .iter()
            .rev()
            .chain(levels.levels[1..].iter().flat_map(|level| level.iter()))
            .map(|table| table.record.clone())
            .collect();
        let levels = Levels::open(&files, &records).expect("a healthy disk");
        let at = At::Kind(CallKind::Read, disk.calls_of(CallKind::Read) + nth);
        let what = if nth % 2 == 0 { What::Io } else { What::Short(1) };
        disk.fault(Fault { at, what, times: Times::Once });
        let merge = plan(&levels, &context(&files, true)).expect("there is something to merge");
        let result = run(merge);
        let was_hit = disk.faults_hit() > 0;
        disk.clear_faults();
        hit += u32::from(was_hit);
        if let Ok(delta) = result {
            let merged = installed(&levels, delta);
            assert_eq!(scan(&merged, now_ms).expect("a healthy disk"), model, "read {nth}");
        } else {
            assert!(was_hit, "only a fault fails a merge");
            assert_eq!(scan(&levels, now_ms).expect("a healthy disk"), model, "read {nth}");
        }
        if !was_hit {
            break;
        }
    }
    assert!(hit > 3, "a merge reads its inputs: {hit} reads");
}

#[test]
fn level_1_is_as_large_as_what_comes_down_to_it_asks_for() {
    let options = tiny_options().table_bytes(4096).level0_files(2).level1_bytes(1 << 30);
    let files = files(&SimDisk::new(1), options);
    let value = |keys: &[Vec<u8>]| {
        keys.iter().map(|key| (key.clone(), Version::Value(vec![1; 60]))).collect::<Versions>()
    };
    let keys = keys(4000);
    let mut levels = Levels::default();
    for stretch in keys.chunks(100) {
        levels = with_table(&levels, &files, 1, &value(stretch));
    }
    let context = context(&files, false);
    assert!(plan(&levels, &context).is_none(), "level 1 has less than `level1_bytes`");
    let small = with_table(&levels, &files, 0, &value(&keys[..1]));
    let bytes: u64 = levels.tables().map(|table| table.record.len).sum();
    assert!(level1_target(&small, &files) < bytes);
    let delta = run(plan(&small, &context).expect("level 1 is large for such flushes"));
    let moved = installed(&small, delta.expect("a healthy disk"));
    assert_eq!((moved.levels[0].len(), moved.levels[2].len()), (1, 1));
    let large = with_table(&levels, &files, 0, &value(&keys));
    assert!(bytes < level1_target(&large, &files));
    assert!(plan(&large, &context).is_none(), "one such flush brings as much");
}

/// (What we believed: files that overlap nothing cost nothing. What was true: flushes of few entries in
/// the order of their keys leave as many files, and as many mappings, as there were flushes.)
#[test]
fn small_files_that_overlap_nothing_become_few() {
    let options = tiny_options().table_bytes(256 << 10).level0_files(2).level1_bytes(2 << 20);
    for is_descending in [false, true] {
        let files = files(&SimDisk::new(1), options.clone());
        let context = context(&files, false);
        let (mut levels, mut expected) = (Levels::default(), Model::new());
        let (mut most, mut flushed, mut written) = (0, 0, 0);
        for round in 0..1500_u64 {
            let first = 4 * if is_descending { 1500 - round } else { round };
            let key = |index| format!("{:08}", first + index).into_bytes();
            let some: Versions = (0..4).map(|i| (key(i), Version::Value(vec![1; 60]))).collect();
            overlay(&mut expected, &some);
            levels = with_table(&levels, &files, 0, &some);
            flushed += levels.levels[0][0].record.len;
            while let Some(merge) = plan(&levels, &context) {
                let delta = run(merge).expect("a healthy disk");
                written += delta.bytes_written;
                levels = installed(&levels, delta);
            }
            most = most.max(levels.tables().count());
        }
        assert!(most < 60, "{most} files of 1500 flushes");
        assert!(written < 3 * flushed, "{flushed} bytes were flushed, {written} written again");
        assert_eq!(scan(&levels, 0).expect("a healthy disk"), expected);
    }
}

/// On a disk that is nearly full it took the reserve, and puts were refused.
#[test]
fn files_are_joined_only_where_there_is_space() {
    let options = tiny_options().table_bytes(256 << 10).level1_bytes(2 << 20);
    let files = files(&SimDisk::new(1), options);
    let mut levels = Levels::default();
    for key in keys(8) {
        levels = with_table(&levels, &files, 1, &[(key, Version::Value(vec![1; 60]))].into());
    }
    let roomy = context(&files, false);
    assert!(plan(&levels, &MergeContext { is_roomy: false, ..context(&files, false) }).is_none());
    let joined = installed(
        &levels,
        run(plan(&levels, &roomy).expect("there are enough")).expect("a healthy disk"),
    );
    assert_eq!(joined.tables().count(), 1);
    assert!(plan(&joined, &roomy).is_none());
}

/// Writers that never pause fill level 0 again while it is merged.
#[test]
fn a_level_that_is_fuller_than_level_0_goes_down_first() {
    let options = tiny_options().table_bytes(64 << 10).level0_files(2).level1_bytes(4 << 20);
    let files = files(&SimDisk::new(1), options);
    let context = context(&files, false);
    let keys = keys(60_000);
    let value = |keys: &[Vec<u8>]| {
        keys.iter().map(|key| (key.clone(), Version::Value(vec![1; 60]))).collect::<Versions>()
    };
    let mut levels = Levels::default();
    let mut most = 0;
    for round in 0..40 {
        for stretch in 0..6 {
            let some = keys.iter().skip(round * 6 + stretch).step_by(370).cloned();
            levels = with_table(&levels, &files, 0, &value(&some.collect::<Vec<_>>()));
        }
        let delta = run(plan(&levels, &context).expect("level 0 is full")).expect("a healthy disk");
        levels = installed(&levels, delta);
        while levels.levels[0].len() > 8 {
            let merge = plan(&levels, &context).expect("level 0 is full");
            levels = installed(&levels, run(merge).expect("a healthy disk"));
        }
        most = most.max(bytes_of(&levels.levels[1]));
    }
    let target = level1_target(&levels, &files);
    assert!(most < 8 * target, "{most} bytes in level 1, which is to have {target}");
    assert!(levels.levels.len() > 2, "there was more to hold than that");
}

#[test]
fn row_044_a_tombstone_stays_while_a_deeper_file_may_hold_its_key() {
    let disk = SimDisk::new(44);
    let files = files(&disk, tiny_options());
    let put = |value: &[u8]| Version::Value(value.to_vec());
    let old = Versions::from([(b"a".to_vec(), put(b"1")), (b"m".to_vec(), put(b"1"))]);
    let middle = Versions::from([(b"b".to_vec(), put(b"2"))]);
    let new = Versions::from([(b"a".to_vec(), Version::Tombstone), (b"c".to_vec(), put(b"3"))]);
    let levels = with_table(&Levels::default(), &files, 3, &old);
    let levels = with_table(&levels, &files, 1, &middle);
    let levels = with_table(&levels, &files, 0, &new);
    let levels = with_table(&levels, &files, 0, &new);
    let delta = run(plan(&levels, &context(&files, false)).expect("two files start a merge"));
    let levels = installed(&levels, delta.expect("a healthy disk"));
    let found = get(&levels, b"a").expect("the tombstone is there");
    assert!(matches!(found.value, sstable::FoundValue::Tombstone));
    assert!(!scan(&levels, 0).expect("a healthy disk").contains_key(b"a".as_slice()));
}
