//! Torn tails and rot. Catalogue rows 3-5, 7, 9-12, 21, 73, 100.

use vfs::sim::{CallKind, Damage, ImageKind, SimDisk};
use vfs::{Kind, Name};
use wal::{AppendMode, Durability, Options, Position, SEGMENT, Start};

use crate::bed::{Entry, Opened, open, open_with, options, path_of, payload};

struct Written {
    disk: SimDisk,
    options: Options,
    entries: Vec<Entry>,
    positions: Vec<Position>,
    end: Position,
}

impl Written {
    fn name(&self, position: Position) -> Name {
        Name::new(SEGMENT, u64::from(position.segment.0))
    }

    fn copy(&self) -> SimDisk {
        self.disk.image(0, ImageKind::Everything, 1)
    }
}

/// Three segments of small records; the process is gone, the disk has everything.
fn write(durability: Durability, closed: bool) -> Written {
    let options = options(durability, AppendMode::Positional);
    let disk = SimDisk::new(1);
    let Opened { log, .. } = open(&disk, 1, &options).unwrap();
    let (mut entries, mut positions) = (Vec::new(), Vec::new());
    for number in 0..9 {
        if number > 0 && number % 3 == 0 {
            log.rotate().unwrap();
        }
        let bytes = payload(number, 10 + usize::try_from(number).unwrap() * 5);
        positions.push(log.append(&bytes).unwrap());
        entries.push((log.last_seq(), bytes));
    }
    let mut end = log.end();
    if closed {
        end.offset = log.close().unwrap().end.len;
    }
    Written { disk: disk.crash(ImageKind::Everything, 1), options, entries, positions, end }
}

/// Opens a damaged copy: the records, or the file that the `Corrupt` error names.
fn judge(written: &Written, disk: &SimDisk, start: Start) -> Result<Opened, String> {
    match open_with(&disk.root(), 2, &written.options, start) {
        Ok(opened) => Ok(opened),
        Err(error) => {
            assert!(error.is_corrupt(), "{error}");
            Err(path_of(&error))
        }
    }
}

#[test]
fn row_004_every_flipped_bit_before_the_last_attested_byte_is_reported_with_its_file() {
    let written = write(Durability::Always, false);
    // Each frame attests the one before it; only the last frame is attested by nothing.
    let last = *written.positions.last().unwrap();
    let firsts = [0, 3, 6].map(|index| written.positions[index]);
    for first in firsts {
        let name = written.name(first);
        let used =
            if first.segment == last.segment { last.offset } else { used_len(&written, name) };
        for offset in 0..used {
            let bit = u8::try_from(offset % 8).unwrap();
            for bit in [bit, 7 - bit] {
                let disk = written.copy();
                disk.corrupt(name, &Damage::FlipBit { offset, bit });
                let file = judge(&written, &disk, Start::default()).map(|o| o.entries.len());
                assert_eq!(file, Err(name.to_string()), "bit {bit} of byte {offset} of {name}");
            }
        }
    }
}

#[test]
fn row_004_the_header_of_an_empty_successor_attests_what_was_synced_before_it() {
    let options = options(Durability::Always, AppendMode::Positional);
    let disk = SimDisk::new(1);
    let log = open(&disk, 1, &options).unwrap().log;
    log.append(b"one").unwrap();
    let last = log.append(b"two").unwrap();
    log.rotate().unwrap();
    drop(log);
    let disk = disk.crash(ImageKind::Everything, 1);
    let name = Name::new(SEGMENT, u64::from(last.segment.0));
    disk.corrupt(name, &Damage::FlipBit { offset: last.offset + 24, bit: 0 });
    let error = open(&disk, 2, &options).unwrap_err();
    assert!(error.is_corrupt() && path_of(&error) == name.to_string(), "{error}");
}

#[test]
fn row_003_a_segment_that_ends_with_another_seq_than_its_successor_says_is_refused() {
    let options = options(Durability::Always, AppendMode::Positional);
    // Equal seeds give equal ids and salts: only the seqs differ.
    let run = |seqs: [u64; 2]| {
        let disk = SimDisk::new(1);
        let log = open(&disk, 1, &options).unwrap().log;
        for seq in seqs {
            let staged = log.stage(seq, 8, &mut |_, out| out.fill(1)).unwrap();
            log.commit(&staged, true).unwrap();
        }
        let sealed = log.rotate().unwrap();
        (disk, Name::new(SEGMENT, u64::from(sealed.id.0)))
    };
    let ((disk, name), (other, _)) = (run([1, 2]), run([1, 5]));
    disk.kill();
    disk.write_file(name, &other.read_file(name).unwrap());
    let error = open(&disk, 2, &options).unwrap_err();
    assert!(error.to_string().contains("previous seq"), "{error}");
}

/// Bytes of a file up to the last that is not zero, which is inside the last frame.
fn used_len(written: &Written, name: Name) -> u64 {
    let bytes = written.disk.read_file(name).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64
}

#[test]
fn row_008_after_a_clean_close_every_flipped_bit_is_reported_with_its_file() {
    let written = write(Durability::Never, true);
    let start = || Start {
        first: Some(written.positions[0].segment),
        attested: Some(written.end),
        ..Start::default()
    };
    assert_eq!(judge(&written, &written.copy(), start()).unwrap().entries, written.entries);
    for (name, len) in written.disk.files() {
        for offset in 0..len {
            let bit = u8::try_from((offset * 5) % 8).unwrap();
            let disk = written.copy();
            disk.corrupt(&name, &Damage::FlipBit { offset, bit });
            let file = judge(&written, &disk, start()).map(|opened| opened.entries.len());
            assert_eq!(file, Err(name.clone()), "bit {bit} of byte {offset} of {name}");
        }
    }
}

#[test]
fn row_003_a_log_cut_at_any_record_or_to_nothing_is_refused_where_that_was_attested() {
    let written = write(Durability::Always, false);
    // Behind a cut of the last segment nothing is left that could attest anything.
    for position in &written.positions[..6] {
        for len in [position.offset, 0] {
            let disk = written.copy();
            disk.corrupt(written.name(*position), &Damage::Truncate { len });
            let file = judge(&written, &disk, Start::default()).map(|o| o.entries.len());
            assert_eq!(file, Err(written.name(*position).to_string()), "cut to {len}");
            // The same length, zeros instead.
            let disk = written.copy();
            let zeroed = used_len(&written, written.name(*position)) + 1 - len;
            disk.corrupt(written.name(*position), &Damage::Zero { offset: len, len: zeroed });
            assert!(judge(&written, &disk, Start::default()).is_err(), "zeros from {len}");
        }
    }
}

#[test]
fn row_003_where_nothing_was_attested_a_cut_log_ends_there_and_later_segments_are_put_aside() {
    let written = write(Durability::Never, false);
    for (index, position) in written.positions.iter().enumerate().take(8) {
        let disk = written.copy();
        disk.corrupt(written.name(*position), &Damage::Truncate { len: position.offset });
        let opened = judge(&written, &disk, Start::default()).unwrap();
        assert_eq!(opened.entries, written.entries[..index]);
        let later = opened.recovered.ignored.len();
        assert_eq!(later, 2 - index / 3, "segments behind the end are reported");
        let is_cut = opened.recovered.cut.is_some();
        assert_eq!(is_cut, later > 0, "what lies behind the cut is counted");
        let last_seq = if later > 0 { written.entries[8].0 } else { opened.recovered.last_seq };
        assert_eq!(opened.recovered.max_seq_seen, last_seq, "ignored seqs are not used again");
        assert!(opened.log.last_seq() >= opened.recovered.max_seq_seen);
    }
}

#[test]
fn row_007_a_tail_torn_at_any_byte_opens_and_what_is_written_later_stays() {
    let written = write(Durability::Never, false);
    let name = written.name(written.end);
    let first = written.positions[6].offset;
    for len in first..written.end.offset {
        let whole = written.positions[6..].iter().skip(1).filter(|p| p.offset <= len).count();
        for grow in [None, Some(4096)] {
            let disk = written.copy();
            disk.corrupt(name, &Damage::Truncate { len });
            if let Some(len) = grow {
                disk.corrupt(name, &Damage::Truncate { len });
            }
            let opened = judge(&written, &disk, Start::default()).unwrap();
            // A frame whose last bytes are zeros anyway is whole without them.
            let count = opened.entries.len();
            assert!(count == 6 + whole || (grow.is_some() && count == 7 + whole), "cut to {len}");
            assert_eq!(opened.entries, written.entries[..count]);
            opened.log.append(b"later").unwrap();
            opened.log.sync().unwrap();
            let again = open(&disk.crash(ImageKind::SyncedOnly, 1), 3, &written.options).unwrap();
            assert_eq!(again.entries[..count], written.entries[..count]);
            assert_eq!(
                again.entries[count..].iter().map(|e| &e.1[..]).collect::<Vec<_>>(),
                [b"later"]
            );
        }
    }
}

#[test]
fn row_007_zeros_or_garbage_behind_the_last_record_are_no_damage_and_are_counted() {
    for (bytes, is_cut) in [(vec![0; 4096], false), (vec![0xa7; 4096], true)] {
        let written = write(Durability::Always, false);
        let name = written.name(written.end);
        written.disk.corrupt(name, &Damage::Truncate { len: 16384 });
        let offset = written.end.offset;
        written.disk.corrupt(name, &Damage::Overwrite { offset, bytes });
        let opened = judge(&written, &written.copy(), Start::default()).unwrap();
        assert_eq!(opened.entries, written.entries);
        assert_eq!(opened.recovered.cut, is_cut.then_some((written.end, 4096)));
    }
}

#[test]
fn row_005_recovery_changes_no_old_file() {
    for durability in [Durability::Never, Durability::Always] {
        let written = write(durability, false);
        let name = written.name(written.end);
        written.disk.corrupt(name, &Damage::Truncate { len: written.end.offset - 3 });
        let disk = written.copy();
        let before: Vec<_> = disk.files();
        let old = |disk: &SimDisk| -> Vec<_> {
            before.iter().map(|(name, _)| disk.read_file(name)).collect()
        };
        let bytes = old(&disk);
        let opened = judge(&written, &disk, Start::default()).unwrap();
        opened.log.append(b"later").unwrap();
        opened.log.close().unwrap();
        assert_eq!(old(&disk), bytes);
        // Row 21: no call cut, removed or appended to a file that was there. Bytes that nothing
        // attests are written once more, and the comparison above says that they are the same.
        let changing = [CallKind::Truncate, CallKind::Remove, CallKind::Store];
        for call in disk.trace() {
            let is_old = before.iter().any(|(name, _)| **name == *call.path);
            assert!(!is_old || !changing.contains(&call.kind), "{call:?}");
        }
    }
}

#[test]
fn row_010_batches_that_never_ended_leave_the_records_after_them_readable() {
    let options = options(Durability::Never, AppendMode::Positional);
    let mut disk = SimDisk::new(4);
    let mut expected = Vec::new();
    for round in 0..6 {
        let opened = open(&disk, round, &options).unwrap();
        assert_eq!(opened.entries, expected, "round {round}");
        let whole = [payload(round, 50), payload(round, 400)];
        let slices: Vec<&[u8]> = whole.iter().map(Vec::as_slice).collect();
        opened.log.append_batch(&slices).unwrap();
        let seq = opened.log.last_seq();
        expected.extend([(seq - 1, whole[0].clone()), (seq, whole[1].clone())]);
        // The second batch loses its last frame.
        let positions = opened.log.append_batch(&[b"one", b"two", b"three"]).unwrap();
        drop(opened);
        disk = disk.crash(ImageKind::Everything, round);
        let name = Name::new(SEGMENT, u64::from(positions[2].segment.0));
        let offset = positions[2].offset;
        disk.corrupt(name, &Damage::Zero { offset, len: 32 });
    }
}

#[test]
fn row_011_valid_records_of_an_earlier_life_are_not_replayed() {
    let written = write(Durability::Always, false);
    let old = written.disk.read_file(written.name(written.positions[0])).unwrap();
    // A new log on a disk whose blocks still hold the old segment, behind its own header.
    let disk = SimDisk::new(9);
    let opened = open(&disk, 77, &written.options).unwrap();
    let name = Name::new(SEGMENT, u64::from(opened.log.active().0));
    drop(opened);
    let disk = disk.crash(ImageKind::Everything, 1);
    disk.corrupt(name, &Damage::Overwrite { offset: 96, bytes: old[96..].to_vec() });
    assert_eq!(open(&disk, 78, &written.options).unwrap().entries, []);
    // Under another name, and in front of everything, the old file is nobody's segment.
    let copy = written.copy();
    copy.write_file(Name::new(SEGMENT, 9), &old);
    assert_eq!(judge(&written, &copy, Start::default()).unwrap().entries, written.entries);
}

#[test]
fn row_011_a_segment_of_another_log_is_not_part_of_this_one() {
    let written = write(Durability::Always, false);
    let other = SimDisk::new(2);
    drop(open(&other, 1234, &written.options).unwrap());
    let (name, _) = &other.files()[0];
    let disk = written.copy();
    // Its id is the one of the first segment.
    disk.write_file(Name::new(SEGMENT, 7), &other.read_file(name).unwrap());
    let opened = judge(&written, &disk, Start::default()).unwrap();
    assert_eq!(opened.entries, written.entries);
    drop(opened);
    let log_id = Some(42);
    let start = Start { log_id, first: Some(written.positions[0].segment), ..Start::default() };
    assert!(judge(&written, &written.copy(), start).is_err(), "the owner knows the log's id");
}

#[test]
fn row_012_a_torn_tail_before_an_empty_successor_opens() {
    let written = write(Durability::Never, false);
    let id = written.end.segment.0 + 1;
    for bytes in [vec![], vec![0; 96], vec![0; 4096], vec![0xa5; 50]] {
        let disk = written.copy();
        disk.corrupt(written.name(written.end), &Damage::Truncate { len: written.end.offset - 2 });
        disk.write_file(Name::new(SEGMENT, u64::from(id)), &bytes);
        let opened = judge(&written, &disk, Start::default()).unwrap();
        assert_eq!(opened.entries, written.entries[..8]);
        assert!(opened.log.active().0 > id, "no id is used twice");
    }
}

#[test]
fn row_073_swapped_blocks_are_reported() {
    let written = write(Durability::Always, false);
    let name = written.name(written.positions[0]);
    for (first, second) in [(96, 136), (0, 96), (96, 104)] {
        let disk = written.copy();
        let len = if second - first < 24 { 8 } else { 24 };
        disk.corrupt(name, &Damage::Swap { first, second, len });
        let file = judge(&written, &disk, Start::default()).map(|opened| opened.entries.len());
        assert_eq!(file, Err(name.to_string()));
    }
    let disk = written.copy();
    let other = written.name(written.positions[3]);
    let bytes = written.disk.read_file(other).unwrap();
    disk.write_file(name, &bytes);
    assert!(judge(&written, &disk, Start::default()).is_err(), "a file in another's place");
}

#[test]
fn row_100_no_flipped_bit_of_a_frame_is_ever_read_by_its_position() {
    let written = write(Durability::Always, false);
    let disk = written.copy();
    let opened = judge(&written, &disk, Start::default()).unwrap();
    for index in [0, 4] {
        let position = written.positions[index];
        let name = written.name(position);
        assert_eq!(opened.log.read(position).unwrap(), written.entries[index].1);
        let frame_len = 24 + (written.entries[index].1.len() as u64).next_multiple_of(8);
        for offset in position.offset..position.offset + frame_len {
            for bit in 0..8 {
                disk.corrupt(name, &Damage::FlipBit { offset, bit });
                assert!(opened.log.read(position).unwrap_err().is_corrupt(), "{offset}.{bit}");
                disk.corrupt(name, &Damage::FlipBit { offset, bit });
            }
        }
    }
    assert!(opened.log.iter().all(|record| record.is_ok()));
}

#[test]
fn row_111_names_that_look_like_segments_are_left_alone() {
    let written = write(Durability::Always, false);
    let disk = written.copy();
    let bytes = written.disk.read_file(written.name(written.positions[0])).unwrap();
    let high = 0x50;
    let looks = [
        "0000000000000001.wal.1",
        "1.wal",
        "0000000000000001.WAL",
        "000000000000000A.wal",
        "0000000000000002.wal~",
        "00000000000000001.wal",
    ];
    for name in looks {
        disk.write_file(name, &bytes);
    }
    let quarantined = Name::new(SEGMENT, high).quarantine();
    disk.write_file(quarantined, &bytes);
    disk.write_file(Name::new(Kind::new("other"), 0x99), b"not ours");
    disk.write_file(Name::new(SEGMENT, 1 << 40), &bytes);
    disk.write_file(Name::new(SEGMENT, 0), &bytes);
    let opened = judge(&written, &disk, Start::default()).unwrap();
    assert_eq!(opened.entries, written.entries);
    assert!(u64::from(opened.log.active().0) > high, "ids of quarantined files stay used");
    assert!(opened.log.active().0 < 0x99, "ids of other kinds of files do not count");
    let mut ignored = opened.recovered.ignored.clone();
    ignored.sort();
    assert_eq!(ignored, [Name::new(SEGMENT, 0), Name::new(SEGMENT, 1 << 40)]);
    for name in looks {
        assert_eq!(disk.read_file(name).unwrap(), bytes);
    }
}
