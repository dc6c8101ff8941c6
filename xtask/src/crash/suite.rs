//! The parts of the bars R1 to R16 that `cargo xtask crash` runs by itself, at the size of CI and of
//! the long run. R9 and R10 are `cargo xtask fuzz`, R15 is `cargo xtask kill`, R11 `--planted`; R17
//! and R18 are tests.

use std::path::Path;

use anyhow::Result;

use super::call::Op;
use super::campaign::Campaign;
use super::determinism::Determinism;
use super::faults::Faults;
use super::full_disk::FullDisk;
use super::images::{Effort, Nested};
use super::lives::Lives;
use super::orders::Orders;
use super::part::Part;
use super::rot::Rot;
use super::schedules::{COUNT_CI, COUNT_LONG, Mistakes, Program, Schedules};
use super::torn::Torn;
use super::txns::Transactions;

/// Seeds begin here, so that a long run sees other ones than CI.
const LONG_SEED: u64 = 1 << 32;

/// How much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// All of it within 20 minutes on two cores.
    Ci,
    /// Hours.
    Long,
}

/// Every part. The store's threads under a scheduler are built in the workspace in `root`.
///
/// # Errors
/// If that does not build.
pub fn all(root: &Path, size: Size, seed: u64) -> Result<Vec<Box<dyn Part>>> {
    let mut parts = crashes(size, seed);
    parts.push(lives(size, seed));
    parts.extend(faults(size));
    parts.extend(rot(size));
    parts.extend(orders_and_histories(size, seed));
    parts.extend(match size {
        Size::Ci => schedules(root, COUNT_CI)?,
        Size::Long => schedules(root, COUNT_LONG)?,
    });
    Ok(parts)
}

/// R7 and R8.
pub fn rot(size: Size) -> Vec<Box<dyn Part>> {
    match size {
        Size::Ci => vec![Box::new(Rot::ci()), Box::new(Torn::ci())],
        Size::Long => vec![Box::new(Rot::long()), Box::new(Torn::ci())],
    }
}

/// The store's threads, and proofs that their models are awake.
///
/// # Errors
/// If they do not build.
pub fn schedules(root: &Path, count: u64) -> Result<Vec<Box<dyn Part>>> {
    let program = Program::build(root)?;
    let mistakes = Mistakes::new(program.clone());
    Ok(vec![Box::new(mistakes), Box::new(Schedules::new(program, count))])
}

/// R12, R13 and R16.
pub fn orders_and_histories(size: Size, seed: u64) -> Vec<Box<dyn Part>> {
    match size {
        Size::Ci => vec![
            Box::new(Determinism::quick(seed)),
            Box::new(Orders::quick(seed)),
            Box::new(Transactions::quick(seed)),
        ],
        Size::Long => vec![
            Box::new(Determinism::long(seed + LONG_SEED)),
            Box::new(Orders::long(seed + LONG_SEED)),
            Box::new(Transactions::long(seed + LONG_SEED)),
        ],
    }
}

/// R1, R3 and R6.
pub fn crashes(size: Size, seed: u64) -> Vec<Box<dyn Part>> {
    let eleven = |name, len, every| Campaign {
        name,
        alphabet: Op::eleven(),
        lens: len..=len,
        every,
        ..Campaign::new(len, Effort::FULL.flat(), seed)
    };
    let nested = |name, lens, nested| Campaign {
        name,
        alphabet: Op::eleven(),
        lens,
        ..Campaign::new(0, Effort { nested, ..Effort::FULL }, seed)
    };
    let parts = match size {
        Size::Ci => {
            let inside = Nested { prelude: 16, one: 1, more: 100, deeper: 2000 };
            let others = Campaign::new(2, Effort::FULL.flat(), seed);
            vec![
                nested("R1 R3 R6 crashes, lengths 0-2, in recoveries too", 0..=2, inside),
                Campaign {
                    name: "R1 R6 crashes, all calls, sampled",
                    lens: 1..=2,
                    every: 8,
                    growth: true,
                    ..others
                },
                eleven("R1 R6 crashes, length 3 sampled", 3, 100),
            ]
        }
        Size::Long => {
            let two = Campaign::new(2, Effort::FULL.flat(), seed);
            let two_nested = Nested { prelude: 1, one: 1, more: 1, deeper: 4000 };
            vec![
                Campaign { name: "R1 R6 crashes, lengths 0-2", growth: true, ..two },
                eleven("R1 R6 crashes, length 3", 3, 1),
                eleven("R1 R6 crashes, length 4 sampled", 4, 20),
                nested("R3 crashes in recovery, lengths 0-2", 0..=2, two_nested),
            ]
        }
    };
    let boxed = |part| Box::new(Campaign { minimise: true, ..part }) as Box<dyn Part>;
    parts.into_iter().map(boxed).collect()
}

/// R2 and R6.
pub fn lives(size: Size, seed: u64) -> Box<dyn Part> {
    Box::new(match size {
        Size::Ci => Lives { first: seed, seeds: 20_000, minimise: true },
        Size::Long => Lives { first: seed + LONG_SEED, seeds: 200_000, minimise: true },
    })
}

/// R4, R5 and the simulated half of R14.
pub fn faults(size: Size) -> Vec<Box<dyn Part>> {
    match size {
        Size::Ci => vec![Box::new(Faults::ci()), Box::new(FullDisk::ci())],
        Size::Long => vec![Box::new(Faults::long()), Box::new(FullDisk::long())],
    }
}
