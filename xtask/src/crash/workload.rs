//! Runs a sequence of calls on a simulated disk that records every boundary, and keeps the history
//! that the oracle judges by.

use anyhow::{Context, Result};
use engine::{Db, Stats};
use vfs::sim::SimDisk;

use super::call::Op;
use super::copies::Copy;
use super::history::History;
use super::liar::Lie;
use super::plan::{Config, INLINE_MAX, Jobs};
use super::reach::Reach;
use super::run::{Promise, Run};

/// A separated value that leaves its log segment mostly dead, so that a flush copies it.
const MIDDLE_LEN: usize = 2 * INLINE_MAX + 100;
/// A separated value that makes its log segment worth keeping.
const BIG_LEN: usize = 10 * INLINE_MAX;
/// Longer than a log segment.
const HUGE_LEN: usize = 6000;
/// Keys that split the smallest partition of a hash table.
pub(super) const MANY: usize = 450;
/// Of these, so few that their segment is not worth keeping.
const FEW: usize = 15;

/// A finished run.
#[derive(Debug)]
pub struct Recording {
    /// The disk, with the state at every boundary.
    pub disk: SimDisk,
    /// What was attempted and acknowledged at which call.
    pub history: History,
    /// The checkpoints that were made.
    pub(super) copies: Vec<Copy>,
    /// The boundary behind the prelude.
    pub prelude: usize,
    /// The boundary before the last call of the sequence, or of the prelude: what lies before it,
    /// shorter sequences have too.
    pub first: usize,
    /// The last boundary: after every call.
    pub last: usize,
    /// What the store says about itself at the end.
    pub stats: Stats,
    /// Which parts of the store ran.
    pub reach: Reach,
}

/// Runs the prelude and then `ops` on a fresh disk.
///
/// # Errors
/// Any failure of a call, and anything read that the model does not say: the disk is sound.
pub fn record(config: Config, ops: &[Op], seed: u64, lie: Option<Lie>) -> Result<Recording> {
    let places = ops.iter().filter(|op| **op == Op::Checkpoint).count();
    let mut run = Run::start(config, seed, lie, places)?;
    prelude(&mut run).context("prelude")?;
    let prelude = run.calls();
    let mut first = run.started;
    for (index, op) in ops.iter().enumerate() {
        first = run.calls();
        step(&mut run, *op).with_context(|| format!("call {} ({})", index + 1, op.name()))?;
        work(&mut run);
    }
    let last = run.calls();
    run.verify().context("what the run itself reads")?;
    let stats = run.db().stats();
    run.reach.add_stats(&stats);
    run.reach.add_calls(&run.disk.trace());
    run.require_lock().context("the lock")?;
    let Run { disk, history, copies, reach, .. } = run;
    disk.kill();
    Ok(Recording { disk, history, copies, prelude, first, last, stats, reach })
}

/// Something in every layer: two keyspaces, tables, value segments, one of them rewritten and with
/// garbage again, a synced log, a tail.
pub(super) fn prelude(run: &mut Run) -> Result<()> {
    run.create_second()?;
    run.put("a", 40)?;
    run.put("b", 40)?;
    run.put("c", MIDDLE_LEN)?;
    // Twice, so that too little of the log is live for it to be kept: a flush copies.
    for key in ["e", "f", "e", "f"] {
        run.put(key, MIDDLE_LEN)?;
    }
    run.batch(Promise::Config)?;
    run.flushing(Db::flush)?;
    run.put("e", MIDDLE_LEN)?;
    run.flushing(Db::compact)?;
    run.db().collect_garbage()?;
    run.delete("f")?;
    run.flushing(Db::compact)?;
    run.put("b", 60)?;
    run.flushing(Db::flush)?;
    run.put("d", 40)?;
    run.sync()?;
    // Where writes are not durable, the first call finds something unsynced.
    run.put("b", 70)
}

/// One call of the alphabet.
pub(super) fn step(run: &mut Run, op: Op) -> Result<()> {
    match op {
        Op::Put => run.put("a", 40)?,
        Op::BigPut => run.put("a", BIG_LEN)?,
        Op::HugePut => run.put("c", HUGE_LEN)?,
        Op::Delete => run.delete("a")?,
        Op::Batch => run.batch(Promise::Config)?,
        Op::Unlogged => run.batch(Promise::Nobody)?,
        Op::TtlPut => run.put_ttl("a")?,
        Op::Many => run.many(0..MANY, true)?,
        Op::Few => run.many(FEW..MANY, false)?,
        Op::Transact => run.transact()?,
        Op::Swap => run.swap("b")?,
        Op::Expire => run.expire("c")?,
        Op::Flush => run.flushing(Db::flush)?,
        Op::Compact => run.flushing(Db::compact)?,
        Op::Gc => run.db().collect_garbage()?,
        Op::Checkpoint => run.checkpoint()?,
        Op::Contend => run.contend()?,
        Op::Back => run.back()?,
        Op::Snapshot => run.snapshot(),
        Op::Tick => run.tick(),
        Op::Reopen => run.reopen()?,
        Op::Sync => run.sync()?,
        Op::Recreate => {
            run.drop_second()?;
            run.create_second()?;
        }
        Op::Jobs => {
            run.sim.spawner.run_until_idle();
        }
    }
    Ok(())
}

/// Background jobs do a few steps, if the configuration says so.
pub(super) fn work(run: &mut Run) {
    if run.config.jobs == Jobs::Seeded {
        for _ in 0..run.random.below(4) {
            let choice = run.random.next_u64();
            run.sim.spawner.step_one(choice);
        }
    }
}
