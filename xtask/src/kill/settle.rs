//! Which of the states that a kill may leave was found.
//!
//! A killed process loses nothing that it logged. What skipped the log lasts with its generation:
//! generations are flushed whole and in order, so of a thread's unlogged operations those before
//! some *cut* are there and those from it on are not, and no cut lies before one that another
//! thread saw acknowledged earlier.

use std::collections::{BTreeMap, BTreeSet};

use super::stream::{Lost, Model, Op, SPACES, difference};

/// What a thread had done when its child died.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    pub(super) seed: u64,
    pub(super) thread: u8,
    /// Operations that were acknowledged, which is the number of the next one.
    pub(super) acknowledged: u64,
    /// The state after these.
    pub(super) model: Model,
    /// Where its child began, and the state then.
    first: u64,
    base: Model,
    /// Every operation below lasts, logged or not: a flush was acknowledged that began later.
    flushed: u64,
    /// Which of its operations were lost.
    pub(super) lost: Lost,
    /// When each operation since `first` was acknowledged, counted over all threads.
    acks: Vec<u64>,
}

/// The cuts that explain a state, as numbers of operations: of the unlogged ones those below
/// lasted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cuts {
    least: u64,
    most: u64,
}

impl Progress {
    /// A thread that did `count` operations, all of which last.
    pub(super) fn after(seed: u64, thread: u8, count: u64) -> Progress {
        let model = Model::after(seed, thread, count, &Lost::default());
        Progress {
            seed,
            thread,
            acknowledged: count,
            base: model.clone(),
            model,
            first: count,
            flushed: count,
            lost: Lost::default(),
            acks: Vec::new(),
        }
    }

    fn op(&self, index: u64) -> Op {
        Op::draw(self.seed, self.thread, index)
    }

    /// A child begins where the last one ended.
    pub(super) fn begin(&mut self) {
        (self.first, self.flushed) = (self.acknowledged, self.acknowledged);
        self.base = self.model.clone();
        self.acks.clear();
    }

    /// Takes note of the next operation's acknowledgement.
    fn acknowledge(&mut self, at: u64) {
        let op = self.op(self.acknowledged);
        self.model.apply(&op);
        self.acknowledged += 1;
        self.acks.push(at);
    }

    /// When operation `index` may have begun at the earliest.
    fn began(&self, index: u64) -> u64 {
        let before = index.checked_sub(self.first + 1);
        let before = before.and_then(|before| self.acks.get(usize::try_from(before).ok()?));
        before.map_or(0, |ack| *ack)
    }

    /// Everything that was acknowledged by then lasts.
    fn flushed_by(&mut self, time: u64) {
        let count = self.acks.partition_point(|ack| *ack <= time) as u64;
        self.flushed = self.flushed.max(self.first + count);
    }

    /// Unlogged operations since the child began.
    pub(super) fn unlogged(&self) -> u64 {
        (self.first..self.acknowledged).filter(|index| self.op(*index).is_unlogged()).count() as u64
    }

    /// Finds which of the possible states a database is in, with or without the operation that
    /// the kill interrupted, and takes it over. An error tells a difference.
    pub(super) fn settle(&mut self, found: &Model) -> anyhow::Result<Cuts> {
        for count in [self.acknowledged, self.acknowledged + 1] {
            let Some(cuts) = self.cuts(found, count) else { continue };
            let is_lost = |index: &u64| self.op(*index).is_unlogged();
            if (cuts.most..count).any(|index| is_lost(&index)) {
                self.lost.0.push((cuts.most, count));
            }
            self.acknowledged = count;
            self.model = found.clone();
            return Ok(cuts);
        }
        let mut next = self.model.clone();
        next.apply(&self.op(self.acknowledged));
        let [with, without] =
            [&next, &self.model].map(|model| difference(found, model).unwrap_or_default());
        let Progress { thread, acknowledged, flushed, .. } = self;
        anyhow::bail!(
            "thread {thread} has {acknowledged} acknowledged operations, the first {flushed} \
             flushed; after these: {without}; after one more: {with}; nor does it fit that later \
             unlogged ones were lost"
        );
    }

    /// The cuts with which the first `count` operations lead to `found`; `None` if none does.
    fn cuts(&self, found: &Model, count: u64) -> Option<Cuts> {
        let ops: Vec<(u64, Op)> =
            (self.first..count).map(|index| (index, self.op(index))).collect();
        let unlogged = ops.iter().filter(|(index, op)| op.is_unlogged() && self.flushed <= *index);
        let mut cuts: Vec<u64> = unlogged.map(|(index, _)| index + 1).collect();
        cuts.insert(0, self.flushed.min(count));
        let mut fits = vec![true; cuts.len()];
        for space in 0..SPACES.len() {
            // Every key's writes, in order.
            let mut writes: BTreeMap<&[u8], Vec<Write<'_>>> = BTreeMap::new();
            for (index, op) in &ops {
                for change in op.changes().iter().filter(|change| change.space == space) {
                    let logged = !op.is_unlogged();
                    let write = Write { index: *index, logged, value: change.value.as_deref() };
                    writes.entry(&change.key).or_default().push(write);
                }
            }
            let (base, found) = (&self.base.spaces[space], &found.spaces[space]);
            let keys: BTreeSet<&[u8]> =
                base.keys().chain(found.keys()).map(Vec::as_slice).collect();
            let none = Vec::new();
            for key in keys.union(&writes.keys().copied().collect()) {
                let [base, found] = [base, found].map(|map| map.get(*key).map(Vec::as_slice));
                let writes = writes.get(key).unwrap_or(&none);
                judge(base, writes, found, &cuts, &mut fits);
            }
        }
        let mut possible = cuts.iter().zip(&fits).filter(|(_, fits)| **fits).map(|(cut, _)| *cut);
        let least = possible.next()?;
        Some(Cuts { least, most: possible.next_back().unwrap_or(least) })
    }
}

/// One write of a key.
struct Write<'a> {
    index: u64,
    logged: bool,
    value: Option<&'a [u8]>,
}

/// Strikes out the cuts with which a key would not be what was found.
fn judge(
    base: Option<&[u8]>,
    writes: &[Write<'_>],
    found: Option<&[u8]>,
    cuts: &[u64],
    fits: &mut [bool],
) {
    // What it is at each cut, as the number of the write that made it so.
    let mut newest: Vec<Option<usize>> = vec![None; cuts.len()];
    for (number, write) in writes.iter().enumerate() {
        let lasts = |cut: &u64| write.logged || write.index < *cut;
        let there = newest.iter_mut().zip(cuts).filter(|(_, cut)| lasts(cut));
        there.for_each(|(newest, _)| *newest = Some(number));
    }
    let is_right = |value: Option<&[u8]>| value == found;
    let base_is_right = is_right(base);
    let right: Vec<bool> = writes.iter().map(|write| is_right(write.value)).collect();
    for (fits, newest) in fits.iter_mut().zip(newest) {
        *fits &= newest.map_or(base_is_right, |number| right[number]);
    }
}

/// Takes note of reports in the order in which they came, and of what they say lasts.
pub(super) fn acknowledge(threads: &mut [Progress], reports: &[(u8, u64)]) -> anyhow::Result<()> {
    let alone = threads.len() == 1;
    for (at, (thread, index)) in (1..).zip(reports) {
        let Some(progress) = threads.get_mut(usize::from(*thread)) else {
            anyhow::bail!("a report of thread {thread}");
        };
        let expected = progress.acknowledged;
        anyhow::ensure!(*index == expected, "report {index} of {thread}, expected {expected}");
        let flushed = progress.op(*index).flushes(alone).then(|| progress.began(*index));
        progress.acknowledge(at);
        if let Some(began) = flushed {
            threads.iter_mut().for_each(|progress| progress.flushed_by(began));
        }
    }
    Ok(())
}

/// Whether the threads' cuts are one of all: what one thread lost was not acknowledged before
/// something began that another kept.
pub(super) fn require_one_cut(threads: &[Progress], cuts: &[Cuts]) -> anyhow::Result<()> {
    for (keeper, kept) in threads.iter().zip(cuts) {
        let kept = (keeper.first..kept.least.min(keeper.acknowledged)).rev();
        let Some(kept) = kept.into_iter().find(|index| keeper.op(*index).is_unlogged()) else {
            continue;
        };
        let began = keeper.began(kept);
        for (loser, lost) in threads.iter().zip(cuts) {
            let mut lost = lost.most.max(loser.first)..loser.acknowledged;
            let Some(lost) = lost.find(|index| loser.op(*index).is_unlogged()) else { continue };
            let ack = usize::try_from(lost - loser.first).ok().and_then(|at| loser.acks.get(at));
            anyhow::ensure!(
                ack.is_none_or(|ack| *ack > began),
                "unlogged operation {lost} of thread {} is lost, and was acknowledged before \
                 operation {kept} of thread {} began, which is there",
                loser.thread,
                keeper.thread
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
