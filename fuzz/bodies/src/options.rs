//! Any options: refused by name, or the store opens and works with them, and again with others.
//! Names of keyspaces and of files too. Rows 39, 67, 74, 107.

use std::time::Duration;

use engine::{AppendMode, Db, Durability, ErrorKind, KeyspaceOptions, Options, ReadMode};
use vfs::{Env, SimDisk};

use crate::directory;
use crate::input::Input;

/// The disk's: options that ask for more than this find it full.
const QUOTA_BYTES: u64 = 6 << 20;

/// The body.
pub(crate) fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let disk = SimDisk::new(1);
    disk.set_quota(Some(QUOTA_BYTES));
    let name = String::from_utf8_lossy(input.short()).into_owned();
    if let Some(parsed) = vfs::Name::parse(&name) {
        assert!(parsed.to_string() == name, "row 74: {name:?} is the name of {parsed}");
    }
    let mut expected: Option<directory::Map> = None;
    let mut side: Option<String> = None;
    for round in 0..3_u8 {
        let options = options(&mut input);
        let sim = Env::sim(round.into());
        let db = match Db::open_on(disk.root(), sim.env.clone(), options.clone()) {
            Ok(db) => db,
            Err(error) => {
                let clear = match error.kind() {
                    ErrorKind::Invalid => error.to_string().contains("option"),
                    ErrorKind::NoSpace | ErrorKind::NotFound => true,
                    _ => false,
                };
                assert!(clear, "{error} for {options:?}");
                continue;
            }
        };
        if let Some(expected) = &expected {
            let found = directory::contents(&db, engine::DEFAULT_KEYSPACE);
            assert!(found.as_ref() == Some(expected), "other options, other contents: {options:?}");
        }
        if let Some(name) = &side {
            let known = db.keyspaces().expect("it is open");
            assert!(known.iter().any(|(known, _)| known == name), "row 39: {name:?} is gone");
        }
        let mut map = expected.take().unwrap_or_default();
        write(&db, round, &mut map);
        match db.keyspace(&name, KeyspaceOptions::btree()) {
            Ok(_) => side = Some(name.clone()),
            Err(error) => {
                let refused = [ErrorKind::Invalid, ErrorKind::NoSpace].contains(&error.kind());
                assert!(refused, "{error} for the name {name:?}");
            }
        }
        let found = directory::contents(&db, engine::DEFAULT_KEYSPACE);
        assert!(found.as_ref() == Some(&map), "what was written is read: {options:?}");
        if let Err(error) = db.close() {
            assert!(error.kind() == ErrorKind::NoSpace, "{error} at close");
        }
        expected = Some(map);
    }
    for (path, _) in disk.files() {
        let parts: Vec<&str> = path.split('/').collect();
        let legal = |part: &&str| vfs::Name::parse(part).is_some() || *part == "LOCK";
        assert!(parts.len() <= 2 && parts.iter().all(legal), "row 74: a file {path:?}");
    }
}

fn write(db: &Db, round: u8, map: &mut directory::Map) {
    for index in 0..12_u8 {
        let (key, value) = (vec![index, round % 2], vec![round; usize::from(index) * 60]);
        match db.put(&key, &value) {
            Ok(()) => drop(map.insert(key, value)),
            Err(error) => assert!(error.kind() == ErrorKind::NoSpace, "{error} at a put"),
        }
        let step = match index {
            5 => db.flush(),
            8 => db.compact(),
            10 => db.collect_garbage(),
            _ => Ok(()),
        };
        if let Err(error) = step {
            assert!(error.kind() == ErrorKind::NoSpace, "{error} at a step");
        }
    }
}

/// An option is left as it is for half the forms, so that legal sets are not rare.
fn options(input: &mut Input<'_>) -> Options {
    let mut options = Options::default()
        .memtable_bytes(64 << 10)
        .segment_bytes(16 << 10)
        .log_bytes(64 << 10)
        .reserve_bytes(16 << 10)
        .gc_interval(Duration::ZERO);
    for _ in 0..input.u8() % 24 {
        let (which, number) = (input.u8(), input.number());
        let size = usize::try_from(number).expect("64 bits");
        let share = f64::from_bits(number.rotate_right(16));
        let share = if number <= 100 { number as f64 / 100.0 } else { share };
        let time = Duration::from_millis(number);
        options = match which % 26 {
            0 => options.create_if_missing(number.is_multiple_of(2)),
            1 => options.durability(Durability::Always),
            2 => options.durability(Durability::EveryBytes(number)),
            3 => options.durability(Durability::Interval(time)),
            4 => options.durability(Durability::Never),
            5 => options.memtable_bytes(number),
            6 => options.memtable_entries(number),
            7 => options.log_bytes(number),
            8 => options.segment_bytes(number),
            9 => options.sealed_max(size),
            10 => options.inline_max(size),
            11 => options.promote_min(share),
            12 => options.total_garbage_max(share),
            13 => options.advised_garbage(share),
            14 => options.forced_garbage(share),
            15 => options.gc_interval(time),
            16 => options.gc_bytes_per_second(number),
            17 => options.bloom_bits_per_key(u32::try_from(number).unwrap_or(u32::MAX)),
            18 => options.table_bytes(number),
            19 => options.level0_files(size),
            20 => options.level0_files_max(size),
            21 => options.level1_bytes(number),
            22 => options.level_multiplier(number),
            23 => options.pinned_bytes_max(number).txn_history_bytes(number.rotate_left(9)),
            24 => options.reserve_bytes(number),
            _ => modes(options, number),
        };
    }
    options
}

fn modes(options: Options, number: u64) -> Options {
    let options = match number % 3 {
        0 => options.append_mode(AppendMode::Auto),
        1 => options.append_mode(AppendMode::Mapped),
        _ => options.append_mode(AppendMode::Positional),
    };
    let options = match number / 3 % 2 {
        0 => options.read_mode(ReadMode::Mapped),
        _ => options.read_mode(ReadMode::Positional),
    };
    match number / 6 % 4 {
        0 => options.default_keyspace(KeyspaceOptions::hash()),
        1 => options.key_hasher(|seed, key| seed ^ key.len() as u64),
        _ => options,
    }
}
