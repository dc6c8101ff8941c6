//! Close against calls that are still running on other threads, and what many opens leave behind.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use engine::{Db, Durability, ErrorKind, KeyspaceOptions, Options, WriteOptions};

use crate::hooked::{Hook, Hooked};
use crate::world::{TestResult, World, both, key, real_files, tiny, value};

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

/// What close flushes goes into a hash index that takes no run before a merge, which has more than
/// one step.
#[test]
fn a_close_merges_a_full_hash_index_that_it_flushes_into() -> TestResult {
    let options = Options::default().durability(Durability::Never);
    let options = options.default_keyspace(KeyspaceOptions::hash());
    let world = World::new(31);
    let db = world.open(&options)?;
    for round in 0..8 {
        for index in 0..2500 {
            db.put(key(2500 * round + index), b"v")?;
        }
        db.flush()?;
    }
    db.put_with(b"u", b"v", WriteOptions::default().disable_wal())?;
    db.close()?;
    let db = world.open(&options)?;
    assert!(db.stats().recovery.clean);
    assert_eq!(db.get(b"u")?.as_deref(), Some(b"v".as_slice()));
    assert_eq!(db.get(key(19_999))?.as_deref(), Some(b"v".as_slice()));
    Ok(())
}

/// We believed that a flush ends because it flushes faster than others write.
#[expect(clippy::disallowed_methods, reason = "the writer outlives the call that starts it")]
#[test]
fn a_flush_waits_for_what_was_there_and_not_for_what_comes() -> TestResult {
    for options in both(&tiny().sealed_max(16)) {
        let mut most = 0;
        for call in 0..12 {
            let world = World::new(32);
            let hook = Hook::default();
            let home = Hooked::at_every_call(world.disk.root(), &hook);
            let db = Db::open_on(home, world.sim.env.clone(), options.clone())?;
            db.put(b"first", b"v")?;
            let busy = db.clone();
            hook.arm(call, move || {
                let (done, is_done) = mpsc::channel();
                // As much as fills some memtables; on a thread of its own, since the call may be
                // made under a lock that a put takes.
                thread::spawn(move || {
                    for index in 0..200 {
                        busy.put(key(index), value(index, 0, 300)).expect("a healthy disk");
                    }
                    // Nobody waits that long.
                    let _ = done.send(());
                });
                let _ = is_done.recv_timeout(Duration::from_millis(100));
            });
            db.flush()?;
            hook.disarm();
            let stats = db.stats();
            assert!(stats.flushes <= 1, "call {call}: {} generations were flushed", stats.flushes);
            most = most.max(stats.sealed_generations);
        }
        assert!(most > 1, "some came in the midst of the flush");
    }
    Ok(())
}
