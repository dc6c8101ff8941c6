//! Every line of "bad input": a clear error of its own, and nothing changed on disk.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use engine::{
    AppendMode, Db, Durability, ErrorKind, KEY_LEN_MAX, KeyspaceOptions, Options, Result,
    VALUE_LEN_MAX, WriteOptions,
};

use crate::world::{TestResult, World, kind_of, put_real_file, real_files, remove_real_file, tiny};

/// Makes a call that must be refused, and looks at the disk before and after.
#[track_caller]
fn refused<T: std::fmt::Debug>(
    world: &World,
    kind: ErrorKind,
    says: &str,
    call: impl FnOnce() -> Result<T>,
) {
    let before = world.files();
    let error = call().expect_err("the call is refused");
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(says), "{error:?} does not say {says:?}");
    assert!(world.files() == before, "a refused call changed the disk: {error}");
}

fn small() -> (World, Db) {
    small_of(1)
}

fn small_of(seed: u64) -> (World, Db) {
    let world = World::new(seed);
    let db = world.open(&tiny()).expect("a new database");
    db.put(b"k", b"v").expect("a healthy disk");
    (world, db)
}

#[test]
fn row_065_an_empty_key_is_refused() {
    let (world, db) = small();
    refused(&world, ErrorKind::Invalid, "key is empty", || db.put(b"", b"v"));
    refused(&world, ErrorKind::Invalid, "key is empty", || db.delete(b""));
    refused(&world, ErrorKind::Invalid, "key is empty", || db.get(b""));
    refused(&world, ErrorKind::Invalid, "key is empty", || db.contains(b""));
    refused(&world, ErrorKind::Invalid, "key is empty", || {
        db.snapshot().get(db.default_keyspace(), b"")
    });
}

#[test]
fn row_065_a_key_of_65_536_bytes_is_refused_and_one_of_65_535_is_not() -> TestResult {
    let (world, db) = small();
    let long = vec![b'k'; KEY_LEN_MAX + 1];
    refused(&world, ErrorKind::Invalid, "65536 bytes", || db.put(&long, b"v"));
    refused(&world, ErrorKind::Invalid, "65536 bytes", || db.delete(&long));
    refused(&world, ErrorKind::Invalid, "65536 bytes", || db.get(&long));
    for len in [1, 2, KEY_LEN_MAX - 1, KEY_LEN_MAX] {
        db.put(&long[..len], len.to_string())?;
        assert_eq!(db.get(&long[..len])?.as_deref(), Some(len.to_string().as_bytes()));
    }
    Ok(())
}

#[test]
fn row_065_a_value_of_more_than_a_gibibyte_is_refused() {
    let (world, db) = small();
    // Zeros that nobody touches take no memory.
    let long = vec![0; VALUE_LEN_MAX + 1];
    refused(&world, ErrorKind::Invalid, "1073741825 bytes", || db.put(b"k", &long));
}

#[test]
fn row_014_a_batch_with_one_bad_entry_changes_nothing() -> TestResult {
    let (world, db) = small();
    let side = db.keyspace("side", KeyspaceOptions::btree())?;
    for bad in 0..8 {
        let mut batch = db.batch();
        for index in 0..8_u8 {
            let long = vec![index; if u32::from(index) == bad { KEY_LEN_MAX + 1 } else { 3 }];
            let keyspace = if index.is_multiple_of(2) { db.default_keyspace() } else { &side };
            batch.put(keyspace, long, b"v");
        }
        refused(&world, ErrorKind::Invalid, "65536 bytes", || {
            db.write(batch, WriteOptions::default())
        });
        for index in 0..8_u8 {
            assert!(!db.contains([index; 3])? && !side.contains([index; 3])?);
        }
    }
    db.put(b"k2", b"v2")?;
    world.kill(db);
    drop(side);
    let db = world.open(&tiny())?;
    assert_eq!(db.iter().count(), 2);
    Ok(())
}

#[test]
fn an_empty_oversized_or_reserved_keyspace_name_is_refused() {
    let (world, db) = small();
    let open = |name: &str| db.keyspace(name, KeyspaceOptions::btree());
    refused(&world, ErrorKind::Invalid, "name is empty", || open(""));
    refused(&world, ErrorKind::Invalid, "256 bytes", || open(&"n".repeat(256)));
    refused(&world, ErrorKind::Invalid, "reserved", || open("__mine"));
    refused(&world, ErrorKind::Invalid, "default keyspace", || db.drop_keyspace("default"));
    refused(&world, ErrorKind::NotFound, "no keyspace \"missing\"", || db.drop_keyspace("missing"));
    refused(&world, ErrorKind::NotFound, "no keyspace", || db.drop_keyspace(""));
    assert_eq!(db.keyspaces().expect("it is open").len(), 1);
}

#[test]
fn a_path_that_is_a_file_is_refused() -> TestResult {
    let scratch = tempfile::tempdir()?;
    let path = scratch.path().join("file");
    put_real_file(&path, b"precious");
    let before = real_files(scratch.path());
    let error = Db::open(&path, Options::default()).expect_err("it is a file");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("file"), "{error}");
    let below = Db::open(path.join("below"), Options::default()).expect_err("no directory");
    assert!(below.to_string().contains("file"), "{below}");
    assert_eq!(real_files(scratch.path()), before);
    Ok(())
}

#[test]
fn a_directory_that_is_not_ours_is_refused() -> TestResult {
    let scratch = tempfile::tempdir()?;
    put_real_file(&scratch.path().join("thesis.txt"), b"precious");
    let before = real_files(scratch.path());
    let error = Db::open(scratch.path(), Options::default()).expect_err("not ours");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("thesis.txt"), "{error}");
    assert_eq!(real_files(scratch.path()), before, "not even a LOCK");

    // Files with names like ours, but no MANIFEST: something else, or a database that lost it.
    let world = World::new(2);
    world.disk.write_file("0000000000000001.wal", b"precious");
    refused(&world, ErrorKind::Invalid, "no MANIFEST", || world.open(&tiny()));
    Ok(())
}

#[test]
fn a_missing_database_is_not_created_unless_that_is_wanted() -> TestResult {
    let scratch = tempfile::tempdir()?;
    let options = Options::default().create_if_missing(false);
    let missing = scratch.path().join("missing");
    assert_eq!(kind_of(Db::open(&missing, options.clone())), ErrorKind::NotFound);
    assert!(!missing.exists());
    let empty = Db::open(scratch.path(), options.clone()).expect_err("nothing there");
    assert_eq!(empty.kind(), ErrorKind::NotFound);
    assert!(empty.to_string().contains("create_if_missing"), "{empty}");
    assert!(real_files(scratch.path()).is_empty());
    Db::open(&missing, Options::default())?.close()?;
    Db::open(&missing, options)?.close()?;
    Ok(())
}

#[test]
fn row_091_a_second_handle_in_this_process_is_locked_out_also_through_a_link() -> TestResult {
    let scratch = tempfile::tempdir()?;
    let path = scratch.path().join("data");
    let db = Db::open(&path, Options::default())?;
    db.put(b"k", b"v")?;
    let before = real_files(&path);
    let error = Db::open(&path, Options::default()).expect_err("it is open");
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.to_string().contains("LOCK"), "{error}");
    let link = scratch.path().join("link");
    std::os::unix::fs::symlink(&path, &link)?;
    assert_eq!(kind_of(Db::open(&link, Options::default())), ErrorKind::Locked);
    assert_eq!(real_files(&path), before);
    db.close()?;
    let db = Db::open(&link, Options::default())?;
    assert_eq!(db.get(b"k")?.as_deref(), Some(b"v".as_slice()));
    Ok(())
}

#[test]
fn row_091_a_removed_lock_file_ends_the_writes_of_its_holder() -> TestResult {
    let scratch = tempfile::tempdir()?;
    let first = Db::open(scratch.path(), Options::default())?;
    first.put(b"k", b"first")?;
    first.sync()?;
    remove_real_file(&scratch.path().join("LOCK"));
    first.put(b"k", b"in doubt")?;
    let error = first.flush().expect_err("the lock is lost");
    assert!(error.to_string().contains("LOCK"), "{error}");
    assert_eq!(kind_of(first.put(b"k", b"more")), ErrorKind::ReadOnly);
    assert_eq!(first.get(b"k")?.as_deref(), Some(b"in doubt".as_slice()), "reads go on");
    drop(first);
    let second = Db::open(scratch.path(), Options::default())?;
    assert!(second.get(b"k")?.is_some());
    Ok(())
}

const CHILD_DIR: &str = "NELUMBO_TEST_CHILD_DIR";

/// Not a test of its own: what the other process of the next test runs.
#[test]
#[ignore = "cargo xtask test runs it, as the child of row_091_a_second_process_is_locked_out"]
fn child_holds_the_database_open() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let db = Db::open(dir, Options::default()).expect("nobody else has it");
    db.put_with(b"child", b"was here", WriteOptions::default().durable()).expect("a healthy disk");
    println!("holding");
    std::io::stdout().flush().expect("the parent listens");
    // Until the parent kills this process or closes the pipe.
    drop(std::io::stdin().read_line(&mut String::new()));
}

#[test]
fn row_091_a_second_process_is_locked_out_until_the_first_is_killed() -> TestResult {
    let scratch = tempfile::tempdir()?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--ignored", "--exact", "--nocapture", "bad_input::child_holds_the_database_open"])
        .env(CHILD_DIR, scratch.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    let holding = output.lines().map_while(|line| line.ok()).any(|line| line.contains("holding"));
    assert!(holding, "the child never opened the database");
    let before = real_files(scratch.path());
    let found = Db::open(scratch.path(), Options::default());
    let after = real_files(scratch.path());
    child.kill()?;
    child.wait()?;
    assert_eq!(kind_of(found), ErrorKind::Locked);
    assert_eq!(after, before, "whoever is locked out changes nothing");
    let db = Db::open(scratch.path(), Options::default())?;
    assert_eq!(db.get(b"child")?.as_deref(), Some(b"was here".as_slice()));
    Ok(())
}

#[test]
fn a_read_only_directory_is_refused() -> TestResult {
    use std::os::unix::fs::PermissionsExt;
    let scratch = tempfile::tempdir()?;
    let closed = scratch.path().join("closed");
    Db::open(&closed, Options::default())?.close()?;
    let empty = scratch.path().join("empty");
    drop(vfs::StdFs::create(&empty)?);
    for path in [&closed, &empty] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o500))?;
    }
    let scratch_file = tempfile::tempfile_in(&empty);
    if scratch_file.is_ok() {
        println!("SKIPPED: this user (root?) writes into directories that are read-only");
        return Ok(());
    }
    for path in [&closed, &empty] {
        let before = real_files(path);
        let error = Db::open(path, Options::default()).expect_err("it is read-only");
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(error.to_string().to_lowercase().contains("denied"), "{error}");
        assert_eq!(real_files(path), before);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
    }
    Db::open(&closed, Options::default())?.close()?;
    Ok(())
}

/// The same on the simulated disk, where no user is root.
#[test]
fn a_directory_that_takes_no_writes_is_refused_and_nothing_is_lost() -> TestResult {
    use vfs::sim::{At, CallKind, Fault, Times, What};
    let (world, db) = small();
    db.close()?;
    let kinds = CallKind::ALL.into_iter().filter(|kind| kind.changes());
    for kind in kinds.filter(|kind| *kind != CallKind::Lock) {
        let at = At::Kind(kind, world.disk.calls_of(kind));
        world.disk.fault(Fault { at, what: What::Denied, times: Times::Forever });
    }
    let before = world.files();
    let error = world.open(&tiny()).expect_err("it is read-only");
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert_eq!(world.files(), before);
    world.disk.clear_faults();
    assert_eq!(world.open(&tiny())?.get(b"k")?.as_deref(), Some(b"v".as_slice()));
    Ok(())
}

#[test]
fn disable_wal_and_durable_exclude_each_other() {
    let (world, db) = small();
    let both = WriteOptions::default().disable_wal().durable();
    refused(&world, ErrorKind::Invalid, "disable_wal", || db.put_with(b"a", b"b", both.clone()));
    let mut batch = db.batch();
    batch.put(db.default_keyspace(), b"a", b"b");
    refused(&world, ErrorKind::Invalid, "disable_wal", || db.write(batch, both.clone()));
    refused(&world, ErrorKind::Invalid, "disable_wal", || {
        db.default_keyspace().delete_with(b"k", both.clone())
    });
    assert!(db.contains(b"k").expect("it is open"));
}

#[test]
fn keyspaces_batches_and_snapshots_of_another_database_are_refused() -> TestResult {
    let (world, db) = small();
    let (other_world, other) = small_of(2);
    other.put(b"k", b"other")?;

    let mut batch = db.batch();
    batch.put(db.default_keyspace(), b"a", b"b");
    refused(&other_world, ErrorKind::Invalid, "another database", || {
        other.write(batch, WriteOptions::default())
    });
    let mut batch = db.batch();
    batch.put(db.default_keyspace(), b"a", b"b");
    batch.put(other.default_keyspace(), b"a", b"b");
    refused(&world, ErrorKind::Invalid, "another database", || {
        db.write(batch, WriteOptions::default())
    });
    let snapshot = db.snapshot();
    let keyspace = other.default_keyspace();
    let says = "another database";
    refused(&world, ErrorKind::Invalid, says, || snapshot.get(keyspace, b"k"));
    refused(&world, ErrorKind::Invalid, says, || snapshot.contains(keyspace, b"k"));
    let first = |mut range: engine::Range| range.next().expect("the error is an item");
    refused(&world, ErrorKind::Invalid, says, || first(snapshot.iter(keyspace)));
    refused(&world, ErrorKind::Invalid, says, || first(snapshot.prefix(keyspace, b"k")));
    assert!(!db.contains(b"a")? && !other.contains(b"a")?);
    Ok(())
}

#[test]
fn row_067_options_out_of_range_are_refused_by_name() {
    let good = Options::default;
    let bad: [(&str, Options); 28] = [
        ("memtable_bytes", good().memtable_bytes(4095)),
        ("memtable_bytes", good().memtable_bytes(u64::MAX)),
        ("memtable_entries", good().memtable_entries(0)),
        ("segment_bytes", good().segment_bytes(4095)),
        ("segment_bytes", good().segment_bytes((1 << 30) + 1)),
        ("log_bytes", good().log_bytes(0)),
        ("log_bytes", good().segment_bytes(1 << 20).log_bytes((1 << 20) - 1)),
        ("sealed_max", good().sealed_max(0)),
        ("inline_max", good().inline_max((64 << 10) + 1)),
        ("promote_min", good().promote_min(-0.1)),
        ("promote_min", good().promote_min(1.1)),
        ("promote_min", good().promote_min(f64::NAN)),
        ("total_garbage_max", good().total_garbage_max(-0.1)),
        ("total_garbage_max", good().total_garbage_max(1.1)),
        ("forced_garbage", good().forced_garbage(f64::NAN)),
        ("forced_garbage", good().forced_garbage(1.01)),
        ("advised_garbage", good().advised_garbage(0.81)),
        ("advised_garbage", good().advised_garbage(-0.01)),
        ("bloom_bits_per_key", good().bloom_bits_per_key(33)),
        ("table_bytes", good().table_bytes(0)),
        ("level0_files", good().level0_files(0)),
        ("level0_files_max", good().level0_files(5).level0_files_max(4)),
        ("level1_bytes", good().level1_bytes(0)),
        ("level_multiplier", good().level_multiplier(1)),
        ("level_multiplier", good().level_multiplier(u64::MAX)),
        ("durability", good().durability(Durability::EveryBytes(0))),
        ("durability", good().durability(Durability::Interval(Duration::ZERO))),
        ("append_mode", good().append_mode(AppendMode::Mapped).durability(Durability::Always)),
    ];
    let world = World::new(1);
    for (name, options) in bad {
        refused(&world, ErrorKind::Invalid, &format!("option {name}"), || world.open(&options));
    }
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let path = scratch.path().join("never");
    let error = Db::open(&path, good().sealed_max(0)).expect_err("out of range");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(!path.exists(), "options are checked before anything is made");
}

#[test]
fn row_113_after_close_every_call_is_closed_and_a_second_close_too() -> TestResult {
    let (world, db) = small();
    let keyspace = db.keyspace("side", KeyspaceOptions::btree())?;
    let snapshot = db.snapshot();
    let mut open = db.iter();
    let clone = db.clone();
    db.close()?;
    let before = world.files();
    let closed = [
        kind_of(clone.put(b"k", b"w")),
        kind_of(clone.get(b"k")),
        kind_of(clone.contains(b"k")),
        kind_of(clone.delete(b"k")),
        kind_of(keyspace.put(b"k", b"w")),
        kind_of(keyspace.get(b"k")),
        kind_of(clone.keyspaces()),
        kind_of(clone.keyspace("default", KeyspaceOptions::btree())),
        kind_of(clone.keyspace("third", KeyspaceOptions::btree())),
        kind_of(clone.drop_keyspace("side")),
        kind_of(snapshot.get(&keyspace, b"k")),
        kind_of(snapshot.iter(&keyspace).next().expect("the error is an item")),
        kind_of(clone.snapshot().get(&keyspace, b"k")),
        kind_of(clone.iter().next().expect("the error is an item")),
        kind_of(clone.prefix(b"k").next_back().expect("the error is an item")),
        kind_of(open.next().expect("the error is an item")),
        kind_of(clone.write(clone.batch(), WriteOptions::default())),
        kind_of(clone.sync()),
        kind_of(clone.flush()),
        kind_of(clone.compact()),
        kind_of(clone.check()),
        kind_of(clone.clone().close()),
        kind_of(clone.clone().close()),
    ];
    assert_eq!(closed, [ErrorKind::Closed; 23]);
    assert!(open.next().is_none());
    drop(clone.stats());
    drop((clone, keyspace, snapshot));
    assert_eq!(world.files(), before, "nothing is written after a close");
    assert_eq!(world.open(&tiny())?.get(b"k")?.as_deref(), Some(b"v".as_slice()));
    Ok(())
}

#[test]
fn a_handle_of_a_dropped_keyspace_answers_not_found_also_after_its_name_returns() -> TestResult {
    let (world, db) = small();
    let old = db.keyspace("side", KeyspaceOptions::btree())?;
    old.put(b"k", b"old")?;
    db.drop_keyspace("side")?;
    for again in [false, true] {
        if again {
            let new = db.keyspace("side", KeyspaceOptions::btree())?;
            assert_eq!(new.get(b"k")?, None, "a new keyspace is empty");
            new.put(b"n", b"new")?;
        }
        refused(&world, ErrorKind::NotFound, "dropped", || old.put(b"k", b"w"));
        refused(&world, ErrorKind::NotFound, "dropped", || old.get(b"k"));
        refused(&world, ErrorKind::NotFound, "dropped", || old.contains(b"k"));
        refused(&world, ErrorKind::NotFound, "dropped", || old.delete(b"k"));
        refused(&world, ErrorKind::NotFound, "dropped", || old.iter().next().expect("an item"));
        let mut batch = db.batch();
        batch.put(db.default_keyspace(), b"beside", b"w");
        batch.put(&old, b"k", b"w");
        refused(&world, ErrorKind::NotFound, "dropped", || {
            db.write(batch, WriteOptions::default())
        });
        assert!(!db.contains(b"beside")?, "the whole batch was refused");
    }
    db.put(b"after", b"it goes on")?;
    Ok(())
}

#[test]
fn row_106_the_library_installs_no_signal_handler() -> TestResult {
    let caught = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        status.lines().find(|line| line.starts_with("SigCgt")).map(str::to_owned)
    };
    let before = caught();
    let scratch = tempfile::tempdir()?;
    let db = Db::open(scratch.path(), Options::default())?;
    db.put(b"k", b"v")?;
    db.flush()?;
    if before.is_none() && !Path::new("/proc").exists() {
        println!("SKIPPED: this system does not tell which signals are caught");
    }
    assert_eq!(caught(), before);
    db.close()?;
    Ok(())
}
