use std::path::Path;

use vfs::testing::check_dump;

use super::*;
use crate::page::PageFill;

const DOC: &str = include_str!("../../../../docs/formats/diskhash.md");

fn shape() -> Shape {
    Shape::new(8, 5)
}

fn header() -> Header {
    let (owner, file_id, salt) = (0x0102_0304_0506_0708, 0x12, 0x1112_1314_1516_1718);
    Header { shape: shape(), owner, file_id, salt }
}

fn page(wide: bool) -> Vec<u8> {
    let mut fill = PageFill::new(shape());
    fill.reset(wide);
    assert!(fill.push(0x1122_3344_5500_0000, b"lily.001"));
    assert!(fill.push(0x1122_3344_5500_0000, b"rose.001"));
    assert!(fill.push(0x1122_3344_5700_0000, b"lotus..1"));
    let mut out = Vec::new();
    fill.finish(!wide, header().file_salt(), 0, &mut out);
    out
}

fn trailer() -> Trailer {
    let sections = vec![Section { end: 2, home_pages: 1 }, Section { end: 2, home_pages: 0 }];
    Trailer { sections, listed: vec![7, 300] }
}

fn footer() -> Footer {
    let layout = Layout { prefix: Prefix { bits: 3, start: 0 }, section_bits: 1 };
    let trailer_crc =
        Checksum::of(header().file_salt(), page_offset(2), &encode_trailer(&trailer()));
    let (_, header_crc) = encode_header(&header());
    Footer { layout, entries: 4, pages: 2, listed: 2, header_crc, trailer_crc }
}

#[test]
fn bytes_are_as_documented() {
    let (bytes, _) = encode_header(&header());
    check_dump(DOC, "header", &bytes[..HEADER_FIELDS_LEN]);
    check_dump(DOC, "header checksum", &bytes[HEADER_CRC_AT..]);
    let slots_at = shape().slots_at(false);
    let bytes = page(false);
    check_dump(DOC, "page", &bytes[..36]);
    check_dump(DOC, "slots", &bytes[slots_at..slots_at + 24]);
    check_dump(DOC, "wide page", &page(true)[..39]);
    check_dump(DOC, "trailer", &encode_trailer(&trailer()));
    check_dump(DOC, "footer", &encode_footer(&footer(), header().file_salt()).0);
}

#[test]
fn what_was_encoded_is_decoded() {
    let path = Path::new("f");
    let (bytes, crc) = encode_header(&header());
    assert_eq!(decode_header(path, 0x12, &bytes).unwrap(), (header(), crc));
    assert!(decode_header(path, 0x13, &bytes).unwrap_err().is_corrupt());
    let salt = header().file_salt();
    verify_page(path, salt, 0, &page(false)).unwrap();
    assert!(verify_page(path, salt, 1, &page(false)).unwrap_err().is_corrupt());
    let found = decode_page_header(shape(), &page(false)).unwrap();
    assert!(found.count == 3 && found.continues && !found.wide && found.span == 2);
    let (bytes, crc) = encode_footer(&footer(), salt);
    let len = footer().file_len().unwrap();
    assert_eq!(decode_footer(path, salt, len, &bytes).unwrap(), (footer(), crc));
    let found = decode_trailer(path, salt, &footer(), &encode_trailer(&trailer())).unwrap();
    assert_eq!(found, trailer());
}

#[test]
fn every_flipped_bit_is_refused_by_name_and_offset() {
    let path = Path::new("f");
    let salt = header().file_salt();
    let len = footer().file_len().unwrap();
    type Judge<'a> = &'a dyn Fn(&[u8]) -> Result<()>;
    let cases: [(Vec<u8>, u64, Judge<'_>); 4] = [
        (encode_header(&header()).0, 0, &|bytes| decode_header(path, 0x12, bytes).map(drop)),
        (page(false), page_offset(0), &|bytes| verify_page(path, salt, 0, bytes)),
        (encode_trailer(&trailer()), page_offset(2), &|bytes| {
            decode_trailer(path, salt, &footer(), bytes).map(drop)
        }),
        (encode_footer(&footer(), salt).0, len - FOOTER_LEN as u64, &|bytes| {
            decode_footer(path, salt, len, bytes).map(drop)
        }),
    ];
    for (mut bytes, start, judge) in cases {
        judge(&bytes).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                bytes[at] ^= 1 << bit;
                match judge(&bytes).unwrap_err() {
                    Error::Corrupt { path: found, offset, .. } => {
                        let end = start + bytes.len() as u64;
                        assert!(found == path && start <= offset && offset < end);
                    }
                    error => panic!("{error}"),
                }
                bytes[at] ^= 1 << bit;
            }
        }
    }
}

// Rows 8 and 18: any bytes, also such with a right checksum.
#[test]
fn forged_footers_and_trailers_are_refused_without_a_panic() {
    let mut random = vfs::Random::new(vfs::testing::seed());
    let path = Path::new("f");
    let salt = header().file_salt();
    let sound = footer();
    let mut refused = 0;
    for _ in 0..5000 {
        let mut forged = sound;
        let extreme = [0, 1, 1 << 33, u64::MAX - 1, u64::MAX][random.index(5)];
        match random.below(4) {
            0 => forged.pages = extreme,
            1 => forged.listed = extreme,
            2 => forged.layout.section_bits = u8::try_from(random.below(25)).unwrap(),
            _ => forged.layout.prefix.start = random.next_u64(),
        }
        let len = sound.file_len().unwrap();
        let Some(forged_len) = forged.file_len() else {
            refused += 1;
            continue;
        };
        let (mut bytes, _) = encode_footer(&forged, salt);
        let at = len - FOOTER_LEN as u64;
        let crc = Checksum::of(salt, at, &bytes[..FOOTER_CRC_AT]);
        bytes[FOOTER_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        let found = decode_footer(path, salt, len, &bytes);
        let legal = forged_len == len && forged.layout.prefix.is_sound();
        assert_eq!(found.is_ok(), legal);
        refused += u32::from(found.is_err());
    }
    assert!(refused > 1000);
    for _ in 0..5000 {
        let mut forged = trailer();
        let section = &mut forged.sections[random.index(2)];
        section.end = [0, 1, 2, 3, u64::MAX][random.index(5)];
        section.home_pages = [0, 1, 2, 3, u32::MAX][random.index(5)];
        let bytes = encode_trailer(&forged);
        let trailer_crc = Checksum::of(salt, page_offset(2), &bytes);
        if let Ok(found) = decode_trailer(path, salt, &Footer { trailer_crc, ..sound }, &bytes) {
            assert!(found.sections.is_sorted_by_key(|section| section.end));
            assert_eq!(found.sections[1].end, 2);
        }
    }
}
