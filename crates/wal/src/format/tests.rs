use std::path::Path;

use vfs::testing::check_dump;

use super::*;

const DOC: &str = include_str!("../../../../docs/formats/wal.md");

fn header() -> SegmentHeader {
    SegmentHeader {
        log_id: 0x1122_3344_5566_7788,
        id: SegmentId(7),
        role: Role::Log,
        salt: 0x0102_0304_0506_0708,
        epoch: 3,
        previous: Some(Previous { id: SegmentId(5), len: 4104, last_seq: 41 }),
        recovered: true,
        synced: Some(Position { segment: SegmentId(5), offset: 4104 }),
        seq_floor: 44,
    }
}

fn decode(id: u32, bytes: &[u8]) -> Result<SegmentHeader> {
    decode_header(SegmentId(id), &mut Reader::new(Path::new("test"), 0, bytes))
}

/// A frame as it stands at `offset`.
fn frame(offset: u64, kind: FrameKind, seq: u64, synced: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(frame_len(payload.len() as u64)).unwrap()];
    bytes[FRAME_HEADER_BYTES..][..payload.len()].copy_from_slice(payload);
    seal_frame(header().salt, offset, (kind, seq, synced), payload.len(), &mut bytes);
    bytes
}

/// The payload of the frame at `offset`, if every check passes.
fn read(offset: u64, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut reader = Reader::new(Path::new("test"), offset, bytes);
    match decode_frame(&header(), &mut reader)? {
        Decoded::Whole(frame) => {
            Ok(check_payload(&header(), offset, &frame, &mut reader)?.to_vec())
        }
        Decoded::Broken(error) => Err(error),
    }
}

/// Gives a forged header the checksum that it needs.
fn fix_header(bytes: &mut [u8]) {
    let crc = Checksum::of(HEADER_SALT, 7, &bytes[..88]);
    bytes[88..92].copy_from_slice(&crc.to_le_bytes());
}

fn fix_frame(offset: u64, bytes: &mut [u8]) {
    let crc = Checksum::of(header().salt, offset, &bytes[4..FRAME_HEADER_BYTES]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn bytes_are_as_documented() {
    check_dump(DOC, "segment header", &encode_header(&header()));
    check_dump(DOC, "record frame", &frame(96, FrameKind::Record, 45, 1, b"lotus"));
    check_dump(DOC, "seal frame", &frame(128, FrameKind::Seal, 45, 16, b""));
    let position = Position { segment: SegmentId(7), offset: 4104 };
    check_dump(DOC, "position", &position.encode());
}

#[test]
fn headers_come_back_as_they_were_written() {
    assert_eq!(decode(7, &encode_header(&header())).unwrap(), header());
    let first = SegmentHeader {
        role: Role::Single,
        previous: None,
        recovered: false,
        synced: None,
        seq_floor: 0,
        ..header()
    };
    assert_eq!(decode(7, &encode_header(&first)).unwrap(), first);
}

#[test]
fn every_flipped_bit_of_a_header_is_caught_and_told_from_an_unfinished_write() {
    let bytes: [u8; HEADER_BYTES] = encode_header(&header()).try_into().unwrap();
    for bit in 0..HEADER_BYTES * 8 {
        let mut flipped = bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(7, &flipped).unwrap_err().is_corrupt(), "bit {bit}");
        assert!(is_damaged_header(SegmentId(7), &flipped), "bit {bit}");
    }
}

#[test]
fn a_header_torn_at_any_byte_is_an_unfinished_write() {
    let bytes: [u8; HEADER_BYTES] = encode_header(&header()).try_into().unwrap();
    for len in 0..HEADER_BYTES {
        let mut torn = [0; HEADER_BYTES];
        torn[..len].copy_from_slice(&bytes[..len]);
        assert!(decode(7, &torn).is_err(), "{len} bytes");
        assert!(!is_damaged_header(SegmentId(7), &torn), "{len} bytes");
        assert!(decode(7, &bytes[..len]).unwrap_err().is_corrupt(), "{len} bytes");
    }
}

#[test]
fn the_header_of_another_segment_is_refused() {
    let bytes: [u8; HEADER_BYTES] = encode_header(&header()).try_into().unwrap();
    assert!(decode(8, &bytes).unwrap_err().is_corrupt());
    assert!(!is_damaged_header(SegmentId(8), &bytes), "stale bytes of another file are no damage");
}

#[test]
fn an_unknown_version_is_refused_as_such() {
    let mut bytes = encode_header(&header());
    bytes[8] = 2;
    fix_header(&mut bytes);
    let error = decode(7, &bytes).unwrap_err();
    assert!(matches!(&error, Error::Invalid { what, .. } if what.contains("version 2")), "{error}");
}

#[test]
fn row_008_no_header_field_at_its_limits_is_trusted_or_panics() {
    // Each field with its width, forged with a right checksum.
    for (offset, width) in
        [(12, 4), (16, 8), (24, 4), (28, 4), (32, 8), (40, 8), (48, 4), (52, 4), (56, 8), (64, 8)]
            .into_iter()
            .chain([(72, 4), (76, 4), (80, 8)])
    {
        for value in [0, 1, u64::MAX, u64::MAX - 1] {
            let mut bytes = encode_header(&header());
            bytes[offset..offset + width].copy_from_slice(&value.to_le_bytes()[..width]);
            assert!(decode(7, &bytes).is_err() || bytes == encode_header(&header()));
            fix_header(&mut bytes);
            if let Ok(decoded) = decode(7, &bytes) {
                assert_eq!(encode_header(&decoded), bytes, "field {offset} = {value:#x}");
            }
        }
    }
}

#[test]
fn row_008_no_frame_field_at_its_limits_is_trusted_or_panics() {
    for (offset, width) in [(0, 4), (4, 4), (8, 4), (12, 4), (16, 8)] {
        for value in [0, 1, u64::MAX, u64::MAX - 1] {
            let mut bytes = frame(96, FrameKind::Record, 45, 12, b"lotus");
            bytes[offset..offset + width].copy_from_slice(&value.to_le_bytes()[..width]);
            assert!(read(96, &bytes).unwrap_err().is_corrupt(), "field {offset} = {value:#x}");
            if offset == 0 {
                continue;
            }
            fix_frame(96, &mut bytes);
            match read(96, &bytes) {
                Ok(_) => assert_eq!((offset, value & 0xffff_fffe), (12, 0), "{value:#x}"),
                Err(error) => assert!(error.is_corrupt(), "field {offset} = {value:#x}"),
            }
        }
    }
}

#[test]
fn frames_of_every_small_length_come_back() {
    for len in 0..40 {
        let payload: Vec<u8> = (0..len).collect();
        let bytes = frame(4096, FrameKind::More, 45, 0, &payload);
        assert_eq!(bytes.len() % 8, 0);
        assert_eq!(read(4096, &bytes).unwrap(), payload);
    }
}

#[test]
fn every_flipped_bit_of_a_frame_is_caught_padding_included() {
    let bytes = frame(96, FrameKind::Record, 45, 12, b"lotus");
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(read(96, &flipped).unwrap_err().is_corrupt(), "bit {bit}");
    }
}

#[test]
fn row_073_a_frame_in_another_place_or_file_is_refused() {
    let bytes = frame(96, FrameKind::Record, 45, 0, b"lotus");
    assert!(read(104, &bytes).is_err());
    let other = SegmentHeader { salt: header().salt + 1, ..header() };
    let mut reader = Reader::new(Path::new("test"), 96, &bytes);
    assert!(matches!(decode_frame(&other, &mut reader), Ok(Decoded::Broken(_))));
}

#[test]
fn frames_say_how_far_the_log_was_synced() {
    let previous_end = Position { segment: SegmentId(5), offset: 4104 };
    let at = |segment, offset| Position { segment: SegmentId(segment), offset };
    let attested = |synced: Position| {
        let field = synced_field(SegmentId(7), previous_end, synced);
        let bytes = frame(960, FrameKind::Record, 45, field, b"");
        let mut reader = Reader::new(Path::new("test"), 960, &bytes);
        match decode_frame(&header(), &mut reader) {
            Ok(Decoded::Whole(frame)) => frame.attests(&header()),
            _ => panic!("the frame is whole"),
        }
    };
    assert_eq!(attested(at(5, 4096)), None);
    assert_eq!(attested(at(5, 4104)), Some(previous_end));
    assert_eq!(attested(at(7, 96)), Some(at(7, 96)));
    assert_eq!(attested(at(7, 960)), Some(at(7, 960)));
}

// We believed that a right checksum means a number that this build once wrote. It is one anybody can compute:
// the next open counted the epoch on, past the end of its 64 bits, and the process ended there.
#[test]
fn row_064_an_epoch_that_cannot_be_counted_on_is_damage() {
    for (epoch, is_legal) in
        [(0, true), (EPOCH_MAX, true), (EPOCH_MAX + 1, false), (u64::MAX, false)]
    {
        let decoded = decode(7, &encode_header(&SegmentHeader { epoch, ..header() }));
        assert_eq!(decoded.is_ok(), is_legal, "{epoch:#x}");
        assert!(decoded.is_ok_and(|found| found.epoch == epoch) || !is_legal);
    }
}

// We believed that no file is so long. A hole makes it so for nothing, and a position behind 32 GiB
// does not fit its field: it was an assertion that said so.
#[test]
fn row_064_a_frame_that_ends_behind_the_last_position_is_damage() {
    for (offset, is_legal) in
        [(FRAME_END_MAX - 32, true), (FRAME_END_MAX - 24, false), (FRAME_END_MAX, false)]
    {
        let read = read(offset, &frame(offset, FrameKind::Record, 45, 1, b"lotus"));
        assert_eq!(read.is_ok(), is_legal, "{offset:#x}");
        assert!(read.as_ref().err().is_none_or(Error::is_corrupt), "{read:?}");
    }
    let mut bytes = encode_header(&header());
    bytes[56..64].copy_from_slice(&(FRAME_END_MAX + 8).to_le_bytes());
    fix_header(&mut bytes);
    assert!(decode(7, &bytes).expect_err("no segment is so long").is_corrupt());
}
/// Row 64. Offsets in a segment are counted in units of eight bytes, in 32 bits: frames up to 32 GiB
/// attest, decode and verify, and the last unit that there is does not wrap.
#[test]
fn rows_064_065_frames_far_past_4_gib_attest_and_verify_where_they_are_and_nowhere_else() {
    const GIB: u64 = 1 << 30;
    let last = (u64::from(u32::MAX) - 4) * ALIGN;
    for offset in [4 * GIB - 8, 4 * GIB, 4 * GIB + 8, 16 * GIB, last] {
        let mut header = header();
        header.id = SegmentId(9);
        header.salt = 77;
        let at = Position { segment: header.id, offset };
        let synced = synced_field(header.id, Position::default(), at);
        let mut frame = vec![0; FRAME_HEADER_BYTES + 8];
        frame[FRAME_HEADER_BYTES..].copy_from_slice(b"far away");
        seal_frame(header.salt, offset, (FrameKind::Record, SEQ_MAX, synced), 8, &mut frame);
        let found = find_frame(Path::new("far"), &header, offset, &frame).expect("it is whole");
        assert_eq!((found.seq, found.attests(&header)), (SEQ_MAX, Some(at)));
        let body = &frame[FRAME_HEADER_BYTES..];
        let mut reader = Reader::new(Path::new("far"), offset + FRAME_HEADER_LEN, body);
        assert_eq!(check_payload(&header, offset, &found, &mut reader).unwrap(), b"far away");
        // The same offset without its upper half, which is where a cut to 32 bits would look.
        for wrong in [offset & u64::from(u32::MAX), offset + 8, offset - 8] {
            if wrong != offset {
                assert!(find_frame(Path::new("far"), &header, wrong, &frame).is_none(), "{wrong}");
            }
        }
    }
}
