//! `cargo xtask db`: a database from the command line.
//!
//! Exit codes: 0 done, 1 the key is not there, 2 damage found, 3 any other error.

mod escape;
mod input;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use engine::{Db, ErrorKind, Keyspace, KeyspaceStats, Options, Stats, WriteOptions};
use indicatif::{ProgressBar, ProgressStyle};
use xtask::kind::Kind;

use escape::{escape, unescape};
use input::Format;

/// Entries and bytes of one atomic batch of a load.
const BATCH_ENTRIES: usize = 1_000;
const BATCH_BYTES: usize = 1 << 20;

/// Which database and keyspace.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Directory of the database.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Name of the keyspace.
    #[arg(long)]
    keyspace: String,
}

/// What to do with a database.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Puts every entry of a text into a keyspace; creates both if they are missing.
    Load {
        #[command(flatten)]
        place: Place,
        /// Kind of the keyspace, if it is to be made. Default: btree; of one that is there, its
        /// own, and another is an error.
        #[arg(long, value_enum, alias = "index")]
        kind: Option<Kind>,
        /// How the text is laid out.
        #[arg(long, value_enum, default_value_t = Format::Tsv)]
        format: Format,
        /// The text; `-` is standard input.
        file: PathBuf,
    },
    /// Writes the value of a key to standard output, byte for byte; exit code 1 if there is none.
    Get {
        #[command(flatten)]
        place: Place,
        /// The key, with the escapes \t \n \\ \xHH.
        key: String,
    },
    /// Writes key<TAB>value lines, with the escapes \t \n \\ \xHH, in key order; of a hash keyspace
    /// in any order, and only all of them.
    Scan {
        #[command(flatten)]
        place: Place,
        /// Only keys that start with this; escapes as in a key.
        #[arg(long)]
        prefix: Option<String>,
        /// From the last key to the first.
        #[arg(long)]
        reverse: bool,
        /// At most this many entries.
        #[arg(long)]
        limit: Option<usize>,
    },
    /// Removes a key; it need not be there.
    Delete {
        #[command(flatten)]
        place: Place,
        /// The key, with the escapes \t \n \\ \xHH.
        key: String,
    },
    /// Moves everything out of memory and merges every index into one sorted run.
    Compact {
        /// Directory of the database.
        dir: PathBuf,
    },
    /// Rewrites value files until what is known to be garbage is within the bound.
    Collect {
        /// Directory of the database.
        dir: PathBuf,
        /// Share of all value bytes that may be garbage. Default: the engine's.
        #[arg(long, value_name = "SHARE")]
        garbage_max: Option<f64>,
    },
    /// Makes a second database of the present state, sharing the files that never change.
    Checkpoint {
        /// Directory of the database.
        dir: PathBuf,
        /// Directory of the second one; must be new or empty.
        target: PathBuf,
    },
    /// Prints the numbers of a database.
    Stats {
        /// Directory of the database.
        dir: PathBuf,
    },
    /// Reads and verifies every byte of every file; exit code 2 and file and offset on damage.
    Check {
        /// Directory of the database.
        dir: PathBuf,
    },
}

/// Runs one command and says how it went.
pub(crate) fn run(command: &Command) -> ExitCode {
    let result = match command {
        Command::Load { place, kind, format, file } => load(place, *kind, *format, file),
        Command::Get { place, key } => get(place, key),
        Command::Scan { place, prefix, reverse, limit } => {
            scan(place, prefix.as_deref(), *reverse, *limit)
        }
        Command::Delete { place, key } => delete(place, key),
        Command::Compact { dir } => change(dir, Options::default(), |db| db.compact()),
        Command::Collect { dir, garbage_max } => collect(dir, *garbage_max),
        Command::Checkpoint { dir, target } => {
            change(dir, Options::default(), |db| db.checkpoint(target))
        }
        Command::Stats { dir } => stats(dir),
        Command::Check { dir } => check(dir),
    };
    let error = match result {
        Ok(code) => return ExitCode::from(code),
        Err(error) => error,
    };
    // Whoever reads our output has seen enough, as in `scan | head`.
    if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {error:#}");
    let damaged = |error: &engine::Error| error.kind() == ErrorKind::Corrupt;
    ExitCode::from(if error.downcast_ref().is_some_and(damaged) { 2 } else { 3 })
}

fn load(place: &Place, kind: Option<Kind>, format: Format, file: &Path) -> anyhow::Result<u8> {
    // The text comes first: a mistyped name creates no database.
    let (text, len): (Box<dyn Read>, Option<u64>) = if file.as_os_str() == OsStr::new("-") {
        (Box::new(io::stdin().lock()), None)
    } else {
        let open = || {
            let file = File::open(file)?;
            let metadata = file.metadata()?;
            let len = metadata.is_file().then_some(metadata.len());
            io::Result::Ok((Box::new(file), len))
        };
        let (file, len) = open().with_context(|| format!("open {}", file.display()))?;
        (file, len)
    };
    let db = Db::open(&place.dir, Options::default())?;
    let known = db.keyspaces()?;
    let there = known.iter().find(|(name, _)| *name == place.keyspace);
    let kind = kind.or_else(|| there.map(|(_, kind)| Kind::of(*kind))).unwrap_or(Kind::Btree);
    let keyspace = db.keyspace(&place.keyspace, kind.options())?;
    let bar = progress_bar(len);
    let mut loaded = 0;
    let reader = BufReader::with_capacity(1 << 16, bar.wrap_read(text));
    let result = load_entries(&db, &keyspace, input::entries(format, reader), &mut loaded);
    bar.finish_and_clear();
    db.close()?;
    match result {
        Ok(()) => writeln!(io::stdout(), "{loaded} entries loaded")?,
        Err(error) => {
            return Err(error.context(format!("stopped; {loaded} entries before it are loaded")));
        }
    }
    Ok(0)
}

/// Puts entries batch by batch; `loaded` counts those that are in, also after an error.
fn load_entries(
    db: &Db,
    keyspace: &Keyspace,
    entries: impl Iterator<Item = anyhow::Result<input::Entry>>,
    loaded: &mut usize,
) -> anyhow::Result<()> {
    let mut batch = db.batch();
    let mut batch_bytes = 0;
    let mut end = Ok(());
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                end = Err(error);
                break;
            }
        };
        // A batch of a single entry is always within the engine's limits.
        let entry_bytes = entry.key.len() + entry.value.len();
        if batch.len() == BATCH_ENTRIES || (batch_bytes + entry_bytes > BATCH_BYTES) {
            *loaded += write(db, &mut batch)?;
            batch_bytes = 0;
        }
        batch.put(keyspace, &entry.key, &entry.value);
        batch_bytes += entry_bytes;
    }
    *loaded += write(db, &mut batch)?;
    end
}

fn write(db: &Db, batch: &mut engine::Batch) -> engine::Result<usize> {
    let full = std::mem::replace(batch, db.batch());
    let count = full.len();
    db.write(full, WriteOptions::default())?;
    Ok(count)
}

fn progress_bar(len: Option<u64>) -> ProgressBar {
    match len {
        None => ProgressBar::new_spinner(),
        Some(len) => {
            let bar = ProgressBar::new(len);
            let layout = "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
            bar.with_style(ProgressStyle::with_template(layout).expect("a constant template"))
        }
    }
}

/// Opens a database that must exist.
fn open(dir: &Path) -> anyhow::Result<Db> {
    Ok(Db::open(dir, Options::default().create_if_missing(false))?)
}

/// Opens a keyspace that must exist.
fn open_keyspace(place: &Place) -> anyhow::Result<(Db, Keyspace)> {
    let db = open(&place.dir)?;
    let known = db.keyspaces()?;
    let name = &place.keyspace;
    let Some((_, kind)) = known.iter().find(|(known, _)| known == name) else {
        let known = known.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
        anyhow::bail!("{} has no keyspace {name:?}; it has: {known}", place.dir.display());
    };
    let keyspace = db.keyspace(name, Kind::of(*kind).options())?;
    Ok((db, keyspace))
}

/// A key or prefix from the command line.
fn argument(text: &str) -> anyhow::Result<Vec<u8>> {
    unescape(text.as_bytes()).map_err(|wrong| anyhow::anyhow!("{text:?}: {wrong}"))
}

fn get(place: &Place, key: &str) -> anyhow::Result<u8> {
    let key = argument(key)?;
    let (db, keyspace) = open_keyspace(place)?;
    let value = keyspace.get(&key)?;
    let code = match &value {
        None => {
            eprintln!("not found");
            1
        }
        Some(value) => {
            let mut out = io::stdout();
            out.write_all(value)?;
            // For eyes only; a pipe or file gets the value and nothing else.
            if out.is_terminal() {
                out.write_all(b"\n")?;
            }
            out.flush()?;
            0
        }
    };
    drop((value, keyspace));
    db.close()?;
    Ok(code)
}

fn scan(
    place: &Place,
    prefix: Option<&str>,
    reverse: bool,
    limit: Option<usize>,
) -> anyhow::Result<u8> {
    let prefix = prefix.map(argument).transpose()?;
    let (db, keyspace) = open_keyspace(place)?;
    let ordered = Kind::of(keyspace.kind()).is_ordered();
    anyhow::ensure!(ordered || !reverse, "{:?} has no order to reverse", place.keyspace);
    let range = match &prefix {
        Some(prefix) => keyspace.prefix(prefix),
        None => keyspace.iter(),
    };
    let limit = limit.unwrap_or(usize::MAX);
    match reverse {
        false => write_lines(range.take(limit))?,
        true => write_lines(range.rev().take(limit))?,
    }
    drop(keyspace);
    db.close()?;
    Ok(0)
}

fn write_lines(
    entries: impl Iterator<Item = engine::Result<(engine::Key, engine::Value)>>,
) -> anyhow::Result<()> {
    let mut out = io::BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut line = Vec::new();
    for entry in entries {
        let (key, value) = entry?;
        line.clear();
        escape(&key, &mut line);
        line.push(b'\t');
        escape(&value, &mut line);
        line.push(b'\n');
        out.write_all(&line)?;
    }
    out.flush()?;
    Ok(())
}

fn delete(place: &Place, key: &str) -> anyhow::Result<u8> {
    let key = argument(key)?;
    let (db, keyspace) = open_keyspace(place)?;
    keyspace.delete(&key)?;
    drop(keyspace);
    db.close()?;
    Ok(0)
}

/// Opens a database, changes it, closes it.
fn change(
    dir: &Path,
    options: Options,
    call: impl FnOnce(&Db) -> engine::Result<()>,
) -> anyhow::Result<u8> {
    let db = Db::open(dir, options.create_if_missing(false))?;
    call(&db)?;
    db.close()?;
    Ok(0)
}

fn collect(dir: &Path, garbage_max: Option<f64>) -> anyhow::Result<u8> {
    let mut options = Options::default();
    if let Some(share) = garbage_max {
        options = options.total_garbage_max(share);
    }
    let mut moved = (0, 0);
    let code = change(dir, options, |db| {
        let before = db.stats();
        db.collect_garbage()?;
        let after = db.stats();
        let written = after.gc_written_bytes - before.gc_written_bytes;
        moved = (written, after.gc_reclaimed_bytes - before.gc_reclaimed_bytes);
        Ok(())
    })?;
    let (written, reclaimed) = moved;
    writeln!(io::stdout(), "{written} bytes written, {reclaimed} bytes less on disk")?;
    Ok(code)
}

fn stats(dir: &Path) -> anyhow::Result<u8> {
    let db = open(dir)?;
    let stats = db.stats();
    db.close()?;
    write_stats(&stats, &mut io::stdout().lock())?;
    Ok(0)
}

fn write_stats(stats: &Stats, out: &mut impl Write) -> io::Result<()> {
    for keyspace in &stats.keyspaces {
        write_keyspace(keyspace, out)?;
    }
    let numbers = [
        ("memtable bytes", stats.memtable_bytes),
        ("value segments", stats.value_segments),
        ("value segment bytes", stats.value_segment_bytes),
        ("known garbage bytes", stats.garbage_bytes),
        ("remap tables", stats.remap_tables),
        ("remap table bytes", stats.remap_bytes),
        ("log segments", stats.log_segments),
        ("retired files", stats.retired_files),
        ("batches replayed", stats.recovery.batches),
    ];
    for (name, number) in numbers {
        writeln!(out, "{name:<25} {number:>14}")?;
    }
    writeln!(out, "{:<25} {:>14}", "closed cleanly before", stats.recovery.clean)?;
    let cuts = [("the log", &stats.recovery.cut), ("the MANIFEST", &stats.recovery.manifest_cut)];
    for (what, cut) in cuts {
        if let Some((file, offset, ignored)) = cut {
            writeln!(out, "{what} ended in {file} at byte {offset}; {ignored} bytes were ignored")?;
        }
    }
    for name in &stats.recovery.quarantined {
        writeln!(out, "set aside: {name}")?;
    }
    if let Some(failure) = &stats.failure {
        writeln!(out, "failure: {failure}")?;
    }
    Ok(())
}

fn write_keyspace(keyspace: &KeyspaceStats, out: &mut impl Write) -> io::Result<()> {
    let kind = Kind::of(keyspace.kind);
    writeln!(out, "keyspace {:?} ({kind})", keyspace.name)?;
    writeln!(out, "  index entries           {:>14}", keyspace.index_entries)?;
    writeln!(out, "  memtable entries        {:>14}", keyspace.memtable_entries)?;
    for (level, (files, bytes)) in keyspace.levels.iter().enumerate() {
        let name = match (kind, level) {
            (Kind::Btree, level) => format!("level {level}"),
            (Kind::Hash, 0) => "runs".to_owned(),
            (Kind::Hash, _) => "partitions".to_owned(),
        };
        let name = format!("{name}: files, bytes");
        writeln!(out, "  {name:<23} {files:>14} {bytes:>14}")?;
    }
    Ok(())
}

fn check(dir: &Path) -> anyhow::Result<u8> {
    let db = open(dir)?;
    let report = db.check()?;
    db.close()?;
    for damage in &report.damage {
        eprintln!("damage: {damage}");
    }
    let mut out = io::stdout().lock();
    let (files, bytes) = (report.files, report.bytes);
    let (entries, records) = (report.entries, report.records);
    writeln!(out, "{files} files, {bytes} bytes, {entries} entries, {records} records verified")?;
    for name in &report.foreign {
        writeln!(out, "not ours: {name}")?;
    }
    for name in &report.quarantined {
        writeln!(out, "set aside: {name}")?;
    }
    writeln!(out, "{}", if report.is_sound() { "sound" } else { "DAMAGED" })?;
    Ok(if report.is_sound() { 0 } else { 2 })
}
