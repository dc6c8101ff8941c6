use std::path::Path;

use vfs::testing::check_dump;

use super::*;

const DUMPS: &str = include_str!("../../../../docs/formats/remap.md");
const HEADER: Header =
    Header { db_id: 0x5eed, file_id: 18, salt: 0x1112_1314_1516_1718, segment: 3 };

fn entries() -> Vec<u8> {
    let mut page = begin_page(PageKind::Entries);
    encode_entry(units(96), 0, 144, &mut page);
    encode_entry(units(400), 0, 120, &mut page);
    seal_page(HEADER.file_salt(), 1, 2, &mut page);
    page
}

fn footer(header_crc: u32) -> Footer {
    let (len, address_len, records) = (4 * PAGE_BYTES, 4096, 40);
    Footer { len, count: 2, address_len, records, targets: 1, header_crc }
}

#[test]
fn bytes_are_as_documented() {
    let (header, header_crc) = encode_header(&HEADER);
    check_dump(DUMPS, "header", &header[..52]);
    assert!(header[52..].iter().all(|byte| *byte == 0) && header.len() == PAGE_LEN);
    let entries = entries();
    check_dump(DUMPS, "entries", &entries[..PAGE_HEADER_LEN + 2 * ENTRY_LEN]);
    let mut numbers = begin_page(PageKind::Numbers);
    numbers.extend_from_slice(&7_u32.to_le_bytes());
    numbers.extend_from_slice(&units(96).to_le_bytes());
    seal_page(HEADER.file_salt(), 2, 2, &mut numbers);
    check_dump(DUMPS, "numbers", &numbers[..PAGE_HEADER_LEN + 8]);
    let (page, _) = encode_footer(HEADER.file_salt(), 3, &footer(header_crc));
    check_dump(DUMPS, "footer", &page[..56]);
}

#[test]
fn pages_read_back_as_they_were_written_and_nowhere_else() {
    let path = Path::new("table");
    let (page, crc) = encode_header(&HEADER);
    let expected = Header { salt: 0, ..HEADER };
    assert_eq!(decode_header(path, expected, &page).expect("it is whole"), (HEADER, crc));
    for other in [
        Header { db_id: 1, ..expected },
        Header { file_id: 19, ..expected },
        Header { segment: 4, ..expected },
    ] {
        assert!(decode_header(path, other, &page).expect_err("another file").is_corrupt());
    }
    let salt = HEADER.file_salt();
    let (page, crc) = encode_footer(salt, 3, &footer(7));
    assert_eq!(decode_footer(path, salt, 3, &page).expect("it is whole"), (footer(7), crc));
    for number in [2, 4] {
        assert!(decode_footer(path, salt, number, &page).expect_err("elsewhere").is_corrupt());
    }
    let page = entries();
    let (_, count, mut reader) =
        open_page(path, salt, 1, PageKind::Entries, &page).expect("it is whole");
    assert_eq!(count, 2);
    assert_eq!(decode_entry(&mut reader).expect("the first"), (96, 0, 144));
    assert_eq!(decode_entry(&mut reader).expect("the second"), (400, 0, 120));
}

#[test]
fn a_footer_whose_counts_do_not_fit_the_file_is_refused() {
    let salt = HEADER.file_salt();
    for (count, targets) in [(0, 0), (409, 1), (u64::MAX, 1), (2, u32::MAX), (2, 1022)] {
        let footer = Footer { count, targets, ..footer(7) };
        let (page, _) = encode_footer(salt, 3, &footer);
        let found = decode_footer(Path::new("table"), salt, 3, &page);
        assert!(found.expect_err("three pages hold less").is_corrupt(), "{count} {targets}");
    }
}

#[test]
fn every_bit_flip_of_every_page_is_caught() {
    let path = Path::new("table");
    let salt = HEADER.file_salt();
    let expected = Header { salt: 0, ..HEADER };
    let pages = [encode_header(&HEADER).0, entries(), encode_footer(salt, 3, &footer(7)).0];
    for (kind, page) in pages.iter().enumerate() {
        for bit in 0..page.len() * 8 {
            // Every bit of what is used, some of the rest.
            if bit > 80 * 8 && !bit.is_multiple_of(97) {
                continue;
            }
            let mut flipped = page.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let caught = match kind {
                0 => decode_header(path, expected, &flipped).is_err(),
                1 => open_page(path, salt, 1, PageKind::Entries, &flipped).is_err(),
                _ => decode_footer(path, salt, 3, &flipped).is_err(),
            };
            assert!(caught, "page {kind}, bit {bit}");
        }
    }
}

#[test]
fn pages_of_any_length_and_content_are_errors_not_panics() {
    let mut random = vfs::Random::new(vfs::testing::seed());
    let path = Path::new("table");
    for _ in 0..300 {
        let len = random.index(PAGE_LEN + 10);
        let bytes = random.bytes(len);
        assert!(decode_header(path, HEADER, &bytes).is_err());
        assert!(decode_footer(path, 1, 3, &bytes).is_err());
        assert!(open_page(path, 1, 1, PageKind::Numbers, &bytes).is_err());
    }
}

// We believed that the length of an address space is one of a file. The next collection rounds it up, and
// of one that a forger wrote the process died there.
#[test]
fn row_064_an_address_space_longer_than_its_offsets_is_damage() {
    let path = Path::new("table");
    let header_crc = 7;
    for (address_len, is_legal) in [
        (0, true),
        (ADDRESS_LEN_MAX, true),
        (ADDRESS_LEN_MAX - 1, false),
        (ADDRESS_LEN_MAX + 8, false),
        (u64::MAX, false),
    ] {
        let footer = Footer { address_len, ..footer(header_crc) };
        let (page, _) = encode_footer(HEADER.file_salt(), 3, &footer);
        let decoded = decode_footer(path, HEADER.file_salt(), 3, &page);
        assert_eq!(decoded.is_ok(), is_legal, "{address_len:#x}");
    }
}
