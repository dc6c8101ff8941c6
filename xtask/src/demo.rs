//! `cargo xtask demo`: the store on real input, through a kill.
//!
//! ```text
//! import a tree -> import it again in a child -> SIGKILL -> reopen -> verify every byte
//!   -> list a prefix in order -> overwrite half -> reopen -> verify again -> one table
//! ```
//!
//! The child names each file over a pipe after its put returned: such a file is *acknowledged*,
//! and each acknowledged file must be there after the kill, whatever the durability policy.

mod files;
mod import;
mod verify;
mod table;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use engine::{Db, Durability, Keyspace, KeyspaceOptions, Options, Stats};
use indicatif::{ProgressBar, ProgressStyle};

use crate::durability::Policy;
use files::SourceTree;
use import::{Stored, import};
use table::Table;

/// Keyspace of the first import.
const FIRST: &str = "files";
/// Keyspace of the import that is killed.
const SECOND: &str = "files again";
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
    /// Files whose source changed while the demonstration ran.
    changed: usize,
}

/// Options of every open of the demonstration.
fn options(durability: Durability) -> Options {
    Options::default().durability(durability)
}

impl<'a> Demo<'a> {
    fn new(arguments: &'a Arguments, tree: SourceTree, data: PathBuf) -> Demo<'a> {
        Demo { arguments, tree, data, table: Table::default(), changed: 0 }
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

        let (first, stats) = self.import_first()?;
        let mut written = Written::default();
        written.add(&stats);
        let second = self.import_and_kill(first.len())?;

        let clock = Instant::now();
        let db = self.open()?;
        let open_time = clock.elapsed();
        let recovery = db.stats().recovery;
        anyhow::ensure!(!recovery.clean, "the child was killed, but the database says closed");

        self.verify_all(&db, &first, &second)?;
        self.list_prefix(&db, &first)?;
        let overwritten = self.overwrite_half(&db, &first)?;
        written.add(&db.stats());
        db.close()?;

        let db = self.open()?;
        self.verify_overwritten(&db, &overwritten)?;
        let report = db.check()?;
        anyhow::ensure!(report.is_sound(), "check found damage: {:?}", report.damage);
        self.table.note("check", format!("{} files, {} bytes, sound", report.files, report.bytes));
        db.close()?;

        let ms = open_time.as_secs_f64() * 1e3;
        let batches = recovery.batches;
        self.table.note("open after the kill", format!("{ms:.1} ms, {batches} batches replayed"));
        self.table.note("write amplification", format!("{:.2}", written.amplification()));
        self.table.note("bytes on disk", format!("{}", bytes_on_disk(&self.data)?));
        if self.changed > 0 {
            self.table.note("changed meanwhile", format!("{} source files", self.changed));
        }
        println!("\n{}", self.table);
        println!("every byte of every acknowledged file was verified");
        Ok(())
    }

    /// Imports the tree, flushes, closes.
    fn import_first(&mut self) -> anyhow::Result<(Vec<Stored>, Stats)> {
        let db = self.open()?;
        let keyspace = db.keyspace(FIRST, KeyspaceOptions::btree())?;
        let bar = progress_bar("import", self.tree.bytes());
        let mut stored = Vec::new();
        let clock = Instant::now();
        let unreadable = import(&keyspace, &self.tree.files, &mut |file| {
            bar.inc(file.len);
            stored.push(file);
            Ok(())
        })?;
        let time = clock.elapsed();
        bar.finish_and_clear();
        if unreadable > 0 {
            println!("{unreadable} files could not be read");
        }
        anyhow::ensure!(!stored.is_empty(), "no file could be read");
        let bytes = stored.iter().map(|file| file.len).sum();
        self.table.phase("import", stored.len(), bytes, time);
        let clock = Instant::now();
        db.flush()?;
        self.table.phase("flush", stored.len(), bytes, clock.elapsed());
        let stats = db.stats();
        drop(keyspace);
        db.close()?;
        Ok((stored, stats))
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
        let bytes = acknowledged.iter().map(|file| file.len).sum();
        self.table.phase("import until SIGKILL", acknowledged.len(), bytes, time);
        println!("killed the child after {} acknowledged files", acknowledged.len());
        Ok(acknowledged)
    }

    fn verify_all(&mut self, db: &Db, first: &[Stored], second: &[Stored]) -> anyhow::Result<()> {
        let bytes = |files: &[Stored]| files.iter().map(|file| file.len).sum::<u64>();
        let bar = progress_bar("verify", bytes(first) + bytes(second));
        let clock = Instant::now();
        for (name, files) in [(FIRST, first), (SECOND, second)] {
            let keyspace = open_existing(db, name)?;
            for file in files {
                self.changed += verify::stored(&keyspace, file, &self.tree, &[])?;
                bar.inc(file.len);
            }
        }
        verify::nothing_else(&open_existing(db, FIRST)?, first, 0, &self.tree)?;
        // The put that the kill interrupted may be there, and then whole.
        verify::nothing_else(&open_existing(db, SECOND)?, second, 1, &self.tree)?;
        bar.finish_and_clear();
        let count = first.len() + second.len();
        self.table.phase("verify", count, bytes(first) + bytes(second), clock.elapsed());
        Ok(())
    }

    fn list_prefix(&mut self, db: &Db, first: &[Stored]) -> anyhow::Result<()> {
        let middle = &first[first.len() / 2].key;
        let end = middle.iter().position(|byte| *byte == b'/').map_or(0, |at| at + 1);
        let prefix = &middle[..end];
        let clock = Instant::now();
        let listed = verify::prefix_in_order(&open_existing(db, FIRST)?, prefix, first)?;
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

    /// Overwrites every other file; returns all files with what stands before their content now.
    fn overwrite_half(
        &mut self,
        db: &Db,
        first: &[Stored],
    ) -> anyhow::Result<Vec<(Stored, &'static [u8])>> {
        const MARK: &[u8] = b"overwritten: ";
        let keyspace = open_existing(db, FIRST)?;
        let half = first.iter().step_by(2).map(|file| file.len).sum();
        let bar = progress_bar("overwrite half", half);
        let clock = Instant::now();
        let mut all = Vec::with_capacity(first.len());
        for (index, file) in first.iter().enumerate() {
            let mark = if index % 2 == 0 { MARK } else { &[] };
            if index % 2 == 0 {
                let old = keyspace.get(&file.key)?.context("an overwritten file was verified")?;
                keyspace.put(&file.key, [mark, &*old].concat())?;
                bar.inc(file.len);
            }
            all.push((file.clone(), mark));
        }
        bar.finish_and_clear();
        self.table.phase("overwrite half", first.len().div_ceil(2), half, clock.elapsed());
        Ok(all)
    }

    fn verify_overwritten(
        &mut self,
        db: &Db,
        files: &[(Stored, &'static [u8])],
    ) -> anyhow::Result<()> {
        let bytes = files.iter().map(|(file, _)| file.len).sum();
        let bar = progress_bar("verify again", bytes);
        let keyspace = open_existing(db, FIRST)?;
        let clock = Instant::now();
        for (file, mark) in files {
            // A source that changed was counted the first time.
            verify::stored(&keyspace, file, &self.tree, mark)?;
            bar.inc(file.len);
        }
        bar.finish_and_clear();
        self.table.phase("verify again", files.len(), bytes, clock.elapsed());
        Ok(())
    }
}

/// A keyspace, which would be made new if the store had lost it: the reads then say so.
fn open_existing(db: &Db, name: &str) -> anyhow::Result<Keyspace> {
    Ok(db.keyspace(name, KeyspaceOptions::btree())?)
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
    }

    fn amplification(&self) -> f64 {
        table::ratio(self.files, self.user)
    }
}

/// Bytes that the directory's files occupy.
fn bytes_on_disk(dir: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        bytes += files::bytes_on_disk(&entry?.metadata()?);
    }
    Ok(bytes)
}
