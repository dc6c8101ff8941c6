//! The experiments behind decisions 0003 and 0004 and the bar of index bytes per put, kept so that
//! they can be run again.
//!
//! ```text
//! cargo run --release -p xtask -- simulate values      value log: promotion, copies, garbage
//! cargo run --release -p xtask -- simulate hash        hash index: runs and partitions
//! cargo run --release -p xtask -- simulate levels      ordered index: leveled merges to 10^9 keys
//! ```
//!
//! All count bytes and entries; none writes a file. The output is the Markdown of the
//! decisions' tables.

mod draws;
mod hash;
mod levels;
mod store;
mod values;

use clap::Subcommand;

/// Which experiment to run.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Experiment {
    /// Promotion and garbage collection of the value log.
    Values {
        /// Keys alive at once.
        #[arg(long, default_value_t = 128 << 10)]
        keys: u32,
        /// Seed of the drawn keys.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Runs and partitions of the hash index.
    Hash,
    /// Merges of the ordered index, against RocksDB's.
    Levels,
}

/// Runs one experiment and prints its tables.
pub(crate) fn run(experiment: Experiment) {
    match experiment {
        Experiment::Values { keys, seed } => values::print_tables(keys, seed),
        Experiment::Hash => hash::print_tables(),
        Experiment::Levels => levels::print_tables(),
    }
}
