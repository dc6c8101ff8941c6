//! The hunt itself, in a build that has the bugs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use vfs::planted::{self, Bug};

use super::Settings;
use super::hints::{Hunt, hunt_of};
use crate::crash::part::Finding;

/// What became of a bug.
struct Outcome {
    bug: Bug,
    /// Where it was hunted.
    place: String,
    /// In which unit it was found, and as what.
    found: Option<(u64, Finding)>,
    /// How much was judged until then.
    judged: u64,
    /// Whether the code that has the bug ran.
    reached: bool,
    took: Duration,
}

/// Hunts every bug, then looks for findings without one.
pub(super) fn run(settings: &Settings) -> Result<()> {
    let started = Instant::now();
    let is_wanted = |bug: &Bug| match &settings.only {
        Some(only) => format!("{bug:?}").contains(only.as_str()),
        None => true,
    };
    let bugs: Vec<Bug> = Bug::ALL.iter().copied().filter(is_wanted).collect();
    let outcomes = spread(settings.threads, &bugs, |bug| {
        let outcome = hunt(*bug);
        println!("{}", describe(&outcome));
        outcome
    });
    let false_alarms = control(settings.threads, &outcomes);
    for (place, finding) in &false_alarms {
        println!(
            "WITHOUT A BUG: {place} ({}) {}\n  {}",
            finding.kind, finding.what, finding.replay
        );
    }
    let missed = outcomes.iter().filter(|outcome| outcome.found.is_none());
    let missed: Vec<Bug> = missed.map(|outcome| outcome.bug).collect();
    let (all, took) = (outcomes.len(), started.elapsed().as_secs_f64());
    println!(
        "{} of {all} planted bugs found in {took:.1} s; {}",
        all - missed.len(),
        kinds(&outcomes)
    );
    if let Some(path) = &settings.markdown {
        let text = markdown(&outcomes, took);
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    ensure!(false_alarms.is_empty(), "{} findings without a bug", false_alarms.len());
    ensure!(missed.is_empty(), "not found: {missed:?}");
    Ok(())
}

/// Does something with each of some things, on threads; the results in their order.
fn spread<T: Sync, R: Send>(threads: usize, all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = Mutex::new(0..all.len());
    let done = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let Some(index) = next.lock().next() else { return };
                    let result = work(&all[index]);
                    done.lock().insert(index, result);
                }
            });
        }
    });
    done.into_inner().into_values().collect()
}

/// Hunts one bug on this thread until something is found.
fn hunt(bug: Bug) -> Outcome {
    let started = Instant::now();
    let Hunt { place, judges, stride, part } = planted::with(Some(bug), || hunt_of(bug));
    let (mut found, mut judged) = (None, 0);
    planted::reached();
    let units = part.units();
    for unit in (0..units).map(|index| index * stride % units) {
        let done = planted::with(Some(bug), || part.run(unit));
        judged += done.counts.get(judges).copied().unwrap_or(0);
        if let Some(finding) = done.findings.into_iter().next() {
            found = Some((unit, finding));
            break;
        }
    }
    let (reached, took) = (planted::reached(), started.elapsed());
    Outcome { bug, place, found, judged, reached, took }
}

/// Every unit that found a bug, without it.
fn control(threads: usize, outcomes: &[Outcome]) -> Vec<(String, Finding)> {
    let mut units = BTreeMap::new();
    for outcome in outcomes {
        if let Some((unit, _)) = &outcome.found {
            units.entry((outcome.place.clone(), *unit)).or_insert(outcome.bug);
        }
    }
    let units: Vec<((String, u64), Bug)> = units.into_iter().collect();
    let found = spread(threads, &units, |((place, unit), bug)| {
        let findings = planted::with(None, || hunt_of(*bug).part.run(*unit)).findings;
        findings.into_iter().map(|finding| (place.clone(), finding)).collect::<Vec<_>>()
    });
    found.into_iter().flatten().collect()
}

/// The catalogue's row and the bug in words.
fn words(bug: Bug) -> (&'static str, &'static str) {
    bug.says().split_once(": ").expect("a bug says where it is and what")
}

fn describe(outcome: &Outcome) -> String {
    let Outcome { bug, place, judged, took, .. } = outcome;
    let (bug, took) = (format!("{bug:?}"), took.as_millis());
    match &outcome.found {
        Some((_, finding)) => {
            let what = finding.what.lines().next().unwrap_or_default();
            format!(
                "{bug:24} {} after {judged} in {took} ms, {place}\n    {what}\n    {}",
                finding.kind, finding.replay
            )
        }
        None => {
            let reached = if outcome.reached { "reached" } else { "never reached" };
            format!("{bug:24} NOT FOUND after {judged} in {took} ms, {reached}, {place}")
        }
    }
}

/// How many bugs each kind of image, fault or damage was the first to show.
fn kinds(outcomes: &[Outcome]) -> String {
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, finding) in outcomes.iter().filter_map(|outcome| outcome.found.as_ref()) {
        *kinds.entry(&finding.kind).or_default() += 1;
    }
    let mut kinds: Vec<(&str, u64)> = kinds.into_iter().collect();
    kinds.sort_by_key(|(kind, count)| (std::cmp::Reverse(*count), *kind));
    let kinds = kinds.iter().map(|(kind, count)| format!("{count} by {kind}"));
    kinds.collect::<Vec<_>>().join(", ")
}

fn markdown(outcomes: &[Outcome], took: f64) -> String {
    let found = outcomes.iter().filter(|outcome| outcome.found.is_some()).count();
    let mut text = format!(
        "# Planted bugs: the harness proves itself (bar R11)\n\n\
         Written by `cargo xtask crash --planted --markdown FILE`. Each bug of \
         `crates/vfs/src/planted.rs` is switched on alone, and the pieces of the CI exploration \
         named under *where* run until the first finding. The units that found something were run \
         again without any bug and found nothing.\n\n\
         {found} of {} bugs found in {took:.0} s. First shown: {}.\n\n\
         | bug | family, row | what is wrong | where | shown by | after | ms |\n\
         |---|---|---|---|---|---:|---:|\n",
        outcomes.len(),
        kinds(outcomes)
    );
    for outcome in outcomes {
        let Outcome { bug, place, judged, took, .. } = outcome;
        let (row, what) = words(*bug);
        let shown = outcome.found.as_ref().map_or("NOT FOUND", |(_, finding)| &finding.kind);
        let took = took.as_millis();
        writeln!(text, "| `{bug:?}` | {row} | {what} | {place} | {shown} | {judged} | {took} |")
            .expect("memory takes text");
    }
    text
}
