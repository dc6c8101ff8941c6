use vfs::Random;
use vfs::testing::check_dump;

use super::*;

const DOC: &str = include_str!("../../../../docs/formats/diskhash.md");

fn record() -> Record {
    let file = |id| {
        let expect = Expect { len: 12_352, footer_crc: 0x0a0b_0c0d, entries: 3 };
        FileRecord { id, expect }
    };
    let [left, right] = Prefix::ALL.halves();
    Record {
        fixed: Fixed { slot_len: 8, hash_bytes: 5, listed: Some(4), owner: 0x0102_0304_0506_0708 },
        id: 0x15,
        seed: 0x2122_2324_2526_2728,
        next_id: 0x16,
        applied: 9,
        runs: vec![RunRecord { file: file(0x14), written: 2, newest: 9 }],
        partitions: vec![
            PartitionRecord { file: Some(file(0x12)), prefix: left, taken: 7 },
            PartitionRecord { file: None, prefix: right, taken: 7 },
        ],
    }
}

#[test]
fn bytes_are_as_documented() {
    check_dump(DOC, "record", &encode(&record()));
}

#[test]
fn what_was_encoded_is_decoded_for_its_own_id_only() {
    let path = Path::new("g");
    let bytes = encode(&record());
    assert_eq!(decode(path, 0x15, &bytes).unwrap(), record());
    assert!(decode(path, 0x14, &bytes).unwrap_err().is_corrupt());
}

// Row 98: a record of 0 bytes is not whole, and no byte of one is read past its end.
#[test]
fn row_098_a_record_that_was_cut_or_has_a_flipped_bit_is_not_whole() {
    let path = Path::new("g");
    let mut bytes = encode(&record());
    for len in 0..bytes.len() {
        assert!(decode(path, 0x15, &bytes[..len]).unwrap_err().is_corrupt());
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            match decode(path, 0x15, &bytes).unwrap_err() {
                Error::Corrupt { path: found, offset, .. } => {
                    assert!(found == path && offset <= bytes.len() as u64);
                }
                error => panic!("{error}"),
            }
            bytes[at] ^= 1 << bit;
        }
    }
}

#[test]
fn forged_records_are_refused_or_cover_all_hashes() {
    let mut random = Random::new(vfs::testing::seed());
    let path = Path::new("g");
    let (mut legal, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = encode(&record());
        let at = random.index(bytes.len() - CRC_LEN);
        let value = [0, 1, 0x7f, 0x80, 0xff][random.index(5)];
        bytes[at] = value;
        let covered = bytes.len() - CRC_LEN;
        let crc = Checksum::of(0x15, 0, &bytes[..covered]);
        bytes[covered..].copy_from_slice(&crc.to_le_bytes());
        match decode(path, 0x15, &bytes) {
            Ok(found) => {
                assert_eq!(found.partitions[1].prefix.last(), u64::MAX);
                legal += 1;
            }
            Err(error) => {
                let of_version = error.to_string().contains("version");
                assert!(error.is_corrupt() || of_version, "{error}");
                refused += 1;
            }
        }
    }
    assert!(legal > 100 && refused > 100, "{legal} {refused}");
}

// We believed that a record with a right checksum names files as a commit does. With a run that all
// partitions have taken in no merge was ever planned, though the table was full: its owner waited for
// one for ever. One file in two places was retired twice, and sums of entries that no file holds overflowed.
#[test]
fn row_071_a_record_that_no_commit_can_have_written_is_damage() {
    let path = Path::new("g");
    let with = |change: fn(&mut Record)| {
        let mut record = record();
        change(&mut record);
        decode(path, 0x15, &encode(&record))
    };
    assert!(with(|_| {}).is_ok());
    assert!(with(|record| record.partitions[0].taken = 9).is_ok(), "one of two took it in");
    let twice = |record: &mut Record| record.partitions[1].file = record.partitions[0].file;
    let run_twice = |record: &mut Record| {
        let older = RunRecord { newest: 8, ..record.runs[0] };
        record.runs.push(older);
    };
    let taken = |record: &mut Record| record.partitions.iter_mut().for_each(|p| p.taken = 9);
    let many = |record: &mut Record| record.runs[0].file.expect.entries = u64::MAX;
    let changes: [fn(&mut Record); 4] = [twice, run_twice, taken, many];
    for (number, change) in changes.into_iter().enumerate() {
        assert!(with(change).is_err_and(|error| error.is_corrupt()), "change {number}");
    }
}
