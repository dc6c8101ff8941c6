//! Deleted stays deleted, and live stays live, in every order of what may happen around a garbage
//! collection (reliability bar R13).

use std::time::Duration;

use vfs::sim::SimDisk;
use vfs::{Clock, SimEnv};

use super::*;
use crate::catalog::SegmentRecord;
use crate::collecting::Run;
use crate::options::Durability;

/// What happens, each once, in every order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Op {
    /// Garbage collection looks up and copies; nothing counts yet.
    Scan,
    /// The key is deleted, or its time comes.
    End,
    Flush,
    Compact,
    /// What was collected counts from here on.
    Install,
    Reopen,
}

const OPS: [Op; 6] = [Op::Scan, Op::End, Op::Flush, Op::Compact, Op::Install, Op::Reopen];
const HOUR_MS: i64 = 3_600_000;
const KEYS: u64 = 8;
/// The key that ends.
const ENDING: u64 = 2;

/// Every order of the operations.
fn orders() -> Vec<Vec<Op>> {
    let mut orders = vec![Vec::new()];
    for op in OPS {
        let longer = |order: &Vec<Op>| -> Vec<Vec<Op>> {
            let at = |index| {
                let mut longer = order.clone();
                longer.insert(index, op);
                longer
            };
            (0..=order.len()).map(at).collect()
        };
        orders = orders.iter().flat_map(longer).collect();
    }
    assert_eq!(orders.len(), 720);
    orders
}

fn options(kind: &KeyspaceOptions) -> Options {
    Options::default()
        .memtable_bytes(64 << 10)
        .segment_bytes(4096)
        .log_bytes(1 << 20)
        .table_bytes(4096)
        .inline_max(64)
        .total_garbage_max(0.0)
        .gc_interval(Duration::ZERO)
        .durability(Durability::Never)
        .read_mode(crate::options::ReadMode::Positional)
        .default_keyspace(kind.clone())
}

fn key(index: u64) -> Vec<u8> {
    format!("key{index}").into_bytes()
}

/// Which version of a key's value is the newest.
fn version_of(index: u64) -> u64 {
    u64::from(index >= 4 || index == ENDING)
}

fn value(index: u64, version: u64) -> Vec<u8> {
    format!("value {index}.{version} ").into_bytes().repeat(20)
}

/// A database on a simulated disk.
struct Bed {
    disk: SimDisk,
    sim: SimEnv,
    options: Options,
    db: Option<Db>,
    /// A collection that looked and copied.
    run: Option<Run>,
    snapshot: Option<Snapshot>,
    /// The key's time is over.
    ended: bool,
    /// Of all files only the newest is collected: older versions stay where they are.
    newest_only: bool,
}

impl Bed {
    fn new(disk: SimDisk, sim: SimEnv, options: Options) -> Bed {
        let (db, run, snapshot) = (None, None, None);
        let (ended, newest_only) = (false, false);
        let mut bed = Bed { disk, sim, options, db, run, snapshot, ended, newest_only };
        bed.open();
        bed
    }

    /// Two files, and in the newer one the key that will end: an older version of it is below.
    fn base(kind: &KeyspaceOptions, expires: bool) -> Bed {
        let (disk, sim, options) = (SimDisk::new(13), Env::sim(13), options(kind));
        let mut bed = Bed::new(disk, sim, options);
        let ttl = Duration::from_secs(2 * 3600);
        for index in 0..KEYS {
            bed.db().put(key(index), value(index, 0)).expect("healthy");
        }
        bed.db().compact().expect("healthy");
        for index in (0..KEYS).filter(|index| version_of(*index) == 1) {
            let options = match index == ENDING && expires {
                true => WriteOptions::default().ttl(ttl),
                false => WriteOptions::default(),
            };
            bed.db().put_with(key(index), value(index, 1), options).expect("healthy");
        }
        bed.db().flush().expect("healthy");
        bed.db.take().expect("open").close().expect("healthy");
        bed
    }

    fn fork(&self) -> Bed {
        let sim = Env::sim(14);
        sim.clock.set_wall_ms(self.sim.clock.wall_ms());
        let (disk, options) = (self.disk.fork(1), self.options.clone());
        Bed::new(disk, sim, options)
    }

    fn open(&mut self) {
        let opened = Db::open_on(self.disk.root(), self.sim.env.clone(), self.options.clone());
        self.db = Some(opened.expect("a healthy disk"));
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("it is open")
    }

    fn state(&self) -> &State {
        &self.db().shared.state
    }

    fn reopen(&mut self) {
        (self.run, self.snapshot) = (None, None);
        self.db.take().expect("it is open").close().expect("a healthy disk");
        self.open();
    }

    /// Everything of a collection but its installation.
    fn scan(&mut self) {
        let state = self.state();
        let mut victims: Vec<SegmentRecord> =
            state.manifest.lock().catalog().segments.values().cloned().collect();
        if self.newest_only {
            victims.drain(..victims.len().saturating_sub(1));
        }
        let mut run = Run::new(&state.files, &state.view().segments, &victims);
        loop {
            match run.step(&state.view()) {
                Ok(true) => break,
                Ok(false) => {}
                Err(_) => panic!("a healthy disk"),
            }
        }
        self.run = Some(run);
    }

    fn perform(&mut self, op: Op, expires: bool) {
        match op {
            Op::Scan => self.scan(),
            Op::End => {
                self.ended = true;
                match expires {
                    true => self.sim.clock.jump_wall_ms(4 * HOUR_MS),
                    false => self.db().delete(key(ENDING)).expect("a healthy disk"),
                }
            }
            Op::Flush => self.db().flush().expect("a healthy disk"),
            Op::Compact => self.db().compact().expect("a healthy disk"),
            Op::Install => {
                if let Some(run) = self.run.take() {
                    collect::install(self.state(), run).expect("a healthy disk");
                }
            }
            Op::Reopen => self.reopen(),
        }
    }

    fn verify(&self, expires: bool, what: &dyn Fn() -> String) {
        for index in 0..KEYS {
            let expected = value(index, version_of(index));
            let is_there = index != ENDING || !self.ended;
            let found = self.db().get(key(index));
            let found = found.unwrap_or_else(|error| panic!("{}: {error}", what()));
            let expected = Some(expected.as_slice());
            assert_eq!(found.as_deref(), expected.filter(|_| is_there), "{}: {index}", what());
            // A snapshot keeps what was deleted, and lets expired entries expire.
            if let Some(snapshot) = &self.snapshot {
                let found = snapshot.get(&self.db().default, key(index));
                let found = found.unwrap_or_else(|error| panic!("{}: {error}", what()));
                let expected = expected.filter(|_| is_there || !expires);
                assert_eq!(found.as_deref(), expected, "{}: {index} in a snapshot", what());
            }
        }
        let count = self.db().iter().filter(|entry| entry.is_ok()).count() as u64;
        assert_eq!(count, KEYS - u64::from(self.ended), "{}", what());
    }

    /// Every pointer leads to its record, or to one that a newer entry hides.
    fn check(&self, what: &dyn Fn() -> String) {
        let report = self.db().check().expect("a healthy disk");
        assert!(report.is_sound(), "{}: {:?}", what(), report.damage);
    }

    /// Whatever came before: all garbage goes, and nothing else.
    fn settle(&mut self, expires: bool, what: &dyn Fn() -> String) {
        (self.run, self.snapshot) = (None, None);
        self.db().compact().expect("a healthy disk");
        self.db().collect_garbage().expect("a healthy disk");
        self.verify(expires, what);
        assert_eq!(self.db().stats().garbage_bytes, 0, "{}", what());
        self.check(what);
        self.reopen();
        self.verify(expires, what);
        assert_eq!(self.db().stats().recovery.quarantined, Vec::<String>::new(), "{}", what());
    }
}

/// Rows 95 and 97, bar R13: 720 orders, with a snapshot and without.
fn nothing_comes_back_and_nothing_is_lost(kind: &KeyspaceOptions, expires: bool) {
    let base = Bed::base(kind, expires);
    let mut installed = 0;
    for (number, order) in orders().iter().enumerate() {
        for (with_snapshot, newest_only) in
            [(false, false), (true, false), (false, true), (true, true)]
        {
            let mut bed = base.fork();
            bed.newest_only = newest_only;
            bed.snapshot = with_snapshot.then(|| bed.db().snapshot());
            for (index, op) in order.iter().enumerate() {
                let what =
                    || format!("{order:?}, snapshot {with_snapshot}, {newest_only}, after {op:?}");
                installed += u32::from(*op == Op::Install && bed.run.is_some());
                bed.perform(*op, expires);
                bed.verify(expires, &what);
                if *op == Op::Install {
                    bed.check(&what);
                }
                if expires {
                    // The clock jumps to and fro, an hour each way, and never to the end itself.
                    let forwards = (number >> index) % 2 == 0;
                    bed.sim.clock.jump_wall_ms(if forwards { HOUR_MS } else { -HOUR_MS });
                    bed.verify(expires, &what);
                    bed.sim.clock.jump_wall_ms(if forwards { -HOUR_MS } else { HOUR_MS });
                }
            }
            bed.settle(expires, &|| format!("{order:?}, snapshot {with_snapshot}, settled"));
        }
    }
    assert!(installed >= 720, "{installed} of 2880 collections were installed");
}

#[test]
fn row_095_r13_deleted_stays_deleted_in_all_orders_btree() {
    nothing_comes_back_and_nothing_is_lost(&KeyspaceOptions::btree(), false);
}

#[test]
fn row_095_r13_deleted_stays_deleted_in_all_orders_hash() {
    nothing_comes_back_and_nothing_is_lost(&KeyspaceOptions::hash(), false);
}

#[test]
fn row_095_r13_expired_stays_expired_in_all_orders_btree() {
    nothing_comes_back_and_nothing_is_lost(&KeyspaceOptions::btree(), true);
}

#[test]
fn row_095_r13_expired_stays_expired_in_all_orders_hash() {
    nothing_comes_back_and_nothing_is_lost(&KeyspaceOptions::hash(), true);
}
