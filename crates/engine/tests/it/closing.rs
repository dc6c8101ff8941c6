//! Close against calls that are still running on other threads, and what many opens leave behind.

use engine::{Db, Durability, ErrorKind, Options};

use crate::world::{TestResult, real_files};

fn options() -> Options {
    Options::default()
        .durability(Durability::Never)
        .memtable_bytes(16 << 10)
        .segment_bytes(64 << 10)
        .log_bytes(1 << 20)
        .table_bytes(16 << 10)
        .level0_files(2)
        .level0_files_max(4)
        .level1_bytes(32 << 10)
}

/// We believed that stopping the background jobs ends all work on the directory. A merge on a
/// caller's thread went on after LOCK was let go of, and removed files that the next open named.
#[test]
fn a_merge_on_a_callers_thread_ends_before_close_lets_go_of_the_directory() -> TestResult {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("data");
    for round in 0..8_u32 {
        let db = Db::open(&path, options())?;
        for index in 0..400_u32 {
            db.put(format!("{index:04}"), vec![u8::try_from(round)?; 100])?;
        }
        let other = db.clone();
        let compacting = std::thread::scope(|scope| {
            let compacting = scope.spawn(move || other.compact());
            if round % 2 == 0 {
                std::thread::yield_now();
            }
            let closed = db.close();
            // The directory is free at once, whatever the other thread still does.
            let again = Db::open(&path, options());
            let compacted = compacting.join().expect("no panic");
            closed.and(again.and_then(Db::close)).map(|()| compacted)
        })?;
        if let Err(error) = compacting {
            assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        }
        let db = Db::open(&path, options())?;
        assert!(db.check()?.is_sound());
        assert_eq!(db.iter().count(), 400);
        for entry in db.iter() {
            assert_eq!(entry?.1.first(), Some(&u8::try_from(round)?));
        }
        db.close()?;
    }
    Ok(())
}

/// We believed that replay is bounded by bytes. Every open of a database with a small unflushed
/// log added a segment to its chain, for ever, until there were no file descriptors left.
#[test]
fn opening_and_closing_for_ever_keeps_few_files() -> TestResult {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("data");
    let db = Db::open(&path, options())?;
    db.put(b"k", b"v")?;
    db.close()?;
    for _ in 0..40 {
        let db = Db::open(&path, options())?;
        assert_eq!(db.get(b"k")?.as_deref(), Some(b"v".as_slice()));
        db.close()?;
        let files = real_files(&path).len();
        assert!(files < 14, "{files} files");
    }
    Ok(())
}
