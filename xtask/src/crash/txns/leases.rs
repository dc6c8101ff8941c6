//! Leases that expire: workers take one after the other, and work under it. Nobody works under a
//! lease that is over, and no two leases overlap, by a clock that everybody moves on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use engine::{Db, ErrorKind, Keyspace, Transaction};
use vfs::{Clock, Random, SimClock};

const TTL_MS: u64 = 40;
const LEASE: &str = "lease";
const COUNT: &str = "count";

/// Who took which lease, and when.
pub(super) struct Leases {
    db: Db,
    /// Where the lease is; the count of leases is in the default keyspace.
    space: Keyspace,
    /// Number of a lease, and the times between which it began.
    taken: Vec<(u64, u64, u64)>,
    pub(super) worked: u64,
    /// Leases that were taken before this.
    known: u64,
}

fn number(bytes: &[u8]) -> Result<u64> {
    let (number, _) = bytes.split_first_chunk().context("a number is cut")?;
    Ok(u64::from_le_bytes(*number))
}

impl Leases {
    pub(super) fn new(db: &Db, space: &Keyspace) -> Result<Leases> {
        let known = db.get(COUNT)?.map_or(Ok(0), |count| number(&count))?;
        let (db, space) = (db.clone(), space.clone());
        Ok(Leases { db, space, taken: Vec::new(), worked: 0, known })
    }

    /// Leases follow each other without a gap and without an overlap.
    pub(super) fn audit(&self) -> Result<u64> {
        for two in self.taken.windows(2) {
            let ((one, earliest, _), (next, _, latest)) = (two[0], two[1]);
            ensure!(next == one + 1, "lease {next} follows lease {one}");
            ensure!(earliest + TTL_MS <= latest, "leases {one} and {next} overlap");
        }
        Ok(self.taken.len() as u64)
    }
}

/// A transaction that looked and has decided.
enum Task {
    Nothing,
    Take { txn: Transaction, before: u64, lease: u64 },
    Work { txn: Transaction, lease: u64 },
}

/// One of those who want the lease.
pub(super) struct Worker {
    name: u64,
    random: Random,
    task: Task,
    pub(super) done: u64,
}

impl Worker {
    pub(super) fn new(name: u64, seed: u64) -> Worker {
        let random = Random::new(seed ^ name.wrapping_mul(0xa076_1d64_78bd_642f));
        Worker { name, random, task: Task::Nothing, done: 0 }
    }

    /// Looks, or does what the look was for.
    pub(super) fn step(&mut self, leases: &mut Leases, clock: &SimClock) -> Result<()> {
        clock.advance(Duration::from_millis(self.random.below(3)));
        self.task = match std::mem::replace(&mut self.task, Task::Nothing) {
            Task::Nothing => self.look(leases, clock)?,
            Task::Take { mut txn, before, lease } => {
                let bytes = [lease, self.name].map(u64::to_le_bytes).concat();
                txn.put_ttl(&leases.space, LEASE, bytes, Duration::from_millis(TTL_MS))?;
                txn.put(leases.db.default_keyspace(), COUNT, lease.to_le_bytes())?;
                if self.committed(txn.commit())? {
                    leases.taken.push((lease, before, clock.wall_ms()));
                }
                Task::Nothing
            }
            Task::Work { mut txn, lease } => {
                let place = format!("work{}", lease % 32);
                txn.put(leases.db.default_keyspace(), place, [3; 100])?;
                let now = clock.wall_ms();
                if self.committed(txn.commit())? {
                    leases.worked += 1;
                    if lease <= leases.known {
                        return Ok(());
                    }
                    let began = leases.taken.iter().rev().find(|(number, ..)| *number == lease);
                    let (_, _, latest) = began.context("work under a lease nobody took")?;
                    ensure!(now < latest + TTL_MS, "work under a lease that is over");
                }
                Task::Nothing
            }
        };
        Ok(())
    }

    fn look(&mut self, leases: &Leases, clock: &SimClock) -> Result<Task> {
        self.done += 3;
        let before = clock.wall_ms();
        let txn = leases.db.transaction();
        let held = match self.random.index(2) {
            0 => txn.get(&leases.space, LEASE)?,
            _ => {
                let mut found = None;
                for item in txn.iter(&leases.space) {
                    let (key, value) = item?;
                    if *key == *LEASE.as_bytes() {
                        found = Some(value);
                    }
                }
                found
            }
        };
        let count = txn.get(leases.db.default_keyspace(), COUNT)?;
        let count = count.map_or(Ok(0), |count| number(&count))?;
        Ok(match held {
            None => Task::Take { txn, before, lease: count + 1 },
            Some(held) => {
                let lease = number(&held)?;
                ensure!(lease == count, "the lease there is {lease}, the newest is {count}");
                Task::Work { txn, lease }
            }
        })
    }

    /// False if it lost.
    fn committed(&self, outcome: engine::Result<()>) -> Result<bool> {
        match outcome {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
