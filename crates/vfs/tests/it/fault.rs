//! Calls that fail on a simulated disk.

use std::io::IoSlice;
use std::sync::Arc;

use vfs::sim::{At, CallKind, Fault, ImageKind, Times, What};
use vfs::{
    Access, Error, File, Fs, Kind, Name, Preallocation, Result, SimDisk, read_exact_at,
    write_all_at,
};

use crate::bed::name;

fn disk_with_file() -> (SimDisk, Arc<dyn Fs>, Arc<dyn File>) {
    let disk = SimDisk::new(1);
    disk.write_file(name(1), b"lotus");
    let fs = disk.root();
    let file = fs.open(name(1), Access::ReadWrite).expect("opened");
    (disk, fs, file)
}

fn once(disk: &SimDisk, kind: CallKind, what: What) {
    disk.fault(Fault { at: At::Kind(kind, disk.calls_of(kind)), what, times: Times::Once });
}

fn synced(disk: &SimDisk) -> Vec<u8> {
    disk.crash(ImageKind::SyncedOnly, 0).read_file(name(1)).expect("durable")
}

#[track_caller]
fn assert_poisoned<T: std::fmt::Debug>(result: Result<T>) {
    assert!(matches!(result, Err(Error::Poisoned { .. })), "{result:?} should be Poisoned");
}

#[test]
fn row_079_after_a_failed_sync_a_handle_writes_and_syncs_no_more_and_still_reads() {
    for what in [What::Io, What::SyncLost, What::SyncReverted, What::SyncSurvived] {
        let (disk, fs, file) = disk_with_file();
        write_all_at(&*file, b"L", 0).expect("written");
        once(&disk, CallKind::Sync, what);
        let error = file.sync_data().expect_err("a fault");
        assert!(matches!(&error, Error::Io { op: "sync", .. }), "{error:?}");
        assert_poisoned(file.sync_data());
        assert_poisoned(file.sync_all());
        assert_poisoned(file.write_at(&[IoSlice::new(b"x")], 0));
        assert_poisoned(file.truncate(100));
        assert_poisoned(file.preallocate(0, 100));
        assert_poisoned(file.map_append(0, 5));

        let cached = if what == What::SyncReverted { b"lotus" } else { b"Lotus" };
        let durable = if what == What::SyncSurvived { b"Lotus" } else { b"lotus" };
        let mut bytes = [0; 5];
        read_exact_at(&*file, &mut bytes, 0).expect("reads go on");
        assert_eq!(&bytes, cached, "{what:?}");
        assert_eq!(synced(&disk), durable, "{what:?}");

        // Another handle syncs without an error, and that makes no earlier write durable.
        let other = fs.open(name(1), Access::ReadWrite).expect("opened");
        other.sync_data().expect("the kernel forgot");
        assert_eq!(synced(&disk), durable, "{what:?}");
        assert_eq!(disk.crash(ImageKind::Everything, 0).read_file(name(1)), Some(durable.to_vec()));
        write_all_at(&*other, b"!", 4).expect("written");
        other.sync_data().expect("synced");
        assert_eq!(&synced(&disk)[..4], &durable[..4]);
        assert_eq!(synced(&disk)[4], b'!');
    }
}

#[test]
fn a_late_failure_strikes_the_sync_after_the_one_it_belongs_to() {
    let (disk, _, file) = disk_with_file();
    write_all_at(&*file, b"L", 0).expect("written");
    once(&disk, CallKind::Sync, What::SyncLate);
    file.sync_data().expect("late");
    write_all_at(&*file, b"O", 1).expect("written");
    assert!(matches!(file.sync_data(), Err(Error::Io { .. })));
    assert_poisoned(file.sync_data());
    assert_eq!(synced(&disk), b"Lotus");
}

#[test]
fn row_081_a_failed_sync_of_a_directory_is_reported_and_poisons_its_handle() {
    for what in [What::Io, What::SyncLost, What::SyncReverted, What::SyncSurvived] {
        let (disk, fs, _) = disk_with_file();
        fs.rename(name(1), name(2)).expect("renamed");
        once(&disk, CallKind::SyncDir, what);
        assert!(matches!(fs.sync_dir(), Err(Error::Io { op: "sync", .. })));
        assert_poisoned(fs.sync_dir());
        disk.root().sync_dir().expect("another handle knows nothing");
        let image = disk.crash(ImageKind::SyncedOnly, 0);
        let renamed = image.read_file(name(2)).is_some();
        assert_eq!(renamed, what == What::SyncSurvived, "{what:?}");
        assert_ne!(image.read_file(name(1)).is_some(), renamed);
        let shown = if what == What::SyncReverted { 1 } else { 2 };
        fs.open(name(shown), Access::Read).expect("reads go on");
        assert!(matches!(fs.open(name(3 - shown), Access::Read), Err(Error::NotFound { .. })));
    }
}

#[test]
fn a_directory_that_a_failed_sync_brought_back_takes_files() {
    let disk = SimDisk::new(1);
    let fs = disk.root();
    let inside = fs.create_dir(name(1)).expect("created");
    fs.sync_dir().expect("synced");
    fs.remove_dir(name(1)).expect("removed");
    assert!(inside.create_new(name(2)).is_err());
    once(&disk, CallKind::SyncDir, What::SyncReverted);
    fs.sync_dir().expect_err("a fault");
    inside.create_new(name(2)).expect("it is there again");
    assert!(fs.remove_dir(name(1)).is_err(), "and not empty");
}

#[test]
fn row_079_a_sync_after_a_failure_is_counted_though_it_is_refused() {
    let (disk, fs, file) = disk_with_file();
    write_all_at(&*file, b"L", 0).expect("written");
    once(&disk, CallKind::Sync, What::SyncLate);
    file.sync_data().expect("late");
    assert_eq!(disk.failed_syncs(), []);
    file.sync_data().expect_err("now");
    let failed = disk.failed_syncs();
    assert_eq!(failed.len(), 1);
    assert_eq!((failed[0].call, failed[0].kind), (disk.calls() - 1, CallKind::Sync));
    assert!(failed[0].path.ends_with(&name(1).to_string()));
    assert_eq!(disk.syncs_again(), 0);
    file.sync_data().expect_err("refused");
    once(&disk, CallKind::SyncDir, What::Io);
    fs.sync_dir().expect_err("a fault");
    fs.sync_dir().expect_err("refused");
    assert_eq!((disk.failed_syncs().len(), disk.syncs_again()), (2, 2));
    let other = fs.open(name(1), Access::ReadWrite).expect("opened");
    other.sync_data().expect("the kernel forgot");
    disk.root().sync_dir().expect("the kernel forgot");
    assert_eq!(disk.syncs_again(), 4);
    disk.forgive_failed_syncs();
    other.sync_data().expect("another process");
    assert_eq!(disk.syncs_again(), 4);
}

#[test]
fn a_fault_hits_the_nth_call_of_a_kind_on_a_kind_of_file_since_it_was_armed() {
    let disk = SimDisk::new(1);
    let fs = disk.root();
    let other = Name::new(Kind::new("other"), 9);
    let files = [fs.create_new(name(1)), fs.create_new(other)].map(|file| file.expect("created"));
    write_all_at(&*files[0], b"before", 0).expect("written");
    let at = At::Site(CallKind::Write, name(1).kind, 1);
    disk.fault(Fault { at, what: What::Short(1), times: Times::Once });
    let mut counts = Vec::new();
    for file in [0, 1, 1, 0, 0] {
        counts.push(files[file].write_at(&[IoSlice::new(b"xyz")], 0).expect("written"));
    }
    assert_eq!(counts, [3, 3, 3, 1, 3]);
    let hits = disk.hits();
    assert_eq!((hits.len(), hits[0].call, hits[0].what), (1, 6, What::Short(1)));
}

#[test]
fn row_101_a_full_disk_takes_writes_again_when_somebody_makes_room() {
    let (disk, fs, file) = disk_with_file();
    let what = What::NoSpace;
    let at = At::Kind(CallKind::Preallocate, 1);
    disk.fault(Fault { at, what, times: Times::UntilFreed });
    disk.set_quota(Some(3 * 4096));
    file.preallocate(0, 4096).expect("there is room");
    for _ in 0..3 {
        assert!(matches!(file.preallocate(0, 4096), Err(Error::NoSpace { .. })));
    }
    disk.free(0);
    file.preallocate(0, 4096).expect("the fault is over");
    assert!(matches!(file.preallocate(0, 4 * 4096), Err(Error::NoSpace { .. })));
    disk.free(4096);
    file.preallocate(0, 4 * 4096).expect("the quota grew");
    assert_eq!(fs.free_space().expect("asked"), 0);
}

#[test]
#[should_panic(expected = "endless")]
fn a_disk_takes_no_more_calls_than_it_was_told() {
    let (disk, fs, _) = disk_with_file();
    struct Last(Arc<dyn Fs>);
    impl Drop for Last {
        fn drop(&mut self) {
            self.0.list().expect("no second panic");
        }
    }
    let _last = Last(fs.clone());
    disk.limit_calls(disk.calls() + 2);
    for _ in 0..3 {
        fs.list().expect("listed");
    }
}

#[test]
fn what_was_handed_to_a_write_is_copied_before_the_call_returns() {
    // A buffer is borrowed for the call, so nobody can keep it; here is that nobody reads it late.
    let (disk, _, file) = disk_with_file();
    let mut bytes = *b"LOTUS";
    write_all_at(&*file, &bytes, 0).expect("written");
    bytes.fill(0xa5);
    file.preallocate(0, 100).expect("reserved");
    let map = file.map_append(5, 100).expect("mapped");
    bytes.copy_from_slice(b" root");
    map.append(&bytes).expect("appended");
    bytes.fill(0xa5);
    assert_eq!(&disk.read_file(name(1)).expect("a file")[..10], b"LOTUS root");
    map.sync().expect("synced");
    assert_eq!(&synced(&disk)[..10], b"LOTUS root");
    std::hint::black_box(&bytes);
}

#[test]
fn every_call_is_in_the_log_with_the_kind_of_its_file() {
    let (disk, fs, file) = disk_with_file();
    disk.log_calls();
    file.len().expect("a length");
    fs.lock().expect("locked").verify().expect("held");
    fs.preallocation().expect("probed");
    let calls = disk.logged_calls();
    let calls: Vec<_> = calls.iter().map(|call| (call.kind, call.file_kind())).collect();
    let file_kind = Some(name(1).kind);
    let expected = [(CallKind::Len, file_kind), (CallKind::Lock, None)];
    assert_eq!(calls[..2], expected);
    assert_eq!(calls[2..], [(CallKind::Verify, None), (CallKind::Probe, None)]);
}

#[test]
fn a_failed_sync_poisons_an_append_mapping() {
    let (disk, _, file) = disk_with_file();
    file.preallocate(0, 100).expect("reserved");
    let map = file.map_append(5, 100).expect("mapped");
    map.append(b" root").expect("appended");
    once(&disk, CallKind::SyncMap, What::Io);
    assert!(matches!(map.sync(), Err(Error::Io { op: "sync", .. })));
    assert_poisoned(map.sync());
    assert_poisoned(map.append(b"x"));
    assert_poisoned(file.sync_data());
    assert_poisoned(write_all_at(&*file, b"x", 0));
    assert_eq!(map.read(0, 10).expect("reads go on"), "lotus root");
    assert_eq!(synced(&disk), b"lotus");
}

#[test]
fn a_handle_that_failed_poisons_its_append_mappings() {
    let (disk, _, file) = disk_with_file();
    file.preallocate(0, 100).expect("reserved");
    let map = file.map_append(5, 100).expect("mapped");
    map.append(b" root").expect("appended");
    once(&disk, CallKind::Sync, What::Io);
    assert!(matches!(file.sync_data(), Err(Error::Io { op: "sync", .. })));
    assert_poisoned(map.sync());
    assert_poisoned(map.append(b"x"));
}

#[test]
fn a_failed_write_changes_nothing_and_poisons() {
    for what in [What::Io, What::NoSpace, What::Denied] {
        let (disk, _, file) = disk_with_file();
        once(&disk, CallKind::Write, what);
        let error = write_all_at(&*file, b"L", 0).expect_err("a fault");
        let no_space = matches!(error, Error::NoSpace { op: "write", .. });
        assert_eq!(no_space, what == What::NoSpace, "{error:?}");
        assert_poisoned(write_all_at(&*file, b"L", 0));
        assert_poisoned(file.sync_data());
        assert_eq!(disk.read_file(name(1)), Some(b"lotus".to_vec()));
    }
}

#[test]
fn row_016_short_writes_are_continued_where_they_stopped() {
    let (disk, _, file) = disk_with_file();
    let every = Fault { at: At::Call(0), what: What::Short(3), times: Times::Forever };
    disk.fault(every);
    write_all_at(&*file, b"LOTUS ROOT", 0).expect("in four pieces");
    assert_eq!(disk.calls_of(CallKind::Write), 4);
    let mut bytes = [0; 10];
    read_exact_at(&*file, &mut bytes, 0).expect("in four pieces");
    assert_eq!(&bytes, b"LOTUS ROOT");
    assert_eq!(disk.calls_of(CallKind::Read), 4);
    assert_eq!(disk.faults_hit(), 8);
}

#[test]
fn a_short_read_leaves_garbage_behind_what_it_read() {
    let (disk, _, file) = disk_with_file();
    once(&disk, CallKind::Read, What::Short(2));
    let mut bytes = [0; 5];
    assert_eq!(file.read_at(&mut bytes, 0).expect("short"), 2);
    assert_eq!(&bytes, b"lo\xa5\xa5\xa5");
}

#[test]
fn an_interrupted_call_is_repeated_and_a_sync_is_not() {
    let (disk, fs, file) = disk_with_file();
    once(&disk, CallKind::Write, What::Interrupted);
    once(&disk, CallKind::Read, What::Interrupted);
    once(&disk, CallKind::Create, What::Interrupted);
    write_all_at(&*file, b"L", 0).expect("repeated");
    read_exact_at(&*file, &mut [0; 5], 0).expect("repeated");
    fs.create_new(name(2)).expect("repeated");
    assert_eq!((disk.faults_hit(), disk.calls_of(CallKind::Write)), (3, 2));

    once(&disk, CallKind::Sync, What::Interrupted);
    assert!(matches!(file.sync_data(), Err(Error::Io { .. })));
    assert_poisoned(file.sync_data());

    // For ever means: not for ever.
    disk.fault(Fault { at: At::Call(0), what: What::Interrupted, times: Times::Forever });
    assert!(matches!(file.read_at(&mut [0; 5], 0), Err(Error::Io { op: "read", .. })));
}

#[test]
fn every_kind_of_call_can_fail_and_then_changes_nothing() {
    for kind in CallKind::ALL {
        if kind == CallKind::Store {
            continue; // a store does not fail, it kills
        }
        let (disk, fs, file) = disk_with_file();
        fs.create_dir(name(8)).expect("created");
        let file_2 = fs.create_new(name(2)).expect("created");
        file_2.preallocate(0, 100).expect("reserved");
        let map = file_2.map_append(0, 100).expect("mapped");
        let lock = disk.root().create_dir(name(7)).and_then(|dir| dir.lock()).expect("locked");
        let before = disk.fingerprint();
        let fault = What::Io;
        disk.fault(Fault {
            at: At::Kind(kind, disk.calls_of(kind)),
            what: fault,
            times: Times::Forever,
        });
        let call = || -> Result<()> {
            match kind {
                CallKind::Create => fs.create_new(name(3)).map(drop),
                CallKind::Open => fs.open(name(1), Access::Read).map(drop),
                CallKind::Rename => fs.rename(name(1), name(3)),
                CallKind::Link => fs.link(name(1), &*fs, name(3)),
                CallKind::Remove => fs.remove(name(1)),
                CallKind::List => fs.list().map(drop),
                CallKind::SyncDir => fs.sync_dir(),
                CallKind::CreateDir => fs.create_dir(name(3)).map(drop),
                CallKind::OpenDir => fs.open_dir(name(8)).map(drop),
                CallKind::RemoveDir => fs.remove_dir(name(8)),
                CallKind::Lock => fs.lock().map(drop),
                CallKind::FreeSpace => fs.free_space().map(drop),
                CallKind::Len => file.len().map(drop),
                CallKind::Read => file.read_at(&mut [0; 3], 0).map(drop),
                CallKind::Write => file.write_at(&[IoSlice::new(b"x")], 0).map(drop),
                CallKind::Truncate => file.truncate(100),
                CallKind::Preallocate => file.preallocate(0, 100),
                CallKind::Sync => file.sync_data(),
                CallKind::Map => file.map(5).map(drop),
                CallKind::MapAppend => file.map_append(5, 5).map(drop),
                CallKind::SyncMap => map.sync(),
                CallKind::Verify => lock.verify(),
                CallKind::Probe => fs.preallocation().map(drop),
                CallKind::Store => unreachable!("skipped above"),
            }
        };
        assert!(matches!(call(), Err(Error::Io { .. })), "{kind:?}");
        assert!(call().is_err(), "{kind:?} fails for ever");
        assert_eq!(disk.fingerprint(), before, "{kind:?}");
        let poisons = matches!(kind, CallKind::Write | CallKind::Truncate) || kind.syncs();
        assert_eq!(disk.faults_hit(), if poisons { 1 } else { 2 }, "{kind:?}");
        disk.clear_faults();
        assert_eq!(matches!(call(), Err(Error::Poisoned { .. })), poisons, "{kind:?}");
    }
}

#[test]
fn the_nth_call_of_all_is_hit_and_no_other() {
    let run = |disk: &SimDisk| -> Result<()> {
        let fs = disk.root();
        let file = fs.create_new(name(1))?;
        write_all_at(&*file, b"lotus", 0)?;
        file.sync_data()?;
        fs.sync_dir()?;
        read_exact_at(&*fs.open(name(1), Access::Read)?, &mut [0; 5], 0)
    };
    let disk = SimDisk::new(1);
    run(&disk).expect("no fault");
    let calls = disk.calls();
    assert_eq!(calls, 6);
    for n in 0..calls + 1 {
        let disk = SimDisk::new(1);
        disk.fault(Fault { at: At::Call(n), what: What::Io, times: Times::Once });
        assert_eq!(run(&disk).is_err(), n < calls);
        assert_eq!(disk.calls(), (n + 1).min(calls));
        assert_eq!(disk.faults_hit(), u64::from(n < calls));
    }
}

#[test]
fn row_037_a_full_disk_refuses_reservations_poisons_nothing_and_recovers_when_space_is_freed() {
    let (disk, fs, file) = disk_with_file();
    disk.set_quota(Some(10 * 4096));
    assert_eq!(fs.free_space().expect("asked"), 9 * 4096);
    let other = fs.create_new(name(2)).expect("created");
    other.preallocate(0, 9 * 4096).expect("fits");
    assert_eq!(fs.free_space().expect("asked"), 0);
    let before = disk.fingerprint();
    let refused = file.preallocate(4096, 1);
    assert!(matches!(refused, Err(Error::NoSpace { op: "preallocate", .. })), "{refused:?}");
    assert_eq!(disk.fingerprint(), before);
    write_all_at(&*file, b"LOTUS", 0).expect("its page is there");
    write_all_at(&*other, &[1; 9 * 4096], 0).expect("it was reserved");
    // A removed file holds its space as long as somebody has it open.
    fs.remove(name(2)).expect("removed");
    assert!(matches!(file.preallocate(0, 8192), Err(Error::NoSpace { .. })));
    drop(other);
    file.preallocate(0, 8192).expect("freed");
}

#[test]
fn row_101_a_write_that_fills_the_disk_is_short_and_the_next_one_poisons() {
    let (disk, _, file) = disk_with_file();
    disk.set_quota(Some(3 * 4096));
    let bytes = vec![7; 5 * 4096];
    assert_eq!(file.write_at(&[IoSlice::new(&bytes)], 0).expect("short"), 3 * 4096);
    let refused = write_all_at(&*file, &bytes, 3 * 4096);
    assert!(matches!(refused, Err(Error::NoSpace { op: "write", .. })), "{refused:?}");
    disk.set_quota(None);
    assert_poisoned(write_all_at(&*file, &bytes, 0));
}

#[test]
#[should_panic(expected = "SIGBUS")]
fn row_075_a_store_into_space_that_was_not_reserved_kills_when_the_disk_is_full() {
    let (disk, fs, file) = disk_with_file();
    disk.set_preallocation(Preallocation::LengthOnly);
    disk.set_quota(Some(4096));
    assert_eq!(fs.preallocation().expect("asked"), Preallocation::LengthOnly);
    file.preallocate(0, 8192).expect("only the length");
    let map = file.map_append(5, 8192).expect("mapped");
    let _ = map.append(&[1; 5000]);
}

#[test]
fn a_fault_that_makes_no_sense_for_a_call_does_not_hit_it() {
    let (disk, fs, file) = disk_with_file();
    for what in [What::NoSpace, What::Short(1), What::SyncLost, What::SyncLate] {
        disk.fault(Fault { at: At::Kind(CallKind::List, 0), what, times: Times::Forever });
        disk.fault(Fault { at: At::Kind(CallKind::Len, 0), what, times: Times::Forever });
    }
    fs.list().expect("listed");
    file.len().expect("a length");
    assert_eq!(disk.faults_hit(), 0);
}
