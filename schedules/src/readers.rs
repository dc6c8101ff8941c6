//! Readers and snapshots against a thread that overwrites, flushes and merges.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::{Db, Options};
use shuttle::thread;
use vfs::SimDisk;

use crate::bed::{Notes, contents, draw, hashed, open, options, prepare};
use crate::explore::Model;

pub(crate) const READERS: Model = Model {
    name: "readers",
    promise: "a reader that is stopped anywhere, between its looks at view and seq too, finds a key \
        that is always there, and its versions only grow (row 84)",
    prepare: || prepare(options(), fill),
    run: |base| read(base, options()),
    mistakes: &["a generation leaves the view before its index comes"],
};

pub(crate) const READERS_HASHED: Model = Model {
    name: "readers-hashed",
    promise: "the same of a hash keyspace (row 84)",
    prepare: || prepare(hashed(), fill),
    run: |base| read(base, hashed()),
    mistakes: &["a generation leaves the view before its index comes"],
};

pub(crate) const SNAPSHOTS: Model = Model {
    name: "snapshots",
    promise: "a snapshot sees batches whole and always the same, also one that is let go of in the \
        middle of a flush or merge (rows 14, 84, 85)",
    prepare: || prepare(options(), fill),
    run: |base| snap(base, options()),
    mistakes: &["a generation leaves the view before its index comes", "a flush does not publish"],
};

pub(crate) const SNAPSHOTS_HASHED: Model = Model {
    name: "snapshots-hashed",
    promise: "the same of a hash keyspace (rows 14, 84, 85)",
    prepare: || prepare(hashed(), fill),
    run: |base| snap(base, hashed()),
    mistakes: &["a generation leaves the view before its index comes", "a flush does not publish"],
};

/// Looks of a reader, at most.
const READS_MAX: usize = 24;

fn fill(db: &Db) {
    write(db, 0);
    db.flush().expect("a healthy disk");
    write(db, 1);
    db.flush().expect("a healthy disk");
}

/// Both keys in one batch: a small value, and one that lives in the value log.
fn write(db: &Db, version: u8) {
    let mut batch = db.batch();
    batch.put(db.default_keyspace(), b"a", [version]);
    batch.put(db.default_keyspace(), b"b", [version; 100]);
    db.write(batch, engine::WriteOptions::default()).expect("a healthy disk");
}

fn get(db: &Db, key: &[u8]) -> u8 {
    let value = db.get(key).expect("a healthy disk").expect("a key that is never deleted");
    assert!(value.iter().all(|byte| *byte == value[0]), "a torn value");
    value[0]
}

fn read(base: &SimDisk, options: Options) {
    let disk = base.fork(1);
    let db = open(&disk, options);
    let done = Arc::new(AtomicBool::new(false));
    let writer = {
        let (db, done) = (db.clone(), done.clone());
        thread::spawn(move || {
            write(&db, 2);
            db.flush().expect("a healthy disk");
            write(&db, 3);
            if draw(2) == 0 { db.flush() } else { db.compact() }.expect("a healthy disk");
            write(&db, 4);
            done.store(true, Ordering::SeqCst);
        })
    };
    let readers = [[b"a", b"b"], [b"b", b"a"]].map(|keys| {
        let (db, done) = (db.clone(), done.clone());
        thread::spawn(move || {
            let mut newest = 1;
            for key in keys.into_iter().cycle().take(READS_MAX) {
                let version = get(&db, key);
                assert!(newest <= version, "{newest} was there, and then {version}");
                newest = version;
                if done.load(Ordering::SeqCst) {
                    break;
                }
                thread::yield_now();
            }
        })
    });
    writer.join().expect("a panic ends the schedule");
    readers.into_iter().for_each(|reader| reader.join().expect("a panic ends the schedule"));
    assert_eq!((get(&db, b"a"), get(&db, b"b")), (4, 4));
}

fn snap(base: &SimDisk, options: Options) {
    let disk = base.fork(1);
    let db = open(&disk, options);
    let acked = Arc::new(Notes::default());
    acked.push(1);
    let writer = {
        let (db, acked) = (db.clone(), acked.clone());
        thread::spawn(move || {
            for version in 2..=3 {
                write(&db, version);
                acked.push(version);
                db.flush().expect("a healthy disk");
            }
        })
    };
    let merger = {
        let db = db.clone();
        thread::spawn(move || db.compact().expect("a healthy disk"))
    };
    let holders = [2, 1].map(|looks| {
        let (db, acked) = (db.clone(), acked.clone());
        thread::spawn(move || hold(&db, looks, &acked))
    });
    for thread in [writer, merger].into_iter().chain(holders) {
        thread.join().expect("a panic ends the schedule");
    }
    assert_eq!(contents(&db).values().map(|value| value[0]).collect::<Vec<_>>(), [3, 3]);
    // Nobody holds anything any more: all that was replaced goes with the next flush.
    write(&db, 4);
    db.flush().expect("a healthy disk");
    assert_eq!(db.stats().retired_files, 0);
}

/// Takes a snapshot, looks at it some times, and lets go of it.
fn hold(db: &Db, looks: usize, acked: &Notes<u8>) {
    let before = acked.all().into_iter().max().expect("the first version");
    let snapshot = db.snapshot();
    let mut first = None;
    for _ in 0..looks {
        let keyspace = db.default_keyspace();
        let get = |key: &[u8]| {
            let value = snapshot.get(keyspace, key).expect("a healthy disk");
            value.expect("a key that is never deleted")[0]
        };
        let seen = (get(b"a"), get(b"b"));
        assert!(seen.0 == seen.1, "half of a batch: {seen:?}");
        assert!(before <= seen.0, "{before} was acknowledged, a later snapshot sees {seen:?}");
        let entries = snapshot.iter(keyspace).map(|entry| entry.expect("a healthy disk").1[0]);
        assert_eq!(entries.collect::<Vec<_>>(), [seen.0; 2], "iteration and look-up differ");
        assert!(*first.get_or_insert(seen) == seen, "a snapshot changed");
    }
}
