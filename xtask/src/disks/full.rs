//! A disk that is really full (rows 75, 78, 101; bar R14): filled by the database itself, then by
//! somebody else's file.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::ensure;
use walkdir::WalkDir;

use super::Verdict;
use super::mount::{Ballast, Disk, Mount};
use super::remote::Remote;
use super::serve::Setup;
use super::values::{KEYS, Model};

/// Far more than either disk holds.
const PUTS_MAX: u64 = 50_000;

/// Where a check is.
struct Stage<'a> {
    dir: &'a Path,
    setup: Setup,
    seed: u64,
    model: Model,
    /// The next put.
    next: u64,
}

impl Stage<'_> {
    fn open(&self) -> anyhow::Result<Remote> {
        Remote::open(self.dir, self.setup, self.seed)
    }

    /// Puts until the disk is full, which nothing but `NoSpace` may end.
    fn fill(&mut self, remote: &mut Remote) -> anyhow::Result<u64> {
        let (done, end) = remote.put(&mut self.model, self.next, PUTS_MAX)?;
        self.next += done;
        ensure!(end.is("NoSpace"), "after {done} puts: {end:?}");
        // A second one is refused just so: a full disk is no failure.
        let (more, again) = remote.put(&mut self.model, self.next, 1)?;
        self.next += more;
        ensure!(more == 1 || again.is("NoSpace"), "the put behind a refused one: {again:?}");
        Ok(done)
    }

    /// Puts that must all be acknowledged.
    fn go_on(&mut self, remote: &mut Remote, count: u64) -> anyhow::Result<()> {
        let (done, end) = remote.put(&mut self.model, self.next, count)?;
        self.next += done;
        end.done(&format!("put {done} of {count} with free space"))
    }

    /// Deletes keys and is killed half way; opens again on the full disk and finds all
    /// acknowledged deletes done, and perhaps one more.
    fn kill_and_open(&mut self, remote: Remote, first: u64, count: u64) -> anyhow::Result<Remote> {
        let done = remote.run_and_kill(&format!("delete {first} {count}"), count / 2)?;
        self.model.retain(|key, _| !(first..first + done).contains(key));
        let mut remote = self.open()?;
        if remote.verify(&self.model)? != super::remote::End::Done {
            self.model.remove(&(first + done));
            remote.verify(&self.model)?.done("what was found after the kill")?;
        }
        Ok(remote)
    }
}

/// Runs the whole story on a fresh disk.
pub(super) fn check(work: &Path, disk: Disk, setup: Setup, seed: u64) -> anyhow::Result<Verdict> {
    let mount = match Mount::new(work, disk)? {
        Ok(mount) => mount,
        Err(why) => return Ok(Verdict::Skipped(why)),
    };
    let dir = mount.path().join("data");
    let mut stage = Stage { dir: &dir, setup, seed, model: Model::new(), next: 0 };
    let told = |error: anyhow::Error| error.context(space(mount.path()));
    let filled = by_itself(&mut stage).map_err(told)?;
    let refilled = by_somebody_else(&mut stage, mount.path()).map_err(told)?;
    Ok(Verdict::Fine(format!("full after {filled} puts, and {refilled} beside a foreign file")))
}

/// What is on the disk, for whoever looks into a violation.
fn space(disk: &Path) -> String {
    let mut kinds: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for entry in WalkDir::new(disk).into_iter().flatten().filter(|e| e.file_type().is_file()) {
        let kind = entry.path().extension().unwrap_or_default().to_string_lossy().into_owned();
        let (files, bytes) = kinds.entry(kind).or_default();
        *files += 1;
        *bytes += entry.metadata().map_or(0, |found| found.len());
    }
    let free = vfs::StdFs::open(disk).and_then(|fs| fs.free_space());
    let kinds: Vec<String> = kinds
        .into_iter()
        .map(|(kind, (files, bytes))| format!("{files} {kind} {} KiB", bytes >> 10))
        .collect();
    format!("{} KiB free, {}", free.unwrap_or(0) >> 10, kinds.join(", "))
}

/// The database fills the disk, and frees it again by what it can do without space.
fn by_itself(stage: &mut Stage<'_>) -> anyhow::Result<u64> {
    let mut remote = stage.open()?;
    let filled = stage.fill(&mut remote)?;
    remote.verify(&stage.model)?.done("reads on a full disk")?;
    remote.delete(&mut stage.model, 0, 100)?;
    remote.verify(&stage.model)?.done("reads after deletes on a full disk")?;
    let mut remote = stage.kill_and_open(remote, 100, 200)?;
    remote.delete(&mut stage.model, 300, KEYS * 3 / 4)?;
    for job in ["flush", "compact", "collect", "check"] {
        remote.run(job)?.1.done(job)?;
    }
    remote.verify(&stage.model)?.done("reads after a collection on a full disk")?;
    // What the kill left was set aside, and goes at the open behind a clean close.
    remote.close()?;
    let mut remote = stage.open()?;
    stage.go_on(&mut remote, 300)?;
    remote.verify(&stage.model)?.done("reads after writes went on")?;
    remote.close()?;
    let mut remote = stage.open()?;
    remote.verify(&stage.model)?.done("reads after a close")?;
    remote.run("check")?.1.done("check")?;
    remote.close()?;
    Ok(filled)
}

/// Somebody else's file takes all space while the database is open, and goes later.
fn by_somebody_else(stage: &mut Stage<'_>, disk: &Path) -> anyhow::Result<u64> {
    let mut remote = stage.open()?;
    stage.go_on(&mut remote, 50)?;
    let ballast = Ballast::fill(disk)?;
    let filled = stage.fill(&mut remote)?;
    remote.verify(&stage.model)?.done("reads beside a foreign file")?;
    remote.delete(&mut stage.model, KEYS - 500, 50)?;
    let mut remote = stage.kill_and_open(remote, KEYS - 450, 50)?;
    // Twice: what an open takes of the reserve must do for the next one.
    remote.kill()?;
    remote = stage.open()?;
    remote.verify(&stage.model)?.done("reads after two opens on a full disk")?;
    drop(ballast);
    stage.go_on(&mut remote, 300)?;
    for job in ["compact", "collect", "check"] {
        remote.run(job)?.1.done(job)?;
    }
    remote.verify(&stage.model)?.done("reads after the foreign file went")?;
    remote.close()?;
    let mut remote = stage.open()?;
    remote.verify(&stage.model)?.done("reads after a close")?;
    remote.close()?;
    Ok(filled)
}
