use std::collections::BTreeMap;

use vfs::sim::{Damage, SimDisk};
use vfs::{Env, Random};
use wal::SegmentIds;

use super::*;
use crate::error::ErrorKind;
use crate::files::NextIds;
use crate::options::Options;

const ADDRESS_LEN: u64 = 1 << 20;

fn files(disk: &SimDisk, mode: ReadMode) -> Arc<Files> {
    let options = Options::default().read_mode(mode);
    Arc::new(Files::new(
        disk.root(),
        Env::sim(1).env,
        7,
        options,
        SegmentIds::new(),
        NextIds { file: 1, keyspace: 1 },
        0,
    ))
}

/// What was listed, by offset.
type Model = BTreeMap<u64, (SegmentId, u64)>;

fn random_model(random: &mut Random, count: u64, targets: u64) -> Model {
    let mut model = Model::new();
    while (model.len() as u64) < count {
        let target = u32::try_from(100 + random.below(targets)).expect("small");
        let position = random.below(1 << 32) * 8;
        model.insert(random.below(ADDRESS_LEN / 8) * 8, (SegmentId(target), position));
    }
    model
}

fn build(files: &Arc<Files>, model: &Model) -> RemapRecord {
    let mut builder = Builder::create(files, 3, ADDRESS_LEN).expect("a healthy disk");
    for (offset, (target, position)) in model {
        let entry = Entry { offset: *offset, target: *target, position: *position };
        builder.add(entry).expect("a healthy disk");
    }
    builder.finish(model.len() as u64 + 5).expect("a healthy disk")
}

#[test]
fn a_table_answers_moved_dropped_or_unknown_as_it_was_built() {
    let mut random = Random::new(vfs::testing::seed());
    for (count, targets) in [(0, 1), (1, 1), (407, 2), (408, 1), (409, 3), (5000, 9), (900, 2500)] {
        let disk = SimDisk::new(1);
        let model = random_model(&mut random, count, targets);
        let record = build(&files(&disk, ReadMode::Mapped), &model);
        for mode in [ReadMode::Mapped, ReadMode::Positional] {
            let remap = Remap::open(&files(&disk, mode), 3, &record).expect("it is whole");
            assert_eq!((remap.count(), remap.records()), (count, count + 5));
            assert_eq!(remap.address_len(), ADDRESS_LEN);
            for offset in (0..ADDRESS_LEN).step_by(8) {
                let found = remap.find(offset, false).expect("it is whole");
                assert_eq!(found, model.get(&offset).copied(), "at {offset}");
            }
            for unknown in [ADDRESS_LEN, ADDRESS_LEN + 8, u64::MAX - 7, 4, 13] {
                let error = remap.find(unknown, false).expect_err("no record starts there");
                assert_eq!(error.kind(), ErrorKind::Corrupt);
            }
            let mut seen = Model::new();
            let checked = remap.check(&mut |entry| {
                seen.insert(entry.offset, (entry.target, entry.position));
                Ok(())
            });
            checked.expect("it is whole");
            assert_eq!(seen, model);
        }
    }
}

#[test]
fn every_flipped_bit_is_found_by_check_and_never_gives_a_wrong_answer() {
    let mut random = Random::new(vfs::testing::seed());
    let disk = SimDisk::new(1);
    let model = random_model(&mut random, 900, 3);
    let record = build(&files(&disk, ReadMode::Mapped), &model);
    let name = Name::new(REMAP, record.file).to_string();
    for round in 0..400 {
        let image = disk.fork(1);
        let offset = random.below(record.len);
        let bit = u8::try_from(random.below(8)).expect("small");
        image.corrupt(&name, &Damage::FlipBit { offset, bit });
        let mode = if round % 2 == 0 { ReadMode::Mapped } else { ReadMode::Positional };
        let remap = match Remap::open(&files(&image, mode), 3, &record) {
            Ok(remap) => remap,
            Err(error) => {
                assert!(error.to_string().contains(&name), "{error}");
                continue;
            }
        };
        for (offset, place) in model.iter().step_by(3) {
            match remap.find(*offset, false) {
                Ok(found) => assert_eq!(found, Some(*place), "bit {bit} of byte {offset}"),
                Err(error) => assert!(error.to_string().contains(&name), "{error}"),
            }
        }
        let error = remap.check(&mut |_| Ok(())).expect_err("a bit is wrong");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(&name), "{error}");
    }
}

#[test]
fn a_table_that_is_cut_missing_or_another_one_is_refused_by_name() {
    let disk = SimDisk::new(1);
    let model = random_model(&mut Random::new(1), 600, 2);
    let files_of = |disk: &SimDisk| files(disk, ReadMode::Positional);
    let builds = files_of(&disk);
    let record = build(&builds, &model);
    let second = build(&builds, &random_model(&mut Random::new(2), 600, 2));
    assert_ne!(record.file, second.file, "ids are not reused");
    let name = Name::new(REMAP, record.file).to_string();
    let refused = |disk: &SimDisk, segment: u32, record: &RemapRecord| {
        let opened = Remap::open(&files_of(disk), segment, record);
        let error = opened.err().expect("it is not that table");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(".map"), "{error}");
    };
    for len in [0, 1, 4095, 4096, 8192, record.len - 4096, record.len - 1, record.len + 4096] {
        let image = disk.fork(1);
        let mut bytes = image.read_file(&name).expect("it is there");
        bytes.resize(usize::try_from(len).expect("small"), 0);
        image.write_file(&name, &bytes);
        refused(&image, 3, &record);
    }
    let image = disk.fork(1);
    image.corrupt(&name, &Damage::Remove);
    refused(&image, 3, &record);
    refused(&disk, 4, &record);
    refused(&disk, 3, &RemapRecord { footer_crc: 1, ..record.clone() });
    refused(&disk, 3, &RemapRecord { targets: vec![100], ..record.clone() });
    // Two files changed places.
    let image = disk.fork(1);
    let bytes = image.read_file(Name::new(REMAP, second.file).to_string()).expect("it is there");
    image.write_file(&name, &bytes);
    refused(&image, 3, &record);
}

#[test]
fn a_table_that_is_not_finished_leaves_no_file() {
    let disk = SimDisk::new(1);
    let files = files(&disk, ReadMode::Mapped);
    let mut builder = Builder::create(&files, 3, ADDRESS_LEN).expect("a healthy disk");
    let entry = Entry { offset: 96, target: SegmentId(9), position: 128 };
    builder.add(entry).expect("a healthy disk");
    drop(builder);
    assert!(disk.files().is_empty(), "{:?}", disk.files());
}

/// A page is looked at again where it is read again, and for who asks to be sure.
#[test]
fn a_page_that_rots_behind_its_first_read_never_gives_a_wrong_answer() {
    let mut random = Random::new(vfs::testing::seed());
    let disk = SimDisk::new(1);
    let model = random_model(&mut random, 900, 3);
    let record = build(&files(&disk, ReadMode::Mapped), &model);
    let name = Name::new(REMAP, record.file).to_string();
    let mut reported = 0;
    for round in 0..200 {
        let image = disk.fork(1);
        let mode = if round % 2 == 0 { ReadMode::Mapped } else { ReadMode::Positional };
        let remap = Remap::open(&files(&image, mode), 3, &record).expect("it is whole");
        for (offset, place) in &model {
            assert_eq!(remap.find(*offset, false).expect("it is whole"), Some(*place));
        }
        let offset = random.below(record.len);
        let bit = u8::try_from(random.below(8)).expect("small");
        image.corrupt(&name, &Damage::FlipBit { offset, bit });
        for (offset, place) in model.iter().step_by(3) {
            match remap.find(*offset, mode == ReadMode::Mapped) {
                Ok(found) => assert_eq!(found, Some(*place)),
                Err(error) => {
                    assert!(error.to_string().contains(&name), "{error}");
                    reported += 1;
                }
            }
        }
    }
    assert!(reported > 0, "pages of entries are most of the file");
}
