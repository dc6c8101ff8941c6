//! Which merge is needed most (docs/decisions/0004-hash-merge-policy.md).
//!
//! 1. At `runs_max` runs the newest run, but not the very newest, that was written less often than
//!    the one below it takes in all above it; the oldest may always (Mathieu, Staelin, Young, Yousefi,
//!    "Bigtable merge compaction", 2014).
//! 2. When the runs hold half as many slots as the partitions, they are *folded* into them, a few
//!    partitions in each job. A fold that was begun is finished, but for applies that come
//!    meanwhile: their runs are merged among themselves when there are too many.
//! 3. Partitions are split when they outgrow their bytes, and joined with their buddy when both
//!    together are under a quarter.

use std::sync::Arc;

use vfs::sync::atomic::Ordering;

use crate::address::{PREFIX_BITS_MAX, Prefix};
use crate::commit::{Merging, Span};
use crate::generation::{Generation, Partition, Tier};
use crate::merge::{Job, Part, Target, entries_of};
use crate::options::Options;
use crate::run::Run;
use crate::table::Table;

/// Runs are folded when they hold as many slots as the partitions, divided by this.
const FOLD_RATIO: u64 = 2;
/// Where a fold takes long, so many applies should find room beside its runs.
const FOLD_ROOM: usize = 3;
/// A fold of more partitions than this takes long.
const FOLD_SHORT: usize = 8;
/// Buddies are joined when together they are under this part of a partition.
const JOIN_RATIO: u64 = 4;

impl Table {
    /// The merge that is needed most; `None` if none is, or while another one is not committed or
    /// dropped yet. With `full`: towards no runs at all, until there is none.
    pub fn plan(&self, full: bool) -> Option<Job> {
        let merging = Merging::take(&self.shared)?;
        let generation = self.newest();
        let (target, parts) = choose(&generation, &self.shared.options, full)?;
        Some(Job::new(generation, merging, target, parts))
    }

    /// Part of rewriting every partition once, so that its owner may drop or replace what it has
    /// come to know of. Call it, and do the jobs, until it gives `None`: then all partitions are newer
    /// than the first call. `None`, too, while another merge is not committed or dropped yet.
    pub fn plan_rewrite(&self) -> Option<Job> {
        let merging = Merging::take(&self.shared)?;
        let generation = self.newest();
        let mut below = self.shared.rewrite_below.lock();
        let limit = *below.get_or_insert_with(|| self.shared.next_id());
        let is_old = |p: &Partition| p.run.as_ref().is_some_and(|run| run.name.id < limit);
        let planned = partitions(&generation, &self.shared.options, is_old, None);
        if planned.is_none() {
            *below = None;
        }
        let (target, parts) = planned?;
        Some(Job::new(generation, merging, target, parts))
    }

    /// True while a merge is planned and neither committed nor dropped.
    pub fn is_merging(&self) -> bool {
        self.shared.merging.load(Ordering::Acquire)
    }
}

type Plan = (Target, Vec<Part>);

fn choose(generation: &Generation, options: &Options, full: bool) -> Option<Plan> {
    let runs = &generation.runs[..];
    let (begun, done) = generation.taken();
    if begun > done {
        let newer = runs.partition_point(|tier| tier.newest > begun);
        if generation.is_full() && newer >= 2 {
            return Some(binomial(runs, newer));
        }
        return fold(generation, options, begun);
    }
    let newest = runs.first()?.newest;
    let stats = generation.stats();
    let is_due = stats.run_slots.saturating_mul(FOLD_RATIO) >= stats.partition_slots;
    let is_short = generation.partitions.len() <= FOLD_SHORT;
    let is_tight = runs.len() + FOLD_ROOM > options.runs_max && runs.len() >= 2;
    if full || (is_due && (is_short || !is_tight)) {
        return fold(generation, options, newest);
    }
    (is_due || generation.is_full()).then(|| binomial(runs, runs.len()))
}

/// Merges some of the `count` newest runs.
fn binomial(runs: &[Tier], count: usize) -> Plan {
    assert!(2 <= count && count <= runs.len(), "a merge takes two runs");
    let candidates = &runs[..count];
    let may_grow =
        |at: &usize| *at == count - 1 || candidates[*at].written < candidates[*at + 1].written;
    let at = (1..count).find(may_grow).expect("the oldest may always");
    let merged = &candidates[..=at];
    let part = Part {
        prefix: Prefix::ALL,
        sources: merged.iter().map(|tier| Arc::clone(&tier.run)).collect(),
        entries_max: merged.iter().map(|tier| tier.run.entries()).sum(),
        taken: 0,
    };
    let target = Target::Runs {
        from: merged.iter().map(|tier| tier.run.name).collect(),
        written: merged[at].written.saturating_add(1),
        newest: merged[0].newest,
        has_older: at + 1 < runs.len(),
    };
    (target, vec![part])
}

/// Merges the runs up to one that ends with apply `upto` into the next few partitions.
fn fold(generation: &Generation, options: &Options, upto: u64) -> Option<Plan> {
    partitions(generation, options, |p| p.taken < upto, Some(upto))
}

/// A stretch of partitions that become one part.
struct Stretch {
    prefix: Prefix,
    entries: u64,
    taken: u64,
    bottoms: Vec<Arc<Run>>,
}

/// Rewrites the first few partitions that are wanted, taking in runs up to apply `upto`.
fn partitions(
    generation: &Generation,
    options: &Options,
    is_wanted: impl Fn(&Partition) -> bool,
    upto: Option<u64>,
) -> Option<Plan> {
    let limit = entries_of(options);
    let all = &generation.partitions;
    let first = all.iter().position(&is_wanted)?;
    let mut stretches: Vec<Stretch> = Vec::new();
    let mut entries = 0;
    let mut last = first;
    for (index, partition) in all.iter().enumerate().skip(first) {
        if !is_wanted(partition) || (index > first && entries >= limit) {
            break;
        }
        let stretch = Stretch::new(generation, partition, upto);
        entries += stretch.entries;
        last = index;
        stretches.push(stretch);
        join(&mut stretches, limit / JOIN_RATIO);
    }
    let span = Span { first: all[first].prefix.start, last: all[last].prefix.last() };
    let mut parts = Vec::new();
    for stretch in stretches {
        stretch.split(generation, limit, upto, &mut parts);
    }
    Some((Target::Partitions { span }, parts))
}

/// Joins the last two if they are buddies and small.
fn join(stretches: &mut Vec<Stretch>, limit: u64) {
    while let [.., left, right] = &mut stretches[..] {
        let parent = left.prefix.parent();
        let buddies = left.prefix.bits == right.prefix.bits && parent == right.prefix.parent();
        let small = left.entries + right.entries < limit;
        let Some(prefix) = parent.filter(|_| buddies && small && left.taken == right.taken) else {
            return;
        };
        left.prefix = prefix;
        left.entries += right.entries;
        left.bottoms.append(&mut right.bottoms);
        stretches.pop();
    }
}

/// The runs that a partition takes in.
fn taken_in(generation: &Generation, taken: u64, upto: Option<u64>) -> Vec<Arc<Run>> {
    let upto = upto.unwrap_or(0);
    let wanted = generation.runs.iter().filter(|t| taken < t.newest && t.newest <= upto);
    wanted.map(|tier| Arc::clone(&tier.run)).collect()
}

impl Stretch {
    fn new(generation: &Generation, partition: &Partition, upto: Option<u64>) -> Stretch {
        let Partition { prefix, taken, .. } = *partition;
        let runs = taken_in(generation, taken, upto);
        let share: u64 = runs.iter().map(|run| (run.entries() >> prefix.bits) + 1).sum();
        let own = partition.run.as_ref().map_or(0, |run| run.entries());
        let bottoms = partition.run.iter().cloned().collect();
        Stretch { prefix, entries: own + share, taken, bottoms }
    }

    /// Parts of at most twice a partition: where a part of that length is split is seen when its
    /// left half is written.
    fn split(self, generation: &Generation, limit: u64, upto: Option<u64>, parts: &mut Vec<Part>) {
        let mut sources = taken_in(generation, self.taken, upto);
        sources.extend(self.bottoms);
        let taken = upto.unwrap_or(self.taken);
        let mut open = vec![(self.prefix, self.entries)];
        while let Some((prefix, entries)) = open.pop() {
            if entries > limit.saturating_mul(2) && prefix.bits < PREFIX_BITS_MAX {
                let [left, right] = prefix.halves();
                open.push((right, entries / 2));
                open.push((left, entries / 2));
                continue;
            }
            let sources = sources.clone();
            parts.push(Part { prefix, sources, entries_max: entries, taken });
        }
    }
}
