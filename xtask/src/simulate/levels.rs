//! Index bytes that flushes and merges of leveled files write, counted without a file, as keys grow
//! from 10^6 to 10^9: ours against RocksDB with blob files. Values of 1 KiB are kept apart.
//!
//! What is modelled:
//! 1. Of 10^9 keys one of 250 is followed and stands for all of them. So merges meet real overlaps
//!    and real duplicates, and files, targets and flushes keep their true sizes. As many keys are
//!    followed as `FOLLOWED_KEYS` allows: of 10^6 all.
//! 2. Keys are uniformly random. First all are new; then existing ones are drawn for overwriting,
//!    and a merge keeps one version of a key. There are no deletes, no expiry, no snapshots.
//! 3. Every flush brings the same, see `Policy::flush_puts`. Merges keep up: all that are due end
//!    before the next flush. (A store that falls behind merges more files at once and writes less.)
//! 4. An entry has the same bytes in every engine. RocksDB's takes more (key 24, sequence 8, blob
//!    index about 10, lengths 3), so this is in its favour.

mod policy;
mod tree;

use std::collections::BTreeSet;

use super::draws::{Random, to_f64};
use policy::Policy;
use tree::{ENTRY_BYTES, Tree};

const FOLLOWED_KEYS: u64 = 4_000_000;
/// A quarter of few keys is not a merge of level 0; overwrites go on for as many flushes at least.
const OVERWRITE_FLUSHES_MIN: u64 = 64;
const SIZES: [u64; 4] = [1_000_000, 10_000_000, 100_000_000, 1_000_000_000];
/// Entry sizes that a decade may add.
const DECADE_MAX: f64 = 6.0;

/// Entries written per put.
#[derive(Clone, Copy)]
struct Outcome {
    grow: f64,
    fill: f64,
    overwrite: f64,
}

/// A stretch of puts: its name, and its figure of an outcome.
type Mix = (&'static str, fn(&Outcome) -> f64);

impl Outcome {
    const MIXES: [Mix; 3] = [
        ("new keys, n/2 to n", |outcome| outcome.fill),
        ("new keys, n/10 to n", |outcome| outcome.grow),
        ("overwrites, n/4", |outcome| outcome.overwrite),
    ];
}

/// A store, and the keys of the model in it.
struct Store {
    policy: Policy,
    tree: Tree,
    random: Random,
    keys: Vec<u64>,
    /// Puts of the model to a flush.
    flush_puts: u64,
}

impl Store {
    fn new(policy: Policy, keys: u64, seed: u64) -> Store {
        let keys_per_key = (keys / FOLLOWED_KEYS).max(1);
        let tree = Tree::new(policy.level_count(), keys_per_key);
        let flush_puts = policy.flush_puts() / keys_per_key;
        Store { policy, tree, random: Random::new(seed), keys: Vec::new(), flush_puts }
    }

    /// A memtable of new keys.
    fn fill(&mut self) {
        let keys: BTreeSet<u64> = (0..self.flush_puts).map(|_| self.random.next()).collect();
        self.keys.extend(&keys);
        self.flush(keys);
    }

    /// A memtable of keys that exist; those drawn twice are in it once.
    fn overwrite(&mut self) {
        let count = u32::try_from(self.keys.len()).expect("few keys are followed");
        let mut draw = || self.keys[self.random.below(count) as usize];
        let keys = (0..self.flush_puts).map(|_| draw()).collect();
        self.flush(keys);
    }

    fn flush(&mut self, keys: BTreeSet<u64>) {
        self.tree.flush(keys);
        while let Some(merge) = self.policy.plan(&self.tree) {
            self.tree.merge(merge);
        }
    }

    /// Entries written per put while `flushes` memtables are written.
    fn measure(&mut self, flushes: u64, write: fn(&mut Store)) -> f64 {
        let before = self.tree.written;
        (0..flushes).for_each(|_| write(self));
        to_f64(self.tree.written - before) / to_f64(flushes * self.flush_puts)
    }
}

fn simulate(policy: Policy, keys: u64) -> Outcome {
    let mut store = Store::new(policy, keys, 1);
    let flushes = keys / policy.flush_puts();
    let (start, half) = (flushes / 10, flushes / 2);
    store.measure(start, Store::fill);
    let first = store.measure(half - start, Store::fill) * to_f64(half - start);
    let fill = store.measure(flushes - half, Store::fill);
    let grow = (first + fill * to_f64(flushes - half)) / to_f64(flushes - start);
    let overwrite = store.measure((flushes / 4).max(OVERWRITE_FLUSHES_MIN), Store::overwrite);
    Outcome { grow, fill, overwrite }
}

type Row = (Policy, [Outcome; SIZES.len()]);

fn print_rows(title: &str, rows: &[Row], of: fn(&Outcome) -> f64) {
    println!("\n### {title}\n");
    println!("| policy | puts a flush | 10^6 | 10^7 | 10^8 | 10^9 | more per decade |");
    println!("|---|---|---|---|---|---|---|");
    for (policy, outcomes) in rows {
        let cell = |outcome: &Outcome| {
            format!("{:.0} B ({:.1})", of(outcome) * to_f64(ENTRY_BYTES), of(outcome))
        };
        let cells = outcomes.iter().map(cell).collect::<Vec<_>>().join(" | ");
        let more = decades(outcomes, of).map(|more| format!("{more:+.1}")).join(", ");
        println!("| {} | {} | {cells} | {more} |", policy.name(), policy.flush_puts());
    }
}

fn decades(outcomes: &[Outcome; SIZES.len()], of: fn(&Outcome) -> f64) -> [f64; SIZES.len() - 1] {
    std::array::from_fn(|index| of(&outcomes[index + 1]) - of(&outcomes[index]))
}

fn holds(is_met: bool) -> &'static str {
    if is_met { "holds" } else { "does NOT hold" }
}

/// The bar for one policy: its largest step, the largest mean of its three steps, its worst ratio
/// to RocksDB, over all mixes.
fn print_verdict(row: &Row, rocks: &[Outcome; SIZES.len()]) {
    let (policy, outcomes) = row;
    let (mut step, mut step_mix) = (f64::MIN, "");
    let mut mean = f64::MIN;
    let (mut ratio, mut ratio_at) = (f64::MIN, ("", 0));
    for (mix, of) in Outcome::MIXES {
        let steps = decades(outcomes, of);
        mean = mean.max(steps.iter().sum::<f64>() / to_f64(steps.len() as u64));
        for more in steps {
            if more > step {
                (step, step_mix) = (more, mix);
            }
        }
        for (index, keys) in SIZES.into_iter().enumerate() {
            let found = of(&outcomes[index]) / of(&rocks[index]);
            if found > ratio {
                (ratio, ratio_at) = (found, (mix, keys));
            }
        }
    }
    println!(
        "- {}: at most {step:+.1} entry sizes in a decade ({step_mix}), {mean:+.1} in the mean of \
         three: the bar of {DECADE_MAX} for each {}; at \
         most {ratio:.2} x RocksDB ({} = {}): \"no worse\" {}.",
        policy.name(),
        holds(step <= DECADE_MAX),
        ratio_at.0,
        ratio_at.1,
        holds(ratio <= 1.0),
    );
}

pub(super) fn print_tables() {
    println!(
        "Index bytes written per put, in brackets in entries of {ENTRY_BYTES} bytes. Overwrites \
         follow the fill: n/4 of them, at least {OVERWRITE_FLUSHES_MIN} flushes."
    );
    let rows = Policy::ALL.map(|policy| (policy, SIZES.map(|keys| simulate(policy, keys))));
    for (title, of) in Outcome::MIXES {
        print_rows(title, &rows, of);
    }
    let rocks = rows.iter().find(|(policy, _)| *policy == Policy::RocksDb).expect("one of all");
    println!();
    for row in &rows {
        print_verdict(row, &rocks.1);
    }
}

#[cfg(test)]
mod tests;
