//! The judge of failing calls is awake.

use vfs::sim::{CallKind, What};

use super::super::call::Op;
use super::super::history::Change;
use super::super::trial::Step;
use super::*;

fn stage() -> (Config, Stage) {
    let config = promised()[0];
    (config, Stage::new(config, &[Start::Killed], 1).expect("no fault"))
}

fn scene() -> Scene {
    "Killed:open,put".parse().expect("a scene")
}

fn fault(what: What, kind: CallKind, n: u64) -> Fault {
    Fault { at: At::Kind(kind, n), what, times: Times::Once }
}

#[test]
fn every_fault_of_some_calls_passes() {
    let (config, stage) = stage();
    let mut unit = Unit::new(&stage, 1);
    let calls = scene::calls(&stage, &scene(), 1).expect("no fault");
    for (number, call, _) in calls.into_iter().step_by(29) {
        for (what, times) in scene::faults_of(call.kind) {
            let (scene, end) = (scene(), End::Close);
            let case = Case { config, scene, call: number, what, times, end };
            unit.run(&case).unwrap_or_else(|error| panic!("{case}: {error:#}"));
        }
    }
    assert!(unit.outcome.counts["recoveries"] > 0);
}

#[test]
fn an_acknowledged_write_that_is_not_there_is_found() {
    let (config, stage) = stage();
    let mut trial = stage.trial(&scene(), None, 1).expect("a copy");
    trial.go(&scene().steps).expect("no fault");
    trial.end(End::Kill).expect("no fault");
    let image = trial.run.disk.fork(1);
    let recovery = Recovery { config, seed: 1, settle: false };
    recovery.run(&image, &trial.allowed_after_kill()).expect("all is there");
    let change = Change::Delete(engine::DEFAULT_KEYSPACE.to_owned(), b"b".to_vec());
    trial.run.history.attempt(0, vec![change], false);
    trial.run.acknowledged += 1;
    let image = trial.run.disk.fork(1);
    assert!(recovery.run(&image, &trial.allowed_after_kill()).is_err());
    let image = trial.run.disk.fork(1);
    recovery.run(&image, &trial.allowed_after_cut()).expect("it was not durable");
}

#[test]
fn a_sync_that_is_tried_again_is_found_through_the_same_handle_and_another() {
    for same in [true, false] {
        let (_, stage) = stage();
        let mut trial = stage.trial(&scene(), None, 1).expect("a copy");
        trial.go(&[Step::Open]).expect("no fault");
        let disk = trial.run.disk.clone();
        let home = super::super::copies::home(&disk).expect("a directory");
        disk.fault(fault(What::SyncLost, CallKind::SyncDir, disk.calls_of(CallKind::SyncDir)));
        home.sync_dir().expect_err("a fault");
        trial.require_no_second_sync().expect("once is no retry");
        let other = super::super::copies::home(&disk).expect("a directory");
        drop(if same { home } else { other }.sync_dir());
        assert!(trial.require_no_second_sync().is_err());
    }
}

#[test]
fn an_acknowledgement_after_a_failed_sync_is_found() {
    let (_, stage) = stage();
    let mut trial = stage.trial(&scene(), None, 1).expect("a copy");
    trial.go(&[Step::Open]).expect("no fault");
    let disk = trial.run.disk.clone();
    disk.fault(fault(What::SyncSurvived, CallKind::SyncDir, disk.calls_of(CallKind::SyncDir)));
    // The store does not know of it.
    let home = super::super::copies::home(&disk).expect("a directory");
    home.sync_dir().expect_err("a fault");
    assert!(trial.go(&[Step::Call(Op::Put)]).is_err());
}

#[test]
fn an_error_that_names_no_file_or_has_no_cause_is_found() {
    let (_, stage) = stage();
    let mut trial = stage.trial(&scene(), None, 1).expect("a copy");
    trial.go(&[Step::Open]).expect("no fault");
    let found = trial.run.db().keyspace("second", engine::KeyspaceOptions::hash());
    let error = trial.run.db().keyspace("", engine::KeyspaceOptions::btree());
    assert!(found.is_err() || error.is_err());
    let error = found.err().or(error.err()).expect("one of them");
    assert!(trial.accept(error.into()).is_err(), "nothing failed");
}

#[test]
fn a_replay_line_names_its_case() {
    for (what, times) in scene::faults_of(CallKind::SyncDir) {
        let (config, scene) = (promised()[1], scene());
        let case = Case { config, scene, call: 12, what, times, end: End::Drop };
        assert_eq!(case.to_string().parse::<Case>().expect("a case").to_string(), case.to_string());
    }
    assert!("fault config=x".parse::<Case>().is_err());
}
