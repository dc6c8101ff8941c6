//! Files that go while somebody reads: garbage collection and merges against look-ups, of which
//! one may stand between the index and the value.

use engine::{Db, Options};
use shuttle::thread;
use vfs::SimDisk;

use crate::bed::{assert_sound, hashed, open, options, prepare};
use crate::explore::Model;

pub(crate) const REMOVAL: Model = Model {
    name: "removal",
    promise: "a value is found by whoever looked up where it is, whatever was collected, moved and \
        removed since; no file goes under somebody who has it open (rows 84, 85)",
    prepare: || prepare(greedy(options()), fill),
    run: |base| run(base, greedy(options())),
    mistakes: &["a file is removed under its readers", "victims go before the view is swapped"],
};

pub(crate) const REMOVAL_HASHED: Model = Model {
    name: "removal-hashed",
    promise: "the same of a hash keyspace (rows 84, 85)",
    prepare: || prepare(greedy(hashed()), fill),
    run: |base| run(base, greedy(hashed())),
    mistakes: &["a file is removed under its readers", "victims go before the view is swapped"],
};

/// Collects every bit of garbage.
fn greedy(options: Options) -> Options {
    options.total_garbage_max(0.0).advised_garbage(0.01).forced_garbage(0.02)
}

const KEYS: [&[u8]; 3] = [b"a", b"b", b"c"];

fn put(db: &Db, key: &[u8], version: u8) {
    db.put(key, [key[0], version].repeat(100)).expect("a healthy disk");
}

/// All keys, of which one was overwritten: there is garbage, and what lives beside it.
fn fill(db: &Db) {
    KEYS.iter().for_each(|key| put(db, key, 1));
    db.flush().expect("a healthy disk");
    put(db, b"b", 2);
    db.flush().expect("a healthy disk");
    db.compact().expect("a healthy disk");
}

fn check(db: &Db, key: &[u8], value: Option<engine::Value>, versions: &[u8]) {
    let value = value.expect("a key that is never deleted");
    let expected = versions.iter().map(|version| [key[0], *version].repeat(100));
    assert!(
        expected.into_iter().any(|expected| value == expected),
        "{db:?}: wrong value of {key:?}"
    );
}

fn run(base: &SimDisk, options: Options) {
    let disk = base.fork(1);
    let db = open(&disk, options);
    let programs: [fn(&Db); 4] = [
        |db| db.collect_garbage().expect("a healthy disk"),
        |db| {
            put(db, b"a", 3);
            db.compact().expect("a healthy disk");
        },
        |db| {
            for key in KEYS {
                check(db, key, db.get(key).expect("a healthy disk"), &[1, 2, 3]);
            }
        },
        |db| {
            let snapshot = db.snapshot();
            for _ in 0..2 {
                let value = snapshot.get(db.default_keyspace(), b"b").expect("a healthy disk");
                check(db, b"b", value, &[2]);
            }
        },
    ];
    let threads = programs.map(|program| {
        let db = db.clone();
        thread::spawn(move || program(&db))
    });
    threads.into_iter().for_each(|thread| thread.join().expect("a panic ends the schedule"));
    for (key, version) in KEYS.into_iter().zip([3, 2, 1]) {
        check(&db, key, db.get(key).expect("a healthy disk"), &[version]);
    }
    assert_sound(&db);
    put(&db, b"a", 4);
    db.flush().expect("a healthy disk");
    assert_eq!(db.stats().retired_files, 0, "nobody reads any more");
}
