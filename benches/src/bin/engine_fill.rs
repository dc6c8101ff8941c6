//! Fills a database and reads it again, one thread: the floors of the engine.
//!
//! ```text
//! cargo run --release -p benches --bin engine_fill                     all, three runs each
//! cargo run --release -p benches --bin engine_fill -- --kind hash --workload put --runs 1 --entries 200000
//! ```
//!
//! Every run is a process of its own, so that memory and caches of one do not help the next; the
//! page cache of the system stays warm between closing and opening. Every value that is read is
//! compared.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use benches::dataset::{Dataset, KEY_LEN};
use benches::latency::Sampler;
use benches::machine;
use benches::record::{self, Measurements};
use clap::{Parser, ValueEnum};
use engine::{Db, Durability, Keyspace, KeyspaceOptions, Options, Stats, WriteOptions};
use vfs::Random;

/// Entries of one batch.
const BATCH_ENTRIES: u64 = 1_000;
/// Entries of a short scan, and how many of these are made.
const SCAN_ENTRIES: usize = 100;
const SCANS: u64 = 20_000;

#[derive(Parser)]
struct Arguments {
    /// Entries; for `large` half of it.
    #[arg(long, default_value_t = 2_000_000)]
    entries: u64,
    /// Runs of each workload; the medians count.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Only this workload.
    #[arg(long, value_enum)]
    workload: Option<Workload>,
    /// Only this kind of index.
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Where databases are made. Default: beside this program.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Writes the tables to this file too, and the numbers beside it as .json.
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Runs one workload once and prints JSON.
    #[arg(long, hide = true)]
    once: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Workload {
    /// Single unsynced puts of 150-byte values, then reads.
    Put,
    /// Batches of 1,000 entries of 150 bytes.
    Batch,
    /// Single unsynced puts of 1 KiB values, then reads.
    Large,
    /// Puts of 150-byte values, each key overwritten once, then everything settled.
    Settle,
    /// The same with 1 KiB values.
    SettleLarge,
    /// As `Settle`, but only half of the keys are overwritten: collecting must move the others.
    SettleHalf,
}

/// Which index the keyspace has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Kind {
    /// Ordered.
    Btree,
    /// Hashed.
    Hash,
}

impl Kind {
    /// A keyspace of this kind.
    fn keyspace(self, db: &Db) -> engine::Result<Keyspace> {
        match self {
            Kind::Btree => db.keyspace("ordered", KeyspaceOptions::btree()),
            Kind::Hash => db.keyspace("hashed", KeyspaceOptions::hash()),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Btree => "B-tree",
            Kind::Hash => "hash",
        }
    }
}

/// What one process measures.
#[derive(Clone, Copy, Debug)]
struct Case {
    kind: Kind,
    workload: Workload,
}

impl Workload {
    const ALL: [Workload; 6] = [
        Workload::Put,
        Workload::Batch,
        Workload::Large,
        Workload::Settle,
        Workload::SettleLarge,
        Workload::SettleHalf,
    ];

    fn dataset(self, entries: u64) -> Dataset {
        match self {
            Workload::Put | Workload::Batch | Workload::Settle | Workload::SettleHalf => {
                Dataset::new(entries, 150, 1)
            }
            Workload::Large | Workload::SettleLarge => Dataset::new(entries.div_ceil(2), 1024, 1),
        }
    }

    fn title(self, dataset: &Dataset) -> String {
        let what = match self {
            Workload::Put => "single unsynced puts, 150-byte values",
            Workload::Batch => "unsynced batches of 1,000, 150-byte values",
            Workload::Large => "single unsynced puts, 1 KiB values",
            Workload::Settle => "150-byte values, all overwritten once, settled",
            Workload::SettleLarge => "1 KiB values, all overwritten once, settled",
            Workload::SettleHalf => "150-byte values, every other overwritten, settled",
        };
        format!("{} entries, {KEY_LEN}-byte keys, {what}", dataset.count())
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.once {
        let workload = arguments.workload.context("--once runs one workload")?;
        let kind = arguments.kind.context("--once runs one kind")?;
        let dir = arguments.dir.as_deref().context("--once is told where")?;
        let dataset = workload.dataset(arguments.entries);
        let measurements = match workload {
            Workload::Settle | Workload::SettleLarge => {
                settle(kind, &dataset, dataset.count(), dir)?
            }
            Workload::SettleHalf => settle(kind, &dataset, dataset.count() / 2, dir)?,
            _ => run_once(Case { kind, workload }, &dataset, dir)?,
        };
        println!("{}", serde_json::to_string(&measurements)?);
        return Ok(());
    }
    let program = std::env::current_exe().context("find this program")?;
    let parent = match &arguments.dir {
        Some(dir) => dir.clone(),
        None => program.parent().context("this program has a directory")?.to_owned(),
    };
    let mut text = format!("{}\n\n", machine::description());
    let mut numbers = Vec::new();
    let kinds = [Kind::Btree, Kind::Hash];
    let cases =
        kinds.into_iter().flat_map(|kind| Workload::ALL.map(|w| Case { kind, workload: w }));
    for case in cases {
        let Case { kind, workload } = case;
        if arguments.workload.is_some_and(|only| only != workload)
            || arguments.kind.is_some_and(|only| only != kind)
        {
            continue;
        }
        let mut runs = Vec::new();
        for run in 0..arguments.runs {
            eprintln!("{kind:?} {workload:?}, run {run}");
            let dir = tempfile::Builder::new().prefix("engine-fill-").tempdir_in(&parent)?;
            runs.push(run_in_process(&program, &arguments, case, dir.path())?);
        }
        let title = workload.title(&workload.dataset(arguments.entries));
        let title = format!("{} keyspace: {title}", kind.name());
        let spreads = record::spreads(&runs);
        let table = record::markdown(&title, &spreads);
        println!("{table}");
        text.push_str(&table);
        text.push('\n');
        numbers.push((title, spreads));
    }
    if let Some(path) = &arguments.markdown {
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
        let json = serde_json::to_string_pretty(&numbers)?;
        let path = path.with_extension("json");
        std::fs::write(&path, json).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn run_in_process(
    program: &Path,
    arguments: &Arguments,
    case: Case,
    dir: &Path,
) -> anyhow::Result<Measurements> {
    let name = case.workload.to_possible_value().context("every workload has a name")?;
    let kind = case.kind.to_possible_value().context("every kind has a name")?;
    let output = Command::new(program)
        .args(["--once", "--workload", name.get_name(), "--kind", kind.get_name()])
        .args(["--entries", &arguments.entries.to_string()])
        .arg("--dir")
        .arg(dir)
        .stderr(Stdio::inherit())
        .output()
        .context("start a run")?;
    anyhow::ensure!(output.status.success(), "the run ended with {}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn open(dir: &Path) -> engine::Result<Db> {
    Db::open(dir.join("data"), Options::default().durability(Durability::Never))
}

/// Runs something; returns its result and the time.
fn timed<T>(body: impl FnOnce() -> engine::Result<T>) -> engine::Result<(T, Duration)> {
    let clock = Instant::now();
    let result = body()?;
    Ok((result, clock.elapsed()))
}

/// A stopwatch of this thread's processor time.
fn processor_time() -> impl Fn() -> Option<Duration> {
    let start = machine::thread_processor_time();
    move || machine::thread_processor_time()?.checked_sub(start?)
}

fn nanos_each(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e9 / count as f64
}

fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

fn run_once(case: Case, dataset: &Dataset, dir: &Path) -> anyhow::Result<Measurements> {
    let mut found = Measurements::default();
    let db = open(dir)?;
    let keyspace = case.kind.keyspace(&db)?;
    fill(case.workload, dataset, &db, &keyspace, &mut found)?;
    db.sync()?;
    let device = machine::device_bytes_written().unwrap_or(0);
    found.add("device bytes for each byte of the fill, synced", ratio(device, dataset.bytes()));
    let ((), flush) = timed(|| db.flush())?;
    found.add("flush after that, s", flush.as_secs_f64());
    let filled = db.stats();
    found.add("write amplification so far", filled.write_amplification());
    found.add("stalls", filled.stalls as f64);
    drop(keyspace);
    let ((), close) = timed(|| db.close())?;
    found.add("close, s", close.as_secs_f64());
    found.add("peak memory, MiB", machine::peak_memory_bytes().unwrap_or(0) as f64 / MIB);

    let ((db, keyspace), open_time) = timed(|| {
        let db = open(dir)?;
        let keyspace = case.kind.keyspace(&db)?;
        keyspace.get(dataset.key(0))?;
        Ok((db, keyspace))
    })?;
    found.add("open and first get, ms", open_time.as_secs_f64() * 1e3);
    read(case.kind, dataset, &keyspace, "", &mut found)?;
    let ((), compact) = timed(|| db.compact())?;
    found.add("compact, s", compact.as_secs_f64());
    read(case.kind, dataset, &keyspace, " when compacted", &mut found)?;
    found.add("write amplification, compacted", amplification(&filled, &db.stats()));
    drop(keyspace);
    db.close()?;
    let occupied = machine::bytes_on_disk(&dir.join("data"))?;
    found.add("bytes on disk, MiB", occupied as f64 / MIB);
    found.add("bytes on disk for each byte of the entries", ratio(occupied, dataset.bytes()));
    let device = machine::device_bytes_written().unwrap_or(0);
    found.add("device bytes for each byte of the entries", ratio(device, dataset.bytes()));
    Ok(found)
}

const MIB: f64 = (1 << 20) as f64;

fn ratio(dividend: u64, divisor: u64) -> f64 {
    dividend as f64 / divisor as f64
}

/// Over two opens, of which only the first wrote entries.
fn amplification(first: &Stats, second: &Stats) -> f64 {
    let written =
        |stats: &Stats| stats.log_bytes + stats.flush_bytes + stats.merge_bytes + stats.value_bytes;
    ratio(written(first) + written(second), first.user_bytes)
}

fn fill(
    workload: Workload,
    dataset: &Dataset,
    db: &Db,
    keyspace: &Keyspace,
    found: &mut Measurements,
) -> anyhow::Result<()> {
    let count = dataset.count();
    let mut sampler = Sampler::default();
    let used = processor_time();
    let ((), time) = timed(|| {
        if workload != Workload::Batch {
            return (0..count).try_for_each(|number| {
                sampler.run(|| keyspace.put(dataset.key(number), dataset.value(number)))
            });
        }
        let mut number = 0;
        while number < count {
            let mut batch = db.batch();
            let end = count.min(number + BATCH_ENTRIES);
            for number in number..end {
                batch.put(keyspace, dataset.key(number), dataset.value(number));
            }
            sampler.run(|| db.write(batch, WriteOptions::default()))?;
            number = end;
        }
        Ok(())
    })?;
    found.add("puts/s", per_second(count, time));
    if let Some(time) = used() {
        found.add("put, ns of the thread's processor time", nanos_each(time, count));
    }
    let what = if workload == Workload::Batch { "batch" } else { "put" };
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("highest", 1.0)] {
        found.add(&format!("{what} {name}, us"), sampler.nanos_at(share) as f64 / 1e3);
    }
    Ok(())
}

/// Random gets that hit and miss, and scans.
fn read(
    kind: Kind,
    dataset: &Dataset,
    keyspace: &Keyspace,
    when: &str,
    found: &mut Measurements,
) -> anyhow::Result<()> {
    let count = dataset.count();
    let mut random = Random::new(2);
    let mut sampler = Sampler::default();
    let used = processor_time();
    let (wrong, time) = timed(|| {
        let mut wrong = 0;
        for _ in 0..count {
            let number = random.below(count);
            let value = sampler.run(|| keyspace.get(dataset.key(number)))?;
            wrong += u64::from(value.as_deref() != Some(dataset.value(number)));
        }
        Ok(wrong)
    })?;
    anyhow::ensure!(wrong == 0, "{wrong} of {count} gets returned something else");
    found.add(&format!("gets/s{when}"), per_second(count, time));
    if let Some(time) = used() {
        found
            .add(&format!("get{when}, ns of the thread's processor time"), nanos_each(time, count));
    }
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        found.add(&format!("get {name}{when}, us"), sampler.nanos_at(share) as f64 / 1e3);
    }
    let (hits, time) = timed(|| {
        let mut hits = 0;
        for _ in 0..count {
            hits += u64::from(keyspace.contains(dataset.key(count + random.below(count)))?);
        }
        Ok(hits)
    })?;
    anyhow::ensure!(hits == 0, "{hits} keys are there that nobody put");
    found.add(&format!("gets/s of absent keys{when}"), per_second(count, time));
    scan(kind, dataset, keyspace, when, &mut random, found)
}

fn scan(
    kind: Kind,
    dataset: &Dataset,
    keyspace: &Keyspace,
    when: &str,
    random: &mut Random,
    found: &mut Measurements,
) -> anyhow::Result<()> {
    let count = dataset.count();
    if kind == Kind::Btree {
        let (entries, time) = timed(|| {
            let mut entries = 0;
            for _ in 0..SCANS.min(count) {
                let start = dataset.key(random.below(count));
                for entry in keyspace.range(start..).take(SCAN_ENTRIES) {
                    let (_, value) = entry?;
                    entries += u64::from(!value.is_empty());
                }
            }
            Ok(entries)
        })?;
        found.add(&format!("entries/s in scans of 100{when}"), per_second(entries, time));
    }
    let (entries, time) = timed(|| {
        let mut entries = 0;
        for entry in keyspace.iter() {
            let (_, value) = entry?;
            entries += u64::from(!value.is_empty());
        }
        Ok(entries)
    })?;
    anyhow::ensure!(entries == count, "the scan met {entries} entries of {count}");
    found.add(&format!("entries/s in a full scan{when}"), per_second(entries, time));
    Ok(())
}

/// Loads everything, overwrites some keys once in another order, settles, and tells what is left
/// on disk.
fn settle(
    kind: Kind,
    dataset: &Dataset,
    overwritten: u64,
    dir: &Path,
) -> anyhow::Result<Measurements> {
    let mut found = Measurements::default();
    let db = open(dir)?;
    let keyspace = kind.keyspace(&db)?;
    let count = dataset.count();
    let ((), time) = timed(|| {
        (0..count).try_for_each(|number| keyspace.put(dataset.key(number), dataset.value(number)))
    })?;
    found.add("puts/s, first time", per_second(count, time));
    // Every number once: the step has no factor in common with the count.
    let step = (count / 7 * 5..).find(|step| are_coprime(*step, count)).unwrap_or(1);
    let ((), time) = timed(|| {
        (0..overwritten).try_for_each(|index| {
            let number = index * step % count;
            keyspace.put(dataset.key(number), dataset.value(number + 1))
        })
    })?;
    found.add("puts/s, overwriting", per_second(overwritten, time));
    let ((), flush) = timed(|| db.flush())?;
    found.add("flush, s", flush.as_secs_f64());
    let before = machine::bytes_on_disk(&dir.join("data"))?;
    found.add("bytes on disk for each live byte, flushed", ratio(before, dataset.bytes()));
    let ((), compact) = timed(|| db.compact())?;
    found.add("compact, s", compact.as_secs_f64());
    let (peak, collect) = machine::with_peak_private_memory(|| timed(|| db.collect_garbage()));
    let ((), collect) = collect?;
    found.add("collect_garbage, s", collect.as_secs_f64());
    found.add("peak private memory while collecting, MiB", peak as f64 / MIB);
    found.add("write amplification", db.stats().write_amplification());
    for index in (0..count).step_by(17) {
        let number = index * step % count;
        let value = keyspace.get(dataset.key(number))?;
        let expected = dataset.value(number + u64::from(index < overwritten));
        anyhow::ensure!(value.as_deref() == Some(expected), "entry {number} after collecting");
    }
    drop(keyspace);
    db.close()?;
    let occupied = machine::bytes_on_disk(&dir.join("data"))?;
    found.add("bytes on disk for each live byte, settled", ratio(occupied, dataset.bytes()));
    let device = machine::device_bytes_written().unwrap_or(0);
    let put = dataset.bytes() / count * (count + overwritten);
    found.add("device bytes for each byte put", ratio(device, put));
    Ok(found)
}

fn are_coprime(mut a: u64, mut b: u64) -> bool {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a == 1
}
