//! Two threads sync while two write without waiting for the disk, and then the power goes out.

use std::sync::Arc;

use engine::{Db, WriteOptions};
use shuttle::thread;
use vfs::sim::{ImageKind, SimDisk};

use crate::bed::{Map, Notes, draw, open, options, prepare, recovered};
use crate::explore::Model;

pub(crate) const SYNCS: Model = Model {
    name: "syncs",
    promise: "what was acknowledged before a sync survives it, whichever threads sync; what \
        survives a crash has no hole (rows 2, 35)",
    prepare: || prepare(options().memtable_bytes(64 << 10), |_| {}),
    run,
    mistakes: &[
        "a sync under way counts for all",
        "what was staged behind a write counts as written",
    ],
};

/// A write, and what had been acknowledged when it began.
#[derive(Clone)]
struct Write {
    key: Vec<u8>,
    before: Vec<Vec<u8>>,
}

#[derive(Default)]
struct World {
    begun: Notes<Write>,
    acked: Notes<Vec<u8>>,
    /// Images taken when a sync returned, and what had been acknowledged when it was called.
    images: Notes<(SimDisk, Vec<Vec<u8>>)>,
}

fn run(base: &SimDisk) {
    let (disk, world) = (base.fork(1), Arc::new(World::default()));
    let options = options().memtable_bytes(64 << 10);
    let db = open(&disk, options.clone());
    let mut threads = Vec::new();
    for writer in 0..2_u8 {
        let (db, world) = (db.clone(), world.clone());
        // One of them fills the log's segment, so that it rotates.
        let len = if writer == 0 { 2500 } else { 10 };
        threads.push(thread::spawn(move || {
            for number in 0..2_u8 {
                world.put(&db, vec![writer, number], &vec![number; len]);
            }
        }));
    }
    for _ in 0..2 {
        let (db, world, disk) = (db.clone(), world.clone(), disk.clone());
        threads.push(thread::spawn(move || world.sync(&db, &disk)));
    }
    for thread in threads {
        thread.join().expect("a panic ends the schedule");
    }
    for (image, durable) in world.images.all() {
        world.judge(&recovered(&image, options.clone()), &durable);
    }
    let kind = match draw(3) {
        0 => ImageKind::RandomSectors { keep_percent: 50 },
        1 => ImageKind::CallPrefix,
        _ => ImageKind::NewestFileWhole,
    };
    let durable =
        world.images.all().into_iter().flat_map(|(_, durable)| durable).collect::<Vec<_>>();
    world.judge(&recovered(&disk.crash(kind, draw(1 << 20)), options), &durable);
}

impl World {
    fn put(&self, db: &Db, key: Vec<u8>, value: &[u8]) {
        self.begun.push(Write { key: key.clone(), before: self.acked.all() });
        db.put_with(&key, value, WriteOptions::default()).expect("a healthy disk");
        self.acked.push(key);
    }

    fn sync(&self, db: &Db, disk: &SimDisk) {
        let acked = self.acked.all();
        db.sync().expect("a healthy disk");
        self.images.push((disk.crash(ImageKind::SyncedOnly, 0), acked));
    }

    fn judge(&self, found: &Map, durable: &[Vec<u8>]) {
        for key in durable {
            assert!(found.contains_key(key), "{key:?} was synced and is lost");
        }
        for write in self.begun.all().iter().filter(|write| found.contains_key(&write.key)) {
            for key in &write.before {
                assert!(found.contains_key(key), "{key:?} is lost, the later {:?} not", write.key);
            }
        }
    }
}
