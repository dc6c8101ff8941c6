//! The process that starts a child for each measurement, in turns, and prints the tables.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use benches::machine;
use memmap2::{Advice, MmapMut};

use crate::bench::Effort;
use crate::child;
use crate::rates::Rates;
use crate::size::Size;
use crate::store::Kind;
use crate::story::Story;
use crate::table::{Record, Results};

/// Operations of a workload, and durable puts of a thread, of a full run.
const OPERATIONS: u64 = 1_000_000;
const DURABLE: u64 = 5_000;

/// Limits of the memory that is held before a measurement, and the step at which it is touched.
const BACKED_MIN: u64 = 256 << 20;
const BACKED_MAX: u64 = 4 << 30;
const PAGE: usize = 4096;

/// A quick comparison does this part of a full one.
const QUICK: u64 = 25;

/// What to compare.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which engines.
    pub kinds: Vec<Kind>,
    /// Which sizes.
    pub sizes: Vec<Size>,
    /// Only rows whose names contain this.
    pub row: Option<String>,
    /// How often each.
    pub runs: usize,
    /// Smaller counts, slow engines once, only what has a bar.
    pub is_quick: bool,
    /// Entries of the smallest size instead of the usual number; of the others in proportion.
    pub entries: Option<u64>,
    /// Where stores are made.
    pub dir: PathBuf,
    /// Where results go: this path with `.jsonl` and `.md`.
    pub results: PathBuf,
    /// Go on with what is there of the same plan.
    pub resume: bool,
    /// Begin nothing after so many minutes.
    pub minutes: Option<u64>,
}

/// What was measured, a line for each figure, and before them the plan.
struct Lines {
    file: File,
    records: Vec<Record>,
}

impl Lines {
    /// Begins anew, or goes on behind what is there of the same plan.
    fn open(path: &Path, plan: &str, resume: bool) -> Result<Lines> {
        let there = match std::fs::read_to_string(path) {
            Ok(there) if resume => there,
            Err(error) if resume && error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("read {}", path.display()));
            }
            _ => String::new(),
        };
        let head = serde_json::to_string(&serde_json::json!({ "plan": plan }))?;
        let mut lines = there.lines();
        if let Some(found) = lines.next() {
            let shown = path.display();
            ensure!(found == head, "{shown} is of another plan: {found}, not {head}");
        }
        let mut records: Vec<Record> =
            lines.map_while(|line| serde_json::from_str(line).ok()).collect();
        // Whole measurements are written at once: with half a line, the last one is not there.
        if let (false, Some(last)) = (there.ends_with('\n'), records.last().cloned()) {
            let story = Story::ALL.into_iter().find(|story| story.has(&last.row));
            let is_of_it = |record: &Record| {
                (record.size, record.run, &record.engine) == (last.size, last.run, &last.engine)
                    && story.is_some_and(|story| story.has(&record.row))
            };
            records.retain(|record| !is_of_it(record));
        }
        // What is there stays until all that is kept of it is in the new file.
        let new = path.with_extension("jsonl.new");
        let file = File::create(&new).with_context(|| format!("create {}", new.display()))?;
        let mut all = Lines { file, records: Vec::new() };
        all.write(&format!("{head}\n"))?;
        all.add(records)?;
        std::fs::rename(&new, path).with_context(|| format!("rename {}", new.display()))?;
        Ok(all)
    }

    fn add(&mut self, records: Vec<Record>) -> Result<()> {
        let lines = records.iter().map(|record| Ok(serde_json::to_string(record)? + "\n"));
        self.write(&lines.collect::<Result<String>>()?)?;
        self.records.extend(records);
        Ok(())
    }

    fn write(&mut self, text: &str) -> Result<()> {
        Ok(self.file.write_all(text.as_bytes())?)
    }

    fn has(&self, (size, story, run, kind): &(Size, Story, usize, Kind)) -> bool {
        let is_it = |record: &Record| {
            (record.size, record.run, &*record.engine) == (*size, *run, kind.name)
                && story.has(&record.row)
        };
        self.records.iter().any(is_it)
    }
}

impl Plan {
    fn effort(&self, size: Size) -> Effort {
        let part = if self.is_quick { QUICK } else { 1 };
        let full = Size::Small.entries() / part;
        let smallest = self.entries.unwrap_or(full).max(1);
        let scale = |count: u64| (count * smallest / Size::Small.entries()).max(1);
        let entries = scale(size.entries()).max(16);
        let operations = scale(OPERATIONS).max(16);
        // Reading sixteen times as many bytes takes that much longer, and tells no more.
        let operations = if size == Size::Large { operations.div_ceil(8) } else { operations };
        Effort { entries, operations, durable: scale(DURABLE).max(8), is_quick: self.is_quick }
    }

    fn stories(&self, size: Size) -> Vec<Story> {
        let wanted = |story: &Story| {
            let is_asked = self.row.as_ref().is_none_or(|row| story.finds(row));
            is_asked && (!self.is_quick || story.has_bars(size))
        };
        Story::ALL.into_iter().filter(wanted).collect()
    }

    /// Compares, and writes the results.
    ///
    /// # Errors
    /// If files cannot be written, or if a measurement failed; the others are written then too.
    pub fn run(&self) -> Result<()> {
        std::fs::create_dir_all(&self.dir)
            .with_context(|| format!("create {}", self.dir.display()))?;
        let lines = self.results.with_extension("jsonl");
        if let Some(parent) = lines.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut found = Lines::open(&lines, &self.description(), self.resume)?;
        let description = machine::description();
        let rates = self.rates()?;
        let mut failures = Vec::new();
        let all = self.measurements();
        let left: Vec<_> = all.iter().filter(|measurement| !found.has(measurement)).collect();
        let clock = Instant::now();
        let limit = self.minutes.map_or(Duration::MAX, |minutes| Duration::from_secs(minutes * 60));
        let mut begun = 0;
        for (size, story, run, kind) in left.iter().copied().copied() {
            if clock.elapsed() >= limit {
                break;
            }
            begun += 1;
            let name = kind.name;
            eprintln!("{}, {story:?}, run {run}, {name}", size.name());
            match self.measure(kind, story, size) {
                Ok(figures) => {
                    let record = |(row, figure)| {
                        let engine = name.to_owned();
                        Record { engine, size, run, row, figure }
                    };
                    found.add(figures.into_iter().map(record).collect())?;
                }
                Err(error) => {
                    eprintln!("FAILED: {error:#}");
                    failures.push(format!("{name}, {}, {story:?}, run {run}", size.name()));
                }
            }
        }
        if begun < left.len() {
            let (left, all) = (left.len() - begun, all.len());
            failures.push(format!("{left} of {all} measurements are left; --resume goes on"));
        }
        let results = Results::new(&self.kinds, rates, &found.records);
        let text = self.markdown(&description, &rates, &results, &failures)?;
        println!("{text}");
        let path = self.results.with_extension("md");
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        eprintln!("written: {} and {}", lines.display(), path.display());
        ensure!(failures.is_empty(), "not whole: {}", failures.join("; "));
        Ok(())
    }

    /// All, so that engines take turns: A, B, C, A, B, C.
    fn measurements(&self) -> Vec<(Size, Story, usize, Kind)> {
        let mut all = Vec::new();
        for size in &self.sizes {
            for story in self.stories(*size) {
                for run in 0..self.runs {
                    let kinds = self.kinds.iter().filter(|kind| {
                        kind.takes(*size) && !(self.is_quick && kind.is_slow && run > 0)
                    });
                    all.extend(kinds.map(|kind| (*size, story, run, *kind)));
                }
            }
        }
        all
    }

    fn scratch(&self) -> Result<tempfile::TempDir> {
        let dir = tempfile::Builder::new().prefix("compare-").tempdir_in(&self.dir);
        dir.with_context(|| format!("a directory in {}", self.dir.display()))
    }

    fn rates(&self) -> Result<Rates> {
        let dir = self.scratch()?;
        back_memory(0)?;
        Rates::measure(dir.path(), self.is_quick || self.entries.is_some())
    }

    fn measure(&self, kind: Kind, story: Story, size: Size) -> Result<Vec<(String, f64)>> {
        let dir = self.scratch()?;
        let effort = self.effort(size);
        let mut command =
            child::command(kind, story, size, effort, dir.path(), self.row.as_deref())?;
        back_memory(effort.entries.saturating_mul((size.key_len() + size.value_len()) as u64))?;
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
        drop(dir);
        // What one leaves to be written back must not slow down the next.
        Command::new("sync").status().context("sync")?;
        ensure!(output.status.success(), "the child ended with {}", output.status);
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// How much of what.
    fn description(&self) -> String {
        let how = if self.is_quick { "quick" } else { "full" };
        let entries = self.sizes.iter().map(|size| {
            let Effort { entries, operations, .. } = self.effort(*size);
            format!("{entries} entries and {operations} operations of {}", size.name())
        });
        let entries: Vec<String> = entries.collect();
        format!("{how}, {} runs, {}", self.runs, entries.join(", "))
    }

    fn markdown(
        &self,
        description: &str,
        rates: &Rates,
        results: &Results<'_>,
        failures: &[String],
    ) -> Result<String> {
        let mut text = format!(
            "# Comparison, {}\n\n{description}. Medians; +- is half the spread. {}.\n\n\
             Figures in (parentheses) do not count for a ratio: acknowledged writes of that engine do \
             not survive `kill -9`. **Bold**: ours is better than the best peer that counts. The \
             settings are in `benches/compare/README.md`.\n\n\
             The machine itself: {:.0} MB/s into fresh preallocated mappings, {:.0} preallocated \
             appends + fdatasync a second.\n",
            today()?,
            self.description(),
            rates.filled_bytes_per_second / 1e6,
            rates.durable_appends_per_second,
        );
        for failure in failures {
            text.push_str(&format!("\n**NOT WHOLE**: {failure}\n"));
        }
        text.push_str(&results.markdown());
        Ok(text)
    }
}

/// Has the system hold free memory for what comes next: four times the bytes of its entries, within
/// limits. A virtual machine's free memory goes back to its host after seconds, and comes again
/// at 0.5 ms a MiB, which the first engine of each turn would pay and the next would not.
fn back_memory(entry_bytes: u64) -> Result<()> {
    let bytes = entry_bytes.saturating_mul(4).clamp(BACKED_MIN, BACKED_MAX);
    let mut memory = MmapMut::map_anon(usize::try_from(bytes)?).context("map memory")?;
    memory.advise(Advice::HugePage).ok();
    memory.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
    Ok(())
}

/// The date, as `YYYY-MM-DD`.
///
/// # Errors
/// If the system's `date` does not tell.
pub fn today() -> Result<String> {
    let output = Command::new("date").arg("+%F").output().context("date")?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The directory of stores if nobody names one: beside this program.
///
/// # Errors
/// If the program does not know where it is.
pub fn default_dir() -> Result<PathBuf> {
    let program = std::env::current_exe().context("find this program")?;
    Ok(program.parent().unwrap_or(Path::new(".")).join("compare-stores"))
}
