use std::path::Path;

use vfs::Random;
use vfs::testing::check_dump;
use wal::{Position, SegmentId};

use super::*;

const DB_ID: u64 = 0x5eed;
const DUMPS: &str = include_str!("../../../../docs/formats/vlog.md");

fn address(offset: u64) -> Position {
    Position { segment: SegmentId(3), offset }
}

fn record<'a>(seq: u64, kind: RecordKind, expiry: u64, value: &'a [u8]) -> Record<'a> {
    Record { keyspace: 1, seq, kind, expiry, key: b"name", value }
}

fn encoded(offset: u64, record: &Record<'_>) -> Vec<u8> {
    let mut bytes = vec![0; record.encoded_len()];
    encode(DB_ID, address(offset), record, &mut bytes);
    bytes
}

fn decoded(offset: u64, bytes: &[u8]) -> Result<(Record<'_>, usize)> {
    decode(DB_ID, address(offset), Path::new("segment"), offset, bytes)
}

#[test]
fn bytes_are_as_documented() {
    let put = record(7, RecordKind::Put, 0, b"lotus");
    check_dump(DUMPS, "put", &encoded(128, &put));
    check_dump(DUMPS, "delete", &encoded(168, &record(8, RecordKind::Delete, 0, b"")));
    let expiring = record(9, RecordKind::Put, 1_750_000_000_000, b"lotus");
    check_dump(DUMPS, "put with expiry", &encoded(200, &expiring));
    check_dump(DUMPS, "time", &encoded(248, &clock(9, 1_750_000_000_000)));
    let pointer = ValuePtr::new(address(128), put.encoded_len());
    check_dump(DUMPS, "pointer", &pointer.bits().to_le_bytes());
}

#[test]
fn a_record_reads_back_as_it_was_written() {
    for kind in [RecordKind::Put, RecordKind::Delete] {
        for expiry in [0, 1, u64::MAX] {
            for seq in [0, 1, SEQ_MAX] {
                for value_len in 0..20 {
                    let value = vec![7; value_len];
                    let record = record(seq, kind, expiry, &value);
                    let bytes = encoded(96, &record);
                    assert_eq!(decoded(96, &bytes).expect("it is whole"), (record, bytes.len()));
                    let len = peek_len(Path::new("segment"), 96, &bytes[..HEADER_LEN]);
                    assert_eq!(len.expect("a header is enough"), bytes.len());
                }
            }
        }
    }
}

#[test]
fn row_065_keys_of_every_legal_length_survive_and_lengths_do_not_wrap() {
    for key_len in [1, 2, 7, 8, 9, 255, 256, 65_534, KEY_LEN_MAX] {
        let key = vec![b'k'; key_len];
        let record = Record { key: &key, ..record(1, RecordKind::Put, 0, b"v") };
        let bytes = encoded(96, &record);
        assert_eq!(decoded(96, &bytes).expect("it is whole").0, record);
    }
}

#[test]
fn row_100_every_single_bit_flip_is_caught() {
    let bytes = encoded(128, &record(7, RecordKind::Put, 5, b"lotus"));
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = decoded(128, &flipped).expect_err("a flip is damage");
        assert!(error.is_corrupt(), "bit {bit}: {error}");
    }
}

#[test]
fn row_008_every_header_field_at_its_extremes_is_damage_and_no_panic() {
    let bytes = encoded(128, &record(7, RecordKind::Put, 0, b"lotus"));
    for (start, len) in [(0, 4), (4, 4), (8, 8), (16, 4), (20, 2), (22, 2)] {
        for value in [0_u64, 1, u64::MAX, u64::MAX - 1] {
            let mut changed = bytes.clone();
            changed[start..start + len].copy_from_slice(&value.to_le_bytes()[..len]);
            if changed == bytes {
                continue;
            }
            assert!(decoded(128, &changed).is_err(), "field at {start} set to {value:#x}");
        }
    }
}

#[test]
fn a_truncated_record_is_damage_at_every_length() {
    let bytes = encoded(128, &record(7, RecordKind::Put, 5, b"lotus"));
    for len in 0..bytes.len() {
        assert!(decoded(128, &bytes[..len]).expect_err("it is cut").is_corrupt(), "at {len}");
    }
}

#[test]
fn a_record_of_another_place_or_database_is_refused() {
    let bytes = encoded(128, &record(7, RecordKind::Put, 0, b"lotus"));
    let path = Path::new("segment");
    let elsewhere = decode(DB_ID, address(136), path, 128, &bytes);
    assert!(elsewhere.expect_err("another offset").is_corrupt());
    let other = Position { segment: SegmentId(4), offset: 128 };
    assert!(decode(DB_ID, other, path, 128, &bytes).expect_err("another segment").is_corrupt());
    let foreign = decode(DB_ID + 1, address(128), path, 128, &bytes);
    assert!(foreign.expect_err("another database").is_corrupt());
}

#[test]
fn any_bytes_decode_or_fail_without_a_panic() {
    let mut random = Random::new(100);
    for _ in 0..20_000 {
        let len = random.index(64);
        let bytes = random.bytes(len);
        assert!(decoded(8, &bytes).is_err(), "no random bytes carry their checksum");
        drop(peek_len(Path::new("segment"), 8, &bytes));
    }
}

#[test]
fn a_pointer_keeps_segment_and_offset_and_bounds_the_length() {
    let offsets = [0, 8, 96, (1 << 29) + 8, (1 << 30) - 8];
    let lens = [8, 16, 24, 32, 40, 64, 72, 4096, 1 << 20, (1 << 30) + (1 << 17)];
    for segment in [1, 2, u32::MAX - 1, u32::MAX] {
        for offset in offsets {
            for len in lens {
                let address = Position { segment: SegmentId(segment), offset };
                let pointer = ValuePtr::from_bits(ValuePtr::new(address, len).bits());
                assert_eq!(pointer.address(), address);
                assert_eq!(pointer.segment(), SegmentId(segment));
                let len_max = pointer.len_max().expect("every legal record has a class");
                assert!(len <= len_max && len_max < 2 * len.max(8), "{len} in {len_max}");
            }
        }
    }
}
