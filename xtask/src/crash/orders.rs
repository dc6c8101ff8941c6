//! R13: deleted stays deleted, expired stays expired, and live stays live, in every order of what
//! may happen around a garbage collection.
//!
//! A collection is taken apart (`engine::stepping`): it looks up and copies (*scan*), and later
//! counts (*install*). All 720 orders of {scan, end of a key, flush, compact, install, reopen} are
//! gone through, each with and without a snapshot, collecting all value files or only the newest,
//! the key being deleted or expiring under a clock that jumps, in both kinds of keyspace. Then
//! longer random ones, in which everything else may happen too.
//!
//! 1. After every operation each key is what a model says, by `get`, in a scan and in the snapshot.
//! 2. In the end all garbage goes, and nothing else, and a clean close leaves nothing unknown.

mod bed;

use anyhow::{Context, Result};
use engine::stepping::Victims;
use vfs::Random;

use self::bed::{Bed, KEYS, Op, Tally};
use super::minimise::shortest;
use super::part::{Finding, Outcome, Part};
use super::recovery::{guard, hush};
use crate::kind::Kind;

/// Orders in a unit.
const ORDERS_PER_UNIT: u64 = 24;
/// Orders of six operations.
const ORDERS: u64 = 720;
/// Random sequences in a unit.
const SEQUENCES_PER_UNIT: u64 = 100;
/// The key that ends.
const ENDING: u64 = 2;

/// The part: all orders, and so many random sequences.
#[derive(Clone, Copy, Debug)]
pub struct Orders {
    /// Random sequences behind the 720 orders.
    pub random: u64,
    /// Equal seeds draw the same.
    pub seed: u64,
}

impl Orders {
    /// What CI runs: all orders, and some random sequences.
    pub fn quick(seed: u64) -> Orders {
        Orders { random: 5_000, seed }
    }

    /// What a long run does.
    pub fn long(seed: u64) -> Orders {
        Orders { random: 1_000_000, seed }
    }

    /// Units of the 720 orders: of each kind, of each way to end.
    fn exhaustive_units() -> u64 {
        4 * ORDERS / ORDERS_PER_UNIT
    }

    fn exhaustive(unit: u64, outcome: &mut Outcome) -> Result<()> {
        let kind = Kind::ALL[usize::from(unit % 2 == 1)];
        let expires = unit / 2 % 2 == 1;
        let base = Bed::new(kind, ENDING, expires)?;
        let first = unit / 4 * ORDERS_PER_UNIT;
        for number in first..first + ORDERS_PER_UNIT {
            for with_snapshot in [false, true] {
                for victims in [Victims::All, Victims::Newest] {
                    let order = order(number, victims, expires);
                    let what = || format!("{kind}, {order:?}, snapshot {with_snapshot}");
                    let tally = one_order(&base, number, &order, with_snapshot, expires);
                    add(outcome, &tally.with_context(what)?);
                    outcome.count("orders", 1);
                }
            }
        }
        Ok(())
    }

    fn random(&self, unit: u64, outcome: &mut Outcome) -> Result<()> {
        let kind = Kind::ALL[usize::from(unit % 2 == 1)];
        let base = Bed::new(kind, ENDING, unit / 2 % 2 == 1)?;
        for number in unit * SEQUENCES_PER_UNIT..(unit + 1) * SEQUENCES_PER_UNIT {
            let ops = sequence(&mut Random::new(self.seed ^ number << 20));
            match guard(|| run(&base, &ops)) {
                Ok(tally) => add(outcome, &tally),
                Err(error) => {
                    let ops = shortest(&ops, &|fewer| guard(|| run(&base, fewer)).is_err());
                    return Err(error.context(format!("{kind}, {ops:?}")));
                }
            }
            outcome.count("random orders", 1);
        }
        Ok(())
    }
}

impl Part for Orders {
    fn name(&self) -> String {
        "R13 orders".to_owned()
    }

    fn units(&self) -> u64 {
        Orders::exhaustive_units() + self.random.div_ceil(SEQUENCES_PER_UNIT)
    }

    fn run(&self, unit: u64) -> Outcome {
        hush();
        let mut outcome = Outcome::default();
        let done = guard(|| match unit.checked_sub(Orders::exhaustive_units()) {
            None => Orders::exhaustive(unit, &mut outcome),
            Some(unit) => self.random(unit, &mut outcome),
        });
        if let Err(error) = done {
            outcome.findings.push(Finding::new(
                "order",
                format!("{error:#}"),
                format!("cargo xtask crash --orders --seed {} --unit {unit}", self.seed),
            ));
        }
        outcome
    }
}

fn add(outcome: &mut Outcome, tally: &Tally) {
    outcome.count("operations", tally.ops);
    outcome.count("collections installed", tally.installed);
    outcome.count("keys compared", tally.reads);
}

/// One of the 720, by its number.
fn order(mut number: u64, victims: Victims, expires: bool) -> Vec<Op> {
    let end = if expires { Op::Pass } else { Op::Delete(ENDING) };
    let mut left = vec![Op::Scan(victims), end, Op::Flush, Op::Compact, Op::Install, Op::Reopen];
    let mut order = Vec::new();
    while !left.is_empty() {
        let count = left.len() as u64;
        let index = usize::try_from(number % count).expect("small");
        order.push(left.remove(index));
        number /= count;
    }
    order
}

fn one_order(
    base: &Bed,
    number: u64,
    order: &[Op],
    with_snapshot: bool,
    expires: bool,
) -> Result<Tally> {
    let mut bed = base.fork()?;
    if with_snapshot {
        bed.perform(Op::Snapshot)?;
    }
    for (index, op) in order.iter().enumerate() {
        bed.perform(*op).and_then(|()| bed.verify()).with_context(|| format!("after {op:?}"))?;
        if expires {
            bed.verify_elsewhen((number >> index).is_multiple_of(2))
                .with_context(|| format!("after {op:?}, another time"))?;
        }
    }
    bed.settle().context("settled")?;
    Ok(bed.tally)
}

/// A random sequence; collections, their victims' keys and what hides them more often than others.
fn sequence(random: &mut Random) -> Vec<Op> {
    let len = 6 + random.index(20);
    (0..len).map(|_| draw(random)).collect()
}

fn draw(random: &mut Random) -> Op {
    let key = random.below(KEYS);
    let victims = if random.percent(50) { Victims::All } else { Victims::Newest };
    match random.below(40) {
        0..4 => Op::Scan(victims),
        4 | 5 => Op::Begin(victims),
        6..9 => Op::Step,
        9..14 => Op::Install,
        14 | 15 => Op::Collect,
        16..20 => Op::Put(key),
        20 | 21 => Op::PutTtl(key),
        22..26 => Op::Delete(key),
        26 => Op::Pass,
        27 => Op::Jump(true),
        28 => Op::Jump(false),
        29..32 => Op::Flush,
        32..35 => Op::Compact,
        35 => Op::Reopen,
        36 => Op::Kill,
        37 => Op::Snapshot,
        38 => Op::Release,
        _ => Op::Checkpoint,
    }
}

fn run(base: &Bed, ops: &[Op]) -> Result<Tally> {
    let mut bed = base.fork()?;
    for (index, op) in ops.iter().enumerate() {
        let done = bed.perform(*op).and_then(|()| bed.verify());
        done.with_context(|| format!("after {op:?}, operation {}", index + 1))?;
    }
    bed.settle().context("settled")?;
    Ok(bed.tally)
}

#[cfg(test)]
mod tests;
