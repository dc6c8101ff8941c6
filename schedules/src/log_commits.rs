//! The commit queue: several writers of one log, durable and not, with rotations, in half of the
//! schedules on a disk of which a sync fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use shuttle::thread;
use vfs::sim::{At, CallKind, Fault, ImageKind, SimDisk, Times, What};
use vfs::sync::Mutex;
use vfs::{Env, Name};
use wal::{AppendMode, Durability, Log, Options, Position, ReadMode, SEGMENT, Start};

use crate::bed::{Notes, draw};
use crate::explore::Model;
use crate::turning::Turning;

pub(crate) const COMMITS: Model = Model {
    name: "commits",
    promise: "an acknowledgement means that every earlier byte is in place, or synced; nobody \
        hangs; after a failed sync nobody is acknowledged (rows 2, 35)",
    prepare: || SimDisk::new(1),
    run,
    mistakes: &[
        "what was staged behind a write counts as written",
        "a sync under way counts for all",
        "a failed sync is forgotten",
    ],
};

/// A record that was staged, in the order of the log.
#[derive(Clone)]
struct Record {
    address: Position,
    payload: Vec<u8>,
}

struct World {
    disk: SimDisk,
    log: Log,
    /// The last seq. The engine's commit lock.
    seq: Mutex<u64>,
    records: Notes<Record>,
    /// Addresses acknowledged as durable.
    durable: Notes<Position>,
    /// Somebody got an error.
    failed: AtomicBool,
}

fn options(append_mode: AppendMode) -> Options {
    Options {
        kind: SEGMENT,
        segment_bytes: 4096,
        durability: Durability::Never,
        append_mode,
        read_mode: ReadMode::Positional,
        preallocate: true,
    }
}

fn run(base: &SimDisk) {
    let disk = base.fork(1);
    let mode = if draw(2) == 0 { AppendMode::Mapped } else { AppendMode::Positional };
    let open = |fs, records: &mut Vec<Vec<u8>>| {
        let env = Env::sim(1).env;
        Log::open(fs, &env, options(mode), Start::default(), &mut |record| {
            records.push(record.payload.to_vec());
            Ok(())
        })
    };
    let (log, _) = open(Turning::over(disk.root()), &mut Vec::new()).expect("a healthy disk");
    if draw(2) == 0 {
        let kind = if mode == AppendMode::Mapped { CallKind::SyncMap } else { CallKind::Sync };
        let at = At::Kind(kind, disk.calls_of(kind) + draw(4));
        let times = if draw(2) == 0 { Times::Once } else { Times::Forever };
        disk.fault(Fault { at, what: What::SyncLost, times });
    }
    let (records, durable) = (Notes::default(), Notes::default());
    let (seq, failed) = (Mutex::new(0), AtomicBool::new(false));
    let world = Arc::new(World { disk, log, seq, records, durable, failed });
    let programs: [fn(&World); 3] = [
        |world| {
            world.write(false);
            world.write(true);
        },
        |world| {
            world.write(true);
            world.rotate();
            world.write(false);
        },
        |world| {
            world.write(false);
            world.sync();
        },
    ];
    let threads = programs.map(|program| {
        let world = world.clone();
        thread::spawn(move || program(&world))
    });
    for thread in threads {
        thread.join().expect("a panic ends the schedule");
    }
    let kinds = [ImageKind::SyncedOnly, ImageKind::RandomSectors { keep_percent: 50 }];
    for kind in kinds {
        let mut found = Vec::new();
        let image = world.disk.crash(kind, draw(1 << 20));
        open(image.root(), &mut found).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        world.judge(&found);
    }
}

impl World {
    fn write(&self, durable: bool) {
        let refused = self.failed.load(Ordering::SeqCst);
        let staged = {
            let mut seq = self.seq.lock();
            let payload = vec![u8::try_from(*seq).expect("a few"); 900];
            let staged = self.log.stage(*seq + 1, payload.len(), &mut |address, out| {
                out.copy_from_slice(&payload);
                self.records.push(Record { address, payload: payload.clone() });
            });
            *seq += u64::from(staged.is_ok());
            staged
        };
        match staged.and_then(|staged| self.log.commit(&staged, durable).map(|()| staged)) {
            Ok(staged) => self.acknowledged(staged.address, durable, refused),
            Err(_) => self.failed.store(true, Ordering::SeqCst),
        }
    }

    fn sync(&self) {
        let refused = self.failed.load(Ordering::SeqCst);
        let last = self.records.all().last().map(|record| record.address);
        match (self.log.sync(), last) {
            (Ok(()), Some(last)) => self.acknowledged(last, true, refused),
            (Ok(()), None) => {}
            (Err(_), _) => self.failed.store(true, Ordering::SeqCst),
        }
    }

    fn rotate(&self) {
        let refused = self.failed.load(Ordering::SeqCst);
        match self.log.rotate() {
            Ok(_) => assert!(!refused, "a rotation after a failure"),
            Err(_) => self.failed.store(true, Ordering::SeqCst),
        }
    }

    /// Looks at what an acknowledgement promises, before anybody else goes on.
    fn acknowledged(&self, upto: Position, durable: bool, refused: bool) {
        assert!(!refused, "an acknowledgement after a failure");
        let disk = match durable {
            true => self.disk.crash(ImageKind::SyncedOnly, 0),
            false => self.disk.clone(),
        };
        for record in self.records.all().iter().filter(|record| record.address <= upto) {
            let Position { segment, offset } = record.address;
            let file = disk.read_file(Name::new(SEGMENT, u64::from(segment.0))).unwrap_or_default();
            let start = usize::try_from(offset).expect("a small file");
            let bytes = file.get(start..start + record.payload.len());
            let what = if durable { "durable" } else { "in place" };
            assert!(bytes == Some(&record.payload), "{segment} at {offset} is not {what}");
        }
        if durable {
            self.durable.push(upto);
        }
    }

    /// What a crash leaves is a prefix that holds everything durable.
    fn judge(&self, found: &[Vec<u8>]) {
        let records = self.records.all();
        assert!(found.len() <= records.len(), "more than was written");
        for (found, record) in found.iter().zip(&records) {
            assert!(*found == record.payload, "not a prefix");
        }
        for durable in self.durable.all() {
            let index = records.iter().position(|record| record.address == durable);
            let index = index.expect("what is durable was written");
            assert!(
                index < found.len(),
                "{durable} is lost, {} of {} are there",
                found.len(),
                records.len()
            );
        }
    }
}
