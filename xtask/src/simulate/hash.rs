//! Entries written by the hash index, counted without a file: every flush writes a hash-ordered
//! run, runs are merged by a policy, and in the end into the partitions.
//!
//! What is modelled:
//! 1. All runs cover the whole hash space, and merging into the partitions rewrites all of them: the
//!    keys are spread evenly by the hash, so every partition gets its share of every run.
//! 2. Keys are drawn uniformly out of `keys` (updates) or are all new (growth). Merging drops
//!    shadowed entries: a run over `puts` draws holds the distinct keys among them.
//! 3. Splitting a partition happens while it is rewritten and costs nothing extra.
//! 4. A slot of 16 bytes in 4 KiB pages with a header of 32 bytes, 85 % full: 19 bytes per entry.

use super::draws::distinct_uniform;

/// 4096 / (254 slots x 0.85).
const ENTRY_BYTES: f64 = 19.0;
const RUNS_MAX: usize = 8;

#[derive(Clone, Copy)]
enum Runs {
    /// `fan_in` runs of a level are merged to one of the next, as often as eight runs allow.
    Tiered { fan_in: usize },
    /// After the binomial policy (Mathieu, Staelin, Young, Yousefi: "Bigtable merge compaction",
    /// 2014): a run may be rewritten as often as the run below it was, which bounds the rewrites for
    /// a given number of runs.
    Binomial,
}

#[derive(Clone, Copy)]
struct Policy {
    runs: Runs,
    runs_max: usize,
    /// Runs go into the partitions when they hold the partitions' entries over this.
    ratio: f64,
    /// Slots kept in memory besides their small runs, so that those runs are not probed.
    young: f64,
}

const CHOSEN: Policy = Policy { runs: Runs::Binomial, runs_max: RUNS_MAX, ratio: 2.0, young: 0.0 };

#[derive(Clone, Copy)]
struct Run {
    puts: f64,
    /// Times it was written; the level, when tiered.
    written: u32,
}

struct Index {
    policy: Policy,
    /// Distinct keys; 0 for all new.
    keys: f64,
    partitions: f64,
    /// Oldest and largest first.
    runs: Vec<Run>,
    young: f64,
    entries_written: f64,
    probes: f64,
    applies: f64,
    space_max: f64,
}

impl Index {
    fn new(policy: Policy, keys: f64, partitions: f64) -> Index {
        Index {
            policy,
            keys,
            partitions,
            runs: Vec::new(),
            young: 0.0,
            entries_written: 0.0,
            probes: 0.0,
            applies: 0.0,
            space_max: 0.0,
        }
    }

    /// Entries of a run that covers so many puts.
    fn entries(&self, puts: f64) -> f64 {
        if self.keys == 0.0 { puts } else { distinct_uniform(puts, self.keys) }
    }

    fn apply(&mut self, puts: f64) {
        self.entries_written += self.entries(puts);
        self.young += puts;
        if self.young >= self.policy.young.max(puts) {
            let run = std::mem::take(&mut self.young);
            if self.policy.young > 0.0 {
                self.entries_written += self.entries(run);
            }
            self.push(run);
        }
        self.applies += 1.0;
        self.probes += f64::from(u32::try_from(self.runs.len()).expect("few runs"));
        let entries: f64 = self.runs.iter().map(|run| self.entries(run.puts)).sum();
        self.space_max = self.space_max.max((entries + self.partitions) / self.partitions);
    }

    fn push(&mut self, puts: f64) {
        let runs: f64 = self.runs.iter().map(|run| run.puts).sum();
        if self.entries(runs + puts) >= self.partitions / self.policy.ratio {
            self.merge_into_partitions(runs + puts);
            return;
        }
        match self.policy.runs {
            Runs::Tiered { fan_in } => self.push_tiered(puts, fan_in),
            Runs::Binomial => self.push_binomial(puts),
        }
        if self.runs.len() > self.policy.runs_max {
            let puts = self.runs.iter().map(|run| run.puts).sum();
            self.merge_into_partitions(puts);
        }
    }

    fn merge_into_partitions(&mut self, puts: f64) {
        self.runs.clear();
        if self.keys == 0.0 {
            self.partitions += puts;
        }
        self.entries_written += self.partitions;
    }

    fn push_tiered(&mut self, puts: f64, fan_in: usize) {
        self.runs.push(Run { puts, written: 1 });
        while let Some(&last) = self.runs.last() {
            let level =
                self.runs.iter().rev().take_while(|run| run.written == last.written).count();
            if level < fan_in {
                return;
            }
            self.merge_newest(fan_in, last.written + 1);
        }
    }

    fn merge_newest(&mut self, count: usize, written: u32) {
        let puts = self.runs.drain(self.runs.len() - count..).map(|run| run.puts).sum();
        self.entries_written += self.entries(puts);
        self.runs.push(Run { puts, written });
    }

    /// An apply never waits for a merge of its own run: it writes a run, and the merge that makes
    /// room for the next one starts behind it.
    fn push_binomial(&mut self, puts: f64) {
        self.runs.push(Run { puts, written: 1 });
        if self.runs.len() < self.policy.runs_max {
            return;
        }
        // The newest run that was written less often than the one below it takes all above it in.
        let may_grow = |at: usize| at == 0 || self.runs[at].written < self.runs[at - 1].written;
        let at = (0..self.runs.len() - 1).rev().find(|&at| may_grow(at)).expect("the oldest may");
        let written = self.runs[at].written + 1;
        self.merge_newest(self.runs.len() - at, written);
    }
}

struct Outcome {
    bytes_per_put: f64,
    probes: f64,
    space_max: f64,
}

impl Index {
    fn outcome(&self, puts: f64) -> Outcome {
        Outcome {
            bytes_per_put: self.entries_written * ENTRY_BYTES / puts,
            probes: self.probes / self.applies,
            space_max: self.space_max,
        }
    }
}

/// Updates of `keys` keys, five times over.
fn updates(policy: Policy, keys: f64, flush: f64) -> Outcome {
    let mut index = Index::new(policy, keys, keys);
    let puts = 5.0 * keys;
    while index.applies * flush < puts {
        index.apply(flush);
    }
    index.outcome(index.applies * flush)
}

/// New keys only, from 10^6 to `keys`.
fn growth(policy: Policy, keys: f64, flush: f64) -> Outcome {
    let mut index = Index::new(policy, 0.0, 1e6);
    while 1e6 + index.applies * flush < keys {
        index.apply(flush);
    }
    index.outcome(index.applies * flush)
}

const SIZES: [f64; 4] = [1e6, 1e7, 1e8, 1e9];

fn print_table(title: &str, rows: &[(String, Policy, f64)]) {
    println!("\n### {title}\n");
    println!(
        "| policy | 10^6 | 10^7 | 10^8 | 10^9 | growth 10^6 to 10^9 | probes at 10^9 | space |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (name, policy, flush) in rows {
        let outcomes = SIZES.map(|keys| updates(*policy, keys, *flush));
        let grown = growth(*policy, 1e9, *flush);
        let [million, ten, hundred, billion] = outcomes;
        println!(
            "| {name} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.1} | {:.2} |",
            million.bytes_per_put,
            ten.bytes_per_put,
            hundred.bytes_per_put,
            billion.bytes_per_put,
            grown.bytes_per_put,
            billion.probes,
            billion.space_max,
        );
    }
}

pub(super) fn print_tables() {
    println!(
        "Bytes of index written per put, uniform updates; {ENTRY_BYTES} bytes per entry written."
    );
    let ways = [
        ("tiered, fan-in 2", Runs::Tiered { fan_in: 2 }),
        ("tiered, fan-in 3", Runs::Tiered { fan_in: 3 }),
        ("tiered, fan-in 5", Runs::Tiered { fan_in: 5 }),
        ("binomial", Runs::Binomial),
    ];
    for flush in [60_000.0, 300_000.0] {
        let rows = ways.map(|(name, runs)| (name.to_owned(), Policy { runs, ..CHOSEN }, flush));
        print_table(&format!("Which runs to merge, flushes of {flush}, 8 runs, ratio 2"), &rows);
    }
    let rows = [0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 8.0]
        .map(|ratio| (format!("ratio {ratio}"), Policy { ratio, ..CHOSEN }, 60_000.0));
    print_table("When runs go into the partitions, flushes of 60000, binomial", &rows);
    let rows = [60e3, 120e3, 300e3, 1e6, 3e6, 10e6]
        .map(|flush| (format!("flushes of {flush}"), CHOSEN, flush));
    print_table("Flush, binomial, 8 runs", &rows);
    let rows = [4, 6, 8, 10, 12, 16, 24]
        .map(|runs_max| (format!("{runs_max} runs"), Policy { runs_max, ..CHOSEN }, 60_000.0));
    print_table("Runs allowed, flushes of 60000, binomial", &rows);
    let rows = [0.0, 1e6, 4e6, 8e6, 16e6, 32e6]
        .map(|young| (format!("{young} slots in memory"), Policy { young, ..CHOSEN }, 60_000.0));
    print_table("Newest slots in memory, their small runs not probed, flushes of 60000", &rows);
}

#[cfg(test)]
mod tests;
