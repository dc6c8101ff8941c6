use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use memtable::{Entry, KEY_LEN_MAX, Kind, Memtable, Order};

fn panics(run: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(run)).is_err()
}

#[test]
fn row_102_an_empty_value_is_a_value_and_a_delete_is_none() {
    for order in [Order::Ordered, Order::Unordered] {
        let table = Memtable::new(order);
        table.insert_one(Entry::put(b"k", 1, b"old"));
        table.insert_one(Entry::put(b"k", 2, b""));
        table.insert_one(Entry::delete(b"k", 3));
        for _ in 0..2 {
            let at = |seq| table.get(b"k", seq, |entry| (entry.kind, entry.value.to_vec()));
            assert_eq!(at(1), Some((Kind::Put, b"old".to_vec())));
            assert_eq!(at(2), Some((Kind::Put, Vec::new())));
            assert_eq!(at(3), Some((Kind::Delete, Vec::new())));
            assert_eq!(at(0), None);
            table.seal();
        }
    }
}

#[test]
fn row_110_the_callers_buffers_are_free_after_an_insert() {
    let table = Arc::new(Memtable::new(Order::Ordered));
    let (mut key, mut value) = (*b"key 00", *b"value 00");
    for number in 0..100_u8 {
        let digits = [b'0' + number / 10, b'0' + number % 10];
        key[4..].copy_from_slice(&digits);
        value[6..].copy_from_slice(&digits);
        table.insert_one(Entry::put(&key, u64::from(number), &value));
    }
    key.fill(b'!');
    value.fill(b'!');
    for number in 0..100_u8 {
        let (key, value) = (format!("key {number:02}"), format!("value {number:02}"));
        let found = table.get(key.as_bytes(), 100, |entry| entry.value == value.as_bytes());
        assert_eq!(found, Some(true));
    }
}

#[test]
fn keys_and_values_of_every_legal_length_come_back() {
    let table = Arc::new(Memtable::new(Order::Ordered));
    let key_lens = [1, 2, 7, 8, 9, 15, 16, 17, 33, 1_000, 40_000, KEY_LEN_MAX - 1, KEY_LEN_MAX];
    // Around the length from which on values are held apart, and around the largest chunk.
    let value_lens = [0, 1, 16_383, 16_384, 16_385, (1 << 20) - 1, 1 << 20, 9 << 20];
    let mut seq = 0;
    let value = vec![b'v'; 9 << 20];
    for key_len in key_lens {
        for value_len in value_lens {
            seq += 1;
            let key = vec![b'k'; key_len];
            table.insert_one(Entry::put(&key, seq, &value[..value_len]));
            let found = table.get(&key, seq, |entry| entry.value == &value[..value_len]);
            assert_eq!(found, Some(true), "key of {key_len}, value of {value_len}");
        }
    }
    let mut cursor = table.cursor(seq);
    cursor.seek_first();
    for key_len in key_lens {
        assert_eq!((cursor.entry().key.len(), cursor.entry().value.len()), (key_len, 9 << 20));
        cursor.next();
    }
    assert!(!cursor.valid());
}

#[test]
fn row_014_a_batch_that_panics_leaves_nothing_behind() {
    let long = vec![0; KEY_LEN_MAX + 1];
    let bad = [
        Entry::put(b"", 9, b"empty key"),
        Entry::put(&long, 9, b"key too long"),
        Entry { value: b"value", ..Entry::delete(b"x", 9) },
        Entry { value: b"value", ..Entry::pointer(b"x", 9, 1) },
        Entry::put(b"later", 4, b"below the newest of its key"),
        Entry::put(b"x", 8, b"below the entry before it"),
    ];
    for bad in bad {
        let table = Arc::new(Memtable::new(Order::Ordered));
        table.insert(&[Entry::put(b"a", 1, b"1"), Entry::put(b"later", 5, b"5")]);
        let before = (table.bytes(), table.entries(), table.keys(), table.max_seq());
        let good = Entry::put(b"b", bad.seq.min(4), b"2");
        let end = Entry::put(b"c", 9, b"3");
        let batch = if bad.seq == 8 { [good, end, bad] } else { [good, bad, end] };
        assert!(panics(|| table.insert(&batch)), "{bad:?}");
        assert!(panics(|| table.insert_one(bad)) || bad.seq == 8);
        if bad.seq != 8 {
            let after = (table.bytes(), table.entries(), table.keys(), table.max_seq());
            assert_eq!(after, before);
        }
        assert_eq!(table.get(b"b", u64::MAX, |_| ()), None);
        assert_eq!(table.get(b"c", u64::MAX, |_| ()), None);
        assert_eq!(table.get(b"later", u64::MAX, |entry| entry.seq), Some(5));
        table.insert_one(Entry::put(b"after", 20, b"still works"));
        assert_eq!(table.get(b"after", 20, |entry| entry.seq), Some(20));
    }
}

#[test]
fn a_sealed_table_takes_nothing_and_shows_the_same() {
    let table = Memtable::new(Order::Ordered);
    table.insert_one(Entry::put(b"a", 1, b"1"));
    let before = (table.bytes(), table.entries());
    assert!(!table.is_sealed());
    table.seal();
    table.seal();
    assert!(table.is_sealed());
    assert!(panics(|| table.insert_one(Entry::put(b"b", 2, b"2"))));
    assert!(panics(|| table.insert(&[Entry::put(b"b", 2, b"2")])));
    assert_eq!((table.bytes(), table.entries()), before);
    assert_eq!(table.get(b"a", 1, |entry| entry.value.to_vec()), Some(b"1".to_vec()));
    assert_eq!(table.newest_seq(b"b"), None);
}

#[test]
fn an_empty_table_answers_everything() {
    for order in [Order::Ordered, Order::Unordered] {
        let table = Arc::new(Memtable::new(order));
        table.insert(&[]);
        for _ in 0..2 {
            assert!(table.is_empty());
            assert_eq!(
                (table.min_seq(), table.max_seq(), table.newest_seq(b"a")),
                (None, None, None)
            );
            assert_eq!(table.get(b"a", u64::MAX, |_| ()), None);
            assert_eq!(table.scan(u64::MAX).next(), None);
            table.for_each_newest(|entry| panic!("{entry:?}"));
            if order == Order::Ordered {
                let mut cursor = table.cursor(u64::MAX);
                assert!(!cursor.valid());
                cursor.seek_first();
                assert!(!cursor.valid());
                cursor.seek_last();
                assert!(!cursor.valid());
                cursor.seek(b"");
                assert!(!cursor.valid());
                cursor.seek_for_prev(b"zz");
                assert!(!cursor.valid());
            }
            table.seal();
        }
    }
}

#[test]
fn sequences_from_zero_to_the_largest_work() {
    let table = Memtable::new(Order::Ordered);
    table.insert_one(Entry::put(b"a", 0, b"zero"));
    table.insert_one(Entry::put(b"b", u64::MAX, b"max"));
    assert_eq!((table.min_seq(), table.max_seq()), (Some(0), Some(u64::MAX)));
    assert_eq!(table.get(b"a", 0, |entry| entry.seq), Some(0));
    assert_eq!(table.get(b"b", u64::MAX - 1, |entry| entry.seq), None);
    assert_eq!(table.newest_seq(b"b"), Some(u64::MAX));
}

#[test]
fn misuse_of_cursors_panics_instead_of_answering() {
    let unordered = Arc::new(Memtable::new(Order::Unordered));
    assert!(panics(|| drop(unordered.cursor(1))));
    let table = Arc::new(Memtable::new(Order::Ordered));
    table.insert_one(Entry::put(b"a", 1, b""));
    let cursor = || table.cursor(1);
    assert!(panics(|| cursor().next()));
    assert!(panics(|| cursor().prev()));
    assert!(panics(|| _ = cursor().entry()));
}
