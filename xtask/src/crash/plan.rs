//! What is explored: configurations, and the line that names one cell of the exploration.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use engine::{Durability, Options, WriteOptions};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::call::Op;
use crate::kind::Kind;

/// Values of at least this many bytes live in the value log.
pub const INLINE_MAX: usize = 256;

/// How the log is appended to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Append {
    /// Through a mapping; each page stored is a call.
    Mapped,
    /// Positional writes.
    Positional,
}

/// How files are read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Read {
    /// Through mappings.
    Mapped,
    /// Positional reads.
    Positional,
}

/// Which writes are acknowledged as durable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Acks {
    /// All, by the database's policy `Always`.
    Always,
    /// All, each asking for it under the policy `Never`.
    Durable,
    /// None but what `sync`, `flush` and their like say.
    Never,
}

/// When background jobs run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Jobs {
    /// Only when a call waits for them.
    Lazy,
    /// A few steps after each call, as the seed says.
    Seeded,
}

/// One configuration of the store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    /// How the log is appended to.
    pub append: Append,
    /// How files are read.
    pub read: Read,
    /// Which writes are durable.
    pub acks: Acks,
    /// When background jobs run.
    pub jobs: Jobs,
    /// Of which kind the keyspace is that most calls write to.
    pub kind: Kind,
}

impl Config {
    /// Every configuration: all legal combinations. `Always` does not go with `Mapped`.
    pub fn all() -> Vec<Config> {
        let mut all = Vec::new();
        for append in [Append::Mapped, Append::Positional] {
            for read in [Read::Mapped, Read::Positional] {
                for acks in [Acks::Always, Acks::Durable, Acks::Never] {
                    let jobs = match read {
                        Read::Mapped => Jobs::Seeded,
                        Read::Positional => Jobs::Lazy,
                    };
                    let legal = match acks {
                        Acks::Always => append == Append::Positional,
                        Acks::Durable => append == Append::Mapped,
                        Acks::Never => true,
                    };
                    if legal {
                        let kinds = Kind::ALL.into_iter();
                        all.extend(kinds.map(|kind| Config { append, read, acks, jobs, kind }));
                    }
                }
            }
        }
        all
    }

    /// Tiny limits, so that every path is hot.
    pub fn options(&self) -> Options {
        let durability = match self.acks {
            Acks::Always => Durability::Always,
            Acks::Durable | Acks::Never => Durability::Never,
        };
        let append = match self.append {
            Append::Mapped => engine::AppendMode::Mapped,
            Append::Positional => engine::AppendMode::Positional,
        };
        let read = match self.read {
            Read::Mapped => engine::ReadMode::Mapped,
            Read::Positional => engine::ReadMode::Positional,
        };
        Options::default()
            .key_hasher(crowded)
            .durability(durability)
            .append_mode(append)
            .read_mode(read)
            .inline_max(INLINE_MAX)
            .promote_min(0.70)
            .memtable_bytes(4096)
            .segment_bytes(4096)
            .log_bytes(4096)
            .table_bytes(4096)
            .level0_files(2)
            .level0_files_max(3)
            .level1_bytes(4096)
            .level_multiplier(2)
            .sealed_max(1)
            .total_garbage_max(0.05)
            .advised_garbage(0.10)
            .forced_garbage(0.50)
            .gc_interval(Duration::from_secs(1))
    }

    /// How the workload's logged writes are made.
    pub fn write_options(&self) -> WriteOptions {
        match self.acks {
            Acks::Durable => WriteOptions::default().durable(),
            Acks::Always | Acks::Never => WriteOptions::default(),
        }
    }

    /// True if an acknowledged logged write is durable.
    pub fn acks_are_durable(&self) -> bool {
        self.acks != Acks::Never
    }
}

/// Hashes a key so that some keys share a hash, one pair that of 0: only their records tell them
/// apart.
fn crowded(seed: u64, key: &[u8]) -> u64 {
    match key {
        b"a" | b"b" => 0,
        b"e" | b"f" => 0x7f << 57,
        _ => xxh3_64_with_seed(key, seed),
    }
}

fn word(debug: impl fmt::Debug) -> String {
    format!("{debug:?}").to_lowercase()
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Config { append, read, acks, jobs, kind } = self;
        write!(f, "{}/{}/{}/{}/{kind}", word(append), word(read), word(acks), word(jobs))
    }
}

fn find<T: Copy + fmt::Debug>(text: &str, all: &[T]) -> anyhow::Result<T> {
    let found = all.iter().find(|one| word(one) == text);
    found.copied().with_context(|| format!("{text:?} is none of {all:?}"))
}

impl FromStr for Config {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Config> {
        let parts: Vec<&str> = text.split('/').collect();
        let [append, read, acks, jobs, kind] = parts[..] else {
            bail!("a configuration is append/read/acks/jobs/kind, not {text:?}");
        };
        Ok(Config {
            append: find(append, &[Append::Mapped, Append::Positional])?,
            read: find(read, &[Read::Mapped, Read::Positional])?,
            acks: find(acks, &[Acks::Always, Acks::Durable, Acks::Never])?,
            jobs: find(jobs, &[Jobs::Lazy, Jobs::Seeded])?,
            kind: find(kind, &Kind::ALL)?,
        })
    }
}

/// Where in a run the power goes, and what the disk then holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Place {
    /// After this many calls of the file system.
    pub boundary: usize,
    /// Which image, an index into the explorer's list.
    pub image: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.boundary, self.image)
    }
}

impl FromStr for Place {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Place> {
        let (boundary, image) = text.split_once(':').context("a place is boundary:image")?;
        Ok(Place { boundary: boundary.parse()?, image: image.parse()? })
    }
}

/// One cell: everything that is needed to see it again. Its text is the replay line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cell {
    /// The configuration.
    pub config: Config,
    /// The calls behind the prelude.
    pub ops: Vec<Op>,
    /// The seed of schedules, salts and random images.
    pub seed: u64,
    /// A lie of the disk, by name; `None` for an honest one.
    pub lie: Option<String>,
    /// The crash; `None` for a failure of the run itself.
    pub crash: Option<Place>,
    /// More crashes, each inside the recovery from the one before.
    pub nested: Vec<Place>,
}

impl Cell {
    /// The run itself, without a crash.
    pub fn run(config: Config, ops: &[Op], seed: u64) -> Cell {
        Cell { config, ops: ops.to_vec(), seed, lie: None, crash: None, nested: Vec::new() }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ops: Vec<&str> = self.ops.iter().map(|op| op.name()).collect();
        write!(f, "config={} ops={} seed={}", self.config, ops.join(","), self.seed)?;
        if let Some(lie) = &self.lie {
            write!(f, " lie={lie}")?;
        }
        if let Some(place) = self.crash {
            write!(f, " crash={place}")?;
        }
        self.nested.iter().try_for_each(|place| write!(f, " nested={place}"))
    }
}

impl FromStr for Cell {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Cell> {
        let mut config = None;
        let mut cell = Cell::run(Config::all()[0], &[], 0);
        for part in text.split_whitespace() {
            let (name, value) = part.split_once('=').context("a replay line is name=value ...")?;
            match name {
                "config" => config = Some(value.parse()?),
                "ops" => {
                    let names = value.split(',').filter(|name| !name.is_empty());
                    cell.ops = names.map(Op::parse).collect::<anyhow::Result<_>>()?;
                }
                "seed" => cell.seed = value.parse()?,
                "lie" => cell.lie = Some(value.to_owned()),
                "crash" => cell.crash = Some(value.parse()?),
                "nested" => cell.nested.push(value.parse()?),
                _ => bail!("{name:?} is no part of a replay line"),
            }
        }
        ensure!(cell.nested.is_empty() || cell.crash.is_some(), "nested needs a crash before it");
        cell.config = config.context("a replay line names its config")?;
        Ok(cell)
    }
}

#[cfg(test)]
mod tests;
