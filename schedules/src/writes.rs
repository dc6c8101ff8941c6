//! The write path of the store: writers that wait for the disk and writers that do not, a reader,
//! and in half of the schedules a sync that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::{Db, WriteOptions};
use shuttle::thread;
use vfs::sim::{At, CallKind, Fault, ImageKind, SimDisk, Times, What};

use crate::bed::{Notes, draw, open, options, prepare, recovered};
use crate::explore::Model;

pub(crate) const WRITES: Model = Model {
    name: "writes",
    promise: "what is visible is in the log's files, what is acknowledged as durable is synced, and \
        after a failed sync nobody is acknowledged (rows 2, 14)",
    prepare: || prepare(options(), |_| {}),
    run,
    mistakes: &[
        "a write is visible before it is in place",
        "a sync under way counts for all",
        "what was staged behind a write counts as written",
    ],
};

#[derive(Default)]
struct World {
    failed: AtomicBool,
    /// Disks as somebody saw them, and the keys that must be on them.
    disks: Notes<(SimDisk, Vec<u8>)>,
}

fn run(base: &SimDisk) {
    let disk = base.fork(1);
    let db = open(&disk, options());
    if draw(2) == 0 {
        let at = At::Kind(CallKind::Sync, disk.calls_of(CallKind::Sync) + draw(2));
        disk.fault(Fault { at, what: What::SyncLost, times: Times::Once });
    }
    let world = Arc::new(World::default());
    let programs: [fn(&World, &Db, &SimDisk); 4] = [
        |world, db, disk| {
            world.put(db, disk, b"a", false);
            world.put(db, disk, b"b", true);
        },
        |world, db, disk| world.put(db, disk, b"c", true),
        |world, db, disk| {
            world.put(db, disk, b"d", false);
            world.put(db, disk, b"e", false);
        },
        |world, db, disk| {
            for key in [b"e", b"c", b"a", b"d", b"b"] {
                // Reads go on whatever happened.
                if db.get(key).expect("reads need no sync").is_some() {
                    // As a process that is killed here leaves it.
                    world.disks.push((disk.fork(1), key.to_vec()));
                    break;
                }
            }
        },
    ];
    let threads = programs.map(|program| {
        let (world, db, disk) = (world.clone(), db.clone(), disk.clone());
        thread::spawn(move || program(&world, &db, &disk))
    });
    threads.into_iter().for_each(|thread| thread.join().expect("a panic ends the schedule"));
    for (disk, key) in world.disks.all() {
        let found = recovered(&disk, options());
        assert!(found.contains_key(&key), "{key:?} was seen, or acknowledged, and is lost");
    }
}

impl World {
    fn put(&self, db: &Db, disk: &SimDisk, key: &[u8], durable: bool) {
        let refused = self.failed.load(Ordering::SeqCst);
        let options = WriteOptions::default();
        let options = if durable { options.durable() } else { options };
        // Large enough that three of them rotate the log.
        match db.put_with(key, [key[0]; 1500], options) {
            Ok(()) => {
                assert!(!refused, "an acknowledgement after a failure");
                if durable {
                    self.disks.push((disk.crash(ImageKind::SyncedOnly, 0), key.to_vec()));
                }
            }
            Err(_) => self.failed.store(true, Ordering::SeqCst),
        }
    }
}
