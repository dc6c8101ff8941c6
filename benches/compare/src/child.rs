//! One measurement in a process of its own: prints its figures as one line of JSON.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::bench::{Bench, Effort};
use crate::data::Data;
use crate::engines;
use crate::meter::Found;
use crate::size::Size;
use crate::store::Kind;
use crate::story::Story;

/// What a child is told.
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    /// The engine.
    engine: String,
    /// What it lives through.
    #[arg(value_enum)]
    story: Story,
    /// The shape of entries.
    #[arg(value_enum)]
    size: Size,
    /// Entries of a fill.
    entries: u64,
    /// Operations of a workload.
    operations: u64,
    /// Durable puts of a thread.
    durable: u64,
    /// An empty directory.
    dir: PathBuf,
    /// Only rows whose names contain this.
    #[arg(long)]
    row: Option<String>,
    /// Only what has a bar.
    #[arg(long)]
    quick: bool,
}

/// The command that runs a child.
///
/// # Errors
/// If the program does not know where it is.
pub fn command(
    kind: Kind,
    story: Story,
    size: Size,
    effort: Effort,
    dir: &Path,
    row: Option<&str>,
) -> Result<Command> {
    use clap::ValueEnum;
    let program = std::env::current_exe().context("find this program")?;
    let story = story.to_possible_value().context("every story has a name")?;
    let mut command = Command::new(program);
    command.args(["child", kind.name, story.get_name(), size.name()]);
    for count in [effort.entries, effort.operations, effort.durable] {
        command.arg(count.to_string());
    }
    command.arg(dir);
    if let Some(row) = row {
        command.args(["--row", row]);
    }
    if effort.is_quick {
        command.arg("--quick");
    }
    Ok(command)
}

/// Runs it.
///
/// # Errors
/// As the engine fails, or if something that was read is wrong.
pub fn run(arguments: Arguments) -> Result<()> {
    let kind = engines::find(&arguments.engine)?;
    let Arguments { size, entries, operations, durable, dir, quick, .. } = arguments;
    let effort = Effort { entries, operations, durable, is_quick: quick };
    let data = Data::new(size, entries);
    let found = Found::of(arguments.row.clone());
    let mut bench = Bench::new(kind, data, effort, dir.clone(), found);
    arguments.story.run(&mut bench, || {
        command(kind, Story::Victim, size, effort, &dir, arguments.row.as_deref())
    })?;
    if arguments.story != Story::Victim {
        println!("{}", serde_json::to_string(bench.found.figures())?);
    }
    Ok(())
}
