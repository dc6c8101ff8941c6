//! A directory that one does not trust (docs/threat-model.md): whatever stands under a legal name, and
//! whatever the MANIFEST says under a right checksum, an open says so or goes on, and nothing outside
//! the directory is read or changed.
#![expect(clippy::disallowed_methods, reason = "the tests play the vandal behind the store's back")]

use std::collections::BTreeMap;
use std::os::unix::fs::{FileExt, FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use engine::{Db, ErrorKind, KeyspaceOptions, Options, ReadMode};
use vfs::{Fs, Kind, Name, Random};

use crate::alloc::peak_of;
use crate::world::{TestResult, World, assert_sound, both, key, kind_of, tiny, value};

/// A database with files of every kind, closed.
fn reference(path: &Path) -> engine::Result<()> {
    let db = Db::open(path, options())?;
    let hashed = db.keyspace("hashed", KeyspaceOptions::hash())?;
    for round in 0..4 {
        // Some records of every file stay alive, so that a collection moves them.
        for index in (0..60).filter(|index| round == 0 || index % 3 > 0) {
            db.put(key(index), value(index, round, 150))?;
            hashed.put(key(index), value(index, round, 90))?;
        }
        db.flush()?;
    }
    db.compact()?;
    db.collect_garbage()?;
    db.put("last", value(1, 1, 3000))?;
    db.close()
}

fn options() -> Options {
    let options = tiny().table_bytes(32 << 10).level1_bytes(64 << 10).promote_min(0.9);
    options.total_garbage_max(0.05).advised_garbage(0.05)
}

/// Every file below a directory, by its path from there.
fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("it is there") {
        let path = entry.expect("it can be listed").path();
        let kind = path.symlink_metadata().expect("it was listed").file_type();
        match kind.is_dir() {
            true => {
                let below = files_below(&path);
                let name = path.file_name().expect("entries have names");
                found.extend(below.into_iter().map(|file| Path::new(name).join(file)));
            }
            false => found.push(path.file_name().expect("entries have names").into()),
        }
    }
    found.sort();
    found
}

fn bytes_below(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let read = |file: PathBuf| {
        let bytes = std::fs::read(dir.join(&file)).expect("a regular file");
        (file, bytes)
    };
    files_below(dir).into_iter().map(read).collect()
}

/// Copies a directory, or makes hard links.
fn copy_below(from: &Path, to: &Path, link: bool) {
    for file in files_below(from) {
        let target = to.join(&file);
        std::fs::create_dir_all(target.parent().expect("it is below `to`")).expect("ours");
        match link {
            true => std::fs::hard_link(from.join(&file), target).expect("one file system"),
            false => drop(std::fs::copy(from.join(&file), target).expect("ours")),
        }
    }
}

/// What can stand in the place of a file.
const PLANTS: [&str; 5] = ["link to its copy", "link to nothing", "pipe", "socket", "directory"];

/// Plants something under a name that is free. `outside` may be led to.
fn plant(what: &str, at: &Path, outside: &Path) {
    match what {
        "link to its copy" => symlink(outside, at).expect("planted"),
        "link to nothing" => symlink(outside.with_extension("nothing"), at).expect("planted"),
        "pipe" => {
            let made = Command::new("mkfifo").arg(at).status().expect("mkfifo is everywhere");
            assert!(made.success());
        }
        "socket" => drop(std::os::unix::net::UnixListener::bind(at).expect("a short path")),
        _ => std::fs::create_dir(at).expect("planted"),
    }
}

fn type_of(path: &Path) -> std::fs::FileType {
    path.symlink_metadata().expect("it is still there").file_type()
}

#[test]
fn row_074_nothing_that_stands_under_a_legal_name_is_followed_waited_for_or_replaced() -> TestResult
{
    let scratch = tempfile::tempdir()?;
    let original = scratch.path().join("original");
    reference(&original)?;
    let mut names = files_below(&original);
    // Another test's.
    names.retain(|name| !name.ends_with("LOCK"));
    let kinds = ["tbl", "val", "manifest", "wal", "map", "gen"];
    let is_there =
        |kind: &&str| names.iter().any(|name| name.extension().is_some_and(|e| e == *kind));
    let missing: Vec<_> = kinds.iter().filter(|kind| !is_there(kind)).collect();
    assert!(missing.is_empty(), "no {missing:?} in {names:?}");
    let kind_of_file = |name: &PathBuf| name.extension().map(ToOwned::to_owned);
    let mut taken = BTreeMap::new();
    for (index, name) in names.iter().enumerate() {
        // Two of each kind show what all would.
        let count: &mut u64 = taken.entry(kind_of_file(name)).or_default();
        *count += 1;
        if *count > 2 {
            continue;
        }
        for (number, what) in PLANTS.iter().enumerate() {
            let data = scratch.path().join(format!("d{index}.{number}"));
            copy_below(&original, &data, false);
            let outside = scratch.path().join("outside");
            std::fs::copy(data.join(name), &outside)?;
            let before = std::fs::read(&outside)?;
            std::fs::remove_file(data.join(name))?;
            plant(what, &data.join(name), &outside);
            let planted = type_of(&data.join(name));
            let mode = [ReadMode::Mapped, ReadMode::Positional][(index + number) % 2];
            let opened = Db::open(&data, options().read_mode(mode));
            // Nothing needs the reserve's files.
            let is_needed = !name.to_string_lossy().ends_with(".reserve");
            match opened {
                Ok(db) => {
                    assert!(!is_needed, "{what} as {}", name.display());
                    assert_sound(&db)?;
                    db.close()?;
                }
                Err(error) => {
                    let kind = error.kind();
                    let is_clear = matches!(kind, ErrorKind::Invalid | ErrorKind::Corrupt);
                    assert!(is_needed && is_clear, "{what} as {}: {error:?}", name.display());
                }
            }
            assert_eq!(type_of(&data.join(name)), planted, "{what} as {}", name.display());
            assert_eq!(std::fs::read(&outside)?, before);
            assert!(!outside.with_extension("nothing").exists(), "a link was followed");
            std::fs::remove_dir_all(&data)?;
        }
    }
    Ok(())
}

#[test]
fn row_074_a_linked_directory_of_a_hash_table_is_not_entered() -> TestResult {
    let scratch = tempfile::tempdir()?;
    let data = scratch.path().join("data");
    reference(&data)?;
    let table = std::fs::read_dir(&data)?.map(|entry| entry.expect("listed").path());
    let table = table.into_iter().find(|path| path.is_dir()).expect("a hash keyspace's directory");
    let outside = scratch.path().join("outside");
    std::fs::rename(&table, &outside)?;
    symlink(&outside, &table)?;
    let before = bytes_below(&outside);
    assert_eq!(kind_of(Db::open(&data, options())), ErrorKind::Invalid);
    std::fs::remove_file(&table)?;
    std::fs::write(&table, b"no directory")?;
    assert_eq!(kind_of(Db::open(&data, options())), ErrorKind::Invalid);
    assert_eq!(bytes_below(&outside), before);
    Ok(())
}

/// What a database makes next, everybody can guess: names are numbers that count.
#[test]
fn row_074_a_file_that_somebody_linked_into_the_directory_keeps_its_bytes() -> TestResult {
    let scratch = tempfile::tempdir()?;
    let data = scratch.path().join("data");
    reference(&data)?;
    let precious = scratch.path().join("precious");
    std::fs::write(&precious, vec![7; 12 << 10])?;
    let numbers = |kind: &str| -> u64 {
        let of_kind =
            files_below(&data).into_iter().filter(|f| f.extension().is_some_and(|e| e == kind));
        let stems = of_kind.filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned()));
        let numbers = stems.filter_map(|stem| u64::from_str_radix(&stem, 16).ok());
        numbers.max().unwrap_or(0)
    };
    let mut planted = vec!["LOCK".to_owned()];
    std::fs::remove_file(data.join("LOCK"))?;
    for kind in ["wal", "val", "tbl", "map", "manifest"] {
        let last = ["wal", "val"].contains(&kind).then(|| numbers("wal").max(numbers("val")));
        let last = last.unwrap_or_else(|| numbers(kind));
        planted.extend((1..4).map(|next| format!("{:016x}.{kind}", last + next)));
    }
    // The reserve's files have these lengths.
    for (number, len) in [(1, 12 << 10), (2, 4 << 10)] {
        let name = data.join(format!("{number:016x}.reserve"));
        if name.exists() {
            std::fs::remove_file(&name)?;
        }
        let of_len = scratch.path().join(format!("precious {number}"));
        std::fs::write(&of_len, vec![7; len])?;
        std::fs::hard_link(of_len, name)?;
    }
    for name in &planted {
        std::fs::hard_link(&precious, data.join(name))?;
    }
    for _ in 0..3 {
        let db = Db::open(&data, options())?;
        for index in 0..200 {
            db.put(key(index), value(index, 9, 200))?;
        }
        db.compact()?;
        db.collect_garbage()?;
        db.close()?;
    }
    assert_eq!(std::fs::read(&precious)?, vec![7; 12 << 10]);
    assert_eq!(std::fs::read(scratch.path().join("precious 1"))?, vec![7; 12 << 10]);
    assert_eq!(std::fs::read(scratch.path().join("precious 2"))?, vec![7; 4 << 10]);
    Ok(())
}

/// `cp -al` is a backup only if nobody writes into files that are there.
#[test]
fn a_copy_by_hard_links_stays_what_it_was_whatever_the_original_does() -> TestResult {
    let scratch = tempfile::tempdir()?;
    let (data, backup) = (scratch.path().join("data"), scratch.path().join("backup"));
    reference(&data)?;
    copy_below(&data, &backup, true);
    let before = bytes_below(&backup);
    for _ in 0..3 {
        let db = Db::open(&data, options())?;
        for index in 0..200 {
            db.put(key(index), value(index, 9, 200))?;
        }
        db.compact()?;
        db.collect_garbage()?;
        db.close()?;
    }
    assert_eq!(bytes_below(&backup), before);
    std::fs::remove_file(backup.join("LOCK"))?;
    let db = Db::open(&backup, options())?;
    assert_eq!(db.get(key(7))?.as_deref(), Some(value(7, 3, 150).as_slice()));
    assert_eq!(db.get(key(6))?.as_deref(), Some(value(6, 0, 150).as_slice()));
    assert_sound(&db)?;
    Ok(())
}

#[test]
fn files_are_for_their_owner_alone_those_of_a_checkpoint_too() -> TestResult {
    let scratch = tempfile::tempdir()?;
    let (data, backup) = (scratch.path().join("data"), scratch.path().join("backup"));
    reference(&data)?;
    let db = Db::open(&data, options())?;
    db.put("k", "v")?;
    db.checkpoint(&backup)?;
    for dir in [&data, &backup] {
        let files = files_below(dir);
        assert!(files.len() > 5, "{files:?}");
        for file in files {
            for path in dir.join(&file).ancestors().take_while(|path| *path != scratch.path()) {
                let wanted = if path.is_dir() { 0o700 } else { 0o600 };
                let mode = path.metadata()?.permissions().mode() & 0o7777;
                assert_eq!(mode, wanted, "{}: {mode:o}", path.display());
            }
        }
    }
    Ok(())
}

#[test]
fn row_091_a_lock_that_is_no_file_of_its_own_is_refused() -> TestResult {
    let scratch = tempfile::tempdir()?;
    for (number, what) in PLANTS.iter().enumerate() {
        let data = scratch.path().join(format!("{number}"));
        Db::open(&data, options())?.close()?;
        let outside = scratch.path().join("outside");
        std::fs::write(&outside, b"")?;
        std::fs::remove_file(data.join("LOCK"))?;
        plant(what, &data.join("LOCK"), &outside);
        let before = files_below(&data);
        let error = Db::open(&data, options()).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{what}: {error}");
        assert!(error.to_string().contains("LOCK"), "{what}: {error}");
        assert_eq!(files_below(&data), before, "{what}");
        assert!(!outside.with_extension("nothing").exists(), "{what} was followed");
        assert!(!type_of(&data.join("LOCK")).is_file(), "{what}");
    }
    let is_pipe = type_of(&scratch.path().join("2/LOCK")).is_fifo();
    assert!(is_pipe, "the third plant is a pipe");
    Ok(())
}

#[test]
fn any_number_of_unknown_names_takes_memory_for_the_names_alone() -> TestResult {
    let world = World::new(74);
    world.open(&tiny())?.close()?;
    let (_, alone) = peak_of(|| world.open(&tiny()).and_then(Db::close));
    let count = 4000;
    for index in 0..count {
        world.disk.write_file(format!("{index:016x}.tmp"), b"");
        world.disk.write_file(format!("{:016x}.tbl", index + 100), b"");
    }
    let (db, peak) = peak_of(|| world.open(&tiny()));
    db?.close()?;
    assert!(peak < alone + 2 * count * 600 + (1 << 20), "{peak} bytes, {alone} for none");
    Ok(())
}

/// Changes of a forged MANIFEST, as bincode writes them.
#[derive(Clone, Default)]
struct Forged {
    count: u64,
    bytes: Vec<u8>,
}

impl Forged {
    /// The first edit of a new database.
    fn new() -> Forged {
        let mut forged = Forged::default();
        forged.add(0, &[DB_ID, 1]).add(1, &[1, 1, 1]).add(2, &[0]).add(11, &[0, 0]);
        forged.keyspace(0, "default", "btree");
        forged
    }

    fn number(&mut self, value: u64) {
        match value {
            0..=250 => self.bytes.push(u8::try_from(value).expect("small")),
            _ => {
                self.bytes.push(253);
                self.bytes.extend(value.to_le_bytes());
            }
        }
    }

    /// A change whose fields are numbers. Those of 32 bits must be small or all ones.
    fn add(&mut self, variant: u64, fields: &[u64]) -> &mut Forged {
        self.count += 1;
        self.number(variant);
        for field in fields {
            match *field == u64::from(u32::MAX) {
                true => self.bytes.extend([252, 0xff, 0xff, 0xff, 0xff]),
                false => self.number(*field),
            }
        }
        self
    }

    fn keyspace(&mut self, id: u64, name: &str, index: &str) -> &mut Forged {
        self.add(3, &[id]);
        for text in [name, index] {
            self.number(text.len() as u64);
            self.bytes.extend(text.as_bytes());
        }
        self
    }

    fn edit(&self) -> Vec<u8> {
        let mut edit = Forged::default();
        edit.number(self.count);
        edit.bytes.extend(&self.bytes);
        edit.bytes
    }
}

const DB_ID: u64 = 7;
const ALL: u64 = u32::MAX as u64;

/// Puts a MANIFEST with this edit, rightly checksummed, into a directory.
fn forge(fs: &Arc<dyn Fs>, number: u64, edit: &[u8]) {
    let name = Name::new(Kind::new("manifest"), number);
    let env = vfs::Env::sim(1).env;
    let mut writer = wal::SegmentWriter::create(fs, &env, name, DB_ID).expect("a healthy disk");
    writer.append(1, edit.len(), &mut |_, out| out.copy_from_slice(edit)).expect("a healthy disk");
    writer.sync().expect("a healthy disk");
    fs.sync_dir().expect("a healthy disk");
}

/// Opens a database and uses everything in it; errors are answers.
fn use_everything(world: &World, options: &Options) -> engine::Result<()> {
    let db = world.open(options)?;
    drop(db.stats());
    let ttl = engine::WriteOptions::default().ttl(std::time::Duration::from_secs(3));
    drop(db.put_with("k", "v", ttl));
    drop(db.put("large", vec![1; 5000]));
    drop(db.get("k"));
    drop(db.ttl("k"));
    drop(db.delete("k"));
    for (name, _) in db.keyspaces()? {
        let kind = if name == "h" { KeyspaceOptions::hash() } else { KeyspaceOptions::btree() };
        let Ok(keyspace) = db.keyspace(&name, kind) else { continue };
        drop(keyspace.put("k", "v"));
        drop(keyspace.iter().collect::<engine::Result<Vec<_>>>());
    }
    drop(db.keyspace("new", KeyspaceOptions::hash()));
    drop(db.flush());
    drop(db.compact());
    drop(db.collect_garbage());
    drop(db.check());
    drop(db.stats());
    db.close()
}

#[test]
fn rows_064_071_a_forged_manifest_with_right_checksums_is_refused_or_harmless() {
    let seq_max = (1 << 56) - 1;
    let table = |level: u64| {
        let mut forged = Forged::new();
        forged.add(5, &[0, 9]);
        // A level is a byte.
        forged.bytes.push(u8::try_from(level).expect("a byte"));
        forged.number(8192);
        forged.number(0);
        forged
    };
    let with = |variant, fields: &[u64]| Forged::new().add(variant, fields).clone();
    let mut name = Forged::new();
    name.add(3, &[9, 400 << 20]);
    let mut cases = vec![
        ("as it should be", Forged::new()),
        ("a long name", name),
        ("file ids", with(1, &[u64::MAX, 1, 1])),
        ("the last ids", with(1, &[1 << 62, ALL, ALL])),
        ("seqs are used up", with(11, &[seq_max, 0])),
        ("one seq is left", with(11, &[seq_max - 1, 0])),
        ("seqs beyond", with(11, &[seq_max + 1, 0])),
        ("the last clock", with(2, &[u64::MAX])),
        ("a close nowhere", with(12, &[ALL, u64::MAX, u64::MAX])),
        ("a log that is not there", with(11, &[0, ALL])),
        ("a table that is not there", table(0)),
        ("a table far down", table(255)),
        ("garbage of nothing", with(10, &[3, u64::MAX])),
        ("a keyspace of another world", Forged::new().keyspace(ALL, "last", "btree").clone()),
        ("two of one name", Forged::new().keyspace(3, "default", "btree").clone()),
        ("no name", Forged::new().keyspace(3, "", "btree").clone()),
        ("a hash table that is not there", Forged::new().keyspace(3, "h", "hash").clone()),
        ("a remap to nowhere", with(14, &[4, 5, 8192, 1, 1, 9])),
        ("a remap with too many targets", with(14, &[4, 5, 8192, 1, 1 << 40])),
    ];
    cases.push((
        "a generation",
        Forged::new().keyspace(3, "h", "hash").add(13, &[3, u64::MAX]).clone(),
    ));
    let mut clocks = Forged::new();
    for _ in 0..1 << 18 {
        clocks.add(2, &[0]);
    }
    cases.push(("many changes", clocks));
    let world = World::new(71);
    let (_, alone) = peak_of(|| use_everything(&world, &tiny()));
    for (what, forged) in cases {
        let world = World::new(71);
        let edit = forged.edit();
        forge(&world.disk.root(), 1, &edit);
        let (result, peak) = peak_of(|| use_everything(&world, &tiny()));
        // The MANIFEST itself is held once, and grows in steps.
        let allowed = alone + 16 * edit.len() as u64 + (1 << 20);
        assert!(peak <= allowed, "{what}: {peak} bytes for {}, {alone} for none", edit.len());
        let harmless = ["as it should be", "seqs are used up", "one seq is left", "the last clock"];
        if harmless.contains(&what) || what == "many changes" {
            result.unwrap_or_else(|error| panic!("{what}: {error}"));
        }
    }
}

// We believed that the ids of value segments are none of the log's. A MANIFEST that says otherwise was
// opened, and the flush that promoted the segment a second time was an assertion.
#[test]
fn row_071_a_value_segment_that_is_also_in_the_log_is_refused() -> TestResult {
    let world = World::new(71);
    let options = tiny().promote_min(0.0);
    forge(&world.disk.root(), 1, &Forged::new().edit());
    let db = world.open(&options)?;
    db.put("k", vec![1; 1000])?;
    db.sync()?;
    world.kill(db);
    let log = world.names(".wal").remove(0);
    let len = world.disk.read_file(&log).expect("it is there").len() as u64;
    let id = u64::from_str_radix(log.trim_end_matches(".wal"), 16)?;
    for old in world.names(".manifest") {
        world.disk.root().remove(Name::parse(&old).expect("a legal name"))?;
    }
    let mut forged = Forged::new();
    // Promoted; its length, seqs and garbage.
    forged.add(8, &[id, 0, len, 1, 1, 0]);
    forge(&world.disk.root(), 9, &forged.edit());
    let opened = world.open(&options).and_then(|db| db.flush());
    assert_eq!(kind_of(opened), ErrorKind::Corrupt);
    Ok(())
}

/// A collection lets go of what the index, as it is now, calls dead. (What we believed: a page that
/// was verified stays sound for as long as the database is open. What was true: one that rotted
/// behind its first read named another record, or none, and a live one was dropped.)
#[test]
fn an_index_page_that_rots_behind_its_first_read_costs_no_live_record() -> TestResult {
    let mut random = Random::new(vfs::testing::seed());
    let options = options().read_mode(ReadMode::Mapped).gc_interval(Duration::ZERO);
    let options = options.memtable_bytes(64 << 10).table_bytes(32 << 10);
    for options in both(&options) {
        for _ in 0..16 {
            let scratch = tempfile::tempdir()?;
            let db = Db::open(scratch.path(), options.clone())?;
            for round in 0..2 {
                for index in (0..200).filter(|index| round == 0 || index % 2 == 0) {
                    db.put(key(index), value(index, round, 300))?;
                }
                db.flush()?;
            }
            db.compact()?;
            let expected = |index| value(index, 1 - index % 2, 300);
            for index in 0..200 {
                assert_eq!(db.get(key(index))?.as_deref(), Some(&*expected(index)));
            }
            let mut is_index = files_below(scratch.path());
            is_index.retain(|name| {
                name.extension().is_some_and(|e| e == "tbl" || e == "part" || e == "run")
            });
            let flips: Vec<(PathBuf, u64)> = is_index
                .iter()
                .flat_map(|name| std::iter::repeat_n(scratch.path().join(name), 8))
                .map(|path| {
                    let len = path.metadata().expect("it was listed").len();
                    (path, random.below(len))
                })
                .collect();
            flip(&flips)?;
            // It may say what is wrong, but must not make it worse.
            drop(db.collect_garbage());
            flip(&flips)?;
            for index in 0..200 {
                assert_eq!(db.get(key(index))?.as_deref(), Some(&*expected(index)), "{flips:?}");
            }
            assert_sound(&db)?;
        }
    }
    Ok(())
}

/// Turns one bit around at each of these places of files.
fn flip(places: &[(PathBuf, u64)]) -> std::io::Result<()> {
    for (path, offset) in places {
        let file = std::fs::File::options().read(true).write(true).open(path)?;
        let mut byte = [0];
        file.read_exact_at(&mut byte, *offset)?;
        file.write_all_at(&[byte[0] ^ 0x10], *offset)?;
    }
    Ok(())
}
