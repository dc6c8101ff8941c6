//! `cargo xtask crash --planted`: shows that the exploration finds every planted bug, and how.
//!
//! ```text
//! bug -> its hunt -> units, one after the other -> first finding
//!     -> the same unit without the bug: no finding
//! ```
//!
//! A hunt is a piece of an exploration. The bugs are only in a build with the feature
//! `planted`, so that without it the command builds and runs itself with it.

use std::path::PathBuf;

use anyhow::Result;

/// How the bugs are hunted.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Threads; each hunts one bug at a time.
    pub threads: usize,
    /// Only bugs whose names contain this.
    pub only: Option<String>,
    /// Where the table goes besides, as Markdown.
    pub markdown: Option<PathBuf>,
}

/// Hunts every bug.
///
/// # Errors
/// If a bug is not found, or something is found without one.
#[cfg(feature = "planted")]
pub fn run(settings: &Settings) -> Result<()> {
    hunt::run(settings)
}

/// Builds this program with the bugs and runs it.
///
/// # Errors
/// Those of the build and of the run.
#[cfg(not(feature = "planted"))]
pub fn run(settings: &Settings) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = std::process::Command::new(cargo);
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    command.args(["run", "--release", "--package", "xtask", "--features", "planted"]);
    command.args(["--target-dir", "target/planted", "--", "crash", "--planted"]);
    command.args(["--threads", &settings.threads.to_string()]);
    if let Some(only) = &settings.only {
        command.args(["--only", only]);
    }
    if let Some(path) = &settings.markdown {
        command.arg("--markdown").arg(std::path::absolute(path)?);
    }
    let status = command.status()?;
    anyhow::ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

#[cfg(feature = "planted")]
mod hints;
#[cfg(feature = "planted")]
mod hunt;
