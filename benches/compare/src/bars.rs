//! The bars of issue 5: what each row of ours has to reach.

use crate::rates::Rates;
use crate::size::Size;

/// A limit of one row.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Limit {
    /// So many times the best peer.
    Ratio(f64),
    /// So many times the best peer, or this share of the machine's own rate of filling fresh
    /// preallocated mappings where that is lower.
    RatioOrFill(f64, f64),
    /// So many times the best peer, and this share of the machine's own rate of preallocated
    /// append and `fdatasync`.
    RatioAndAppend(f64, f64),
    /// At most this, whatever others reach.
    Most(f64),
}

/// A bar: a row at a size, and what both kinds of keyspace have to reach.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Bar {
    /// The size.
    pub size: Size,
    /// The row's name.
    pub row: &'static str,
    /// Of a B-tree keyspace, against the best ordered peer.
    pub btree: Option<Limit>,
    /// Of a hash keyspace, against the best peer of any kind.
    pub hash: Option<Limit>,
}

use Limit::{Most, Ratio, RatioAndAppend, RatioOrFill};
use Size::{Large, Medium, Small};

const fn ratios(size: Size, row: &'static str, btree: f64, hash: f64) -> Bar {
    Bar { size, row, btree: Some(Ratio(btree)), hash: Some(Ratio(hash)) }
}

const fn ordered(size: Size, row: &'static str, btree: f64) -> Bar {
    Bar { size, row, btree: Some(Ratio(btree)), hash: None }
}

const fn both(size: Size, row: &'static str, limit: Limit) -> Bar {
    Bar { size, row, btree: Some(limit), hash: Some(limit) }
}

const fn most(size: Size, row: &'static str, btree: f64, hash: f64) -> Bar {
    Bar { size, row, btree: Some(Most(btree)), hash: Some(Most(hash)) }
}

/// MiB of private memory that a default store may use, 20 % included: an active memtable of
/// 64 MiB, two that are sealed, one that is flushed. A memtable's entries have some bytes of their
/// own. See docs of `Options::memtable_bytes` and `sealed_max`.
const MEMORY_MIB: f64 = 4.0 * 64.0 * 1.2;

/// All bars that this comparison measures.
pub const BARS: &[Bar] = &[
    ratios(Small, "fill, 1 thread", 4.0, 5.0),
    ratios(Small, "fill, 4 threads", 3.0, 4.0),
    ratios(Small, "batches of 1,000", 3.0, 4.0),
    both(Medium, "fill, 1 thread", RatioOrFill(1.8, 0.85)),
    both(Large, "fill, 1 thread", RatioOrFill(1.0, 0.85)),
    both(Small, "durable puts, 1 thread", RatioAndAppend(1.0, 0.9)),
    ratios(Small, "durable puts, 8 threads", 1.3, 1.3),
    ratios(Small, "read hit, zero-copy, 1 thread", 1.3, 2.0),
    ratios(Small, "read hit, zero-copy, 4 threads", 1.3, 2.0),
    ratios(Medium, "read hit, zero-copy, 1 thread", 1.3, 2.0),
    ratios(Small, "read miss, 1 thread", 2.0, 2.0),
    ratios(Small, "read miss, 4 threads", 1.8, 1.8),
    ordered(Small, "scan 100", 1.2),
    ordered(Small, "full scan", 1.2),
    ordered(Medium, "scan 100", 1.0),
    ratios(Small, "zipfian overwrite", 3.0, 3.0),
    ratios(Small, "delete all", 2.0, 3.0),
    ratios(Small, "YCSB A", 3.0, 3.0),
    ratios(Small, "YCSB F", 3.0, 3.0),
    ratios(Small, "YCSB B", 2.0, 1.5),
    ratios(Small, "YCSB D", 2.0, 1.5),
    ratios(Small, "YCSB C", 1.2, 1.5),
    ordered(Small, "YCSB E", 1.0),
    ratios(Medium, "YCSB A", 2.5, 2.5),
    ratios(Medium, "YCSB C", 1.2, 1.5),
    ratios(Medium, "YCSB F", 2.5, 2.5),
    both(Small, "open after kill", Most(600.0)),
    both(Medium, "open after kill", Most(600.0)),
    both(Large, "open after kill", Most(600.0)),
    both(Small, "open after clean close", Most(10.0)),
    both(Medium, "fill, 1 thread: settled, device bytes per byte", Most(1.15)),
    both(Medium, "zipfian overwrite: settled, device bytes per byte", Most(2.0)),
    most(Small, "fill, 1 thread: settled, disk bytes per byte", 1.4, 1.7),
    most(Medium, "fill, 1 thread: settled, disk bytes per byte", 1.4, 1.4),
    most(Small, "zipfian overwrite: settled, disk bytes per byte", 1.4, 1.7),
    most(Medium, "zipfian overwrite: settled, disk bytes per byte", 1.4, 1.4),
    both(Small, "fill, 1 thread: peak private memory", Most(MEMORY_MIB)),
    both(Medium, "fill, 1 thread: peak private memory", Most(MEMORY_MIB)),
    both(Small, "fill, 1 thread: p99.9", Most(2_000.0)),
    both(Medium, "fill, 1 thread: p99.9", Most(2_000.0)),
    both(Small, "zipfian overwrite: p99.9", Most(2_000.0)),
];

/// The bar of a row at a size.
pub fn find(size: Size, row: &str) -> Option<&'static Bar> {
    BARS.iter().find(|bar| bar.size == size && bar.row == row)
}

impl Limit {
    /// What the table's column of bars says.
    pub fn text(&self) -> String {
        match self {
            Ratio(ratio) => format!(">= {ratio:.1}"),
            RatioOrFill(ratio, share) => format!(">= {ratio:.1} or {share} of filling"),
            RatioAndAppend(ratio, share) => format!(">= {ratio:.1} and {share} of append + sync"),
            Most(most) => format!("<= {most}"),
        }
    }

    /// Does our figure keep it? `ratio` is ours by the best peer's; without a peer a ratio is
    /// neither kept nor missed.
    pub fn holds(&self, size: Size, ours: f64, ratio: Option<f64>, rates: &Rates) -> Option<bool> {
        Some(match self {
            Ratio(least) => ratio? >= *least,
            RatioOrFill(least, share) => {
                let machine = ours >= share * rates.fills_per_second(size);
                machine || ratio? >= *least
            }
            RatioAndAppend(least, share) => {
                ours >= share * rates.durable_appends_per_second && ratio? >= *least
            }
            Most(most) => ours <= *most,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows;

    #[test]
    fn every_bar_is_on_a_row_and_there_once() {
        for bar in BARS {
            assert!(rows::find(bar.row).is_some(), "{bar:?}");
            let same = |other: &&Bar| other.size == bar.size && other.row == bar.row;
            assert_eq!(BARS.iter().filter(same).count(), 1, "{bar:?}");
        }
    }

    #[test]
    fn a_machine_rate_helps_a_fill_and_binds_a_durable_put() {
        let rates = Rates { filled_bytes_per_second: 1040.0, durable_appends_per_second: 10.0 };
        let fill = RatioOrFill(1.8, 0.85);
        assert_eq!(fill.holds(Medium, 0.9, Some(1.0), &rates), Some(true));
        assert_eq!(fill.holds(Medium, 0.8, Some(1.0), &rates), Some(false));
        assert_eq!(fill.holds(Medium, 0.8, Some(1.8), &rates), Some(true));
        let put = RatioAndAppend(1.0, 0.9);
        assert_eq!(put.holds(Small, 8.0, Some(2.0), &rates), Some(false));
        assert_eq!(put.holds(Small, 9.0, Some(1.0), &rates), Some(true));
        assert_eq!(Ratio(2.0).holds(Small, 9.0, None, &rates), None);
    }
}
