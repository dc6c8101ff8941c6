//! `cargo xtask disks`: what only a real file system, or a second process, can show.
//!
//! ```text
//! this process -> a mount name space of its own -> small disks -> a child that serves a database
//!      model  <----- answers ------------------------------------ commands over a pipe
//! ```
//!
//! 1. Disks are mounted in a name space that dies with the command: nothing stays mounted, whatever
//!    happens. Where that, or a kind of disk, cannot be had, the report says `skipped`, and why.
//! 2. Every database is served by a child, so that a signal (SIGBUS, say) is a finding and not the
//!    end of the run.

mod mount;
mod values;
mod serve;
mod remote;
mod full;
mod owner;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::Args;

use mount::Disk;
use serve::Setup;

/// Runs the checks.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Seed of the values. Default: drawn, and printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Only the checks whose names contain this.
    #[arg(long)]
    only: Option<String>,
    /// Runs inside the name space.
    #[arg(long, hide = true)]
    inside: bool,
    /// Runs as the child that serves the database in this directory.
    #[arg(long, hide = true)]
    serve: Option<PathBuf>,
    /// How the child opens it.
    #[arg(long, hide = true, default_value = "")]
    setup: Setup,
}

/// What became of a check.
enum Verdict {
    /// All is as it should be; what was met.
    Fine(String),
    /// It cannot run here, and why.
    Skipped(String),
}

type Check<'a> = (String, Box<dyn Fn() -> anyhow::Result<Verdict> + 'a>);

/// Runs every check; an error is a violation.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let seed = arguments.seed.unwrap_or_else(|| vfs::Env::system().rng.next_u64());
    if let Some(dir) = &arguments.serve {
        return serve::run(dir, &arguments.setup, seed);
    }
    if !arguments.inside
        && let Some(mut inside) = mount::name_space()
    {
        inside.args(["disks", "--inside", "--seed", &seed.to_string()]);
        inside.args(arguments.only.iter().flat_map(|only| ["--only", only]));
        let status = inside.status().context("start inside a mount name space")?;
        if !status.success() {
            bail!("the checks inside the name space: {status}");
        }
        return Ok(());
    }
    println!("SEED={seed}");
    let work = tempfile::Builder::new().prefix("disks-").tempdir()?;
    let mut failed = Vec::new();
    for (name, check) in checks(work.path(), seed, arguments.inside) {
        if arguments.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        match check() {
            Ok(Verdict::Fine(met)) => println!("{name}: ok, {met}"),
            Ok(Verdict::Skipped(why)) => println!("{name}: skipped: {why}"),
            Err(error) => {
                println!("{name}: VIOLATION: {error:#}");
                failed.push(name);
            }
        }
    }
    if !failed.is_empty() {
        bail!("{}; again: cargo xtask disks --seed {seed}", failed.join(", "));
    }
    Ok(())
}

fn checks(work: &Path, seed: u64, mounts: bool) -> Vec<Check<'_>> {
    let mut checks: Vec<Check<'_>> = Vec::new();
    for (name, check) in owner::CHECKS {
        checks.push(((*name).to_owned(), Box::new(move || check(work, seed))));
    }
    checks.push((
        "read-only mount".to_owned(),
        Box::new(move || match mounts {
            true => owner::read_only_mount(work, seed),
            false => Ok(Verdict::Skipped(NO_MOUNTS.to_owned())),
        }),
    ));
    for disk in Disk::ALL {
        for setup in Setup::all() {
            let name = format!("full {disk} {setup}");
            checks.push((
                name,
                Box::new(move || match mounts {
                    true => full::check(work, disk, setup, seed),
                    false => Ok(Verdict::Skipped(NO_MOUNTS.to_owned())),
                }),
            ));
        }
    }
    checks
}

const NO_MOUNTS: &str = "no mount name space for this user (`unshare --mount` is refused)";

/// This program.
fn program() -> anyhow::Result<Command> {
    Ok(Command::new(std::env::current_exe().context("find this program")?))
}
