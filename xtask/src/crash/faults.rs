//! Every call of the disk that fails, in every way it can.
//!
//! scene -> calls of a sound run -> call x fault -> trial -> killed disk, cut disk -> recovered twice
//!
//! 1. A process starts on a copy of the disk that an earlier one left, so that a case costs what
//!    its own calls cost.
//! 2. A fault that fits a call and does not hit it is a finding: so all sites are hit by all faults.
//! 3. Two disks with the same bytes are recovered once in a unit; what was read is judged for both.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use vfs::sim::{At, Call, CallKind, Fault, ImageKind, SimDisk, Times};

use super::history::Bounds;
use super::images::fingerprint;
use super::part::{Finding, Outcome, Part};
use super::plan::{Acks, Append, Config, Jobs, Read};
use super::recovery::{Allowed, Recovery, Shown, guard, hush};
use super::scene::{self, Scene, Site, Stage};
use super::trial::{End, Trial};
use crate::kind::Kind;

/// Calls of a scene that one unit fails.
const BLOCK: usize = 8;
/// Of the recovered stores, one in so many is also merged, collected, closed and opened again.
const SETTLED: u64 = 16;

/// All failing calls of some configurations.
pub struct Faults {
    seed: u64,
    stages: Vec<Stage>,
    blocks: Vec<Block>,
    sites: u64,
}

/// What one unit does.
struct Block {
    config: Config,
    stage: usize,
    scene: Scene,
    calls: Vec<(u64, Call)>,
}

/// One failing call.
#[derive(Clone)]
struct Case<'a> {
    block: &'a Block,
    fault: Fault,
    end: End,
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
    /// Every call of every scene with the promised configurations, one in 16 with the others and
    /// of the scene in which a hash table grows.
    ///
    /// # Errors
    /// If a scene fails without a fault.
    pub fn ci() -> Result<Faults> {
        Faults::new(1, 16, 16)
    }

    /// Every call of every scene.
    ///
    /// # Errors
    /// If a scene fails without a fault.
    pub fn long() -> Result<Faults> {
        Faults::new(1, 1, 1)
    }

    fn new(seed: u64, other_stride: usize, growth_stride: usize) -> Result<Faults> {
        hush();
        let mut faults = Faults { seed, stages: Vec::new(), blocks: Vec::new(), sites: 0 };
        let mut sites: Vec<Site> = Vec::new();
        let configs = promised().into_iter().map(|config| (config, 1));
        let configs = configs.chain(others().into_iter().map(|config| (config, other_stride)));
        for (config, stride) in configs {
            let stage = guard(|| Stage::new(config, seed));
            faults.stages.push(stage.with_context(|| config.to_string())?);
            let mut scenes: Vec<(Scene, usize)> =
                Scene::all().into_iter().map(|scene| (scene, stride)).collect();
            scenes.push((Scene::growth(), stride.max(growth_stride)));
            for (number, (scene, stride)) in scenes.into_iter().enumerate() {
                let calls = faults.add(config, scene, number % stride, stride)?;
                if stride == 1 {
                    sites.extend(calls);
                }
            }
        }
        faults.sites = scene::sites(sites.iter()).len() as u64;
        Ok(faults)
    }

    /// Adds every `stride`-th call of a scene; returns where they are made.
    fn add(
        &mut self,
        config: Config,
        scene: Scene,
        skip: usize,
        stride: usize,
    ) -> Result<Vec<Site>> {
        let stage = self.stages.len() - 1;
        let calls = guard(|| scene::calls(&self.stages[stage], &scene, self.seed));
        let calls = calls.with_context(|| format!("{config} {} without a fault", scene.name()))?;
        let chosen: Vec<_> = calls.into_iter().skip(skip).step_by(stride).collect();
        for calls in chosen.chunks(BLOCK) {
            let calls = calls.iter().map(|(number, call, _)| (*number, call.clone())).collect();
            self.blocks.push(Block { config, stage, scene: scene.clone(), calls });
        }
        Ok(chosen.into_iter().map(|(.., site)| site).collect())
    }
}

impl Part for Faults {
    fn name(&self) -> String {
        "R4-R5 faults".to_owned()
    }

    fn units(&self) -> u64 {
        self.blocks.len() as u64
    }

    fn run(&self, unit: u64) -> Outcome {
        let block = &self.blocks[usize::try_from(unit).expect("units were counted")];
        let mut unit = Unit {
            stage: &self.stages[block.stage],
            seed: self.seed,
            known: HashMap::new(),
            outcome: Outcome::default(),
        };
        for (index, (number, call)) in block.calls.iter().enumerate() {
            unit.outcome.count("calls failed", 1);
            for (way, (what, times)) in scene::faults_of(call.kind).into_iter().enumerate() {
                let fault = Fault { at: At::Call(*number), what, times };
                let end = [End::Close, End::Drop, End::Kill][(index + way) % 3];
                unit.run(&Case { block, fault, end });
            }
        }
        if std::ptr::eq(block, &self.blocks[0]) {
            unit.outcome.count("call sites", self.sites);
        }
        unit.outcome
    }
}

/// Cases whose recoveries are shared.
struct Unit<'a> {
    stage: &'a Stage,
    seed: u64,
    /// By the bytes of the disk and the clock: what recovery showed; `None` if it failed.
    known: HashMap<(u64, u64), Option<Shown>>,
    outcome: Outcome,
}

impl Unit<'_> {
    fn run(&mut self, case: &Case<'_>) {
        self.outcome.count("cases", 1);
        let result = match guard(|| self.live(case)) {
            Ok(trial) => self.judge(case, &trial),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            self.outcome.findings.push(case.finding(&error));
        }
    }

    /// The process under the fault, up to its end.
    fn live(&mut self, case: &Case<'_>) -> Result<Trial> {
        let scene = &case.block.scene;
        let mut trial = self.stage.trial(scene, Some(case.fault), self.seed)?;
        trial.go(&scene.steps)?;
        let At::Call(number) = case.fault.at else { unreachable!("cases fail numbered calls") };
        let hits = trial.run.disk.hits();
        ensure!(hits.first().is_some_and(|hit| hit.call == number), "the fault hits nothing");
        self.outcome.count("failed syncs", trial.run.disk.failed_syncs().len() as u64);
        if trial.must_be_transparent() {
            trial.require_unnoticed()?;
            self.outcome.count("faults without effect", 1);
        }
        // Where the fault lasts, it lasts over the end of every other process.
        let lasts = case.fault.times == Times::Forever && number.is_multiple_of(2);
        let dies = case.end == End::Kill && number % 4 < 2;
        if !lasts && !dies {
            trial.heal()?;
        }
        trial.end(case.end)?;
        Ok(trial)
    }

    /// What the next process sees, with and without a power cut between them.
    fn judge(&mut self, case: &Case<'_>, trial: &Trial) -> Result<()> {
        let disk = &trial.run.disk;
        let cut = disk.crash(ImageKind::SyncedOnly, self.seed);
        self.recover(case, &cut, &trial.allowed_after_cut()).context("after a power cut")?;
        if trial.names_lost() {
            return Ok(());
        }
        let killed = disk.fork(self.seed);
        self.recover(case, &killed, &trial.allowed_after_kill()).context("after the process")
    }

    fn recover(&mut self, case: &Case<'_>, image: &SimDisk, allowed: &Allowed) -> Result<()> {
        self.outcome.count("images", 1);
        let Bounds { clock_ms, .. } = allowed.bounds;
        // What is not durable yet decides what a later power cut leaves.
        let durable = image.crash(ImageKind::SyncedOnly, 0);
        let key = (fingerprint(image) ^ fingerprint(&durable).rotate_left(1), clock_ms);
        if let Some(known) = self.known.get(&key) {
            return match known {
                Some(shown) => allowed.judge(shown).context("recovered once before"),
                None => Ok(()),
            };
        }
        self.outcome.count("recoveries", 1);
        let settle = key.0.is_multiple_of(SETTLED);
        let recovery = Recovery { config: case.block.config, seed: self.seed, settle };
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

impl Case<'_> {
    fn finding(&self, error: &anyhow::Error) -> Finding {
        let Block { config, scene, calls, .. } = self.block;
        let At::Call(number) = self.fault.at else { unreachable!("cases fail numbered calls") };
        let call = calls.iter().find(|(found, _)| *found == number).map(|(_, call)| call);
        let Fault { what, times, .. } = self.fault;
        let kind = call.map_or(CallKind::Read, |call| call.kind);
        let path = call.map_or("", |call| &call.path);
        Finding {
            what: format!("{kind:?} of {path}: {what:?} {times:?}, {:?}: {error:#}", self.end),
            replay: format!("config={config} scene={} call={number}", scene.name()),
            kind: format!("{kind:?} {what:?} {times:?}"),
            regression: String::new(),
        }
    }
}
