//! The thirteen targets and what each may hold.

use crate::limits::{HARD_BYTES, Judge, TIME_MAX, run};
use crate::{
    batch, db_model, db_open, filter, hash_ops, manifest_replay, nodes, options, sst_model,
    sst_open, vlog, wal_decode, wal_open,
};

/// One fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of its binary and of the folder of its corpus.
    pub name: &'static str,
    /// What it does with an input.
    pub body: fn(&[u8]),
    /// The most that it may hold at once, simulated disk, expanded input and model included.
    ///
    /// Where files are opened, what the product holds for them is bounded inside the body by
    /// [`allowance`](crate::limits::allowance): 16 times their length, or 1 MiB.
    pub bytes_max: usize,
    /// Inputs are not longer.
    pub len_max: usize,
}

const MIB: usize = 1 << 20;

/// All of them.
///
/// Where the input is a program and not a file, a bound in proportion to it would say nothing: a
/// call of two bytes may fill a memtable. There the cap is what the options and the longest program
/// can come to: memtables (4 to 64 KiB), a disk of a few hundred KiB that keeps its state before
/// each call, and the model with every state of it since the last crash.
pub const TARGETS: [Target; 13] = [
    target("wal_decode", wal_decode::body, 8 * MIB, 16 << 10),
    target("wal_open", wal_open::body, 16 * MIB, 16 << 10),
    target("sst_open", sst_open::body, 8 * MIB, 48 << 10),
    target("sst_model", sst_model::body, 32 * MIB, 4 << 10),
    target("nodes", nodes::body, 8 * MIB, 8 << 10),
    target("filter", filter::body, 8 * MIB, 4 << 10),
    target("manifest_replay", manifest_replay::body, 8 * MIB, 8 << 10),
    target("hash_ops", hash_ops::body, 16 * MIB, 32 << 10),
    target("vlog", vlog::body, 8 * MIB, 16 << 10),
    target("batch", batch::body, 16 * MIB, 8 << 10),
    target("options", options::body, HARD_BYTES, 1 << 10),
    target("db_open", db_open::body, 32 * MIB, 64 << 10),
    target("db_model", db_model::body, 32 * MIB, 2 << 10),
];

const fn target(name: &'static str, body: fn(&[u8]), bytes_max: usize, len_max: usize) -> Target {
    Target { name, body, bytes_max, len_max }
}

/// The target of a name.
pub fn find(name: &str) -> Option<&'static Target> {
    const ALL: &[Target] = &TARGETS;
    ALL.iter().find(|target| target.name == name)
}

/// Runs one input as a fuzz target does, under every limit.
///
/// # Panics
/// If there is no such target; for every finding.
pub fn fuzz(name: &str, data: &[u8]) {
    let target = find(name).expect("a target of the table");
    run(target.body, data, target.bytes_max, Judge::SpaceAndTime(TIME_MAX));
}
