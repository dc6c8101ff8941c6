use vfs::sim::SimDisk;
use vfs::{Checksum, Kind, write_all_at};

use super::*;
use crate::format::{Footer, Header, Trailer, encode_footer, encode_header, encode_trailer};
use crate::page::PageFill;

/// More entries than 32 bits count, on more pages than 32 bits of bytes reach.
const ENTRIES: u64 = 6 << 32;
const PAGES: u32 = 30 << 20;

/// A file of 120 GiB on a sparse disk, of which only the home pages of `hashes` are there.
fn sparse(disk: &SimDisk, hashes: &[u64]) -> (Name, Expect) {
    let name = Name::new(Kind::new("part"), 9);
    let shape = Shape { slot_len: 8, hash_bytes: 6 };
    let header = Header { shape, owner: 7, file_id: name.id, salt: 3 };
    let layout = Layout { prefix: Prefix::ALL, section_bits: 1 };
    let file = disk.root().create_new(name).unwrap();
    let (page, header_crc) = encode_header(&header);
    write_all_at(&*file, &page, 0).unwrap();
    let mut fill = PageFill::new(shape);
    for hash in hashes {
        let first = layout.section(*hash) as u64 * u64::from(PAGES);
        let number = first + home(layout.fraction(*hash), PAGES);
        assert!(fill.push(*hash, &number.to_le_bytes()));
        let mut page = Vec::new();
        fill.finish(false, header.file_salt(), number, &mut page);
        write_all_at(&*file, &page, page_offset(number)).unwrap();
    }
    let pages = u64::from(PAGES);
    let section = |end| Section { end, home_pages: PAGES };
    let trailer = Trailer { sections: vec![section(pages), section(2 * pages)], listed: vec![] };
    let bytes = encode_trailer(&trailer);
    let trailer_at = page_offset(2 * pages);
    let footer = Footer {
        layout,
        entries: ENTRIES,
        pages: 2 * pages,
        listed: 0,
        header_crc,
        trailer_crc: Checksum::of(header.file_salt(), trailer_at, &bytes),
    };
    let (end, footer_crc) = encode_footer(&footer, header.file_salt());
    write_all_at(&*file, &[bytes, end].concat(), trailer_at).unwrap();
    (name, Expect { len: footer.file_len().unwrap(), footer_crc, entries: ENTRIES })
}

#[test]
fn slots_far_past_4_gib_and_2_to_the_32_entries_are_found_in_a_sparse_file() {
    let disk = SimDisk::new(1);
    let mut random = vfs::Random::new(vfs::testing::seed());
    let mut hashes: Vec<u64> = (0..500).map(|_| random.next_u64() << 16).collect();
    hashes.extend([0, u64::MAX << 16]);
    hashes.sort_unstable();
    let (name, expect) = sparse(&disk, &hashes);
    assert!(expect.len > 200 << 30, "{expect:?}");
    let shape = Shape { slot_len: 8, hash_bytes: 6 };
    let run = Run::open(&disk.root(), name, shape, 7, ReadMode::Positional, expect).unwrap();
    assert_eq!((run.entries(), run.pages()), (ENTRIES, 2 * u64::from(PAGES)));
    let mut far = 0;
    for hash in &hashes {
        let place = run.locate(*hash).unwrap();
        let mut found = Vec::new();
        let mut visit = |slot: &[u8]| {
            found.push(u64::from_le_bytes(slot.try_into().unwrap()));
            Ok(ControlFlow::Continue(()))
        };
        let end = run.candidates(*hash, place, &mut visit).unwrap();
        assert!(end.is_continue() && found == [place.page], "{found:?}");
        far += u32::from(page_offset(place.page) > 4 << 30);
    }
    assert!(far > 400, "{far}");
    // A page that was never written is damage, not an empty page.
    let hole = hashes[250] ^ 1 << 45;
    let place = run.locate(hole).unwrap();
    let error = run.candidates(hole, place, &mut |_| Ok(ControlFlow::Continue(()))).unwrap_err();
    assert!(error.is_corrupt(), "{error}");
}
