//! `cargo xtask demo`: the store on real input, through a kill.
//!
//! ```text
//! import a tree -> import it again in a child -> SIGKILL -> reopen -> verify every byte
//!   -> list a prefix in order -> overwrite half -> compact, collect garbage -> verify again
//!   -> transactions -> checkpoint -> verify it -> one table
//! ```
//!
//! Everything is done in a keyspace of each kind; the child's batches go over both.
//!
//! The child names each file over a pipe after its put returned: such a file is *acknowledged*,
//! and each acknowledged file must be there after the kill, whatever the durability policy.

mod files;
mod import;
mod verify;
mod table;

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use engine::{Db, Durability, ErrorKind, Keyspace, Options, Stats};
use indicatif::{ProgressBar, ProgressStyle};
use walkdir::WalkDir;
use xtask::kind::Kind;

use crate::durability::Policy;
use files::SourceTree;
use import::{Stored, import};
use table::Table;

/// A keyspace of the demonstration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Space {
    name: &'static str,
    kind: Kind,
}

impl Space {
    /// A keyspace, which would be made new if the store had lost it: the reads then say so.
    fn open(&self, db: &Db) -> anyhow::Result<Keyspace> {
        Ok(db.keyspace(self.name, self.kind.options())?)
    }
}

/// Keyspaces of the first import.
const FIRST: [Space; 2] =
    [Space { name: "files", kind: Kind::Btree }, Space { name: "files by hash", kind: Kind::Hash }];
/// Keyspaces of the import that is killed.
const AGAIN: [Space; 2] = [
    Space { name: "files again", kind: Kind::Btree },
    Space { name: "files again by hash", kind: Kind::Hash },
];
/// What was imported into a keyspace.
type Imported = (Space, Vec<Stored>);
/// What a keyspace holds, with what stands before each file's content.
type Overwritten = (Space, Vec<(Stored, &'static [u8])>);
/// Keys of the listed prefix that are printed.
const LISTED_MAX: usize = 5;

/// What to import, and where to.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Tree of files to import. Default: the sources of this workspace's dependencies, as cargo
    /// downloaded them.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Directory for the database; must be new or empty, and stays. Default: a temporary one.
    #[arg(long)]
    data: Option<PathBuf>,
    /// always, never, bytes=N or interval=MILLISECONDS.
    #[arg(long, default_value = "interval=1000")]
    durability: Policy,
    /// Runs as the child that is to be killed.
    #[arg(long, hide = true, requires = "data")]
    child: bool,
}

/// Runs the demonstration; `Ok` only if everything was verified.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let tree = match &arguments.dir {
        Some(dir) => SourceTree::of_dir(dir)?,
        None => SourceTree::of_dependencies()?,
    };
    if arguments.child {
        let data = arguments.data.as_deref().context("the child is told where the data is")?;
        return import::run_child(&tree, data, arguments.durability.0);
    }
    anyhow::ensure!(!tree.files.is_empty(), "there is no file below {}", tree.name);
    if let Some(data) = &arguments.data {
        ensure_empty(data)?;
        return Demo::new(arguments, tree, data.clone()).run();
    }
    // Beside this program, in the target directory: certainly writable, and a real disk more
    // often than the system's temporary directory is.
    let program = std::env::current_exe().context("find this program")?;
    let parent = program.parent().context("find this program's directory")?;
    let temporary = tempfile::Builder::new().prefix("demo-").tempdir_in(parent)?;
    let result = Demo::new(arguments, tree, temporary.path().join("data")).run();
    if result.is_err() {
        eprintln!("the database is kept in {}", temporary.keep().join("data").display());
    }
    result
}

fn ensure_empty(data: &Path) -> anyhow::Result<()> {
    let mut entries = match std::fs::read_dir(data) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("list {}", data.display()))?,
    };
    anyhow::ensure!(entries.next().is_none(), "{} is not empty", data.display());
    Ok(())
}

/// A running demonstration.
struct Demo<'a> {
    arguments: &'a Arguments,
    tree: SourceTree,
    data: PathBuf,
    table: Table,
    written: Written,
    /// Files whose source changed while the demonstration ran.
    changed: usize,
}

/// Options of every open of the demonstration.
fn options(durability: Durability) -> Options {
    // Below the default, so that half of the files overwritten is more than the bound allows.
    Options::default().durability(durability).total_garbage_max(0.10)
}

impl<'a> Demo<'a> {
    fn new(arguments: &'a Arguments, tree: SourceTree, data: PathBuf) -> Demo<'a> {
        let (table, written) = (Table::default(), Written::default());
        Demo { arguments, tree, data, table, written, changed: 0 }
    }

    fn open(&self) -> anyhow::Result<Db> {
        Ok(Db::open(&self.data, options(self.arguments.durability.0))?)
    }

    fn run(mut self) -> anyhow::Result<()> {
        let (files, bytes) = (self.tree.files.len(), self.tree.bytes());
        println!("{files} files, {bytes} bytes from {}", self.tree.name);
        println!("database in {}", self.data.display());
        if self.tree.skipped > 0 {
            println!("{} entries are no readable files and were skipped", self.tree.skipped);
        }
        let first = self.import_first()?;
        let again = self.import_and_kill(first[0].1.len())?;
        self.reopen_and_verify(&first, &again)?;
        let live = bytes_of(&first) + 2 * again.iter().map(Stored::bytes).sum::<u64>();
        let overwritten = self.overwrite_half(&first)?;
        self.settle(&overwritten, live)?;
        self.transact(&overwritten)?;
        self.checkpoint(&overwritten)?;
        if self.changed > 0 {
            self.table.note("changed meanwhile", format!("{} source files", self.changed));
        }
        println!("\n{}", self.table);
        println!("every byte of every acknowledged file was verified, in both kinds of keyspace");
        Ok(())
    }

    /// Imports the tree once for each kind, flushes, closes.
    fn import_first(&mut self) -> anyhow::Result<Vec<Imported>> {
        let db = self.open()?;
        let mut imported = Vec::new();
        for space in FIRST {
            let keyspace = space.open(&db)?;
            let bar = progress_bar("import", self.tree.bytes());
            let mut stored = Vec::new();
            let clock = Instant::now();
            let unreadable = import(&db, &[keyspace], &self.tree.files, &mut |file| {
                bar.inc(file.len);
                stored.push(file);
                Ok(())
            })?;
            bar.finish_and_clear();
            if unreadable > 0 {
                println!("{unreadable} files could not be read");
            }
            anyhow::ensure!(!stored.is_empty(), "no file could be read");
            let bytes = stored.iter().map(|file| file.len).sum();
            let name = format!("import, {}", space.kind);
            self.table.phase(name, stored.len(), bytes, clock.elapsed());
            imported.push((space, stored));
        }
        let (count, bytes) = total(&imported);
        let clock = Instant::now();
        db.flush()?;
        self.table.phase("flush", count, bytes, clock.elapsed());
        self.written.add(&db.stats());
        db.close()?;
        Ok(imported)
    }

    /// Lets a child import the tree and kills it halfway; returns what it acknowledged.
    fn import_and_kill(&mut self, importable: usize) -> anyhow::Result<Vec<Stored>> {
        let bar = progress_bar("import, to be killed", self.tree.bytes());
        let policy = self.arguments.durability;
        let dir = self.arguments.dir.as_deref();
        let kill_after = importable.div_ceil(2);
        let clock = Instant::now();
        let acknowledged =
            import::kill_child(dir, &self.data, policy, kill_after, &mut |file| bar.inc(file.len))?;
        let time = clock.elapsed();
        bar.finish_and_clear();
        let bytes: u64 = acknowledged.iter().map(|file| file.len).sum();
        let count = acknowledged.len();
        self.table.phase("import until SIGKILL, both", 2 * count, 2 * bytes, time);
        println!("killed the child after {count} acknowledged files, each in both kinds");
        Ok(acknowledged)
    }

    /// The first open after the kill: everything acknowledged is there, and no batch in halves.
    fn reopen_and_verify(&mut self, first: &[Imported], again: &[Stored]) -> anyhow::Result<()> {
        let clock = Instant::now();
        let db = self.open()?;
        let ms = clock.elapsed().as_secs_f64() * 1e3;
        let recovery = db.stats().recovery;
        anyhow::ensure!(!recovery.clean, "the child was killed, but the database says closed");
        let batches = recovery.batches;
        self.table.note("open after the kill", format!("{ms:.1} ms, {batches} batches replayed"));

        let killed = AGAIN.map(|space| (space, again.to_vec()));
        let all = [first, &killed].concat();
        let (count, bytes) = total(&all);
        let bar = progress_bar("verify", bytes);
        let clock = Instant::now();
        for (space, files) in &all {
            let keyspace = space.open(&db)?;
            for file in files {
                self.changed += verify::stored(&keyspace, file, &self.tree, &[])?;
                bar.inc(file.len);
            }
        }
        let mut in_doubt = Vec::new();
        for (space, files) in &all {
            // The batch that the kill interrupted may be there, and then whole.
            let more = usize::from(AGAIN.contains(space));
            let others = verify::nothing_else(&space.open(&db)?, files, more, &self.tree)?;
            in_doubt.extend((more > 0).then_some(others));
        }
        anyhow::ensure!(in_doubt[0] == in_doubt[1], "TORN: half of a batch: {in_doubt:?}");
        bar.finish_and_clear();
        self.table.phase("verify", count, bytes, clock.elapsed());
        self.list_prefix(&db, &first[0])?;
        self.written.add(&db.stats());
        Ok(db.close()?)
    }

    fn list_prefix(&mut self, db: &Db, (space, files): &Imported) -> anyhow::Result<()> {
        let middle = &files[files.len() / 2].key;
        let end = middle.iter().position(|byte| *byte == b'/').map_or(0, |at| at + 1);
        let prefix = &middle[..end];
        let clock = Instant::now();
        let listed = verify::prefix_in_order(&space.open(db)?, prefix, files)?;
        let time = clock.elapsed();
        println!("prefix \"{}\" holds {} keys, in order:", prefix.escape_ascii(), listed.len());
        for (key, len) in listed.iter().take(LISTED_MAX) {
            println!("  {} ({len} bytes)", key.escape_ascii());
        }
        if listed.len() > LISTED_MAX {
            println!("  ... and {} more", listed.len() - LISTED_MAX);
        }
        let bytes = listed.iter().map(|(_, len)| len).sum();
        self.table.phase("list a prefix, both ways", listed.len(), bytes, time);
        Ok(())
    }

    /// Overwrites every other file, in both kinds; returns all files with what stands before their
    /// content now.
    fn overwrite_half(&mut self, first: &[Imported]) -> anyhow::Result<Vec<Overwritten>> {
        const MARK: &[u8] = b"overwritten: ";
        let db = self.open()?;
        let halves = first.iter().flat_map(|(_, files)| files.iter().step_by(2));
        let half = halves.clone().map(|file| file.len).sum();
        let bar = progress_bar("overwrite half", half);
        let clock = Instant::now();
        let mut all = Vec::new();
        for (space, files) in first {
            let keyspace = space.open(&db)?;
            let mut marked = Vec::with_capacity(files.len());
            for (index, file) in files.iter().enumerate() {
                let mark = if index % 2 == 0 { MARK } else { &[] };
                if index % 2 == 0 {
                    let old = keyspace.get(&file.key)?.context("an overwritten file was there")?;
                    keyspace.put(&file.key, [mark, &*old].concat())?;
                    bar.inc(file.len);
                }
                marked.push((file.clone(), mark));
            }
            all.push((*space, marked));
        }
        bar.finish_and_clear();
        self.table.phase("overwrite half, both", halves.count(), half, clock.elapsed());
        self.written.add(&db.stats());
        db.close()?;
        Ok(all)
    }

    /// Merges, collects garbage, and shows what that took and gave; verifies before and after.
    fn settle(&mut self, files: &[Overwritten], live: u64) -> anyhow::Result<()> {
        let before = bytes_on_disk(&self.data)?;
        let amplified_before = self.written.amplification();
        let db = self.open()?;
        self.verify_overwritten("verify overwritten", &db, files)?;
        let clock = Instant::now();
        db.compact()?;
        db.collect_garbage()?;
        let stats = db.stats();
        self.table.phase("compact, collect garbage", 0, stats.gc_read_bytes, clock.elapsed());
        self.written.add(&stats);
        db.close()?;
        let after = bytes_on_disk(&self.data)?;
        let amplified_after = self.written.amplification();
        let ratio = |bytes| table::ratio(bytes, live);
        self.table.note("live bytes", format!("{live}"));
        self.table
            .note("bytes on disk", format!("{before} before garbage collection, {after} after"));
        self.table.note(
            "space amplification",
            format!("{:.2} before, {:.2} after", ratio(before), ratio(after)),
        );
        self.table.note(
            "write amplification",
            format!("{amplified_before:.2} before, {amplified_after:.2} after"),
        );
        let moved = format!(
            "{} bytes written, {} bytes less on disk, {} remap tables",
            stats.gc_written_bytes, stats.gc_reclaimed_bytes, stats.remap_tables
        );
        self.table.note("garbage collection", moved);
        let db = self.open()?;
        self.verify_overwritten("verify collected", &db, files)?;
        let report = db.check()?;
        anyhow::ensure!(report.is_sound(), "check found damage: {:?}", report.damage);
        self.table.note("check", format!("{} files, {} bytes, sound", report.files, report.bytes));
        Ok(db.close()?)
    }

    /// Moves a file from one kind of keyspace to the other and back, each in one transaction; a
    /// transaction that had read it before loses.
    fn transact(&mut self, files: &[Overwritten]) -> anyhow::Result<()> {
        let db = self.open()?;
        let [ordered, hashed] = FIRST.map(|space| space.open(&db));
        let (ordered, hashed) = (ordered?, hashed?);
        let (file, mark) = &files[0].1[0];
        let (from, to) = (&file.key, [&file.key[..], b" (moved)"].concat());
        let clock = Instant::now();
        let mut late = db.transaction();
        anyhow::ensure!(late.get(&ordered, from)?.is_some(), "LOST: a file to move");
        db.transact(|txn| {
            let value = txn.get(&ordered, from)?.expect("it was there, and nobody else writes");
            txn.delete(&ordered, from)?;
            txn.put(&hashed, &to, &*value)
        })?;
        late.put(&hashed, from, "it is still there")?;
        let lost = late.commit().err().context("WRONG: a transaction that read old state won")?;
        anyhow::ensure!(lost.kind() == ErrorKind::Conflict, "{lost}");
        anyhow::ensure!(!ordered.contains(from)?, "WRONG: a moved file is still in its old place");
        db.transact(|txn| {
            let value = txn.get(&hashed, &to)?.expect("it was just put there");
            txn.delete(&hashed, &to)?;
            txn.put(&ordered, from, &*value)
        })?;
        let time = clock.elapsed();
        verify::stored(&ordered, file, &self.tree, mark)?;
        anyhow::ensure!(!hashed.contains(&to)?, "WRONG: a moved file is in two places");
        println!("moved a file between the kinds and back; a transaction that had read it: {lost}");
        self.table.phase("move there and back", 2, 2 * file.len, time);
        drop((ordered, hashed));
        Ok(db.close()?)
    }

    /// Makes a checkpoint, goes on writing, and verifies every byte of the checkpoint.
    fn checkpoint(&mut self, files: &[Overwritten]) -> anyhow::Result<()> {
        let target = checkpoint_dir(&self.data);
        let db = self.open()?;
        let clock = Instant::now();
        db.checkpoint(&target)?;
        let ms = clock.elapsed().as_secs_f64() * 1e3;
        for (space, files) in files {
            space.open(&db)?.put(&files[0].0.key, "written after the checkpoint")?;
        }
        let shared = bytes_shared(&target)?;
        let own = bytes_on_disk(&target)? - shared;
        let note = format!("{ms:.1} ms, {own} bytes of its own, {shared} shared");
        self.table.note("checkpoint", note);
        let copy = Db::open(&target, options(self.arguments.durability.0))?;
        self.verify_overwritten("verify the checkpoint", &copy, files)?;
        let report = copy.check()?;
        anyhow::ensure!(report.is_sound(), "check found damage: {:?}", report.damage);
        copy.close()?;
        for (space, files) in files {
            let newer = space.open(&db)?.get(&files[0].0.key)?;
            let newer = newer.as_deref() == Some(b"written after the checkpoint".as_slice());
            anyhow::ensure!(newer, "WRONG: a checkpoint took a later write with it");
        }
        db.close()?;
        std::fs::remove_dir_all(&target).with_context(|| format!("remove {}", target.display()))
    }

    fn verify_overwritten(
        &mut self,
        phase: &str,
        db: &Db,
        files: &[Overwritten],
    ) -> anyhow::Result<()> {
        let marked = || files.iter().flat_map(|(_, files)| files);
        let bytes = marked().map(|(file, _)| file.len).sum();
        let bar = progress_bar(phase, bytes);
        let clock = Instant::now();
        for (space, files) in files {
            let keyspace = space.open(db)?;
            for (file, mark) in files {
                // A source that changed was counted the first time.
                verify::stored(&keyspace, file, &self.tree, mark)?;
                bar.inc(file.len);
            }
        }
        bar.finish_and_clear();
        self.table.phase(phase, marked().count(), bytes, clock.elapsed());
        Ok(())
    }
}

fn total(imported: &[Imported]) -> (usize, u64) {
    let files = imported.iter().flat_map(|(_, files)| files);
    (files.clone().count(), files.map(|file| file.len).sum())
}

/// Key and value bytes.
fn bytes_of(imported: &[Imported]) -> u64 {
    imported.iter().flat_map(|(_, files)| files).map(Stored::bytes).sum()
}

/// Beside the database, on its file system, so that files can be shared.
fn checkpoint_dir(data: &Path) -> PathBuf {
    let mut name = data.file_name().unwrap_or_default().to_owned();
    name.push("-checkpoint");
    data.with_file_name(name)
}

fn progress_bar(what: &str, bytes: u64) -> ProgressBar {
    let layout = "{msg:22} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}";
    let style = ProgressStyle::with_template(layout).expect("a constant template");
    ProgressBar::new(bytes).with_style(style).with_message(what.to_owned())
}

/// Bytes written over several opens.
#[derive(Default)]
struct Written {
    user: u64,
    files: u64,
}

impl Written {
    fn add(&mut self, stats: &Stats) {
        self.user += stats.user_bytes;
        self.files += stats.log_bytes + stats.flush_bytes + stats.merge_bytes + stats.value_bytes;
        self.files += stats.gc_written_bytes;
    }

    fn amplification(&self) -> f64 {
        table::ratio(self.files, self.user)
    }
}

/// Bytes that a directory's files occupy, those of its directories included.
fn bytes_on_disk(dir: &Path) -> anyhow::Result<u64> {
    bytes_if(dir, |_| true)
}

/// Of these, bytes of files that have another name too.
fn bytes_shared(dir: &Path) -> anyhow::Result<u64> {
    bytes_if(dir, files::is_shared)
}

fn bytes_if(dir: &Path, counts: impl Fn(&Metadata) -> bool) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in WalkDir::new(dir) {
        let metadata = entry?.metadata()?;
        if metadata.is_file() && counts(&metadata) {
            bytes += files::bytes_on_disk(&metadata);
        }
    }
    Ok(bytes)
}
