//! `bytes` against what the allocator was asked for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use memtable::{Entry, Memtable, Order};

/// The system's allocator, counting per thread: tests that run beside this one do not matter.
struct Counting;

thread_local! {
    static HELD: Cell<i64> = const { Cell::new(0) };
}

fn count(bytes: usize, sign: i64) {
    let bytes = i64::try_from(bytes).expect("an allocation fits");
    HELD.with(|held| held.set(held.get() + sign * bytes));
}

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing (the
// counter is a constant-initialized cell without a destructor).
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller keeps the contract of this very method.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: as above, and the pointer came from the same allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn held() -> i64 {
    HELD.with(Cell::get)
}

#[test]
fn bytes_are_exactly_what_was_allocated() {
    let large = vec![1; 100_001];
    for order in [Order::Ordered, Order::Unordered] {
        let start = held();
        let table = Memtable::new(order);
        if order == Order::Ordered {
            table.keep_order();
        }
        let allocated = || u64::try_from(held() - start).expect("nothing of ours was freed");
        let expected = |table: &Memtable| table.bytes() - size_of::<Memtable>() as u64;
        assert_eq!(allocated(), expected(&table));
        // Below 2 MiB of records: what is larger is mapped, not allocated.
        for number in 0..9_000_u64 {
            let key = (number * 7_919 % 7_000).to_le_bytes();
            let value = &large[..usize::try_from(number % 300).expect("small")];
            table.insert_one(Entry { pointer: number, ..Entry::put(&key, number, value) });
            if number % 997 == 0 {
                table.insert_one(Entry::put(
                    &key,
                    number,
                    &large[number.trailing_zeros() as usize..],
                ));
            }
            assert_eq!(allocated(), expected(&table), "after {number}");
        }
        table.seal();
        assert_eq!(allocated(), expected(&table));
        drop(table);
        assert_eq!(held(), start, "dropping a table frees everything");
    }
}

#[test]
fn until_somebody_asks_for_the_order_its_memory_is_allowed_for() {
    for is_sealed in [false, true] {
        let start = held();
        let table = std::sync::Arc::new(Memtable::new(Order::Ordered));
        let outside = size_of::<Memtable>() as u64 + 2 * size_of::<usize>() as u64;
        let allocated = || u64::try_from(held() - start).expect("nothing of ours was freed");
        for number in 0..9_000_u64 {
            let key = (number * 7_919 % 7_000).to_le_bytes();
            table.insert_one(Entry::put(&key, number, &[7; 100]));
        }
        let before = allocated();
        if is_sealed {
            table.seal();
        }
        assert_eq!(allocated(), before);
        let allowed = table.bytes();
        let mut cursor = table.cursor(u64::MAX);
        cursor.seek_first();
        assert!(cursor.valid());
        drop(cursor);
        assert_eq!(table.was_walked(), !is_sealed);
        assert_eq!(allocated() - outside, table.bytes() - size_of::<Memtable>() as u64);
        assert!(before < allocated() && table.bytes() <= allowed, "{} {allowed}", table.bytes());
    }
}

#[test]
fn small_tables_hold_little_and_large_ones_waste_little() {
    let table = Memtable::new(Order::Ordered);
    assert!(table.bytes() < 640, "{}", table.bytes());
    table.insert_one(Entry::put(b"key", 1, b"value"));
    assert!(table.bytes() < 2_704, "{}", table.bytes());

    let table = Memtable::new(Order::Ordered);
    for number in 0..100_000_u64 {
        let key = [number * 7_919 % 100_000; 3].map(u64::to_le_bytes).concat();
        table.insert_one(Entry { pointer: 8, ..Entry::put(&key, number, &[7; 150]) });
    }
    // 174 bytes of key and value, 32 of header, 8 to 20 of hash slots, 12 to 24 of leaves.
    let bytes_per_entry = table.bytes() / table.entries();
    assert!(bytes_per_entry < 266, "{bytes_per_entry}");
}

#[test]
fn a_large_value_takes_its_own_length() {
    let table = Memtable::new(Order::Ordered);
    table.insert_one(Entry::put(b"a", 1, b""));
    let before = table.bytes();
    table.insert_one(Entry::put(b"b", 2, &vec![1; 50 << 20]));
    assert!(table.bytes() - before < (50 << 20) + 1_024);
}
