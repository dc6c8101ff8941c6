//! Mappings under pressure: more data than memory, a process that is killed while it appends, a
//! disk that gets full. Experiment 3 of the design; decision 0012 has what came of it.
//!
//! ```text
//! cargo run --release -p benches --bin pressure -- --gib 40 --append mapped
//! cargo run --release -p benches --bin pressure -- --gib 40 --append positional
//! cargo run --release -p benches --bin pressure -- --gib 8 --dir /mnt/small      gets full
//! ```
//!
//! A child fills a database, reads it, writes and reads at once, and goes on to write until it is
//! killed; the parent opens what is left and looks for what was acknowledged. Every value that is
//! read is compared. Every operation is timed.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use benches::dataset::{Dataset, KEY_LEN};
use benches::machine;
use clap::{Parser, ValueEnum};
use engine::{AppendMode, Db, Durability, ErrorKind, Keyspace, KeyspaceOptions, Options};
use hdrhistogram::Histogram;
use vfs::Random;

/// Entries that are looked for after the kill: the last ones, and as many of all.
const LOOKED_FOR: u64 = 100_000;
/// The child says how far it is after so many puts.
const SAY_EVERY: u64 = 256;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Append {
    /// Through a mapping.
    Mapped,
    /// By positional writes.
    Positional,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Kind {
    /// Ordered.
    Btree,
    /// Hashed.
    Hash,
}

#[derive(Parser)]
struct Arguments {
    /// Keys and values to fill with, in GiB.
    #[arg(long, default_value_t = 40)]
    gib: u64,
    /// How the log is written.
    #[arg(long, value_enum, default_value = "mapped")]
    append: Append,
    /// The keyspace's index.
    #[arg(long, value_enum, default_value = "btree")]
    kind: Kind,
    /// Bytes of a value.
    #[arg(long, default_value_t = 1024)]
    value_bytes: usize,
    /// How long is read, and how long is written and read at once.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Where the database is made. Default: beside this program
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The child that will be killed, and its directory.
    #[arg(long, hide = true)]
    child: Option<PathBuf>,
}

impl Arguments {
    fn dataset(&self) -> Dataset {
        let count = (self.gib << 30) / (KEY_LEN + self.value_bytes) as u64;
        Dataset::new(count, self.value_bytes, 1)
    }

    fn open(&self, dir: &Path) -> Result<(Db, Keyspace)> {
        let mode = match self.append {
            Append::Mapped => AppendMode::Mapped,
            Append::Positional => AppendMode::Positional,
        };
        let options = Options::default().durability(Durability::Never).append_mode(mode);
        let db = Db::open(dir, options)?;
        let kind = match self.kind {
            Kind::Btree => KeyspaceOptions::btree(),
            Kind::Hash => KeyspaceOptions::hash(),
        };
        let keyspace = db.keyspace("data", kind)?;
        Ok((db, keyspace))
    }
}

/// Latencies of all operations of a phase.
struct Phase {
    nanos: Histogram<u64>,
    clock: Instant,
}

impl Phase {
    fn new() -> Result<Phase> {
        Ok(Phase { nanos: Histogram::new(3)?, clock: Instant::now() })
    }

    fn time<T>(&mut self, operation: impl FnOnce() -> T) -> Result<T> {
        let clock = Instant::now();
        let result = operation();
        self.nanos.record(u64::try_from(clock.elapsed().as_nanos())?)?;
        Ok(result)
    }

    fn report(&self, name: &str) {
        let micros = |share| self.nanos.value_at_quantile(share) as f64 / 1e3;
        println!(
            "{name}: {} in {:.1} s, {:.0}/s; us: p50 {:.2}, p99 {:.1}, p99.9 {:.1}, p99.99 {:.0}, longest {:.0}",
            self.nanos.len(),
            self.clock.elapsed().as_secs_f64(),
            self.nanos.len() as f64 / self.clock.elapsed().as_secs_f64(),
            micros(0.5),
            micros(0.99),
            micros(0.999),
            micros(0.9999),
            micros(1.0),
        );
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(dir) = &arguments.child {
        return child(&arguments, dir);
    }
    let parent = match &arguments.dir {
        Some(dir) => dir.clone(),
        None => std::env::current_exe()?.parent().context("this program is somewhere")?.to_owned(),
    };
    let scratch = tempfile::Builder::new().prefix("pressure").tempdir_in(parent)?;
    let dir = scratch.path().join("db");
    println!(
        "{} GiB, {} B values, {:?} keyspace, {:?} appends",
        arguments.gib, arguments.value_bytes, arguments.kind, arguments.append
    );
    let acknowledged = run_and_kill(&dir)?;
    let clock = Instant::now();
    let (db, keyspace) = arguments.open(&dir)?;
    println!("open after the kill: {:.3} s", clock.elapsed().as_secs_f64());
    let dataset = arguments.dataset();
    let mut random = Random::new(9);
    let last = (0..LOOKED_FOR.min(acknowledged)).map(|back| acknowledged - 1 - back);
    let some = (0..LOOKED_FOR).map(|_| random.below(acknowledged));
    let mut looked_for = 0;
    for number in last.chain(some) {
        check(&keyspace, &dataset, number)?;
        looked_for += 1;
    }
    println!("{acknowledged} puts acknowledged, {looked_for} of them looked for, none lost");
    Ok(db.close()?)
}

/// Runs the child until it has put for five seconds more, or the disk is full; kills it. Says how
/// many puts it acknowledged.
fn run_and_kill(dir: &Path) -> Result<u64> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).arg("--child").arg(dir).stdout(Stdio::piped());
    let mut child = Killed(command.spawn()?);
    let output = BufReader::new(child.0.stdout.take().context("its output is a pipe")?);
    let (mut acknowledged, mut appending) = (0, None);
    for line in output.lines() {
        let line = line?;
        let Some(number) = line.strip_prefix("acknowledged ") else {
            println!("{line}");
            if line.starts_with("full") {
                break;
            }
            continue;
        };
        acknowledged = number.parse()?;
        if appending.get_or_insert_with(Instant::now).elapsed() > Duration::from_secs(5) {
            break;
        }
    }
    ensure!(acknowledged > 0, "the child ended: {}", child.0.wait()?);
    Ok(acknowledged)
}

/// A child that does not outlive this process's interest.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn check(keyspace: &Keyspace, dataset: &Dataset, number: u64) -> Result<()> {
    let found = keyspace.get(dataset.key(number))?;
    ensure!(found.as_deref() == Some(dataset.value(number)), "entry {number} is lost or wrong");
    Ok(())
}

fn child(arguments: &Arguments, dir: &Path) -> Result<()> {
    let (_db, keyspace) = arguments.open(dir)?;
    let dataset = arguments.dataset();
    let mut done = 0;
    let mut put = |phase: &mut Phase| -> Result<u64> {
        let put = || keyspace.put(dataset.key(done), dataset.value(done));
        match phase.time(put)? {
            Ok(()) => done += 1,
            Err(error) if error.kind() == ErrorKind::NoSpace => {
                println!("acknowledged {done}\nfull: {error}");
                // Until the parent kills us.
                thread::sleep(Duration::from_secs(60));
                bail!("nobody came");
            }
            Err(error) => bail!(error),
        }
        Ok(done)
    };
    let mut fill = Phase::new()?;
    while put(&mut fill)? < dataset.count() {}
    fill.report("fill");
    for thread in machine::thread_times() {
        let (ran, waited) = (thread.ran.as_secs_f64(), thread.waited.as_secs_f64());
        println!("  {}: ran {ran:.1} s, ready but waiting {waited:.1} s", thread.name);
    }

    let filled = dataset.count();
    let stop = AtomicBool::new(false);
    let read = |seed: u64| -> Result<Phase> {
        let (mut phase, mut random) = (Phase::new()?, Random::new(seed));
        while !stop.load(Ordering::Relaxed) {
            let number = random.below(filled);
            phase.time(|| check(&keyspace, &dataset, number))??;
        }
        Ok(phase)
    };
    let seconds = Duration::from_secs(arguments.seconds);
    let reads = thread::scope(|scope| {
        let reader = scope.spawn(|| read(3));
        thread::sleep(seconds);
        stop.store(true, Ordering::Relaxed);
        reader.join().expect("the reader does not panic")
    })?;
    reads.report("gets");
    stop.store(false, Ordering::Relaxed);
    let (writes, reads) = thread::scope(|scope| -> Result<(Phase, Phase)> {
        let reader = scope.spawn(|| read(4));
        let mut writes = Phase::new()?;
        let mut result = Ok(());
        while writes.clock.elapsed() < seconds && result.is_ok() {
            result = put(&mut writes).map(drop);
        }
        stop.store(true, Ordering::Relaxed);
        let reads = reader.join().expect("the reader does not panic")?;
        result.map(|()| (writes, reads))
    })?;
    writes.report("puts beside gets");
    reads.report("gets beside puts");
    let mut more = Phase::new()?;
    let mut output = std::io::stdout().lock();
    loop {
        let done = put(&mut more)?;
        if done.is_multiple_of(SAY_EVERY) {
            writeln!(output, "acknowledged {done}")?;
            output.flush()?;
        }
    }
}
