//! Whose directory it is: a second process, a lost LOCK, no permission to write, signals, files that
//! somebody cuts (rows 75, 91, 106).

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use engine::{AppendMode, ReadMode};
use walkdir::WalkDir;
use xtask::kind::Kind;

use super::mount::{Disk, Mount};
use super::remote::{End, Remote};
use super::serve::Setup;
use super::values::Model;
use super::{Verdict, program};

type Check = fn(&Path, u64) -> anyhow::Result<Verdict>;

/// The checks that need no mount.
pub(super) const CHECKS: &[(&str, Check)] = &[
    ("second process", second_process),
    ("lost lock", lost_lock),
    ("read-only directory", read_only_directory),
    ("SIGTERM", sigterm),
    ("cut before open", cut_before_open),
    ("cut while open", cut_while_open),
];

/// Between two looks at the files of a working store.
const PAUSE: Duration = Duration::from_millis(300);
/// How often one looks.
const LOOKS_MAX: usize = 100;

/// `nobody`, on every Linux.
const NOBODY: u32 = 65_534;

fn setup(read: ReadMode, kind: Kind) -> Setup {
    Setup { append: AppendMode::Mapped, read, kind }
}

const PLAIN: Setup =
    Setup { append: AppendMode::Mapped, read: ReadMode::Mapped, kind: Kind::Btree };

/// A fresh directory below `work`.
fn fresh(work: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let dir = work.join(name);
    std::fs::create_dir(&dir).with_context(|| format!("create {}", dir.display()))?;
    Ok(dir)
}

/// Every file below a directory with its length and bytes.
fn files(dir: &Path) -> anyhow::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in WalkDir::new(dir) {
        let entry = entry?;
        if entry.file_type().is_file() {
            files.insert(entry.path().to_owned(), std::fs::read(entry.path())?);
        }
    }
    Ok(files)
}

/// The files when the holder's background work has nothing left to do: they are the same twice.
fn at_rest(dir: &Path) -> anyhow::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut before = BTreeMap::new();
    for _ in 0..LOOKS_MAX {
        // A file may go while it is looked at.
        let now = files(dir).unwrap_or_default();
        if !now.is_empty() && now == before {
            return Ok(now);
        }
        before = now;
        std::thread::sleep(PAUSE);
    }
    anyhow::bail!("{} never comes to rest", dir.display())
}

/// The files that differ.
fn changed(
    before: &BTreeMap<PathBuf, Vec<u8>>,
    after: &BTreeMap<PathBuf, Vec<u8>>,
) -> Vec<PathBuf> {
    let all = before.keys().chain(after.keys().filter(|path| !before.contains_key(*path)));
    all.filter(|path| before.get(*path) != after.get(*path)).cloned().collect()
}

fn second_process(work: &Path, seed: u64) -> anyhow::Result<Verdict> {
    let work = fresh(work, "second")?;
    let (dir, link) = (work.join("data"), work.join("link"));
    symlink(&dir, &link)?;
    let mut model = Model::new();
    let mut holder = Remote::open(&dir, PLAIN, seed)?;
    holder.put(&mut model, 0, 200)?.1.done("put")?;
    let before = at_rest(&dir)?;
    for path in [&dir, &link] {
        let (_, other) = Remote::start(path, PLAIN, seed)?;
        ensure!(other.is("Locked"), "another process through {}: {other:?}", path.display());
        let (_, same) = holder.run(&format!("again {}", path.display()))?;
        ensure!(same.is("Locked"), "the same process through {}: {same:?}", path.display());
    }
    let changed = changed(&before, &files(&dir)?);
    ensure!(changed.is_empty(), "whoever was locked out changed {changed:?}");
    holder.put(&mut model, 200, 200)?.1.done("put")?;
    holder.kill()?;
    let mut next = Remote::open(&link, PLAIN, seed)?;
    next.verify(&model)?.done("what the killed holder left")?;
    next.close()?;
    Ok(Verdict::Fine("locked out by path and by link, free after kill -9".to_owned()))
}

/// Removing LOCK lets a second process in: the first must notice before it changes a name.
fn lost_lock(work: &Path, seed: u64) -> anyhow::Result<Verdict> {
    let dir = fresh(work, "lost")?.join("data");
    let mut model = Model::new();
    let mut first = Remote::open(&dir, PLAIN, seed)?;
    first.put(&mut model, 0, 30)?.1.done("put")?;
    std::fs::remove_file(dir.join("LOCK"))?;
    let mut second = Remote::open(&dir, PLAIN, seed)?;
    second.verify(&model)?.done("what the first acknowledged")?;
    second.put(&mut model, 30, 10)?.1.done("put")?;
    let before = at_rest(&dir)?;
    for job in ["flush", "compact", "collect", "close"] {
        let (_, end) = first.run(job)?;
        let is_refused = matches!(&end, End::Refused(_, message) if message.contains("LOCK"));
        ensure!(is_refused, "{job} of the one that lost its lock: {end:?}");
    }
    ensure!(files(&dir)? == before, "the one that lost its lock changed something");
    second.put(&mut model, 40, 400)?.1.done("put")?;
    second.verify(&model)?.done("the second's writes")?;
    second.close()?;
    let mut third = Remote::open(&dir, PLAIN, seed)?;
    third.verify(&model)?.done("the second's writes, opened again")?;
    third.run("check")?.1.done("check")?;
    third.close()?;
    Ok(Verdict::Fine("flush, compact, collect and close refused, nothing changed".to_owned()))
}

fn read_only_directory(work: &Path, seed: u64) -> anyhow::Result<Verdict> {
    let work = fresh(work, "read-only")?;
    let (dir, empty) = (work.join("data"), fresh(&work, "empty")?);
    let mut model = Model::new();
    let mut writer = Remote::open(&dir, PLAIN, seed)?;
    writer.put(&mut model, 0, 300)?.1.done("put")?;
    writer.close()?;
    let before = files(&work)?;
    // Root may write anywhere, so somebody else tries; everybody else tries themselves.
    let as_root = std::fs::metadata("/proc/self").is_ok_and(|own| is_root(&own));
    let modes = |dir: u32, file: u32| -> anyhow::Result<()> {
        for entry in WalkDir::new(&work).contents_first(true) {
            let entry = entry?;
            let mode = if entry.file_type().is_dir() { dir } else { file };
            std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    };
    // The parents let everybody through.
    let parents = work.ancestors().skip(1).take(1);
    for parent in parents {
        std::fs::set_permissions(parent, std::fs::Permissions::from_mode(0o755))?;
    }
    modes(0o555, 0o444)?;
    let mut refused = Vec::new();
    for path in [&dir, &empty] {
        let program = match as_root {
            true => as_nobody(work.parent().unwrap_or(&work))?,
            false => program()?,
        };
        match Remote::spawn(program, path, PLAIN, seed) {
            Ok((_, end)) => refused.push(end),
            Err(error) => {
                modes(0o700, 0o600)?;
                return Ok(Verdict::Skipped(format!("no child of another user: {error:#}")));
            }
        }
    }
    modes(0o700, 0o600)?;
    for end in refused {
        let is_clear = matches!(&end, End::Refused(kind, message)
            if kind == "Io" && message.to_lowercase().contains("denied"));
        ensure!(is_clear, "open of a read-only directory: {end:?}");
    }
    ensure!(files(&work)? == before, "a refused open changed something");
    let mut reader = Remote::open(&dir, PLAIN, seed)?;
    reader.verify(&model)?.done("what was there before")?;
    reader.close()?;
    Ok(Verdict::Fine("refused as denied, nothing changed".to_owned()))
}

/// This program, started by `nobody`, who may not come to where it was built.
fn as_nobody(place: &Path) -> anyhow::Result<Command> {
    let copy = place.join("program");
    if !copy.exists() {
        let program = std::env::current_exe().context("find this program")?;
        std::fs::copy(program, &copy).context("copy this program")?;
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755))?;
    }
    let mut command = Command::new(copy);
    command.uid(NOBODY).gid(NOBODY);
    Ok(command)
}

fn is_root(own: &std::fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::uid(own) == 0
}

/// As above, for a disk that takes no writes from anybody.
pub(super) fn read_only_mount(work: &Path, seed: u64) -> anyhow::Result<Verdict> {
    let mount = match Mount::new(work, Disk::Tmpfs)? {
        Ok(mount) => mount,
        Err(why) => return Ok(Verdict::Skipped(why)),
    };
    let dir = mount.path().join("data");
    let mut model = Model::new();
    let mut writer = Remote::open(&dir, PLAIN, seed)?;
    writer.put(&mut model, 0, 300)?.1.done("put")?;
    writer.close()?;
    let before = files(&dir)?;
    mount.set_read_only(true)?;
    for path in [dir.clone(), mount.path().join("new")] {
        let (_, end) = Remote::start(&path, PLAIN, seed)?;
        let is_clear = matches!(&end, End::Refused(kind, message)
            if kind == "Io" && message.to_lowercase().contains("read-only"));
        ensure!(is_clear, "open on a read-only mount: {end:?}");
    }
    ensure!(files(&dir)? == before, "a refused open changed something");
    mount.set_read_only(false)?;
    let mut reader = Remote::open(&dir, PLAIN, seed)?;
    reader.verify(&model)?.done("what was there before")?;
    reader.close()?;
    Ok(Verdict::Fine("refused as read-only, nothing changed".to_owned()))
}

/// Row 106: a handler of the library would keep the process alive.
fn sigterm(work: &Path, seed: u64) -> anyhow::Result<Verdict> {
    let dir = fresh(work, "sigterm")?.join("data");
    let mut model = Model::new();
    let mut child = Remote::open(&dir, PLAIN, seed)?;
    child.put(&mut model, 0, 300)?.1.done("put")?;
    child.run("flush")?.1.done("flush")?;
    let status = child.terminate()?;
    ensure!(status.signal() == Some(15), "SIGTERM ended the child with {status}");
    let mut next = Remote::open(&dir, PLAIN, seed)?;
    next.verify(&model)?.done("what was acknowledged before the signal")?;
    next.close()?;
    Ok(Verdict::Fine("SIGTERM ends the process as if there were no library".to_owned()))
}

/// A closed database with files of both kinds of index, and what it holds.
fn closed(dir: &Path, setup: Setup, seed: u64) -> anyhow::Result<Model> {
    let mut model = Model::new();
    let mut writer = Remote::open(dir, setup, seed)?;
    writer.put(&mut model, 0, 600)?.1.done("put")?;
    writer.run("compact")?.1.done("compact")?;
    writer.close()?;
    Ok(model)
}

/// Cuts a file to so many bytes.
fn cut(path: &Path, len: u64) -> anyhow::Result<()> {
    let file = std::fs::OpenOptions::new().write(true).open(path);
    Ok(file.with_context(|| format!("open {}", path.display()))?.set_len(len)?)
}

/// The files that the MANIFEST names: all but the log and what holds no data.
fn named(dir: &Path) -> anyhow::Result<Vec<(PathBuf, u64)>> {
    let kinds = ["tbl", "val", "run", "part"];
    let is_named = |path: &PathBuf| path.extension().is_some_and(|e| kinds.iter().any(|k| e == *k));
    let files = files(dir)?.into_iter().filter(|(path, _)| is_named(path));
    Ok(files.map(|(path, bytes)| (path, bytes.len() as u64)).collect())
}

/// Row 75: what was cut is told from what was written before anything is mapped.
fn cut_before_open(work: &Path, seed: u64) -> anyhow::Result<Verdict> {
    let work = fresh(work, "cut")?;
    let mut count = 0;
    for kind in Kind::ALL {
        for read in [ReadMode::Mapped, ReadMode::Positional] {
            let setup = setup(read, kind);
            let dir = work.join(format!("{kind}-{read:?}"));
            closed(&dir, setup, seed)?;
            let named = named(&dir)?;
            ensure!(!named.is_empty(), "a flushed database has files");
            for (path, len) in named.into_iter().take(4) {
                let whole = std::fs::read(&path)?;
                for left in [0, len / 2, len - 1] {
                    cut(&path, left)?;
                    let (_, end) = Remote::start(&dir, setup, seed)?;
                    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    let is_clear = matches!(&end, End::Refused(kind, message)
                        if kind == "Corrupt" && message.contains(&name));
                    ensure!(is_clear, "{name} cut to {left} of {len}, {setup}: {end:?}");
                    std::fs::write(&path, &whole)?;
                    count += 1;
                }
            }
            Remote::open(&dir, setup, seed)?.close()?;
        }
    }
    Ok(Verdict::Fine(format!("{count} cuts refused by name")))
}

/// Row 75: without mappings a process lives on when files are cut under it.
fn cut_while_open(work: &Path, seed: u64) -> anyhow::Result<Verdict> {
    let work = fresh(work, "cut-open")?;
    for kind in Kind::ALL {
        let setup = setup(ReadMode::Positional, kind);
        let dir = work.join(kind.to_string());
        let model = closed(&dir, setup, seed)?;
        let mut child = Remote::open(&dir, setup, seed)?;
        // (What we believed: an open that was told nothing changes nothing. What was true: it may
        // merge in the background, and a file was gone between the look and the cut.)
        at_rest(&dir)?;
        for (path, len) in named(&dir)? {
            cut(&path, len / 3)?;
        }
        let end = child.verify(&model)?;
        ensure!(end.is("Corrupt"), "reads of files that were cut, {setup}: {end:?}");
        // It is alive, answers, and serves what needs no file.
        let mut fresh = Model::new();
        let (done, _) = child.put(&mut fresh, 10_000, 5)?;
        let (_, end) = child.run("check")?;
        ensure!(done == 5 && !matches!(end, End::Done), "{done} puts, check: {end:?}");
        child.kill()?;
    }
    Ok(Verdict::Fine("reads say Corrupt, writes go on, the process lives".to_owned()))
}
