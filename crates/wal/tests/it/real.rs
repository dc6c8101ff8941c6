//! The same log on a real disk: what mappings do there no simulation shows.

use std::sync::Arc;

use vfs::{Env, Fs, StdFs};
use wal::{AppendMode, Durability, Log, Options, ReadMode, SegmentId, SegmentIds, Start};

use crate::bed::{options, payload};

fn open(fs: &Arc<dyn Fs>, options: &Options) -> (Log, Vec<Vec<u8>>) {
    let mut records = Vec::new();
    let start = Start { ids: SegmentIds::new(), ..Start::default() };
    let opened = Log::open(Arc::clone(fs), &Env::system(), options.clone(), start, &mut |record| {
        records.push(record.payload.to_vec());
        Ok(())
    });
    (opened.unwrap().0, records)
}

#[test]
fn bytes_that_were_read_stay_as_they_are_when_their_segment_is_sealed_cut_and_removed() {
    for append_mode in [AppendMode::Mapped, AppendMode::Positional] {
        for read_mode in [ReadMode::Mapped, ReadMode::Positional] {
            let dir = tempfile::tempdir().unwrap();
            let fs = StdFs::create(dir.path()).unwrap();
            let base = options(Durability::Never, append_mode);
            let options = Options { read_mode, segment_bytes: 1 << 16, ..base };
            let (log, _) = open(&fs, &options);
            let mut expected = Vec::new();
            let mut held = Vec::new();
            for number in 0..400 {
                let bytes = payload(number, 700);
                let position = log.append(&bytes).unwrap();
                held.push(log.read(position).unwrap());
                expected.push(bytes);
                if number % 150 == 149 {
                    log.sync_sealed(SegmentId(log.active().0 - 1)).unwrap();
                }
            }
            let lens: Vec<u64> = fs.list().unwrap().entries.iter().map(|e| e.len).collect();
            assert!(lens.iter().filter(|len| **len < 1 << 16).count() > 2, "tails are cut");
            log.sync_sealed(SegmentId(log.active().0 - 1)).unwrap();
            assert!(log.iter().map(|record| record.unwrap().2).eq(&expected));
            let segment = log.segment(log.segments()[0].id).unwrap();
            log.drop_before(log.active()).unwrap();
            assert!(segment.frames().all(|frame| frame.is_ok()));
            log.close().unwrap();
            assert_eq!(held, expected);
        }
    }
}

#[test]
fn a_log_on_a_real_disk_comes_back_after_it_was_dropped_or_closed() {
    for append_mode in [AppendMode::Mapped, AppendMode::Positional] {
        let dir = tempfile::tempdir().unwrap();
        let fs = StdFs::create(dir.path()).unwrap();
        let options = options(Durability::EveryBytes(10_000), append_mode);
        let mut expected: Vec<Vec<u8>> = Vec::new();
        for round in 0..6 {
            let (log, records) = open(&fs, &options);
            assert_eq!(records, expected);
            for number in 0..50 {
                let bytes = payload(number, 50 + round * 20);
                log.append(&bytes).unwrap();
                expected.push(bytes);
            }
            if round % 2 == 0 {
                let closed = log.close().unwrap();
                let name = vfs::Name::new(wal::SEGMENT, u64::from(closed.end.id.0));
                let entries = fs.list().unwrap().entries;
                let entry = entries.iter().find(|entry| entry.name == name).unwrap();
                assert_eq!(entry.len, closed.end.len, "a closed log has no tail");
            }
        }
    }
}
