//! Maintenance commands: `cargo xtask <command>`.

mod simulate;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Maintenance commands of this workspace")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs an experiment of the design again and prints its tables.
    Simulate {
        #[command(subcommand)]
        experiment: simulate::Experiment,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Simulate { experiment } => simulate::run(experiment),
    }
    Ok(())
}
