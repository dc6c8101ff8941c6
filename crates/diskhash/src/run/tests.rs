use vfs::sim::SimDisk;
use vfs::{Checksum, Kind, write_all_at};

use super::*;
use crate::address::keep;
use crate::format::{Footer, Header, Trailer, encode_footer, encode_header, encode_trailer};
use crate::page::PageFill;
use crate::scan::RunCursor;
use crate::writer::RunWriter;

/// More entries than 32 bits count, on more pages than 32 bits of bytes reach.
const ENTRIES: u64 = 4 << 32;
const PAGES: u32 = 30 << 20;

/// A file of 120 GiB on a sparse disk, of which only the home pages of `hashes` are there.
fn sparse(disk: &SimDisk, hashes: &[u64]) -> (Name, Expect) {
    let name = Name::new(Kind::new("part"), 9);
    let shape = Shape::new(8, 6);
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
    // The test fills a page for each. Two in one page were once taken for a lost slot.
    hashes.dedup_by_key(|hash| (*hash >> 63, home(*hash << 1, PAGES)));
    let (name, expect) = sparse(&disk, &hashes);
    assert!(expect.len > 200 << 30, "{expect:?}");
    let shape = Shape::new(8, 6);
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

/// A run of some pages, as its bytes.
fn written(disk: &SimDisk, hashes: &[u64]) -> (Header, Expect, Vec<u8>) {
    let name = Name::new(Kind::new("run"), 9);
    let header = Header { shape: Shape::new(8, 5), owner: 7, file_id: 9, salt: 3 };
    let layout = Layout { prefix: Prefix::ALL, section_bits: 1 };
    let file = disk.root().create_new(name).unwrap();
    let mut writer = RunWriter::new(file, header, layout, None);
    for hash in hashes {
        writer.add(*hash, &hash.to_le_bytes()).unwrap();
    }
    let expect = writer.finish().unwrap();
    (header, expect, disk.read_file(name).unwrap())
}

/// Looks everything up and walks it; errors must be damage.
fn exercise(run: &Arc<Run>, hashes: &[u64]) -> u32 {
    let mut damaged = 0;
    for hash in hashes.iter().step_by(7).chain([&0, &u64::MAX]) {
        let hash = keep(*hash, 5);
        let Some(place) = run.locate(hash) else { continue };
        if let Err(error) = run.candidates(hash, place, &mut |_| Ok(ControlFlow::Continue(()))) {
            assert!(error.is_corrupt());
            damaged += 1;
        }
    }
    let walk = || {
        let mut cursor = RunCursor::new(run, Prefix::ALL)?;
        let mut before = 0;
        while let Some(hash) = cursor.hash() {
            assert!(before <= hash && cursor.slot().len() == 8);
            before = hash;
            cursor.advance()?;
        }
        Ok::<(), Error>(())
    };
    damaged + walk().map_or_else(|error| u32::from(error.is_corrupt()), |()| 0)
}

// Rows 8, 18: pages forged together with their checksums.
#[test]
fn forged_pages_with_right_checksums_give_no_panic_and_no_hang() {
    let disk = SimDisk::new(1);
    let mut random = vfs::Random::new(vfs::testing::seed());
    let mut hashes: Vec<u64> = (0..3000).map(|_| keep(random.next_u64(), 5)).collect();
    hashes.sort_unstable();
    let (header, expect, sound) = written(&disk, &hashes);
    let name = Name::new(Kind::new("run"), header.file_id);
    let open = || {
        let mode = ReadMode::Positional;
        Run::open(&disk.root(), name, header.shape, header.owner, mode, expect).map(Arc::new)
    };
    assert_eq!(exercise(&open().unwrap(), &hashes), 0);
    let mut damaged = 0;
    for _ in 0..400 {
        let mut bytes = sound.clone();
        let number = random.below(open().unwrap().pages());
        let at = usize::try_from(page_offset(number)).unwrap();
        for _ in 0..random.below(4) + 1 {
            let limit = [PAGE_HEADER_LEN, PAGE_LEN][random.index(2)];
            let target = at + 4 + random.index(limit - 4);
            bytes[target] = [0, 1, 3, 0x7f, 0xff][random.index(5)];
        }
        let salt = header.file_salt();
        let crc = Checksum::of(salt, page_offset(number), &bytes[at + 4..at + PAGE_LEN]);
        bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
        disk.write_file(name, &bytes);
        damaged += exercise(&open().unwrap(), &hashes);
    }
    assert!(damaged > 100, "{damaged}");
}
