//! `cargo xtask fuzz`: looks for inputs that make a fuzz target fail, one target after the other.
//!
//! ```text
//! fuzz/corpus/T (committed, only read) + target/fuzz/corpus/T (what earlier runs found)
//!     -> cargo fuzz run T -> executions, coverage -> a row of the table
//!                         -> fuzz/artifacts/T/crash-...: a finding
//! --keep: a small set that reaches what all of them reach -> fuzz/corpus/T
//! ```
//!
//! Installs nothing: without cargo-fuzz or a C++ compiler it says what to install.

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use fuzz_bodies::targets::{TARGETS, Target, find};

/// An input may take so long before it counts as a hang, on whatever machine. How much processor
/// time it may take, the bodies know.
const HANG_SECONDS: u32 = 30;
const RSS_MIB_MAX: u32 = 2048;
/// The committed corpus of a target does not grow beyond this.
const FOLDER_BYTES_MAX: usize = 200 << 10;

/// What to look for, where, how long.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only this target; may be given more than once. Default: all.
    #[arg(long)]
    target: Vec<String>,
    /// Minutes for each target.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Runs this one input instead of looking for new ones.
    #[arg(long, conflicts_with_all = ["minutes", "keep"])]
    input: Option<PathBuf>,
    /// What else the compiler builds in. `address` finds more in unsafe code and is slower.
    #[arg(long, value_enum, default_value_t = Sanitizer::None)]
    sanitizer: Sanitizer,
    /// Afterwards copies what brought new coverage into the committed corpus.
    #[arg(long)]
    keep: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sanitizer {
    None,
    Address,
}

impl Sanitizer {
    fn name(self) -> &'static str {
        match self {
            Sanitizer::None => "none",
            Sanitizer::Address => "address",
        }
    }
}

/// What one run said.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Summary {
    executions: u64,
    per_second: u64,
    /// Edges that the first inputs reach, and that all reach in the end.
    coverage: Option<(u64, u64)>,
    new_inputs: u64,
    peak_mib: u64,
    /// The file of an input that failed.
    finding: Option<String>,
}

/// Runs the targets; an error if one has a finding.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    require_tools()?;
    let targets = chosen(&arguments.target)?;
    if let Some(input) = &arguments.input {
        let [target] = targets[..] else { bail!("--input needs one --target") };
        let input = std::path::absolute(input).context("the input's path")?;
        let mut command = fuzz(root, arguments, target);
        let status = command.arg(&input).arg("--").args(limits(target)).status()?;
        ensure!(status.success(), "{} fails with {}", target.name, input.display());
        println!("{}: ok", target.name);
        return Ok(());
    }
    let mut findings = Vec::new();
    println!("{}", HEAD.trim_end());
    for target in targets {
        let summary = look(root, arguments, target)?;
        println!("{}", row(target.name, &summary));
        findings.extend(summary.finding.map(|file| (target.name, file)));
        if arguments.keep {
            keep(root, arguments, target)?;
        }
    }
    for (name, file) in &findings {
        println!("again: cargo xtask fuzz --target {name} --input {file}");
    }
    ensure!(findings.is_empty(), "{} targets have a finding", findings.len());
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<&'static Target>> {
    const ALL: &[Target] = &TARGETS;
    if names.is_empty() {
        return Ok(ALL.iter().collect());
    }
    let known = TARGETS.map(|target| target.name).join(", ");
    let one = |name: &String| find(name).with_context(|| format!("{name:?} is none of {known}"));
    names.iter().map(one).collect()
}

fn require_tools() -> Result<()> {
    let answers = |program: OsString, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    ensure!(
        answers(cargo(), &["fuzz", "--version"]),
        "cargo-fuzz is not there: `cargo install cargo-fuzz` brings it"
    );
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    ensure!(
        answers(compiler, &["--version"]),
        "a C++ compiler is not there: libFuzzer needs one, `apt-get install g++` or the like brings it"
    );
    Ok(())
}

fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// `cargo fuzz run` of a target, still without inputs. The flags that it gives to the compiler are
/// unstable; the compiler is the stable one nevertheless.
fn fuzz(root: &Path, arguments: &Arguments, target: &Target) -> Command {
    let mut command = Command::new(cargo());
    command.current_dir(root).env("RUSTC_BOOTSTRAP", "1");
    command.args(["fuzz", "run", "--sanitizer", arguments.sanitizer.name()]);
    let folder = match arguments.sanitizer {
        Sanitizer::None => "target/fuzz",
        Sanitizer::Address => "target/fuzz-address",
    };
    command.args(["--target-dir", folder, target.name]);
    command
}

fn limits(target: &Target) -> [String; 3] {
    [
        format!("-timeout={HANG_SECONDS}"),
        format!("-rss_limit_mb={RSS_MIB_MAX}"),
        format!("-max_len={}", target.len_max),
    ]
}

/// Both corpora of a target: what runs find, and what is committed.
fn corpora(root: &Path, target: &Target) -> Result<[PathBuf; 2]> {
    let found = root.join("target/fuzz-corpus").join(target.name);
    std::fs::create_dir_all(&found).with_context(|| format!("creating {}", found.display()))?;
    Ok([found, root.join("fuzz/corpus").join(target.name)])
}

fn look(root: &Path, arguments: &Arguments, target: &Target) -> Result<Summary> {
    let seconds = (arguments.minutes * 60.0).round();
    ensure!((1.0..1e6).contains(&seconds), "{} minutes", arguments.minutes);
    let mut command = fuzz(root, arguments, target);
    command.args(corpora(root, target)?).arg("--").args(limits(target));
    command.args([format!("-max_total_time={seconds}"), "-print_final_stats=1".to_owned()]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let stderr = child.stderr.take().context("it is piped")?;
    let mut summary = Summary::default();
    let mut last_lines = std::collections::VecDeque::new();
    for line in BufReader::new(stderr).lines() {
        let line = line.context("what cargo fuzz says")?;
        summary.note(&line);
        last_lines.push_back(line);
        if last_lines.len() > 60 {
            last_lines.pop_front();
        }
    }
    let status = child.wait()?;
    if !status.success() {
        last_lines.iter().for_each(|line| eprintln!("{line}"));
        ensure!(summary.finding.is_some(), "cargo fuzz run {}: {status}", target.name);
    }
    Ok(summary)
}

/// Copies inputs into the committed corpus that together reach what all reach, smallest first, as
/// long as the folder stays small.
fn keep(root: &Path, arguments: &Arguments, target: &Target) -> Result<()> {
    let [found, committed] = corpora(root, target)?;
    let cover = root.join("target/fuzz-cover").join(target.name);
    if cover.is_dir() {
        std::fs::remove_dir_all(&cover).with_context(|| format!("emptying {}", cover.display()))?;
    }
    std::fs::create_dir_all(&cover).with_context(|| format!("creating {}", cover.display()))?;
    let mut command = fuzz(root, arguments, target);
    command.args([&cover, &committed, &found]).arg("--").args(limits(target));
    let output = command.arg("-set_cover_merge=1").output()?;
    ensure!(output.status.success(), "merging into the corpus of {}", target.name);
    let there = contents(&committed)?;
    let mut total: usize = there.iter().map(|(_, bytes)| bytes.len()).sum();
    let mut new = contents(&cover)?;
    new.retain(|(_, bytes)| there.iter().all(|(_, other)| other != bytes));
    new.sort_by_key(|(_, bytes)| bytes.len());
    for (file, bytes) in new {
        total += bytes.len();
        if total > FOLDER_BYTES_MAX {
            break;
        }
        let name = file.file_name().context("a file of the corpus")?;
        std::fs::write(committed.join(name), bytes).context("writing into the corpus")?;
    }
    Ok(())
}

fn contents(folder: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = Vec::new();
    let failed = || format!("reading {}", folder.display());
    for entry in std::fs::read_dir(folder).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        files.push((path.clone(), std::fs::read(&path).with_context(failed)?));
    }
    Ok(files)
}

impl Summary {
    /// Takes note of a line that libFuzzer printed.
    fn note(&mut self, line: &str) {
        let number = |text: &str| text.trim().parse::<u64>().ok();
        if let Some(rest) = line.strip_prefix('#') {
            let mut words = rest.split_whitespace().skip_while(|word| *word != "cov:");
            if let Some(reached) = words.nth(1).and_then(number) {
                let (first, _) = self.coverage.unwrap_or((reached, reached));
                // What the first inputs reach is known when the last of them has run.
                let first = if rest.contains("INITED") { reached } else { first };
                self.coverage = Some((first, reached));
            }
            if let Some(count) = rest.split_whitespace().next().and_then(number) {
                self.executions = self.executions.max(count);
            }
        } else if let Some((name, value)) =
            line.strip_prefix("stat::").and_then(|s| s.split_once(':'))
        {
            let value = number(value).unwrap_or(0);
            match name {
                "number_of_executed_units" => self.executions = value,
                "average_exec_per_sec" => self.per_second = value,
                "new_units_added" => self.new_inputs = value,
                "peak_rss_mb" => self.peak_mib = value,
                _ => {}
            }
        } else if let Some((_, file)) = line.split_once("Test unit written to ") {
            self.finding = Some(file.trim().to_owned());
        }
    }
}

const HEAD: &str = "\
| target          | executions |  /s   | edges at first | edges | new inputs | peak MiB | finding |
|-----------------|-----------:|------:|---------------:|------:|-----------:|---------:|---------|
";

fn row(name: &str, summary: &Summary) -> String {
    let Summary { executions, per_second, coverage, new_inputs, peak_mib, finding } = summary;
    let (first, edges) = coverage.unwrap_or_default();
    let finding = finding.as_deref().unwrap_or("none");
    format!(
        "| {name:15} | {executions:10} | {per_second:5} | {first:14} | {edges:5} | {new_inputs:10} | \
         {peak_mib:8} | {finding:7} |"
    )
}
