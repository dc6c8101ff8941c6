//! Calls that fail: no panic, no wrong answer, and after a reopen on a healthy disk everything
//! that was acknowledged is there.

use engine::{Db, Durability, ErrorKind, KeyspaceOptions, Options, WriteOptions};
use vfs::Kind;
use vfs::sim::{At, CallKind, Fault, ImageKind, Times, What};

use crate::script::{History, Step, handle, short, state_of};
use crate::world::{
    TestResult, World, assert_sound, both, contents, key, kind_of, modes, tiny, value,
};

/// How a run under faults went.
struct Run {
    world: World,
    history: History,
    hit: bool,
}

/// Runs a script on a disk with a fault, goes on after errors, checks every answer on the way.
fn run_with(fault: Option<Fault>, options: &Options, script: &[Step], always: bool) -> Run {
    let world = World::new(11);
    if let Some(fault) = fault {
        world.disk.fault(fault);
    }
    let mut history = History::new();
    if let Ok(db) = world.open(options) {
        for step in script {
            let read_only = db.stats().failure.is_some();
            let result = history.run(&db, step, always);
            if read_only && !matches!(step, Step::Work(_)) {
                // The call is refused, or it had nothing to do.
                let acknowledged = history.visible().clone();
                assert!(result.is_err() || history.states.contains(&acknowledged));
            }
            if let Step::Work(count) = step {
                world.step(*count, 3);
            }
            verify_reads(&db, &history);
        }
        drop(db.close());
    }
    let hit = world.disk.faults_hit() > 0;
    world.disk.clear_faults();
    Run { world, history, hit }
}

/// A read is right or it is an error.
fn verify_reads(db: &Db, history: &History) {
    for (name, map) in history.visible() {
        let Ok(keyspace) = handle(db, name) else { continue };
        for index in 0..12 {
            let key = key(index);
            if let Ok(found) = keyspace.get(&key) {
                let expected = map.get(&key).map(Vec::as_slice);
                assert_eq!(found.as_deref(), expected, "{} in {name}", key.escape_ascii());
            }
        }
        if let Ok(found) = contents(&keyspace) {
            assert!(found == *map, "a scan of {name} succeeds and is wrong");
        }
    }
}

/// What a run left, on a healthy disk: after the death of the process, and after a power cut.
fn verify_after(run: &Run, options: &Options, what: &str) {
    let Run { world, history, .. } = run;
    let cut = world.crash(ImageKind::SyncedOnly, 1);
    for (world, from) in [(&cut, history.durable), (world, history.acknowledged)] {
        let db = world.open(options).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let state = state_of(&db).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let names: Vec<_> = state.iter().map(|(name, map)| (name, map.len())).collect();
        let found = history.find(&state, from);
        let last = history.states.len();
        assert!(found.is_some(), "{what}: {names:?} is no state from {from} to {last}");
        assert_sound(&db).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        db.put(b"new", b"here").unwrap_or_else(|error| panic!("{what}: {error:?}"));
        db.flush().unwrap_or_else(|error| panic!("{what}: {error:?}"));
        db.close().unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let db = world.open(options).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let mut again = state_of(&db).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let new = again.get_mut("default").and_then(|map| map.remove(b"new".as_slice()));
        assert!(new.is_some() && again == state, "{what}: the second open differs");
    }
}

/// Lets every `stride`-th call fail in every way, beginning with `offset`.
fn sweep(options: &Options, always: bool, faults: &[(What, Times)], stride: usize) {
    let script = short();
    let calls = run_with(None, options, &script, always).world.disk.calls();
    let mut hits = 0;
    for (number, (what, times)) in faults.iter().enumerate() {
        for call in (0..calls).skip(number % stride).step_by(stride) {
            let fault = Fault { at: At::Call(call), what: *what, times: *times };
            let run = run_with(Some(fault), options, &script, always);
            if run.hit {
                hits += 1;
                verify_after(&run, options, &format!("{fault:?}"));
            }
        }
    }
    assert!(hits > 100, "only {hits} faults hit");
}

const ONCE: [(What, Times); 3] =
    [(What::Io, Times::Once), (What::NoSpace, Times::Once), (What::Short(3), Times::Once)];
const FOREVER: [(What, Times); 3] = [
    (What::Io, Times::Forever),
    (What::NoSpace, Times::Forever),
    (What::Short(700), Times::Forever),
];
const SYNCS: [(What, Times); 3] = [
    (What::SyncLost, Times::Once),
    (What::SyncSurvived, Times::Once),
    (What::SyncReverted, Times::Forever),
];

#[test]
fn row_017_023_024_080_one_failing_call_loses_nothing_appending_by_mapping() {
    for options in both(&tiny()) {
        sweep(&options, false, &ONCE, 4);
    }
}

#[test]
fn row_017_023_024_080_one_failing_call_loses_nothing_appending_by_writes() {
    for options in both(&tiny().durability(Durability::Always)) {
        sweep(&options, true, &ONCE, 7);
    }
}

#[test]
fn row_078_calls_that_fail_for_ever_lose_nothing() {
    for options in both(&tiny().append_mode(engine::AppendMode::Positional)) {
        sweep(&options, false, &FOREVER, 7);
    }
}

#[test]
fn row_036_079_a_failing_sync_ends_the_writes_and_loses_nothing_durable() {
    // A sync whose bytes are lost although reads still show them leaves a process that goes on
    // after it; only what is on the medium counts then.
    let [btree, hash] = both(&tiny());
    for options in [btree.clone(), btree.durability(Durability::Always), hash] {
        let script = short();
        let calls = run_with(None, &options, &script, false).world.disk.calls();
        for (number, (what, times)) in SYNCS.iter().enumerate() {
            for call in (0..calls).skip(number).step_by(4) {
                let fault = Fault { at: At::Call(call), what: *what, times: *times };
                let run = run_with(Some(fault), &options, &script, false);
                if !run.hit {
                    continue;
                }
                let cut = run.world.crash(ImageKind::SyncedOnly, 1);
                let db = cut.open(&options).unwrap_or_else(|error| panic!("{fault:?}: {error:?}"));
                let state = state_of(&db).expect("a healthy disk");
                let found = run.history.find(&state, run.history.durable);
                assert!(found.is_some(), "{fault:?}: not what was durable");
                assert_sound(&db).unwrap_or_else(|error| panic!("{fault:?}: {error:?}"));
            }
        }
    }
}

#[test]
fn row_079_after_a_failed_sync_nothing_is_acknowledged_and_the_reason_is_named() -> TestResult {
    for options in modes(&tiny()) {
        let world = World::new(79);
        let db = world.open(&options)?;
        db.put_with(b"a", b"durable", WriteOptions::default().durable())?;
        for kind in [CallKind::Sync, CallKind::SyncMap] {
            let at = At::Kind(kind, world.disk.calls_of(kind));
            world.disk.fault(Fault { at, what: What::SyncLost, times: Times::Once });
        }
        let durable = WriteOptions::default().durable();
        let first = db.put_with(b"a", b"lost", durable.clone()).expect_err("the sync fails");
        assert_eq!(first.kind(), ErrorKind::Io, "{first}");
        world.disk.clear_faults();
        let before = world.disk.calls_of(CallKind::Sync) + world.disk.calls_of(CallKind::SyncMap);
        for _ in 0..3 {
            let error = db.put_with(b"b", b"no", durable.clone()).expect_err("read-only");
            assert_eq!(error.kind(), ErrorKind::ReadOnly);
            assert!(error.to_string().contains(".wal"), "{error}");
            assert_eq!(kind_of(db.put(b"b", b"no")), ErrorKind::ReadOnly);
            assert_eq!(kind_of(db.delete(b"a")), ErrorKind::ReadOnly);
            assert_eq!(kind_of(db.sync()), ErrorKind::ReadOnly);
            assert_eq!(kind_of(db.flush()), ErrorKind::ReadOnly);
            assert_eq!(kind_of(db.compact()), ErrorKind::ReadOnly);
            assert_eq!(kind_of(db.drop_keyspace("x")), ErrorKind::ReadOnly);
            let created = db.keyspace("new", KeyspaceOptions::btree());
            assert_eq!(kind_of(created), ErrorKind::ReadOnly);
        }
        world.step(20, 1);
        let after = world.disk.calls_of(CallKind::Sync) + world.disk.calls_of(CallKind::SyncMap);
        assert_eq!(before, after, "a failed sync is not tried again");
        assert_eq!(db.get(b"a")?.as_deref(), Some(b"durable".as_slice()), "reads go on");
        assert_eq!(db.iter().count(), 1);
        assert!(db.stats().failure.is_some_and(|reason| reason.contains(".wal")));
        assert_eq!(kind_of(db.close()), ErrorKind::ReadOnly);
        let image = world.crash(ImageKind::SyncedOnly, 1);
        let db = image.open(&options)?;
        assert_eq!(db.get(b"a")?.as_deref(), Some(b"durable".as_slice()));
        assert_eq!(db.get(b"b")?, None);
    }
    Ok(())
}

#[test]
fn row_079_an_open_syncs_nothing_again_whose_sync_found_no_space() -> TestResult {
    let world = World::new(3);
    let db = world.open(&tiny())?;
    db.put(b"a", b"kept")?;
    world.kill(db);
    let syncs = |disk: &vfs::SimDisk| {
        let kinds = [CallKind::Sync, CallKind::SyncMap, CallKind::SyncDir];
        kinds.map(|kind| disk.calls_of(kind)).iter().sum::<u64>()
    };
    let copy = World { disk: world.disk.fork(1), ..World::new(3) };
    let before = syncs(&copy.disk);
    drop(copy.open(&tiny())?);
    for nth in 0..syncs(&copy.disk) - before {
        for kind in [CallKind::Sync, CallKind::SyncMap, CallKind::SyncDir] {
            let copy = World { disk: world.disk.fork(1), ..World::new(3) };
            let at = At::Kind(kind, nth);
            copy.disk.fault(Fault { at, what: What::NoSpace, times: Times::Once });
            copy.disk.log_calls();
            let opened = copy.open(&tiny());
            let Some(failed) = copy.disk.failed_syncs().first().cloned() else { continue };
            assert!(opened.is_err(), "{failed:?}");
            let calls = copy.disk.logged_calls();
            let later = &calls[usize::try_from(failed.call)? + 1..];
            let again = later.iter().find(|call| call.kind.syncs() && call.path == failed.path);
            assert_eq!(again, None);
        }
    }
    Ok(())
}

#[test]
fn row_080_a_lock_that_cannot_be_looked_at_ends_the_writes_and_says_so() -> TestResult {
    let world = World::new(80);
    let db = world.open(&tiny())?;
    db.put(b"a", b"kept")?;
    let at = At::Kind(CallKind::Verify, world.disk.calls_of(CallKind::Verify));
    world.disk.fault(Fault { at, what: What::Io, times: Times::Once });
    let error = db.flush().expect_err("the look fails");
    assert!(error.to_string().contains("LOCK"), "{error}");
    let error = db.put(b"a", b"no").expect_err("read-only");
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
    let message = error.to_string();
    assert!(message.contains("/sim/LOCK") && !message.contains("removed"), "{message}");
    assert_eq!(db.get(b"a")?.as_deref(), Some(b"kept".as_slice()), "reads go on");
    world.kill(db);
    assert_eq!(world.open(&tiny())?.iter().count(), 1);
    Ok(())
}

/// A flush that the MANIFEST had no space for took its hash table back, the sync of that failed, and
/// nobody was told: the database acknowledged on, and the next flush met a table that was no more.
/// Postmortem: what gives up a change can fail as well as what makes it.
#[test]
fn row_079_a_sync_that_fails_while_a_change_is_given_up_ends_the_writes() -> TestResult {
    let mut both_hit = 0;
    for nth in 0..8 {
        let world = World::new(79);
        let db = world.open(&both(&tiny())[1])?;
        for index in 0..12 {
            db.put(key(index), value(index, 1, 200))?;
        }
        let at = At::Site(CallKind::Preallocate, Kind::new("manifest"), 0);
        world.disk.fault(Fault { at, what: What::NoSpace, times: Times::Once });
        let at = At::Kind(CallKind::SyncDir, world.disk.calls_of(CallKind::SyncDir) + nth);
        world.disk.fault(Fault { at, what: What::Io, times: Times::Once });
        drop(db.flush());
        let lost = !world.disk.failed_syncs().is_empty();
        both_hit += u64::from(world.disk.faults_hit() == 2);
        world.disk.clear_faults();
        assert_eq!(db.stats().failure.is_some(), lost, "directory sync {nth}");
        assert_eq!(db.put(b"more", b"1").is_err(), lost, "directory sync {nth}");
        for index in 0..12 {
            assert_eq!(db.get(key(index))?.as_deref(), Some(value(index, 1, 200).as_slice()));
        }
    }
    assert!(both_hit > 0, "no change was given up");
    Ok(())
}

#[test]
fn row_017_a_failed_log_write_leaves_no_half_batch_in_any_keyspace() -> TestResult {
    let options = tiny().append_mode(engine::AppendMode::Positional);
    for short in [None, Some(40)] {
        let world = World::new(17);
        let db = world.open(&options)?;
        let side = handle(&db, "side")?;
        db.put(b"k", b"old")?;
        side.put(b"k", b"old")?;
        let next = world.disk.calls_of(CallKind::Write);
        if let Some(len) = short {
            let at = At::Kind(CallKind::Write, next);
            world.disk.fault(Fault { at, what: What::Short(len), times: Times::Once });
        }
        let at = At::Kind(CallKind::Write, next + u64::from(short.is_some()));
        world.disk.fault(Fault { at, what: What::Io, times: Times::Once });
        let mut batch = db.batch();
        batch.put(db.default_keyspace(), b"k", b"new");
        batch.put(&side, b"k", b"new");
        let error = db.write(batch, WriteOptions::default()).expect_err("the write fails");
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert_eq!(kind_of(db.put(b"z", b"z")), ErrorKind::ReadOnly);
        for keyspace in [db.default_keyspace(), &side] {
            assert_eq!(keyspace.get(b"k")?.as_deref(), Some(b"old".as_slice()));
        }
        drop(side);
        world.kill(db);
        let db = world.open(&options)?;
        let side = handle(&db, "side")?;
        let found = (db.get(b"k")?, side.get(b"k")?);
        assert_eq!(found.0, found.1, "both keyspaces or none");
    }
    Ok(())
}

#[test]
fn row_037_101_space_runs_out_and_comes_back_and_nothing_is_lost() -> TestResult {
    for options in modes(&tiny()) {
        let world = World::new(101);
        let db = world.open(&options)?;
        let mut expected = crate::world::Map::new();
        let (mut refused, mut failed) = (0_u64, 0_u64);
        world.disk.set_quota(Some(160 << 10));
        let mut db = Some(db);
        for index in 0..600 {
            let handle = db.as_ref().expect("it is open");
            let (key, value) = (key(index), value(index, 0, 700));
            match handle.put(&key, &value) {
                Ok(()) => drop(expected.insert(key, value)),
                Err(error) if error.kind() == ErrorKind::NoSpace => {
                    refused += 1;
                    assert_eq!(handle.get(&key)?, None, "a refused write is not there");
                    for (key, value) in &expected {
                        assert_eq!(handle.get(key)?.as_deref(), Some(value.as_slice()));
                    }
                    if refused.is_multiple_of(3) {
                        world.disk.set_quota(Some((160 + refused * 40) << 10));
                    }
                }
                Err(error) => {
                    // In the middle of an edit: the database stands still until it is reopened.
                    failed += 1;
                    assert!(handle.stats().failure.is_some(), "{error}");
                    drop(db.take());
                    world.disk.set_quota(Some((400 + failed * 200) << 10));
                    db = Some(world.open(&options)?);
                }
            }
            world.step(index % 2, index);
        }
        assert!(refused > 0, "the disk was never full");
        world.disk.set_quota(None);
        let last = db.take().expect("it is open");
        let found = contents(last.default_keyspace())?;
        assert!(found.len() >= expected.len());
        for (key, value) in &expected {
            assert_eq!(found.get(key), Some(value), "{}", key.escape_ascii());
        }
        drop(last.close());
        let db = world.open(&options)?;
        for (key, value) in &expected {
            assert_eq!(db.get(key)?.as_deref(), Some(value.as_slice()));
        }
        db.compact()?;
        assert_sound(&db)?;
        assert_eq!(contents(db.default_keyspace())?, found);
    }
    Ok(())
}

#[test]
fn row_078_a_full_disk_is_readable_and_reopens_when_there_is_space_again() -> TestResult {
    for options in modes(&tiny()) {
        let world = World::new(78);
        let db = world.open(&options)?;
        for index in 0..60 {
            db.put(key(index), value(index, 0, 300))?;
        }
        db.sync()?;
        world.disk.set_quota(Some(0));
        let mut acknowledged = 60;
        while db.put(key(acknowledged), value(acknowledged, 0, 300)).is_ok() {
            acknowledged += 1;
            assert!(acknowledged < 1000, "a full disk takes writes for ever");
        }
        world.step(10, 1);
        for index in 0..acknowledged {
            assert_eq!(db.get(key(index))?.as_deref(), Some(value(index, 0, 300).as_slice()));
        }
        assert_eq!(db.iter().count() as u64, acknowledged);
        drop(db.close());
        // While it is full: open or refuse, and harm nothing.
        for _ in 0..3 {
            match world.open(&options) {
                Ok(db) => {
                    assert_eq!(db.iter().count() as u64, acknowledged);
                    drop(db);
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}"),
            }
        }
        world.disk.set_quota(None);
        let db = world.open(&options)?;
        for index in 0..acknowledged {
            assert_eq!(db.get(key(index))?.as_deref(), Some(value(index, 0, 300).as_slice()));
        }
        db.put(b"again", b"works")?;
        db.flush()?;
        assert_sound(&db)?;
    }
    Ok(())
}

#[test]
fn row_023_024_a_flush_that_fails_is_done_again_before_the_next_one() -> TestResult {
    for (nth, hash) in (0..40).flat_map(|nth| [(nth, false), (nth, true)]) {
        let world = World::new(23);
        let options = both(&tiny())[usize::from(hash)].clone();
        let db = world.open(&options)?;
        for index in 0..12 {
            db.put(key(index), value(index, 1, 200))?;
        }
        let at = At::Call(world.disk.calls() + nth);
        world.disk.fault(Fault { at, what: What::NoSpace, times: Times::Once });
        let flushed = db.flush();
        world.disk.clear_faults();
        let mut acknowledged = true;
        for index in 0..12 {
            acknowledged &= db.put(key(index), value(index, 2, 200)).is_ok();
        }
        assert!(flushed.is_ok() || !acknowledged || db.stats().failure.is_none());
        drop(db.flush());
        let expected = contents(db.default_keyspace())?;
        let version = if acknowledged { 2 } else { 1 };
        let newest = value(11, version, 200);
        if acknowledged {
            assert_eq!(expected.get(&key(11)), Some(&newest), "call {nth}");
            db.sync()?;
        }
        let image = world.crash(ImageKind::SyncedOnly, 1);
        let found = contents(image.open(&options)?.default_keyspace())?;
        if acknowledged {
            assert_eq!(found, expected, "call {nth}: old over new, or a generation is lost");
        }
        world.kill(db);
        let found = contents(world.open(&options)?.default_keyspace())?;
        assert_eq!(found, expected, "call {nth}");
    }
    Ok(())
}

#[test]
fn a_failing_background_job_makes_the_database_read_only_with_the_reason() -> TestResult {
    let world = World::new(5);
    let db = world.open(&tiny())?;
    let mut index = 0;
    while db.stats().sealed_generations == 0 {
        db.put(key(index), value(index, 0, 200))?;
        index += 1;
    }
    let at = At::Call(world.disk.calls());
    world.disk.fault(Fault { at, what: What::Io, times: Times::Forever });
    world.step(50, 1);
    world.disk.clear_faults();
    let error = db.put(b"k", b"v").expect_err("the background flush failed");
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
    assert!(error.to_string().contains("/sim/"), "{error} names no file");
    assert!(db.stats().failure.is_some());
    for old in 0..index {
        assert_eq!(db.get(key(old))?.as_deref(), Some(value(old, 0, 200).as_slice()));
    }
    world.kill(db);
    assert_eq!(world.open(&tiny())?.iter().count() as u64, index);
    Ok(())
}
