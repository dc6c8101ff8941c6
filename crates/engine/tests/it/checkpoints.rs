//! Checkpoints: a second database with exactly the state of the call, whatever happens meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use engine::{Db, Error, ErrorKind, Options, Result, WriteOptions};
use vfs::sim::{At, CallKind, Fault, ImageKind, SimDisk, Times, What};
use vfs::{Env, Fs, Kind, Name};

use crate::hooked::{Hook, Hooked};
use crate::script::{History, State, Step, short, state_of};
use crate::world::{
    Map, TestResult, World, assert_same, assert_sound, both, contents, key, kind_of, modes,
    real_files, tiny, value,
};

const HOME: Name = Name::new(Kind::new("home"), 1);
const COPY: Name = Name::new(Kind::new("copy"), 1);

/// A disk with a directory for the database and one for its checkpoint.
fn site(seed: u64) -> World {
    let world = World::new(seed);
    let root = world.disk.root();
    for name in [HOME, COPY] {
        root.create_dir(name).expect("a healthy disk");
    }
    root.sync_dir().expect("a healthy disk");
    world
}

fn dir(world: &World, name: Name) -> Arc<dyn Fs> {
    world.disk.root().open_dir(name).expect("it is durable")
}

fn open(world: &World, name: Name, options: &Options) -> Result<Db> {
    Db::open_on(dir(world, name), world.sim.env.clone(), options.clone())
}

/// Opens the checkpoint; `None` if there is none, or an unfinished one that says so.
fn open_copy(world: &World, options: &Options) -> Option<Db> {
    match open(world, COPY, &options.clone().create_if_missing(false)) {
        Ok(db) => Some(db),
        Err(error) => {
            assert!(is_unfinished(&error) || error.kind() == ErrorKind::NotFound, "{error:?}");
            None
        }
    }
}

fn is_unfinished(error: &Error) -> bool {
    error.kind() == ErrorKind::Invalid && error.to_string().contains("not finished")
}

#[test]
fn row_079_a_checkpoint_syncs_no_directory_again_whose_sync_failed() -> TestResult {
    let mut failed = 0;
    for (nth, options) in (0..8).flat_map(|nth| both(&tiny()).map(|options| (nth, options))) {
        let world = site(79);
        let db = open(&world, HOME, &options)?;
        for index in 0..8 {
            db.put(key(index), value(index, 0, 300))?;
        }
        db.flush()?;
        let at = At::Kind(CallKind::SyncDir, world.disk.calls_of(CallKind::SyncDir) + nth);
        world.disk.fault(Fault { at, what: What::SyncLost, times: Times::Once });
        let made = db.checkpoint_on(&dir(&world, COPY));
        if world.disk.failed_syncs().is_empty() {
            continue;
        }
        failed += 1;
        assert!(made.is_err(), "sync {nth} failed");
        assert_eq!(world.disk.syncs_again(), 0, "sync {nth}");
        assert_eq!(db.iter().count(), 8);
        drop(open_copy(&world, &options));
    }
    assert!(failed > 5, "{failed} syncs failed");
    Ok(())
}

/// Runs some steps of a script, with background work in between.
fn run(world: &World, db: &Db, history: &mut History, steps: &[Step]) {
    for step in steps {
        history.run(db, step, false).expect("a healthy disk");
        if let Step::Work(count) = step {
            world.step(*count, 3);
        }
    }
}

/// Where in the script checkpoints are made: with everything in the log, behind a flush, behind a
/// merge, with a dropped keyspace.
const CUTS: [usize; 5] = [5, 8, 15, 21, 25];

#[test]
fn a_checkpoint_is_the_state_of_the_call_and_both_databases_live_on() -> TestResult {
    let script = short();
    for (number, options) in modes(&tiny()).iter().enumerate() {
        for cut in CUTS {
            let world = site(1);
            let mut history = History::new();
            let db = open(&world, HOME, options)?;
            run(&world, &db, &mut history, &script[..cut]);
            let expected = history.visible().clone();
            db.checkpoint_on(&dir(&world, COPY))?;
            // The first goes on: flushes, merges and removes what both share.
            run(&world, &db, &mut history, &script[cut..]);
            db.compact()?;
            assert!(state_of(&db)? == *history.visible());

            // Another mode, the same kind of default keyspace.
            let other = &modes(&tiny())[if number < 4 { (number + 1) % 4 } else { 9 - number }];
            let copy = open(&world, COPY, other)?;
            assert!(copy.stats().recovery.clean, "nothing is in doubt in a checkpoint");
            assert!(state_of(&copy)? == expected, "cut {cut}");
            assert_sound(&copy)?;
            // And so does the second.
            for index in 0..30 {
                copy.put(key(index), value(index, 99, 400))?;
            }
            copy.compact()?;
            copy.close()?;
            assert!(state_of(&db)? == *history.visible());
            assert_sound(&db)?;
            world.kill(db);
            let db = open(&world, HOME, options)?;
            assert!(state_of(&db)? == *history.visible());
            assert_sound(&db)?;
            let copy = open(&world, COPY, options)?;
            assert_eq!(copy.get(key(29))?.as_deref(), Some(value(29, 99, 400).as_slice()));
            assert_sound(&copy)?;
        }
    }
    Ok(())
}

#[test]
fn what_never_changes_is_linked_and_takes_no_space() -> TestResult {
    let world = site(2);
    let db = open(&world, HOME, &tiny())?;
    for index in 0..200 {
        db.put(key(index), value(index, 0, 700))?;
    }
    db.flush()?;
    db.put(b"last", b"in the log")?;
    // Names are free; only the MANIFEST and the log's end are copied.
    let taken: u64 = world.disk.files().iter().map(|(_, len)| len.next_multiple_of(4096)).sum();
    world.disk.set_quota(Some(taken + (16 << 10)));
    db.checkpoint_on(&dir(&world, COPY))?;
    world.disk.set_quota(None);
    drop(db);
    let copy = open(&world, COPY, &tiny())?;
    assert_eq!(copy.iter().count(), 201);
    assert_sound(&copy)?;
    Ok(())
}

#[test]
fn on_another_file_system_everything_is_copied() -> TestResult {
    for options in modes(&tiny()) {
        let (world, other) = (site(3), SimDisk::new(4));
        let mut history = History::new();
        let db = open(&world, HOME, &options)?;
        run(&world, &db, &mut history, &short()[..23]);
        db.checkpoint_on(&other.root())?;
        let image = other.crash(ImageKind::SyncedOnly, 1);
        world.kill(db);
        let copy = Db::open_on(image.root(), Env::sim(9).env, options)?;
        assert!(state_of(&copy)? == *history.visible());
        assert_sound(&copy)?;
    }
    Ok(())
}

#[test]
fn batches_that_skipped_the_log_are_in_a_checkpoint() -> TestResult {
    for sealed in [false, true] {
        let world = site(5);
        let db = open(&world, HOME, &tiny())?;
        db.put(b"logged", b"1")?;
        let unlogged = || WriteOptions::default().disable_wal();
        db.put_with(b"a", value(1, 1, 20), unlogged())?;
        db.put_with(b"b", value(2, 1, 2000), unlogged())?;
        if sealed {
            let mut index = 0;
            while db.stats().sealed_generations == 0 {
                db.put(key(index), value(index, 0, 200))?;
                index += 1;
            }
        }
        let expected = contents(db.default_keyspace())?;
        db.checkpoint_on(&dir(&world, COPY))?;
        let image = world.crash(ImageKind::SyncedOnly, 1);
        let copy = open(&image, COPY, &tiny())?;
        assert_same(&contents(copy.default_keyspace())?, &expected, "the checkpoint");
    }
    Ok(())
}

#[test]
fn what_was_seen_expired_is_expired_in_a_checkpoint() -> TestResult {
    let world = site(6);
    let db = open(&world, HOME, &tiny())?;
    let ttl = std::time::Duration::from_secs(1);
    db.put_with(b"k", b"v", WriteOptions::default().ttl(ttl))?;
    world.sim.clock.advance(ttl);
    assert_eq!(db.get(b"k")?, None);
    db.checkpoint_on(&dir(&world, COPY))?;
    world.sim.clock.jump_wall_ms(-5000);
    assert_eq!(open(&world, COPY, &tiny())?.get(b"k")?, None);
    Ok(())
}

#[test]
fn a_directory_that_holds_anything_is_refused_and_left_as_it_is() -> TestResult {
    let world = site(7);
    let db = open(&world, HOME, &tiny())?;
    db.put(b"k", b"v")?;
    let home = dir(&world, HOME);
    let before = world.files();
    for planted in ["0000000000000001.copy/notes.txt", "0000000000000001.copy/00000000000000f1.tbl"]
    {
        world.disk.write_file(planted, b"precious");
        let error = db.checkpoint_on(&dir(&world, COPY)).expect_err("it is not empty");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert_eq!(world.disk.read_file(planted).as_deref(), Some(b"precious".as_slice()));
        world.disk.corrupt(planted, &vfs::sim::Damage::Remove);
        assert!(world.files() == before, "nothing was changed");
    }
    // Not even its own directory, nor that of another open database, nor a finished checkpoint.
    assert_eq!(kind_of(db.checkpoint_on(&home)), ErrorKind::Invalid);
    db.checkpoint_on(&dir(&world, COPY))?;
    let error = db.checkpoint_on(&dir(&world, COPY)).expect_err("it is not empty");
    assert!(error.kind() == ErrorKind::Invalid && !is_unfinished(&error), "{error}");
    let held = world.disk.root().create_dir(Name::new(Kind::new("held"), 1))?;
    let lock = held.lock()?;
    assert_eq!(kind_of(db.checkpoint_on(&held)), ErrorKind::Locked);
    drop(lock);
    db.checkpoint_on(&held)?;
    let again = db.clone();
    db.close()?;
    assert_eq!(kind_of(again.checkpoint_on(&held)), ErrorKind::Closed);
    Ok(())
}

/// What a crash left of a checkpoint is the whole state, or says that it is not.
fn verify_copy(image: &World, options: &Options, expected: &State, finished: bool, what: &str) {
    match open_copy(image, options) {
        Some(copy) => {
            let state = state_of(&copy).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            assert!(state == *expected, "{what}: another state");
            assert_sound(&copy).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            copy.put(b"new", b"here").expect("a healthy disk");
            copy.close().expect("a healthy disk");
        }
        None => assert!(!finished, "{what}: it was finished and does not open"),
    }
}

fn crash_everywhere(options: &Options, cut: usize, kinds: impl Fn(usize) -> Vec<ImageKind>) {
    let script = short();
    let world = site(8);
    let mut history = History::new();
    let db = open(&world, HOME, options).expect("a new database");
    run(&world, &db, &mut history, &script[..cut]);
    let durable = history.durable;
    let expected = history.visible().clone();
    world.disk.record();
    db.checkpoint_on(&dir(&world, COPY)).expect("a healthy disk");
    let finished = world.disk.boundaries() - 1;
    assert!(finished > 10, "a checkpoint makes calls");
    run(&world, &db, &mut history, &script[cut..]);
    db.compact().expect("a healthy disk");
    for boundary in 0..world.disk.boundaries() {
        // Once it is finished only few of the first database's calls can still matter.
        if boundary > finished && boundary % 7 != 0 {
            continue;
        }
        for kind in kinds(boundary) {
            let what = format!("cut {cut}, boundary {boundary} of {finished}, {kind:?}");
            let image = world.image(boundary, kind, boundary as u64);
            let home = open(&image, HOME, options).unwrap_or_else(|e| panic!("{what}: {e:?}"));
            let state = state_of(&home).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            assert!(history.find(&state, durable).is_some(), "{what}: the source was harmed");
            if boundary < finished {
                assert_sound(&home).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            }
            // A second checkpoint into what is left says what it is.
            let was_there = image.names(".manifest").iter().any(|name| name.contains("copy"));
            let was_marked = !image.names(".partial").is_empty();
            match home.checkpoint_on(&dir(&image, COPY)) {
                Ok(()) => {
                    assert!(!was_there && !was_marked, "{what}");
                    verify_copy(&image, options, &state, true, &what);
                    continue;
                }
                Err(error) => {
                    assert!(was_there || is_unfinished(&error), "{what}: {error:?}");
                    assert_eq!(error.kind(), ErrorKind::Invalid, "{what}");
                }
            }
            verify_copy(&image, options, &expected, boundary >= finished, &what);
        }
    }
}

#[test]
fn a_crash_at_any_call_of_a_checkpoint_harms_nothing_and_leaves_all_or_nothing_linking() {
    let kinds = ImageKind::kinds();
    for (number, options) in modes(&tiny()).iter().enumerate() {
        for (index, cut) in CUTS.iter().enumerate().filter(|(index, _)| index % 2 == number % 2) {
            crash_everywhere(options, *cut, |boundary| {
                let other = |shift| kinds[(boundary * 2 + number * 5 + index + shift) % 17];
                vec![ImageKind::SyncedOnly, other(0), other(1)]
            });
        }
    }
}

#[test]
fn a_crash_at_any_call_of_a_checkpoint_leaves_all_or_nothing_with_every_image() {
    for options in both(&tiny()) {
        crash_everywhere(&options, 15, |_| ImageKind::kinds().to_vec());
    }
}

#[test]
fn a_power_cut_at_any_call_of_a_copy_to_another_disk_leaves_all_or_nothing() {
    both(&tiny()).iter().for_each(cut_everywhere);
}

fn cut_everywhere(options: &Options) {
    let world = site(9);
    let mut history = History::new();
    let db = open(&world, HOME, options).expect("a new database");
    run(&world, &db, &mut history, &short()[..21]);
    let other = SimDisk::new(10);
    other.root().create_dir(COPY).expect("a healthy disk");
    other.root().sync_dir().expect("a healthy disk");
    other.record();
    let target = other.root().open_dir(COPY).expect("it was just made");
    db.checkpoint_on(&target).expect("a healthy disk");
    let finished = other.boundaries() - 1;
    for boundary in 0..=finished {
        for kind in ImageKind::kinds() {
            let disk = other.image(boundary, *kind, boundary as u64);
            let image = World { disk, sim: Env::sim(11) };
            let what = format!("boundary {boundary} of {finished}, {kind:?}");
            verify_copy(&image, options, history.visible(), boundary == finished, &what);
        }
    }
}

#[test]
fn a_failing_call_of_a_checkpoint_harms_nothing_and_is_told() -> TestResult {
    both(&tiny()).iter().try_for_each(fail_everywhere)
}

fn fail_everywhere(options: &Options) -> TestResult {
    let prepare = || {
        let world = site(12);
        let mut history = History::new();
        let db = open(&world, HOME, options).expect("a new database");
        run(&world, &db, &mut history, &short()[..15]);
        (world, db, history)
    };
    let (world, db, _) = prepare();
    let target = dir(&world, COPY);
    let before = world.disk.calls();
    db.checkpoint_on(&target)?;
    let calls = before..world.disk.calls();
    let faults = [
        (What::Io, Times::Once),
        (What::NoSpace, Times::Once),
        (What::Short(3), Times::Once),
        (What::Io, Times::Forever),
        (What::NoSpace, Times::Forever),
        (What::SyncLost, Times::Once),
        (What::SyncSurvived, Times::Once),
    ];
    let (mut failed, mut no_space) = (0, 0);
    for (what, times) in faults {
        for call in calls.clone() {
            let (world, db, history) = prepare();
            let target = dir(&world, COPY);
            world.disk.fault(Fault { at: At::Call(call), what, times });
            let result = db.checkpoint_on(&target);
            world.disk.clear_faults();
            let what = format!("call {call}, {what:?} {times:?}: {result:?}");
            let expected = history.visible();
            assert!(state_of(&db)? == *expected, "{what}");
            let cut = world.crash(ImageKind::SyncedOnly, 1);
            verify_copy(&cut, options, expected, result.is_ok(), &what);
            let home = open(&cut, HOME, options)?;
            let found = history.find(&state_of(&home)?, history.durable);
            assert!(found.is_some(), "{what}: the source was harmed");
            if let Err(error) = &result {
                failed += 1;
                if error.kind() == ErrorKind::NoSpace {
                    // It promises to have left nothing, so it can be done again.
                    no_space += 1;
                    assert_eq!(db.stats().failure, None, "{what}");
                    db.checkpoint_on(&target)?;
                    verify_copy(&world, options, expected, true, &what);
                    continue;
                }
            }
            world.kill(db);
            verify_copy(&world, options, expected, result.is_ok(), &what);
            let db = open(&world, HOME, options)?;
            assert!(state_of(&db)? == *expected, "{what}: the source was harmed");
            assert_sound(&db)?;
        }
    }
    assert!(failed > 50 && no_space > 5, "{failed} calls failed, {no_space} for want of space");
    Ok(())
}

/// Leaves values, garbage, records that moved and tables that say where, and a log.
fn fill(db: &Db) -> Result<()> {
    for round in 0..3_u64 {
        for index in (0..60).filter(|index| round == 0 || (index + round) % 3 == 0) {
            db.put(key(index), value(index, round, if index % 2 == 0 { 700 } else { 20 }))?;
        }
        db.compact()?;
        db.collect_garbage()?;
    }
    (0..5).try_for_each(|index| db.put(key(index), value(index, 9, 300)))
}

#[test]
fn flushes_merges_and_collections_at_any_call_of_a_checkpoint_take_nothing_from_it() -> TestResult {
    // At its n-th call the disk itself has the database write, flush, merge and collect: no lock
    // that these need is held then, and whatever they supersede stays until it is linked.
    let options = tiny().segment_bytes(16 << 10).memtable_bytes(64 << 10).log_bytes(64 << 10);
    let options = options.total_garbage_max(0.05).advised_garbage(0.05).forced_garbage(0.1);
    both(&options).iter().try_for_each(take_nothing)
}

fn take_nothing(options: &Options) -> TestResult {
    let mut met = 0;
    for number in 0.. {
        let world = site(13);
        let hook = Hook::default();
        let home = Hooked::at_look_ups(dir(&world, HOME), &hook);
        let db = Db::open_on(home, world.sim.env.clone(), options.clone())?;
        fill(&db)?;
        assert!(!world.names(".map").is_empty(), "no record was moved");
        let before = contents(db.default_keyspace())?;
        let busy = db.clone();
        hook.arm(number, move || {
            for round in 2..4 {
                for index in 10..50 {
                    busy.put(key(index), value(index, round, 300)).expect("a healthy disk");
                }
                busy.flush().expect("a healthy disk");
                busy.compact().expect("a healthy disk");
                busy.collect_garbage().expect("a healthy disk");
            }
        });
        db.checkpoint_on(&Hooked::at_every_call(dir(&world, COPY), &hook))?;
        let was_met = !hook.disarm();
        let after = contents(db.default_keyspace())?;
        let copy = open(&world, COPY, options)?;
        let found = contents(copy.default_keyspace())?;
        assert!(found == before || found == after, "call {number}: neither before nor after");
        assert_sound(&copy)?;
        copy.compact()?;
        copy.collect_garbage()?;
        assert!(contents(copy.default_keyspace())? == found, "call {number}");
        assert_sound(&db)?;
        assert_eq!(db.stats().retired_files, 0, "call {number}: files are kept for ever");
        if !was_met {
            break;
        }
        met += 1;
    }
    assert!(met > 10, "a checkpoint makes calls, {met} were met");
    Ok(())
}

#[test]
fn a_close_during_a_checkpoint_ends_it_and_what_is_left_says_so() -> TestResult {
    for number in 0.. {
        let world = site(14);
        let hook = Hook::default();
        let home = Hooked::at_look_ups(dir(&world, HOME), &hook);
        let db = Db::open_on(home, world.sim.env.clone(), tiny())?;
        for index in 0..40 {
            db.put(key(index), value(index, 0, 300))?;
        }
        let expected = state_of(&db)?;
        let closing = db.clone();
        hook.arm(number, move || closing.close().expect("a healthy disk"));
        let result = db.checkpoint_on(&Hooked::at_every_call(dir(&world, COPY), &hook));
        let was_met = !hook.disarm();
        if let Err(error) = &result {
            assert_eq!(error.kind(), ErrorKind::Closed, "call {number}: {error}");
        }
        drop(db);
        let what = format!("call {number}");
        verify_copy(&world, &tiny(), &expected, result.is_ok(), &what);
        assert!(state_of(&open(&world, HOME, &tiny())?)? == expected, "{what}");
        if !was_met {
            return Ok(());
        }
    }
    Ok(())
}

/// Links of a real file.
fn link_count(path: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    path.metadata().expect("it was listed").nlink()
}

#[test]
fn checkpoints_of_a_busy_database_on_a_real_disk_hold_a_prefix_with_all_acknowledged() -> TestResult
{
    let scratch = tempfile::tempdir()?;
    let options = tiny().memtable_bytes(16 << 10).log_bytes(64 << 10).segment_bytes(16 << 10);
    let db = Db::open(scratch.path().join("data"), options.clone())?;
    let (acknowledged, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let allowed = AtomicU64::new(0);
    // Every batch raises one counter in two places and adds a key of its own.
    let write = || -> Result<()> {
        let mut next = 1_u64;
        while !stop.load(Ordering::Acquire) {
            if next > allowed.load(Ordering::Acquire) {
                std::thread::yield_now();
                continue;
            }
            let mut batch = db.batch();
            let number = next.to_le_bytes();
            batch.put(db.default_keyspace(), b"one", number);
            batch.put(db.default_keyspace(), key(next), value(next, 0, 300));
            batch.put(db.default_keyspace(), b"two", number);
            db.write(batch, WriteOptions::default())?;
            acknowledged.store(next, Ordering::Release);
            next += 1;
        }
        Ok(())
    };
    let merge = || -> Result<()> {
        let mut compacted = 0;
        while !stop.load(Ordering::Acquire) {
            let newest = acknowledged.load(Ordering::Acquire);
            if newest < compacted + 25 {
                std::thread::yield_now();
                continue;
            }
            db.compact()?;
            compacted = newest;
        }
        Ok(())
    };
    let verify = |path: &std::path::Path, least: u64| -> TestResult {
        let most = acknowledged.load(Ordering::Acquire) + 1;
        let copy = Db::open(path, options.clone().create_if_missing(false))?;
        let found: Map = contents(copy.default_keyspace())?;
        let counter = |name: &[u8]| found.get(name).map_or(0, |value| number_of(value));
        let count = counter(b"one");
        assert_eq!(count, counter(b"two"), "half of a batch");
        assert!(least <= count && count <= most, "{count} is not in {least}..={most}");
        assert!((1..=count).all(|index| found[&key(index)] == value(index, 0, 300)));
        assert_eq!(found.len() as u64, count + if count == 0 { 0 } else { 2 });
        assert_sound(&copy)?;
        copy.put(b"more", b"and goes on")?;
        copy.close()?;
        Ok(())
    };
    std::thread::scope(|scope| -> TestResult {
        let workers = [scope.spawn(write), scope.spawn(merge)];
        let mut result = Ok(());
        for round in 0..6 {
            // Something is written before the checkpoint, and more meanwhile.
            let before = acknowledged.load(Ordering::Acquire);
            allowed.store(before + 100, Ordering::Release);
            while acknowledged.load(Ordering::Acquire) < before + 20 {
                std::thread::yield_now();
            }
            let path = scratch.path().join(format!("copies/{round}"));
            let least = acknowledged.load(Ordering::Acquire);
            let made = db.checkpoint(&path);
            result = made.map_err(Into::into).and_then(|()| verify(&path, least));
            if result.is_err() {
                break;
            }
        }
        stop.store(true, Ordering::Release);
        for worker in workers {
            worker.join().expect("no panic")?;
        }
        result
    })?;
    assert_sound(&db)?;
    db.flush()?;

    let path = scratch.path().join("last");
    db.checkpoint(&path)?;
    let files = real_files(&path);
    let tables: Vec<_> = files.keys().filter(|name| name.ends_with(".tbl")).collect();
    assert!(!tables.is_empty());
    for name in tables {
        assert!(link_count(&path.join(name)) >= 2, "{name} is a copy");
    }
    assert_eq!(link_count(&path.join("LOCK")), 1, "a lock is not shared");
    assert_eq!(kind_of(db.checkpoint(&path)), ErrorKind::Invalid);
    Ok(())
}

fn number_of(value: &[u8]) -> u64 {
    u64::from_le_bytes(value.try_into().expect("a counter"))
}
