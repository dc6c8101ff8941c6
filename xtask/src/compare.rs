//! `cargo xtask compare`: builds `benches/compare`, which is no part of the workspace, and runs it.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

/// Every engine that a feature brings; ours is always there.
const FEATURES: [&str; 8] =
    ["canopydb", "fjall", "heed", "parity-db", "redb", "rocksdb", "sled", "surrealkv"];

/// What to build, and what to hand to the program.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Smaller counts, slow engines once, only rows with a bar: some minutes.
    #[arg(long)]
    quick: bool,
    /// Does not build this engine; may be given more than once.
    #[arg(long, value_parser = FEATURES)]
    without: Vec<String>,
    /// Only this engine; may be given more than once.
    #[arg(long)]
    engine: Vec<String>,
    /// Only rows whose names contain this.
    #[arg(long)]
    row: Option<String>,
    /// Only this size (150, 1k, 16k); may be given more than once.
    #[arg(long)]
    size: Vec<String>,
    /// How often each is measured.
    #[arg(long)]
    runs: Option<u16>,
    /// Entries of the smallest size, the others in proportion.
    #[arg(long)]
    entries: Option<u64>,
    /// Where stores are made: the disk that is measured.
    #[arg(long)]
    dir: Option<OsString>,
    /// Where results go, without extension. Default: `docs/bench/DATE-compare`.
    #[arg(long)]
    results: Option<OsString>,
    /// Goes on with results of the same plan: measures what is not there.
    #[arg(long)]
    resume: bool,
    /// Begins no measurement after so many minutes.
    #[arg(long)]
    minutes: Option<u64>,
}

/// Builds and runs.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.current_dir(root).args(["build", "--release", "--locked"]);
    build.args(["--manifest-path", "benches/compare/Cargo.toml", "--target-dir", "target/compare"]);
    if !arguments.without.is_empty() {
        let mut features = FEATURES.to_vec();
        features.retain(|feature| !arguments.without.iter().any(|without| without == feature));
        build.args(["--no-default-features", "--features", &features.join(",")]);
    }
    let status = build.status().context("start cargo")?;
    ensure!(
        status.success(),
        "the comparison does not build. RocksDB needs a C++ compiler and libclang \
         (`apt-get install g++ libclang-dev` or the like); `--without rocksdb` leaves it out"
    );
    let mut program = Command::new(root.join("target/compare/release/compare"));
    program.current_dir(root).args(forwarded(arguments));
    let status = program.status().with_context(|| format!("start {program:?}"))?;
    ensure!(status.success(), "{program:?}: {status}");
    Ok(())
}

/// The arguments that the program takes.
fn forwarded(arguments: &Arguments) -> Vec<OsString> {
    let mut all: Vec<OsString> = Vec::new();
    let mut add = |name: &str, value: OsString| all.extend([name.into(), value]);
    arguments.engine.iter().for_each(|engine| add("--engine", engine.into()));
    arguments.size.iter().for_each(|size| add("--size", size.into()));
    arguments.row.iter().for_each(|row| add("--row", row.into()));
    arguments.runs.iter().for_each(|runs| add("--runs", runs.to_string().into()));
    arguments.entries.iter().for_each(|count| add("--entries", count.to_string().into()));
    arguments.dir.iter().for_each(|dir| add("--dir", dir.clone()));
    arguments.results.iter().for_each(|path| add("--results", path.clone()));
    arguments.minutes.iter().for_each(|minutes| add("--minutes", minutes.to_string().into()));
    let flags = [("--quick", arguments.quick), ("--resume", arguments.resume)];
    all.extend(flags.iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag.into()));
    all
}
