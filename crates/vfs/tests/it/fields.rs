//! Fields of a file, whatever its bytes.

use std::path::Path;

use proptest::prelude::*;
use vfs::{Error, Reader, Writer};

#[derive(Clone, Debug)]
enum Field {
    U8(u8),
    U16(u16),
    U32(u32),
    U64(u64),
    Varint(u64),
    Bytes(Vec<u8>),
}

fn any_field() -> impl Strategy<Value = Field> {
    prop_oneof![
        any::<u8>().prop_map(Field::U8),
        any::<u16>().prop_map(Field::U16),
        any::<u32>().prop_map(Field::U32),
        any::<u64>().prop_map(Field::U64),
        any::<u64>().prop_map(Field::Varint),
        (0..64_u32).prop_map(|bits| Field::Varint(1 << bits)),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(Field::Bytes),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_and_every_cut_is_corrupt_inside_the_bytes(
        fields in proptest::collection::vec(any_field(), 0..20),
        start in 0_u64..1 << 40,
    ) {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        for field in &fields {
            match field {
                Field::U8(value) => writer.u8(*value),
                Field::U16(value) => writer.u16(*value),
                Field::U32(value) => writer.u32(*value),
                Field::U64(value) => writer.u64(*value),
                Field::Varint(value) => writer.varint(*value),
                Field::Bytes(value) => writer.bytes(value),
            };
        }
        for cut in 0..=bytes.len() {
            let mut reader = Reader::new(Path::new("fields"), start, &bytes[..cut]);
            let result = read_all(&mut reader, &fields);
            if cut == bytes.len() {
                prop_assert!(result.is_ok(), "{result:?}");
                prop_assert!(reader.end("end").is_ok());
                prop_assert_eq!(reader.offset(), start + bytes.len() as u64);
            } else {
                let Err(Error::Corrupt { offset, path, .. }) = result else {
                    return Err(TestCaseError::fail(format!("{result:?}")));
                };
                prop_assert!(start <= offset && offset <= start + cut as u64);
                prop_assert_eq!(path, Path::new("fields"));
            }
        }
    }

    /// Rows 8, 18, 70, 71: no decoder panics, whatever it is asked to read from whatever bytes.
    #[test]
    fn row_018_a_reader_never_panics(
        bytes in proptest::collection::vec(any::<u8>(), 0..40),
        calls in proptest::collection::vec((0_u8..9, any::<usize>()), 0..20),
    ) {
        let mut reader = Reader::new(Path::new("hostile"), u64::MAX - 100, &bytes);
        for (call, len) in calls {
            let before = reader.remaining();
            let failed = match call {
                0 => reader.u8("field").is_err(),
                1 => reader.u16("field").is_err(),
                2 => reader.u32("field").is_err(),
                3 => reader.u64("field").is_err(),
                4 => reader.varint("field").is_err(),
                5 => reader.bytes("field", len).is_err(),
                6 => reader.bytes("field", len % 8).is_err(),
                7 => reader.expect("field", &bytes[..len % (bytes.len() + 1)]).is_err(),
                _ => reader.array::<3>("field").is_err(),
            };
            prop_assert!(reader.remaining() <= before);
            prop_assert_eq!(reader.rest().len(), reader.remaining());
            if failed {
                continue;
            }
        }
    }

    #[test]
    fn a_varint_has_one_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
        let mut reader = Reader::new(Path::new("varint"), 0, &bytes);
        if let Ok(value) = reader.varint("value") {
            let mut again = Vec::new();
            Writer::new(&mut again).varint(value);
            prop_assert_eq!(&bytes[..bytes.len() - reader.remaining()], &again[..]);
        }
    }
}

fn read_all(reader: &mut Reader<'_>, fields: &[Field]) -> vfs::Result<()> {
    for field in fields {
        match field {
            Field::U8(value) => assert_eq!(reader.u8("u8")?, *value),
            Field::U16(value) => assert_eq!(reader.u16("u16")?, *value),
            Field::U32(value) => assert_eq!(reader.u32("u32")?, *value),
            Field::U64(value) => assert_eq!(reader.u64("u64")?, *value),
            Field::Varint(value) => assert_eq!(reader.varint("varint")?, *value),
            Field::Bytes(value) => assert_eq!(reader.bytes("bytes", value.len())?, value),
        }
    }
    Ok(())
}

#[test]
fn an_error_names_the_field_its_place_and_both_values() {
    let mut reader = Reader::new(Path::new("seg"), 16, b"WSEGx");
    reader.expect("magic", b"WSEG").expect("right");
    let error = reader.expect("version", &[1]).expect_err("wrong");
    let text = "version in seg at byte 20: expected 0x1, found 0x78";
    assert_eq!(error.to_string(), text);
    let error = reader.u32("length").expect_err("too short");
    assert_eq!(error.to_string(), "length in seg at byte 21: expected 0x4, found 0x0");
}

#[test]
fn padding_is_zeros_up_to_the_next_multiple() {
    let mut out = b"lotus".to_vec();
    let mut writer = Writer::new(&mut out);
    writer.pad(8).pad(8);
    assert_eq!((writer.len(), writer.is_empty()), (8, false));
    assert_eq!(out, b"lotus\0\0\0");
}

#[test]
fn a_version_that_this_build_does_not_know_is_invalid_and_says_both() {
    let bytes = [[1, 0, 0, 0], [2, 0, 0, 0]].concat();
    let mut reader = Reader::new(Path::new("dir/file"), 8, &bytes);
    reader.version("format version of a note", 1).expect("it is known");
    let error = reader.version("format version of a note", 1).expect_err("it is newer");
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("format version of a note 2, this build knows 1"), "{text}");
    assert!(text.contains("dir/file"), "{text}");
    let cut = reader.version("format version of a note", 1).expect_err("nothing is left");
    assert!(cut.is_corrupt(), "{cut}");
}
