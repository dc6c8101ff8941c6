use super::*;

#[test]
fn the_hash_of_a_key_never_changes() {
    // XXH3_64bits of the reference implementation, seed 0.
    assert_eq!(key_hash(b"").0, 0x2d06_8005_38d3_94c2);
    // One per branch of the algorithm: 1-3, 4-8, 9-16, 17-128, 129-240 and more bytes.
    let lens = [3, 8, 16, 24, 174, 1000];
    let hashes = lens.map(|len| key_hash(&vec![b'k'; len]).0);
    assert_eq!(hashes, HASHES);
}

const HASHES: [u64; 6] = [
    11_954_884_042_756_383_082,
    1_069_330_861_007_445_507,
    8_190_316_921_787_565_267,
    11_879_954_296_385_858_275,
    1_652_618_302_118_499_229,
    3_498_420_548_713_998_201,
];

#[test]
fn what_was_put_in_is_contained() {
    let mut random = vfs::Random::new(9);
    for (count, bits) in [(1, 10), (63 * 51, 10), (10_000, 1), (10_000, 64)] {
        let hashes: Vec<KeyHash> = (0..count).map(|_| KeyHash(random.next_u64())).collect();
        let (blocks, probes) = (block_count(count, bits), probe_count(bits));
        let pages = build(&hashes, blocks, probes, 1, 5);
        assert_eq!(pages.len(), blocks.div_ceil(BLOCKS_PER_PAGE) as usize * PAGE_LEN);
        for hash in hashes {
            let (page, at) = block_place(block_of(hash, blocks));
            let start = page as usize * PAGE_LEN + at;
            let block = pages[start..].first_chunk().unwrap();
            assert!(block_contains(block, hash, probes));
        }
    }
}

#[test]
fn extreme_hashes_have_a_block() {
    for blocks in [1, 2, 63, 64, u32::MAX - 63] {
        assert_eq!(block_of(KeyHash(0), blocks), 0);
        assert_eq!(block_of(KeyHash(u64::MAX), blocks), blocks - 1);
    }
    assert_eq!(block_count(u64::MAX, 64), u32::MAX - 63);
    assert_eq!((block_count(0, 10), block_count(9, 0), block_count(1, 1)), (0, 0, 1));
}
