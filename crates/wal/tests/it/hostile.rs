//! Bytes that nobody wrote. Catalogue rows 8, 18, 68-70.

use std::sync::Arc;

use proptest::prelude::*;
use vfs::sim::{Damage, ImageKind, SimDisk};
use vfs::{Fs, Name};
use wal::{AppendMode, Durability, ReadMode, SEGMENT, Segment, Start, replay_segment};

use crate::alloc::largest_allocation;
use crate::bed::{open, open_with, options, payload};

/// Whatever is in the directory, opening it ends with a log or an error, in bounded memory.
fn open_hostile(disk: &SimDisk) {
    let files: u64 = disk.files().iter().map(|(_, len)| len).sum();
    let limit = usize::try_from(16 * files).unwrap().max(2 << 20);
    let options = options(Durability::Never, AppendMode::Positional);
    let names: Vec<u64> = (1..4).collect();
    let largest = largest_allocation(|| {
        let fs: Arc<dyn Fs> = disk.root();
        for id in names {
            let name = Name::new(SEGMENT, id);
            let mut bytes = 0;
            let _ = replay_segment(&fs, name, &mut |record| {
                bytes += record.payload.len() as u64;
                Ok(())
            });
            assert!(bytes <= files, "more came out than there is");
            for mode in [ReadMode::Mapped, ReadMode::Positional] {
                if let Ok(segment) = Segment::open(&fs, name, mode, None) {
                    let _ = segment.frames().count();
                }
            }
        }
        for first in [None, Some(wal::SegmentId(1)), Some(wal::SegmentId(2))] {
            let start = Start { first, ..Start::default() };
            let copy = disk.image(0, ImageKind::Everything, 1);
            if let Ok(opened) = open_with(&copy.root(), 1, &options, start) {
                opened.log.append(b"later").unwrap();
                assert!(opened.log.iter().all(|record| record.is_ok()));
            }
        }
    });
    assert!(largest <= limit, "{largest} bytes at once for files of {files}");
}

fn valid_log() -> SimDisk {
    let options = options(Durability::EveryBytes(500), AppendMode::Positional);
    let disk = SimDisk::new(1);
    let log = open(&disk, 1, &options).unwrap().log;
    for number in 0..10 {
        log.append(&payload(number, 60)).unwrap();
        if number % 4 == 3 {
            log.rotate().unwrap();
        }
    }
    log.append_batch(&[b"a", b"b"]).unwrap();
    drop(log);
    disk.crash(ImageKind::Everything, 1)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn row_018_random_bytes_never_panic_nor_take_memory(
        bytes in proptest::collection::vec(any::<u8>(), 0..3000),
        zeros in 0_usize..2000,
    ) {
        let disk = SimDisk::new(1);
        let mut file = bytes;
        file.extend(vec![0; zeros]);
        disk.write_file(Name::new(SEGMENT, 1), &file);
        open_hostile(&disk);
    }

    #[test]
    fn row_018_a_log_with_random_damage_never_panics_nor_takes_memory(
        damage in proptest::collection::vec((1_u64..4, 0_u64..1200, any::<[u8; 4]>()), 1..4),
    ) {
        let disk = valid_log();
        for (id, offset, bytes) in damage {
            let bytes = bytes.to_vec();
            disk.corrupt(Name::new(SEGMENT, id), &Damage::Overwrite { offset, bytes });
        }
        open_hostile(&disk);
    }
}
