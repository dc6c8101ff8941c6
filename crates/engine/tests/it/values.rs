//! Keys, values and names at the edges of what is legal.

use engine::{Db, KEYSPACE_NAME_LEN_MAX, KeyspaceOptions, Options, WriteOptions};
use vfs::Random;
use vfs::sim::CallKind;

use crate::script::handle;
use crate::world::{
    Map, TestResult, World, assert_same, assert_sound, both, contents, key, modes, tiny, value,
};

/// Checks a database as it is, after a flush, a compaction, a clean reopen and a kill.
fn survives_everything(world: &World, options: &Options, db: Db, expected: &Map) -> TestResult {
    assert_same(&contents(db.default_keyspace())?, expected, "in memory");
    world.kill(db);
    let db = world.open(options)?;
    assert_same(&contents(db.default_keyspace())?, expected, "replayed");
    db.flush()?;
    assert_same(&contents(db.default_keyspace())?, expected, "flushed");
    db.close()?;
    let db = world.open(options)?;
    assert_same(&contents(db.default_keyspace())?, expected, "reopened");
    db.compact()?;
    assert_same(&contents(db.default_keyspace())?, expected, "compacted");
    assert_sound(&db)?;
    world.kill(db);
    let db = world.open(options)?;
    assert_same(&contents(db.default_keyspace())?, expected, "at the end");
    Ok(())
}

#[test]
fn row_102_an_empty_value_is_a_value_wherever_it_is() -> TestResult {
    for options in modes(&tiny()) {
        for inline_max in [0, 64] {
            let options = options.clone().inline_max(inline_max);
            let world = World::new(102);
            let db = world.open(&options)?;
            let mut expected = Map::new();
            for index in 0..30 {
                db.put(key(index), value(index, 0, 100))?;
            }
            db.flush()?;
            for index in 0..30 {
                db.put(key(index), b"")?;
                assert_eq!(db.get(key(index))?.as_deref(), Some(b"".as_slice()));
                assert!(db.contains(key(index))?);
                expected.insert(key(index), Vec::new());
            }
            survives_everything(&world, &options, db, &expected)?;
        }
    }
    Ok(())
}

#[test]
fn row_103_values_around_every_limit_read_back_at_every_stage() -> TestResult {
    for options in modes(&tiny()) {
        let world = World::new(103);
        let db = world.open(&options)?;
        let mut expected = Map::new();
        let lens = [0, 1, 63, 64, 65, 3900, 4000, 4095, 4096, 4097, 8192, 70_000, (16 << 10) + 1];
        for (index, len) in (0..).zip(lens) {
            let value = Random::new(index).bytes(len);
            db.put(key(index), &value)?;
            expected.insert(key(index), value);
        }
        survives_everything(&world, &options, db, &expected)?;
    }
    Ok(())
}

#[test]
fn row_103_one_value_of_32_mib_with_default_options_and_with_tiny_ones() -> TestResult {
    let [btree, hash] = both(&Options::default());
    for options in [btree.clone(), tiny(), btree.segment_bytes(16 << 20), hash] {
        let scratch = tempfile::tempdir()?;
        let big = Random::new(103).bytes(32 << 20);
        let db = Db::open(scratch.path(), options.clone())?;
        db.put(b"small", b"before")?;
        db.put(b"big", &big)?;
        db.put(b"small2", b"after")?;
        assert!(db.get(b"big")?.is_some_and(|value| *value == *big));
        db.flush()?;
        assert!(db.get(b"big")?.is_some_and(|value| *value == *big));
        db.close()?;
        let db = Db::open(scratch.path(), options)?;
        assert!(db.get(b"big")?.is_some_and(|value| *value == *big));
        assert_eq!(db.iter().count(), 3);
        assert_sound(&db)?;
    }
    Ok(())
}

#[test]
fn row_104_the_longest_legal_keys_pass_flush_compaction_and_reopen() -> TestResult {
    for options in modes(&tiny()) {
        let world = World::new(104);
        let db = world.open(&options)?;
        let mut expected = Map::new();
        for index in 0..12_u64 {
            let len = [40_000, engine::KEY_LEN_MAX, 5000, 12][usize::try_from(index % 4)?];
            let mut key = vec![b'k'; len - 1];
            key.push(u8::try_from(index)?);
            let value = value(index, 0, if index.is_multiple_of(3) { 700 } else { 20 });
            db.put(&key, &value)?;
            expected.insert(key, value);
        }
        survives_everything(&world, &options, db, &expected)?;
    }
    Ok(())
}

#[test]
fn row_110_the_callers_buffers_can_be_used_again() -> TestResult {
    for options in both(&tiny()) {
        reuse_buffers(&options)?;
    }
    Ok(())
}

fn reuse_buffers(options: &Options) -> TestResult {
    let world = World::new(110);
    let db = world.open(options)?;
    let (mut key_buffer, mut value_buffer) = (vec![0; 9], vec![0; 200]);
    let mut batch = db.batch();
    let mut expected = Map::new();
    for index in 0..100 {
        key_buffer.copy_from_slice(&key(index));
        value_buffer.copy_from_slice(&value(index, 0, 200));
        if index.is_multiple_of(2) {
            db.put(&key_buffer, &value_buffer)?;
        } else {
            batch.put(db.default_keyspace(), &key_buffer, &value_buffer);
        }
        expected.insert(key_buffer.clone(), value_buffer.clone());
        key_buffer.fill(0xee);
        value_buffer.fill(0xee);
    }
    db.write(batch, WriteOptions::default())?;
    assert_same(&contents(db.default_keyspace())?, &expected, "the default keyspace");
    Ok(())
}

#[test]
fn row_039_every_accepted_keyspace_name_reopens_with_its_data() -> TestResult {
    let world = World::new(39);
    let mut random = Random::new(39);
    let long = "x".repeat(KEYSPACE_NAME_LEN_MAX);
    let mut names: Vec<String> =
        ["a", " ", "..", "../x", "/", "_", "_a", "A", "LOCK", "\0", "\n", "\u{1f600}", &long]
            .map(str::to_owned)
            .to_vec();
    for _ in 0..40 {
        let chars = (0..1 + random.below(20)).map(|_| {
            char::from_u32(u32::try_from(random.below(0xd7ff)).expect("small")).expect("a scalar")
        });
        names.push(chars.collect());
    }
    let db = world.open(&tiny())?;
    let mut accepted = Vec::new();
    for name in names {
        if let Ok(keyspace) = db.keyspace(&name, KeyspaceOptions::btree()) {
            assert_eq!(keyspace.name(), name);
            keyspace.put(b"name", &name)?;
            accepted.push(name);
        }
    }
    assert!(accepted.len() > 30, "{} names", accepted.len());
    world.kill(db);
    let db = world.open(&tiny())?;
    db.flush()?;
    drop(db);
    let db = world.open(&tiny())?;
    assert_eq!(db.keyspaces()?.len(), accepted.len() + 1);
    for name in accepted {
        assert_eq!(handle(&db, &name)?.get(b"name")?.as_deref(), Some(name.as_bytes()));
    }
    Ok(())
}

#[test]
fn row_041_deleting_everything_and_compacting_leaves_nothing() -> TestResult {
    for options in modes(&tiny()) {
        let world = World::new(41);
        let db = world.open(&options)?;
        for round in 0..3 {
            for index in 0..150 {
                db.put(
                    key(index),
                    value(index, round, if index.is_multiple_of(5) { 300 } else { 30 }),
                )?;
                world.step(index % 3, index);
            }
        }
        let held = db.snapshot();
        for index in 0..150 {
            db.delete(key(index))?;
            world.step(index % 2, index);
        }
        assert_eq!(db.iter().count(), 0);
        db.flush()?;
        assert_eq!(db.iter().count(), 0);
        db.compact()?;
        assert_eq!(db.iter().count(), 0);
        assert_eq!(db.iter().rev().count(), 0);
        assert_eq!(held.iter(db.default_keyspace()).count(), 150);
        drop(held);
        let stats = db.stats();
        assert_eq!(stats.keyspaces[0].index_entries, 0, "no tombstone is left: {stats:?}");
        db.close()?;
        let db = world.open(&options)?;
        assert_eq!(db.iter().count(), 0);
        assert_eq!(world.names(".tbl"), Vec::<String>::new());
        assert_eq!(world.names(".part"), Vec::<String>::new());
        assert_eq!(world.names(".run"), Vec::<String>::new());
    }
    Ok(())
}

#[test]
fn row_112_a_prefix_costs_the_same_whatever_else_there_is() -> TestResult {
    let mut reads = Vec::new();
    for others in [200, 4000] {
        let world = World::new(112);
        let options = Options::default().read_mode(engine::ReadMode::Positional);
        let db = world.open(&options)?;
        for index in 0..others {
            db.put(key(index), value(index, 0, 100))?;
        }
        for index in 0..30 {
            db.put([b"wanted", key(index).as_slice()].concat(), value(index, 0, 20))?;
        }
        db.compact()?;
        db.close()?;
        let db = world.open(&options)?;
        let before = world.disk.calls_of(CallKind::Read);
        assert_eq!(db.prefix(b"wanted").count(), 30);
        reads.push(world.disk.calls_of(CallKind::Read) - before);
    }
    assert!(reads[1] <= reads[0] + 3, "pages read among 200 and 4000 other keys: {reads:?}");
    Ok(())
}

#[test]
fn ranges_are_what_their_bounds_say() -> TestResult {
    use std::ops::Bound;
    let world = World::new(5);
    let db = world.open(&tiny())?;
    for letter in b'b'..=b'y' {
        db.put([letter], [letter])?;
        if letter == b'm' {
            db.flush()?;
        }
    }
    let keys = |range: engine::Range| -> Vec<u8> {
        range.map(|entry| entry.expect("a healthy disk").0[0]).collect()
    };
    assert_eq!(keys(db.range(b"c".as_slice()..b"f".as_slice())), b"cde");
    assert_eq!(keys(db.range(b"c".as_slice()..=b"f".as_slice())), b"cdef");
    assert_eq!(keys(db.range(..b"d".as_slice())), b"bc");
    assert_eq!(keys(db.range(b"x".as_slice()..)), b"xy");
    assert_eq!(keys(db.range(b"ba".as_slice()..b"d".as_slice())), b"c");
    assert_eq!(keys(db.range(b"f".as_slice()..b"c".as_slice())), b"", "an inverted range is empty");
    let (f, c) = (Bound::Excluded(b"f".as_slice()), Bound::Excluded(b"c".as_slice()));
    assert_eq!(keys(db.range::<&[u8]>((c, c))), b"");
    assert_eq!(keys(db.range::<&[u8]>((c, f))), b"de");
    let mut inverted = db.range(b"f".as_slice()..b"c".as_slice());
    assert!(inverted.next_back().is_none() && inverted.next().is_none());
    assert_eq!(db.prefix(b"").count(), 24, "the empty prefix is every key's");
    let mut both = db.range(b"c".as_slice()..b"g".as_slice());
    let mut order = Vec::new();
    while let Some(entry) =
        if order.len().is_multiple_of(2) { both.next() } else { both.next_back() }
    {
        order.push(entry?.0[0]);
    }
    assert_eq!(order, b"cfde");
    Ok(())
}
