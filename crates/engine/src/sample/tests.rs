use vfs::Env;
use vfs::sim::SimDisk;
use wal::{SegmentId, SegmentIds};

use super::*;
use crate::files::NextIds;
use crate::levels::{Ends, Levels, TableOutput};
use crate::options::{IndexKind, Options, ReadMode};
use crate::record::{Record, RecordKind, ValuePtr};
use crate::view::{Generation, KeyspaceView, View};
use crate::vlog::{Segments, ValueWriter};
use sstable::{Entry, Value};

/// A view of one keyspace whose index points to these records.
fn view_of(files: &Arc<Files>, live: &[(Vec<u8>, ValuePtr)]) -> View {
    let mut output = TableOutput::new(files.clone(), 0, 1, Ends::never());
    for (key, pointer) in live {
        let value = Value::Pointer(pointer.bits());
        output.add(Entry { key, value, expiry: 0 }).expect("a healthy disk");
    }
    output.end_table().expect("a healthy disk");
    let mut delta = output.into_delta(Vec::new(), Default::default());
    let installed = (delta.install)(&Levels::default()).expect("it is new");
    let (memtables, kind) = (Vec::new(), IndexKind::BTree);
    let keyspace =
        KeyspaceView { id: 0, name: "default".into(), kind, memtables, index: installed.index };
    View {
        active: Arc::new(Generation::new(Vec::new(), Vec::new())),
        sealed: Vec::new(),
        keyspaces: vec![Arc::new(keyspace)],
        segments: Arc::new(Segments::default()),
        flushed_seq: 0,
    }
}

/// The garbage of a file of `count` records, as estimated and as it is.
fn estimate(count: usize, value_len: usize, is_dead: &dyn Fn(usize) -> bool) -> (u64, u64) {
    let disk = SimDisk::new(1);
    let options = Options::default().read_mode(ReadMode::Positional);
    let segment_ids = SegmentIds::new();
    let files = Arc::new(Files::new(
        disk.root(),
        Env::sim(1).env,
        7,
        options,
        segment_ids,
        NextIds { file: 1, keyspace: 1 },
        0,
    ));
    let mut writer = ValueWriter::new(files.clone());
    let (mut live, mut dead_bytes) = (Vec::new(), 0);
    for index in 0..count {
        let (key, value) = (format!("{index:08}").into_bytes(), vec![7; value_len]);
        let (keyspace, seq, kind, expiry) = (0, 1, RecordKind::Put, 0);
        let record = Record { keyspace, seq, kind, expiry, key: &key, value: &value };
        let pointer = writer.append(&record).expect("a healthy disk");
        if is_dead(index) {
            dead_bytes += record.encoded_len() as u64;
        } else {
            live.push((key, pointer));
        }
    }
    writer.finish().expect("a healthy disk");
    let segments = writer.take();
    assert_eq!(segments.len(), 1);
    let segment = files.open_segment(&segments[0]).expect("it was just written");
    assert_eq!(segment.id(), SegmentId(segments[0].id));
    let view = view_of(&files, &live);
    let found = garbage(&files, &view, &segments[0], &segment).expect("a healthy disk");
    (found, dead_bytes)
}

#[test]
fn a_short_file_is_known_exactly() {
    for nth in [1, 2, 3, 10] {
        let (found, dead) = estimate(300, 200, &|index| index % nth == 0);
        assert_eq!(found, dead, "every {nth}th record is dead");
    }
    assert_eq!(estimate(300, 200, &|_| false), (0, 0), "row 94: nothing is dead");
}

#[test]
fn a_long_file_is_estimated_wherever_in_it_the_garbage_is() {
    let len = 20_000 * 200;
    for (name, is_dead) in [
        ("spread", &(|index: usize| index.is_multiple_of(4)) as &dyn Fn(usize) -> bool),
        ("at the front", &|index| index < 5000),
        ("at the back", &|index| index >= 15_000),
    ] {
        let (found, dead) = estimate(20_000, 160, is_dead);
        assert!(found.abs_diff(dead) < len / 5, "{name}: {found} for {dead}");
    }
    assert_eq!(estimate(20_000, 160, &|_| false).0, 0, "row 94: nothing is dead");
    let (found, dead) = estimate(20_000, 160, &|_| true);
    assert!(found >= dead, "{found} for {dead}: everything is dead");
}
