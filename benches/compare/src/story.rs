//! What one child does from an empty directory on: workloads that share a store.

use std::process::Command;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::bench::Bench;
use crate::size::Size;
use crate::store::Durability;
use crate::work::read::Taken;
use crate::work::{change, fill, read, reopen, scan, ycsb};

/// A sequence of workloads in one process.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Story {
    /// A fill of one thread, and everything that reads or changes it.
    Life,
    /// A fill of two threads.
    Fill2,
    /// A fill of four threads.
    Fill4,
    /// A fill in batches.
    Batches,
    /// A fill in large batches.
    Bulk,
    /// Durable puts.
    Durable,
    /// A fill whose process is killed.
    Kill,
    /// The process that is killed.
    Victim,
}

impl Story {
    /// All that a comparison starts.
    pub const ALL: [Story; 7] = [
        Story::Life,
        Story::Fill2,
        Story::Fill4,
        Story::Batches,
        Story::Bulk,
        Story::Durable,
        Story::Kill,
    ];

    /// Rows that it finds begin with one of these.
    fn rows(self) -> &'static [&'static str] {
        match self {
            Story::Life => &[
                "fill, 1 thread",
                "unsettled",
                "open after clean close",
                "read",
                "scan",
                "full scan",
                "YCSB",
                "mixed",
                "zipfian overwrite",
                "delete all",
            ],
            Story::Fill2 => &["fill, 2 threads"],
            Story::Fill4 => &["fill, 4 threads"],
            Story::Batches => &["batches of 1,000"],
            Story::Bulk => &["bulk load"],
            Story::Durable => &["durable puts"],
            Story::Kill => &["open after kill"],
            Story::Victim => &[],
        }
    }

    /// Does it find a row whose name contains this text?
    pub fn finds(self, text: &str) -> bool {
        let mut names = crate::rows::ROWS.iter().map(|row| row.name);
        names.any(|name| name.contains(text) && self.has(name))
    }

    /// Is the row one of those it finds?
    pub fn has(self, row: &str) -> bool {
        self.rows().iter().any(|start| row.starts_with(start))
    }

    /// Has it a row with a bar at this size?
    pub fn has_bars(self, size: Size) -> bool {
        match self {
            Story::Life => true,
            Story::Fill4 | Story::Batches | Story::Durable | Story::Kill => size == Size::Small,
            Story::Fill2 | Story::Bulk | Story::Victim => false,
        }
    }

    /// Lives it.
    ///
    /// # Errors
    /// As the engine fails, or if something that was read is wrong.
    pub fn run(self, bench: &mut Bench, victim: impl FnOnce() -> Result<Command>) -> Result<()> {
        match self {
            Story::Life => return life(bench),
            Story::Victim => return reopen::victim(bench),
            Story::Kill => return reopen::killed(bench, victim()?),
            Story::Durable => return durable(bench),
            Story::Fill2 | Story::Fill4 | Story::Batches | Story::Bulk => {}
        }
        let before = fill::before()?;
        bench.open(Durability::Unsynced)?;
        let name = match self {
            Story::Fill2 => {
                fill::singles(bench, 2)?;
                "fill, 2 threads"
            }
            Story::Fill4 => {
                fill::singles(bench, 4)?;
                "fill, 4 threads"
            }
            Story::Batches => {
                fill::batches(bench)?;
                "batches of 1,000"
            }
            _ => {
                fill::bulk(bench)?;
                "bulk load"
            }
        };
        fill::settle(bench, name, before)?;
        bench.close()
    }
}

fn durable(bench: &mut Bench) -> Result<()> {
    if !bench.kind.has_durable_puts {
        return Ok(());
    }
    bench.open(Durability::Durable)?;
    fill::durable(bench, 1)?;
    fill::durable(bench, 8)?;
    bench.close()?;
    bench.open(Durability::Durable)?;
    fill::verify(bench, 7)?;
    bench.close()
}

fn life(bench: &mut Bench) -> Result<()> {
    let before = fill::before()?;
    bench.open(Durability::Unsynced)?;
    fill::singles(bench, 1)?;
    bench.close()?;

    bench.open(Durability::Unsynced)?;
    read::hit(bench, "unsettled: ", Taken::InPlace, 1)?;
    read::miss(bench, "unsettled: ", 1)?;
    scan::short(bench, "unsettled: ", false)?;
    if !bench.effort.is_quick {
        read::hit(bench, "unsettled: ", Taken::Copied, 1)?;
        read::hit(bench, "unsettled: ", Taken::InPlace, 4)?;
        read::miss(bench, "unsettled: ", 4)?;
        scan::full(bench, "unsettled: ", false)?;
    }
    bench.settle("fill, 1 thread", bench.effort.entries, before)?;

    reopen::clean(bench)?;
    fill::verify(bench, 101)?;
    settled_reads(bench)?;
    changes(bench)?;
    bench.close()
}

fn settled_reads(bench: &mut Bench) -> Result<()> {
    read::hit(bench, "", Taken::InPlace, 1)?;
    read::hit(bench, "", Taken::InPlace, 2)?;
    read::hit(bench, "", Taken::InPlace, 4)?;
    if !bench.effort.is_quick {
        read::hit(bench, "", Taken::Copied, 1)?;
        read::hit(bench, "", Taken::Copied, 4)?;
    }
    read::miss(bench, "", 1)?;
    read::miss(bench, "", 4)?;
    scan::short(bench, "", false)?;
    scan::full(bench, "", false)?;
    if !bench.effort.is_quick {
        scan::short(bench, "", true)?;
        scan::full(bench, "", true)?;
    }
    Ok(())
}

fn changes(bench: &mut Bench) -> Result<()> {
    for mix in ycsb::MIXES {
        ycsb::run(bench, mix, 1)?;
        if !bench.effort.is_quick {
            ycsb::run(bench, mix, 4)?;
        }
    }
    if !bench.effort.is_quick {
        change::mixed(bench)?;
    }
    if bench.found.wants("zipfian overwrite") {
        // What the mixes left to be done is not the overwrite's.
        bench.engine_mut()?.settle().context("settle before the overwrite")?;
        let before = fill::before()?;
        change::overwrite(bench)?;
        bench.settle("zipfian overwrite", bench.effort.entries, before)?;
        bench.open(Durability::Unsynced)?;
        fill::verify(bench, 101).context("after the overwrite")?;
    }
    if bench.found.wants("delete all") {
        let (before, live) = (fill::before()?, bench.live);
        change::delete_all(bench)?;
        bench.settle("delete all", live, before)?;
        bench.open(Durability::Unsynced)?;
    }
    Ok(())
}
