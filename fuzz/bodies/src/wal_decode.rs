//! One segment file: whatever its frames are, they are read the same way by a replay, by an owner
//! who knows the segment's length, and by a search. Rows 8, 18, 70.

use std::sync::Arc;

use vfs::{Fs, Name, SimDisk};
use wal::{End, ReadMode, Segment, SegmentMeta};

use crate::forge::{self, Payload};
use crate::input::Input;
use crate::limits::bounded;
use crate::verdict::clear;

const ID: u32 = 7;
const NAME: Name = Name::new(wal::SEGMENT, ID as u64);

/// A record as a reader saw it: offset of its frame, seq, payload.
type Seen = (u64, u64, Vec<u8>);

/// The body.
pub(crate) fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let control = input.u8();
    let mut bytes = input.expand();
    if control & 1 == 0 {
        forge::segment(ID, Payload::Opaque, &mut bytes);
    }
    let disk = SimDisk::new(1);
    disk.write_file(NAME, &bytes);
    let fs = disk.root();
    let replayed = bounded(bytes.len(), || replay(&fs));
    for mode in [ReadMode::Mapped, ReadMode::Positional] {
        // The records of batches that are whole are the first that an iterator finds.
        let found = bounded(bytes.len(), || iterate(&fs, mode));
        if let (Some((records, end)), Some(found)) = (&replayed, found) {
            let whole = found.iter().take_while(|(offset, ..)| offset < end);
            assert!(whole.eq(records), "an iterator reads other records than a replay");
        }
    }
    for (offset, seq, payload) in replayed.iter().flat_map(|(records, _)| records) {
        let start = usize::try_from(*offset).expect("inside the file") + 24;
        assert!(bytes[start..].starts_with(payload), "a payload is what stands in the file");
        assert!(*seq > 0, "seqs start at 1");
    }
}

fn replay(fs: &Arc<dyn Fs>) -> Option<(Vec<Seen>, u64)> {
    let mut records: Vec<Seen> = Vec::new();
    let end = wal::replay_segment(fs, NAME, &mut |record| {
        assert!(record.address.offset == record.position.offset + 24, "behind the frame's header");
        records.push((record.position.offset, record.seq, record.payload.to_vec()));
        Ok(())
    });
    assert!(records.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "offsets and seqs grow");
    match clear(end)? {
        End::Torn { offset, .. } => Some((records, offset)),
        End::Clean => Some((records, u64::MAX)),
    }
}

fn iterate(fs: &Arc<dyn Fs>, mode: ReadMode) -> Option<Vec<Seen>> {
    let segment = clear(Segment::open(fs, NAME, mode, None))?;
    let mut found: Vec<Seen> = Vec::new();
    let mut frames = segment.frames();
    for frame in &mut frames {
        let Some(frame) = clear(frame) else { break };
        found.push((frame.position.offset, frame.seq, frame.payload.to_vec()));
    }
    assert!(frames.next().is_none(), "nothing comes after the end or an error");
    for offset in [0, 95, segment.len() / 2, segment.len(), u64::MAX] {
        if let Some(Some(near)) = clear(segment.frame_near(offset, 64 << 10)) {
            assert!(near.position.offset >= offset.max(96), "a search goes forward");
        }
    }
    // A length from elsewhere may be anything.
    for len in [0, 96, 97, segment.len() + 1, u64::MAX] {
        let meta = SegmentMeta { len, ..segment.meta() };
        if let Some(segment) = clear(Segment::open(fs, NAME, mode, Some(&meta))) {
            segment.frames().for_each(|frame| drop(clear(frame)));
            clear(segment.bytes(len, usize::MAX));
        }
    }
    Some(found)
}
