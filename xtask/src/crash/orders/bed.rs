//! A database beside a model of it, under everything that may happen around a garbage collection.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use engine::stepping::{Collection, Victims};
use engine::{Db, Durability, Options, ReadMode, Snapshot, WriteOptions};
use vfs::sim::SimDisk;
use vfs::{Clock, Env, SimEnv};

use super::super::copies;
use crate::kind::Kind;

/// Keys that are written and end.
pub(super) const KEYS: u64 = 8;
/// Never expires, and says so only to whoever looks at the clock: every reading shows the store the
/// time.
const WITNESS: &str = "witness";
const HOUR_MS: i64 = 3_600_000;
/// How long an entry lives that does not live for ever.
pub(super) const TTL: Duration = Duration::from_secs(2 * 3600);
/// How far the time goes that ends all entries given so far.
const BEYOND_MS: i64 = 4 * HOUR_MS;

/// Something that may happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Op {
    /// A collection begins; the one before, if there is one, is given up.
    Begin(Victims),
    /// A bounded piece of it.
    Step,
    /// A collection looks up and copies all; nothing counts yet.
    Scan(Victims),
    /// It counts from here on.
    Install,
    /// All of it, by the store itself.
    Collect,
    Put(u64),
    PutTtl(u64),
    Delete(u64),
    /// Time goes beyond every expiry given so far.
    Pass,
    /// The clock is set an hour ahead or back; from then on it stays so.
    Jump(bool),
    Flush,
    Compact,
    /// A clean close and the next open.
    Reopen,
    /// The process is gone and comes back.
    Kill,
    Snapshot,
    Release,
    /// A checkpoint, which is opened and read.
    Checkpoint,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    version: u64,
    expiry_ms: u64,
}

type Model = BTreeMap<u64, Entry>;

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) ops: u64,
    pub(super) installed: u64,
    pub(super) reads: u64,
}

/// A database on a simulated disk, and what it should hold.
pub(super) struct Bed {
    disk: SimDisk,
    sim: SimEnv,
    kind: Kind,
    db: Option<Db>,
    collection: Option<Collection>,
    model: Model,
    snapshot: Option<(Snapshot, Model)>,
    versions: u64,
    /// The latest time the store was shown.
    seen_ms: u64,
    pub(super) tally: Tally,
}

fn options(kind: Kind) -> Options {
    Options::default()
        .memtable_bytes(64 << 10)
        .segment_bytes(4096)
        .log_bytes(1 << 20)
        .table_bytes(4096)
        .inline_max(64)
        .total_garbage_max(0.0)
        .gc_interval(Duration::ZERO)
        .durability(Durability::Never)
        .read_mode(ReadMode::Positional)
        .default_keyspace(kind.options())
}

fn key(index: u64) -> String {
    format!("key{index}")
}

/// Every third is short, so that an ordered index holds it inline.
fn value(index: u64, version: u64) -> Vec<u8> {
    let text = format!("value {index}.{version} ").into_bytes();
    text.repeat(if version.is_multiple_of(3) { 2 } else { 20 })
}

impl Bed {
    /// Two value files; some keys have an old version in the older and a newer one in the other.
    /// `mortal` is in both, and its newest version lives for [`TTL`] if `expires` says so.
    pub(super) fn new(kind: Kind, mortal: u64, expires: bool) -> Result<Bed> {
        let (disk, sim) = (SimDisk::new(13), Env::sim(13));
        copies::make_places(&disk, 1)?;
        let mut bed = Bed {
            disk,
            sim,
            kind,
            db: None,
            collection: None,
            model: Model::new(),
            snapshot: None,
            versions: 0,
            seen_ms: 0,
            tally: Tally::default(),
        };
        bed.open()?;
        let endless = WriteOptions::default().ttl(Duration::MAX);
        bed.db().put_with(WITNESS, "", endless)?;
        (0..KEYS).try_for_each(|index| bed.put(index, false))?;
        bed.db().compact()?;
        for index in (0..KEYS).filter(|index| *index >= KEYS / 2 || *index == mortal) {
            bed.put(index, expires && index == mortal)?;
        }
        bed.db().flush()?;
        bed.db.take().context("it is open")?.close()?;
        Ok(bed)
    }

    /// The same again, on a disk of its own.
    pub(super) fn fork(&self) -> Result<Bed> {
        let sim = Env::sim(14);
        sim.clock.set_wall_ms(self.sim.clock.wall_ms());
        let mut bed = Bed {
            disk: self.disk.fork(1),
            sim,
            kind: self.kind,
            db: None,
            collection: None,
            model: self.model.clone(),
            snapshot: None,
            versions: self.versions,
            seen_ms: self.seen_ms,
            tally: Tally::default(),
        };
        bed.open()?;
        Ok(bed)
    }

    fn open(&mut self) -> Result<()> {
        let home = copies::home(&self.disk)?;
        self.db = Some(Db::open_on(home, self.sim.env.clone(), options(self.kind))?);
        self.look();
        Ok(())
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("it is open between operations")
    }

    fn look(&mut self) {
        self.seen_ms = self.seen_ms.max(self.sim.clock.wall_ms());
    }

    fn put(&mut self, index: u64, expires: bool) -> Result<()> {
        self.look();
        self.versions += 1;
        let version = self.versions;
        let (options, expiry_ms) = match expires {
            true => {
                let ttl_ms = u64::try_from(TTL.as_millis()).context("short")?;
                (WriteOptions::default().ttl(TTL), self.seen_ms + ttl_ms)
            }
            false => (WriteOptions::default(), 0),
        };
        self.db().put_with(key(index), value(index, version), options)?;
        self.model.insert(index, Entry { version, expiry_ms });
        Ok(())
    }

    /// Does one thing. Whether it shows is for [`Bed::verify`] to say.
    pub(super) fn perform(&mut self, op: Op) -> Result<()> {
        self.tally.ops += 1;
        match op {
            Op::Begin(victims) => {
                self.collection = None;
                self.collection = Some(Collection::begin(self.db(), victims));
            }
            Op::Step => {
                self.collection.as_mut().map(Collection::step).transpose()?;
            }
            Op::Scan(victims) => {
                self.perform(Op::Begin(victims))?;
                while !self.collection.as_mut().context("it began")?.step()? {}
            }
            Op::Install => {
                if let Some(collection) = self.collection.take() {
                    collection.install()?;
                    self.tally.installed += 1;
                    self.check()?;
                }
            }
            Op::Collect => {
                self.collection = None;
                self.db().collect_garbage()?;
                self.check()?;
            }
            Op::Put(index) => self.put(index, false)?,
            Op::PutTtl(index) => self.put(index, true)?,
            Op::Delete(index) => {
                self.db().delete(key(index))?;
                self.model.remove(&index);
            }
            Op::Pass => self.sim.clock.jump_wall_ms(BEYOND_MS),
            Op::Jump(ahead) => self.sim.clock.jump_wall_ms(if ahead { HOUR_MS } else { -HOUR_MS }),
            Op::Flush => self.db().flush()?,
            Op::Compact => self.db().compact()?,
            Op::Reopen => self.reopen()?,
            Op::Kill => self.kill()?,
            Op::Snapshot => self.snapshot = Some((self.db().snapshot(), self.model.clone())),
            Op::Release => self.snapshot = None,
            Op::Checkpoint => self.checkpoint()?,
        }
        Ok(())
    }

    fn reopen(&mut self) -> Result<()> {
        (self.collection, self.snapshot) = (None, None);
        self.db.take().context("it is open")?.close()?;
        self.open()
    }

    fn kill(&mut self) -> Result<()> {
        (self.collection, self.snapshot) = (None, None);
        self.disk.kill();
        self.db = None;
        // What was told and is not written down may be forgotten where the clock went back: that
        // is `expiry.rs`'s to test, of the engine.
        self.sim.clock.set_wall_ms(self.sim.clock.wall_ms().max(self.seen_ms));
        self.open()
    }

    fn checkpoint(&mut self) -> Result<()> {
        let place = copies::place(&self.disk, 1)?;
        if !place.list()?.entries.is_empty() {
            // One place, and a checkpoint goes into an empty directory only.
            return Ok(());
        }
        self.db().checkpoint_on(&place)?;
        let fork = self.disk.fork(2);
        let sim = Env::sim(15);
        sim.clock.set_wall_ms(self.seen_ms.max(self.sim.clock.wall_ms()));
        let copy = Db::open_on(copies::place(&fork, 1)?, sim.env.clone(), options(self.kind))?;
        self.look();
        compare(&copy, &self.model, self.seen_ms).context("a checkpoint")?;
        copy.close()?;
        Ok(())
    }

    /// Every key, every snapshot, every entry of a scan.
    pub(super) fn verify(&mut self) -> Result<()> {
        self.look();
        self.tally.reads += KEYS;
        compare(self.db(), &self.model, self.seen_ms)?;
        if let Some((snapshot, model)) = &self.snapshot {
            let keyspace = self.db().default_keyspace();
            for index in 0..KEYS {
                let found = snapshot.get(keyspace, key(index))?;
                require(model, index, found.as_deref(), self.seen_ms).context("in a snapshot")?;
            }
        }
        Ok(())
    }

    /// As [`Bed::verify`], with the clock an hour ahead or back meanwhile, which ends nothing.
    pub(super) fn verify_elsewhen(&mut self, ahead: bool) -> Result<()> {
        self.sim.clock.jump_wall_ms(if ahead { HOUR_MS } else { -HOUR_MS });
        self.verify()?;
        self.sim.clock.jump_wall_ms(if ahead { -HOUR_MS } else { HOUR_MS });
        Ok(())
    }

    /// Every pointer leads to its record, or to one that a newer entry hides.
    fn check(&self) -> Result<()> {
        let report = self.db().check()?;
        ensure!(report.is_sound(), "{:?}", report.damage);
        Ok(())
    }

    /// Whatever came before: all garbage goes, and nothing else.
    pub(super) fn settle(&mut self) -> Result<()> {
        (self.collection, self.snapshot) = (None, None);
        self.db().compact()?;
        self.db().collect_garbage()?;
        self.verify()?;
        let garbage = self.db().stats().garbage_bytes;
        ensure!(garbage == 0, "{garbage} bytes of garbage are left");
        self.check()?;
        self.reopen()?;
        self.verify()?;
        let strays = self.db().stats().recovery.quarantined;
        ensure!(strays.is_empty(), "a clean close left {strays:?}");
        Ok(())
    }
}

fn require(model: &Model, index: u64, found: Option<&[u8]>, now_ms: u64) -> Result<()> {
    let live = |entry: &&Entry| entry.expiry_ms == 0 || entry.expiry_ms > now_ms;
    let entry = model.get(&index).filter(live);
    let expected = entry.map(|entry| value(index, entry.version));
    let text = |bytes: &[u8]| bytes[..bytes.len().min(14)].escape_ascii().to_string();
    ensure!(
        found == expected.as_deref(),
        "key{index}: expected {:?}, found {:?}",
        expected.as_deref().map(text),
        found.map(text)
    );
    Ok(())
}

fn compare(db: &Db, model: &Model, now_ms: u64) -> Result<()> {
    ensure!(db.get(WITNESS)?.is_some(), "what never expires is gone");
    let mut all = BTreeMap::new();
    for entry in db.iter() {
        let (key, value) = entry?;
        ensure!(all.insert(key.to_vec(), value).is_none(), "a scan shows a key twice");
    }
    for index in 0..KEYS {
        require(model, index, db.get(key(index))?.as_deref(), now_ms)?;
        let scanned = all.remove(key(index).as_bytes());
        require(model, index, scanned.as_deref(), now_ms).context("in a scan")?;
    }
    ensure!(all.len() == 1, "a scan shows {} entries too many", all.len() - 1);
    Ok(())
}
