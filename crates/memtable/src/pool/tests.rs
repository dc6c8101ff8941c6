use super::*;
use crate::{Entry, Kind, Memtable, Order};

/// In the order of the numbers.
fn key(number: u64) -> [u8; 8] {
    number.swap_bytes().to_le_bytes()
}

fn fill(table: &Memtable, from: u64, count: u64, value: &[u8]) {
    for number in from..from + count {
        let key = key(number);
        let kind = Kind::Put;
        table.insert_one(Entry { key: &key, seq: number + 1, kind, expiry: 0, pointer: 0, value });
    }
}

fn assert_holds(table: &Memtable, from: u64, count: u64, value: &[u8]) {
    for number in from..from + count {
        let found = table.get(&key(number), u64::MAX, |entry| entry.value == value);
        assert_eq!(found, Some(true), "{number}");
    }
    for number in 0..from {
        assert_eq!(table.get(&key(number), u64::MAX, |_| ()), None, "{number}");
    }
}

#[test]
fn a_table_in_used_memory_holds_what_it_was_given_and_nothing_of_before() {
    let pool = Pool::new(64 << 20);
    let first = Memtable::new_in(Order::Ordered, &pool);
    fill(&first, 0, 12_000, &[0xaa; 900]);
    assert_eq!(pool.bytes(), 0);
    let bytes = first.bytes();
    drop(first);
    let kept = pool.bytes();
    assert!(kept > 8 << 20 && kept < bytes, "{kept} of {bytes}");

    let second = Memtable::new_in(Order::Ordered, &pool);
    fill(&second, 50_000, 12_000, &[0x55; 800]);
    assert!(pool.bytes() < kept, "it was used");
    assert_holds(&second, 50_000, 12_000, &[0x55; 800]);
    let second = Arc::new(second);
    let mut cursor = second.cursor(u64::MAX);
    cursor.seek_first();
    for number in 50_000..62_000_u64 {
        assert_eq!(cursor.entry().key, key(number));
        assert_eq!(cursor.entry().value, [0x55; 800]);
        cursor.next();
    }
    assert!(!cursor.valid());
}

#[test]
fn a_pool_keeps_no_more_than_it_may() {
    let pool = Pool::new((5 << 20) + 1);
    let tables = [(); 2].map(|()| Memtable::new_in(Order::Unordered, &pool));
    for table in &tables {
        fill(table, 0, 12_000, &[1; 900]);
    }
    drop(tables);
    assert_eq!(pool.bytes(), 4 << 20);
    let table = Memtable::new(Order::Unordered);
    fill(&table, 0, 12_000, &[1; 900]);
    drop(table);
    assert_eq!(pool.bytes(), 4 << 20);
}
