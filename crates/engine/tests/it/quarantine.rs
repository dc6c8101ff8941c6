//! Files that nobody knows are set aside, and removed only when nothing can be in doubt.

use engine::{Db, Options};
use vfs::sim::{Damage, ImageKind};

use crate::world::{
    TestResult, World, assert_sound, both, contents, key, put_real_file, real_files, tiny, value,
};

const UNKNOWN_RUN: &str = "00000000000000f1.run";
const UNKNOWN: [&str; 3] = ["00000000000000f1.tbl", "00000000000000f2.val", "00000000000000f3.wal"];

fn filled() -> (World, Db) {
    filled_with(&tiny())
}

fn filled_with(options: &Options) -> (World, Db) {
    let world = World::new(1);
    let db = world.open(options).expect("a new database");
    for index in 0..40 {
        db.put(key(index), value(index, 0, if index.is_multiple_of(2) { 30 } else { 700 }))
            .expect("healthy");
    }
    db.flush().expect("a healthy disk");
    (world, db)
}

fn plant(world: &World) {
    for name in UNKNOWN {
        world.disk.write_file(name, b"who knows what this was");
    }
}

fn bad(world: &World) -> Vec<String> {
    world.names(".bad")
}

#[test]
fn unknown_files_are_set_aside_and_removed_by_the_first_open_after_a_clean_close() -> TestResult {
    let (world, db) = filled();
    let expected = contents(db.default_keyspace())?;
    world.kill(db);
    plant(&world);
    let aside = UNKNOWN.map(|name| format!("{name}.bad"));

    // After a kill: set aside, with their bytes.
    let db = world.open(&tiny())?;
    assert_eq!(bad(&world), aside);
    assert_eq!(world.disk.read_file(&aside[0]).as_deref(), Some(&b"who knows what this was"[..]));
    let mut report = db.stats().recovery.quarantined;
    report.sort_unstable();
    assert_eq!(report, UNKNOWN);
    let mut listed = db.check()?.quarantined;
    listed.sort_unstable();
    assert_eq!(listed, aside);
    assert_eq!(contents(db.default_keyspace())?, expected);
    world.kill(db);

    // After another kill: still there.
    let db = world.open(&tiny())?;
    assert_eq!(bad(&world), aside);
    assert!(!db.stats().recovery.clean);
    db.close()?;
    assert_eq!(bad(&world), aside, "a close removes nothing");

    // After a clean close: gone.
    let db = world.open(&tiny())?;
    assert!(db.stats().recovery.clean);
    assert_eq!(bad(&world), Vec::<String>::new());
    assert_eq!(contents(db.default_keyspace())?, expected);
    assert_sound(&db)?;
    Ok(())
}

#[test]
fn unknown_files_found_after_a_clean_close_are_set_aside_once_too() -> TestResult {
    let (world, db) = filled();
    db.close()?;
    plant(&world);
    let db = world.open(&tiny())?;
    assert_eq!(bad(&world).len(), 3, "the open that finds them does not remove them");
    db.close()?;
    drop(world.open(&tiny())?);
    assert_eq!(bad(&world), Vec::<String>::new());
    Ok(())
}

#[test]
fn an_open_that_found_the_manifest_torn_removes_nothing() -> TestResult {
    let (world, db) = filled();
    world.kill(db);
    plant(&world);
    world.open(&tiny())?.close()?;
    assert_eq!(bad(&world).len(), 3);
    // The last edit, which says that the close was clean, is followed by half of another.
    let manifest = world.names(".manifest").pop().expect("there is one");
    let mut bytes = world.disk.read_file(&manifest).expect("it is there");
    bytes.extend_from_slice(&[0x77; 20]);
    world.disk.write_file(&manifest, &bytes);
    let db = world.open(&tiny())?;
    assert_eq!(bad(&world).len(), 3, "after a torn MANIFEST nothing is removed");
    assert_eq!(db.iter().count(), 40);
    // A clean close leaves nothing in doubt: its MANIFEST is whole or damaged, never torn.
    db.close()?;
    let manifest = world.names(".manifest").pop().expect("there is one");
    let len = world.disk.read_file(&manifest).expect("it is there").len();
    world.disk.corrupt(&manifest, &Damage::Truncate { len: len as u64 - 3 });
    let refused = world.open(&tiny()).expect_err("damage");
    assert_eq!(refused.kind(), engine::ErrorKind::Corrupt, "{refused}");
    assert_eq!(bad(&world).len(), 3, "nothing is removed");
    Ok(())
}

#[test]
fn foreign_and_look_alike_files_are_untouched_and_listed() -> TestResult {
    let scratch = tempfile::tempdir()?;
    let db = Db::open(scratch.path(), Options::default())?;
    db.put(b"k", b"v")?;
    db.close()?;
    let foreign = [
        "notes.txt",
        "1.wal",
        "0000000000000001.WAL",
        "0000000000000001.wal.bak",
        "00000000000000f1.tbl.bad.bad",
        ".hidden",
    ];
    for name in foreign {
        put_real_file(&scratch.path().join(name), b"precious");
    }
    let precious = scratch.path().join("precious");
    std::os::unix::fs::symlink("/nowhere", &precious)?;
    for _ in 0..3 {
        let db = Db::open(scratch.path(), Options::default())?;
        assert_eq!(db.get(b"k")?.as_deref(), Some(b"v".as_slice()));
        db.compact()?;
        let mut listed = db.check()?.foreign;
        listed.sort_unstable();
        let mut expected = foreign.map(str::to_owned).to_vec();
        expected.push("precious".to_owned());
        expected.sort_unstable();
        assert_eq!(listed, expected);
        db.close()?;
        let files = real_files(scratch.path());
        for name in foreign {
            assert_eq!(files.get(name).map(Vec::as_slice), Some(b"precious".as_slice()), "{name}");
        }
        assert!(precious.is_symlink());
    }
    Ok(())
}

/// We believed that a name is set aside only once. A directory restored from two backups can
/// hold a file and one that was set aside under its name, and then it never opened again.
#[test]
fn an_unknown_file_whose_name_is_taken_by_one_set_aside_does_not_stop_the_open() -> TestResult {
    let (world, db) = filled();
    world.kill(db);
    plant(&world);
    world.disk.write_file(format!("{}.bad", UNKNOWN[0]), b"set aside before");
    let db = world.open(&tiny())?;
    assert_eq!(db.iter().count(), 40);
    let kept = world.disk.read_file(format!("{}.bad", UNKNOWN[0]));
    assert_eq!(kept.as_deref(), Some(b"set aside before".as_slice()), "nothing is overwritten");
    world.kill(db);
    assert_eq!(world.open(&tiny())?.iter().count(), 40);
    Ok(())
}

/// The directory of a hash table, in which somebody puts a file of this name.
fn with_planted(name: &str) -> (World, Options, String) {
    let options = both(&tiny())[1].clone();
    let (world, db) = filled_with(&options);
    world.kill(db);
    let of_table = world.names("").into_iter().find(|name| name.contains(".hash/"));
    let of_table = of_table.expect("a flush made one");
    let dir = of_table.split('/').next().expect("a directory").to_owned();
    world.disk.write_file(format!("{dir}/{name}"), b"who knows what this was");
    (world, options, dir)
}

/// The same was believed of the directory of a hash table.
#[test]
fn a_name_that_is_taken_in_a_hash_table_does_not_stop_the_open() -> TestResult {
    let (world, options, dir) = with_planted(UNKNOWN_RUN);
    let aside = format!("{dir}/{UNKNOWN_RUN}.bad");
    world.disk.write_file(&aside, b"set aside before");
    for _ in 0..2 {
        let db = world.open(&options)?;
        assert_eq!(db.get(key(3))?.as_deref(), Some(value(3, 0, 700).as_slice()));
        let kept = world.disk.read_file(&aside);
        assert_eq!(kept.as_deref(), Some(b"set aside before".as_slice()));
        world.kill(db);
    }
    Ok(())
}

/// We believed that ids of a table never end. One that bears the last number may be put there: the
/// next flush made a generation that no open accepted.
#[test]
fn a_hash_table_without_numbers_left_says_so_before_it_writes() -> TestResult {
    for number in [(u64::MAX >> 1) - 2, (u64::MAX >> 1) - 1] {
        let (world, options, _) = with_planted(&format!("{number:016x}.run"));
        for round in 0..3 {
            let db = world.open(&options)?;
            assert_eq!(db.get(key(3))?.as_deref(), Some(value(3, 0, 700).as_slice()));
            db.put(key(100 + round), value(1, 0, 100))?;
            let error = db.flush().expect_err("no file can be made");
            assert!(error.to_string().contains("file ids"), "{error}");
            world.kill(db);
        }
        let db = world.open(&options)?;
        for round in 0..3 {
            assert_eq!(db.get(key(100 + round))?.as_deref(), Some(value(1, 0, 100).as_slice()));
        }
    }
    Ok(())
}

/// We believed that a database whose ids are used up opens and reads. Each open needs an id, for its
/// log, and a planted file took the last ones.
#[test]
fn row_064_a_planted_segment_with_one_of_the_last_ids_takes_none_away() -> TestResult {
    for back in 0..4 {
        for suffix in ["wal", "val", "wal.bad"] {
            let (world, db) = filled();
            world.kill(db);
            world.disk.write_file(format!("{:016x}.{suffix}", u32::MAX - back), b"who knows");
            for round in 0..3 {
                let db = world.open(&tiny())?;
                assert_eq!(db.iter().count(), 40 + usize::try_from(round)?);
                db.put(key(100 + round), value(1, 0, 5000))?;
                db.flush()?;
                if round == 1 { db.close()? } else { world.kill(db) }
            }
            let ids = world.names(".wal").into_iter().chain(world.names(".val"));
            assert!(
                ids.clone().all(|name| name.starts_with("000000000000")),
                "{:?}",
                ids.collect::<Vec<_>>()
            );
        }
    }
    Ok(())
}

#[test]
fn row_052_what_a_crash_left_half_made_is_set_aside_and_ids_are_not_used_again() -> TestResult {
    for options in both(&tiny()) {
        look_at_every_third_boundary(&options)?;
    }
    Ok(())
}

fn look_at_every_third_boundary(options: &Options) -> TestResult {
    let (world, db) = filled_with(options);
    world.disk.record();
    for index in 0..40 {
        db.put(key(index), value(index, 1, 300))?;
    }
    db.compact()?;
    for boundary in (0..world.disk.boundaries()).step_by(3) {
        let image = world.image(boundary, ImageKind::Everything, 1);
        let before: Vec<String> = image.files().into_keys().collect();
        let db = image.open(options)?;
        assert_eq!(db.iter().count(), 40, "boundary {boundary}");
        let quarantined = db.stats().recovery.quarantined;
        for name in &quarantined {
            assert!(before.contains(name) && image.files().contains_key(&format!("{name}.bad")));
        }
        db.compact()?;
        assert_sound(&db)?;
        db.close()?;
        drop(image.open(options)?);
        assert_eq!(bad(&image), Vec::<String>::new(), "boundary {boundary}");
    }
    Ok(())
}
