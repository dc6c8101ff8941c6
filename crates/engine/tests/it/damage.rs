//! Damage is reported, by file, or does not matter; it is never served.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::{Db, ErrorKind, IndexKind, Options, ReadMode};
use vfs::Random;
use vfs::sim::{Damage, ImageKind};

use crate::lent::Mixed;
use crate::world::{
    Map, TestResult, World, both, contents, halve_real_files, holds_data, key, kind_of, modes,
    tiny, value,
};

/// A closed database with every kind of file: log, value segments both copied and promoted,
/// rewritten files and remap tables, indexes with tombstones and pointers, MANIFEST.
fn reference(options: &Options) -> (World, Map) {
    let world = World::new(4);
    let options = options.clone().promote_min(0.5).memtable_bytes(32 << 10);
    let options = options.total_garbage_max(0.0).gc_interval(Duration::ZERO);
    let db = world.open(&options).expect("a new database");
    for index in 0..60 {
        db.put(key(index), value(index, 0, 1200)).expect("a healthy disk"); // promoted
    }
    db.flush().expect("a healthy disk");
    let kind = db.default_keyspace().kind();
    for index in (0..60).step_by(2) {
        db.put(key(index), value(index, 1, 1200)).expect("a healthy disk");
    }
    db.compact().expect("a healthy disk"); // a partition, not only runs
    db.collect_garbage().expect("a healthy disk"); // moved, with remap tables
    for index in (60..200_u64).flat_map(|index| [index, index]) {
        let len = if index.is_multiple_of(10) { 300 } else { 30 }; // copied, and inline
        db.put(key(index), value(index, 0, len)).expect("a healthy disk");
    }
    for index in (0..200).step_by(7) {
        db.delete(key(index)).expect("a healthy disk");
    }
    db.flush().expect("a healthy disk");
    for index in 200..210 {
        db.put(key(index), value(index, 0, 100)).expect("a healthy disk"); // in the log
    }
    let expected = contents(db.default_keyspace()).expect("a healthy disk");
    db.close().expect("a healthy disk");
    let index: &[&str] = match kind {
        IndexKind::BTree => &[".tbl"],
        _ => &[".gen", ".run", ".part"],
    };
    for suffix in [".wal", ".val", ".map", ".manifest"].iter().chain(index) {
        assert!(!world.names(suffix).is_empty(), "no {suffix} in {:?}", world.disk.files());
    }
    (world, expected)
}

/// Opens a damaged copy. Every answer is right or `Corrupt`; says whether anybody noticed.
fn judge(image: &World, options: &Options, expected: &Map, file: &str, what: &str) -> bool {
    let names_it = |error: &engine::Error| {
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error}");
        let named = error.to_string().contains(file);
        assert!(named, "{what}: {error} does not name {file}");
    };
    let db = match image.open(options) {
        Ok(db) => db,
        Err(error) => {
            names_it(&error);
            return true;
        }
    };
    let mut noticed = false;
    for index in 0..210 {
        match db.get(key(index)) {
            Ok(found) => assert_eq!(
                found.as_deref(),
                expected.get(&key(index)).map(Vec::as_slice),
                "{what}: a wrong answer for {index}"
            ),
            Err(error) => {
                names_it(&error);
                noticed = true;
            }
        }
    }
    if db.default_keyspace().kind() != IndexKind::BTree {
        noticed |= judge_unordered(&db, expected, what, &names_it);
    }
    for forwards in [true, false] {
        if db.default_keyspace().kind() != IndexKind::BTree {
            break;
        }
        noticed |= judge_scan(&db, expected, forwards, what, &names_it);
    }
    let report = db.check().expect("damage is in the report");
    for error in &report.damage {
        names_it(error);
        noticed = true;
    }
    noticed
}

/// As [`judge_scan`], where there is no order.
fn judge_unordered(db: &Db, expected: &Map, what: &str, names_it: &dyn Fn(&engine::Error)) -> bool {
    let mut left = expected.clone();
    let mut range = Mixed::new(db.iter(), false);
    while let Some(entry) = range.next() {
        match entry {
            Ok((key, value)) => {
                let expected = left.remove(&key);
                assert!(expected.is_some_and(|it| value == it), "{what}: a scan is wrong");
            }
            Err(error) => {
                names_it(&error);
                assert!(range.next().is_none() && range.next_back().is_none(), "{what}: goes on");
                return true;
            }
        }
    }
    assert!(left.is_empty(), "{what}: a scan ends early and says nothing");
    false
}

/// A scan is right up to the error, which is its last item (row 86).
fn judge_scan(
    db: &Db,
    expected: &Map,
    forwards: bool,
    what: &str,
    names_it: &dyn Fn(&engine::Error),
) -> bool {
    let mut range = Mixed::new(db.iter(), forwards);
    let mut left = expected.iter();
    loop {
        let (found, entry) = match forwards {
            true => (range.next(), left.next()),
            false => (range.next_back(), left.next_back()),
        };
        match found {
            Some(Ok((found_key, found_value))) => {
                let (key, value) = entry.expect("a scan ends where the map does");
                assert!(*found_key == **key && found_value == *value, "{what}: a scan is wrong");
            }
            Some(Err(error)) => {
                names_it(&error);
                assert!(
                    range.next().is_none() && range.next_back().is_none(),
                    "{what}: it goes on"
                );
                return true;
            }
            None => {
                assert!(entry.is_none(), "{what}: a scan ends early and says nothing");
                return false;
            }
        }
    }
}

#[test]
fn row_052_086_100_flipped_bits_in_any_file_are_reported_and_never_served() {
    for options in both(&tiny()) {
        flip_bits(&options);
    }
}

fn flip_bits(options: &Options) {
    let (world, expected) = reference(options);
    let mut random = Random::new(vfs::testing::seed());
    let mut noticed: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    for (number, (file, bytes)) in
        world.files().into_iter().filter(|(f, _)| holds_data(f)).enumerate()
    {
        let len = bytes.len() as u64;
        for round in 0..36_u32 {
            // Headers and footers more than the rest.
            let offset = match round % 4 {
                0 => random.below(len.min(160)),
                1 => len - 1 - random.below(len.min(160)),
                _ => random.below(len),
            };
            let bit = u8::try_from(random.below(8)).expect("small");
            let image = world.crash(ImageKind::Everything, 1);
            image.disk.corrupt(&file, &Damage::FlipBit { offset, bit });
            let read =
                if round.is_multiple_of(2) { ReadMode::Positional } else { ReadMode::Mapped };
            let options = options.clone().read_mode(read);
            let what = format!("{file} (number {number}), byte {offset} of {len}, bit {bit}");
            let seen = judge(&image, &options, &expected, &file, &what);
            let entry =
                noticed.entry(file.split('.').next_back().expect("a kind").into()).or_default();
            entry.0 += u32::from(seen);
            entry.1 += 1;
        }
    }
    for (kind, (seen, all)) in noticed {
        assert_eq!(seen, all, "flips in {kind} files that were noticed");
    }
}

#[test]
fn row_038_075_cut_zeroed_swapped_and_missing_pieces_are_reported() {
    for options in both(&tiny()) {
        cut_zero_swap_and_remove(&options);
    }
}

fn cut_zero_swap_and_remove(options: &Options) {
    let (world, expected) = reference(options);
    let mut random = Random::new(vfs::testing::seed());
    for (file, bytes) in world.files().into_iter().filter(|(file, _)| holds_data(file)) {
        let len = bytes.len() as u64;
        let mut damages = vec![
            Damage::Truncate { len: 0 },
            Damage::Truncate { len: len - 1 },
            Damage::Truncate { len: len / 2 },
            Damage::Truncate { len: random.below(len) },
            Damage::Remove,
        ];
        if len > 1024 {
            damages.push(Damage::Zero { offset: len / 2 / 512 * 512, len: 512 });
            damages.push(Damage::Swap { first: 0, second: 512, len: 512 });
        }
        for damage in damages {
            for read in [ReadMode::Mapped, ReadMode::Positional] {
                let image = world.crash(ImageKind::Everything, 1);
                image.disk.corrupt(&file, &damage);
                let options = options.clone().read_mode(read);
                let what = format!("{file} of {len} bytes, {damage:?}, {read:?}");
                let untouched = image.disk.read_file(&file) == Some(bytes.clone());
                if file.ends_with(".manifest") && damage == Damage::Remove {
                    assert_eq!(kind_of(image.open(&options)), ErrorKind::Invalid, "{what}");
                    continue;
                }
                let noticed = judge(&image, &options, &expected, &file, &what);
                assert!(noticed || untouched, "{what}: nobody noticed");
            }
        }
    }
}

#[test]
fn row_100_every_bit_of_a_records_header_is_checked_by_get() -> TestResult {
    for options in modes(&tiny()) {
        let world = World::new(100);
        let db = world.open(&options)?;
        let written = value(1, 1, 500);
        db.put(b"key", &written)?;
        db.flush()?;
        db.close()?;
        let (file, start) = ["val", "wal"]
            .into_iter()
            .flat_map(|suffix| world.names(suffix))
            .find_map(|name| {
                let bytes = world.disk.read_file(&name).expect("it was listed");
                let at = bytes.windows(3).position(|window| window == b"key")?;
                Some((name, at as u64 - 24))
            })
            .expect("the record is somewhere");
        for bit in 0..24 * 8_u64 {
            let image = world.crash(ImageKind::Everything, 1);
            let (offset, bit) = (start + bit / 8, u8::try_from(bit % 8)?);
            image.disk.corrupt(&file, &Damage::FlipBit { offset, bit });
            let found = image.open(&options).and_then(|db| {
                let found = db.get(b"key")?;
                assert_eq!(found.as_deref(), Some(written.as_slice()), "byte {offset} bit {bit}");
                assert!(
                    !db.check()?.is_sound(),
                    "byte {offset} bit {bit} of {file} goes unnoticed"
                );
                Ok(())
            });
            if let Err(error) = found {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                assert!(error.to_string().contains(&file), "{error}");
            }
        }
    }
    Ok(())
}

#[test]
fn row_075_a_file_that_is_cut_while_it_is_open_gives_errors_in_the_positional_mode() -> TestResult {
    for options in both(&tiny().read_mode(ReadMode::Positional).promote_min(1.0)) {
        cut_while_open(&options)?;
    }
    Ok(())
}

fn cut_while_open(options: &Options) -> TestResult {
    let scratch = tempfile::tempdir()?;
    let db = Db::open(scratch.path(), options.clone())?;
    for index in 0..100 {
        db.put(key(index), value(index, 0, if index.is_multiple_of(2) { 30 } else { 900 }))?;
    }
    db.compact()?;
    halve_real_files(scratch.path(), &["tbl", "val"]);
    if db.default_keyspace().kind() != IndexKind::BTree {
        halve_real_files(&scratch.path().join("0000000000000001.hash"), &["part", "run"]);
    }
    let mut errors = 0;
    for index in 0..100_u64 {
        let len = if index.is_multiple_of(2) { 30 } else { 900 };
        match db.get(key(index)) {
            Ok(found) => assert_eq!(found.as_deref(), Some(value(index, 0, len).as_slice())),
            Err(error) => {
                errors += 1;
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            }
        }
    }
    assert!(errors > 0, "half of every file is gone");
    assert!(!db.check()?.is_sound());
    drop(db.close());
    Ok(())
}

#[test]
fn a_damaged_table_fails_the_merge_and_ends_the_writes_but_not_the_reads() -> TestResult {
    let world = World::new(12);
    let options = tiny().level0_files(8).level0_files_max(9);
    let db = world.open(&options)?;
    for index in 0..40 {
        db.put(key(index), value(index, 0, 40))?;
    }
    db.flush()?;
    db.put(b"z", b"in a table of its own")?;
    db.flush()?;
    db.close()?;
    let table = world.names(".tbl").remove(0);
    let db = world.open(&options)?;
    let bytes = world.disk.read_file(&table).expect("it was listed");
    let entry = bytes.windows(7).position(|window| window == b"value 3").expect("it is inline");
    world.disk.corrupt(&table, &Damage::FlipBit { offset: entry as u64, bit: 3 });
    let error = db.compact().expect_err("its input is damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(&table), "{error}");
    assert_eq!(kind_of(db.put(b"k", b"v")), ErrorKind::ReadOnly);
    assert_eq!(db.get(b"z")?.as_deref(), Some(b"in a table of its own".as_slice()));
    assert_eq!(kind_of(db.get(key(1))), ErrorKind::Corrupt);
    assert!(world.names(".tbl").contains(&table), "nothing is removed");
    Ok(())
}

/// We believed that a clean close leaves nothing in doubt, because the MANIFEST records the log's end.
/// True was: the edit that records it is the MANIFEST's last one, which nothing attests, so a flipped
/// bit in it was read as a torn tail, and the damage it hid in the log as an end.
#[test]
fn rows_003_004_after_a_clean_close_every_bit_and_length_of_the_manifest_counts() {
    for options in both(&tiny()) {
        let (world, _) = reference(&options);
        let manifest = world.names(".manifest").remove(0);
        let len = world.disk.read_file(&manifest).expect("it was listed").len() as u64;
        let refused = |damage: Damage| {
            let image = world.crash(ImageKind::Everything, 1);
            image.disk.corrupt(&manifest, &damage);
            let error = image.open(&options).err();
            let error = error.unwrap_or_else(|| panic!("{damage:?} of {len} bytes is unnoticed"));
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{damage:?}: {error}");
            assert!(error.to_string().contains(&manifest), "{damage:?}: {error}");
        };
        for offset in 0..len {
            let bit = u8::try_from(offset % 8).expect("small");
            refused(Damage::FlipBit { offset, bit });
            refused(Damage::Truncate { len: offset });
        }
    }
}

#[test]
fn an_unfinished_edit_is_reported_with_its_place_and_length() -> TestResult {
    let world = World::new(13);
    let db = world.open(&tiny())?;
    db.put(b"key", b"value")?;
    db.keyspace("second", engine::KeyspaceOptions::btree())?;
    world.kill(db);
    let manifest = world.names(".manifest").remove(0);
    let bytes = world.disk.read_file(&manifest).expect("it was listed");
    let used = bytes.iter().rposition(|byte| *byte != 0).expect("it is not empty") as u64;
    world.disk.corrupt(&manifest, &Damage::FlipBit { offset: used, bit: 2 });
    let db = world.open(&tiny())?;
    let recovery = db.stats().recovery;
    let (file, offset, ignored) = recovery.manifest_cut.expect("its last edit is not whole");
    // Counted in words of eight bytes.
    let end = (used + 1).next_multiple_of(8);
    assert_eq!((file.as_str(), offset + ignored), (manifest.as_str(), end));
    assert_eq!(db.get(b"key")?.as_deref(), Some(b"value".as_slice()));
    Ok(())
}

/// We believed that bytes behind the end of a segment mean nothing and need no look. True was: they
/// are the trace of a write that went elsewhere, and `check` is who has to say so.
#[test]
fn row_073_check_reports_bytes_behind_the_end_of_a_segment() -> TestResult {
    for options in both(&tiny()) {
        let (world, expected) = reference(&options);
        for (file, bytes) in world.files() {
            if !file.ends_with(".val") && !file.ends_with(".wal") {
                continue;
            }
            let image = world.crash(ImageKind::Everything, 1);
            let offset = bytes.len() as u64;
            image.disk.corrupt(&file, &Damage::Truncate { len: offset + 9000 });
            let db = image.open(&options)?;
            let report = db.check()?;
            assert!(
                report.is_sound() && report.ignored.is_empty(),
                "zeros mean nothing: {report:?}"
            );
            db.close()?;
            let image = world.crash(ImageKind::Everything, 1);
            image.disk.corrupt(&file, &Damage::Truncate { len: offset + 9000 });
            let stray = Damage::Overwrite { offset: offset + 4500, bytes: b"stray".to_vec() };
            image.disk.corrupt(&file, &stray);
            let db = image.open(&options)?;
            assert_eq!(contents(db.default_keyspace())?, expected);
            let report = db.check()?;
            match file.ends_with(".val") {
                true => assert!(report.damage[0].to_string().contains(&file), "{report:?}"),
                false => assert_eq!(report.ignored, [(file, offset, 4505)]),
            }
        }
    }
    Ok(())
}
