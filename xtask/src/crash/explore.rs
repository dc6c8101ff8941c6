//! Crashes a recorded run at its boundaries in every way, recovers, and asks the oracle.
//!
//! ```text
//! recording -> boundary -> image -> [seen before?] -> open -> read: a state in D..=A?
//!     -> check: sound, no stray files -> write + sync -> crash -> open -> read: the same + the write?
//! ```
//!
//! 1. Two images with the same bytes are recovered once; what was read is judged for both.
//! 2. At the call that acknowledges something as durable, the image without anything unsynced is
//!    among those judged: a missing sync is found at the call that lacks it.

use std::collections::HashMap;

use vfs::sim::SimDisk;

use super::call::Op;
use super::images::{Effort, build, fingerprint, image_name, images};
use super::liar::Lie;
use super::part::{Finding, Outcome, regression};
use super::plan::{Cell, Config, Place};
use super::reach::Reach;
use super::recovery::{Allowed, Recovered, Recovery, Shown, guard, hush};
use super::workload::{self, Recording};

/// Of the stores recovered inside recoveries, one in so many of those that would be is settled.
const NESTED_SETTLED: u64 = 16;

/// Something that must not be.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Where; its text replays it.
    pub cell: Cell,
    /// What.
    pub what: String,
    /// Images judged before it, by this explorer.
    pub after_images: u64,
}

impl Violation {
    /// As a part reports it.
    pub fn finding(&self) -> Finding {
        Finding {
            what: self.what.clone(),
            replay: format!("cargo xtask crash --replay \"{}\"", self.cell),
            kind: self.image().unwrap_or_else(|| "the run itself".to_owned()),
            regression: regression(&self.cell.to_string()),
        }
    }

    /// The kind of image that showed it; `None` if the run itself failed.
    pub fn image(&self) -> Option<String> {
        self.cell.nested.last().copied().or(self.cell.crash).map(|place| image_name(place.image))
    }
}

/// How much was done.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Recorded runs.
    pub runs: u64,
    /// Boundaries at which the power went out.
    pub boundaries: u64,
    /// Images built and judged.
    pub images: u64,
    /// Of these, images that differ from every earlier one, each recovered twice.
    pub recoveries: u64,
    /// Images of crashes inside a recovery, part of `images`.
    pub nested: u64,
    /// Runs' call traces, folded.
    pub trace_hash: u64,
    /// Which parts of the store the runs ran.
    pub reach: Reach,
}

impl Tally {
    /// As a part counts it.
    pub fn count(&self, outcome: &mut Outcome) {
        outcome.count("runs", self.runs);
        outcome.count("boundaries", self.boundaries);
        outcome.count("images", self.images);
        outcome.count("recoveries", self.recoveries);
        outcome.count("nested images", self.nested);
        outcome.count("flushes", self.reach.flushes);
        outcome.count("merges", self.reach.merges);
        outcome.count("collections", self.reach.collected);
    }

    /// Sums, in any order.
    pub fn add(&mut self, other: &Tally) {
        self.runs += other.runs;
        self.boundaries += other.boundaries;
        self.images += other.images;
        self.recoveries += other.recoveries;
        self.nested += other.nested;
        self.trace_hash = self.trace_hash.wrapping_add(other.trace_hash);
        self.reach.add(&other.reach);
    }
}

/// Explores sequences of one configuration.
pub struct Explorer {
    config: Config,
    seed: u64,
    effort: Effort,
    lie: Option<(&'static str, Lie)>,
    /// By fingerprint and clock: what recovery showed; `None` if it failed, which was reported.
    known: HashMap<(u64, u64), Option<Shown>>,
    /// What was done so far.
    pub tally: Tally,
    /// What was found so far.
    pub violations: Vec<Violation>,
    /// After so many violations the explorer does nothing more.
    pub violations_max: usize,
}

impl Explorer {
    /// An explorer that has seen nothing.
    pub fn new(config: Config, seed: u64, effort: Effort) -> Explorer {
        hush();
        Explorer {
            config,
            seed,
            effort,
            lie: None,
            known: HashMap::new(),
            tally: Tally::default(),
            violations: Vec::new(),
            violations_max: 5,
        }
    }

    /// The same on a disk that lies while the workload runs. Recovery is on an honest one.
    pub fn with_lie(mut self, name: &'static str, lie: Lie) -> Explorer {
        self.lie = Some((name, lie));
        self
    }

    /// True if enough went wrong.
    pub fn is_done(&self) -> bool {
        self.violations.len() >= self.violations_max
    }

    fn report(&mut self, cell: Cell, error: &anyhow::Error) {
        let after_images = self.tally.images;
        self.violations.push(Violation { cell, what: format!("{error:#}"), after_images });
    }

    /// Runs a sequence and crashes it at every boundary of its last call (of the prelude, if it
    /// has none): the earlier ones are those of a shorter sequence.
    pub fn explore(&mut self, ops: &[Op]) {
        self.explore_from(ops, |recording| recording.first);
    }

    /// Runs a sequence and crashes it at every boundary of every call.
    pub fn explore_whole(&mut self, ops: &[Op]) {
        self.explore_from(ops, |recording| recording.prelude);
    }

    fn explore_from(&mut self, ops: &[Op], first: impl Fn(&Recording) -> usize) {
        let mut cell = Cell::run(self.config, ops, self.seed);
        cell.lie = self.lie.map(|(name, _)| name.to_owned());
        let lie = self.lie.map(|(_, lie)| lie);
        self.tally.runs += 1;
        let recording = match guard(|| workload::record(self.config, ops, self.seed, lie)) {
            Ok(recording) => recording,
            Err(error) => return self.report(cell, &error),
        };
        let trace_hash = recording.disk.trace_hash();
        self.tally.trace_hash = self.tally.trace_hash.wrapping_add(trace_hash);
        self.tally.reach.add(&recording.reach);
        let first = first(&recording);
        let mut allowed = Allowed::new(&recording, first);
        for boundary in first..=recording.last {
            allowed.advance(&recording, boundary);
            self.tally.boundaries += 1;
            for image in images(recording.disk.choices(boundary), &self.effort) {
                if self.is_done() {
                    return;
                }
                cell.crash = Some(Place { boundary, image });
                self.crash(&recording, &mut cell, &allowed);
            }
        }
    }

    /// Builds one image, recovers it if it is new, judges it.
    fn crash(&mut self, recording: &Recording, cell: &mut Cell, allowed: &Allowed) {
        let place = cell.crash.expect("set by the caller");
        let image = build(&recording.disk, place, self.seed);
        self.tally.images += 1;
        let every = self.effort.nested.every(cell.ops.len());
        let nested = every > 0 && fingerprint(&image).is_multiple_of(every);
        if nested {
            image.record();
        }
        let Some(recovered) = self.judge(&image, cell, allowed, 1) else { return };
        if nested {
            self.crash_recovery(&image, &recovered, cell, allowed);
        }
    }

    /// Judges an image. What its recovery showed, if it was a new one and all was well.
    fn judge(
        &mut self,
        image: &SimDisk,
        cell: &Cell,
        allowed: &Allowed,
        depth: u64,
    ) -> Option<Recovered> {
        let key = (fingerprint(image), allowed.bounds.clock_ms);
        if let Some(known) = self.known.get(&key) {
            if let Some(shown) = known
                && let Err(error) = allowed.judge(shown)
            {
                self.report(cell.clone(), &error.context("recovered once before"));
            }
            return None;
        }
        self.tally.recoveries += 1;
        // Seldom of images inside recoveries, of which there are most and which differ least.
        let settle_every = self.effort.settle_every * if depth > 1 { NESTED_SETTLED } else { 1 };
        let settle = settle_every > 0 && key.0.is_multiple_of(settle_every);
        let recovery = Recovery { config: self.config, seed: self.seed + depth, settle };
        let result = guard(|| recovery.run(image, allowed));
        image.kill();
        match result {
            Ok(recovered) => {
                self.known.insert(key, Some(recovered.shown.clone()));
                Some(recovered)
            }
            Err(error) => {
                self.known.insert(key, None);
                self.report(cell.clone(), &error);
                None
            }
        }
    }

    /// Crashes a recovery at each of its calls; of some of those, the next recovery too. What was
    /// read after an open stays so.
    fn crash_recovery(
        &mut self,
        first: &SimDisk,
        recovered: &Recovered,
        cell: &mut Cell,
        allowed: &Allowed,
    ) {
        let settled = allowed.only(&recovered.shown.seen);
        let effort = Effort { draws: 1, subset_choices_max: 2, ..self.effort };
        let deeper = self.effort.nested.deeper;
        for boundary in 1..=recovered.open_calls {
            let last = boundary == recovered.open_calls;
            for image in images(first.choices(boundary), &effort) {
                if self.is_done() {
                    return;
                }
                let place = Place { boundary, image };
                cell.nested.push(place);
                self.tally.images += 1;
                self.tally.nested += 1;
                let disk = build(first, place, self.seed);
                let allowed = if last { &settled } else { allowed };
                let depth = 1 + cell.nested.len() as u64;
                let deeper = depth == 2 && deeper > 0 && fingerprint(&disk).is_multiple_of(deeper);
                if deeper {
                    disk.record();
                }
                if let Some(recovered) = self.judge(&disk, cell, allowed, depth)
                    && deeper
                {
                    self.crash_recovery(&disk, &recovered, cell, allowed);
                }
                cell.nested.pop();
            }
        }
    }
}
