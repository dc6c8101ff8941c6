//! A checkpoint, while flushes let go of the log that it copies.

use std::sync::Arc;

use engine::{Db, Options};
use shuttle::thread;
use vfs::sim::{ImageKind, SimDisk};
use vfs::{Env, Fs, Kind, Name};

use crate::bed::{Map, assert_sound, contents, options};
use crate::explore::Model;
use crate::turning::Turning;

pub(crate) const CHECKPOINTS: Model = Model {
    name: "checkpoints",
    promise: "a checkpoint that was acknowledged is a durable database with what was acknowledged \
        before it began, whatever is flushed meanwhile (row 34)",
    prepare,
    run,
    mistakes: &["a flush forgets the log that a checkpoint takes"],
};

const HOME: Name = Name::new(Kind::new("home"), 1);
const COPY: Name = Name::new(Kind::new("copy"), 1);

/// Values are in the log until a flush copies them into a table: nothing is promoted, so nobody
/// syncs the log.
fn inline() -> Options {
    options().memtable_bytes(64 << 10).log_bytes(64 << 10).inline_max(2048)
}

fn dir(disk: &SimDisk, name: Name) -> Arc<dyn Fs> {
    disk.root().open_dir(name).expect("it is durable")
}

fn open(disk: &SimDisk, name: Name) -> Db {
    let fs = Turning::over(dir(disk, name));
    let opened = Db::open_on(fs, Env::sim(1).env, inline());
    opened.unwrap_or_else(|error| panic!("{name} does not open: {error}"))
}

fn prepare() -> SimDisk {
    let disk = SimDisk::new(1);
    for name in [HOME, COPY] {
        disk.root().create_dir(name).expect("a healthy disk");
    }
    disk.root().sync_dir().expect("a healthy disk");
    open(&disk, HOME).close().expect("a healthy disk");
    disk.crash(ImageKind::Everything, 1)
}

fn run(base: &SimDisk) {
    let disk = base.fork(1);
    let db = open(&disk, HOME);
    let mut before = Map::new();
    // Two to a segment of the log: the last one is not alone.
    for key in [b"a", b"b", b"c"] {
        db.put(key, key.repeat(1500)).expect("a healthy disk");
        before.insert(key.to_vec(), key.repeat(1500));
    }
    let checkpoint = {
        let (db, disk) = (db.clone(), disk.clone());
        thread::spawn(move || {
            db.checkpoint_on(&dir(&disk, COPY)).expect("a healthy disk");
            disk.crash(ImageKind::SyncedOnly, 0)
        })
    };
    let flush = {
        let db = db.clone();
        thread::spawn(move || {
            db.flush().expect("a healthy disk");
            db.put(b"d", b"later").expect("a healthy disk");
        })
    };
    let image = checkpoint.join().expect("a panic ends the schedule");
    flush.join().expect("a panic ends the schedule");
    let copy = open(&image, COPY);
    let mut found = contents(&copy);
    found.remove(b"d".as_slice());
    assert_eq!(found, before);
    assert_sound(&copy);
    assert_sound(&db);
}
