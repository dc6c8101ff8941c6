//! A flush, a merge, a garbage collection and a new keyspace, all of which edit the MANIFEST.

use engine::{Db, KeyspaceOptions, Options};
use shuttle::thread;
use vfs::sim::{ImageKind, SimDisk};

use crate::bed::{Map, assert_sound, contents, draw, open, options, prepare, recovered};
use crate::explore::Model;

pub(crate) const EDITS: Model = Model {
    name: "edits",
    promise: "edits of several threads leave a MANIFEST that opens to what is there, at every \
        acknowledgement and after a clean close (row 53)",
    prepare: || prepare(greedy(), fill),
    run,
    mistakes: &["the manifest is free before the view is swapped"],
};

fn greedy() -> Options {
    options().total_garbage_max(0.0).advised_garbage(0.01).forced_garbage(0.02)
}

fn put(db: &Db, key: &[u8], version: u8) {
    db.put(key, [key[0], version].repeat(50)).expect("a healthy disk");
}

fn fill(db: &Db) {
    [b"a", b"b", b"c"].into_iter().for_each(|key| put(db, key, 1));
    db.flush().expect("a healthy disk");
    put(db, b"b", 2);
    db.flush().expect("a healthy disk");
    db.compact().expect("a healthy disk");
    put(db, b"c", 2);
    db.flush().expect("a healthy disk");
}

fn expected(a: u8) -> Map {
    let entries = [(b"a", a), (b"b", 2), (b"c", 2)];
    entries.into_iter().map(|(key, version)| (key.to_vec(), [key[0], version].repeat(50))).collect()
}

fn run(base: &SimDisk) {
    let disk = base.fork(1);
    let db = open(&disk, greedy());
    let programs: [fn(&Db); 4] = [
        |db| {
            put(db, b"a", 2);
            db.flush().expect("a healthy disk");
        },
        |db| db.compact().expect("a healthy disk"),
        |db| db.collect_garbage().expect("a healthy disk"),
        |db| drop(db.keyspace("guest", KeyspaceOptions::btree()).expect("a healthy disk")),
    ];
    let mut threads = Vec::new();
    let witness = usize::try_from(draw(4)).expect("small");
    for (number, program) in programs.into_iter().enumerate() {
        let (db, disk) = (db.clone(), disk.clone());
        threads.push(thread::spawn(move || {
            program(&db);
            (number == witness).then(|| disk.crash(ImageKind::SyncedOnly, 0))
        }));
    }
    let images: Vec<_> = threads
        .into_iter()
        .map(|thread| thread.join().expect("a panic ends the schedule"))
        .collect();
    for image in images.into_iter().flatten() {
        let found = recovered(&image, greedy());
        let flushed = found == expected(2);
        assert!(flushed || (witness != 0 && found == expected(1)), "a crash left {found:?}");
    }
    assert_eq!(contents(&db), expected(2));
    assert_sound(&db);
    db.close().expect("a healthy disk");
    let image = disk.crash(ImageKind::SyncedOnly, 0);
    assert_eq!(recovered(&image, greedy()), expected(2));
    let db = open(&image, greedy());
    let names: Vec<String> =
        db.keyspaces().expect("it is open").into_iter().map(|it| it.0).collect();
    assert!(names.iter().any(|name| name == "guest"), "a keyspace is lost: {names:?}");
}
