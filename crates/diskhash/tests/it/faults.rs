//! Calls that fail. Catalogue rows 20, 36, 37, 45, 80, 101.

use diskhash::{Options, ReadMode};
use vfs::sim::{At, CallKind, Fault, ImageKind, SimDisk, Times, What};
use vfs::{Error, Kind, Result};

use crate::bed::{
    Batch, Keys, Model, apply, apply_model, get, judge, merge_all, mixed, open, options, slot, walk,
};

const KEYS: u64 = 300;

fn batch(round: u64) -> Batch {
    let keys = (0..KEYS).filter(|key| !(key + round).is_multiple_of(3));
    keys.map(|key| (key, (key % 4 != round % 4).then_some(u32::try_from(round).unwrap()))).collect()
}

/// Runs a script in which call `at` fails; every answer is right or an error. False when the
/// script has no such call.
fn run(options: &Options, at: u64, what: What, times: Times) -> bool {
    let label = format!("{what:?} {times:?} at call {at}, {:?}", options.read_mode);
    let disk = SimDisk::new(1);
    disk.fault(Fault { at: At::Call(at), what, times });
    let mut model = Model::new();
    // What a crash may show besides the model: a commit that failed when it may have been whole.
    let mut attempted = None;
    let mut poisoned = false;
    let _ = script(&disk, options, &mut model, &mut attempted, &mut poisoned);
    let hit = disk.faults_hit() > 0;
    disk.clear_faults();
    disk.kill();
    for kind in [ImageKind::Everything, ImageKind::SyncedOnly] {
        let table = open(&disk.crash(kind, 1), options)
            .unwrap_or_else(|error| panic!("{label}, {kind:?}: {error}"));
        let found = walk(&table.newest()).unwrap();
        let is_attempted = attempted.as_ref() == Some(&found);
        assert!(found == model || is_attempted, "{label}, {kind:?}");
        // Row 101: what is written afterwards is readable.
        let mut model = found;
        apply_model(&mut model, &batch(5));
        apply(&table, mixed, &batch(5)).unwrap();
        merge_all(&table, true, &mut Keys::default()).unwrap();
        judge(&table.newest(), mixed, &model, KEYS);
    }
    hit || disk.calls() > at
}

fn script(
    disk: &SimDisk,
    options: &Options,
    model: &mut Model,
    attempted: &mut Option<Model>,
    poisoned: &mut bool,
) -> Result<()> {
    let table = open(disk, options)?;
    for round in 0..5 {
        let before = table.newest();
        let mut next = model.clone();
        apply_model(&mut next, &batch(round));
        match apply(&table, mixed, &batch(round)) {
            Ok(after) => {
                assert!(!*poisoned, "acknowledged after a failed sync");
                assert_eq!(table.newest().id(), after.id());
                *model = next;
                *attempted = None;
                table.release(before.id());
            }
            Err(error) => {
                *poisoned |= matches!(error, Error::Poisoned { .. });
                assert_eq!(table.newest().id(), before.id(), "an error changes nothing");
                attempted.get_or_insert(next);
            }
        }
        if let Some(mut job) = table.plan(round == 3) {
            let before = table.newest().id();
            let merged = loop {
                match job.step(&mut Keys::default()) {
                    Ok(true) => break table.commit(job.finish()),
                    Ok(false) => {}
                    Err(error) => {
                        let again = job.step(&mut Keys::default());
                        assert!(matches!(again, Err(Error::Poisoned { .. })));
                        break Err(error);
                    }
                }
            };
            match merged {
                Ok(_) => table.release(before),
                Err(_) => assert_eq!(table.newest().id(), before, "an error changes nothing"),
            }
        }
        for key in (0..KEYS).step_by(29) {
            if let Ok(found) = get(&table.newest(), mixed, key) {
                assert_eq!(found, model.get(&key).copied(), "round {round}, key {key}");
            }
        }
        if let Ok(found) = walk(&table.newest()) {
            assert_eq!(found, *model, "round {round}");
        }
    }
    Ok(())
}

fn every_call(what: What, times: Times) {
    for read_mode in [ReadMode::Positional, ReadMode::Mapped] {
        // Pages of a mapping are not calls.
        let options = Options { read_mode, runs_max: 2, ..options() };
        let stride = if read_mode == ReadMode::Mapped { 1 } else { 3 };
        let mut at = 0;
        while run(&options, at, what, times) {
            at += stride;
        }
        assert!(at > 100, "{at} calls");
    }
}

#[test]
fn row_080_an_io_error_at_any_call_changes_nothing_or_is_reported() {
    every_call(What::Io, Times::Once);
}

#[test]
fn an_io_error_from_any_call_on_for_ever_changes_nothing() {
    every_call(What::Io, Times::Forever);
}

#[test]
fn row_037_a_full_disk_at_any_call_leaves_a_table_that_goes_on() {
    every_call(What::NoSpace, Times::Once);
}

#[test]
fn row_036_a_failed_sync_at_any_call_loses_no_acknowledged_commit() {
    for what in [What::SyncLost, What::SyncSurvived, What::SyncReverted] {
        every_call(what, Times::Once);
    }
}

// Row 36: nothing is acknowledged on top of a record that may or may not be there.
#[test]
fn after_a_failed_sync_of_a_commit_later_ones_are_refused_and_reads_go_on() {
    for syncs in [CallKind::Sync, CallKind::SyncDir] {
        for nth in 0..2 {
            let disk = SimDisk::new(1);
            let table = open(&disk, &options()).unwrap();
            let mut model = Model::new();
            apply_model(&mut model, &batch(0));
            apply(&table, mixed, &batch(0)).unwrap();
            let mut builder = table.builder();
            builder.add(mixed(1), &slot(1, Some(77)));
            let built = builder.finish().unwrap().unwrap();
            let at = At::Kind(syncs, disk.calls_of(syncs) + nth);
            disk.fault(Fault { at, what: What::SyncLost, times: Times::Once });
            if table.commit(built).is_ok() {
                assert!(syncs == CallKind::Sync && nth == 1, "a commit has one sync of a file");
                continue;
            }
            disk.clear_faults();
            let refused = apply(&table, mixed, &batch(1));
            assert!(matches!(refused, Err(Error::Poisoned { .. })));
            judge(&table.newest(), mixed, &model, KEYS);
        }
    }
}

#[test]
fn short_and_interrupted_calls_are_no_faults() {
    for what in [What::Short(1000), What::Interrupted] {
        let disk = SimDisk::new(1);
        let options = options();
        let table = open(&disk, &options).unwrap();
        disk.fault(Fault { at: At::Call(disk.calls()), what, times: Times::Once });
        let mut model = Model::new();
        apply_model(&mut model, &batch(0));
        apply(&table, mixed, &batch(0)).unwrap();
        judge(&table.newest(), mixed, &model, KEYS);
    }
}

#[test]
fn row_101_a_full_disk_refuses_commits_until_there_is_space_again() {
    let disk = SimDisk::new(1);
    let table = open(&disk, &options()).unwrap();
    let mut model = Model::new();
    apply_model(&mut model, &batch(0));
    apply(&table, mixed, &batch(0)).unwrap();
    let mut refused = 0;
    // Space for less and less of what an apply writes.
    for pages in 0..12 {
        let used: u64 = disk.files().iter().map(|(_, len)| len.next_multiple_of(4096)).sum();
        disk.set_quota(Some(used + pages * 4096));
        let before = table.newest().id();
        match apply(&table, mixed, &batch(1)) {
            Ok(_) => apply_model(&mut model, &batch(1)),
            Err(error) => {
                assert!(matches!(error, Error::NoSpace { .. }), "{error}");
                assert_eq!(table.newest().id(), before);
                refused += 1;
            }
        }
        judge(&table.newest(), mixed, &model, KEYS);
    }
    assert!(refused > 2, "{refused}");
    disk.set_quota(None);
    apply_model(&mut model, &batch(2));
    apply(&table, mixed, &batch(2)).unwrap();
    judge(&table.newest(), mixed, &model, KEYS);
    drop(table);
    disk.kill();
    let table = open(&disk.crash(ImageKind::SyncedOnly, 1), &options()).unwrap();
    judge(&table.newest(), mixed, &model, KEYS);
}

/// A new table's record found no space, the sync of taking it back failed, and the error was
/// `NoSpace`: its owner, for whom that changes nothing, tried again on a directory of unknown state.
/// Postmortem: an error says what its first cause was; whether something is in doubt is another matter.
#[test]
fn row_079_a_sync_that_fails_behind_a_full_disk_is_no_full_disk() {
    let at = At::Site(CallKind::Write, Kind::new("gen"), 0);
    for what in [What::NoSpace, What::Io, What::SyncSurvived] {
        let disk = SimDisk::new(1);
        disk.fault(Fault { at, what: What::NoSpace, times: Times::Once });
        let sync = At::Kind(CallKind::SyncDir, 0);
        disk.fault(Fault { at: sync, what, times: Times::Once });
        let error = open(&disk, &options()).map(drop).unwrap_err();
        assert_eq!(disk.faults_hit(), 2, "{what:?}");
        assert!(!matches!(error, Error::NoSpace { .. }), "{what:?}: {error}");
    }
}
