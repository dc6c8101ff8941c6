//! Which sequences of calls are crashed, in pieces.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use super::call::{Op, random_sequence, sequences};
use super::explore::{Explorer, Tally, Violation};
use super::images::Effort;
use super::liar::Lie;
use super::minimise::shortest;
use super::part::{Finding, Outcome, Part};
use super::plan::{Cell, Config};
use crate::kind::Kind;

/// What to explore.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The bars it serves and what it does.
    pub name: &'static str,
    /// The configurations.
    pub configs: Vec<Config>,
    /// The calls that are combined.
    pub alphabet: Vec<Op>,
    /// The calls that random sequences are drawn from.
    pub random_alphabet: Vec<Op>,
    /// Lengths of the sequences; 0 is the prelude alone.
    pub lens: RangeInclusive<usize>,
    /// Of the sequences, one in so many is explored.
    pub every: u64,
    /// Also explores one sequence in which hash tables grow and shrink.
    pub growth: bool,
    /// How many random sequences besides.
    pub random: usize,
    /// How long these are.
    pub random_len: usize,
    /// How much at each boundary.
    pub effort: Effort,
    /// Equal seeds explore the same.
    pub seed: u64,
    /// What the disk lies about, if it does.
    pub lie: Option<(&'static str, Lie)>,
    /// Stop after so many violations.
    pub violations_max: usize,
    /// Leaves calls out of what was found as long as it is found.
    pub minimise: bool,
}

/// A piece of a campaign.
#[derive(Clone, Copy, Debug)]
enum Piece {
    /// The prelude alone.
    Prelude,
    /// All sequences that start with a call.
    StartingWith(Op),
    /// The sequence in which hash tables grow.
    Growth,
    /// A random sequence.
    Random(u64),
}

impl Campaign {
    /// Every configuration and every call, on an honest disk.
    pub fn new(len_max: usize, effort: Effort, seed: u64) -> Campaign {
        Campaign {
            name: "R1 R3 R6 crashes",
            configs: Config::all(),
            alphabet: Op::combined(),
            random_alphabet: Op::drawn(),
            growth: false,
            lens: 0..=len_max,
            every: 1,
            random: 0,
            random_len: 8,
            effort,
            seed,
            lie: None,
            violations_max: 5,
            minimise: false,
        }
    }

    /// The work in pieces that are explored each by one explorer.
    fn pieces(&self) -> Vec<(Config, Piece)> {
        let mut pieces = Vec::new();
        if *self.lens.end() > 0 {
            pieces.extend(self.alphabet.iter().map(|op| Piece::StartingWith(*op)));
        }
        if self.lens.contains(&0) {
            pieces.push(Piece::Prelude);
        }
        let configs = |piece| self.configs.iter().map(move |config| (*config, piece));
        let mut pieces: Vec<(Config, Piece)> = pieces.into_iter().flat_map(configs).collect();
        if self.growth {
            let hashed = self.configs.iter().filter(|config| config.kind == Kind::Hash);
            pieces.extend(hashed.map(|config| (*config, Piece::Growth)));
        }
        for (number, config) in (0..self.random).zip(self.configs.iter().cycle()) {
            pieces.push((*config, Piece::Random(number as u64)));
        }
        pieces
    }

    /// Whether a sequence is among those explored.
    fn takes(&self, config: Config, ops: &[Op]) -> bool {
        let parts = ops.iter().map(|op| op.name()).collect::<Vec<_>>().join(",");
        let hash = xxh3_64(format!("{config} {parts}").as_bytes());
        hash.is_multiple_of(self.every)
    }

    fn explore_piece(&self, (config, piece): (Config, Piece)) -> Explorer {
        let seed = match piece {
            Piece::Random(number) => self.seed.wrapping_add(number),
            Piece::StartingWith(_) | Piece::Prelude | Piece::Growth => self.seed,
        };
        let mut explorer = Explorer::new(config, seed, self.effort);
        explorer.violations_max = self.violations_max;
        if let Some((name, lie)) = self.lie {
            explorer = explorer.with_lie(name, lie);
        }
        match piece {
            Piece::Prelude => explorer.explore(&[]),
            Piece::Growth => explorer.explore_whole(&Op::GROWTH),
            Piece::Random(_) => {
                explorer.explore_whole(&random_sequence(
                    &self.random_alphabet,
                    self.random_len,
                    seed,
                ));
            }
            Piece::StartingWith(first) => self.explore_from(first, config, &mut explorer),
        }
        explorer
    }

    /// The same violation, or one like it, with as few calls as can be.
    fn shorten(&self, violation: &Violation) -> Violation {
        let Cell { config, ops, seed, .. } = &violation.cell;
        let found = |ops: &[Op]| {
            let mut explorer = Explorer::new(*config, *seed, self.effort.flat());
            explorer.violations_max = 1;
            if let Some((name, lie)) = self.lie {
                explorer = explorer.with_lie(name, lie);
            }
            explorer.explore_whole(ops);
            explorer.violations.pop()
        };
        let short = shortest(ops, &|ops| found(ops).is_some());
        let shorter = short.len() < ops.len();
        shorter.then(|| found(&short)).flatten().unwrap_or_else(|| violation.clone())
    }

    fn explore_from(&self, first: Op, config: Config, explorer: &mut Explorer) {
        for len in self.lens.clone().filter(|len| *len > 0) {
            for rest in sequences(&self.alphabet, len - 1) {
                let ops = [&[first], &rest[..]].concat();
                if !explorer.is_done() && self.takes(config, &ops) {
                    explorer.explore(&ops);
                }
            }
        }
    }

    /// Explores everything on some threads, until enough is wrong.
    pub fn explore(&self, threads: usize) -> Report {
        let pieces = self.pieces();
        let (next, enough) = (AtomicUsize::new(0), AtomicBool::new(false));
        let results = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(piece) = pieces.get(index) else { return };
                        if enough.load(Ordering::Relaxed) {
                            return;
                        }
                        let explorer = self.explore_piece(*piece);
                        enough.fetch_or(explorer.is_done(), Ordering::Relaxed);
                        results.lock().push((index, explorer.tally, explorer.violations));
                    }
                });
            }
        });
        let mut results = results.into_inner();
        results.sort_by_key(|(index, ..)| *index);
        let mut report = Report::default();
        for (_, tally, violations) in results {
            report.tally.add(&tally);
            report.violations.extend(violations);
        }
        report
    }
}

impl Part for Campaign {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn units(&self) -> u64 {
        self.pieces().len() as u64
    }

    fn run(&self, unit: u64) -> Outcome {
        let index = usize::try_from(unit).expect("a number below that of the pieces");
        let explorer = self.explore_piece(self.pieces()[index]);
        let mut outcome = Outcome::default();
        explorer.tally.count(&mut outcome);
        for violation in &explorer.violations {
            let finding = match self.minimise {
                true => self.shorten(violation).finding(),
                false => violation.finding(),
            };
            // What a lying disk does needs no test: it is to be found.
            let regression = match self.lie {
                Some(_) => String::new(),
                None => finding.regression,
            };
            outcome.findings.push(Finding { regression, ..finding });
        }
        outcome
    }
}

/// What a campaign did and found.
#[derive(Debug, Default)]
pub struct Report {
    /// What was done.
    pub tally: Tally,
    /// What must not be.
    pub violations: Vec<Violation>,
}
