//! Calls that fail. Catalogue rows 2, 16, 20, 75, 78-80, 101.

use std::sync::Arc;

use vfs::sim::{At, CallKind, Fault, ImageKind, SimDisk, Times, What};
use vfs::{Error, Result};
use wal::{AppendMode, Durability, Log, Options, Position};

use crate::bed::{Entry, open, options, payload};

/// What the calls of a script acknowledged before they failed.
#[derive(Default)]
struct Acks {
    attempted: Vec<Entry>,
    durable: usize,
    positions: Vec<(Position, Vec<u8>)>,
    failed: bool,
    poisoned_at: Option<usize>,
}

impl Acks {
    fn note<T>(&mut self, log: &Log, result: Result<T>) -> Option<T> {
        if log.poisoned() && self.poisoned_at.is_none() {
            self.poisoned_at = Some(self.durable);
        }
        self.failed |= result.is_err();
        result.ok()
    }
}

/// Uses every call of a log, whatever fails.
fn script(log: &Log, acks: &mut Acks) {
    for round in 0..6_u64 {
        let len = if round == 3 { 4500 } else { 300 + usize::try_from(round).unwrap() };
        let seq = log.last_seq() + 1;
        let bytes = payload(seq, len);
        let durable = round % 2 == 0;
        let staged = log.stage(seq, len, &mut |_, out| out.copy_from_slice(&bytes));
        let was_poisoned = log.poisoned();
        let Some(staged) = acks.note(log, staged) else { continue };
        acks.attempted.push((seq, bytes.clone()));
        let committed = log.commit(&staged, durable);
        assert!(!(was_poisoned && committed.is_ok()), "acknowledged after a failure");
        if acks.note(log, committed).is_some() {
            if durable {
                acks.durable = acks.attempted.len();
            }
            acks.positions.push((staged.position, bytes));
        }
        if round == 4 {
            acks.note(log, log.rotate());
            acks.note(log, log.write_back());
            acks.note(log, log.sync_sealed(wal::SegmentId(log.active().0 - 1)));
        }
    }
    if acks.note(log, log.sync()).is_some() {
        acks.durable = acks.attempted.len();
    }
}

fn modes() -> [Options; 3] {
    let positional = options(Durability::Never, AppendMode::Positional);
    [
        options(Durability::Never, AppendMode::Mapped),
        Options { preallocate: false, ..positional.clone() },
        positional,
    ]
}

/// Runs the script with a fault at call `at`.
fn run(options: &Options, at: u64, what: What, times: Times) {
    let label = format!("{:?} {what:?} {times:?} at call {at}", options.append_mode);
    let disk = SimDisk::new(1);
    disk.fault(Fault { at: At::Call(at), what, times });
    let mut acks = Acks::default();
    let opened = open(&disk, 1, options);
    if let Ok(opened) = opened {
        script(&opened.log, &mut acks);
        // Reads go on, unless the fault is still there.
        disk.clear_faults();
        for (position, bytes) in &acks.positions {
            match opened.log.read(*position) {
                Ok(read) => assert_eq!(read, *bytes, "{label}"),
                // Only what the failed sync threw away may be gone, and says so.
                Err(error) => assert!(acks.failed && error.is_corrupt(), "{label}: {error}"),
            }
        }
        // Row 20: close may fail, and must leave a log that opens.
        let poisoned = opened.log.poisoned();
        assert_eq!(opened.log.close().is_err(), poisoned, "{label}");
    }

    disk.clear_faults();
    for kind in [ImageKind::Everything, ImageKind::SyncedOnly] {
        let image = disk.crash(kind, 1);
        let recovered = open(&image, 2, options).unwrap_or_else(|e| panic!("{label}: {e}"));
        let count = recovered.entries.len();
        assert!(acks.durable <= count, "{label}: {count} of {} durable records", acks.durable);
        // Every record that was staged is a prefix of those attempted.
        assert_eq!(recovered.entries, acks.attempted[..count], "{label}");
        recovered.log.append(b"later").unwrap();
        recovered.log.sync().unwrap();
        drop(recovered);
        let again = open(&image.crash(ImageKind::SyncedOnly, 3), 3, options).unwrap();
        assert_eq!(again.entries.len(), count + 1, "{label}");
    }
}

#[test]
fn row_080_an_io_error_once_at_any_call_loses_no_acknowledged_record() {
    every_any(What::Io, Times::Once);
}

#[test]
fn row_080_an_io_error_for_ever_from_any_call_loses_no_acknowledged_record() {
    every_any(What::Io, Times::Forever);
}

#[test]
fn row_078_a_full_disk_from_any_call_loses_no_acknowledged_record() {
    every_any(What::NoSpace, Times::Once);
    every_any(What::NoSpace, Times::Forever);
}

#[test]
fn row_016_short_writes_and_reads_at_any_call_change_nothing() {
    every_any(What::Short(3), Times::Once);
    every_any(What::Short(1), Times::Forever);
    every_any(What::Interrupted, Times::Once);
}

/// Runs the script once for every call that it makes, with the fault there.
fn every_any(what: What, times: Times) {
    for options in modes() {
        let calls = {
            let disk = SimDisk::new(1);
            let opened = open(&disk, 1, &options).unwrap();
            script(&opened.log, &mut Acks::default());
            opened.log.close().unwrap();
            disk.calls()
        };
        for at in 0..calls {
            run(&options, at, what, times);
        }
    }
}

#[test]
fn row_079_after_a_failed_sync_nothing_is_acknowledged_or_retried_and_reads_go_on() {
    for (what, options) in [What::SyncLost, What::SyncReverted, What::SyncSurvived]
        .into_iter()
        .flat_map(|what| modes().map(|options| (what, options)))
    {
        let disk = SimDisk::new(1);
        let log = Arc::new(open(&disk, 1, &options).unwrap().log);
        let kept = log.append(b"kept").unwrap();
        log.sync().unwrap();
        let lost = log.append(b"in doubt").unwrap();
        let kind = match options.append_mode {
            AppendMode::Mapped => CallKind::SyncMap,
            AppendMode::Positional => CallKind::Sync,
        };
        let next = disk.calls_of(kind);
        disk.fault(Fault { at: At::Kind(kind, next), what, times: Times::Once });
        let error = log.sync().unwrap_err();
        assert!(matches!(&error, Error::Io { .. }), "{error}");
        assert!(error.path().to_string_lossy().ends_with(".wal"), "the error names the file");
        assert!(log.poisoned());
        let syncs = disk.calls_of(kind) + disk.calls_of(CallKind::SyncDir);
        for _ in 0..3 {
            assert!(matches!(log.sync(), Err(Error::Poisoned { .. })));
            assert!(matches!(log.append(b"no"), Err(Error::Poisoned { .. })));
            assert!(matches!(log.append_batch(&[b"no"]), Err(Error::Poisoned { .. })));
            assert!(matches!(log.rotate(), Err(Error::Poisoned { .. })));
            assert!(matches!(log.seal(), Err(Error::Poisoned { .. })));
        }
        let after = disk.calls_of(kind) + disk.calls_of(CallKind::SyncDir);
        assert_eq!(after, syncs, "nothing is retried");
        assert_eq!(log.read(kept).unwrap(), &b"kept"[..]);
        match log.read(lost) {
            Ok(bytes) => assert_eq!(bytes, &b"in doubt"[..]),
            Err(error) => assert!(error.is_corrupt()),
        }
        drop(log);
        let entries = open(&disk.crash(ImageKind::SyncedOnly, 1), 2, &options).unwrap().entries;
        assert_eq!(entries[0].1, b"kept");
    }
}

#[test]
fn row_079_what_a_failed_sync_lost_is_durable_when_the_next_open_shows_it() {
    for (what, options, rotates) in [What::SyncLost, What::SyncReverted, What::SyncSurvived]
        .into_iter()
        .flat_map(|what| modes().map(|options| (what, options)))
        .flat_map(|(what, options)| [(what, options.clone(), false), (what, options, true)])
    {
        let disk = SimDisk::new(1);
        let log = open(&disk, 1, &options).unwrap().log;
        log.append(b"kept").unwrap();
        log.sync().unwrap();
        log.append(b"in doubt").unwrap();
        // What is in doubt may be in a segment that another one followed.
        if rotates {
            log.rotate().unwrap();
        }
        for kind in [CallKind::Sync, CallKind::SyncMap] {
            let at = At::Kind(kind, disk.calls_of(kind));
            disk.fault(Fault { at, what, times: Times::Once });
        }
        log.sync().unwrap_err();
        disk.clear_faults();
        drop(log);
        // The next process, while the power stays on: the kernel shows the bytes and calls them
        // clean.
        let opened = open(&disk, 2, &options).unwrap();
        let shown = opened.entries;
        assert_eq!(shown.len(), if what == What::SyncReverted { 1 } else { 2 });
        opened.log.append(b"later").unwrap();
        opened.log.sync().unwrap();
        let cut = open(&disk.crash(ImageKind::SyncedOnly, 1), 3, &options);
        let entries = cut.unwrap_or_else(|error| panic!("{what:?}: {error}")).entries;
        assert_eq!(entries[..shown.len()], shown[..], "{what:?}");
        assert_eq!(entries.len(), shown.len() + 1);
    }
}

#[test]
fn an_open_writes_nothing_again_that_is_attested() {
    for options in modes() {
        let disk = SimDisk::new(1);
        let log = open(&disk, 1, &options).unwrap().log;
        for _ in 0..20 {
            log.append(&[7; 900]).unwrap();
        }
        log.sync().unwrap();
        // A header attests what is before it; so does a frame, but of older segments too late to
        // matter: they are written while they are read.
        log.rotate().unwrap();
        log.append(b"in doubt").unwrap();
        log.sync().unwrap();
        log.append(b"attests what is before it").unwrap();
        let end = log.end();
        drop(log);
        let before = disk.fingerprint();
        let trace = disk.trace().len();
        disk.log_calls();
        drop(open(&disk, 2, &options).unwrap());
        let calls = disk.trace();
        let new = format!("{:016x}.wal", end.segment.0 + 1);
        let again =
            calls[trace..].iter().filter(|c| c.kind == CallKind::Write && c.path[..] != new);
        let again: Vec<_> = again.map(|call| (call.path.clone(), call.len)).collect();
        let last = format!("{:016x}.wal", end.segment.0);
        assert!(again.iter().all(|(path, len)| path[..] == last && *len < 100), "{again:?}");
        assert_eq!(again.len(), 1);
        disk.root().remove(vfs::Name::new(wal::SEGMENT, u64::from(end.segment.0) + 1)).unwrap();
        assert_eq!(disk.fingerprint(), before, "the bytes are the same");
    }
}

#[test]
fn row_016_nothing_is_ever_appended_behind_a_fragment() {
    let options = options(Durability::Never, AppendMode::Positional);
    let disk = SimDisk::new(1);
    let log = open(&disk, 1, &options).unwrap().log;
    let first = log.append(b"first").unwrap();
    let next = disk.calls_of(CallKind::Write);
    let at = |n| At::Kind(CallKind::Write, next + n);
    // Half of the record gets into the file, the rest does not.
    disk.fault(Fault { at: at(0), what: What::Short(20), times: Times::Once });
    disk.fault(Fault { at: at(1), what: What::Io, times: Times::Once });
    assert!(log.append(&[7; 100]).is_err());
    assert!(matches!(log.append(b"second"), Err(Error::Poisoned { .. })));
    assert_eq!(log.read(first).unwrap(), &b"first"[..]);
    drop(log);
    let opened = open(&disk, 2, &options).unwrap();
    assert_eq!(opened.entries, [(1, b"first".to_vec())]);
    let position = opened.log.append(b"second").unwrap();
    assert_eq!(opened.log.read(position).unwrap(), &b"second"[..]);
}

#[test]
fn a_header_that_could_not_be_written_poisons_because_it_may_be_there_nevertheless() {
    let options = options(Durability::Never, AppendMode::Positional);
    let disk = SimDisk::new(1);
    let log = open(&disk, 1, &options).unwrap().log;
    log.append(b"first").unwrap();
    let next = At::Kind(CallKind::Write, disk.calls_of(CallKind::Write));
    disk.fault(Fault { at: next, what: What::Short(90), times: Times::Once });
    let then = At::Kind(CallKind::Write, disk.calls_of(CallKind::Write) + 1);
    disk.fault(Fault { at: then, what: What::Io, times: Times::Once });
    assert!(matches!(log.rotate(), Err(Error::Io { .. })));
    assert!(matches!(log.append(b"second"), Err(Error::Poisoned { .. })));
    drop(log);
    assert_eq!(open(&disk, 2, &options).unwrap().entries, [(1, b"first".to_vec())]);
}

#[test]
fn row_101_a_full_disk_is_refused_before_anything_changed_and_later_writes_are_readable() {
    for mode in [AppendMode::Mapped, AppendMode::Positional] {
        let options = options(Durability::Never, mode);
        let disk = SimDisk::new(1);
        let log = open(&disk, 1, &options).unwrap().log;
        disk.set_quota(Some(8192));
        let mut written = Vec::new();
        let error = loop {
            match log.append(&payload(written.len() as u64, 900)) {
                Ok(position) => written.push(position),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::NoSpace { .. }), "{error}");
        assert!(!log.poisoned());
        let end = log.end();
        assert!(matches!(log.append(&[1; 900]), Err(Error::NoSpace { .. })));
        assert!(matches!(log.rotate(), Err(Error::NoSpace { .. })));
        assert_eq!(log.end(), end, "a refused append changes nothing");
        // What still fits goes on, and so does everything once there is space again.
        written.push(log.append(&payload(written.len() as u64, 8)).unwrap());
        disk.set_quota(None);
        written.push(log.append(&payload(written.len() as u64, 900)).unwrap());
        log.sync().unwrap();
        for (index, position) in written.iter().enumerate() {
            let bytes = log.read(*position).unwrap();
            assert_eq!(bytes[..8], (index as u64).to_le_bytes());
        }
        drop(log);
        let opened = open(&disk.crash(ImageKind::SyncedOnly, 1), 2, &options).unwrap();
        assert_eq!(opened.entries.len(), written.len());
    }
}

#[test]
fn row_078_a_log_opens_on_a_disk_with_room_for_the_smallest_segment_only() {
    let options =
        Options { segment_bytes: 1 << 16, ..options(Durability::Always, AppendMode::Mapped) };
    let disk = SimDisk::new(1);
    open(&disk, 1, &options).unwrap().log.append(b"kept").unwrap();
    disk.set_quota(Some((1 << 16) + 4096));
    let opened = open(&disk, 2, &options).unwrap();
    assert_eq!(opened.entries, [(1, b"kept".to_vec())]);
    opened.log.append(b"small").unwrap();
    assert!(matches!(opened.log.append(&[0; 4096]), Err(Error::NoSpace { .. })));
    drop(opened);
    // Not even that fits: refused, nothing is left behind, nothing is lost.
    let files = disk.files();
    assert!(matches!(open(&disk, 3, &options), Err(Error::NoSpace { .. })));
    assert_eq!(disk.files(), files);
    disk.set_quota(None);
    assert_eq!(open(&disk, 4, &options).unwrap().entries.len(), 2);
}

#[test]
fn a_file_that_has_the_next_segments_name_is_left_alone() {
    let options = options(Durability::Never, AppendMode::Positional);
    let disk = SimDisk::new(1);
    let log = open(&disk, 1, &options).unwrap().log;
    let name = vfs::Name::new(wal::SEGMENT, u64::from(log.active().0) + 1);
    disk.write_file(name, b"somebody else's");
    assert!(matches!(log.rotate(), Err(Error::Invalid { .. })));
    assert_eq!(disk.read_file(name).unwrap(), b"somebody else's");
    log.rotate().unwrap();
    log.append(b"goes on").unwrap();
}

#[test]
fn a_failed_open_can_be_repeated_until_it_succeeds() {
    let options = options(Durability::Always, AppendMode::Mapped);
    let disk = SimDisk::new(1);
    let log = open(&disk, 1, &options).unwrap().log;
    log.append(b"kept").unwrap();
    drop(log);
    let calls = {
        let copy = disk.fork(1);
        open(&copy, 2, &options).unwrap();
        copy.calls()
    };
    let before = disk.calls();
    for at in 0..calls {
        disk.fault(Fault { at: At::Call(before + at), what: What::Io, times: Times::Once });
    }
    // Each attempt gets as far as the next planned failure.
    let opened = (0..=calls).find_map(|seed| open(&disk, seed, &options).ok());
    assert_eq!(opened.expect("the faults end").entries, [(1, b"kept".to_vec())]);
}
