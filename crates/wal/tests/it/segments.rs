//! Segments that stand alone: values, MANIFEST files. Catalogue rows 75, 79.

use std::sync::Arc;

use vfs::sim::{At, CallKind, Damage, Fault, ImageKind, SimDisk, Times, What};
use vfs::{Env, Error, Fs, Name};
use wal::{
    End, FrameKind, Position, ReadMode, Segment, SegmentId, SegmentMeta, SegmentWriter, VALUES,
    replay_segment,
};

use crate::bed::{Entry, payload};

const NAME: Name = Name::new(VALUES, 3);

fn append(writer: &mut SegmentWriter, seq: u64, len: usize) -> Position {
    let bytes = payload(seq, len);
    writer.append(seq, bytes.len(), &mut |_, out| out.copy_from_slice(&bytes)).unwrap()
}

fn write(disk: &SimDisk, count: u64, sync_each: bool) -> (SegmentMeta, Vec<Position>) {
    let fs: Arc<dyn Fs> = disk.root();
    let mut writer = SegmentWriter::create(&fs, &Env::sim(1).env, NAME, 77).unwrap();
    let mut addresses = Vec::new();
    for seq in 1..=count {
        addresses.push(append(&mut writer, seq, 100));
        if sync_each {
            writer.sync().unwrap();
        }
    }
    let len = writer.len();
    let meta = writer.finish().unwrap();
    assert_eq!((meta.len, meta.first_seq, meta.last_seq), (len, 1, count));
    fs.sync_dir().unwrap();
    (meta, addresses)
}

fn replay(disk: &SimDisk) -> vfs::Result<(Vec<Entry>, End)> {
    let fs: Arc<dyn Fs> = disk.root();
    let mut records = Vec::new();
    let end = replay_segment(&fs, NAME, &mut |record| {
        records.push((record.seq, record.payload.to_vec()));
        Ok(())
    })?;
    Ok((records, end))
}

#[test]
fn what_was_written_is_read_by_address_in_order_and_by_replay() {
    let disk = SimDisk::new(1);
    let (meta, addresses) = write(&disk, 30, false);
    let disk = disk.crash(ImageKind::SyncedOnly, 1);
    let fs: Arc<dyn Fs> = disk.root();
    for mode in [ReadMode::Mapped, ReadMode::Positional] {
        let segment = Segment::open(&fs, NAME, mode, Some(&meta)).unwrap();
        assert_eq!(segment.header().log_id, 77);
        for (index, address) in addresses.iter().enumerate() {
            let bytes = segment.bytes(address.offset, 100).unwrap();
            assert_eq!(bytes, payload(index as u64 + 1, 100));
        }
        let frames: Vec<_> = segment.frames().map(|frame| frame.unwrap()).collect();
        assert_eq!(frames.iter().map(|frame| frame.address).collect::<Vec<_>>(), addresses);
        assert!(frames.iter().all(|frame| frame.kind == FrameKind::Record));
    }
    let (records, end) = replay(&disk).unwrap();
    assert_eq!((records.len(), end), (30, End::Clean));
}

#[test]
fn the_frame_near_an_offset_is_the_first_whole_one_behind_it() {
    let disk = SimDisk::new(1);
    let (meta, addresses) = write(&disk, 30, false);
    for mode in [ReadMode::Mapped, ReadMode::Positional] {
        let fs: Arc<dyn Fs> = disk.root();
        let segment = Segment::open(&fs, NAME, mode, Some(&meta)).unwrap();
        for offset in 0..meta.len + 20 {
            let expected = addresses.iter().find(|address| address.offset - 24 >= offset);
            let found = segment.frame_near(offset, 1 << 20).unwrap();
            assert_eq!(found.map(|frame| frame.address), expected.copied(), "from {offset}");
        }
        // Not beyond what is to be searched.
        let second = addresses[1].offset - 24;
        assert!(segment.frame_near(second - 16, 16).unwrap().is_none());
        assert!(segment.frame_near(second - 16, 17).unwrap().is_some());
        assert!(segment.frame_near(u64::MAX - 100, u64::MAX).unwrap().is_none());
    }
    // A frame that is damaged is passed over.
    let copy = disk.image(0, ImageKind::Everything, 1);
    copy.corrupt(NAME, &Damage::FlipBit { offset: addresses[3].offset + 5, bit: 3 });
    let fs: Arc<dyn Fs> = copy.root();
    let segment = Segment::open(&fs, NAME, ReadMode::Positional, Some(&meta)).unwrap();
    let found = segment.frame_near(addresses[2].offset, 1 << 20).unwrap();
    assert_eq!(found.map(|frame| frame.address), Some(addresses[4]));
}

#[test]
fn a_torn_last_write_is_told_from_damage_before_it() {
    let disk = SimDisk::new(1);
    let (meta, addresses) = write(&disk, 5, true);
    let disk = disk.crash(ImageKind::Everything, 1);
    for offset in 0..meta.len {
        let copy = disk.image(0, ImageKind::Everything, 1);
        copy.corrupt(NAME, &Damage::FlipBit { offset, bit: 3 });
        let last = addresses[4].offset - 24;
        match replay(&copy) {
            Ok((records, end)) => {
                assert!(last <= offset, "byte {offset} was attested");
                let ignored_bytes = meta.len - last;
                assert_eq!((records.len(), end), (4, End::Torn { offset: last, ignored_bytes }));
            }
            Err(error) => {
                assert!(offset < last, "byte {offset} was not attested");
                assert!(error.is_corrupt() && error.path().ends_with(NAME.to_string()));
            }
        }
        let copy = disk.image(0, ImageKind::Everything, 1);
        copy.corrupt(NAME, &Damage::Truncate { len: offset });
        if let Ok((records, _)) = replay(&copy) {
            // Nothing behind the cut is there to attest anything.
            let whole = addresses.iter().filter(|a| a.offset + 104 <= offset).count();
            assert_eq!(records.len(), whole);
        } else {
            assert!(offset < 96, "only a header is missed without a witness");
        }
    }
}

#[test]
fn a_crash_at_any_call_keeps_what_was_synced() {
    let disk = SimDisk::new(1);
    disk.record();
    let fs: Arc<dyn Fs> = disk.root();
    let mut writer = SegmentWriter::create(&fs, &Env::sim(1).env, NAME, 77).unwrap();
    writer.sync().unwrap();
    fs.sync_dir().unwrap();
    let mut marks = vec![(disk.boundaries() - 1, 0)];
    let start = disk.boundaries() - 1;
    for seq in 1..6 {
        append(&mut writer, seq, 700);
        writer.sync().unwrap();
        marks.push((disk.boundaries() - 1, seq));
    }
    for boundary in start..disk.boundaries() {
        let durable = marks.iter().filter(|m| m.0 <= boundary).map(|m| m.1).max().unwrap();
        for kind in ImageKind::kinds() {
            let (records, _) = replay(&disk.image(boundary, *kind, 1)).unwrap();
            let count = records.len() as u64;
            assert!(durable <= count && count <= durable + 1, "{kind:?} at {boundary}");
        }
    }
}

#[test]
fn row_075_a_segment_shorter_than_recorded_is_refused_before_it_is_mapped() {
    let disk = SimDisk::new(1);
    let (meta, _) = write(&disk, 5, false);
    let disk = disk.crash(ImageKind::Everything, 1);
    disk.corrupt(NAME, &Damage::Truncate { len: meta.len - 1 });
    let fs: Arc<dyn Fs> = disk.root();
    for mode in [ReadMode::Mapped, ReadMode::Positional] {
        let error = Segment::open(&fs, NAME, mode, Some(&meta)).unwrap_err();
        assert!(error.is_corrupt() && error.path().ends_with(NAME.to_string()));
        let wrong = SegmentMeta { id: SegmentId(4), ..meta };
        assert!(Segment::open(&fs, NAME, mode, Some(&wrong)).unwrap_err().is_corrupt());
        let whole = Segment::open(&fs, NAME, mode, None).unwrap();
        let mut frames = whole.frames();
        assert_eq!(frames.by_ref().take_while(|frame| frame.is_ok()).count(), 4);
        assert!(frames.next().is_none(), "nothing comes after an error");
    }
    // The file gets shorter while it is open: an error, not the end of the process.
    let open = Segment::open(&fs, NAME, ReadMode::Positional, None).unwrap();
    disk.corrupt(NAME, &Damage::Truncate { len: 200 });
    assert!(open.bytes(190, 100).unwrap_err().is_corrupt());
}

#[test]
fn row_079_a_writer_whose_write_or_sync_failed_takes_nothing_more() {
    for (kind, what) in [(CallKind::Write, What::Io), (CallKind::Sync, What::SyncLost)] {
        let disk = SimDisk::new(1);
        let fs: Arc<dyn Fs> = disk.root();
        let mut writer = SegmentWriter::create(&fs, &Env::sim(1).env, NAME, 77).unwrap();
        append(&mut writer, 1, 10);
        disk.fault(Fault { at: At::Kind(kind, 0), what, times: Times::Once });
        assert!(matches!(writer.sync(), Err(Error::Io { .. })));
        assert!(matches!(writer.append(2, 1, &mut |_, _| {}), Err(Error::Poisoned { .. })));
        assert!(matches!(writer.sync(), Err(Error::Poisoned { .. })));
        assert!(matches!(writer.finish(), Err(Error::Poisoned { .. })));
    }
}

#[test]
fn a_writer_refuses_bad_names_seqs_and_lengths() {
    let fs: Arc<dyn Fs> = SimDisk::new(1).root();
    let env = Env::sim(1).env;
    for id in [0, 1 << 32] {
        let created = SegmentWriter::create(&fs, &env, Name::new(VALUES, id), 1);
        assert!(matches!(created, Err(Error::Invalid { .. })));
    }
    let mut writer = SegmentWriter::create(&fs, &env, NAME, 1).unwrap();
    append(&mut writer, 5, 10);
    let len = writer.len();
    for (seq, len) in [(5, 1), (0, 1), (1 << 56, 1), (6, 2 << 30)] {
        let refused = writer.append(seq, len, &mut |_, _| panic!("not even asked"));
        assert!(matches!(refused, Err(Error::Invalid { .. })));
    }
    assert_eq!(writer.len(), len);
    assert!(SegmentWriter::create(&fs, &env, NAME, 1).is_err(), "a file is never overwritten");
}
