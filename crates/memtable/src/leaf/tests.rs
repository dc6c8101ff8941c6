use super::*;
use crate::entry::Entry;

/// A leaf with these keys, and its records; `sorted_first` of them are sorted by a fill.
fn leaf_of(keys: &[Vec<u8>], prefix_len: usize, sorted_first: usize) -> (Leaf, Records) {
    let mut records = Records::default();
    let mut leaf = Leaf::new(prefix_len);
    for (index, key) in keys.iter().enumerate() {
        if index == sorted_first {
            let sorted = leaf.to_sorted(&records);
            leaf.fill(sorted.slots(), prefix_len, &records);
        }
        let first = records.push_key(&Entry::put(key, 1, b""));
        leaf.append(key, first);
    }
    (leaf, records)
}

/// Keys that tie in every way heads can tie: shared words, trailing zeros, prefixes of another.
fn tying_keys() -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    for zeros in 0..20 {
        keys.push([b"pre".as_slice(), &vec![0; zeros]].concat());
    }
    for number in 0..22 {
        keys.push(format!("pre/a/rather/long/way/to/{number}").into_bytes());
        keys.push(format!("pre/{}", "x".repeat(number)).into_bytes());
    }
    // An order that is neither sorted nor random, the same every time.
    keys.sort_by_key(|key| key.iter().fold(7_u32, |sum, byte| sum * 31 % 1_009 + u32::from(*byte)));
    keys
}

#[test]
fn a_leaf_reads_in_key_order_however_its_heads_tie() {
    let keys = tying_keys();
    assert_eq!(keys.len(), LEAF_CAP);
    for sorted_first in [0, 1, 17, 63, 64] {
        let (leaf, records) = leaf_of(&keys, 3, sorted_first);
        let sorted = leaf.to_sorted(&records);
        let mut want = keys.clone();
        want.sort();
        let found: Vec<&[u8]> = sorted.slots().iter().map(|slot| records.key(slot.1)).collect();
        assert_eq!(found, want);
        assert!(sorted.slots().iter().all(|slot| slot.0 == head(records.key(slot.1), 3)));
    }
}

#[test]
fn the_rank_of_any_bytes_is_how_many_keys_are_before_them() {
    let keys = tying_keys();
    let (leaf, records) = leaf_of(&keys, 3, 0);
    let sorted = leaf.to_sorted(&records);
    let mut asked = keys.clone();
    asked.extend(keys.iter().map(|key| key[..key.len() - 1].to_vec()));
    asked.extend(keys.iter().map(|key| [key, b"!".as_slice()].concat()));
    asked.extend([b"".to_vec(), b"a".to_vec(), b"pr".to_vec(), b"prf".to_vec(), b"z".to_vec()]);
    for key in &asked {
        let less = keys.iter().filter(|held| *held < key).count();
        let equal = keys.iter().filter(|held| *held == key).count();
        assert_eq!(sorted.rank(key, false, &records), less, "{key:?}");
        assert_eq!(sorted.rank(key, true, &records), less + equal, "{key:?}");
    }
}

#[test]
fn heads_order_as_the_bytes_they_are_made_of() {
    let words: [&[u8]; 6] = [b"", b"\0\x01", b"\x01", b"ab", b"abcdefgh", b"\xff"];
    for pair in words.windows(2) {
        assert!(head(pair[0], 0) < head(pair[1], 0));
    }
    assert_eq!(head(b"abcdefghij", 2), head(b"cdefghij", 0));
    assert_eq!(head(b"ab", 2), 0);
    assert_eq!(head(b"ab", 9), 0);
}

#[test]
fn another_prefix_changes_heads_and_not_the_order() {
    let keys = tying_keys();
    let (mut leaf, records) = leaf_of(&keys, 3, 0);
    leaf.rehead(1, &records);
    let sorted = leaf.to_sorted(&records);
    assert!(sorted.slots().iter().all(|slot| slot.0 == head(records.key(slot.1), 1)));
    assert!(sorted.slots().is_sorted_by_key(|slot| records.key(slot.1)));
}

/// Each key begins with the one before it, so at each of a thousand levels one leaves.
#[test]
fn nested_keys_are_sorted_on_a_small_stack() {
    let sorted = || {
        let mut records = Records::default();
        let mut keys: Vec<Vec<u8>> =
            (0..1500).map(|nested| [vec![b'a'; 8 * nested], vec![b'b']].concat()).collect();
        keys.extend((0..100).map(|zeros| vec![0; zeros]).filter(|key| !key.is_empty()));
        let mut slots = Vec::new();
        for key in &keys {
            slots.push((head(key, 0), records.push_key(&Entry::put(key, 1, b""))));
        }
        sort(&mut slots, 0, &records);
        keys.sort();
        let found: Vec<&[u8]> = slots.iter().map(|slot| records.key(slot.1)).collect();
        assert_eq!(found, keys);
        assert!(slots.iter().all(|slot| slot.0 == head(records.key(slot.1), 0)));
    };
    let thread = std::thread::Builder::new().stack_size(128 << 10).spawn(sorted);
    thread.expect("a thread").join().expect("nothing failed");
}
