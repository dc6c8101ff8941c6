//! What one round runs: policy, modes, threads and tiny limits, drawn from a seed.

use std::time::Duration;

use engine::{AppendMode, Durability, Options, ReadMode};
use vfs::Random;
use xtask::kind::Kind;

/// A way to run the database.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Config {
    pub(super) durability: Durability,
    pub(super) append: AppendMode,
    pub(super) read: ReadMode,
}

/// Every policy with every append mode and both read modes; `Always` does not go with `Mapped`.
pub(super) fn configs() -> Vec<Config> {
    let policies = [
        Durability::Never,
        Durability::Always,
        Durability::EveryBytes(4096),
        Durability::Interval(Duration::from_millis(5)),
    ];
    let mut configs = Vec::new();
    for durability in policies {
        for append in [AppendMode::Mapped, AppendMode::Positional, AppendMode::Auto] {
            if durability == Durability::Always && append == AppendMode::Mapped {
                continue;
            }
            for read in [ReadMode::Mapped, ReadMode::Positional] {
                configs.push(Config { durability, append, read });
            }
        }
    }
    configs
}

impl Config {
    /// Limits so small that flushes, merges and collections run all the time, or so large that
    /// everything waits in the log; drawn, so that a database meets others at its next open.
    /// `seed` is the database's own, for what it keeps for ever.
    pub(super) fn options(self, tuning: u64, seed: u64) -> Options {
        let mut random = Random::new(tuning);
        let default = if seed.is_multiple_of(2) { Kind::Btree } else { Kind::Hash };
        let options = Options::default()
            .durability(self.durability(&mut random))
            .append_mode(self.append)
            .read_mode(self.read)
            .default_keyspace(default.options());
        let options = sizes(options, &mut random);
        let options = garbage(options, &mut random);
        options
            .reserve_bytes([0, 64 << 10, 1 << 20][random.index(3)])
            .pinned_bytes_max([0, 32 << 10, 1 << 30][random.index(3)])
            .txn_history_bytes([0, 16 << 10, 256 << 20][random.index(3)])
    }

    /// The policy with a drawn number of bytes or time.
    fn durability(self, random: &mut Random) -> Durability {
        match self.durability {
            Durability::EveryBytes(_) => Durability::EveryBytes(1 << random.below(18)),
            Durability::Interval(_) => {
                Durability::Interval(Duration::from_millis(1 << random.below(8)))
            }
            other => other,
        }
    }
}

/// Options for whoever must read a state to its end.
pub(super) fn patient(options: Options) -> Options {
    options.pinned_bytes_max(1 << 30)
}

fn sizes(options: Options, random: &mut Random) -> Options {
    // In one of six databases nothing is ever full.
    let shift = if random.below(6) == 0 { 18 } else { 10 };
    let mut units = |least: u64, most: u64| (least + random.below(most - least + 1)) << shift;
    let (memtable_bytes, segment_bytes) = (units(4, 48), units(4, 64));
    let (table_bytes, level1_bytes) = (units(4, 32), units(8, 64));
    let level0_files = 1 + random.index(4);
    options
        .memtable_bytes(memtable_bytes)
        .memtable_entries(20 + (random.below(400) << (shift - 10)))
        .segment_bytes(segment_bytes)
        .log_bytes(segment_bytes * (1 + random.below(4)))
        .sealed_max(1 + random.index(3))
        .inline_max([0, random.index(300), 64 << 10][random.index(3)])
        .bloom_bits_per_key([0, 10][random.index(2)])
        .table_bytes(table_bytes)
        .level0_files(level0_files)
        .level0_files_max(level0_files + 1 + random.index(6))
        .level1_bytes(level1_bytes)
        .level_multiplier(2 + random.below(4))
}

fn garbage(options: Options, random: &mut Random) -> Options {
    // Zero: the background collects nothing.
    let interval = if random.below(8) == 0 { 0 } else { 1 + random.below(10) };
    options
        .promote_min([0.0, 0.2, 0.5, 0.7, 1.0][random.index(5)])
        .total_garbage_max([0.01, 0.10, 0.25, 1.0][random.index(4)])
        .advised_garbage([0.01, 0.20, 0.40][random.index(3)])
        .forced_garbage([0.45, 0.80, 1.0][random.index(3)])
        .gc_interval(Duration::from_millis(interval))
        .gc_bytes_per_second([0, 0, 4 << 20][random.index(3)])
}

/// When the parent kills: at whichever comes first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// This long after the start of the child, or after its first report.
    pub(super) after: Duration,
    pub(super) from_start: bool,
    /// When so many operations are acknowledged.
    pub(super) acknowledged: u64,
}

/// What a round draws.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    /// Index into [`configs`].
    pub(super) config: usize,
    /// Seed of the limits.
    pub(super) tuning: u64,
    pub(super) moment: Moment,
    /// Verify a copy, so that the next child's open is the first after the kill; else verify the
    /// database itself, which recovers and closes it.
    pub(super) copy: bool,
    /// Flush, compact, collect garbage and verify once more.
    pub(super) settle: bool,
}

impl Round {
    /// Round number `index` of a seed. Configs take turns, so that a few rounds meet all.
    pub(super) fn draw(seed: u64, index: u64) -> Round {
        let mut random = Random::new(seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let count = configs().len();
        let turn = usize::try_from(index % count as u64).expect("below a usize");
        // From the start: in recovery, often. Else the time only bounds a round on a disk that
        // syncs slowly.
        let from_start = random.percent(25);
        let after = Duration::from_millis(if from_start { 60 } else { 500 });
        let after = after.mul_f64(random.below(1000) as f64 / 1000.0);
        let moment = Moment { after, from_start, acknowledged: 1 + random.below(3_000) };
        // A stride that shares no divisor with the count meets every config once in each turn.
        let config = turn * 5 % count;
        let (tuning, copy) = (random.next_u64(), random.percent(50));
        Round { config, tuning, moment, copy, settle: random.percent(25) }
    }
}

#[cfg(test)]
mod tests;
