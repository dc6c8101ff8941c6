//! Garbage collection: what is live stays, what is dead goes, whatever happens meanwhile.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use engine::{Db, ErrorKind, KeyspaceOptions, Options, ReadMode, WriteOptions};
use vfs::Random;
use vfs::sim::{Damage, ImageKind};

use crate::alloc;
use crate::world::{
    Map, TestResult, World, assert_same, assert_sound, both, contents, key, tiny, value,
};

/// Everything small, and the background does nothing.
fn quiet() -> Options {
    tiny().gc_interval(Duration::ZERO).memtable_bytes(64 << 10).log_bytes(1 << 20)
}

/// Files so large that a flush fills only a small part of one.
fn roomy() -> Options {
    Options::default()
        .segment_bytes(1 << 20)
        .table_bytes(1 << 20)
        .memtable_bytes(1 << 20)
        .log_bytes(8 << 20)
        .reserve_bytes(16 << 10)
}

/// Writes these keys, `len` bytes each, and takes note of them.
fn fill(
    db: &Db,
    expected: &mut Map,
    keys: Range<u64>,
    version: u64,
    len: usize,
) -> engine::Result<()> {
    for index in keys {
        db.put(key(index), value(index, version, len))?;
        expected.insert(key(index), value(index, version, len));
    }
    Ok(())
}

/// A random third of the keys, so that every file stays partly live for some rounds.
fn fill_some(db: &Db, expected: &mut Map, round: u64) -> engine::Result<()> {
    let mut random = Random::new(round);
    for index in (0..60).filter(|_| random.percent(33)) {
        fill(db, expected, index..index + 1, round, 300)?;
    }
    Ok(())
}

fn garbage_share(db: &Db) -> f64 {
    let stats = db.stats();
    stats.garbage_bytes as f64 / stats.value_segment_bytes.max(1) as f64
}

fn verify(db: &Db, expected: &Map) -> TestResult {
    assert_same(&contents(db.default_keyspace())?, expected, "the default keyspace");
    assert_sound(db)?;
    Ok(())
}

#[test]
fn what_is_live_is_kept_and_the_rest_goes_again_and_again() -> TestResult {
    for options in both(&quiet()) {
        for read in [ReadMode::Mapped, ReadMode::Positional] {
            let options = options.clone().read_mode(read);
            let world = World::new(93);
            let db = world.open(&options)?;
            let mut expected = Map::new();
            fill(&db, &mut expected, 0..60, 0, 500)?;
            db.flush()?;
            for round in 1..8 {
                for (part, len) in (0_u64..6).zip((400_usize..).step_by(30)) {
                    let start = part * 10 + round % 3;
                    fill(&db, &mut expected, start..start + 7, round, len)?;
                }
                db.delete(key(round))?;
                expected.remove(&key(round));
                db.compact()?;
                let before = db.stats();
                db.collect_garbage()?;
                let after = db.stats();
                assert!(after.gc_runs > before.gc_runs, "round {round} has garbage");
                assert!(garbage_share(&db) <= 0.25, "round {round}: {}", garbage_share(&db));
                assert_eq!(after.gc_files_waiting, 0);
                verify(&db, &expected)?;
            }
            let stats = db.stats();
            assert!(stats.remap_tables > 0 && stats.gc_reclaimed_bytes > 0, "{stats:?}");
            assert!(stats.gc_read_bytes > 0 && stats.gc_written_bytes > 0, "{stats:?}");
            db.close()?;
            let db = world.open(&options)?;
            verify(&db, &expected)?;
            assert_eq!(db.stats().recovery.quarantined, Vec::<String>::new());
        }
    }
    Ok(())
}

#[test]
fn row_093_records_that_end_near_every_border_keep_their_own_values() -> TestResult {
    // Record headers take 24 bytes, the key 9; frames of moved records have a list in front.
    let borders = [512, 4096, 8192, 16 << 10, 32 << 10, 64 << 10, 256 << 10];
    for options in both(&quiet().segment_bytes(1 << 20).log_bytes(4 << 20)) {
        for read in [ReadMode::Mapped, ReadMode::Positional] {
            let world = World::new(93);
            let db = world.open(&options.clone().read_mode(read).total_garbage_max(0.0))?;
            let mut expected = Map::new();
            let mut index = 0;
            for border in borders {
                for offset in (0..100).step_by(4) {
                    let len = border - 80 + offset;
                    fill(&db, &mut expected, index..index + 1, 0, len)?;
                    index += 1;
                }
                db.flush()?;
            }
            for round in 1..3 {
                for dead in (round..index).step_by(3) {
                    fill(&db, &mut expected, dead..dead + 1, round, 100)?;
                }
                db.compact()?;
                db.collect_garbage()?;
                verify(&db, &expected)?;
            }
            assert!(db.stats().gc_runs >= 2);
        }
    }
    Ok(())
}

#[test]
fn row_094_unique_inserts_are_no_garbage_at_all() -> TestResult {
    for options in both(&tiny()) {
        for promote_min in [0.0, 0.5, 1.0] {
            let options = options.clone().promote_min(promote_min).total_garbage_max(0.0);
            let world = World::new(94);
            let db = world.open(&options)?;
            let mut expected = Map::new();
            for round in 0..6_u64 {
                fill(&db, &mut expected, round * 50..round * 50 + 50, 0, 100 + 40 * 5)?;
                db.flush()?;
                world.sim.spawner.run_until_idle();
                world.sim.clock.advance(Duration::from_secs(100));
                world.sim.spawner.run_until_idle();
                assert_eq!(db.stats().garbage_bytes, 0, "round {round}");
            }
            db.compact()?;
            db.collect_garbage()?;
            let stats = db.stats();
            assert_eq!((stats.garbage_bytes, stats.gc_runs), (0, 0), "{stats:?}");
            verify(&db, &expected)?;
        }
    }
    Ok(())
}

#[test]
fn row_095_what_was_deleted_before_a_restart_stays_deleted_after_collections() -> TestResult {
    for options in both(&quiet().total_garbage_max(0.0)) {
        let world = World::new(95);
        let mut expected = Map::new();
        let db = world.open(&options)?;
        fill(&db, &mut expected, 0..500, 0, 200)?;
        db.flush()?;
        for index in 0..250 {
            db.delete(key(index))?;
            expected.remove(&key(index));
        }
        db.close()?;
        let db = world.open(&options)?;
        db.collect_garbage()?;
        verify(&db, &expected)?;
        db.compact()?;
        db.collect_garbage()?;
        verify(&db, &expected)?;
        world.kill(db);
        let db = world.open(&options)?;
        verify(&db, &expected)?;
        let stats = db.stats();
        assert_eq!(stats.garbage_bytes, 0);
        let live: u64 = expected.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
        let taken = stats.value_segment_bytes;
        assert!(taken < live * 3 / 2, "{taken} bytes for {live} live ones");
    }
    Ok(())
}

const READ_KEYS: u64 = 40;

#[test]
fn row_096_readers_see_right_values_while_garbage_is_collected_in_a_loop() -> TestResult {
    for options in both(&tiny().total_garbage_max(0.05)) {
        for read in [ReadMode::Mapped, ReadMode::Positional] {
            let options = options.clone().read_mode(read);
            let scratch = tempfile::tempdir()?;
            let db = Db::open(scratch.path(), options)?;
            let rounds: u64 = 8;
            for index in 0..READ_KEYS {
                db.put(key(index), value(index, 0, 300))?;
            }
            let (stop, newest) = (AtomicBool::new(false), AtomicU64::new(0));
            thread::scope(|scope| {
                let writer = scope.spawn(|| {
                    for version in 1..=rounds {
                        for index in 0..READ_KEYS {
                            db.put(key(index), value(index, version, 300)).expect("healthy");
                        }
                        newest.store(version, Ordering::Release);
                    }
                });
                scope.spawn(|| {
                    while !stop.load(Ordering::Acquire) {
                        db.compact().expect("healthy");
                        db.collect_garbage().expect("healthy");
                    }
                });
                for seed in 0..2 {
                    let (db, stop, newest) = (&db, &stop, &newest);
                    scope.spawn(move || read_and_verify(db, stop, newest, seed));
                }
                writer.join().expect("the writer is done");
                stop.store(true, Ordering::Release);
            });
            db.compact()?;
            db.collect_garbage()?;
            let expected: Map =
                (0..READ_KEYS).map(|index| (key(index), value(index, rounds, 300))).collect();
            verify(&db, &expected)?;
            assert!(db.stats().gc_runs > 0 && db.stats().failure.is_none());
        }
    }
    Ok(())
}

/// Every answer is a whole value of a version that was current meanwhile; a snapshot's do not
/// change.
fn read_and_verify(db: &Db, stop: &AtomicBool, newest: &AtomicU64, seed: u64) {
    let mut random = Random::new(seed);
    while !stop.load(Ordering::Acquire) {
        let index = random.below(READ_KEYS);
        let from = newest.load(Ordering::Acquire);
        let found = db.get(key(index)).expect("healthy").expect("it is always there");
        let to = newest.load(Ordering::Acquire) + 1;
        let is_right = (from..=to).any(|version| found == value(index, version, 300));
        assert!(is_right, "key {index} has no version {from} to {to}");
        if random.percent(2) {
            let snapshot = db.snapshot();
            let first = snapshot.get(db.default_keyspace(), key(index)).expect("healthy");
            let count = snapshot.iter(db.default_keyspace()).map(|entry| entry.expect("healthy"));
            assert_eq!(count.count() as u64, READ_KEYS);
            let again = snapshot.get(db.default_keyspace(), key(index)).expect("healthy");
            assert!(first.is_some() && first == again, "a snapshot changed");
        }
    }
}

/// A closed database with one file of garbage and live records, and that file's name.
fn with_victim(options: &Options) -> (World, Map, String) {
    let world = World::new(100);
    let db = world.open(options).expect("a new database");
    let mut expected = Map::new();
    fill(&db, &mut expected, 0..8, 0, 300).expect("healthy");
    db.flush().expect("healthy");
    let files: Vec<String> = world.names(".wal").into_iter().chain(world.names(".val")).collect();
    fill(&db, &mut expected, 0..6, 1, 300).expect("healthy");
    db.compact().expect("healthy");
    let expected = contents(db.default_keyspace()).expect("healthy");
    db.close().expect("healthy");
    let db = world.open(options).expect("healthy");
    db.close().expect("healthy");
    let left: Vec<String> = world.names(".wal").into_iter().chain(world.names(".val")).collect();
    let victim = files.into_iter().find(|name| left.contains(name)).expect("it is not empty");
    (world, expected, victim)
}

#[test]
fn row_100_a_flipped_bit_in_a_victim_is_reported_and_the_victim_stays() -> TestResult {
    for options in both(&quiet().total_garbage_max(0.0)) {
        let (world, expected, victim) = with_victim(&options);
        let bytes = world.disk.read_file(&victim).expect("it is there");
        // Dead and live records: what is dead is verified too.
        for target in [b"key000000", b"key000007"] {
            let at = bytes.windows(9).position(|window| window == target).expect("it is there");
            let start = at as u64 - 24;
            for bit in 0..24 * 8_u64 {
                let image = world.crash(ImageKind::Everything, 1);
                let (offset, number) = (start + bit / 8, u8::try_from(bit % 8)?);
                image.disk.corrupt(&victim, &Damage::FlipBit { offset, bit: number });
                let db = image.open(&options)?;
                let error = db.collect_garbage().expect_err("damage is not passed over");
                assert_eq!(error.kind(), ErrorKind::Corrupt, "bit {bit}: {error}");
                assert!(error.to_string().contains(&victim), "bit {bit}: {error}");
                let stats = db.stats();
                assert!(stats.gc_failures.iter().any(|text| text.contains(&victim)), "{stats:?}");
                assert_eq!(stats.failure, None, "the database goes on");
                assert!(image.disk.read_file(&victim).is_some(), "the victim stays");
                for (key, value) in &expected {
                    match db.get(key) {
                        Ok(found) => assert_eq!(found.as_deref(), Some(value.as_slice())),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt),
                    }
                }
                db.put(b"new", value(1, 1, 300))?;
                db.flush()?;
            }
        }
    }
    Ok(())
}

/// Crashes at every call of a collection; what is left is whole, and so it is after a second
/// collection, which is interrupted again if `depth` says so.
fn interrupt(world: &World, options: &Options, expected: &Map, depth: u32, stride: usize) {
    world.disk.record();
    let db = world.open(options).expect("a healthy disk");
    let start = world.disk.boundaries();
    db.collect_garbage().expect("a healthy disk");
    assert!(db.stats().gc_runs > 0, "there is something to collect");
    let end = world.disk.boundaries();
    drop(db);
    let kinds = ImageKind::kinds();
    for boundary in (start..end).step_by(stride) {
        let kind = kinds[boundary % kinds.len()];
        for kind in [ImageKind::SyncedOnly, kind] {
            let what = format!("depth {depth}, boundary {boundary}, {kind:?}");
            let image = world.image(boundary, kind, boundary as u64);
            let db = image.open(options).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            let found = contents(db.default_keyspace());
            let found = found.unwrap_or_else(|error| panic!("{what}: {error:?}"));
            assert_same(&found, expected, &what);
            assert_sound(&db).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            let garbage = db.stats().garbage_bytes;
            image.kill(db);
            if depth > 0 && garbage > 0 {
                interrupt(&image, options, expected, depth - 1, 5);
            }
        }
    }
}

#[test]
fn row_115_a_crash_at_any_call_of_a_collection_and_of_the_next_loses_nothing() {
    for options in both(&quiet().total_garbage_max(0.0)) {
        let world = World::new(115);
        let db = world.open(&options).expect("a new database");
        let mut expected = Map::new();
        fill(&db, &mut expected, 0..30, 0, 300).expect("healthy");
        db.flush().expect("healthy");
        fill(&db, &mut expected, 5..15, 1, 300).expect("healthy");
        db.delete(key(1)).expect("healthy");
        expected.remove(&key(1));
        db.compact().expect("healthy");
        // A table is there already, which will be replaced.
        db.collect_garbage().expect("healthy");
        fill(&db, &mut expected, 12..25, 2, 300).expect("healthy");
        db.compact().expect("healthy");
        db.close().expect("healthy");
        interrupt(&world, &options, &expected, 1, 1);
    }
}

#[test]
fn row_116_a_collection_needs_memory_for_a_chunk_and_not_for_its_files() -> TestResult {
    for options in both(&Options::default().gc_interval(Duration::ZERO)) {
        for (count, len, read) in
            [(160_000, 100, ReadMode::Mapped), (30_000, 1000, ReadMode::Positional)]
        {
            let scratch = tempfile::tempdir()?;
            let options = options.clone().inline_max(0).segment_bytes(32 << 20).read_mode(read);
            let db = Db::open(scratch.path(), options.total_garbage_max(0.0))?;
            for index in 0..count {
                db.put(key(index), value(index, 0, len))?;
            }
            db.flush()?;
            for index in (0..count).step_by(2) {
                db.delete(key(index))?;
            }
            db.compact()?;
            let before = db.stats();
            assert!(before.value_segment_bytes > 20 << 20, "{before:?}");
            let (collected, peak) = alloc::peak_of(|| db.collect_garbage());
            collected?;
            let after = db.stats();
            assert!(after.value_segment_bytes < before.value_segment_bytes * 2 / 3, "{after:?}");
            assert!(peak < 12 << 20, "{peak} bytes for {} of files", before.value_segment_bytes);
            for index in 0..count {
                let found = db.get(key(index))?;
                let expected = (!index.is_multiple_of(2)).then(|| value(index, 0, len));
                assert_eq!(found.as_deref(), expected.as_deref());
            }
        }
    }
    Ok(())
}

#[test]
fn a_dropped_keyspace_gives_its_space_back_also_where_it_shared_files() -> TestResult {
    for options in both(&quiet().segment_bytes(64 << 10)) {
        let world = World::new(5);
        let db = world.open(&options)?;
        let side = db.keyspace("side", KeyspaceOptions::hash())?;
        let mut expected = Map::new();
        // A file of its own, and one that both share.
        for index in 100..160 {
            side.put(key(index), value(index, 7, 500))?;
        }
        db.flush()?;
        for index in 0..60 {
            side.put(key(index), value(index, 8, 500))?;
            fill(&db, &mut expected, index..index + 1, 0, 500)?;
        }
        db.compact()?;
        let before = db.stats();
        drop(side);
        db.drop_keyspace("side")?;
        let dropped = db.stats();
        assert!(dropped.value_segments < before.value_segments, "{dropped:?}");
        db.collect_garbage()?;
        let after = db.stats();
        assert!(after.gc_runs > 0, "{after:?}");
        assert!(after.value_segment_bytes < 60 * 700, "{after:?}");
        verify(&db, &expected)?;
        db.close()?;
        verify(&world.open(&options)?, &expected)?;
    }
    Ok(())
}

#[test]
fn an_address_space_that_is_nearly_empty_is_dissolved_by_merges() -> TestResult {
    for options in both(&quiet().total_garbage_max(0.0).segment_bytes(64 << 10)) {
        let world = World::new(5);
        let db = world.open(&options)?;
        let mut expected = Map::new();
        fill(&db, &mut expected, 0..100, 0, 300)?;
        db.flush()?;
        // One record of a hundred is left.
        fill(&db, &mut expected, 1..100, 1, 300)?;
        db.compact()?;
        db.collect_garbage()?;
        assert!(db.stats().remap_tables > 0, "{:?}", db.stats());
        verify(&db, &expected)?;
        // Another merge meets the pointer; what it leaves behind goes with it.
        fill(&db, &mut expected, 200..210, 2, 300)?;
        db.delete(key(50))?;
        expected.remove(&key(50));
        db.compact()?;
        verify(&db, &expected)?;
        let stats = db.stats();
        assert_eq!((stats.remap_tables, stats.remap_bytes), (0, 0), "{stats:?}");
        db.close()?;
        let db = world.open(&options)?;
        verify(&db, &expected)?;
        db.close()?;
        assert!(world.open(&options).is_ok());
        assert_eq!(world.names(".map"), Vec::<String>::new());
    }
    Ok(())
}

/// (What we believed: garbage collection and merges keep files few. What was true: the ones without
/// garbage stayed, a value file for each flush, until the system had no mappings left.)
#[test]
fn many_flushes_of_few_values_leave_few_files() -> TestResult {
    let options = roomy();
    // Keys in order, whose files overlap nothing, and keys in any.
    for (options, factor) in both(&options).into_iter().zip([1, 7]).chain([(options, 7)]) {
        let world = World::new(5);
        let db = world.open(&options)?;
        let mut expected = Map::new();
        let mut most = 0;
        for round in 0..1000 {
            let first = round * factor % 1000 * 3;
            fill(&db, &mut expected, first..first + 3, round, 1000)?;
            db.flush()?;
            world.sim.spawner.run_until_idle();
            most = most.max(world.disk.files().len());
        }
        assert!(most < 160, "{most} files at once");
        let stats = db.stats();
        assert!(stats.merge_bytes < 20 * stats.user_bytes, "{stats:?}");
        verify(&db, &expected)?;
        db.close()?;
        verify(&world.open(&options)?, &expected)?;
    }
    Ok(())
}

/// What was to be joined was chosen of the whole database's files, so that each merge of one of many
/// small keyspaces copied all its values again.
#[test]
fn small_keyspaces_do_not_copy_their_values_with_each_merge() -> TestResult {
    let options = roomy();
    for kind in [KeyspaceOptions::btree(), KeyspaceOptions::hash()] {
        let world = World::new(5);
        let db = world.open(&options)?;
        let keyspaces: Result<Vec<_>, _> =
            (0..40).map(|number| db.keyspace(&format!("k{number}"), kind.clone())).collect();
        let keyspaces = keyspaces?;
        let mut random = Random::new(vfs::testing::seed());
        for keyspace in &keyspaces {
            (0..45).try_for_each(|index| keyspace.put(key(index), value(index, 0, 1000)))?;
        }
        db.flush()?;
        world.sim.spawner.run_until_idle();
        let before = db.stats();
        let rounds = 200;
        for round in 1..=rounds {
            for keyspace in &keyspaces {
                let index = random.below(45);
                keyspace.put(key(index), value(index, round, 1000))?;
            }
            db.flush()?;
            world.sim.spawner.run_until_idle();
        }
        let after = db.stats();
        let user = after.user_bytes - before.user_bytes;
        let merged = after.merge_bytes - before.merge_bytes;
        assert!(merged < 12 * user, "{merged} bytes for {user}: {after:?}");
        assert_sound(&db)?;
    }
    Ok(())
}

#[test]
fn row_114_space_of_expired_entries_comes_back_without_a_write() -> TestResult {
    for options in both(&tiny().gc_interval(Duration::from_secs(10))) {
        let world = World::new(114);
        let db = world.open(&options)?;
        let mut expected = Map::new();
        for index in 0..200 {
            let ttl = Duration::from_secs(100 + index);
            let options = WriteOptions::default().ttl(ttl);
            db.put_with(key(index), value(index, 0, 500), options)?;
        }
        fill(&db, &mut expected, 300..320, 0, 500)?;
        db.flush()?;
        world.sim.spawner.run_until_idle();
        let full = db.stats();
        assert_eq!(db.iter().count(), 220);
        for _ in 0..60 {
            world.sim.clock.advance(Duration::from_secs(11));
            world.sim.spawner.run_until_idle();
        }
        let stats = db.stats();
        let (before, after) = (full.value_segment_bytes, stats.value_segment_bytes);
        assert!(after < before / 4, "{before} bytes became {after}: {stats:?}");
        verify(&db, &expected)?;
        assert_eq!(stats.failure, None);
    }
    Ok(())
}

#[test]
fn a_snapshot_keeps_what_it_sees_and_lets_go_of_it() -> TestResult {
    for options in both(&quiet().total_garbage_max(0.0)) {
        let world = World::new(8);
        let db = world.open(&options)?;
        let mut expected = Map::new();
        fill(&db, &mut expected, 0..20, 0, 400)?;
        db.flush()?;
        let (snapshot, old) = (db.snapshot(), expected.clone());
        fill(&db, &mut expected, 0..15, 1, 400)?;
        db.compact()?;
        db.collect_garbage()?;
        assert!(db.stats().gc_runs > 0);
        for (key, value) in &old {
            let found = snapshot.get(db.default_keyspace(), key)?;
            assert_eq!(found.as_deref(), Some(value.as_slice()));
        }
        assert!(db.stats().retired_files > 0, "the snapshot holds the old files");
        let files = world.disk.files().len();
        drop(snapshot);
        db.flush()?;
        fill(&db, &mut expected, 30..31, 1, 10)?;
        db.flush()?;
        assert_eq!(db.stats().retired_files, 0);
        assert!(world.disk.files().len() < files, "the files are gone");
        verify(&db, &expected)?;
    }
    Ok(())
}

#[test]
fn the_background_collects_when_there_is_nothing_else_to_do_and_in_bounded_steps() -> TestResult {
    for options in both(&tiny()) {
        let world = World::new(3);
        let db = world.open(&options.clone().segment_bytes(16 << 10))?;
        let mut expected = Map::new();
        for round in 0..20 {
            fill_some(&db, &mut expected, round)?;
            db.flush()?;
            world.sim.spawner.run_until_idle();
        }
        let stats = db.stats();
        assert!(stats.gc_runs > 0, "{stats:?}");
        assert_eq!(stats.failure, None);
        let live: u64 = expected.values().map(|value| value.len() as u64).sum();
        assert!(stats.value_segment_bytes < live * 4, "{live} live: {stats:?}");
        verify(&db, &expected)?;
    }
    Ok(())
}

#[test]
fn a_rate_makes_the_background_pause() -> TestResult {
    let options = tiny().gc_interval(Duration::from_secs(1000)).forced_garbage(0.5);
    for (rate, is_paused) in [(0, false), (1000, true)] {
        let world = World::new(3);
        let db = world.open(&options.clone().advised_garbage(0.4).gc_bytes_per_second(rate))?;
        let mut expected = Map::new();
        for round in 0..12 {
            fill_some(&db, &mut expected, round)?;
            db.flush()?;
        }
        world.sim.spawner.run_until_idle();
        let (first, due) = (db.stats(), world.sim.spawner.next_due());
        let soon = due.is_some_and(|due| due < Duration::from_secs(900));
        assert_eq!(soon, is_paused, "rate {rate}: {due:?} {first:?}");
        for _ in 0..200 {
            world.sim.clock.advance(Duration::from_secs(4));
            world.sim.spawner.run_until_idle();
        }
        assert!(db.stats().gc_runs > 0);
        verify(&db, &expected)?;
    }
    Ok(())
}

#[test]
fn row_101_a_full_disk_stops_a_collection_and_nothing_else_and_a_reserve_pays_for_it() -> TestResult
{
    for options in both(&quiet().total_garbage_max(0.0)) {
        for reserve_bytes in [0, 256 << 10] {
            let world = World::new(101);
            let db = world.open(&options.clone().reserve_bytes(reserve_bytes))?;
            let mut expected = Map::new();
            fill(&db, &mut expected, 0..100, 0, 400)?;
            db.flush()?;
            fill(&db, &mut expected, 0..50, 1, 400)?;
            db.compact()?;
            let taken: u64 = world.disk.files().iter().map(|(_, len)| len).sum();
            let names = || -> Vec<String> {
                world.disk.files().into_iter().map(|(name, _)| name).collect()
            };
            let before = names();
            world.disk.set_quota(Some(taken));
            if reserve_bytes == 0 {
                let error = db.collect_garbage().expect_err("there is no room");
                assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
                assert_eq!(names(), before, "nothing was left behind");
                assert_eq!(db.stats().failure, None);
                verify(&db, &expected)?;
                world.disk.set_quota(None);
            }
            db.collect_garbage()?;
            assert_eq!(db.stats().garbage_bytes, 0);
            assert_eq!(db.stats().failure, None);
            verify(&db, &expected)?;
            world.kill(db);
            let db = world.open(&options.clone().reserve_bytes(reserve_bytes))?;
            verify(&db, &expected)?;
        }
    }
    Ok(())
}

#[test]
fn close_ends_a_collection_that_is_under_way() -> TestResult {
    for options in both(&tiny()) {
        let world = World::new(6);
        let db = world.open(&options)?;
        let mut expected = Map::new();
        for round in 0..12 {
            fill_some(&db, &mut expected, round)?;
            db.flush()?;
        }
        // Some steps of everything: a collection is half done, or about to begin.
        for step in 0..60 {
            world.step(1, step);
            if db.stats().gc_run_bytes > 0 {
                break;
            }
        }
        db.close()?;
        let db = world.open(&options)?;
        verify(&db, &expected)?;
        assert_eq!(db.stats().recovery.quarantined, Vec::<String>::new());
    }
    Ok(())
}
