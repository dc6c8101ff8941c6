//! The databases that are damaged: small, cleanly closed, with every kind of file in them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use engine::{Db, Durability, Keyspace, Options, ReadMode, WriteOptions};
use vfs::sim::{Damage, ImageKind, SimDisk};
use vfs::{Clock, Env, Random};

use crate::crash::observe;
use crate::kind::Kind;

/// Bytes of a page of every format, and of the pieces that damage is looked at in.
pub(super) const PAGE: u64 = 4096;
/// The second ordered keyspace: keys longer than a page.
const LONG: &str = "long";
const HASHED: &str = "hashed";
const HASHED_LONG: &str = "hashed-long";
const EMPTY: &str = "empty";
const DROPPED: &str = "dropped";
/// Keys of the two main keyspaces.
const KEYS: u64 = 210;

/// A file of the database.
#[derive(Clone, Debug)]
pub(super) struct BaseFile {
    /// Its path on the disk.
    pub(super) path: String,
    pub(super) len: u64,
}

impl BaseFile {
    /// Its path's last part, which an error must name.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().expect("a path has a last part")
    }

    /// What its name says that it is: `tbl`, `run`.
    pub(super) fn kind(&self) -> &str {
        self.name().rsplit('.').next().expect("a name has a kind")
    }

    /// Its directory, with a slash behind it; empty for the root.
    pub(super) fn dir(&self) -> &str {
        &self.path[..self.path.len() - self.name().len()]
    }
}

/// What a keyspace answers.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    pub(super) keyspace: String,
    pub(super) kind: Kind,
    /// Every key that was ever written, and some that were not.
    pub(super) gets: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// What a scan shows.
    pub(super) scan: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Number of the first key, counted over all keyspaces.
    pub(super) first: usize,
}

/// A closed database, and what it answers.
pub(super) struct Base {
    pub(super) name: &'static str,
    pub(super) disk: SimDisk,
    pub(super) files: Vec<BaseFile>,
    pub(super) answers: Vec<Answers>,
    pub(super) clock_ms: u64,
    pub(super) fingerprint: u64,
    /// Of each file, of each of its pages: which keys cannot be read without it.
    needed_by: Vec<Vec<BTreeSet<usize>>>,
}

/// Small limits, so that little data makes many files; jobs run only when called.
pub(super) fn options(read: ReadMode) -> Options {
    Options::default()
        .memtable_bytes(64 << 10)
        .segment_bytes(32 << 10)
        .log_bytes(256 << 10)
        .table_bytes(32 << 10)
        .inline_max(64)
        .level0_files(2)
        .level0_files_max(6)
        .level1_bytes(48 << 10)
        .level_multiplier(2)
        .promote_min(0.5)
        .total_garbage_max(0.0)
        .gc_interval(Duration::ZERO)
        .durability(Durability::Never)
        .reserve_bytes(16 << 10)
        .read_mode(read)
}

impl Base {
    /// The reference database, of at least 256 KiB, and a small checkpoint.
    ///
    /// # Errors
    /// If the store fails, or does not make every kind of file.
    pub(super) fn all() -> Result<Vec<Base>> {
        Ok(vec![Base::whole().context("reference database")?, Base::copy().context("checkpoint")?])
    }

    fn whole() -> Result<Base> {
        let disk = SimDisk::new(1);
        disk.remember();
        let sim = Env::sim(1);
        let options = options(ReadMode::Positional);
        let db = Db::open_on(disk.root(), sim.env.clone(), options.clone())?;
        let keyspaces = [db.default_keyspace().clone(), db.keyspace(HASHED, Kind::Hash.options())?];
        let longs = [
            db.keyspace(LONG, Kind::Btree.options())?,
            db.keyspace(HASHED_LONG, Kind::Hash.options())?,
        ];
        db.keyspace(EMPTY, Kind::Btree.options())?;
        db.keyspace(DROPPED, Kind::Btree.options())?.put(b"key", b"of a keyspace that goes")?;
        db.drop_keyspace(DROPPED)?;
        moved(&db, &keyspaces)?;
        for keyspace in &longs {
            long_keys(keyspace)?;
        }
        db.flush()?;
        // Then time passes for the values that do not live long.
        mixed(&db, &keyspaces)?;
        sim.clock.advance(Duration::from_secs(100));
        logged(&keyspaces)?;
        db.close()?;
        let base = Base::of("main", &disk, sim.clock.wall_ms())?;
        base.require_every_kind()?;
        Ok(base)
    }

    /// A checkpoint of a small database, of both kinds of keyspace.
    fn copy() -> Result<Base> {
        let (disk, copy) = (SimDisk::new(2), SimDisk::new(3));
        copy.remember();
        let sim = Env::sim(2);
        let db = Db::open_on(disk.root(), sim.env.clone(), options(ReadMode::Positional))?;
        let hashed = db.keyspace(HASHED, Kind::Hash.options())?;
        for keyspace in [db.default_keyspace(), &hashed] {
            for index in 0..20 {
                keyspace.put(key(index), value(index, 0, if index % 4 == 0 { 300 } else { 20 }))?;
            }
        }
        db.flush()?;
        for keyspace in [db.default_keyspace(), &hashed] {
            keyspace.delete(key(3))?;
            keyspace.put(key(4), value(4, 1, 200))?;
        }
        db.checkpoint_on(&copy.root())?;
        db.close()?;
        Base::of("checkpoint", &copy, sim.clock.wall_ms())
    }

    fn of(name: &'static str, disk: &SimDisk, clock_ms: u64) -> Result<Base> {
        // Everything at rest, as the next day finds it.
        let disk = disk.crash(ImageKind::Everything, 9);
        let files = disk.files().into_iter().map(|(path, len)| BaseFile { path, len });
        let holds_data = |file: &BaseFile| file.name() != "LOCK" && file.kind() != "reserve";
        let files: Vec<BaseFile> = files.filter(holds_data).collect();
        let fingerprint = disk.fingerprint();
        let mut base = Base {
            name,
            disk,
            files,
            answers: Vec::new(),
            clock_ms,
            fingerprint,
            needed_by: Vec::new(),
        };
        base.answers = base.read_all()?;
        base.needed_by = base.find_needs()?;
        Ok(base)
    }

    /// A machine with a copy of the disk.
    pub(super) fn open(&self, disk: &SimDisk, read: ReadMode) -> engine::Result<Db> {
        let sim = Env::sim(5);
        sim.clock.set_wall_ms(self.clock_ms);
        Db::open_on(disk.root(), sim.env.clone(), options(read).create_if_missing(false))
    }

    fn read_all(&self) -> Result<Vec<Answers>> {
        let db = self.open(&self.disk.fork(1), ReadMode::Positional)?;
        ensure!(db.check()?.is_sound(), "{:?}", db.check()?.damage);
        let (mut answers, mut first) = (Vec::new(), 0);
        for (name, _) in db.keyspaces()? {
            let keyspace = observe::keyspace(&db, &name)?;
            let entries = keyspace
                .iter()
                .map(|entry| entry.map(|(key, value)| (key.to_vec(), value.into_vec())));
            let scan: BTreeMap<_, _> = entries.collect::<engine::Result<_>>()?;
            // Where there are few keys, few that are not there will do.
            let absent = if scan.len() < 50 { 10 } else { KEYS + 10 };
            let known = (0..absent).map(key).chain(scan.keys().cloned());
            let known: BTreeSet<Vec<u8>> = known.collect();
            let get = |key: Vec<u8>| {
                let value = keyspace.get(&key)?.map(engine::Value::into_vec);
                ensure!(value.as_ref() == scan.get(&key), "a scan disagrees with get");
                Ok((key, value))
            };
            let gets = known.into_iter().map(get).collect::<Result<Vec<_>>>()?;
            let count = gets.len();
            let kind = Kind::of(keyspace.kind());
            answers.push(Answers { keyspace: name, kind, gets, scan, first });
            first += count;
        }
        Ok(answers)
    }

    /// Zeroes each page of each file under an open database and sees who misses it.
    fn find_needs(&self) -> Result<Vec<Vec<BTreeSet<usize>>>> {
        let pages = |file: &BaseFile| {
            (0..file.len.div_ceil(PAGE)).map(|page| self.who_needs(file, page)).collect()
        };
        self.files.iter().map(pages).collect()
    }

    fn who_needs(&self, file: &BaseFile, page: u64) -> Result<BTreeSet<usize>> {
        let disk = self.disk.fork(1);
        let db = self.open(&disk, ReadMode::Positional)?;
        // Opening a closed database removes its MANIFEST and maybe a log.
        if disk.read_file(&file.path).is_none() {
            return Ok(BTreeSet::new());
        }
        let offset = page * PAGE;
        disk.corrupt(&file.path, &Damage::Zero { offset, len: PAGE.min(file.len - offset) });
        let mut needing = BTreeSet::new();
        for answers in &self.answers {
            let keyspace = observe::keyspace(&db, &answers.keyspace)?;
            for (number, (key, value)) in answers.gets.iter().enumerate() {
                let found = keyspace.get(key);
                if !found.is_ok_and(|found| found.as_deref() == value.as_deref()) {
                    needing.insert(answers.first + number);
                }
            }
        }
        Ok(needing)
    }

    /// Keys that read any of some ranges: file, from, to.
    pub(super) fn needing(&self, ranges: &[(usize, u64, u64)]) -> BTreeSet<usize> {
        let mut needing = BTreeSet::new();
        for (file, from, to) in ranges {
            let pages = self.needed_by[*file].iter().enumerate();
            let hit = |page: usize| page as u64 * PAGE < *to && *from < (page as u64 + 1) * PAGE;
            let hits = pages.filter(|(page, _)| hit(*page));
            needing.extend(hits.flat_map(|(_, keys)| keys));
        }
        needing
    }

    fn require_every_kind(&self) -> Result<()> {
        let bytes: u64 = self.files.iter().map(|file| file.len).sum();
        ensure!(bytes >= 256 << 10, "only {bytes} bytes");
        for kind in ["manifest", "wal", "val", "map", "tbl", "gen", "run", "part"] {
            let count = self.files.iter().filter(|file| file.kind() == kind).count();
            ensure!(count > 0, "no {kind} among {:?}", self.files);
        }
        let db = self.open(&self.disk.fork(1), ReadMode::Positional)?;
        let stats = db.stats();
        let levels = stats
            .keyspaces
            .iter()
            .map(|keyspace| keyspace.levels.iter().filter(|(files, _)| *files > 0).count());
        ensure!(levels.max() >= Some(2), "one level only: {:?}", stats.keyspaces);
        Ok(())
    }
}

pub(super) fn key(index: u64) -> Vec<u8> {
    format!("key{index:06}").into_bytes()
}

/// A value that says whose it is.
pub(super) fn value(index: u64, version: u64, len: usize) -> Vec<u8> {
    let mut value = format!("{index}.{version} ").into_bytes();
    value.extend(Random::new(index ^ version << 32).bytes(len.saturating_sub(value.len())));
    value
}

/// Large values: promoted, then half overwritten, then moved by a collection.
fn moved(db: &Db, keyspaces: &[Keyspace]) -> Result<()> {
    for keyspace in keyspaces {
        for index in 0..60 {
            keyspace.put(key(index), value(index, 0, 1000))?;
        }
    }
    db.flush()?;
    for keyspace in keyspaces {
        for index in (0..60).step_by(2) {
            keyspace.put(key(index), value(index, 1, 1000))?;
        }
    }
    db.compact()?;
    db.collect_garbage()?;
    Ok(())
}

/// Small values, empty ones, some that are copied, deletes, expiries; in two flushes.
fn mixed(db: &Db, keyspaces: &[Keyspace]) -> Result<()> {
    for round in 0..2 {
        for keyspace in keyspaces {
            for index in 60..200 {
                let len = if index % 10 == 0 { 300 } else { 30 };
                let value = if index % 13 == 0 { Vec::new() } else { value(index, round, len) };
                let ttl = match index % 17 {
                    0 => Some(Duration::from_secs(50)),
                    1 => Some(Duration::from_secs(1_000_000)),
                    _ => None,
                };
                let options = WriteOptions::default();
                let options = ttl.map_or(options.clone(), |ttl| options.ttl(ttl));
                keyspace.put_with(key(index), value, options)?;
            }
            for index in (round..200).step_by(7 + usize::try_from(round)?) {
                keyspace.delete(key(index))?;
            }
        }
        db.flush()?;
        if round == 0 {
            db.compact()?;
        }
    }
    Ok(())
}

/// What is in the log alone.
fn logged(keyspaces: &[Keyspace]) -> Result<()> {
    for keyspace in keyspaces {
        for index in 200..KEYS {
            let len = if index % 3 == 0 { 500 } else { 40 };
            keyspace.put(key(index), value(index, 0, len))?;
        }
        keyspace.delete(key(5))?;
    }
    Ok(())
}

/// Keys longer than a page, and values inline, copied and empty.
fn long_keys(keyspace: &Keyspace) -> Result<()> {
    for index in 0..8 {
        let mut long = key(index);
        long.resize(4000 + usize::try_from(index)? * 300, b'x');
        keyspace.put(long, value(index, 0, [0, 30, 900][usize::try_from(index)? % 3]))?;
    }
    Ok(())
}

/// Shared, because all parts of a process damage the same databases.
pub(super) type Bases = Arc<Vec<Base>>;
