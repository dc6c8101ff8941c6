//! Compares engines; see README.md.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use compare::parent::{self, Plan};
use compare::size::Size;
use compare::{child, engines};

#[derive(Parser)]
#[command(about = "Other engines beside ours, on the same work, in the same run.")]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Smaller counts, slow engines once, only rows with a bar.
    #[arg(long)]
    quick: bool,
    /// Only this engine; may be given more than once. Default: all.
    #[arg(long)]
    engine: Vec<String>,
    /// Only this size; may be given more than once. Default: all.
    #[arg(long, value_enum)]
    size: Vec<Size>,
    /// Only rows whose names contain this.
    #[arg(long)]
    row: Option<String>,
    /// How often each is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Entries of the smallest size, the others in proportion. Default: 2 million, quick 80,000.
    #[arg(long)]
    entries: Option<u64>,
    /// Where stores are made. Default: beside this program.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Where results go, without extension.
    #[arg(long)]
    results: Option<PathBuf>,
    /// Goes on with results of the same plan: measures what is not there.
    #[arg(long)]
    resume: bool,
    /// Begins no measurement after so many minutes.
    #[arg(long)]
    minutes: Option<u64>,
}

#[derive(Subcommand)]
enum Command {
    /// One measurement; the program starts itself so.
    #[command(hide = true)]
    Child(child::Arguments),
    /// Lists the engines that were built in.
    Engines,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Command::Child(arguments)) => return child::run(arguments),
        Some(Command::Engines) => {
            engines::all().iter().for_each(|kind| println!("{}", kind.name));
            return Ok(());
        }
        None => {}
    }
    let named = arguments.engine.iter().map(|name| engines::find(name));
    let kinds = named.collect::<Result<Vec<_>>>()?;
    let suffix = if arguments.quick { "-quick" } else { "" };
    let results = match arguments.results {
        Some(path) => path,
        None => format!("docs/bench/{}-compare{suffix}", parent::today()?).into(),
    };
    let plan = Plan {
        kinds: if kinds.is_empty() { engines::all() } else { kinds },
        sizes: if arguments.size.is_empty() { Size::ALL.to_vec() } else { arguments.size },
        row: arguments.row,
        runs: usize::from(arguments.runs),
        is_quick: arguments.quick,
        entries: arguments.entries,
        dir: match arguments.dir {
            Some(dir) => dir,
            None => parent::default_dir()?,
        },
        results,
        resume: arguments.resume,
        minutes: arguments.minutes,
    };
    plan.run()
}
