//! Maintenance commands: `cargo xtask <command>`.

mod tidy;
mod ci;
mod simulate;
mod durability;
mod db;
mod demo;
mod kill;
mod disks;
mod fuzz;
mod compare;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// The explorations make and drop millions of small stores.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Maintenance commands of this workspace")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything continuous integration does; stops at the first step that fails.
    Ci,
    /// Writes the golden files of new format versions, once; those that are there are never
    /// replaced, and refuse.
    Golden,
    /// Runs all tests, doctests included; with FILTER only the tests whose names contain it.
    Test {
        /// Handed to the test runner as it is.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        filter: Vec<String>,
    },
    /// Crashes short sequences of calls at every call of the file system, in every way.
    Crash(Box<xtask::crash::command::Arguments>),
    /// Checks the rules of STYLE.md: layers, sizes, names, leftovers.
    Tidy,
    /// Runs the store on real files, through a kill, and verifies every byte.
    Demo(demo::Arguments),
    /// Reads and writes a database.
    Db {
        #[command(subcommand)]
        command: db::Command,
    },
    /// Kills a writing child again and again and compares what is left with a model.
    Kill(kill::Arguments),
    /// Fills real disks, locks out second processes, cuts files: what no simulation shows.
    Disks(disks::Arguments),
    /// Looks for inputs that make a parser or the store fail.
    Fuzz(fuzz::Arguments),
    /// Measures other engines beside ours; builds some C++.
    Compare(compare::Arguments),
    /// Runs an experiment of the design again and prints its tables.
    Simulate {
        #[command(subcommand)]
        experiment: simulate::Experiment,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        // Its exit codes are part of its interface.
        Command::Db { command } => return Ok(db::run(&command)),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Kill(arguments) => kill::run(&arguments),
        Command::Disks(arguments) => disks::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&root()?, &arguments),
        Command::Compare(arguments) => compare::run(&root()?, &arguments),
        Command::Ci => ci::run(&root()?),
        Command::Golden => ci::golden(&root()?),
        Command::Test { filter } => ci::test(&root()?, &filter),
        Command::Crash(arguments) => xtask::crash::command::run(&root()?, &arguments),
        Command::Tidy => tidy::run(&root()?),
        Command::Simulate { experiment } => {
            simulate::run(experiment);
            Ok(())
        }
    }?;
    Ok(ExitCode::SUCCESS)
}

/// The workspace's folder: the parent of this package's.
fn root() -> Result<PathBuf> {
    let package: OsString =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let package = PathBuf::from(package);
    let root = package.parent().context("xtask lies in the workspace's folder")?;
    Ok(root.to_owned())
}
