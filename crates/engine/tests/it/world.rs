//! A database on a simulated disk, steered by a seed, and what is compared before and after.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::Duration;

use engine::{
    AppendMode, Db, Durability, ErrorKind, IndexKind, Keyspace, KeyspaceOptions, Options, ReadMode,
    Result,
};
use vfs::sim::{ImageKind, SimDisk};
use vfs::{Env, SimEnv};

pub(crate) type TestResult = std::result::Result<(), Box<dyn Error>>;
pub(crate) type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// A machine: a disk, a clock, randomness, background work.
pub(crate) struct World {
    pub(crate) disk: SimDisk,
    pub(crate) sim: SimEnv,
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        World { disk: SimDisk::new(seed), sim: Env::sim(seed) }
    }

    /// The machine after the power went out: same time, other disk.
    pub(crate) fn crash(&self, kind: ImageKind, seed: u64) -> World {
        World::of(self.disk.crash(kind, seed), self, seed)
    }

    /// As [`World::crash`], at an earlier boundary.
    pub(crate) fn image(&self, boundary: usize, kind: ImageKind, seed: u64) -> World {
        World::of(self.disk.image(boundary, kind, seed), self, seed)
    }

    fn of(disk: SimDisk, old: &World, seed: u64) -> World {
        let sim = Env::sim(seed ^ 0xc4a5);
        sim.clock.set_wall_ms(vfs::Clock::wall_ms(&*old.sim.clock));
        World { disk, sim }
    }

    /// Kills the process; everything it wrote stays in the system's cache.
    pub(crate) fn kill(&self, db: Db) {
        self.disk.kill();
        drop(db);
    }

    pub(crate) fn open(&self, options: &Options) -> Result<Db> {
        Db::open_on(self.disk.root(), self.sim.env.clone(), options.clone())
    }

    /// Runs up to `count` steps of background work, in an order drawn from `choice`.
    pub(crate) fn step(&self, count: u64, mut choice: u64) {
        for _ in 0..count {
            if !self.sim.spawner.step_one(choice) {
                return;
            }
            choice = choice.rotate_left(17).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    /// Every file and its bytes.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let names = self.disk.files().into_iter().map(|(name, _)| name);
        names
            .map(|name| (name.clone(), self.disk.read_file(name).expect("it was listed")))
            .collect()
    }

    /// The names of the files of a kind, in order.
    pub(crate) fn names(&self, suffix: &str) -> Vec<String> {
        let names = self.disk.files().into_iter().map(|(name, _)| name);
        names.filter(|name| name.ends_with(suffix)).collect()
    }
}

/// False for a file that may come and go and say what it likes.
pub(crate) fn holds_data(name: &str) -> bool {
    name != "LOCK" && !name.ends_with(".reserve")
}

/// Everything small, so that few writes reach every path.
pub(crate) fn tiny() -> Options {
    Options::default()
        .memtable_bytes(4096)
        .segment_bytes(4096)
        .log_bytes(16 << 10)
        .table_bytes(4096)
        .inline_max(64)
        .level0_files(2)
        .level0_files_max(3)
        .level1_bytes(8192)
        .level_multiplier(2)
        .durability(Durability::Never)
        .read_mode(ReadMode::Positional)
        .reserve_bytes(16 << 10)
}

/// The options with either kind of default keyspace.
pub(crate) fn both(options: &Options) -> [Options; 2] {
    let kinds = [KeyspaceOptions::btree(), KeyspaceOptions::hash()];
    kinds.map(|kind| options.clone().default_keyspace(kind))
}

/// Both ways to append crossed with both ways to read; some of it with a hash keyspace as the
/// default one.
pub(crate) fn modes(options: &Options) -> Vec<Options> {
    let mut modes = Vec::new();
    for append in [AppendMode::Auto, AppendMode::Positional] {
        for read in [ReadMode::Mapped, ReadMode::Positional] {
            modes.push(options.clone().append_mode(append).read_mode(read));
        }
    }
    for (append, read) in
        [(AppendMode::Auto, ReadMode::Positional), (AppendMode::Positional, ReadMode::Mapped)]
    {
        let hash = options.clone().default_keyspace(KeyspaceOptions::hash());
        modes.push(hash.append_mode(append).read_mode(read));
    }
    modes
}

/// An option set of the whole space; equal numbers give equal sets.
pub(crate) fn option_set(number: u64) -> Options {
    let mut random = vfs::Random::new(number.wrapping_mul(0x5851_f42d_4c95_7f2d) ^ 0xb10c);
    let mut pick = |choices: &[u64]| choices[random.index(choices.len())];
    let small = |number: u64| usize::try_from(number).expect("a small number");
    let segment_bytes = pick(&[4096, 4096, 16 << 10, 1 << 20]);
    let level0_files = pick(&[1, 2, 4]);
    // The modes and the durability follow the number, so that few numbers meet all of them.
    let durability = match number / 4 % 4 {
        0 => Durability::Never,
        1 => Durability::Always,
        2 => Durability::EveryBytes(5000),
        _ => Durability::Interval(Duration::from_millis(50)),
    };
    let append = if number.is_multiple_of(2) { AppendMode::Auto } else { AppendMode::Positional };
    let read = if (number / 2).is_multiple_of(2) { ReadMode::Mapped } else { ReadMode::Positional };
    let kind = match number % 3 {
        2 => KeyspaceOptions::hash(),
        _ => KeyspaceOptions::btree(),
    };
    Options::default()
        .default_keyspace(kind)
        .segment_bytes(segment_bytes)
        .log_bytes(segment_bytes * pick(&[1, 4, 64]))
        .memtable_bytes(pick(&[4096, 4096, 16 << 10, 1 << 20]))
        .memtable_entries(pick(&[3, 20, 1000, 300_000]))
        .sealed_max(small(pick(&[1, 2, 3])))
        .inline_max(small(pick(&[0, 16, 64, 512, 64 << 10])))
        .promote_min([0.0, 0.3, 0.7, 1.0][small(pick(&[0, 1, 2, 3]))])
        .bloom_bits_per_key(u32::try_from(pick(&[0, 10])).expect("small"))
        .table_bytes(pick(&[4096, 8192, 1 << 20]))
        .level0_files(small(level0_files))
        .level0_files_max(small(level0_files + pick(&[0, 1, 4])))
        .level1_bytes(pick(&[4096, 16 << 10, 1 << 20]))
        .level_multiplier(pick(&[2, 10]))
        .total_garbage_max([0.0, 0.1, 0.25][small(pick(&[0, 1, 2]))])
        .advised_garbage([0.0, 0.1, 0.4][small(pick(&[0, 1, 2]))])
        .reserve_bytes(pick(&[0, 16 << 10]))
        .durability(durability)
        .append_mode(append)
        .read_mode(read)
}

/// Everything in a keyspace: forwards, checked against backwards and against point reads.
pub(crate) fn contents(keyspace: &Keyspace) -> Result<Map> {
    let mut forwards = Vec::new();
    for entry in keyspace.iter() {
        let (key, value) = entry?;
        forwards.push((key.to_vec(), value.into_vec()));
    }
    if keyspace.kind() == IndexKind::Hash {
        forwards.sort();
    }
    assert!(forwards.is_sorted_by(|a, b| a.0 < b.0), "keys ascend, each once");
    let mut backwards = Vec::new();
    for entry in keyspace.iter().rev() {
        let (key, value) = entry?;
        backwards.push((key.to_vec(), value.into_vec()));
    }
    if keyspace.kind() == IndexKind::Hash {
        backwards.sort_by(|a, b| b.cmp(a));
    }
    backwards.reverse();
    assert!(forwards == backwards, "backwards is forwards reversed");
    for (key, value) in &forwards {
        assert_eq!(keyspace.get(key)?.as_deref(), Some(value.as_slice()), "a scan agrees with get");
    }
    Ok(forwards.into_iter().collect())
}

/// Compares keys first, so that the message is short.
#[track_caller]
pub(crate) fn assert_same(found: &Map, expected: &Map, what: &str) {
    let keys = |map: &Map| -> Vec<String> {
        map.keys().map(|key| key.escape_ascii().to_string()).collect()
    };
    assert_eq!(keys(found), keys(expected), "the keys of {what}");
    for (key, value) in found {
        assert!(*value == expected[key], "{what}: the value of {} differs", key.escape_ascii());
    }
}

/// `check` finds nothing.
pub(crate) fn assert_sound(db: &Db) -> Result<()> {
    let report = db.check()?;
    assert!(report.is_sound(), "{:?}", report.damage);
    Ok(())
}

/// The other kind of index.
pub(crate) fn other_kind(kind: IndexKind) -> KeyspaceOptions {
    match kind {
        IndexKind::BTree => KeyspaceOptions::hash(),
        _ => KeyspaceOptions::btree(),
    }
}

/// The kind of the error that a call must return.
#[track_caller]
pub(crate) fn kind_of<T>(result: Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("the call succeeded"),
        Err(error) => error.kind(),
    }
}

pub(crate) fn key(index: u64) -> Vec<u8> {
    format!("key{index:06}").into_bytes()
}

/// A value that says whose it is and which version, `len` bytes at least.
pub(crate) fn value(index: u64, version: u64, len: usize) -> Vec<u8> {
    let mut value = format!("value {index}.{version} ").into_bytes();
    let filler = vfs::Random::new(index ^ version << 32).bytes(len.saturating_sub(value.len()));
    value.extend_from_slice(&filler);
    value
}

/// Files of a real directory, with their bytes; `LOCK` without.
#[expect(clippy::disallowed_methods, reason = "the test looks past the store at what it left")]
pub(crate) fn real_files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).expect("the directory is there") {
        let path = entry.expect("it can be listed").path();
        let name = path.file_name().expect("entries have names").to_string_lossy().into_owned();
        let bytes =
            if path.is_file() { std::fs::read(&path).expect("it is there") } else { vec![] };
        files.insert(name, bytes);
    }
    files
}

/// Puts a file into a real directory.
#[expect(clippy::disallowed_methods, reason = "the test plays the vandal")]
pub(crate) fn put_real_file(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("the directory is there");
}

/// Removes a file of a real directory.
#[expect(clippy::disallowed_methods, reason = "the test plays the vandal")]
pub(crate) fn remove_real_file(path: &Path) {
    std::fs::remove_file(path).expect("it is there");
}

/// Cuts every file of these kinds in a real directory to half its length.
#[expect(clippy::disallowed_methods, reason = "the test plays the vandal")]
pub(crate) fn halve_real_files(dir: &Path, kinds: &[&str]) {
    for entry in std::fs::read_dir(dir).expect("the directory is there") {
        let path = entry.expect("it can be listed").path();
        if kinds.iter().any(|kind| path.extension().is_some_and(|found| found == *kind)) {
            let file = std::fs::OpenOptions::new().write(true).open(path).expect("it is there");
            let len = file.metadata().expect("it is open").len();
            file.set_len(len / 2).expect("it is ours");
        }
    }
}
