//! The power goes out: what is left is a prefix of the history, with everything in it that was
//! acknowledged as durable. The explorer of `xtask` does this for every short history; here are
//! the rows of the catalogue, with histories of their own.

use std::collections::BTreeMap;

use engine::{AppendMode, Db, Durability, ErrorKind, Options, ReadMode, WriteOptions};
use vfs::Env;
use vfs::sim::{CallKind, ImageKind, SimDisk};

use crate::script::{History, Step, short, state_of};
use crate::world::{
    TestResult, World, assert_same, assert_sound, both, contents, holds_data, key, kind_of, modes,
    tiny, value,
};

/// A history that was recorded call by call.
struct Recorded {
    world: World,
    history: History,
    /// For each step: the boundaries before its end, and what was durable before it.
    steps: Vec<(usize, usize, usize)>,
}

fn record(options: &Options, script: &[Step], always: bool) -> Recorded {
    let world = World::new(7);
    let mut history = History::new();
    world.disk.record();
    let mut steps = Vec::new();
    let db = world.open(options).expect("a healthy disk");
    steps.push((world.disk.boundaries(), 0, 1));
    for step in script {
        let durable = history.durable;
        history.run(&db, step, always).expect("a healthy disk");
        if let Step::Work(count) = step {
            world.step(*count, 5);
        }
        steps.push((world.disk.boundaries(), durable, history.states.len()));
    }
    let durable = history.durable;
    db.close().expect("a healthy disk");
    steps.push((world.disk.boundaries(), durable, history.states.len()));
    Recorded { world, history, steps }
}

/// Opens an image of every boundary and judges what it holds.
fn explore(recorded: &Recorded, options: &Options, kinds: impl Fn(usize) -> Vec<ImageKind>) {
    let Recorded { world, history, steps } = recorded;
    let mut boundary = 0;
    for (end, durable, attempted) in steps {
        while boundary < *end {
            for kind in kinds(boundary) {
                let what = format!("boundary {boundary}, image {kind:?}");
                let image = world.image(boundary, kind, boundary as u64);
                let db = image.open(options).unwrap_or_else(|error| panic!("{what}: {error:?}"));
                let state = state_of(&db).unwrap_or_else(|error| panic!("{what}: {error:?}"));
                let found = history.find(&state, *durable);
                let found = found.filter(|found| found < attempted);
                assert!(found.is_some(), "{what}: no prefix from {durable} to {attempted}");
                // What is written now outlives the next power cut.
                let new = WriteOptions::default().durable();
                db.put_with(b"new", b"here", new).expect("a healthy disk");
                let next = image.crash(ImageKind::SyncedOnly, 1);
                image.kill(db);
                let db = next.open(options).unwrap_or_else(|error| panic!("{what}: {error:?}"));
                let mut again = state_of(&db).unwrap_or_else(|error| panic!("{what}: {error:?}"));
                let default = again.get_mut("default").expect("it is always there");
                assert!(
                    default.remove(b"new".as_slice()).is_some(),
                    "{what}: a durable put is lost"
                );
                assert!(again == state, "{what}: a second crash changed what the first one left");
            }
            boundary += 1;
        }
    }
    assert_eq!(boundary, world.disk.boundaries());
}

#[test]
fn row_022_029_030_031_032_033_a_crash_at_any_call_leaves_a_prefix_with_all_that_is_durable() {
    let kinds = ImageKind::kinds();
    for (number, options) in modes(&tiny()).iter().enumerate() {
        let recorded = record(options, &short(), false);
        explore(&recorded, options, |boundary| {
            let other = kinds[(boundary + number * 5) % kinds.len()];
            vec![ImageKind::SyncedOnly, other]
        });
    }
}

#[test]
fn row_028_every_durable_acknowledgement_is_on_the_medium() -> TestResult {
    for options in modes(&tiny().durability(Durability::Always)) {
        let world = World::new(28);
        let db = world.open(&options)?;
        for index in 0..60 {
            let len = [10, 600, 5000][usize::try_from(index % 3)?];
            db.put(key(index), value(index, 0, len))?;
            let image = world.crash(ImageKind::SyncedOnly, index);
            let found = image.open(&options)?;
            assert_eq!(found.get(key(index))?.as_deref(), Some(value(index, 0, len).as_slice()));
            assert_eq!(found.iter().count() as u64, index + 1);
            if index.is_multiple_of(7) {
                world.step(2, index);
            }
        }
    }
    Ok(())
}

#[test]
fn row_015_a_batch_is_whole_or_absent_at_every_call_of_its_write_and_flush() {
    let batch = |index| Step::Batch(index, 900);
    let script = [Step::Create("side"), batch(1), Step::Work(1), batch(2), Step::Work(2), batch(3)];
    for options in modes(&tiny()) {
        let recorded = record(&options, &script, false);
        explore(&recorded, &options, |boundary| {
            let kinds = ImageKind::kinds();
            vec![ImageKind::CallPrefix, kinds[boundary % kinds.len()]]
        });
    }
}

#[test]
fn row_022_a_batch_larger_than_a_memtable_survives_the_flush_of_its_predecessor() -> TestResult {
    for options in modes(&tiny()) {
        let world = World::new(22);
        let db = world.open(&options)?;
        db.put(b"before", value(1, 1, 50))?;
        let mut batch = db.batch();
        for index in 0..200 {
            batch.put(db.default_keyspace(), key(index), value(index, 1, 100));
        }
        db.write(batch, WriteOptions::default())?;
        db.put(b"after", value(2, 1, 50))?; // seals what the batch filled
        db.sync()?;
        for kind in [ImageKind::SyncedOnly, ImageKind::Everything] {
            let image = world.crash(kind, 1);
            let found = image.open(&options)?;
            assert_eq!(found.iter().count(), 202);
        }
        world.step(1, 0);
        let image = world.crash(ImageKind::SyncedOnly, 1);
        assert_eq!(contents(image.open(&options)?.default_keyspace())?.len(), 202);
    }
    Ok(())
}

#[test]
fn row_025_a_log_that_comes_back_from_the_dead_changes_nothing() -> TestResult {
    for options in both(&tiny().promote_min(1.0)) {
        come_back_from_the_dead(&options)?;
    }
    Ok(())
}

fn come_back_from_the_dead(options: &Options) -> TestResult {
    let world = World::new(25);
    let db = world.open(options)?;
    let mut dead: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for round in 0..10 {
        for index in 0..20 {
            db.put(key(index), value(index, round, 40))?; // no log is promoted
        }
        db.delete(key(round))?;
        for name in world.names(".wal") {
            let bytes = world.disk.read_file(&name).expect("it is there");
            dead.insert(name, bytes);
        }
        db.flush()?;
    }
    let expected = contents(db.default_keyspace())?;
    db.close()?;
    let alive = world.names(".wal");
    dead.retain(|name, _| !alive.contains(name));
    assert!(dead.len() > 5, "logs came and went: {:?}", dead.keys());
    for (name, bytes) in &dead {
        let image = world.crash(ImageKind::Everything, 1);
        image.disk.write_file(name, bytes);
        let db = image.open(options)?;
        assert_same(&contents(db.default_keyspace())?, &expected, "a replayed log");
        assert_eq!(db.stats().recovery.quarantined, [name.as_str()]);
    }
    Ok(())
}

#[test]
fn row_025_a_needed_file_that_is_gone_is_corrupt_and_named() -> TestResult {
    for options in both(&tiny().promote_min(0.3)) {
        lose_each_file(&options)?;
    }
    Ok(())
}

fn lose_each_file(options: &Options) -> TestResult {
    let world = World::new(25);
    let db = world.open(options)?;
    for index in 0..40 {
        db.put(key(index), value(index, 0, if index.is_multiple_of(2) { 30 } else { 700 }))?;
    }
    db.sync()?;
    db.compact()?;
    for index in 0..12 {
        db.put(key(index), value(index, 1, 700))?;
    }
    db.sync()?;
    world.kill(db);
    let files = world.files();
    let mut needed = 0;
    for name in files.keys().filter(|name| holds_data(name)) {
        let image = world.crash(ImageKind::Everything, 1);
        image.disk.corrupt(name, &vfs::sim::Damage::Remove);
        match image.open(options) {
            Ok(db) => {
                // Only the newest log can go unnoticed: nothing attests that it was ever made.
                assert!(name.ends_with(".wal"), "{name} was removed and nobody noticed");
                drop(db);
            }
            Err(error) => {
                needed += 1;
                let kind = if name.ends_with(".manifest") {
                    ErrorKind::Invalid
                } else {
                    ErrorKind::Corrupt
                };
                assert_eq!(error.kind(), kind, "{name}: {error}");
                assert!(
                    kind == ErrorKind::Invalid || error.to_string().contains(name),
                    "{name}: {error}"
                );
            }
        }
    }
    assert!(needed >= 4, "{needed} of {:?}", files.keys());
    Ok(())
}

/// Number of a file name; value and log segments share their numbers.
fn id_of(name: &str) -> Option<(String, u64)> {
    let (id, kind) = name.split_once('.')?;
    let kind = kind.trim_end_matches(".bad").replace("val", "wal");
    Some((kind, u64::from_str_radix(id, 16).ok()?))
}

#[test]
fn row_026_088_ids_grow_over_every_crash_image() {
    for options in both(&tiny()) {
        ids_grow(&options);
    }
}

fn ids_grow(options: &Options) {
    let recorded = record(options, &short(), false);
    let world = &recorded.world;
    for boundary in (recorded.steps[0].0..world.disk.boundaries()).step_by(5) {
        let kinds = ImageKind::kinds();
        let image = world.image(boundary, kinds[boundary / 5 % kinds.len()], boundary as u64);
        let mut newest: BTreeMap<String, u64> = BTreeMap::new();
        let before = image.files();
        for (kind, id) in before.keys().filter_map(|name| id_of(name)) {
            let newest = newest.entry(kind).or_default();
            *newest = id.max(*newest);
        }
        let db = image.open(options).expect("a crash image opens");
        db.put(b"a", value(1, 1, 30)).expect("a healthy disk");
        db.put(b"b", value(2, 1, 600)).expect("a healthy disk");
        db.flush().expect("a healthy disk");
        let mut made = 0;
        for name in image.files().keys().filter(|name| !before.contains_key(*name)) {
            let Some((kind, id)) = id_of(name).filter(|_| !name.ends_with(".bad")) else {
                continue;
            };
            let newest = newest.get(&kind).copied().unwrap_or(0);
            assert!(id > newest, "boundary {boundary}: {name} is not newer than {newest:x}");
            made += 1;
        }
        assert!(made >= 3, "an open and a flush make files");
    }
}

#[test]
fn row_108_one_sync_for_each_durable_commit_and_none_for_the_others() -> TestResult {
    for append in [AppendMode::Auto, AppendMode::Positional] {
        let options = Options::default().durability(Durability::Never).append_mode(append);
        let world = World::new(108);
        let syncs = || {
            let kinds = [CallKind::Sync, CallKind::SyncMap];
            kinds.into_iter().map(|kind| world.disk.calls_of(kind)).sum::<u64>()
        };
        let db = world.open(&options)?;
        let before = syncs();
        for index in 0..100 {
            db.put(key(index), b"v")?;
        }
        assert_eq!(syncs(), before, "nobody asked for a sync");
        for index in 0..100 {
            db.put_with(key(index), b"w", WriteOptions::default().durable())?;
        }
        assert_eq!(syncs(), before + 100, "each durable put is synced once, {append:?}");
        db.sync()?;
        assert!(syncs() <= before + 101);
    }
    let world = World::new(109);
    let options = Options::default().durability(Durability::EveryBytes(1000));
    let db = world.open(&options)?;
    let kinds = [CallKind::Sync, CallKind::SyncMap];
    let syncs = || kinds.into_iter().map(|kind| world.disk.calls_of(kind)).sum::<u64>();
    let before = syncs();
    for index in 0..100 {
        db.put(key(index), value(index, 0, 100))?; // about 160 bytes of log each
    }
    let made = syncs() - before;
    assert!((8..=20).contains(&made), "{made} syncs for about 16 KB, one each 1000 bytes");
    Ok(())
}

#[test]
fn an_interval_syncs_in_the_background_when_time_passes() -> TestResult {
    let world = World::new(1);
    let period = std::time::Duration::from_millis(100);
    let options = tiny().durability(Durability::Interval(period));
    let db = world.open(&options)?;
    world.sim.spawner.run_until_idle();
    db.put(b"k", b"v")?;
    let lost = world.crash(ImageKind::SyncedOnly, 1).open(&options)?;
    assert_eq!(lost.get(b"k")?, None);
    world.sim.clock.advance(period);
    world.sim.spawner.run_until_idle();
    let kept = world.crash(ImageKind::SyncedOnly, 1).open(&options)?;
    assert_eq!(kept.get(b"k")?.as_deref(), Some(b"v".as_slice()));
    Ok(())
}

#[test]
fn an_unlogged_batch_is_there_after_its_flush_and_whole_or_gone_before() -> TestResult {
    for options in modes(&tiny()) {
        let world = World::new(3);
        let db = world.open(&options)?;
        db.put(b"logged", b"1")?;
        let mut batch = db.batch();
        batch.put(db.default_keyspace(), b"a", value(1, 1, 20));
        batch.put(db.default_keyspace(), b"b", value(2, 1, 2000));
        db.write(batch, WriteOptions::default().disable_wal())?;
        assert_eq!(db.iter().count(), 3);
        db.sync()?;
        let lost = world.crash(ImageKind::Everything, 1).open(&options)?;
        assert_eq!(lost.iter().count(), 1);
        db.flush()?;
        let image = world.crash(ImageKind::SyncedOnly, 1);
        let kept = image.open(&options)?;
        assert_eq!(kept.get(b"b")?.as_deref(), Some(value(2, 1, 2000).as_slice()));
        assert_eq!(kept.iter().count(), 3);
        assert_sound(&kept)?;
        // A clean close flushes what no log holds.
        db.put_with(b"c", b"3", WriteOptions::default().disable_wal())?;
        db.close()?;
        assert_eq!(world.open(&options)?.iter().count(), 4);
    }
    Ok(())
}

#[test]
fn row_107_other_options_at_the_next_open_lose_nothing() -> TestResult {
    for hash in [false, true] {
        reopen_with_other_options(hash)?;
    }
    Ok(())
}

fn reopen_with_other_options(hash: bool) -> TestResult {
    let world = World::new(107);
    let sets = [
        tiny(),
        Options::default().inline_max(0).promote_min(0.0),
        tiny().inline_max(64 << 10).segment_bytes(1 << 20).log_bytes(1 << 20),
        tiny().read_mode(ReadMode::Mapped).append_mode(AppendMode::Positional),
        tiny().bloom_bits_per_key(0).table_bytes(1 << 20).level0_files(9).level0_files_max(9),
        Options::default().durability(Durability::Always).memtable_entries(3),
    ];
    let sets = sets.map(|set| both(&set)[usize::from(hash)].clone());
    let mut expected = BTreeMap::new();
    for round in 0..12_u64 {
        let db = world.open(&sets[usize::try_from(round)? % sets.len()])?;
        assert_same(&contents(db.default_keyspace())?, &expected, "the default keyspace");
        for index in 0..12 {
            let (index, len) =
                (round * 5 + index, [8, 200, 900, 5000][usize::try_from(index % 4)?]);
            db.put(key(index), value(index, round, len))?;
            expected.insert(key(index), value(index, round, len));
        }
        match round % 3 {
            0 => db.close()?,
            1 => world.kill(db),
            _ => {
                db.compact()?;
                drop(db);
            }
        }
    }
    let db = world.open(&sets[0])?;
    assert_same(&contents(db.default_keyspace())?, &expected, "the default keyspace");
    assert_eq!(
        kind_of(Db::open_on(world.disk.root(), world.sim.env.clone(), sets[0].clone())),
        ErrorKind::Locked
    );
    assert_sound(&db)?;
    Ok(())
}

/// Found by the crash explorer (`config=mapped/mapped/durable/seeded ops= crash=3:900
/// nested=2:48`). What we believed: a MANIFEST that reads whole is there to stay. What was true: a
/// process that is killed leaves it in the system's cache; the next open built on it, and a power
/// failure took it away from under the new log segment. Catalogue row 13.
#[test]
fn a_power_failure_after_a_kill_leaves_a_database_that_opens() {
    for options in both(&tiny()) {
        fail_after_a_kill(&options);
    }
}

fn fail_after_a_kill(options: &Options) {
    let first = SimDisk::new(1);
    first.record();
    drop(Db::open_on(first.root(), Env::sim(1).env, options.clone()).expect("a healthy disk"));
    for killed in 0..first.boundaries() {
        let disk = first.fork_at(killed, 1);
        disk.record();
        drop(Db::open_on(disk.root(), Env::sim(2).env, options.clone()).expect("a kill"));
        for boundary in 0..disk.boundaries() {
            for kind in ImageKind::kinds() {
                let image = disk.image(boundary, *kind, 1);
                let opened = Db::open_on(image.root(), Env::sim(3).env, options.clone());
                if let Err(error) = opened {
                    panic!("killed at {killed}, crash at {boundary}, {kind:?}: {error:?}");
                }
            }
        }
    }
}
