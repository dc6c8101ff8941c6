//! Calls against a `BTreeMap`, with crashes wherever the input wants them: between calls or inside
//! the last one. What is read is right; what a crash leaves is a prefix of the commits with every
//! durable one. Rows 14, 41, 54, 94 to 97, 102, 112.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::{
    AppendMode, Db, Durability, Keyspace, KeyspaceOptions, Options, ReadMode, Snapshot,
    WriteOptions,
};
use vfs::sim::ImageKind;
use vfs::{Clock, Env, SimDisk, SimEnv};

use crate::directory;
use crate::input::Input;

const CALLS_MAX: usize = 80;
const TTL: Duration = Duration::from_secs(1);

/// Value and expiry (0: never) by keyspace and key.
type State = BTreeMap<(usize, Vec<u8>), (Vec<u8>, u64)>;

/// The two keyspaces.
const NAMES: [&str; 2] = [engine::DEFAULT_KEYSPACE, "side"];

/// The body.
pub(crate) fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let control = input.u8();
    let mut run = Run::start(control, input.u8());
    for _ in 0..CALLS_MAX {
        if input.is_empty() {
            break;
        }
        run.call(&mut input);
    }
    run.verify();
    run.verify_snapshot();
}

struct Run {
    options: Options,
    durable_acks: bool,
    disk: SimDisk,
    sim: SimEnv,
    db: Option<Db>,
    keyspaces: Vec<Keyspace>,
    snapshot: Option<(Snapshot, State, u64)>,
    /// Every state so far since the last crash, oldest first.
    history: Vec<State>,
    /// States up to this one may not be lost: an index of the history.
    durable: usize,
    commits: u64,
}

/// Options by two bytes: small, so that few calls reach every path.
fn options(control: u8, sizes: u8) -> Options {
    let pick = |shift: u8, choices: [u64; 4]| choices[usize::from(sizes >> shift & 3)];
    let kind = if control & 1 == 0 { KeyspaceOptions::btree() } else { KeyspaceOptions::hash() };
    let read_mode = if control & 2 == 0 { ReadMode::Mapped } else { ReadMode::Positional };
    let durability = if control & 4 == 0 { Durability::Never } else { Durability::Always };
    let append = if control & 8 == 0 { AppendMode::Auto } else { AppendMode::Positional };
    let memtable_entries = pick(2, [300_000, 20, 3, 1]);
    Options::default()
        .default_keyspace(kind)
        .read_mode(read_mode)
        .durability(durability)
        .append_mode(append)
        .memtable_bytes(pick(0, [4096, 4096, 16 << 10, 64 << 10]))
        .memtable_entries(memtable_entries)
        .inline_max(usize::try_from(pick(4, [64, 0, 16, 512])).expect("small"))
        .promote_min([0.0, 0.3, 0.7, 1.0][usize::from(sizes >> 6 & 3)])
        .segment_bytes(4096)
        .log_bytes(16 << 10)
        .table_bytes(4096)
        .level0_files(2)
        .level0_files_max(3)
        .level1_bytes(8192)
        .level_multiplier(2)
        .total_garbage_max(0.0)
        .advised_garbage(0.1)
        .reserve_bytes(if control & 16 == 0 { 0 } else { 16 << 10 })
}

impl Run {
    fn start(control: u8, sizes: u8) -> Run {
        let (disk, sim) = (SimDisk::new(1), Env::sim(1));
        let mut run = Run {
            options: options(control, sizes),
            durable_acks: control & 4 != 0,
            disk,
            sim,
            db: None,
            keyspaces: Vec::new(),
            snapshot: None,
            history: vec![State::new()],
            durable: 0,
            commits: 0,
        };
        run.open();
        run
    }

    fn open(&mut self) {
        let opened = Db::open_on(self.disk.root(), self.sim.env.clone(), self.options.clone());
        let db = opened.expect("the disk is sound");
        let side = db.keyspace(NAMES[1], KeyspaceOptions::hash()).expect("a legal name");
        self.keyspaces = vec![db.default_keyspace().clone(), side];
        self.db = Some(db);
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("it is open between calls")
    }

    fn newest(&self) -> &State {
        self.history.last().expect("there is a first state")
    }

    fn call(&mut self, input: &mut Input<'_>) {
        let call = input.u8();
        match call % 16 {
            0..=6 => self.write(call, input),
            7 => self.step(Db::flush),
            8 => self.step(Db::compact),
            9 => self.db().collect_garbage().expect("the disk is sound"),
            10 => self.step(Db::sync),
            11 => self.crash(input.u8(), input.u8().into()),
            12 => {
                self.snapshot = None;
                self.keyspaces.clear();
                self.db.take().expect("it is open").close().expect("the disk is sound");
                self.durable = self.history.len() - 1;
                self.open();
                self.verify();
            }
            13 => {
                self.verify_snapshot();
                let state = self.newest().clone();
                let now_ms = self.sim.clock.wall_ms();
                self.snapshot = Some((self.db().snapshot(), state, now_ms));
            }
            14 => {
                self.sim.clock.advance(Duration::from_millis(u64::from(input.u8()) * 20));
                self.sim.spawner.run_until_idle();
            }
            _ => {
                let report = self.db().check().expect("it is open");
                assert!(report.is_sound(), "{:?}", report.damage);
                self.verify();
            }
        }
    }

    /// A call after which everything is durable.
    fn step(&mut self, call: fn(&Db) -> engine::Result<()>) {
        call(self.db()).expect("the disk is sound");
        self.durable = self.history.len() - 1;
    }

    /// One commit of a few changes; now and then the power goes out inside it.
    fn write(&mut self, call: u8, input: &mut Input<'_>) {
        let mut next = self.newest().clone();
        self.commits += 1;
        let now_ms = self.sim.clock.wall_ms();
        let mut batch = self.db().batch();
        let changes = if call & 16 == 0 { 1 } else { 1 + input.u8() % 12 };
        for _ in 0..changes {
            let (form, id) = (input.u8(), input.u8() % 24);
            let which = usize::from(form >> 7);
            let keyspace = &self.keyspaces[which];
            let key = [vec![b'a' + id % 3; usize::from(id % 5)], vec![id]].concat();
            let len = [0, 9, 40, 300, 900, 2000, 5000, 70][usize::from(form & 7)];
            let expires = form >> 3 & 7 == 2;
            // No two commits write the same value, but for the empty one, which never expires: else
            // two states could look alike now and not later.
            let len = if expires { len.max(9) } else { len };
            let mut value = self.commits.to_le_bytes().to_vec();
            value.resize(len, form);
            match form >> 3 & 7 {
                0 | 1 => {
                    batch.delete(keyspace, &key);
                    next.remove(&(which, key));
                }
                _ if expires => {
                    batch.put_ttl(keyspace, &key, &value, TTL);
                    let expiry = now_ms + u64::try_from(TTL.as_millis()).expect("a second");
                    next.insert((which, key), (value, expiry));
                }
                _ => {
                    batch.put(keyspace, &key, &value);
                    next.insert((which, key), (value, 0));
                }
            }
        }
        let asks = call & 32 != 0;
        let crashes = call & 64 != 0 && call & 128 != 0;
        let options = WriteOptions::default();
        let options = if asks { options.durable() } else { options };
        if crashes {
            self.disk.record();
        }
        self.db().write(batch, options).expect("the disk is sound");
        self.history.push(next);
        if crashes {
            let boundaries = self.disk.boundaries();
            let boundary = usize::from(input.u8()) % boundaries;
            // Inside the call nothing of it is promised.
            let image = self.image(boundary, input.u8());
            self.recover(image);
        } else if asks || self.durable_acks {
            self.durable = self.history.len() - 1;
        }
    }

    fn image(&self, boundary: usize, which: u8) -> SimDisk {
        let kinds = ImageKind::kinds();
        self.disk.image(boundary, kinds[usize::from(which) % kinds.len()], which.into())
    }

    fn crash(&mut self, which: u8, seed: u64) {
        let kinds = ImageKind::kinds();
        let image = self.disk.crash(kinds[usize::from(which) % kinds.len()], seed);
        self.recover(image);
    }

    fn recover(&mut self, image: SimDisk) {
        self.snapshot = None;
        self.keyspaces.clear();
        self.disk.kill();
        self.db = None;
        self.disk = image;
        let clock_ms = self.sim.clock.wall_ms();
        self.sim = Env::sim(self.commits);
        self.sim.clock.set_wall_ms(clock_ms);
        self.open();
        let found = self.read();
        let allowed = &self.history[self.durable..];
        let state = allowed.iter().rev().find(|state| visible(state, clock_ms) == found);
        let Some(state) = state else {
            panic!("after a crash, none of {} states: {found:?}", allowed.len());
        };
        self.history = vec![state.clone()];
        self.durable = 0;
        let report = self.db().check().expect("it is open");
        assert!(report.is_sound(), "{:?}", report.damage);
    }

    fn read(&self) -> Vec<directory::Map> {
        let contents = |name: &&str| directory::contents(self.db(), name);
        let found: Option<Vec<_>> = NAMES.iter().map(contents).collect();
        found.expect("nothing is damaged")
    }

    fn verify(&self) {
        let expected = visible(self.newest(), self.sim.clock.wall_ms());
        let found = self.read();
        assert!(found == expected, "{}", differences(&expected, &found));
        for (which, keyspace) in self.keyspaces.iter().enumerate() {
            for id in 0..24 {
                let key = [vec![b'a' + id % 3; usize::from(id % 5)], vec![id]].concat();
                let value = keyspace.get(&key).expect("nothing is damaged");
                let wanted = expected[which].get(&key);
                assert!(value.as_deref() == wanted.map(Vec::as_slice), "{which} {key:?}");
            }
        }
    }

    fn verify_snapshot(&self) {
        let Some((snapshot, state, _)) = &self.snapshot else { return };
        let expected = visible(state, self.sim.clock.wall_ms());
        for (which, keyspace) in self.keyspaces.iter().enumerate() {
            let mut found = directory::Map::new();
            for entry in snapshot.iter(keyspace) {
                let (key, value) = entry.expect("nothing is damaged");
                found.insert(key.to_vec(), value.into_vec());
            }
            let wanted = &expected[which];
            assert!(found == *wanted, "a snapshot shows {found:?}, not {wanted:?}");
        }
    }
}

/// A line for each key that differs.
fn differences(expected: &[directory::Map], found: &[directory::Map]) -> String {
    let mut lines = String::new();
    for (which, (expected, found)) in expected.iter().zip(found).enumerate() {
        let others = found.keys().filter(|key| !expected.contains_key(*key));
        for key in expected.keys().chain(others) {
            let [want, have] = [expected, found].map(|map| map.get(key).map(Vec::len));
            if expected.get(key) != found.get(key) {
                let line = format!("{which} {key:?}: {want:?} bytes expected, {have:?} found\n");
                lines.push_str(&line);
            }
        }
    }
    lines
}

/// What a reader sees of each keyspace.
fn visible(state: &State, now_ms: u64) -> Vec<directory::Map> {
    let mut maps = vec![directory::Map::new(); NAMES.len()];
    for ((which, key), (value, expiry)) in state {
        if *expiry == 0 || *expiry > now_ms {
            maps[*which].insert(key.clone(), value.clone());
        }
    }
    maps
}
