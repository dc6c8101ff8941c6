//! Where the database and its checkpoints lie on the disk, and what a checkpoint must hold.
//!
//! ```text
//! root/0000000000000000.db/        the database
//! root/0000000000000001.copy/ ..   the target of each checkpoint; made before the first call
//! ```
//!
//! 1. A checkpoint that was acknowledged opens with exactly the state at its call, whatever the
//!    database did and lost since.
//! 2. One that was not opens so too, or says that it is unfinished.

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use engine::{Db, ErrorKind};
use vfs::sim::SimDisk;
use vfs::{Fs, Kind, Name, SimEnv};

use super::history::{Seen, State, diff, visible};
use super::observe;
use super::plan::Config;

const HOME: Name = Name::new(Kind::new("db"), 0);
const COPY: Kind = Kind::new("copy");

/// Makes the directories of a database and of so many checkpoints, durably.
///
/// # Errors
/// Those of the disk.
pub(super) fn make_places(disk: &SimDisk, copies: usize) -> vfs::Result<()> {
    let root = disk.root();
    root.create_dir(HOME)?;
    for number in 1..=copies {
        root.create_dir(Name::new(COPY, number as u64))?;
    }
    root.sync_dir()
}

/// The database's directory.
///
/// # Errors
/// Those of the disk.
pub(super) fn home(disk: &SimDisk) -> vfs::Result<Arc<dyn Fs>> {
    disk.root().open_dir(HOME)
}

/// Puts another file in the place of the database's lock file.
pub(super) fn replace_lock(disk: &SimDisk) {
    disk.write_file(format!("{HOME}/LOCK"), b"");
}

/// True for the database's directory and what is in it.
pub(super) fn is_home(path: &str) -> bool {
    path.starts_with(&HOME.to_string())
}

/// The directory of checkpoint number `number`, counted from 1.
///
/// # Errors
/// Those of the disk.
pub(super) fn place(disk: &SimDisk, number: usize) -> vfs::Result<Arc<dyn Fs>> {
    disk.root().open_dir(Name::new(COPY, number as u64))
}

/// A checkpoint that a run made.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    /// Everything acknowledged before it.
    pub(super) state: State,
    /// Calls of the file system before it began.
    pub(super) begun: usize,
    /// Calls when it was acknowledged.
    pub(super) done: usize,
}

/// What the oracle allows one checkpoint to be after a crash.
#[derive(Clone)]
pub(super) struct Allowed {
    seen: Seen,
    may_be_whole: bool,
    must_be_whole: bool,
}

/// What is allowed behind `boundary` calls.
pub(super) fn allowed(copies: &[Copy], boundary: usize, clock_ms: u64) -> Vec<Allowed> {
    let at = |copy: &Copy| Allowed {
        seen: visible(&copy.state, clock_ms),
        may_be_whole: copy.begun < boundary,
        must_be_whole: copy.done <= boundary,
    };
    copies.iter().map(at).collect()
}

/// What each checkpoint shows; `None` for one that is unfinished.
pub(super) type Shown = Vec<Option<Seen>>;

/// An error unless every checkpoint shows what it may.
pub(super) fn judge(shown: &Shown, allowed: &[Allowed]) -> Result<()> {
    ensure!(shown.len() == allowed.len(), "{} checkpoints were read", shown.len());
    for (index, (shown, allowed)) in shown.iter().zip(allowed).enumerate() {
        let number = index + 1;
        match shown {
            None => ensure!(!allowed.must_be_whole, "checkpoint {number} is lost"),
            Some(_) if !allowed.may_be_whole => bail!("checkpoint {number} was never begun"),
            Some(seen) => ensure!(
                *seen == allowed.seen,
                "checkpoint {number} is not the state at its call:\n{}",
                diff(&allowed.seen, seen)
            ),
        }
    }
    Ok(())
}

/// Opens and reads every checkpoint of a disk.
///
/// # Errors
/// If one neither opens nor says that it is unfinished, or cannot be read or is not sound.
pub(super) fn read(disk: &SimDisk, sim: &SimEnv, config: Config, count: usize) -> Result<Shown> {
    let one = |number| {
        let shown = read_one(&place(disk, number)?, sim, config);
        shown.with_context(|| format!("checkpoint {number}"))
    };
    (1..=count).map(one).collect()
}

fn read_one(fs: &Arc<dyn Fs>, sim: &SimEnv, config: Config) -> Result<Option<Seen>> {
    let options = config.options().create_if_missing(false);
    let db = match Db::open_on(fs.clone(), sim.env.clone(), options) {
        Ok(db) => db,
        Err(error) if is_unfinished(&error, fs)? => return Ok(None),
        Err(error) => return Err(error).context("open"),
    };
    let seen = observe::read(&db)?;
    observe::check(&db, fs)?;
    db.close().context("close")?;
    Ok(Some(seen))
}

/// True if an open said that it found nothing, or a checkpoint that did not come to its end.
fn is_unfinished(error: &engine::Error, fs: &Arc<dyn Fs>) -> Result<bool> {
    let listing = fs.list()?;
    let is_empty = listing.entries.is_empty() && listing.foreign.is_empty();
    Ok(match error.kind() {
        ErrorKind::NotFound => is_empty,
        ErrorKind::Invalid | ErrorKind::Corrupt => error.to_string().contains("checkpoint"),
        _ => false,
    })
}
