use vfs::Random;

use super::*;
use crate::address::keep;

fn fill(shape: Shape, wide: bool, hashes: &[u64]) -> (Vec<u8>, usize) {
    let mut fill = PageFill::new(shape);
    fill.reset(wide);
    let mut count = 0;
    for (index, hash) in hashes.iter().enumerate() {
        if !fill.push(*hash, &slot(shape, index)) {
            break;
        }
        count += 1;
    }
    let mut out = Vec::new();
    fill.finish(false, 7, 0, &mut out);
    assert!(fill.is_empty());
    (out, count)
}

fn slot(shape: Shape, index: usize) -> Vec<u8> {
    index.to_string().bytes().cycle().take(shape.slot_len()).collect()
}

#[test]
fn a_full_page_gives_back_every_hash_and_slot() {
    let mut random = Random::new(vfs::testing::seed());
    for slot_len in [1, 2, 7, 12, 16, 100, 1000, 1024] {
        for hash_bytes in 5..=8 {
            for wide in [false, true] {
                let shape = Shape::new(slot_len, hash_bytes);
                let mut draw = || keep(random.next_u64() >> if wide { 0 } else { 40 }, hash_bytes);
                let mut hashes: Vec<u64> = (0..2000).map(|_| draw()).collect();
                hashes.sort_unstable();
                let (bytes, count) = fill(shape, wide, &hashes);
                assert_eq!(count, shape.capacity(wide));
                let page = Page::new(shape, &bytes).unwrap();
                assert_eq!((page.count(), page.last()), (count, hashes[count - 1]));
                for (index, hash) in hashes[..count].iter().enumerate() {
                    assert_eq!(
                        (page.hash(index), page.slot(index)),
                        (*hash, &slot(shape, index)[..])
                    );
                    let first = hashes.partition_point(|other| other < hash);
                    assert_eq!(page.lower_bound(*hash), first);
                    assert!(page.is_at(first, *hash));
                }
                assert!(page.padding().iter().all(|(_, bytes)| bytes.iter().all(|b| *b == 0)));
            }
        }
    }
}

#[test]
fn a_narrow_page_takes_no_hash_too_far_from_its_first() {
    let shape = Shape::new(4, 8);
    let far = 1 << 32;
    assert_eq!(fill(shape, false, &[9, 9 + far - 1]).1, 2);
    assert_eq!(fill(shape, false, &[9, 9 + far]).1, 1);
    assert_eq!(fill(shape, true, &[9, 9 + far, u64::MAX]).1, 3);
}

#[test]
fn the_extremes_of_the_hash_are_found() {
    let shape = Shape::new(4, 5);
    for hashes in [[0, 0], [0, keep(u64::MAX, 5)], [keep(u64::MAX, 5); 2]] {
        let (bytes, _) = fill(shape, true, &hashes);
        let page = Page::new(shape, &bytes).unwrap();
        assert!(page.is_at(page.lower_bound(hashes[0]), hashes[0]));
        assert!(page.is_at(page.lower_bound(hashes[1]), hashes[1]));
        assert!(!page.is_at(page.lower_bound(1 << 40), 1 << 40));
    }
}

// Decoders take any bytes: row 18.
#[test]
fn random_bytes_are_no_page_or_one_that_can_be_asked_anything() {
    let mut random = Random::new(vfs::testing::seed());
    let mut pages = 0;
    for _ in 0..3000 {
        let slot_len = u16::try_from(random.below(1024) + 1).unwrap();
        let shape = Shape::new(slot_len, 5 + u8::try_from(random.below(4)).unwrap());
        let mut bytes = random.bytes(PAGE_LEN);
        bytes[5] = 0;
        bytes[6] &= 3;
        bytes[7] = 0;
        let Some(page) = Page::new(shape, &bytes) else { continue };
        pages += 1;
        for hash in [0, u64::MAX, random.next_u64(), page.base(), page.last()] {
            let index = page.lower_bound(hash);
            assert!(index <= page.count());
            page.is_at(index, hash);
        }
        for index in [0, 1, page.count(), 5000] {
            page.slot(index);
            page.hash(index);
        }
        page.padding();
    }
    assert!(pages > 100, "{pages}");
    assert!(Page::new(Shape::new(1, 5), &[0; 100]).is_none());
}
