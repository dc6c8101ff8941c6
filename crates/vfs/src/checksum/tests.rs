use std::collections::HashSet;

use super::*;
use crate::random::Random;
use crate::testing::seed;

#[test]
fn sums_are_crc_32_of_ieee_started_from_the_seed() {
    // The check value of the catalogue of CRC algorithms, for a start of 0.
    let (salt, offset) = (0, 0);
    assert_eq!(super::seed(salt, offset), 0);
    assert_eq!(Checksum::of(salt, offset, b"123456789"), 0xcbf4_3926);
    // Frozen: files hold these.
    assert_eq!(Checksum::of(7, 4096, b"lotus"), 0xf0f6_0041);
}

#[test]
fn pieces_sum_up_to_the_whole() {
    let bytes = Random::new(seed()).bytes(300);
    for cut in 0..bytes.len() {
        let mut sum = Checksum::at(3, 5);
        sum.update(&bytes[..cut]);
        sum.update(&bytes[cut..]);
        assert_eq!(sum.finish(), Checksum::of(3, 5, &bytes));
    }
}

#[test]
fn row_073_the_same_bytes_have_another_sum_in_every_other_place() {
    let mut sums = HashSet::new();
    for salt in 0..40 {
        for page in 0..40 {
            let fresh = sums.insert(Checksum::of(salt, page * 4096, b"lotus"));
            assert!(fresh, "salt {salt}, page {page}");
        }
    }
}

#[test]
fn every_single_bit_flip_is_caught() {
    let mut bytes = Random::new(seed()).bytes(64);
    let sum = Checksum::of(1, 2, &bytes);
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(Checksum::of(1, 2, &bytes), sum, "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}
