use vfs::sim::SimDisk;
use vfs::{Env, Random};
use wal::SegmentIds;

use super::*;
use crate::files::NextIds;
use crate::options::{Options, ReadMode};
use crate::record::RecordKind;

const SEGMENT_BYTES: u64 = 256 << 10;

fn files(disk: &SimDisk) -> Arc<Files> {
    let options = Options::default().segment_bytes(SEGMENT_BYTES).read_mode(ReadMode::Positional);
    let next = NextIds { file: 1, keyspace: 1 };
    let env = Env::sim(1).env;
    Arc::new(Files::new(disk.root(), env, 7, options, SegmentIds::new(), next, 0))
}

#[test]
fn copied_records_share_frames_and_each_is_where_its_pointer_says() {
    let disk = SimDisk::new(1);
    let files = files(&disk);
    let mut random = Random::new(1);
    let mut written = Vec::new();
    let mut writer = ValueWriter::new(files.clone());
    let mut bytes = 0;
    for number in 0..6000_u64 {
        let len = match number {
            // Around the length of a frame, and longer than a segment.
            500 => FRAME_BYTES - 40,
            501 | 1000 => FRAME_BYTES + 1,
            1001 => 300 << 10,
            _ => random.index(200),
        };
        let (key, value) = (number.to_le_bytes(), random.bytes(len));
        let kind = if len == 0 { RecordKind::Delete } else { RecordKind::Put };
        let expiry = if kind == RecordKind::Put { number % 3 } else { 0 };
        let (key, value) = (key.as_slice(), value.as_slice());
        let record = Record { keyspace: 3, seq: number + 1, kind, expiry, key, value };
        let pointer = writer.append(&record).expect("a healthy disk");
        bytes += record.encoded_len() as u64;
        written.push((pointer, record.kind, record.expiry, value.to_vec()));
    }
    writer.finish().expect("a healthy disk");
    let records = writer.take();
    let mut segments = Segments::default();
    let mut frames = 0;
    for record in &records {
        let segment = files.open_segment(record).expect("a healthy disk");
        let of_segment = segment.frames().count();
        assert!(record.len <= SEGMENT_BYTES || of_segment == 1, "{record:?}");
        frames += of_segment as u64;
        segments.add(segment);
    }
    let len: u64 = records.iter().map(|record| record.len).sum();
    let headers = records.len() as u64 * wal::HEADER_LEN + frames * wal::FRAME_HEADER_LEN;
    assert_eq!(len, bytes + headers, "nothing but records and headers");
    assert!(frames < 60, "{frames} frames");
    let values = Values { db_id: 7, keyspace: 3, segments: &segments, verifies: true };
    for (number, (pointer, kind, expiry, value)) in (0_u64..).zip(&written) {
        let same = values.record(*pointer, |record, _| {
            assert_eq!((record.seq, record.kind, record.expiry), (number + 1, *kind, *expiry));
            assert_eq!(record.key, number.to_le_bytes());
            Ok(record.value == value.as_slice())
        });
        assert_eq!(same.expect("a healthy disk"), Some(true), "record {number}");
    }
}

#[test]
fn a_writer_that_is_given_up_leaves_no_file() {
    let disk = SimDisk::new(1);
    let mut writer = ValueWriter::new(files(&disk));
    let value = vec![7; 1000];
    for seq in 1..=400 {
        let (kind, key) = (RecordKind::Put, b"k".as_slice());
        let record = Record { keyspace: 3, seq, kind, expiry: 0, key, value: &value };
        writer.append(&record).expect("a healthy disk");
    }
    assert!(disk.files().len() > 1);
    drop(writer);
    assert_eq!(disk.files(), []);
}
