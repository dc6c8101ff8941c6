//! `cargo xtask crash`: which parts are run.

use anyhow::{Result, ensure};

use super::call::Op;
use super::campaign::Campaign;
use super::drive::{Drive, Progress, describe};
use super::images::Effort;
use super::liar::Lie;
use super::part::Part;
use super::plan::Cell;
use super::replay;

/// `cargo xtask crash`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Explores all sequences up to this length.
    #[arg(long, value_name = "LEN")]
    exhaustive: Option<usize>,
    /// Explores so many random sequences.
    #[arg(long, value_name = "COUNT")]
    random: Option<usize>,
    /// How long the random sequences are.
    #[arg(long, value_name = "LEN", default_value_t = 8)]
    len: usize,
    /// How many threads work.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Equal seeds explore the same.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only the eleven calls of the design, one draw of each random image, a sample of nested crashes.
    #[arg(long)]
    quick: bool,
    /// Runs one cell again, told by the line of a violation.
    #[arg(long, value_name = "LINE")]
    replay: Option<String>,
    /// The disk lies while the workload runs; the harness must find it.
    #[arg(long, value_name = "NAME")]
    lie: Option<String>,
}

/// Explores or replays.
///
/// # Errors
/// If something must not be.
pub fn run(arguments: &Arguments) -> Result<()> {
    if let Some(line) = &arguments.replay {
        ensure!(replay::replay(&line.parse::<Cell>()?)?, "the cell fails");
        return Ok(());
    }
    let drive = Drive { threads: arguments.threads, findings_max: 5, deadline: None };
    let mut findings = 0;
    for part in chosen(arguments)? {
        let progress = drive.run(&*part, Progress::default(), &|_| ());
        print!("{}", describe(&*part, &progress));
        findings += progress.outcome.findings.len();
    }
    ensure!(findings == 0, "{findings} findings");
    Ok(())
}

/// The parts that the arguments ask for.
fn chosen(arguments: &Arguments) -> Result<Vec<Box<dyn Part>>> {
    let mut parts: Vec<Box<dyn Part>> = Vec::new();
    let len = match (arguments.exhaustive, arguments.random) {
        (None, None) => 2,
        (len, _) => len.unwrap_or(0),
    };
    let mut campaign = Campaign::new(len, Effort::FULL, arguments.seed);
    campaign.random = arguments.random.unwrap_or(0);
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
    parts.push(Box::new(campaign));
    Ok(parts)
}
