//! Every call of the disk that fails, in every way it can.
//!
//! scene -> calls of a sound run -> call x fault -> trial -> killed disk, cut disk -> recovered twice
//!
//! 1. A process starts on a copy of the disk that an earlier one left, so that a case costs what
//!    its own calls cost.
//! 2. A fault that fits a call and does not hit it is a finding: so all sites are hit by all faults.
//! 3. Two disks with the same bytes are recovered once in a unit; what was read is judged for both.

use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use vfs::sim::{At, Call, Fault, ImageKind, SimDisk, Times};

use super::history::Bounds;
use super::images::fingerprint;
use super::part::{Finding, Outcome, Part};
use super::plan::{Acks, Append, Config, Jobs, Read};
use super::recovery::{Allowed, Recovery, Shown, guard, hush};
use super::scene::{self, Case, Scene, Site, Stage, Start};
use super::trial::{End, Trial};
use crate::kind::Kind;

/// Calls of a scene that one unit fails.
const BLOCK: usize = 8;
/// Of the recovered stores, one in so many is also merged, collected, closed and opened again.
const SETTLED: u64 = 16;

/// All failing calls of some configurations.
pub struct Faults {
    seed: u64,
    /// Of the calls that a scene makes again from the same site, one in so many.
    again_stride: usize,
    /// Of the other configurations, one call in so many.
    other_stride: usize,
    /// Of the scene in which a hash table grows, one call in so many.
    growth_stride: usize,
    plan: OnceLock<Plan>,
}

/// What there is to do.
#[derive(Default)]
struct Plan {
    stages: Vec<Stage>,
    blocks: Vec<Block>,
    sites: u64,
    /// Scenes that fail without a fault.
    broken: Vec<Finding>,
}

/// What one unit does.
struct Block {
    config: Config,
    stage: usize,
    scene: Scene,
    calls: Vec<(u64, Call)>,
}

/// The configurations whose every call is failed: positional reads, for which the promise holds.
fn promised() -> Vec<Config> {
    let mut all = Vec::new();
    for (append, acks) in [(Append::Mapped, Acks::Durable), (Append::Positional, Acks::Always)] {
        for kind in Kind::ALL {
            all.push(Config { append, read: Read::Positional, acks, jobs: Jobs::Lazy, kind });
        }
    }
    all
}

/// Others, in which a failing call must not panic or lose anything either.
fn others() -> Vec<Config> {
    let mapped = |kind| Config {
        append: Append::Mapped,
        read: Read::Mapped,
        acks: Acks::Never,
        jobs: Jobs::Seeded,
        kind,
    };
    let never = |kind| Config {
        append: Append::Positional,
        read: Read::Positional,
        acks: Acks::Never,
        jobs: Jobs::Seeded,
        kind,
    };
    Kind::ALL.into_iter().flat_map(|kind| [mapped(kind), never(kind)]).collect()
}

impl Faults {
    /// With the promised configurations every call site of every scene, and one in 16 of the calls
    /// that come from it again; one call in 64 with the others and of the scene in which a hash
    /// table grows.
    pub fn ci() -> Faults {
        Faults::new(1, [16, 64, 64])
    }

    /// Every call of every scene with every configuration; one call in 16 of the scene in which a
    /// hash table grows.
    pub fn long() -> Faults {
        Faults::new(1, [1, 1, 16])
    }

    fn new(seed: u64, strides: [usize; 3]) -> Faults {
        let [again_stride, other_stride, growth_stride] = strides;
        Faults { seed, again_stride, other_stride, growth_stride, plan: OnceLock::new() }
    }

    fn plan(&self) -> &Plan {
        self.plan.get_or_init(|| {
            hush();
            let mut plan = Plan::default();
            let mut sites = BTreeSet::new();
            let configs = promised().into_iter().map(|config| (config, true));
            let others = others().into_iter().map(|config| (config, false));
            for (config, is_promised) in configs.chain(others) {
                if let Err(error) = plan.add_config(self, config, is_promised, &mut sites) {
                    plan.broken.push(Finding::new(
                        "no fault",
                        format!("{config}, without a fault: {error:#}"),
                        "cargo xtask crash --faults".to_owned(),
                    ));
                }
            }
            plan.sites = sites.len() as u64;
            plan
        })
    }
}

impl Plan {
    /// Adds the scenes of a configuration; of a promised one also where its calls are made, all of
    /// which are failed.
    fn add_config(
        &mut self,
        of: &Faults,
        config: Config,
        is_promised: bool,
        sites: &mut BTreeSet<Site>,
    ) -> Result<()> {
        let stage = guard(|| Stage::new(config, &Start::ALL, of.seed))?;
        let stride = if is_promised { of.again_stride } else { of.other_stride };
        let scenes = Scene::all().into_iter().map(|scene| (scene, stride, is_promised));
        let growth = (Scene::growth(), stride.max(of.growth_stride), false);
        for (number, (scene, stride, all_sites)) in scenes.chain([growth]).enumerate() {
            let calls = guard(|| scene::calls(&stage, &scene, of.seed));
            let calls = calls.with_context(|| scene.to_string())?;
            let mut seen = BTreeSet::new();
            let mut chosen = Vec::new();
            for (index, (call_number, call, site)) in calls.into_iter().enumerate() {
                let is_first = all_sites && seen.insert(site);
                if is_first || (index + number) % stride == 0 {
                    chosen.push((call_number, call));
                }
            }
            for calls in chosen.chunks(BLOCK) {
                let (stage, scene) = (self.stages.len(), scene.clone());
                self.blocks.push(Block { config, stage, scene, calls: calls.to_vec() });
            }
            sites.extend(seen);
        }
        self.stages.push(stage);
        Ok(())
    }
}

impl Part for Faults {
    fn name(&self) -> String {
        "R4 R5 R14 faults".to_owned()
    }

    fn units(&self) -> u64 {
        1 + self.plan().blocks.len() as u64
    }

    fn run(&self, unit: u64) -> Outcome {
        let plan = self.plan();
        let mut outcome = Outcome::default();
        let Some(block) = unit.checked_sub(1) else {
            outcome.count("call sites", plan.sites);
            outcome.findings = plan.broken.clone();
            return outcome;
        };
        let block = &plan.blocks[usize::try_from(block).expect("units were counted")];
        let mut unit = Unit::new(&plan.stages[block.stage], self.seed);
        for (index, (number, call)) in block.calls.iter().enumerate() {
            unit.outcome.count("calls failed", 1);
            for (way, (what, times)) in scene::faults_of(call.kind).into_iter().enumerate() {
                let (config, scene) = (block.config, block.scene.clone());
                let end = End::ALL[(index + way) % 3];
                let case = Case { config, scene, call: *number, what, times, end };
                if let Err(error) = unit.run(&case) {
                    unit.outcome.findings.push(finding(&case, call, &error));
                }
            }
        }
        unit.outcome
    }
}

/// Runs one case again. False if it fails.
///
/// # Errors
/// If its scene fails without the fault.
pub fn replay(case: &Case) -> Result<bool> {
    hush();
    println!("{case}");
    let seed = Faults::ci().seed;
    let stage = Stage::new(case.config, &[case.scene.start], seed)?;
    for (number, call, _) in scene::calls(&stage, &case.scene, seed)? {
        let mark = if number == case.call { "--> " } else { "    " };
        println!("{mark}{number:5} {:?} {} {}+{}", call.kind, call.path, call.offset, call.len);
    }
    let mut unit = Unit::new(&stage, seed);
    let result = unit.run(case);
    if let Err(error) = &result {
        println!("VIOLATION: {error:#}");
    }
    Ok(result.is_ok())
}

/// Cases whose recoveries are shared.
struct Unit<'a> {
    stage: &'a Stage,
    seed: u64,
    /// By the bytes of the disk, the clock and how many checkpoints there are: what recovery
    /// showed; `None` if it failed.
    known: HashMap<(u64, u64, usize), Option<Shown>>,
    outcome: Outcome,
}

impl<'a> Unit<'a> {
    fn new(stage: &'a Stage, seed: u64) -> Unit<'a> {
        Unit { stage, seed, known: HashMap::new(), outcome: Outcome::default() }
    }

    fn run(&mut self, case: &Case) -> Result<()> {
        self.outcome.count("cases", 1);
        let trial = guard(|| self.live(case))?;
        self.judge(case, &trial)
    }

    /// The process under the fault, up to its end.
    fn live(&mut self, case: &Case) -> Result<Trial> {
        let fault = Fault { at: At::Call(case.call), what: case.what, times: case.times };
        let mut trial = self.stage.trial(&case.scene, Some(fault), self.seed)?;
        trial.go(&case.scene.steps)?;
        let hits = trial.run.disk.hits();
        ensure!(hits.first().is_some_and(|hit| hit.call == case.call), "the fault hits nothing");
        self.outcome.count("failed syncs", trial.run.disk.failed_syncs().len() as u64);
        if trial.must_be_transparent() {
            trial.require_unnoticed()?;
            self.outcome.count("faults without effect", 1);
        }
        // Where the fault lasts, it lasts over the end of every other process.
        let lasts = case.times == Times::Forever && case.call.is_multiple_of(2);
        let dies = case.end == End::Kill && case.call % 4 < 2;
        if !lasts && !dies {
            trial.heal()?;
        }
        trial.end(case.end)?;
        Ok(trial)
    }

    /// What the next process sees, with and without a power cut between them.
    fn judge(&mut self, case: &Case, trial: &Trial) -> Result<()> {
        let disk = &trial.run.disk;
        let cut = disk.crash(ImageKind::SyncedOnly, self.seed);
        self.recover(case, &cut, &trial.allowed_after_cut()).context("after a power cut")?;
        if trial.names_lost() {
            return Ok(());
        }
        let killed = disk.fork(self.seed);
        self.recover(case, &killed, &trial.allowed_after_kill()).context("after the process")
    }

    fn recover(&mut self, case: &Case, image: &SimDisk, allowed: &Allowed) -> Result<()> {
        self.outcome.count("images", 1);
        let Bounds { clock_ms, .. } = allowed.bounds;
        // What is not durable yet decides what a later power cut leaves.
        let durable = image.crash(ImageKind::SyncedOnly, 0);
        let key =
            (fingerprint(image) ^ fingerprint(&durable).rotate_left(1), clock_ms, allowed.copies());
        if let Some(known) = self.known.get(&key) {
            return match known {
                Some(shown) => allowed.judge(shown).context("recovered once before"),
                None => Ok(()),
            };
        }
        self.outcome.count("recoveries", 1);
        let settle = key.0.is_multiple_of(SETTLED);
        let recovery = Recovery { config: case.config, seed: self.seed, settle };
        let result = guard(|| recovery.run(image, allowed));
        image.kill();
        match result {
            Ok(recovered) => {
                self.known.insert(key, Some(recovered.shown));
                Ok(())
            }
            Err(error) => {
                self.known.insert(key, None);
                Err(error)
            }
        }
    }
}

fn finding(case: &Case, call: &Call, error: &anyhow::Error) -> Finding {
    let Case { what, times, .. } = case;
    let kind = call.kind;
    Finding::new(
        format!("{kind:?} {what:?} {times:?}"),
        format!("{kind:?} of {}: {what:?} {times:?}: {error:#}", call.path),
        format!("cargo xtask crash --replay \"{case}\""),
    )
}

#[cfg(test)]
mod tests;
