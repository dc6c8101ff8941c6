//! Transactions that commit while generations are sealed and flushed under them.

use engine::{Db, ErrorKind, Options, WriteOptions};
use shuttle::thread;
use vfs::sim::{ImageKind, SimDisk};

use crate::bed::{Map, draw, open, options, prepare, recovered};
use crate::explore::Model;

pub(crate) const TRANSACTIONS: Model = Model {
    name: "transactions",
    promise: "no update is lost and none is half there, whatever is sealed, rotated and flushed \
        between a transaction's read and its commit; a crash leaves whole transactions (row 27)",
    prepare: || prepare(small(), |db| drop(db.put(b"x", [0]).and_then(|()| db.put(b"y", [0])))),
    run,
    mistakes: &["a view may be older than its seq"],
};

pub(crate) const CONFLICTS: Model = Model {
    name: "conflicts",
    promise: "a transaction that read what somebody overwrote and flushed meanwhile does not commit, \
        wherever the flush is (row 27)",
    prepare: || prepare(options(), |db| drop(db.put(b"x", [0]))),
    run: conflict,
    mistakes: &[
        "a generation leaves the view before the history has it",
        "a view may be older than its seq",
    ],
};

/// One thread overwrites and flushes, two add to what they read.
fn conflict(base: &SimDisk) {
    let disk = base.fork(1);
    let db = open(&disk, options());
    let writer = {
        let db = db.clone();
        thread::spawn(move || {
            db.put(b"x", [10]).expect("a healthy disk");
            db.flush().expect("a healthy disk");
        })
    };
    let adders = [1, 1].map(|step| {
        let db = db.clone();
        thread::spawn(move || {
            let keyspace = db.default_keyspace();
            let mut txn = db.transaction();
            let x = number(txn.get(keyspace, b"x").expect("a healthy disk"));
            txn.put(keyspace, b"x", [x + step]).expect("within limits");
            match txn.commit() {
                Ok(()) => Some((x, x + step)),
                Err(error) if error.kind() == ErrorKind::Conflict => None,
                Err(error) => panic!("{error}"),
            }
        })
    });
    writer.join().expect("a panic ends the schedule");
    let done = adders.map(|adder| adder.join().expect("a panic ends the schedule"));
    // Every commit goes on from where another left; the put may come anywhere in between.
    let x = number(db.get(b"x").expect("a healthy disk"));
    let mut steps: Vec<(u8, u8)> = done.into_iter().flatten().collect();
    steps.sort_unstable();
    let mut low = 0;
    let mut high = 10;
    for (from, to) in &steps {
        let at = if *from < 10 { &mut low } else { &mut high };
        assert!(*at == *from, "a lost update: {steps:?}, and then {x}");
        *at = *to;
    }
    assert!(x == high, "a lost update: {steps:?}, and then {x}");
}

/// Every batch but the first seals a generation.
fn small() -> Options {
    options().memtable_entries(3)
}

fn number(value: Option<impl AsRef<[u8]>>) -> u8 {
    value.expect("a key that is never deleted").as_ref()[0]
}

/// Adds one to both keys.
fn add(db: &Db, options: WriteOptions) {
    let keyspace = db.default_keyspace();
    let added = db.transact_with(options, |txn| {
        let (x, y) = (number(txn.get(keyspace, b"x")?), number(txn.get(keyspace, b"y")?));
        assert!(x == y, "half of a transaction: {x} and {y}");
        txn.put(keyspace, b"x", [x + 1])?;
        txn.put(keyspace, b"y", [y + 1])
    });
    added.expect("a healthy disk");
}

/// What a thread does; perhaps it leaves a crash image and the least that must be on it.
type Program = Box<dyn FnOnce(&Db) -> Option<(SimDisk, u8)> + Send>;

fn run(base: &SimDisk) {
    let disk = base.fork(1);
    let db = open(&disk, small());
    let image = disk.clone();
    let programs: [Program; 3] = [
        Box::new(|db| {
            add(db, WriteOptions::default());
            add(db, WriteOptions::default());
            None
        }),
        Box::new(move |db| {
            add(db, WriteOptions::default().durable());
            let acked = number(db.get(b"x").expect("a healthy disk")).min(1);
            Some((image.crash(ImageKind::SyncedOnly, 0), acked))
        }),
        Box::new(|db| {
            db.flush().expect("a healthy disk");
            None
        }),
    ];
    let threads = programs.map(|program| {
        let db = db.clone();
        thread::spawn(move || program(&db))
    });
    let images = threads.map(|thread| thread.join().expect("a panic ends the schedule"));
    let end = db.snapshot();
    let of = |key: &[u8]| number(end.get(db.default_keyspace(), key).expect("a healthy disk"));
    assert_eq!((of(b"x"), of(b"y")), (3, 3), "a lost update");
    for (image, least) in images.into_iter().flatten() {
        judge(&recovered(&image, small()), least);
    }
    let kind = [ImageKind::CallPrefix, ImageKind::RandomSectors { keep_percent: 50 }]
        [usize::try_from(draw(2)).expect("small")];
    judge(&recovered(&disk.crash(kind, draw(1 << 20)), small()), 1);
}

fn judge(found: &Map, least: u8) {
    let of = |key: &[u8]| number(found.get(key));
    let (x, y) = (of(b"x"), of(b"y"));
    assert!(x == y, "half of a transaction survived: {x} and {y}");
    assert!((least..=3).contains(&x), "{x} survived, {least} was durable");
}
