use super::*;

/// As random as what a table draws.
const SEED: [u64; 2] = [0x8bb8_4b93_962e_acc9, 0x4b33_a62e_d433_d4a3];

#[test]
fn every_address_is_found_through_growth_and_collisions() {
    let mut point = Point::new();
    // Few distinct hashes, at both ends of the range, so that probes wrap around the end.
    let hash_of = |address: u32| if address.is_multiple_of(2) { u32::MAX } else { address % 7 };
    for address in 1..2_000 {
        point.add(hash_of(address), Address(address));
        for known in [1, address / 2 + 1, address] {
            let found = point.find(hash_of(known), |it| it == Address(known));
            assert_eq!(found, Some(Address(known)));
        }
    }
    assert_eq!(point.find(hash_of(2), |it| it == Address(5_000)), None);
    assert_eq!(point.used(), 1_999);
}

#[test]
fn an_empty_index_finds_nothing_and_holds_nothing() {
    let point = Point::new();
    assert_eq!(point.find(0, |_| true), None);
    assert_eq!(point.bytes(), 0);
}

#[test]
fn keys_of_all_lengths_and_similar_keys_get_hashes_of_their_own() {
    let mut hashes = std::collections::HashSet::new();
    let mut keys: Vec<Vec<u8>> = (0..400).map(|len| vec![0; len]).collect();
    for len in 1..100 {
        for index in 0..len {
            let mut key = vec![0; len];
            key[index] = 1;
            keys.push(key);
        }
    }
    for number in 0..100_000_u64 {
        keys.push([&number.to_le_bytes(), b"tail".as_slice()].concat());
    }
    for key in &keys {
        hashes.insert(hash(SEED, key));
    }
    // About 1.3 pairs out of n = 105,350 keys are expected to share one of 2^32 hashes.
    assert!(keys.len() - hashes.len() < 12, "{} of {}", hashes.len(), keys.len());
}

#[test]
fn another_seed_gives_other_hashes() {
    let same = (0..1_000_u32).filter(|number| {
        hash(SEED, &number.to_le_bytes()) == hash([SEED[1], SEED[0]], &number.to_le_bytes())
    });
    assert!(same.count() < 3);
}
