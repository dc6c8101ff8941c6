//! Reading by position and in order. Catalogue row 118.

use vfs::sim::{ImageKind, SimDisk};
use vfs::{Error, Name};
use wal::{AppendMode, Durability, Log, Options, Position, ReadMode, SEGMENT, SegmentId, Start};

use crate::bed::{open, open_with, options, payload};

fn filled(options: &Options) -> (SimDisk, Log, Vec<Position>) {
    let disk = SimDisk::new(1);
    let log = open(&disk, 1, options).unwrap().log;
    let positions = (0..20).map(|number| {
        if number % 6 == 5 {
            log.rotate().unwrap();
        }
        log.append(&payload(number, 50)).unwrap()
    });
    let positions = positions.collect();
    (disk, log, positions)
}

fn all_modes() -> Vec<Options> {
    let mut all = Vec::new();
    for append_mode in [AppendMode::Mapped, AppendMode::Positional] {
        for read_mode in [ReadMode::Mapped, ReadMode::Positional] {
            all.push(Options { read_mode, ..options(Durability::Never, append_mode) });
        }
    }
    all
}

#[test]
fn row_118_an_iterator_from_any_position_starts_with_the_record_there() {
    for options in all_modes() {
        let (_disk, log, positions) = filled(&options);
        for sealed in [false, true] {
            if sealed {
                log.sync_sealed(SegmentId(log.active().0 - 1)).unwrap();
            }
            for (index, position) in positions.iter().enumerate() {
                let read: Vec<_> = log.iter_from(*position).map(|r| r.unwrap().0).collect();
                assert_eq!(read, positions[index..]);
                let (at, _, bytes) = log.iter_from(*position).next().unwrap().unwrap();
                assert_eq!((at, bytes), (*position, log.read(*position).unwrap()));
            }
        }
        // At the end and past it there is nothing, and that is no error.
        let end = log.end();
        for offset in [end.offset, end.offset + 8, 1 << 20] {
            assert_eq!(log.iter_from(Position { offset, ..end }).count(), 0);
        }
        let later = Position { segment: SegmentId(end.segment.0 + 1), offset: 96 };
        assert_eq!(log.iter_from(later).count(), 0);
        // Where no record starts there is an error, and after it nothing.
        let mut inside =
            log.iter_from(Position { offset: positions[3].offset + 8, ..positions[3] });
        assert!(inside.next().unwrap().unwrap_err().is_corrupt());
        assert!(inside.next().is_none());
    }
}

#[test]
fn an_iterator_up_to_a_segment_ends_with_its_last_record() {
    let (_disk, log, positions) = filled(&options(Durability::Never, AppendMode::Mapped));
    for segment in log.segments() {
        let read: Vec<_> = log.iter_until(segment.id).map(|r| r.unwrap().0).collect();
        let expected: Vec<_> =
            positions.iter().copied().filter(|position| position.segment <= segment.id).collect();
        assert_eq!(read, expected);
    }
}

#[test]
fn reads_outside_of_the_log_are_errors() {
    for options in all_modes() {
        let (_disk, log, positions) = filled(&options);
        let end = log.end();
        assert!(log.read(end).unwrap_err().is_corrupt());
        assert!(log.read(Position { offset: 0, ..end }).unwrap_err().is_corrupt());
        let nowhere = Position { segment: SegmentId(999), offset: 96 };
        assert!(matches!(log.read(nowhere), Err(Error::NotFound { .. })));
        let segment = log.segment(positions[0].segment).unwrap();
        for (offset, len) in [(segment.len(), 1), (0, 1 << 40), (u64::MAX, 8)] {
            assert!(segment.bytes(offset, len).unwrap_err().is_corrupt());
        }
        assert!(segment.bytes(segment.len(), 0).unwrap().is_empty());
    }
}

#[test]
fn an_iterator_sees_the_log_as_it_was_and_outlives_dropped_segments() {
    for options in all_modes() {
        let (disk, log, positions) = filled(&options);
        let iter = log.iter();
        let held = log.segment(positions[0].segment).unwrap();
        log.append(b"later").unwrap();
        log.drop_before(log.active()).unwrap();
        assert_eq!(iter.map(|r| r.unwrap().0).collect::<Vec<_>>(), positions);
        assert_eq!(held.frames().count(), 5);
        assert!(matches!(log.iter_from(positions[0]).next(), Some(Err(Error::NotFound { .. }))));
        let kept: Vec<_> = positions.iter().filter(|p| p.segment == log.active()).collect();
        assert_eq!(log.iter().count(), kept.len() + 1);
        assert_eq!(disk.files().len(), 1);
        let count = log.iter().count();
        log.sync().unwrap();
        drop(log);
        let image = disk.crash(ImageKind::SyncedOnly, 1);
        assert_eq!(open(&image, 2, &options).unwrap().entries.len(), count);
    }
}

#[test]
fn a_prefix_dropped_and_a_crash_at_any_call_leave_a_suffix_that_begins_no_later_than_asked() {
    let options = options(Durability::Never, AppendMode::Positional);
    let (disk, log, positions) = filled(&options);
    let last = log.active();
    drop(log);
    // The middle of the log is torn: the segments behind it are put aside, whole as they are.
    let torn = positions[8];
    let name = Name::new(SEGMENT, u64::from(torn.segment.0));
    let disk = disk.crash(ImageKind::Everything, 1);
    disk.corrupt(name, &vfs::sim::Damage::Truncate { len: torn.offset });
    let opened = open(&disk, 2, &options).unwrap();
    assert_eq!((opened.entries.len(), opened.recovered.ignored.len()), (8, 2));
    let log = opened.log;
    assert!(last < log.active());
    for number in 20..24 {
        log.append(&payload(number, 50)).unwrap();
    }
    log.sync().unwrap();
    disk.record();
    log.drop_before(log.active()).unwrap();
    drop(log);
    assert_eq!(disk.files().len(), 1);
    let expected: Vec<u8> = (0..8).chain(20..24).collect();
    for boundary in 0..disk.boundaries() {
        for kind in ImageKind::kinds() {
            for seed in 0..3 {
                let image = disk.image(boundary, *kind, seed);
                let opened = open(&image, 3, &options).unwrap();
                let numbers: Vec<u8> = opened.entries.iter().map(|(_, b)| b[0]).collect();
                assert!(expected.ends_with(&numbers) && numbers.len() >= 4, "{numbers:?}");
            }
        }
    }
}

#[test]
fn an_owner_says_where_its_log_begins() {
    let options = options(Durability::Always, AppendMode::Positional);
    let (disk, log, positions) = filled(&options);
    let first = log.segments()[2].id;
    log.forget_before(first);
    assert!(log.segment(positions[0].segment).is_none());
    drop(log);
    let start = |id| Start { first: Some(id), ..Start::default() };
    let opened = open_with(&disk.root(), 2, &options, start(first)).unwrap();
    let expected = positions.iter().filter(|position| first <= position.segment).count();
    assert_eq!(opened.entries.len(), expected);
    assert_eq!(opened.recovered.segments[0].id, first);
    assert!(opened.recovered.ignored.is_empty(), "what is older is not this log's to judge");
    drop(opened);
    let missing = open_with(&disk.root(), 3, &options, start(SegmentId(500))).unwrap_err();
    assert!(matches!(&missing, Error::NotFound { path } if path.ends_with("00000000000001f4.wal")));
    let name = Name::new(SEGMENT, u64::from(first.0));
    disk.corrupt(name, &vfs::sim::Damage::Zero { offset: 0, len: 96 });
    let damaged = open_with(&disk.root(), 4, &options, start(first)).unwrap_err();
    assert!(damaged.is_corrupt() && damaged.path().ends_with(name.to_string()));
}

#[test]
fn bad_options_and_bad_seqs_are_refused_and_change_nothing() {
    let good = options(Durability::Never, AppendMode::Positional);
    for bad in [
        Options { segment_bytes: 4095, ..good.clone() },
        Options { segment_bytes: (1 << 30) + 1, ..good.clone() },
        Options { durability: Durability::EveryBytes(0), ..good.clone() },
        Options { durability: Durability::Interval(std::time::Duration::ZERO), ..good.clone() },
    ] {
        let disk = SimDisk::new(1);
        assert!(matches!(open(&disk, 1, &bad), Err(Error::Invalid { .. })));
        assert!(disk.files().is_empty());
    }
    let (_disk, log, _) = filled(&good);
    let end = log.end();
    let mut fill = |_: Position, _: &mut [u8]| panic!("not even asked");
    for (seq, len) in [(20, 8), (0, 8), (1 << 56, 8), (21, (1 << 30) + (1 << 20) + 1)] {
        assert!(matches!(log.stage(seq, len, &mut fill), Err(Error::Invalid { .. })));
    }
    assert!(matches!(log.drop_before(SegmentId(77)), Err(Error::Invalid { .. })));
    assert_eq!(log.end(), end);
    assert!(log.append_batch(&[]).unwrap().is_empty());
    log.seal().unwrap();
    assert!(matches!(log.append(b"closed"), Err(Error::Invalid { .. })));
    assert!(matches!(log.seal(), Err(Error::Invalid { .. })));
    assert_eq!(log.iter().count(), 20);
}
