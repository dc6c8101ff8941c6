use super::*;

#[test]
fn every_field_comes_back() {
    let mut records = Records::default();
    let big = vec![9; LARGE_LEN_MIN];
    let entries = [
        Entry::put(b"k", 1, b"value"),
        Entry { expiry: u64::MAX, ..Entry::put(b"k", 2, b"") },
        Entry { expiry: 5, pointer: u64::MAX, ..Entry::delete(b"k", 3) },
        Entry::pointer(b"k", u64::MAX - 1, 77),
        Entry { expiry: 1, pointer: 2, ..Entry::put(b"k", u64::MAX, &big) },
    ];
    let first = records.push_key(&entries[0]);
    for entry in &entries[1..] {
        assert!(records.push_version(first, entry));
    }
    for entry in &entries {
        let version = records.visible(first, entry.seq).expect("it was inserted");
        assert_eq!(records.entry(first, version), *entry);
        assert_eq!(records.large(version).is_some(), entry.seq == u64::MAX);
    }
    assert_eq!(records.visible(first, 0), None);
    assert_eq!(records.newest_seq(first), u64::MAX);
}

#[test]
fn the_version_visible_at_any_sequence_is_found_in_a_long_chain() {
    let mut records = Records::default();
    let first = records.push_key(&Entry::put(b"hot", 10, b""));
    for index in 1..2_000_u64 {
        records.push_version(first, &Entry::put(b"hot", 10 + index * 3, b""));
    }
    for seq in 0..10 {
        assert_eq!(records.visible(first, seq), None);
    }
    for seq in 10..10 + 2_000 * 3 {
        let version = records.visible(first, seq).expect("the first is visible");
        let want = (10 + (seq - 10) / 3 * 3).min(10 + 1_999 * 3);
        assert_eq!(records.entry(first, version).seq, want);
    }
}

#[test]
fn an_old_version_of_a_hot_key_is_few_jumps_away() {
    let mut records = Records::default();
    let first = records.push_key(&Entry::put(b"hot", 0, b""));
    for seq in 1..100_000 {
        records.push_version(first, &Entry::put(b"hot", seq, b""));
    }
    // Counted the way `visible` walks: 3 log2(n) steps at most, not 100,000.
    let mut steps = 0;
    let mut at = records.split(first).0.link;
    while records.split(at).0.depth != 0 {
        let jump = records.jump_target(at);
        at = if records.split(jump).0.seq > 0 { jump } else { records.split(at).0.link };
        steps += 1;
    }
    assert!(steps <= 50, "{steps} steps");
}

#[test]
fn the_same_sequence_again_replaces_at_every_depth() {
    let mut records = Records::default();
    let first = records.push_key(&Entry::put(b"k", 1, b"a"));
    for seq in 1..100 {
        for value in [b"x".as_slice(), b"y", b"z"] {
            let is_new = records.push_version(first, &Entry::put(b"k", seq, value));
            assert_eq!(is_new, seq > 1 && value == b"x");
        }
        for old in 1..=seq {
            let version = records.visible(first, old).expect("it was inserted");
            let entry = records.entry(first, version);
            assert_eq!((entry.seq, entry.value), (old, b"z".as_slice()));
        }
        assert_eq!(records.visible(first, 0), None);
    }
}

#[test]
fn first_records_are_walked_in_order_of_insertion_and_from_any_on() {
    let mut records = Records::default();
    let mut firsts = Vec::new();
    for index in 0..3_000_u32 {
        let key = index.to_le_bytes();
        let first = records.push_key(&Entry::put(&key, 1, &[1; 30]));
        records.push_version(first, &Entry::delete(&key, 2));
        firsts.push(first);
    }
    assert!(records.firsts(None).eq(firsts.iter().copied()));
    for from in [0, 1, 1_234, 2_999] {
        assert!(records.firsts(Some(firsts[from])).eq(firsts[from + 1..].iter().copied()));
    }
}
