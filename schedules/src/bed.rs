//! What the models stand on: a database on a simulated disk with limits so small that a few
//! writes reach every path.

use std::collections::BTreeMap;
use std::sync::Mutex;

use engine::{AppendMode, Db, Durability, KeyspaceOptions, Options, ReadMode};
use shuttle::rand::{RngCore, thread_rng};
use vfs::Env;
use vfs::sim::{ImageKind, SimDisk};

use crate::turning::Turning;

/// What a database holds.
pub(crate) type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// A number below `count`, drawn by the scheduler.
pub(crate) fn draw(count: u64) -> u64 {
    thread_rng().next_u64() % count
}

pub(crate) fn options() -> Options {
    Options::default()
        .memtable_bytes(4096)
        .segment_bytes(4096)
        .log_bytes(16 << 10)
        .table_bytes(4096)
        .inline_max(64)
        .level0_files(2)
        .level0_files_max(6)
        .level1_bytes(8192)
        .level_multiplier(2)
        .bloom_bits_per_key(0)
        .durability(Durability::Never)
        .append_mode(AppendMode::Positional)
        .read_mode(ReadMode::Positional)
        .reserve_bytes(0)
        .gc_interval(std::time::Duration::ZERO)
}

pub(crate) fn hashed() -> Options {
    options().default_keyspace(KeyspaceOptions::hash())
}

/// Opens what is on a disk. The background jobs stand still: models call what they would do.
pub(crate) fn open(disk: &SimDisk, options: Options) -> Db {
    let fs = Turning::over(disk.root());
    Db::open_on(fs, Env::sim(1).env, options).expect("a healthy disk")
}

/// An empty database, closed.
pub(crate) fn prepare(options: Options, fill: impl FnOnce(&Db)) -> SimDisk {
    let disk = SimDisk::new(1);
    let db = open(&disk, options);
    fill(&db);
    db.close().expect("a healthy disk");
    disk.crash(ImageKind::Everything, 1)
}

/// Everything in the default keyspace.
pub(crate) fn contents(db: &Db) -> Map {
    let entries = db.iter().map(|entry| entry.expect("a healthy disk"));
    entries.map(|(key, value)| (key.to_vec(), value.into_vec())).collect()
}

/// What the database on a crash image holds, opened by the next process.
pub(crate) fn recovered(image: &SimDisk, options: Options) -> Map {
    let opened = Db::open_on(image.root(), Env::sim(2).env, options);
    let db = opened.unwrap_or_else(|error| panic!("an image does not open: {error}"));
    assert_sound(&db);
    contents(&db)
}

/// Every byte verifies.
pub(crate) fn assert_sound(db: &Db) {
    let report = db.check().expect("a healthy disk");
    assert!(report.is_sound(), "{report:?}");
}

/// Things that threads noted. Noting is no point at which threads change places.
pub(crate) struct Notes<T>(Mutex<Vec<T>>);

impl<T> Default for Notes<T> {
    fn default() -> Notes<T> {
        Notes(Mutex::default())
    }
}

impl<T: Clone> Notes<T> {
    pub(crate) fn push(&self, note: T) {
        self.0.lock().expect("no panic").push(note);
    }

    pub(crate) fn all(&self) -> Vec<T> {
        self.0.lock().expect("no panic").clone()
    }
}
