//! Random operations against a map: every answer, under every option set, over reopens.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use engine::{
    Db, ErrorKind, IndexKind, Keyspace, KeyspaceOptions, Options, Result, Snapshot, WriteOptions,
};
use vfs::sim::ImageKind;
use vfs::{Clock, Random};

use crate::lent::{Item, Mixed};
use crate::world::{World, assert_same, assert_sound, option_set, other_kind};

/// A value and when it vanishes (0: never).
type Entry = (Vec<u8>, u64);
type Entries = BTreeMap<Vec<u8>, Entry>;

/// A keyspace and what it should hold.
#[derive(Clone)]
struct Space {
    name: String,
    handle: Keyspace,
    entries: Entries,
}

/// A snapshot and what it should show.
struct Held {
    snapshot: Snapshot,
    spaces: Vec<Space>,
}

struct Runner {
    world: World,
    options: Options,
    db: Option<Db>,
    spaces: Vec<Space>,
    held: Vec<Held>,
    /// Decides the operations; the same under every option set.
    random: Random,
    /// Decides what background work runs when.
    schedule: Random,
    /// The latest time that the database was told.
    now_ms: u64,
    unlogged: bool,
    /// Of every answer.
    digest: u64,
}

const NAMES: [&str; 4] = ["default", "users", "blobs", "\u{e9}\u{20ac}"];
const VALUE_LENS: [usize; 16] =
    [0, 1, 7, 8, 15, 16, 17, 63, 64, 65, 511, 512, 513, 1500, 4096, 9000];

fn live(entry: Option<&Entry>, now_ms: u64) -> Option<&[u8]> {
    let (value, expiry) = entry?;
    (*expiry == 0 || now_ms < *expiry).then_some(value.as_slice())
}

impl Runner {
    fn new(seed: u64, options: Options, schedule: u64) -> Runner {
        let world = World::new(seed);
        let now_ms = world.sim.clock.wall_ms();
        let mut runner = Runner {
            world,
            options,
            db: None,
            spaces: Vec::new(),
            held: Vec::new(),
            random: Random::new(seed),
            schedule: Random::new(schedule),
            now_ms,
            unlogged: false,
            digest: 0,
        };
        runner.open().expect("a new database");
        let handle = runner.db().default_keyspace().clone();
        runner.spaces.push(Space { name: NAMES[0].into(), handle, entries: Entries::new() });
        runner.tell_time().expect("a healthy disk");
        runner
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("it is open between operations")
    }

    fn open(&mut self) -> Result<()> {
        self.held.clear();
        let db = self.world.open(&self.options)?;
        let mut names: Vec<String> = db.keyspaces()?.into_iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        if !self.spaces.is_empty() {
            let mut expected: Vec<&str> = self.spaces.iter().map(|s| s.name.as_str()).collect();
            expected.sort_unstable();
            assert_eq!(names, expected, "the keyspaces that were there");
        }
        for space in &mut self.spaces {
            space.handle = db.keyspace(&space.name, kind_of_space(&db, &space.name))?;
        }
        self.db = Some(db);
        self.unlogged = false;
        Ok(())
    }

    fn key(&mut self) -> Vec<u8> {
        let random = &mut self.random;
        let id = random.below(48);
        match random.below(12) {
            0..7 => format!("k{id:02}").into_bytes(),
            7..9 => format!("user:{:02}", id % 12).into_bytes(),
            9 => vec![0xff; 1 + random.index(3)],
            10 => [b"a long common prefix ".repeat(12), vec![u8::try_from(id).expect("small")]]
                .concat(),
            _ if id < 2 => vec![b'L'; 5000 + random.index(2)],
            _ => vec![u8::try_from(id).expect("small")],
        }
    }

    fn value(&mut self) -> Vec<u8> {
        let len = VALUE_LENS[self.random.index(VALUE_LENS.len())];
        self.random.bytes(len)
    }

    fn space(&mut self) -> usize {
        self.random.index(self.spaces.len())
    }

    fn ttl(&mut self) -> Duration {
        [
            Duration::ZERO,
            Duration::from_millis(1),
            Duration::from_secs(5),
            Duration::from_secs(7200),
        ][self.random.index(4)]
    }

    fn expiry(&self, ttl: Option<Duration>) -> u64 {
        let ttl_ms = |ttl: Duration| u64::try_from(ttl.as_millis()).expect("short");
        ttl.map_or(0, |ttl| self.now_ms + ttl_ms(ttl))
    }

    /// One operation. Whatever it draws, it draws the same under every option set.
    fn operate(&mut self) -> Result<()> {
        match self.random.below(100) {
            0..25 => self.put()?,
            25..33 => self.delete()?,
            33..41 => self.batch()?,
            41..56 => self.get()?,
            56..70 => self.scan()?,
            70..74 => self.snapshot(),
            74..77 => drop(self.held.pop()),
            77..80 => self.db().flush()?,
            80..82 => self.db().collect_garbage()?,
            82..84 => self.db().compact()?,
            84..86 => self.db().sync()?,
            86..89 => self.create()?,
            89..91 => self.drop_keyspace()?,
            91..95 => self.tick()?,
            95..97 => self.reopen()?,
            97 => self.kill()?,
            98 => self.power_cut()?,
            _ => self.check_all()?,
        }
        if self.schedule.percent(60) {
            let (count, choice) = (self.schedule.below(4), self.schedule.next_u64());
            self.world.step(count, choice);
        }
        Ok(())
    }

    fn put(&mut self) -> Result<()> {
        let (at, key, value) = (self.space(), self.key(), self.value());
        let ttl = self.random.percent(20).then(|| self.ttl());
        let mut options = WriteOptions::default();
        match self.random.below(10) {
            0 => options = options.durable(),
            1 => {
                options = options.disable_wal();
                self.unlogged = true;
            }
            _ => {}
        }
        if let Some(ttl) = ttl {
            options = options.ttl(ttl);
        }
        let expiry = self.expiry(ttl);
        let space = &mut self.spaces[at];
        space.handle.put_with(&key, &value, options)?;
        space.entries.insert(key, (value, expiry));
        Ok(())
    }

    fn delete(&mut self) -> Result<()> {
        let (at, key) = (self.space(), self.key());
        self.spaces[at].handle.delete(&key)?;
        self.spaces[at].entries.remove(&key);
        Ok(())
    }

    fn batch(&mut self) -> Result<()> {
        let mut batch = self.db().batch();
        let count = self.random.below(9);
        for _ in 0..count {
            let (at, key, value) = (self.space(), self.key(), self.value());
            let draw = self.random.below(10);
            let ttl = self.ttl();
            let expiry = self.expiry(Some(ttl));
            let space = &mut self.spaces[at];
            match draw {
                0..3 => {
                    batch.delete(&space.handle, &key);
                    space.entries.remove(&key);
                }
                3 => {
                    batch.put_ttl(&space.handle, &key, &value, ttl);
                    space.entries.insert(key, (value, expiry));
                }
                _ => {
                    batch.put(&space.handle, &key, &value);
                    space.entries.insert(key, (value, 0));
                }
            }
        }
        assert_eq!(batch.len() as u64, count);
        self.db().write(batch, WriteOptions::default())
    }

    fn get(&mut self) -> Result<()> {
        let (at, key) = (self.space(), self.key());
        let space = &self.spaces[at];
        let expected = live(space.entries.get(&key), self.now_ms);
        let found = space.handle.get(&key)?;
        assert_eq!(found.as_deref(), expected, "get {} in {}", key.escape_ascii(), space.name);
        assert_eq!(space.handle.contains(&key)?, expected.is_some(), "{}", key.escape_ascii());
        let digest = found.map_or(1, |value| vfs::Checksum::of(1, 0, &value).into());
        self.digest = self.digest.rotate_left(5) ^ digest;
        if let Some(held) = self.held.first() {
            let space = &held.spaces[at % held.spaces.len()];
            let expected = live(space.entries.get(&key), self.now_ms);
            let found = held.snapshot.get(&space.handle, &key)?;
            assert_eq!(found.as_deref(), expected, "snapshot get {}", key.escape_ascii());
            assert_eq!(held.snapshot.contains(&space.handle, &key)?, expected.is_some());
        }
        Ok(())
    }

    /// A random piece of a keyspace, now or in a snapshot, from both ends in a random order.
    fn scan(&mut self) -> Result<()> {
        let at = self.space();
        let (one, two) = (self.key(), self.key());
        let (draw, from_snapshot) = (self.random.below(8), self.random.percent(50));
        let is_lent = self.random.percent(50);
        let held = self.held.last().filter(|_| from_snapshot);
        let (space, snapshot) = match held {
            Some(held) => (&held.spaces[at % held.spaces.len()], Some(&held.snapshot)),
            None => (&self.spaces[at], None),
        };
        let (low, high) = if one < two { (one, two) } else { (two, one) };
        let (lower, upper) = match draw {
            0 => (Bound::Unbounded, Bound::Unbounded),
            1 => (Bound::Included(low), Bound::Excluded(high)),
            2 => (Bound::Excluded(low), Bound::Included(high)),
            3 => (Bound::Unbounded, Bound::Included(high)),
            4 => (Bound::Excluded(low), Bound::Unbounded),
            5 => (Bound::Included(low.clone()), Bound::Included(low)),
            _ => {
                let mut prefix = low;
                prefix.truncate(1 + self.random.index(5));
                (Bound::Included(prefix), Bound::Unbounded)
            }
        };
        let is_prefix = draw >= 6;
        let keyspace = &space.handle;
        let mut range = match (&lower, snapshot) {
            (Bound::Included(prefix), None) if is_prefix => keyspace.prefix(prefix),
            (Bound::Included(prefix), Some(held)) if is_prefix => held.prefix(keyspace, prefix),
            (_, None) => keyspace.range((lower.clone(), upper.clone())),
            (_, Some(held)) => held.range(keyspace, (lower.clone(), upper.clone())),
        };
        let inside = |key: &Vec<u8>| match &lower {
            Bound::Included(prefix) if is_prefix => key.starts_with(prefix),
            _ => std::ops::RangeBounds::contains(&(lower.clone(), upper.clone()), key),
        };
        let expected: Vec<(&Vec<u8>, &[u8])> = space
            .entries
            .iter()
            .filter(|(key, _)| inside(key))
            .filter_map(|(key, entry)| Some((key, live(Some(entry), self.now_ms)?)))
            .collect();
        let digest = match keyspace.kind() {
            IndexKind::BTree => walk(Mixed::new(range, is_lent), &expected, &mut self.random)?,
            _ => {
                let error = range.next().expect("an item").expect_err("there is no order");
                assert_eq!(error.kind(), ErrorKind::Invalid);
                let all = snapshot.map_or_else(|| keyspace.iter(), |held| held.iter(keyspace));
                let mut found: Vec<_> = Mixed::new(all, is_lent).collect::<Result<_>>()?;
                found.retain(|(key, _)| inside(key));
                found.sort();
                walk(found.into_iter().map(Ok), &expected, &mut self.random)?
            }
        };
        self.digest = self.digest.rotate_left(5) ^ digest;
        Ok(())
    }

    fn snapshot(&mut self) {
        if self.held.len() < 3 {
            let (snapshot, spaces) = (self.db().snapshot(), self.spaces.clone());
            self.held.push(Held { snapshot, spaces });
        }
    }

    fn create(&mut self) -> Result<()> {
        let name = NAMES[self.random.index(NAMES.len())];
        let handle = self.db().keyspace(name, kind_of_space(self.db(), name))?;
        if !self.spaces.iter().any(|space| space.name == name) {
            self.spaces.push(Space { name: name.into(), handle, entries: Entries::new() });
        }
        Ok(())
    }

    fn drop_keyspace(&mut self) -> Result<()> {
        let at = self.space();
        if at > 0 {
            let space = self.spaces.remove(at);
            self.db().drop_keyspace(&space.name)?;
            let gone = space.handle.get(b"k").expect_err("a dropped keyspace answers nothing");
            assert_eq!(gone.kind(), engine::ErrorKind::NotFound);
        }
        Ok(())
    }

    /// The clock moves, mostly forwards.
    fn tick(&mut self) -> Result<()> {
        let clock = &self.world.sim.clock;
        match self.random.below(6) {
            0 => clock.jump_wall_ms(-3_600_000),
            1 => clock.jump_wall_ms(3_600_000),
            2 => clock.advance(Duration::from_millis(1)),
            _ => clock.advance(Duration::from_secs(self.random.below(6))),
        }
        self.tell_time()
    }

    /// A write with a time to live tells the database what time it is.
    fn tell_time(&mut self) -> Result<()> {
        self.now_ms = self.now_ms.max(self.world.sim.clock.wall_ms());
        let expiry = self.now_ms + 1000;
        let options = WriteOptions::default().ttl(Duration::from_secs(1));
        self.spaces[0].handle.put_with(b"clock", b"", options)?;
        self.spaces[0].entries.insert(b"clock".to_vec(), (Vec::new(), expiry));
        Ok(())
    }

    fn reopen(&mut self) -> Result<()> {
        self.held.clear();
        let db = self.db.take().expect("it is open");
        if self.random.percent(50) {
            db.close()?;
        } else {
            // The handles of the keyspaces keep it open as well.
            drop(db);
            self.forget_handles();
        }
        self.open()
    }

    fn forget_handles(&mut self) {
        let scratch = World::new(0);
        let other = scratch.open(&Options::default()).expect("a new database");
        for space in &mut self.spaces {
            space.handle = other.default_keyspace().clone();
        }
    }

    /// What is in no log is flushed first; then the process ends at once.
    fn kill(&mut self) -> Result<()> {
        self.make_survivable(false)?;
        let db = self.db.take().expect("it is open");
        self.world.disk.kill();
        drop(db);
        self.forget_handles();
        self.open()?;
        self.tell_time()
    }

    /// Everything is synced; then the power goes, and the disk holds whatever it likes beyond.
    fn power_cut(&mut self) -> Result<()> {
        self.make_survivable(true)?;
        let kinds = ImageKind::kinds();
        let kind = kinds[self.schedule.index(kinds.len())];
        let seed = self.schedule.next_u64();
        let db = self.db.take().expect("it is open");
        let next = self.world.crash(kind, seed);
        self.world.disk.kill();
        drop(db);
        self.forget_handles();
        self.world = next;
        self.open()?;
        self.tell_time()
    }

    fn make_survivable(&mut self, power: bool) -> Result<()> {
        self.held.clear();
        // What was told of the time since the last edit may be forgotten: tell no lies then.
        self.world.sim.clock.set_wall_ms(self.now_ms);
        if self.unlogged {
            self.db().flush()?;
        }
        if power { self.db().sync() } else { Ok(()) }
    }

    fn check_all(&mut self) -> Result<()> {
        for space in &self.spaces {
            let expected = visible(&space.entries, self.now_ms);
            let found = crate::world::contents(&space.handle)?;
            assert_same(&found, &expected, &space.name);
        }
        for held in &self.held {
            for space in &held.spaces {
                let mut found = BTreeMap::new();
                for entry in held.snapshot.iter(&space.handle) {
                    let (key, value) = entry?;
                    found.insert(key.to_vec(), value.into_vec());
                }
                assert_same(&found, &visible(&space.entries, self.now_ms), "a snapshot");
            }
        }
        Ok(())
    }

    /// Grown, merged, reopened twice: the contents are compared in full each time.
    fn end(&mut self) -> Result<()> {
        self.world.sim.spawner.run_until_idle();
        self.check_all()?;
        assert_sound(self.db())?;
        self.reopen()?;
        self.check_all()?;
        self.held.clear();
        self.db().compact()?;
        self.check_all()?;
        self.db().collect_garbage()?;
        self.check_all()?;
        self.reopen()?;
        self.check_all()?;
        assert_sound(self.db())?;
        let stats = self.db().stats();
        assert_eq!(stats.failure, None);
        assert_eq!(stats.recovery.quarantined, Vec::<String>::new(), "nothing was left behind");
        Ok(())
    }
}

fn visible(entries: &Entries, now_ms: u64) -> crate::world::Map {
    let live =
        |(key, entry): (&Vec<u8>, &Entry)| Some((key.clone(), live(Some(entry), now_ms)?.to_vec()));
    entries.iter().filter_map(live).collect()
}

/// The kinds alternate, so that most batches are over both.
fn kind_of_space(db: &Db, name: &str) -> KeyspaceOptions {
    let default = db.default_keyspace().kind();
    let number = NAMES.iter().position(|known| *known == name).expect("a known name");
    match default {
        IndexKind::BTree if number.is_multiple_of(2) => KeyspaceOptions::btree(),
        IndexKind::BTree => KeyspaceOptions::hash(),
        _ => other_kind(if number.is_multiple_of(2) { IndexKind::BTree } else { default }),
    }
}

/// Takes items from both ends in a random order and compares them; returns a digest.
fn walk(
    mut range: impl DoubleEndedIterator<Item = Result<Item>>,
    expected: &[(&Vec<u8>, &[u8])],
    random: &mut Random,
) -> Result<u64> {
    let mut left = expected.iter();
    let mut digest = 0;
    let style = random.below(4);
    loop {
        let forwards = match style {
            0 => true,
            1 => false,
            _ => random.percent(50),
        };
        let (found, expected) = if forwards {
            (range.next(), left.next())
        } else {
            (range.next_back(), left.next_back())
        };
        let Some(found) = found.transpose()? else {
            assert!(expected.is_none(), "the range ended before {expected:?}");
            assert!(range.next().is_none() && range.next_back().is_none(), "it stays ended");
            return Ok(digest);
        };
        let (key, value) = expected.expect("the range goes on behind its end");
        assert_eq!(found.0.escape_ascii().to_string(), key.escape_ascii().to_string());
        assert!(found.1 == **value, "the value of {}", key.escape_ascii());
        digest = digest * 31 + u64::from(vfs::Checksum::of(2, 0, &found.1));
        digest %= 1 << 40;
        if style == 3 && random.percent(10) {
            return Ok(digest); // dropped half way
        }
    }
}

fn run(seed: u64, options: Options, schedule: u64, count: u64) -> u64 {
    let mut runner = Runner::new(seed, options, schedule);
    for _ in 0..count {
        runner.operate().expect("a healthy disk");
    }
    runner.end().expect("a healthy disk");
    runner.digest
}

#[test]
fn model_agrees_with_btreemaps_over_reopens_crashes_and_all_option_sets() {
    for seed in vfs::testing::seeds(16) {
        let options = option_set(seed % 1000);
        run(seed, options, seed ^ 0x5c4e, 300);
    }
}

#[test]
fn the_same_operations_give_the_same_answers_under_every_option_set() {
    let seed = vfs::testing::seed();
    let mut first = None;
    for number in 0..24 {
        println!("option set {number}");
        let digest = run(seed, option_set(number), number, 160);
        assert_eq!(*first.get_or_insert(digest), digest, "option set {number} answers otherwise");
    }
}

/// Equal seeds, equal calls: what a failing seed shows can be shown again.
#[test]
fn equal_seeds_make_equal_traces() {
    let trace = |seed| {
        let mut runner = Runner::new(seed, option_set(seed), seed);
        for _ in 0..80 {
            runner.operate().expect("a healthy disk");
        }
        (runner.digest, runner.world.disk.trace_hash())
    };
    for seed in 0..4 {
        assert_eq!(trace(seed), trace(seed), "seed {seed}");
    }
}
