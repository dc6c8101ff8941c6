//! Databases that an earlier build wrote are opened by this one, and by every later one; what a
//! later build writes in another format is refused by its version.
//!
//! `tests/golden/v1-KIND/` were written by
//! `cargo test -p engine --test it -- --ignored write_the_golden_directories`, which is run for a new format
//! version only, into a new directory: what is there is never written again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::{ErrorKind, IndexKind, Keyspace, KeyspaceOptions, Options, ReadMode, WriteOptions};
use vfs::Checksum;
use vfs::golden::load;
use vfs::sim::Damage;

use crate::world::{
    Map, TestResult, World, assert_same, assert_sound, contents, holds_data, key, kind_of, tiny,
    value,
};

const KINDS: [(&str, IndexKind); 2] =
    [("v1-btree", IndexKind::BTree), ("v1-hash", IndexKind::Hash)];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn options(kind: IndexKind) -> Options {
    let default = match kind {
        IndexKind::Hash => KeyspaceOptions::hash(),
        _ => KeyspaceOptions::btree(),
    };
    tiny()
        .segment_bytes(16 << 10)
        .default_keyspace(default)
        .promote_min(0.5)
        .memtable_bytes(32 << 10)
        .table_bytes(64 << 10)
}

/// What the golden databases hold: large values of which half were overwritten and moved, small,
/// empty and deleted ones, one with an expiry, a key longer than a page, the last ones in the log.
fn write(world: &World, kind: IndexKind) -> engine::Result<Map> {
    let options = options(kind).total_garbage_max(0.0).gc_interval(Duration::ZERO);
    let db = world.open(&options)?;
    let mut map = Map::new();
    let put = |map: &mut Map, index: u64, version: u64, len: usize| {
        let (key, value) = (key(index), value(index, version, len));
        map.insert(key.clone(), value.clone());
        db.put(key, value)
    };
    for index in 0..12 {
        put(&mut map, index, 0, 700)?;
    }
    db.flush()?;
    for index in (0..12).step_by(2) {
        put(&mut map, index, 1, 700)?;
    }
    db.compact()?;
    db.collect_garbage()?;
    for index in 12..40 {
        put(&mut map, index, 0, if index % 10 == 0 { 300 } else { 20 })?;
    }
    for index in (1..40).step_by(9) {
        map.remove(&key(index));
        db.delete(key(index))?;
    }
    for (key, value) in [(b"empty".to_vec(), Vec::new()), (vec![b'l'; 4500], b"long".to_vec())] {
        map.insert(key.clone(), value.clone());
        db.put(key, value)?;
    }
    // Until long after every test.
    let options = WriteOptions::default().ttl(Duration::from_secs(1 << 32));
    map.insert(b"expires".to_vec(), b"late".to_vec());
    db.put_with(b"expires", b"late", options)?;
    db.flush()?;
    for index in 40..44 {
        put(&mut map, index, 0, if index == 41 { 200 } else { 20 })?;
    }
    db.close()?;
    Ok(map)
}

/// What [`write()`] leaves, without writing a golden directory.
fn expected(kind: IndexKind) -> Map {
    write(&World::new(18), kind).expect("a healthy disk")
}

/// A machine with a copy of the golden directory.
fn copy(name: &str) -> World {
    World { disk: load(golden(name)).expect("the golden directory is there"), ..World::new(180) }
}

/// The golden files.
fn read_tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    World { disk: load(dir).expect("the golden directory is there"), ..World::new(1) }.files()
}

#[test]
#[ignore = "writes the golden directories, once for each format version: cargo xtask golden"]
fn write_the_golden_directories() -> TestResult {
    for (name, kind) in KINDS {
        let world = World::new(18);
        write(&world, kind)?;
        vfs::golden::save(&world.disk, golden(name), holds_data)?;
    }
    Ok(())
}

#[test]
fn a_golden_database_holds_what_was_written_and_goes_on() -> TestResult {
    for (name, kind) in KINDS {
        for read in [ReadMode::Mapped, ReadMode::Positional] {
            let world = copy(name);
            let options = options(kind).read_mode(read);
            let db = world.open(&options)?;
            let mut map = expected(kind);
            assert!(db.stats().recovery.clean, "it was closed");
            assert_sound(&db)?;
            assert_same(&contents(db.default_keyspace())?, &map, name);
            for index in 0..50 {
                map.insert(key(index), value(index, 7, 100));
                db.put(key(index), value(index, 7, 100))?;
            }
            db.compact()?;
            db.collect_garbage()?;
            db.close()?;
            let db = world.open(&options)?;
            assert_sound(&db)?;
            assert_same(&contents(db.default_keyspace())?, &map, name);
        }
    }
    Ok(())
}

#[test]
fn the_golden_databases_have_every_kind_of_file_and_are_small() {
    let mut bytes = 0;
    for (name, kind) in KINDS {
        let files = read_tree(&golden(name));
        let index: &[&str] = match kind {
            IndexKind::Hash => &["gen", "run", "part"],
            _ => &["tbl"],
        };
        for kind in ["manifest", "wal", "val", "map"].iter().chain(index) {
            let found = files.keys().any(|path| path.ends_with(&format!(".{kind}")));
            assert!(found, "no {kind} in {name}: {:?}", files.keys());
        }
        bytes += files.values().map(Vec::len).sum::<usize>();
    }
    assert!(bytes < 200 << 10, "{bytes} bytes");
}

/// The file as a later build might write it: whole in every respect, and of version 2.
fn of_version_2(path: &str, bytes: &[u8]) -> Vec<u8> {
    const SEGMENT_SALT: u64 = 0x6e65_6c75_6d62_6f31;
    let (name, kind) =
        path.rsplit('/').next().and_then(|name| name.split_once('.')).expect("a name");
    let id = u64::from_str_radix(name, 16).expect("a number");
    let mut bytes = bytes.to_vec();
    // Where the version stands, what is summed, where the sum stands, and what seeds it.
    let page = 4096;
    let (version, from, upto, sum, seed) = match kind {
        "wal" | "val" | "manifest" => (8, 0, 88, 88, SEGMENT_SALT),
        "tbl" | "run" | "part" => (8, 0, page - 4, page - 4, id),
        "map" => (16, 4, page, 0, id),
        "gen" => (8, 0, bytes.len() - 4, bytes.len() - 4, id),
        _ => panic!("no such kind of file: {path}"),
    };
    let place = if seed == SEGMENT_SALT { id } else { 0 };
    assert_eq!(bytes[version..version + 4], [1, 0, 0, 0], "{path}");
    let crc = |bytes: &[u8]| Checksum::of(seed, place, &bytes[from..upto]).to_le_bytes();
    assert_eq!(bytes[sum..sum + 4], crc(&bytes), "the sum of {path}");
    bytes[version] = 2;
    let crc = crc(&bytes);
    bytes[sum..sum + 4].copy_from_slice(&crc);
    bytes
}

#[test]
fn a_file_of_an_unknown_version_is_refused_by_name_and_nothing_is_changed() {
    for (name, kind) in KINDS {
        for (path, bytes) in read_tree(&golden(name)) {
            let world = copy(name);
            world.disk.write_file(&path, &of_version_2(&path, &bytes));
            let before = world.files();
            let error = world.open(&options(kind)).expect_err("it is of a later version");
            let text = error.to_string();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{path}: {text}");
            let says = text.contains("format version") && text.contains(" 2, this build knows 1");
            assert!(says, "{path}: {text}");
            let file = path.rsplit('/').next().expect("a name");
            assert!(text.contains(file), "{path}: {text}");
            let mut after = world.files();
            after.retain(|path, _| before.contains_key(path));
            assert!(after == before, "{path}: a refused open changed the disk");
        }
    }
}

#[test]
fn a_flipped_bit_in_a_version_is_damage_and_not_a_later_version() {
    for (name, kind) in KINDS {
        for path in read_tree(&golden(name)).into_keys() {
            let offset = if path.ends_with(".map") { 16 } else { 8 };
            let world = copy(name);
            world.disk.corrupt(&path, &Damage::FlipBit { offset, bit: 1 });
            assert_eq!(kind_of(world.open(&options(kind))), ErrorKind::Corrupt, "{path}");
        }
    }
}

/// Asks for the other kind: a golden database says which it is.
#[test]
fn a_golden_database_of_the_other_kind_is_refused() -> TestResult {
    for (name, kind) in KINDS {
        let other = if kind == IndexKind::Hash { IndexKind::BTree } else { IndexKind::Hash };
        let world = copy(name);
        assert_eq!(kind_of(world.open(&options(other))), ErrorKind::Invalid);
        let db = world.open(&options(kind))?;
        assert_eq!(Keyspace::kind(db.default_keyspace()), kind);
    }
    Ok(())
}
