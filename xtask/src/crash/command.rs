//! `cargo xtask crash`: which parts are run.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::call::Op;
use super::campaign::Campaign;
use super::determinism::Determinism;
use super::drive::{Drive, Progress, describe, write_regressions};
use super::images::{Effort, Nested};
use super::liar::Lie;
use super::lives::Lives;
use super::long::{self, Long};
use super::orders::Orders;
use super::part::Part;
use super::planted;
use super::replay;
use super::rot::Rot;
use super::schedules;
use super::suite::{self, Size};
use super::txns::Transactions;

/// Where tests for findings go.
const FINDINGS: &str = "target/crash-findings";

/// `cargo xtask crash`.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// Explores all sequences up to this length.
    #[arg(long, value_name = "LEN")]
    exhaustive: Option<usize>,
    /// Lets so many random databases live through 5 to 20 crashes each.
    #[arg(long, value_name = "SEEDS")]
    random: Option<u64>,
    /// Crashes so many random sequences everywhere.
    #[arg(long, value_name = "COUNT")]
    sequences: Option<usize>,
    /// How long these are.
    #[arg(long, value_name = "LEN", default_value_t = 8)]
    len: usize,
    /// Crashes inside the recoveries of sequences up to this length.
    #[arg(long, value_name = "LEN")]
    nested: Option<usize>,
    /// Fails every call of the disk in every way, and fills disks of many sizes.
    #[arg(long)]
    faults: bool,
    /// Everything, at the size of CI.
    #[arg(long)]
    ci: bool,
    /// Everything, at full size: hours. Its state is kept.
    #[arg(long)]
    long: bool,
    /// Goes on with the long run where it was stopped.
    #[arg(long, requires = "long")]
    resume: bool,
    /// Where the state of a long run is.
    #[arg(long, value_name = "FILE", default_value = "target/crash-long.json")]
    state: PathBuf,
    /// Prints the state of a long run as a table and does nothing else.
    #[arg(long)]
    table: bool,
    /// Begins nothing behind so many minutes.
    #[arg(long)]
    minutes: Option<u64>,
    /// Of the parts, only those with this in their names.
    #[arg(long, value_name = "TEXT")]
    part: Option<String>,
    /// How many threads work.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Equal seeds explore the same.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only the eleven calls of the design, one draw of each random image, a sample of nested crashes.
    #[arg(long)]
    quick: bool,
    /// Runs what a finding says again.
    #[arg(long, value_name = "LINE")]
    replay: Option<String>,
    /// R7 and R8: damages resting databases everywhere, and tears tails.
    #[arg(long)]
    rot: bool,
    /// Runs one damage again, told by a finding.
    #[arg(long, value_name = "LINE")]
    rot_replay: Option<String>,
    /// Lets models of the store's threads run under many schedules, and small ones under every
    /// order of memory.
    #[arg(long)]
    schedules: bool,
    /// Runs one chunk of schedules again, told by a finding.
    #[arg(long, value_name = "MODEL:CHUNK")]
    schedule: Option<String>,
    /// R13: everything that may happen around a garbage collection, in every order.
    #[arg(long)]
    orders: bool,
    /// R16: histories of transactions over flushes, collections, expiry and crashes.
    #[arg(long)]
    transactions: bool,
    /// R12: equal seeds make equal calls.
    #[arg(long)]
    determinism: bool,
    /// How many: random orders, operations of transactions, seeds of determinism, schedules of
    /// each model.
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,
    /// One unit alone of the parts that are chosen, told by a finding.
    #[arg(long, value_name = "NUMBER")]
    unit: Option<u64>,
    /// The disk lies while the workload runs; fails if nobody notices.
    #[arg(long, value_name = "NAME")]
    lie: Option<String>,
    /// Shows that every planted bug is found, and how.
    #[arg(long)]
    planted: bool,
    /// Of the planted bugs, only those with this in their names.
    #[arg(long, value_name = "TEXT", requires = "planted")]
    only: Option<String>,
    /// Also writes the table of the planted bugs to a file.
    #[arg(long, value_name = "FILE", requires = "planted")]
    markdown: Option<PathBuf>,
}

/// Explores or replays.
///
/// # Errors
/// If something must not be.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    if arguments.planted {
        let Arguments { threads, only, markdown, .. } = arguments.clone();
        return planted::run(&planted::Settings { threads, only, markdown });
    }
    if let Some(line) = &arguments.replay {
        ensure!(replay::line(line)?, "it fails");
        return Ok(());
    }
    if let Some(line) = &arguments.rot_replay {
        print!("{}", Rot::replay(line)?);
        return Ok(());
    }
    if let Some(line) = &arguments.schedule {
        return schedules::replay(root, line);
    }
    if arguments.table {
        print!("{}", long::table(&arguments.state)?);
        return Ok(());
    }
    let mut parts = chosen(root, arguments)?;
    if let Some(text) = &arguments.part {
        parts.retain(|part| part.name().contains(text));
        ensure!(!parts.is_empty(), "no part has {text:?} in its name");
    }
    if let Some(unit) = arguments.unit {
        return run_unit(&parts, unit);
    }
    let minutes = arguments.minutes.map(|minutes| Duration::from_secs(60 * minutes));
    let deadline = minutes.map(|minutes| Instant::now() + minutes);
    let drive = Drive { threads: arguments.threads, findings_max: 5, deadline };
    let findings = if arguments.long {
        let long = Long { file: arguments.state.clone(), resume: arguments.resume };
        long.run(&parts, &drive)?
    } else {
        run_all(&parts, &drive)
    };
    if let Some(lie) = &arguments.lie {
        ensure!(findings > 0, "nobody notices {lie}");
        return Ok(());
    }
    ensure!(findings == 0, "{findings} findings");
    if arguments.schedules && arguments.part.is_none() {
        schedules::explore_orders(root)?;
    }
    Ok(())
}

/// Runs one unit of each part and tells everything about it.
fn run_unit(parts: &[Box<dyn Part>], unit: u64) -> Result<()> {
    let mut findings = 0;
    for part in parts {
        let progress = Progress { outcome: part.run(unit), ..Progress::default() };
        print!("{}", describe(&**part, &progress));
        findings += progress.outcome.findings.len();
    }
    ensure!(findings == 0, "{findings} findings");
    Ok(())
}

/// Runs parts one after the other; returns how many findings there were.
fn run_all(parts: &[Box<dyn Part>], drive: &Drive) -> usize {
    let mut findings = 0;
    for part in parts {
        let progress = drive.run(&**part, Progress::default(), &|_| ());
        print!("{}", describe(&**part, &progress));
        findings += report_regressions(&progress);
    }
    findings
}

/// Says where tests for what was found are; returns how much that was.
fn report_regressions(progress: &Progress) -> usize {
    let findings = &progress.outcome.findings;
    match write_regressions(Path::new(FINDINGS), findings) {
        Ok(files) => files.iter().for_each(|file| println!("  as a test: {}", file.display())),
        Err(error) => eprintln!("no tests are written to {FINDINGS}: {error}"),
    }
    findings.len()
}

/// Those parts that a finding names by a unit's number.
fn units_of_their_own(arguments: &Arguments) -> Vec<Box<dyn Part>> {
    let (seed, count) = (arguments.seed, arguments.count);
    let mut parts: Vec<Box<dyn Part>> = Vec::new();
    if arguments.orders {
        let part = Orders::quick(seed);
        parts.push(Box::new(Orders { random: count.unwrap_or(part.random), ..part }));
    }
    if arguments.transactions {
        let part = Transactions::quick(seed);
        let operations = count.unwrap_or(part.operations);
        parts.push(Box::new(Transactions { operations, ..part }));
    }
    if arguments.determinism {
        let part = Determinism::quick(seed);
        parts.push(Box::new(Determinism { seeds: count.unwrap_or(part.seeds), ..part }));
    }
    parts
}

/// The parts that the arguments ask for.
fn chosen(root: &Path, arguments: &Arguments) -> Result<Vec<Box<dyn Part>>> {
    if arguments.ci || arguments.long {
        let size = if arguments.long { Size::Long } else { Size::Ci };
        return suite::all(root, size, arguments.seed);
    }
    let mut parts = units_of_their_own(arguments);
    if arguments.schedules {
        let count = arguments.count.unwrap_or(schedules::COUNT_CI);
        parts.extend(suite::schedules(root, count)?);
    }
    if !parts.is_empty() {
        return Ok(parts);
    }
    if let Some(len) = arguments.nested {
        let nested = Nested { prelude: 1, one: 1, more: 1, ..Effort::FULL.nested };
        let mut campaign = campaign(arguments)?;
        (campaign.name, campaign.lens) = ("R3 crashes in recovery", 0..=len);
        (campaign.effort.nested, campaign.alphabet) = (nested, Op::eleven());
        parts.push(Box::new(campaign));
    }
    if let Some(seeds) = arguments.random {
        parts.push(Box::new(Lives { first: arguments.seed, seeds, minimise: true }));
    }
    if arguments.rot {
        parts.extend(suite::rot(Size::Ci));
    }
    if arguments.faults {
        parts.extend(suite::faults(Size::Ci));
    }
    let sequences = arguments.exhaustive.is_some() || arguments.sequences.is_some();
    if parts.is_empty() || sequences {
        parts.push(Box::new(campaign(arguments)?));
    }
    Ok(parts)
}

fn campaign(arguments: &Arguments) -> Result<Campaign> {
    let len = arguments.exhaustive.unwrap_or(if arguments.sequences.is_some() { 0 } else { 2 });
    let mut campaign = Campaign::new(len, Effort::FULL, arguments.seed);
    campaign.minimise = true;
    campaign.random = arguments.sequences.unwrap_or(0);
    campaign.random_len = arguments.len;
    campaign.growth = len > 1;
    if arguments.quick {
        campaign.effort = Effort::QUICK;
        campaign.alphabet = Op::eleven();
    }
    if let Some(name) = &arguments.lie {
        let lie = Lie::parse(name)?;
        campaign.lie = Lie::ALL.into_iter().find(|(_, known)| *known == lie);
    }
    Ok(campaign)
}
