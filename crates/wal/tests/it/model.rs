//! A log against a vector, over reopens, crashes, rotations and dropped prefixes.

use vfs::Random;
use vfs::sim::{ImageKind, SimDisk};
use wal::{AppendMode, Durability, Options, Position, ReadMode, SegmentId};

use crate::bed::{Opened, open, options, payload};

type Model = Vec<(Position, u64, Vec<u8>)>;

fn check(opened: &Opened, model: &Model) {
    let log = &opened.log;
    let read: Model = log.iter().map(|r| r.unwrap()).map(|(p, s, b)| (p, s, b.to_vec())).collect();
    assert_eq!(read, *model, "all records, in order");
    for (position, _, bytes) in model {
        assert_eq!(log.read(*position).unwrap(), *bytes, "by position");
    }
    assert!(log.synced() <= log.end());
}

fn random_options(random: &mut Random) -> Options {
    let durability = match random.below(3) {
        0 => Durability::Always,
        1 => Durability::EveryBytes(1 + random.below(3000)),
        _ => Durability::Never,
    };
    let append_mode = if random.percent(50) { AppendMode::Mapped } else { AppendMode::Positional };
    let read_mode = if random.percent(50) { ReadMode::Mapped } else { ReadMode::Positional };
    let preallocate = random.percent(80);
    let segment_bytes = 4096 + 8 * random.below(500);
    Options { read_mode, preallocate, segment_bytes, ..options(durability, append_mode) }
}

#[test]
fn model_agrees_with_a_vector_over_reopens_rotations_and_dropped_prefixes() {
    for seed in vfs::testing::seeds(60) {
        let mut random = Random::new(seed);
        let mut disk = SimDisk::new(seed);
        let mut model = Model::new();
        let mut number = 0;
        for _ in 0..5 {
            let options = random_options(&mut random);
            let opened = open(&disk, random.next_u64(), &options).unwrap();
            let entries: Vec<_> = model.iter().map(|(_, seq, b)| (*seq, b.clone())).collect();
            assert_eq!(opened.entries, entries, "after a reopen");
            for _ in 0..random.below(40) {
                step(&opened, &mut model, &mut number, &mut random);
            }
            check(&opened, &model);
            if random.percent(40) {
                let closed = opened.log.close().unwrap();
                disk = disk.crash(ImageKind::SyncedOnly, random.next_u64());
                assert!(closed.end.len >= 96 + 24);
            } else if random.percent(50) {
                opened.log.sync().unwrap();
                drop(opened);
                disk = disk.crash(ImageKind::SyncedOnly, random.next_u64());
            } else {
                drop(opened);
                disk.kill();
            }
        }
    }
}

fn step(opened: &Opened, model: &mut Model, number: &mut u64, random: &mut Random) {
    let log = &opened.log;
    *number += 1;
    match random.below(20) {
        0..=9 => {
            let len = if random.percent(5) { 9000 } else { random.index(400) };
            let bytes = payload(*number, len);
            let position = log.append(&bytes).unwrap();
            model.push((position, log.last_seq(), bytes));
        }
        10..=12 => {
            let count = random.below(5);
            let payloads: Vec<_> =
                (0..count).map(|index| payload(*number + index, random.index(900))).collect();
            let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
            let positions = log.append_batch(&slices).unwrap();
            let first = log.last_seq() + 1 - count;
            let seqs = first..;
            model
                .extend(positions.into_iter().zip(seqs).zip(payloads).map(|((p, s), b)| (p, s, b)));
        }
        13 => {
            // An owner's seqs may jump.
            let seq = log.last_seq() + 1 + random.below(1000);
            let bytes = payload(*number, 30);
            let staged =
                log.stage(seq, bytes.len(), &mut |_, out| out.copy_from_slice(&bytes)).unwrap();
            log.commit(&staged, random.percent(50)).unwrap();
            assert_eq!(staged.address.offset, staged.position.offset + 24);
            model.push((staged.position, seq, bytes));
        }
        14 => log.sync().unwrap(),
        15 => {
            let sealed = log.rotate().unwrap();
            assert!(sealed.id < log.active());
        }
        16 => {
            let back = u32::try_from(random.below(3)).unwrap();
            log.sync_sealed(SegmentId(log.active().0.saturating_sub(back))).unwrap();
        }
        17 => {
            let segments = log.segments();
            let first = segments[random.index(segments.len())].id;
            log.drop_before(first).unwrap();
            model.retain(|(position, _, _)| first <= position.segment);
        }
        18 => check(opened, model),
        _ => {
            let metas = log.segments();
            assert!(metas.is_sorted_by_key(|meta| meta.id));
            for meta in metas {
                let seqs = || model.iter().filter(|(p, _, _)| p.segment == meta.id).map(|r| r.1);
                assert_eq!(meta.first_seq, seqs().next().unwrap_or(0));
                if let Some(last) = seqs().next_back() {
                    assert_eq!(meta.last_seq, last);
                }
            }
        }
    }
}

#[test]
fn records_of_any_length_around_a_segments_border_come_back() {
    for mode in [AppendMode::Mapped, AppendMode::Positional] {
        let options = options(Durability::Never, mode);
        let disk = SimDisk::new(1);
        let mut opened = open(&disk, 1, &options).unwrap();
        let mut expected = Vec::new();
        // A segment of 4096 bytes holds one frame of up to 4096 - 96 - 24 bytes and a seal.
        for len in (3900..4100).chain([0, 1, 7, 8, 9, 8192, 100_000]) {
            let bytes = vec![u8::try_from(len % 251).unwrap(); len];
            let position = opened.log.append(&bytes).unwrap();
            assert_eq!(opened.log.read(position).unwrap(), bytes);
            expected.push(bytes);
        }
        opened.log.sync().unwrap();
        opened = open(&disk.crash(ImageKind::SyncedOnly, 1), 2, &options).unwrap();
        assert!(opened.entries.iter().map(|entry| &entry.1).eq(&expected));
    }
}
