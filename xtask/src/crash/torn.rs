//! R8: a log that was not closed ends somewhere, torn or damaged. What something surviving attests as
//! synced is never missing silently; behind that an end is an end, and is reported.
//!
//! ```text
//! records ... | attested ............ | end   zeros
//! a flip       Corrupt, file + offset   cut: where, how many bytes; or Corrupt
//! torn here                             opens with the records before
//! ```
//!
//! Logs by `wal` alone, killed and closed, and the logs of databases.

use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};
use engine::{Db, ErrorKind, Options, ReadMode};
use vfs::sim::{Damage, ImageKind, SimDisk};
use vfs::{Env, Error, Name};
use wal::{AppendMode, Durability, Log, Position, SEGMENT, Start};

use super::part::{Finding, Outcome, Part};

/// Pieces that the damages of a run are tried in.
const SLICES: u64 = 32;
/// Zeros behind the end that are damaged too.
const ZEROS: u64 = 64;

/// R8. There is one size: full.
#[derive(Default)]
pub struct Torn {
    runs: OnceLock<Vec<Run>>,
}

/// A log or database after its process is gone.
struct Run {
    name: String,
    disk: SimDisk,
    is_db: bool,
    /// A database's, or the log's.
    options: Options,
    log: wal::Options,
    /// Where each record starts and ends, in order.
    records: Vec<(Position, Position)>,
    payloads: Vec<Vec<u8>>,
    /// Something that survives says that everything before it was synced.
    attested: Position,
    /// Where the log was closed, which its owner knows.
    closed: Option<Position>,
}

/// One damage of a run's files.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Flip {
        bit: u8,
    },
    /// The file ends here.
    Cut,
    /// Here the file ends, and zeros reach as far as it did.
    Zeroed,
}

/// What opening gave.
enum Opened {
    /// So many records, the first ones; and where something was cut off.
    Records(usize, Option<(Position, u64)>),
    /// Refused, by this file's name, at this offset.
    Corrupt(String, Option<u64>),
}

impl Torn {
    /// The CI size, which is the full one.
    pub fn ci() -> Torn {
        Torn::default()
    }

    fn runs(&self) -> &[Run] {
        self.runs.get_or_init(|| runs().expect("a healthy disk"))
    }
}

impl Part for Torn {
    fn name(&self) -> String {
        "R8 torn or damaged".to_owned()
    }

    fn units(&self) -> u64 {
        self.runs().len() as u64 * SLICES
    }

    fn run(&self, unit: u64) -> Outcome {
        let run = &self.runs()[usize::try_from(unit / SLICES).expect("few runs")];
        let mut outcome = Outcome::default();
        let harms = run.harms().into_iter().enumerate();
        let of_slice = harms.filter(|(number, _)| *number as u64 % SLICES == unit % SLICES);
        for (_, (at, harm)) in of_slice {
            outcome.count("damages judged", 1);
            match run.judge(at, harm) {
                Ok(what) => outcome.count(what, 1),
                Err(error) => outcome.findings.push(Finding::new(
                    format!("{harm:?}").split(' ').next().unwrap_or_default().to_owned(),
                    format!("{}, {harm:?} at {at:?}: {error:#}", run.name),
                    format!("cargo xtask crash --rot --part R8 --unit {unit}"),
                )),
            }
        }
        outcome
    }
}

impl Run {
    /// The files of the log, with their lengths.
    fn segments(&self) -> Vec<(Position, u64)> {
        let files = self.disk.files().into_iter().filter_map(|(path, len)| {
            let name = Name::parse(&path).filter(|name| name.kind == SEGMENT)?;
            let id = wal::SegmentId(u32::try_from(name.id).ok()?);
            Some((Position { segment: id, offset: 0 }, len))
        });
        files.collect()
    }

    /// Behind the last record, or the header of the last segment.
    fn end(&self) -> Position {
        self.closed.unwrap_or_else(|| self.records.last().expect("there are records").1)
    }

    fn harms(&self) -> Vec<(Position, Harm)> {
        let mut harms = Vec::new();
        let end = self.end();
        let last = self.segments().iter().map(|(start, _)| start.segment).max();
        for (start, len) in self.segments() {
            let used = match Some(start.segment) == last {
                true => len.min(end.offset.max(96) + ZEROS),
                false => self.used(start, len),
            };
            for offset in 0..used {
                let at = Position { offset, ..start };
                harms.extend((0..8).map(|bit| (at, Harm::Flip { bit })));
                if start.segment == end.segment && offset <= end.offset {
                    harms.extend([(at, Harm::Cut), (at, Harm::Zeroed)]);
                }
            }
        }
        harms
    }

    /// Bytes of a segment before the last one: up to the end of its last record.
    fn used(&self, start: Position, len: u64) -> u64 {
        let ends = self.records.iter().map(|(_, end)| *end);
        let last = ends.filter(|end| end.segment == start.segment).max();
        last.map_or(96, |end| end.offset).min(len)
    }

    fn judge(&self, at: Position, harm: Harm) -> Result<&'static str> {
        let disk = self.disk.fork(1);
        let path = Name::new(SEGMENT, u64::from(at.segment.0)).to_string();
        let len = disk.read_file(&path).map_or(0, |bytes| bytes.len() as u64);
        match harm {
            Harm::Flip { bit } => disk.corrupt(&path, &Damage::FlipBit { offset: at.offset, bit }),
            Harm::Cut => disk.corrupt(&path, &Damage::Truncate { len: at.offset }),
            Harm::Zeroed => {
                disk.corrupt(&path, &Damage::Truncate { len: at.offset });
                disk.corrupt(&path, &Damage::Truncate { len });
            }
        }
        if disk.fingerprint() == self.disk.fingerprint() {
            return Ok("changed nothing");
        }
        let opened = match self.is_db {
            true => self.open_db(&disk)?,
            false => self.open_log(&disk)?,
        };
        // A cut takes along whatever could attest; only the owner of a closed log knows better.
        let is_attested =
            at < self.attested && (matches!(harm, Harm::Flip { .. }) || self.closed.is_some());
        match opened {
            Opened::Corrupt(file, offset) => {
                ensure!(file == path, "the error names {file}");
                let offset = offset.context("the error says no offset")?;
                ensure!(offset <= at.offset.max(len), "the error says byte {offset}");
                let is_tail = at >= self.attested && !matches!(harm, Harm::Flip { .. });
                ensure!(!is_tail || at.offset < 96, "a torn tail does not open");
                Ok(if is_attested { "attested: reported" } else { "not attested: refused" })
            }
            Opened::Records(..) if is_attested => bail!("it was attested, and nobody said a word"),
            Opened::Records(count, cut) => self.judge_end(at, harm, count, cut),
        }
    }

    /// The log ends before what was harmed, and says so.
    fn judge_end(
        &self,
        at: Position,
        harm: Harm,
        count: usize,
        cut: Option<(Position, u64)>,
    ) -> Result<&'static str> {
        let whole = self.records.iter().filter(|(_, end)| *end <= at).count();
        ensure!(count >= whole, "{count} records, and {whole} are whole");
        if count == self.records.len() {
            // Zeros may stand where zeros were; a flip behind the end leaves something there.
            let is_said = cut.is_some() || !matches!(harm, Harm::Flip { .. });
            ensure!(is_said, "a bit behind the end is not reported");
            return Ok("behind the end: reported");
        }
        let end = self.records[..count].last().map(|(_, end)| *end);
        let expected = end.unwrap_or(Position { offset: 96, ..self.records[0].0 });
        if let Some((position, bytes)) = cut {
            let is_there = position == expected || position == self.header_after(expected);
            ensure!(is_there, "cut at {position:?}, and the last record ends at {expected:?}");
            ensure!(bytes > 0, "nothing was cut");
            return Ok("not attested: cut, with place and length");
        }
        // A file that ends at a border, with nothing behind it, is not told from one that was
        // never longer.
        let at_border = at == expected || matches!(harm, Harm::Zeroed);
        ensure!(
            !matches!(harm, Harm::Flip { .. }) && (at_border || at.offset <= 96),
            "not reported"
        );
        Ok("torn: opens")
    }

    /// The first byte behind the header of the segment after the one that ends here.
    fn header_after(&self, end: Position) -> Position {
        let next =
            self.segments().iter().map(|(start, _)| start.segment).find(|id| *id > end.segment);
        Position { segment: next.unwrap_or(end.segment), offset: 96 }
    }

    fn open_log(&self, disk: &SimDisk) -> Result<Opened> {
        let start = match self.closed {
            Some(end) => Start {
                first: self.records.first().map(|(start, _)| start.segment),
                attested: Some(end),
                ..Start::default()
            },
            None => Start::default(),
        };
        let mut payloads: Vec<Vec<u8>> = Vec::new();
        let opened =
            Log::open(disk.root(), &Env::sim(3).env, self.log.clone(), start, &mut |record| {
                payloads.push(record.payload.to_vec());
                Ok(())
            });
        match opened {
            Ok((_, recovered)) => {
                let count = payloads.len();
                ensure!(self.payloads.get(..count) == Some(&payloads[..]), "other records");
                Ok(Opened::Records(count, recovered.cut))
            }
            Err(Error::Corrupt { path, offset, .. }) => {
                let file = path.file_name().map(|name| name.to_string_lossy().into_owned());
                Ok(Opened::Corrupt(file.unwrap_or_default(), Some(offset)))
            }
            Err(error) => bail!("{error}"),
        }
    }

    fn open_db(&self, disk: &SimDisk) -> Result<Opened> {
        let db = match open_db(disk, &self.options) {
            Ok(db) => db,
            Err(error) => {
                let text = error.to_string();
                ensure!(error.kind() == ErrorKind::Corrupt, "{text}");
                let file = text.split(['/', ' ', ':']).find(|word| word.ends_with(".wal"));
                let offset = text.split("at byte ").nth(1);
                let digits = |text: &str| -> String {
                    text.chars().take_while(char::is_ascii_digit).collect()
                };
                let offset = offset.and_then(|text| digits(text).parse().ok());
                return Ok(Opened::Corrupt(file.unwrap_or_default().to_owned(), offset));
            }
        };
        let count = db.iter().count();
        for (number, entry) in db.iter().enumerate() {
            let (key, value) = entry?;
            ensure!(*key == db_key(number), "key {number} is not there");
            ensure!(value[..] == self.payloads[number][..], "another value of key {number}");
        }
        let cut = db.stats().recovery.cut.map(|(file, offset, bytes)| {
            let id = Name::parse(&file).and_then(|name| u32::try_from(name.id).ok());
            (Position { segment: wal::SegmentId(id.unwrap_or_default()), offset }, bytes)
        });
        Ok(Opened::Records(count, cut))
    }
}

fn open_db(disk: &SimDisk, options: &Options) -> engine::Result<Db> {
    Db::open_on(disk.root(), Env::sim(3).env.clone(), options.clone())
}

fn db_key(number: usize) -> Vec<u8> {
    format!("key{number:04}").into_bytes()
}

fn payload(number: usize) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(8 + number * 7 % 60, 0x30 + u8::try_from(number % 40).expect("small"));
    bytes
}

fn runs() -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for (durability, append) in [
        (Durability::Always, AppendMode::Positional),
        (Durability::EveryBytes(300), AppendMode::Positional),
        (Durability::Never, AppendMode::Mapped),
    ] {
        for closed in [false, true] {
            runs.push(log_run(durability, append, closed)?);
        }
        runs.push(db_run(durability, append)?);
    }
    Ok(runs)
}

fn log_options(durability: Durability, append: AppendMode) -> wal::Options {
    let mut options = wal::Options::new(durability);
    options.segment_bytes = 4096;
    options.append_mode = append;
    options
}

/// Three segments, the last with an unsynced tail unless it is closed; one sync by hand.
fn log_run(durability: Durability, append: AppendMode, closed: bool) -> Result<Run> {
    let log_options = log_options(durability, append);
    let disk = SimDisk::new(4);
    let (log, _) = Log::open(
        disk.root(),
        &Env::sim(4).env,
        log_options.clone(),
        Start::default(),
        &mut |_| Ok(()),
    )?;
    let (mut records, mut payloads) = (Vec::new(), Vec::new());
    let mut attested = Position::default();
    for number in 0..18 {
        if number == 6 || number == 12 {
            // What the new segment's header says.
            attested = attested.max(log.synced());
            log.rotate()?;
        }
        if number == 14 {
            log.sync()?;
        }
        attested = attested.max(log.synced());
        let start = log.append(&payload(number))?;
        records.push((start, log.end()));
        payloads.push(payload(number));
    }
    let closed = match closed {
        true => Some(Position { segment: log.active(), offset: log.close()?.end.len }),
        false => None,
    };
    Ok(Run {
        name: format!(
            "log {durability:?} {append:?}, {}",
            if closed.is_some() { "closed" } else { "killed" }
        ),
        disk: disk.crash(ImageKind::Everything, 4),
        is_db: false,
        options: Options::default(),
        log: log_options,
        records,
        payloads,
        attested: closed.unwrap_or(attested),
        closed,
    })
}

/// A database that was killed, everything in the log, one sync by hand.
fn db_run(durability: Durability, append: AppendMode) -> Result<Run> {
    let options = Options::default()
        .segment_bytes(4096)
        .memtable_bytes(1 << 20)
        .inline_max(64)
        .reserve_bytes(0)
        .read_mode(ReadMode::Positional)
        .append_mode(match append {
            AppendMode::Mapped => engine::AppendMode::Mapped,
            AppendMode::Positional => engine::AppendMode::Positional,
        })
        .durability(match durability {
            Durability::Always => engine::Durability::Always,
            Durability::EveryBytes(bytes) => engine::Durability::EveryBytes(bytes),
            _ => engine::Durability::Never,
        });
    let disk = SimDisk::new(5);
    let db = open_db(&disk, &options)?;
    let count = 18;
    for number in 0..count {
        if number == 14 {
            db.sync()?;
        }
        db.put(db_key(number), payload(number))?;
    }
    disk.kill();
    drop(db);
    let disk = disk.crash(ImageKind::Everything, 5);
    let mut records: Vec<(Position, Position)> = Vec::new();
    let log_options = log_options(durability, append);
    let fork = disk.fork(5);
    Log::open(
        fork.root(),
        &Env::sim(6).env,
        log_options.clone(),
        Start::default(),
        &mut |record| {
            let len = (record.payload.len() as u64).next_multiple_of(8);
            let end = Position { offset: record.address.offset + len, ..record.address };
            records.push((record.position, end));
            Ok(())
        },
    )?;
    ensure!(records.len() == count, "{} records", records.len());
    // Under `Always` each frame attests those before it; else the sync by hand is attested by the
    // next frame.
    let synced = if durability == Durability::Always { count - 1 } else { 14 };
    Ok(Run {
        name: format!("database {durability:?} {append:?}, killed"),
        disk,
        is_db: true,
        options,
        log: log_options,
        attested: records[synced - 1].1,
        records,
        payloads: (0..count).map(payload).collect(),
        closed: None,
    })
}

#[cfg(test)]
mod tests;
