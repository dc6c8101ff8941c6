//! `cargo xtask ci` and `cargo xtask test`: everything continuous integration does, and nothing it
//! does anywhere else.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::tidy;

/// An example that says so in its text is built but not run: it needs arguments or takes long.
const BUILD_ONLY: &str = "ci: build only";

/// Runs every step in order and stops at the first that fails. Prints each step's duration.
pub(crate) fn run(root: &Path) -> Result<()> {
    type Step = (&'static str, fn(&Path) -> Result<()>);
    let steps: [Step; 12] = [
        ("format", |root| cargo(root, &["fmt", "--all", "--check"])),
        ("tidy", tidy::run),
        ("clippy", |root| {
            let arguments = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
            cargo(root, &arguments)
        }),
        ("tests", |root| run_tests(root, &[])),
        ("doctests", doctests),
        ("docs", docs),
        ("examples", examples),
        ("crash", |root| xtask(root, &["crash", "--ci"])),
        ("planted", |root| xtask(root, &["crash", "--planted"])),
        ("disks", |root| xtask(root, &["disks"])),
        ("kill", |root| xtask(root, &["kill", "--rounds", "40"])),
        ("demo", |root| xtask(root, &["demo"])),
    ];
    let mut durations = Vec::new();
    for (name, step) in steps {
        println!("==> {name}");
        let start = Instant::now();
        let result = step(root);
        let duration = start.elapsed();
        durations.push((name, duration));
        match &result {
            Ok(()) => println!("    {name}: ok, {}", seconds(duration)),
            Err(_) => println!("    {name}: FAILED after {}", seconds(duration)),
        }
        result.with_context(|| format!("step `{name}`"))?;
    }
    println!("==> all steps passed");
    for (name, duration) in &durations {
        println!("    {name:10} {:>9}", seconds(*duration));
    }
    let total = durations.iter().map(|(_, duration)| *duration).sum();
    println!("    {:10} {:>9}", "total", seconds(total));
    Ok(())
}

/// All tests, doctests included; with a filter, only the tests it names.
pub(crate) fn test(root: &Path, filter: &[String]) -> Result<()> {
    run_tests(root, filter)?;
    if filter.is_empty() { doctests(root) } else { Ok(()) }
}

/// Unit and integration tests, by nextest where it is installed.
fn run_tests(root: &Path, filter: &[String]) -> Result<()> {
    let with_nextest = Command::new(cargo_path())
        .args(["nextest", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let mut arguments = if with_nextest {
        vec!["nextest", "run", "--workspace"]
    } else {
        vec!["test", "--workspace", "--lib", "--bins", "--tests"]
    };
    arguments.extend(filter.iter().map(String::as_str));
    cargo(root, &arguments)
}

/// The ignored tests that write golden files, each in the crate whose format it is.
pub(crate) fn golden(root: &Path) -> Result<()> {
    for package in ["wal", "sstable", "diskhash", "engine"] {
        let arguments = ["test", "--package", package, "--test", "it", "--", "--ignored"];
        cargo(root, &[&arguments[..], &["write_the_golden"]].concat())?;
    }
    Ok(())
}

fn doctests(root: &Path) -> Result<()> {
    cargo(root, &["test", "--workspace", "--doc"])
}

fn docs(root: &Path) -> Result<()> {
    let mut command = Command::new(cargo_path());
    command.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    finish(command.current_dir(root))
}

/// Builds all examples of the component crates, then runs those that run without arguments.
fn examples(root: &Path) -> Result<()> {
    // In the profile of the tests, which built most of it.
    cargo(root, &["build", "--workspace", "--examples", "--profile", "test"])?;
    for (package, example) in runnable_examples(root)? {
        println!("    example {package}/{example}");
        let arguments =
            ["run", "--quiet", "--profile", "test", "--package", &package, "--example", &example];
        cargo(root, &arguments)?;
    }
    Ok(())
}

/// (package, example) of every file in `crates/*/examples` that is not marked, in order.
fn runnable_examples(root: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for package in entries(&root.join("crates"))? {
        let folder = package.join("examples");
        let files = if folder.is_dir() { entries(&folder)? } else { Vec::new() };
        for file in files.iter().filter(|file| file.extension().is_some_and(|kind| kind == "rs")) {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("reading {}", file.display()))?;
            if !text.contains(BUILD_ONLY) {
                found.push((stem(&package), stem(file)));
            }
        }
    }
    Ok(found)
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listing =
        std::fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))?;
    let mut paths = Vec::new();
    for entry in listing {
        paths.push(entry.with_context(|| format!("listing {}", folder.display()))?.path());
    }
    paths.sort();
    Ok(paths)
}

fn cargo_path() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<()> {
    finish(Command::new(cargo_path()).args(arguments).current_dir(root))
}

/// Another command of these tools, as a user runs it.
fn xtask(root: &Path, arguments: &[&str]) -> Result<()> {
    cargo(root, &[&["run", "--release", "--package", "xtask", "--"], arguments].concat())
}

/// Runs a command to its end; anything but success is an error that names it.
fn finish(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests;
