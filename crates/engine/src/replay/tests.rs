use vfs::Env;
use vfs::sim::SimDisk;
use wal::SegmentIds;

use super::*;
use crate::files::NextIds;
use crate::options::Options;
use crate::record::Record;

/// A batch of a gigabyte is legal, and what tells the time comes behind it.
#[test]
fn the_record_of_the_clock_may_be_where_no_pointer_reaches() {
    let disk = SimDisk::new(1);
    let next = NextIds { file: 1, keyspace: 1 };
    let (env, ids) = (Env::sim(1).env, SegmentIds::new());
    let files = Files::new(disk.root(), env, 7, Options::default(), ids, next, 0);
    let replayed = |record: &Record<'_>| {
        let address = Position { segment: SegmentId(1), offset: record::OFFSET_LIMIT };
        let mut payload = vec![0; record.encoded_len()];
        record::encode(files.db_id, address, record, &mut payload);
        let batch = wal::Record { position: address, address, seq: record.seq, payload: &payload };
        let catalog = Catalog { next_keyspace: 1, ..Catalog::default() };
        replay_batch(&files, &catalog, &mut Together::new(&[]), &batch, Path::new("1.wal"))
    };
    replayed(&record::clock(3, 1_750_000_000_000)).expect("nothing points to it");
    assert!(files.clock.told() >= 1_750_000_000_000);
    let put = Record { keyspace: 0, kind: RecordKind::Put, key: b"k", ..record::clock(4, 1) };
    replayed(&put).expect_err("a pointer would have to");
}
