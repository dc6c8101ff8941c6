//! First inputs, made by the store's own code: files, directories, and programs drawn at random.

use std::sync::Arc;

use diskhash::{At, Leftovers};
use engine::{Db, Durability, KeyspaceOptions};
use sstable::{Builder, BuilderOptions, Entry, FileId, Value};
use vfs::sim::ImageKind;
use vfs::{Env, Fs, Kind, Name, Random, SimDisk};
use wal::{Log, Segment, Start};

use crate::db_open;
use crate::directory;
use crate::input::{put_part, squeeze};

/// One seed: target, name, bytes.
pub type Seed = (&'static str, String, Vec<u8>);

/// All of them. Equal on every machine.
///
/// # Panics
/// If the store fails on a sound disk.
pub fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    logs(&mut seeds);
    tables(&mut seeds);
    hashes(&mut seeds);
    databases(&mut seeds);
    programs(&mut seeds);
    seeds
}

fn add(seeds: &mut Vec<Seed>, target: &'static str, name: &str, bytes: &[u8]) {
    seeds.push((target, name.to_owned(), bytes.to_vec()));
}

/// Logs of a few segments: closed, crashed, closed and opened again.
fn logs(seeds: &mut Vec<Seed>) {
    for (number, crash) in
        [None, Some(ImageKind::Everything), Some(ImageKind::NewestFileLost)].into_iter().enumerate()
    {
        let mut disk = SimDisk::new(1);
        for round in 0..2 {
            let options =
                wal::Options { segment_bytes: 4096, ..wal::Options::new(Durability::Never) };
            let env = Env::sim(round).env;
            let opened = Log::open(disk.root(), &env, options, Start::default(), &mut |_| Ok(()));
            let (log, _) = opened.expect("a sound log");
            for payload in [&b"lotus"[..], &[7; 100], &[], &[9; 3000]] {
                log.append(payload).expect("a sound disk");
            }
            log.append_batch(&[b"all", b"or none"]).expect("a sound disk");
            log.sync().expect("a sound disk");
            log.append(b"behind the sync").expect("a sound disk");
            match crash {
                None => drop(log.close().expect("a sound disk")),
                Some(kind) => disk = disk.crash(kind, 1),
            }
        }
        let mut all = vec![0; 1 + 1 + 2 + 1 + 4];
        for (path, _) in disk.files() {
            let name = Name::parse(&path).expect("a log's files");
            let bytes = disk.read_file(name).expect("it was listed");
            all.push(0);
            all.push(u8::try_from(name.id).expect("few segments"));
            put_part(&squeeze(&bytes), &mut all);
            if name.id == 1 {
                // The decoder's target reads every segment under one name.
                let mut bytes = bytes;
                bytes[24..28].copy_from_slice(&7_u32.to_le_bytes());
                let input = [vec![0], squeeze(&bytes)].concat();
                add(seeds, "wal_decode", &format!("segment-{number}"), &input);
            }
        }
        add(seeds, "wal_open", &format!("log-{number}"), &all);
    }
}

fn table(count: u32, shape: u32) -> Vec<u8> {
    let disk = SimDisk::new(1);
    let name = Name::new(Kind::new("tbl"), 1);
    let options =
        BuilderOptions { file_id: FileId(1), owner: 9, salt: 3, bloom_bits_per_key: 10 * shape };
    let file = disk.root().create_new(name).expect("an empty disk");
    let mut builder = Builder::new(file, options).expect("legal options");
    for number in 0..count {
        let tail = "x".repeat(usize::try_from(shape * (number % 7) * 40).expect("short"));
        let key = format!("prefix {number:05} {tail}");
        let value = match number % 5 {
            0 => Value::Tombstone,
            1 => Value::Pointer(u64::from(number) << 32),
            _ => Value::Inline(&key.as_bytes()[..7]),
        };
        let expiry = if number % 3 == 0 { u64::from(number) } else { 0 };
        builder.add(Entry { key: key.as_bytes(), value, expiry }).expect("keys ascend");
    }
    builder.finish(b"owner's").expect("a sound disk");
    disk.read_file(name).expect("it was built")
}

fn tables(seeds: &mut Vec<Seed>) {
    for (number, (count, shape)) in
        [(0, 1), (3, 0), (40, 1), (150, 2), (60, 3)].into_iter().enumerate()
    {
        let bytes = table(count, shape);
        let mut input = vec![0, 2, 12];
        input.extend_from_slice(b"prefix 00002");
        input.extend_from_slice(&[1, b'q']);
        input.extend(squeeze(&bytes));
        add(seeds, "sst_open", &format!("table-{number}"), &input);
        for page in bytes.as_chunks::<4096>().0.iter().filter(|page| page[4] <= 2).skip(1).take(3) {
            let form = if page[4] == 2 { page[5] << 1 } else { 0 };
            let input = [vec![form, 1, 3, b'p', b'r', b'e'], squeeze(page)].concat();
            add(seeds, "nodes", &format!("node-{number}-{}", page[5]), &input);
        }
    }
    for (bits, many) in [(0, 3), (1, 200), (10, 2000), (64, 500)] {
        let mut input = vec![bits];
        input.extend_from_slice(&u16::to_le_bytes(many));
        put_part(b"\x05lotus\x04leaf\x01q", &mut input);
        add(seeds, "filter", &format!("sound-{bits}"), &input);
        input.extend_from_slice(&[0, 70, 0, 3, 255, 0, 255, 1, 20, 0, 2, 1, 1]);
        add(seeds, "filter", &format!("forged-{bits}"), &input);
    }
}

fn hashes(seeds: &mut Vec<Seed>) {
    for (number, count) in [3_u64, 300].into_iter().enumerate() {
        let disk = SimDisk::new(1);
        let options = diskhash::Options {
            owner: 7,
            listed: Some(8),
            runs_max: 3,
            partition_bytes: 8 << 10,
            ..diskhash::Options::new(12)
        };
        let env = Env::sim(3).env;
        let opened = diskhash::Table::open(disk.root(), &env, options, At::Latest, Leftovers::Keep);
        let table = opened.expect("an empty directory");
        for round in 0..2 {
            let before = table.newest().id();
            let slots: Vec<_> = (0..count)
                .map(|key| (Random::new(key).next_u64(), [u8::try_from(round).expect("few"); 12]))
                .collect();
            let slots = slots.iter().map(|(hash, slot)| (*hash, &slot[..]));
            table.apply(slots).expect("a sound disk");
            table.release(before);
        }
        // Calls: an apply, both merges, a look-up.
        let mut input = vec![0];
        put_part(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 2, 1, 3, 1, 2, 3], &mut input);
        for (path, _) in disk.files() {
            let name = Name::parse(&path).expect("a table's files");
            let kind = match name.kind.as_str() {
                "gen" => 0,
                "run" => 1,
                _ => 2,
            };
            input.extend_from_slice(&[kind, u8::try_from(name.id).expect("few files")]);
            let bytes = disk.read_file(name).expect("it was listed");
            put_part(&squeeze(&bytes), &mut input);
            if kind == 1 && bytes.len() > 8192 {
                // Slots of 12 bytes, 5 bytes of the hash.
                let input = [vec![1, 0, 11], squeeze(&bytes[4096..8192])].concat();
                add(seeds, "nodes", &format!("page-{number}"), &input);
            }
        }
        add(seeds, "hash_ops", &format!("table-{number}"), &input);
    }
}

/// A store with something in every file it can have.
fn fill(disk: &SimDisk, control: u8, rounds: u8) -> Db {
    let sim = Env::sim(1);
    let options = db_open::options(control);
    let db = Db::open_on(disk.root(), sim.env.clone(), options).expect("an empty disk");
    let side = db.keyspace("side", KeyspaceOptions::hash()).expect("a new keyspace");
    for round in 0..rounds {
        for id in 0..6_u8 {
            let len = [5, 30, 200, 900][usize::from((id + round) % 4)];
            let key = format!("key {id}");
            db.put(&key, vec![id + round; len]).expect("a sound disk");
            side.put(&key, vec![round; len / 2]).expect("a sound disk");
        }
        db.delete(format!("key {}", round % 6)).expect("a sound disk");
        match round % 3 {
            0 => db.flush().expect("a sound disk"),
            1 => db.compact().expect("a sound disk"),
            _ => db.collect_garbage().expect("a sound disk"),
        }
    }
    db
}

fn databases(seeds: &mut Vec<Seed>) {
    let calls = [0, 4, 0, 0, 3, b'n', b'e', b'w', 1, b'v', 1, 1, 1, b'k', 0, 5, 0, 6, 0, 9];
    for (number, (control, rounds)) in
        [(0, 0), (0, 1), (2, 3), (4, 4), (6, 6), (0, 9)].into_iter().enumerate()
    {
        let disk = SimDisk::new(1);
        let db = fill(&disk, control, rounds);
        let image = disk.crash(ImageKind::Everything, 1);
        db.close().expect("a sound disk");
        for (ending, disk) in [("closed", &disk), ("crashed", &image)] {
            let mut input = vec![control];
            put_part(&calls, &mut input);
            input.extend(directory::pack(disk));
            add(seeds, "db_open", &format!("{ending}-{number}"), &input);
        }
        parts(seeds, number, &image);
    }
}

/// Payloads and files out of a store's directory.
fn parts(seeds: &mut Vec<Seed>, number: usize, disk: &SimDisk) {
    let fs: Arc<dyn Fs> = disk.root();
    for (path, _) in disk.files() {
        let Some(name) = Name::parse(&path) else { continue };
        let bytes = disk.read_file(name).expect("it was listed");
        let frames = || {
            let segment = Segment::open(&fs, name, wal::ReadMode::Positional, None);
            let frames = segment.expect("a sound segment").frames();
            frames.map_while(Result::ok).collect::<Vec<_>>()
        };
        let db_id = bytes.get(16..24).unwrap_or(&[0; 8]).to_vec();
        match name.kind.as_str() {
            "manifest" => {
                let mut input = vec![0];
                frames().iter().for_each(|frame| put_part(&frame.payload, &mut input));
                add(seeds, "manifest_replay", &format!("edits-{number}"), &input);
            }
            "wal" => {
                let mut input = vec![1];
                for frame in frames().iter().take(4) {
                    input.push(0);
                    put_part(&squeeze(&frame.payload), &mut input);
                    let record = [vec![0; 9], squeeze(&frame.payload)].concat();
                    add(seeds, "vlog", &format!("record-{number}-{}", name.id), &record);
                }
                add(seeds, "batch", &format!("log-{number}-{}", name.id), &input);
            }
            "val" if bytes.get(124..128) == Some(&[0; 4]) => {
                let id = u8::try_from(name.id - 1).expect("few files");
                let input = [vec![4, id, 1], db_id, squeeze(&bytes)].concat();
                add(seeds, "vlog", &format!("moved-{number}-{}", name.id), &input);
            }
            "map" => {
                let field = |at: usize, len: usize| bytes[at..at + len].to_vec();
                let file = u8::try_from(name.id - 1).expect("few files");
                let footer = bytes.len() - 4096;
                let targets = bytes[footer + 48];
                let numbers = footer - 4096 + 8;
                let mut input = vec![6];
                input.extend(field(48, 4));
                input.extend([file, 1]);
                input.extend(field(24, 8));
                input.push(targets);
                input.extend(field(numbers, 4 * usize::from(targets)));
                input.extend([2, 24, 0, 0, 0, 60, 0, 0, 0]);
                input.extend(squeeze(&bytes));
                add(seeds, "vlog", &format!("remap-{number}-{}", name.id), &input);
            }
            _ => {}
        }
    }
}

/// Programs drawn at random: what they mean is the target's affair.
fn programs(seeds: &mut Vec<Seed>) {
    let mut random = Random::new(7);
    for (target, lens) in [
        ("sst_model", [60, 300, 1500]),
        ("hash_ops", [20, 60, 200]),
        ("batch", [60, 300, 1500]),
        ("options", [20, 60, 150]),
        ("db_model", [30, 100, 300]),
        ("vlog", [13, 20, 60]),
        ("manifest_replay", [5, 20, 60]),
    ] {
        for (len, index) in lens.into_iter().flat_map(|len| [(len, 0), (len, 1), (len, 2)]) {
            let mut bytes = random.bytes(len);
            match target {
                // Two tables and the moves, each part as long as can be.
                "sst_model" => {
                    let part = u16::try_from(len / 3).expect("short");
                    bytes.splice(1..3, part.to_le_bytes());
                    bytes.splice(3 + len / 3..5 + len / 3, part.to_le_bytes());
                }
                "hash_ops" => bytes[0] |= 1,
                "vlog" => bytes[0] = bytes[0] & !6 | 2,
                "batch" => {
                    bytes[0] &= !1;
                    bytes.iter_mut().skip(1).for_each(|byte| *byte %= 48);
                }
                "options" => bytes.iter_mut().step_by(2).for_each(|byte| *byte %= 26),
                _ => {}
            }
            add(seeds, target, &format!("program-{len}-{index}"), &bytes);
        }
    }
}
