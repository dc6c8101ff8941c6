//! The child: opens a database and does what the parent says, a line at a time.
//!
//! ```text
//! command := put FIRST COUNT | delete FIRST COUNT | verify MODEL | flush | compact | collect | check
//!            | again PATH | close
//! answers := a ...  one for each put or delete that was acknowledged
//!            done | KIND MESSAGE       one at the end of each command; KIND as in `engine::ErrorKind`
//! ```

use std::fmt;
use std::io::{BufRead, Write};
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, bail, ensure};
use engine::{AppendMode, Db, Durability, ErrorKind, Options, ReadMode};
use xtask::kind::Kind;

use super::values::{self, Model, key, key_of, value};

/// How a child opens its database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Setup {
    pub(super) append: AppendMode,
    pub(super) read: ReadMode,
    pub(super) kind: Kind,
}

impl Setup {
    /// Both append modes, both read modes, both kinds.
    pub(super) fn all() -> Vec<Setup> {
        let mut all = Vec::new();
        for append in [AppendMode::Mapped, AppendMode::Positional] {
            for read in [ReadMode::Mapped, ReadMode::Positional] {
                all.extend(Kind::ALL.map(|kind| Setup { append, read, kind }));
            }
        }
        all
    }

    /// Limits that let a few megabytes reach every path.
    pub(super) fn options(self) -> Options {
        Options::default()
            .durability(Durability::Never)
            .append_mode(self.append)
            .read_mode(self.read)
            .default_keyspace(self.kind.options())
            .memtable_bytes(64 << 10)
            .segment_bytes(128 << 10)
            .log_bytes(256 << 10)
            .table_bytes(64 << 10)
            .level1_bytes(256 << 10)
            .level_multiplier(4)
            .reserve_bytes(2 << 20)
            .total_garbage_max(0.10)
            .advised_garbage(0.10)
            .forced_garbage(0.30)
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}/{}", self.append, self.read, self.kind)
    }
}

impl FromStr for Setup {
    type Err = String;

    /// Reads what `Display` wrote; nothing is the first one.
    fn from_str(text: &str) -> Result<Setup, String> {
        let mut all = Setup::all().into_iter();
        all.find(|setup| text.is_empty() || setup.to_string() == text)
            .ok_or_else(|| format!("no setup {text}"))
    }
}

/// Serves the database in a directory until told to close it, or killed.
pub(super) fn run(dir: &Path, setup: &Setup, seed: u64) -> anyhow::Result<()> {
    let mut db = match Db::open(dir, setup.options()) {
        Ok(db) => Some(db),
        Err(error) => return answer(&Err(error.into())),
    };
    answer(&Ok(()))?;
    for line in std::io::stdin().lock().lines() {
        let line = line.context("read a command")?;
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        if word == "close" {
            let closed = db.take().context("closed twice")?.close();
            return answer(&closed.map_err(Into::into));
        }
        let db = db.as_ref().context("it is open until it is closed")?;
        answer(&perform(db, setup, seed, word, rest))?;
    }
    Ok(())
}

fn perform(db: &Db, setup: &Setup, seed: u64, word: &str, rest: &str) -> anyhow::Result<()> {
    match word {
        "put" => numbers(rest)?.try_for_each(|put| {
            db.put(key(key_of(put)), value(seed, put))?;
            acknowledge()
        }),
        "delete" => numbers(rest)?.try_for_each(|number| {
            db.delete(key(number))?;
            acknowledge()
        }),
        "verify" => verify(db, seed, &values::from_text(rest).context("a model")?),
        "flush" => Ok(db.flush()?),
        "compact" => Ok(db.compact()?),
        "collect" => Ok(db.collect_garbage()?),
        "check" => {
            let report = db.check()?;
            ensure!(report.is_sound(), "check found damage: {:?}", report.damage);
            Ok(())
        }
        "again" => Db::open(rest, setup.options()).map(drop).map_err(Into::into),
        _ => bail!("no command {word}"),
    }
}

/// `FIRST COUNT` as the numbers they mean.
fn numbers(text: &str) -> anyhow::Result<std::ops::Range<u64>> {
    let (first, count) = text.split_once(' ').context("FIRST COUNT")?;
    let (first, count): (u64, u64) = (first.parse()?, count.parse()?);
    Ok(first..first + count)
}

/// Everything is there, and nothing else.
fn verify(db: &Db, seed: u64, model: &Model) -> anyhow::Result<()> {
    if let Some(failure) = db.stats().failure {
        bail!("the database is read-only: {failure}");
    }
    let mut found = 0;
    for entry in db.iter() {
        let (found_key, found_value) = entry?;
        let name = found_key.escape_ascii().to_string();
        let number =
            std::str::from_utf8(&found_key).ok().and_then(|key| key.get(4..)?.parse().ok());
        let put = number.and_then(|number: u64| model.get(&number));
        let put = put.with_context(|| format!("{name} should not be there"))?;
        ensure!(*found_value == *value(seed, *put), "{name} has another value than put {put}");
        found += 1;
    }
    ensure!(found == model.len(), "{found} keys, {} expected", model.len());
    for (number, put) in model {
        let found = db.get(key(*number))?;
        ensure!(found.as_deref() == Some(&value(seed, *put)[..]), "get of key {number}");
    }
    Ok(())
}

fn acknowledge() -> anyhow::Result<()> {
    write_line("a")
}

fn answer(result: &anyhow::Result<()>) -> anyhow::Result<()> {
    let Err(error) = result else { return write_line("done") };
    let kind = error.downcast_ref::<engine::Error>().map(engine::Error::kind);
    let kind: Option<ErrorKind> = kind;
    let kind = kind.map_or("Wrong".to_owned(), |kind| format!("{kind:?}"));
    write_line(&format!("{kind} {error:#}").replace('\n', " "))
}

/// One write each, so that a kill cuts none.
fn write_line(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes())?;
    Ok(out.flush()?)
}
