use std::collections::BTreeSet;

use super::*;

#[test]
fn keys_differ_also_those_of_no_entry() {
    let dataset = Dataset::new(10_000, 10, 3);
    let keys: BTreeSet<[u8; KEY_LEN]> = (0..20_000).map(|number| dataset.key(number)).collect();
    assert_eq!(keys.len(), 20_000);
    assert!(keys.iter().flatten().all(u8::is_ascii_hexdigit));
}

#[test]
fn equal_seeds_give_equal_entries_and_others_do_not() {
    let (a, b, c) = (Dataset::new(9, 99, 1), Dataset::new(9, 99, 1), Dataset::new(9, 99, 2));
    assert!(
        (0..9).all(|number| a.key(number) == b.key(number) && a.value(number) == b.value(number))
    );
    assert!((0..9).all(|number| a.key(number) != c.key(number)));
}

#[test]
fn values_have_their_length_up_to_the_largest_number() {
    let dataset = Dataset::new(1, POOL_LEN / 2, 1);
    for number in [0, 1, u64::MAX / 2, u64::MAX] {
        assert_eq!(dataset.value(number).len(), POOL_LEN / 2);
    }
}
