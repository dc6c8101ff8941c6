//! What is measured, and what is better.

/// How a row's figures are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Better {
    /// Throughput.
    Higher,
    /// Times, bytes.
    Lower,
}

/// Who counts as a peer in a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peers {
    /// Everybody: reads, scans, YCSB B to E.
    All,
    /// Those whose acknowledged unsynced writes survive `kill -9`: all other writes.
    Surviving,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name; a name with a colon is a side figure of the part before it.
    pub name: &'static str,
    /// The unit of its figures.
    pub unit: &'static str,
    /// What is better.
    pub better: Better,
    /// Who counts.
    pub peers: Peers,
}

const fn row(name: &'static str, unit: &'static str, better: Better, peers: Peers) -> Row {
    Row { name, unit, better, peers }
}

const fn rate(name: &'static str, peers: Peers) -> Row {
    row(name, "/s", Better::Higher, peers)
}

const fn cost(name: &'static str, unit: &'static str, peers: Peers) -> Row {
    row(name, unit, Better::Lower, peers)
}

use Peers::{All, Surviving};

/// Every row, in the order of the table.
pub const ROWS: &[Row] = &[
    rate("fill, 1 thread", Surviving),
    cost("fill, 1 thread: p50", "us", Surviving),
    cost("fill, 1 thread: p99", "us", Surviving),
    cost("fill, 1 thread: p99.9", "us", Surviving),
    cost("fill, 1 thread: worst stall", "ms", Surviving),
    cost("fill, 1 thread: device bytes per byte", "", Surviving),
    cost("fill, 1 thread: peak private memory", "MiB", Surviving),
    cost("fill, 1 thread: settled, device bytes per byte", "", Surviving),
    cost("fill, 1 thread: settled, disk bytes per byte", "", All),
    cost("fill, 1 thread: time to settle", "s", All),
    rate("fill, 2 threads", Surviving),
    cost("fill, 2 threads: p99.9", "us", Surviving),
    cost("fill, 2 threads: worst stall", "ms", Surviving),
    cost("fill, 2 threads: device bytes per byte", "", Surviving),
    cost("fill, 2 threads: peak private memory", "MiB", Surviving),
    cost("fill, 2 threads: settled, disk bytes per byte", "", All),
    rate("fill, 4 threads", Surviving),
    cost("fill, 4 threads: p99.9", "us", Surviving),
    cost("fill, 4 threads: worst stall", "ms", Surviving),
    cost("fill, 4 threads: device bytes per byte", "", Surviving),
    cost("fill, 4 threads: peak private memory", "MiB", Surviving),
    cost("fill, 4 threads: settled, disk bytes per byte", "", All),
    rate("batches of 1,000", Surviving),
    cost("batches of 1,000: worst stall", "ms", Surviving),
    cost("batches of 1,000: device bytes per byte", "", Surviving),
    cost("batches of 1,000: peak private memory", "MiB", Surviving),
    cost("batches of 1,000: settled, disk bytes per byte", "", All),
    cost("bulk load", "s", All),
    rate("durable puts, 1 thread", All),
    cost("durable puts, 1 thread: p50", "us", All),
    cost("durable puts, 1 thread: p99", "us", All),
    cost("durable puts, 1 thread: p99.9", "us", All),
    cost("durable puts, 1 thread: worst stall", "ms", All),
    cost("durable puts, 1 thread: device bytes per byte", "", All),
    rate("durable puts, 8 threads", All),
    cost("durable puts, 8 threads: p99.9", "us", All),
    cost("durable puts, 8 threads: worst stall", "ms", All),
    cost("durable puts, 8 threads: device bytes per byte", "", All),
    rate("unsettled: read hit, copied, 1 thread", All),
    rate("unsettled: read hit, zero-copy, 1 thread", All),
    rate("unsettled: read hit, zero-copy, 4 threads", All),
    rate("unsettled: read miss, 1 thread", All),
    rate("unsettled: read miss, 4 threads", All),
    rate("unsettled: scan 100", All),
    rate("unsettled: full scan", All),
    rate("read hit, copied, 1 thread", All),
    cost("read hit, copied, 1 thread: p50", "us", All),
    cost("read hit, copied, 1 thread: p99", "us", All),
    cost("read hit, copied, 1 thread: p99.9", "us", All),
    rate("read hit, copied, 4 threads", All),
    rate("read hit, zero-copy, 1 thread", All),
    cost("read hit, zero-copy, 1 thread: p50", "us", All),
    cost("read hit, zero-copy, 1 thread: p99", "us", All),
    cost("read hit, zero-copy, 1 thread: p99.9", "us", All),
    rate("read hit, zero-copy, 2 threads", All),
    rate("read hit, zero-copy, 4 threads", All),
    rate("read miss, 1 thread", All),
    cost("read miss, 1 thread: p50", "us", All),
    cost("read miss, 1 thread: p99", "us", All),
    cost("read miss, 1 thread: p99.9", "us", All),
    rate("read miss, 4 threads", All),
    rate("scan 100", All),
    rate("scan 100, backward", All),
    rate("full scan", All),
    rate("full scan, backward", All),
    rate("YCSB C", All),
    rate("YCSB C, 4 threads", All),
    rate("YCSB E", All),
    rate("YCSB E, 4 threads", All),
    rate("YCSB B", All),
    rate("YCSB B, 4 threads", All),
    rate("YCSB D", All),
    rate("YCSB D, 4 threads", All),
    rate("YCSB A", Surviving),
    rate("YCSB A, 4 threads", Surviving),
    rate("YCSB F", Surviving),
    rate("YCSB F, 4 threads", Surviving),
    rate("mixed: puts of 1 writer", Surviving),
    rate("mixed: reads of 2 readers", All),
    cost("mixed: p99.9 of a put", "us", Surviving),
    cost("mixed: p99.9 of a read", "us", All),
    rate("zipfian overwrite", Surviving),
    cost("zipfian overwrite: p99.9", "us", Surviving),
    cost("zipfian overwrite: worst stall", "ms", Surviving),
    cost("zipfian overwrite: device bytes per byte", "", Surviving),
    cost("zipfian overwrite: peak private memory", "MiB", Surviving),
    cost("zipfian overwrite: settled, device bytes per byte", "", Surviving),
    cost("zipfian overwrite: settled, disk bytes per byte", "", All),
    rate("delete all", Surviving),
    cost("delete all: worst stall", "ms", Surviving),
    cost("delete all: device bytes per byte", "", Surviving),
    cost("delete all: peak private memory", "MiB", Surviving),
    cost("delete all: settled, disk bytes", "MiB", All),
    cost("open after clean close", "ms", All),
    cost("open after kill", "ms", All),
    cost("open after kill: acknowledged writes lost", "%", All),
];

/// The row of this name, if there is one.
pub fn find(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_there_once() {
        for row in ROWS {
            assert_eq!(ROWS.iter().filter(|other| other.name == row.name).count(), 1, "{row:?}");
            assert!(find(row.name).is_some());
        }
    }
}
