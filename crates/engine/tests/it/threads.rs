//! Many threads on a real directory, bounded by counts, never by time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use engine::{AppendMode, Db, Durability, IndexKind, Options, ReadMode, WriteOptions};

use crate::script::handle;
use crate::world::{TestResult, assert_sound, both, contents, key, tiny, value};

const WRITERS: u64 = 3;
const KEYS: u64 = 40;

/// The version that a value says it is.
fn version_of(value: &[u8]) -> u64 {
    let text: Vec<u8> = value.iter().copied().take_while(|byte| *byte != 0xff).collect();
    let text = String::from_utf8_lossy(&text);
    let version = text.split(['.', ' ']).nth(2).expect("value <index>.<version> ");
    version.parse().expect("a number")
}

fn len_of(index: u64, version: u64) -> usize {
    [20, 40, 300, 1500][usize::try_from((index + version) % 4).expect("small")]
}

/// Each writer has keys of its own and raises their versions; readers see versions only grow, and
/// values whole.
fn run(options: &Options, rounds: u64) -> TestResult {
    let scratch = tempfile::tempdir()?;
    let db = Db::open(scratch.path(), options.clone())?;
    let stop = AtomicBool::new(false);
    let newest = AtomicU64::new(0);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn({
                    let db = &db;
                    let newest = &newest;
                    move || write(db, writer, rounds, newest)
                })
            })
            .collect();
        scope.spawn(|| read(&db, &stop));
        scope.spawn(|| scan(&db, &stop));
        scope.spawn(|| maintain(&db, &stop));
        scope.spawn(|| come_and_go(&db, &stop));
        for writer in writers {
            writer.join().expect("a writer is done");
        }
        stop.store(true, Ordering::Release);
    });
    assert_eq!(db.stats().failure, None);
    verify(&db, rounds)?;
    assert_sound(&db)?;
    db.close()?;
    let db = Db::open(scratch.path(), options.clone())?;
    verify(&db, rounds)?;
    db.compact()?;
    verify(&db, rounds)?;
    assert_sound(&db)?;
    Ok(())
}

fn write(db: &Db, writer: u64, rounds: u64, newest: &AtomicU64) {
    let side = handle(db, "side").expect("a healthy disk");
    for version in 1..=rounds {
        for index in (0..KEYS).map(|index| index * WRITERS + writer) {
            let value = value(index, version, len_of(index, version));
            let durable = (index + version).is_multiple_of(64);
            let options = WriteOptions::default();
            let options = if durable { options.durable() } else { options };
            if index.is_multiple_of(5) {
                // Both keyspaces together or none.
                let mut batch = db.batch();
                batch.put(db.default_keyspace(), key(index), &value);
                batch.put(&side, key(index), &value);
                db.write(batch, options).expect("a healthy disk");
            } else {
                db.put_with(key(index), &value, options).expect("a healthy disk");
            }
            let found = db.get(key(index)).expect("a healthy disk");
            assert_eq!(found.as_deref(), Some(value.as_slice()), "a writer reads its own write");
        }
        newest.fetch_max(version, Ordering::AcqRel);
    }
}

fn read(db: &Db, stop: &AtomicBool) {
    let mut seen = vec![0; usize::try_from(KEYS * WRITERS).expect("small")];
    let side = handle(db, "side").expect("a healthy disk");
    while !stop.load(Ordering::Acquire) {
        for (index, seen) in (0..).zip(&mut seen) {
            let Some(found) = db.get(key(index)).expect("a healthy disk") else { continue };
            let version = version_of(&found);
            assert!(version >= *seen, "key {index} went back from {seen} to {version}");
            assert_eq!(found, value(index, version, len_of(index, version)));
            *seen = version;
        }
        // A snapshot sees a batch whole: both keyspaces have the same version.
        let snapshot = db.snapshot();
        for index in (0..KEYS * WRITERS).step_by(5) {
            let one = snapshot.get(db.default_keyspace(), key(index)).expect("a healthy disk");
            let two = snapshot.get(&side, key(index)).expect("a healthy disk");
            assert_eq!(one, two, "half of a batch is visible");
        }
    }
}

/// Ten iterators are open while writers go on (row 105); each sees what it saw at first.
fn scan(db: &Db, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        let snapshot = db.snapshot();
        let mut open: Vec<_> = (0..10).map(|_| snapshot.iter(db.default_keyspace())).collect();
        let mut first = Vec::new();
        for entry in open.pop().expect("there are ten") {
            let (key, value) = entry.expect("a healthy disk");
            first.push((key.to_vec(), value.into_vec()));
        }
        let ordered = db.default_keyspace().kind() == IndexKind::BTree;
        assert!(!ordered || first.is_sorted_by(|a, b| a.0 < b.0));
        first.sort();
        for range in open {
            let mut again: Vec<_> = range
                .rev()
                .map(|entry| entry.expect("a healthy disk"))
                .map(|(key, value)| (key.to_vec(), value.into_vec()))
                .collect();
            assert!(!ordered || again.is_sorted_by(|a, b| a.0 > b.0));
            again.sort();
            assert!(again == first, "a repeated scan differs");
        }
    }
}

fn maintain(db: &Db, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        db.flush().expect("a healthy disk");
        db.compact().expect("a healthy disk");
        db.sync().expect("a healthy disk");
        assert_sound(db).expect("a healthy disk");
        assert!(db.stats().failure.is_none());
    }
}

fn come_and_go(db: &Db, stop: &AtomicBool) {
    let mut round = 0_u64;
    while !stop.load(Ordering::Acquire) {
        let name = format!("guest{}", round % 3);
        let guest = handle(db, &name).expect("a healthy disk");
        assert_eq!(guest.iter().count(), 0, "a new keyspace is empty");
        for index in 0..20 {
            guest.put(key(index), value(index, round, 200)).expect("a healthy disk");
        }
        assert_eq!(guest.iter().count(), 20);
        db.drop_keyspace(&name).expect("a healthy disk");
        round += 1;
    }
}

fn verify(db: &Db, rounds: u64) -> TestResult {
    let found = contents(db.default_keyspace())?;
    assert_eq!(found.len() as u64, KEYS * WRITERS);
    for index in 0..KEYS * WRITERS {
        let expected = value(index, rounds, len_of(index, rounds));
        assert!(found.get(&key(index)) == Some(&expected), "key {index} after all");
    }
    assert_eq!(contents(&handle(db, "side")?)?.len() as u64, KEYS * WRITERS / 5);
    Ok(())
}

#[test]
fn row_043_105_109_threads_agree_while_everything_is_flushed_and_merged() -> TestResult {
    run(&tiny().memtable_bytes(16 << 10), 8)
}

#[test]
fn row_043_105_109_threads_agree_over_hash_keyspaces() -> TestResult {
    let [_, hash] = both(&tiny().memtable_bytes(16 << 10));
    run(&hash, 8)?;
    run(&hash.read_mode(ReadMode::Mapped).append_mode(AppendMode::Positional), 8)
}

#[test]
fn row_043_threads_agree_appending_by_writes_and_reading_by_mappings() -> TestResult {
    let options = tiny().append_mode(AppendMode::Positional).read_mode(ReadMode::Mapped);
    run(&options.memtable_bytes(32 << 10).segment_bytes(64 << 10).log_bytes(64 << 10), 8)
}

#[test]
fn row_043_threads_agree_with_default_sizes_and_a_periodic_sync() -> TestResult {
    run(&Options::default().durability(Durability::Interval(Duration::from_millis(1))), 20)
}

#[test]
fn row_109_many_writers_with_tiny_memtables_make_steady_progress() -> TestResult {
    for options in both(&tiny().sealed_max(1).level0_files(1).level0_files_max(1)) {
        many_writers(options)?;
    }
    Ok(())
}

fn many_writers(options: Options) -> TestResult {
    let scratch = tempfile::tempdir()?;
    let db = Db::open(scratch.path(), options)?;
    thread::scope(|scope| {
        for writer in 0..8_u64 {
            let db = &db;
            scope.spawn(move || {
                for index in 0..60 {
                    let index = writer * 1000 + index;
                    db.put(key(index), value(index, 0, 200)).expect("a healthy disk");
                }
            });
        }
    });
    assert_eq!(db.iter().count(), 480);
    assert_sound(&db)?;
    db.close()?;
    Ok(())
}

#[test]
fn a_group_of_durable_writers_is_whole_after_a_reopen() -> TestResult {
    let scratch = tempfile::tempdir()?;
    let options = Options::default().durability(Durability::Always);
    let db = Db::open(scratch.path(), options.clone())?;
    thread::scope(|scope| {
        for writer in 0..6_u64 {
            let db = &db;
            scope.spawn(move || {
                for index in (0..25).map(|index| writer * 100 + index) {
                    db.put(key(index), value(index, 0, 100)).expect("a healthy disk");
                }
            });
        }
    });
    db.close()?;
    assert_eq!(contents(Db::open(scratch.path(), options)?.default_keyspace())?.len(), 150);
    Ok(())
}

#[test]
fn closing_while_others_work_ends_their_calls_and_nothing_acknowledged_is_lost() -> TestResult {
    for round in 0..6 {
        let scratch = tempfile::tempdir()?;
        let db = Db::open(scratch.path(), tiny().memtable_bytes(8 << 10))?;
        let acknowledged: Vec<u64> = thread::scope(|scope| {
            let workers: Vec<_> = (0..3_u64)
                .map(|writer| {
                    let db = &db;
                    scope.spawn(move || {
                        let mut acknowledged = Vec::new();
                        for index in (0..5000).map(|index| writer * 10_000 + index) {
                            match db.put(key(index), value(index, 0, 100)) {
                                Ok(()) => acknowledged.push(index),
                                Err(error) => {
                                    assert_eq!(error.kind(), engine::ErrorKind::Closed, "{error}");
                                    break;
                                }
                            }
                            if index % 100 == 50 && writer == round % 3 {
                                drop(db.clone().close());
                            }
                        }
                        acknowledged
                    })
                })
                .collect();
            workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
        });
        drop(db);
        let db = Db::open(scratch.path(), tiny())?;
        for index in acknowledged {
            let found = db.get(key(index))?;
            assert_eq!(found.as_deref(), Some(value(index, 0, 100).as_slice()), "key {index}");
        }
        assert_sound(&db)?;
    }
    Ok(())
}
