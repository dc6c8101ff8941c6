//! Where processes under faults start, what they do, and which of their calls of the disk a fault
//! can hit.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use anyhow::{Context, Result};
use vfs::sim::{Call, CallKind, Fault, ImageKind, SimDisk, Times, What};

use super::call::Op;
use super::plan::Config;
use super::run::Run;
use super::trial::{End, Step, Trial};
use super::workload;

/// What the process before left on the disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Start {
    /// Nothing.
    Fresh,
    /// It was killed, with a log that is not flushed.
    Killed,
    /// It closed the store.
    Closed,
    /// It closed the store, after one that was cut off in the middle of a merge: there are files
    /// set aside to remove.
    SetAside,
    /// The power went out in the middle of a merge.
    Cut,
    /// It was killed after many short lives, each of which left a segment of the log.
    LongLog,
}

impl Start {
    /// Every start.
    pub const ALL: [Start; 6] =
        [Start::Fresh, Start::Killed, Start::Closed, Start::SetAside, Start::Cut, Start::LongLog];

    fn is_cut(self) -> bool {
        matches!(self, Start::Cut | Start::SetAside)
    }
}

/// A process to be put under faults.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scene {
    /// What it finds.
    pub start: Start,
    /// What it does.
    pub steps: Vec<Step>,
    /// Which of its steps are hit.
    pub hit: Range<usize>,
}

impl Scene {
    fn new(start: Start, steps: &[Step], hit: Range<usize>) -> Scene {
        Scene { start, steps: steps.to_vec(), hit }
    }

    /// All scenes for one configuration: each call of the store, each start, each end.
    pub fn all() -> Vec<Scene> {
        let call = Step::Call;
        let mut all: Vec<Scene> =
            Start::ALL.iter().map(|start| Scene::new(*start, &[Step::Open], 0..1)).collect();
        let after = |before: &[Op], op: Op| {
            let mut steps = vec![Step::Open];
            steps.extend(before.iter().map(|op| call(*op)));
            steps.push(call(op));
            let last = steps.len() - 1;
            Scene::new(Start::Killed, &steps, last..last + 1)
        };
        let alone = [
            Op::Put,
            Op::BigPut,
            Op::HugePut,
            Op::Delete,
            Op::Batch,
            Op::TtlPut,
            Op::Unlogged,
            Op::Transact,
            Op::Swap,
            Op::Expire,
            Op::Sync,
            Op::Flush,
            Op::Compact,
            Op::Gc,
            Op::Checkpoint,
            Op::Recreate,
        ];
        all.extend(alone.map(|op| after(&[], op)));
        all.push(after(&[Op::BigPut, Op::BigPut, Op::HugePut, Op::BigPut, Op::Tick], Op::Jobs));
        all.push(after(&[Op::Snapshot, Op::HugePut, Op::HugePut, Op::HugePut], Op::HugePut));
        all.push(after(&[Op::Unlogged], Op::Checkpoint));
        all.push(after(&[Op::Compact, Op::Snapshot, Op::BigPut, Op::Compact], Op::Gc));
        for end in [Step::Close, Step::Drop] {
            all.push(Scene::new(Start::Killed, &[Step::Open, call(Op::Put), end], 2..3));
            let steps = [Step::Open, call(Op::Unlogged), call(Op::Compact), call(Op::BigPut), end];
            all.push(Scene::new(Start::Closed, &steps, 4..5));
        }
        all
    }

    /// A hash table that splits and shrinks, and segments that move and dissolve: many calls.
    pub fn growth() -> Scene {
        let mut steps = vec![Step::Open];
        steps.extend(Op::GROWTH.map(Step::Call));
        Scene::new(Start::Killed, &steps, 1..10)
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<&str> = self.steps.iter().map(|step| step.name()).collect();
        write!(f, "{:?}:{}", self.start, steps.join(","))
    }
}

impl FromStr for Scene {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Scene> {
        let (start, steps) = text.split_once(':').context("a scene is start:step,step,...")?;
        let start = Start::ALL.into_iter().find(|known| format!("{known:?}") == start);
        let steps: Vec<Step> = steps.split(',').map(Step::parse).collect::<Result<_>>()?;
        Ok(Scene::new(start.context("an unknown start")?, &steps, 0..steps.len()))
    }
}

/// What earlier processes left for the scenes of one configuration.
pub(super) struct Stage {
    /// The run so far; its disk is never touched again, only copied.
    before: Vec<(Start, Run)>,
}

impl Stage {
    /// Runs what comes before scenes with these starts.
    pub(super) fn new(config: Config, starts: &[Start], seed: u64) -> Result<Stage> {
        let mut before = Vec::new();
        for start in starts {
            let run = set(config, seed, *start).with_context(|| format!("{start:?}"))?;
            before.push((*start, run));
        }
        Ok(Stage { before })
    }

    /// A process on a copy of the disk.
    pub(super) fn trial(&self, scene: &Scene, fault: Option<Fault>, seed: u64) -> Result<Trial> {
        let found = self.before.iter().find(|(start, _)| *start == scene.start);
        let run = &found.expect("every start was set").1;
        Trial::new(run, run.disk.fork(seed), fault)
    }
}

fn set(config: Config, seed: u64, start: Start) -> Result<Run> {
    // A place for one checkpoint.
    let mut run = Run::start(config, seed, None, 1)?;
    if start == Start::Fresh {
        // The store that this run made is on another disk.
        let empty = SimDisk::new(seed);
        super::copies::make_places(&empty, 1)?;
        return run.forget(empty);
    }
    workload::prelude(&mut run)?;
    let disk = run.disk.clone();
    if start.is_cut() {
        workload::step(&mut run, Op::BigPut)?;
        workload::step(&mut run, Op::Sync)?;
        let begun = disk.boundaries();
        workload::step(&mut run, Op::Compact)?;
        // All its files are there, and none is named yet.
        let trace = disk.trace();
        let named = trace
            .iter()
            .skip(begun)
            .position(|call| call.kind == CallKind::Write && call.path.ends_with(".manifest"));
        let boundary = begun + named.context("a merge makes an edit")?;
        let image = disk.image(boundary, ImageKind::Everything, seed);
        let mut next = run.resume(image)?;
        if start == Start::SetAside {
            next.open_store()?;
            next.close()?;
        }
        next.disk.kill();
        return Ok(next);
    }
    match start {
        Start::Closed => run.close()?,
        Start::LongLog => {
            for _ in 0..9 {
                let mut next = run.resume(run.disk.fork(seed))?;
                run.disk.kill();
                run.drop_store();
                next.open_store()?;
                next.put("a", 30)?;
                run = next;
            }
        }
        Start::Fresh | Start::Killed | Start::SetAside | Start::Cut => {}
    }
    run.disk.kill();
    run.drop_store();
    Ok(run)
}

/// What a failing call can do.
const WHATS: [What; 10] = [
    What::Io,
    What::NoSpace,
    What::Denied,
    What::Interrupted,
    What::Short(1),
    What::Short(100),
    What::SyncLost,
    What::SyncReverted,
    What::SyncSurvived,
    What::SyncLate,
];

/// The faults that a call can have, each once and for ever, and full disks until space is freed.
pub fn faults_of(kind: CallKind) -> Vec<(What, Times)> {
    let mut fitting = Vec::new();
    for what in WHATS.into_iter().filter(|what| what.fits(kind)) {
        fitting.push((what, Times::Once));
        // A call for each byte that is ever read takes very long.
        if what != What::Short(1) {
            fitting.push((what, Times::Forever));
        }
        if what == What::NoSpace {
            fitting.push((what, Times::UntilFreed));
        }
    }
    fitting
}

/// One failing call. Its text is a replay line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case {
    /// Of the store.
    pub config: Config,
    /// What the process does.
    pub scene: Scene,
    /// The number of the call since the process was started.
    pub call: u64,
    /// What it does instead.
    pub what: What,
    /// How often.
    pub times: Times,
    /// How the process ends.
    pub end: End,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { config, scene, call, what, times, end } = self;
        write!(f, "fault config={config} scene={scene} call={call}")?;
        write!(f, " what={what:?} times={times:?} end={end:?}")
    }
}

impl FromStr for Case {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Case> {
        let part = |name: &str| {
            let parts = text.split_whitespace().filter_map(|part| part.split_once('='));
            let found = parts.into_iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value).with_context(|| format!("no {name} in {text:?}"))
        };
        Ok(Case {
            config: part("config")?.parse()?,
            scene: part("scene")?.parse()?,
            call: part("call")?.parse()?,
            what: find(part("what")?, &WHATS)?,
            times: find(part("times")?, &[Times::Once, Times::Forever, Times::UntilFreed])?,
            end: find(part("end")?, &End::ALL)?,
        })
    }
}

fn find<T: Copy + fmt::Debug>(text: &str, all: &[T]) -> Result<T> {
    let found = all.iter().find(|one| format!("{one:?}") == text);
    found.copied().with_context(|| format!("{text:?} is none of {all:?}"))
}

/// Where in the store a call of the disk is made: what is asked, of which kind of file, in which
/// step of a process.
pub type Site = (CallKind, String, &'static str);

/// The calls of a scene without a fault, each with its number, and whence it comes.
pub(super) fn calls(stage: &Stage, scene: &Scene, seed: u64) -> Result<Vec<(u64, Call, Site)>> {
    let mut trial = stage.trial(scene, None, seed)?;
    let first = trial.run.disk.calls();
    trial.run.disk.log_calls();
    trial.go(&scene.steps)?;
    trial.require_unnoticed()?;
    let logged = trial.run.disk.logged_calls();
    let mut starts = trial.starts.clone();
    starts.push(first + logged.len() as u64);
    let mut calls = Vec::new();
    for index in scene.hit.clone() {
        let phase = scene.steps[index].name();
        // The reads of the judge are hit behind an open, and not again behind each call.
        let end = starts[index + 1].min(trial.returns[index]);
        for number in starts[index]..end {
            let call = logged[usize::try_from(number - first)?].clone();
            let file = call.file_kind().map_or_else(
                || if call.path.is_empty() { "root".to_owned() } else { "LOCK".to_owned() },
                |kind| kind.as_str().to_owned(),
            );
            let site = (call.kind, file, phase);
            calls.push((number, call, site));
        }
    }
    Ok(calls)
}
