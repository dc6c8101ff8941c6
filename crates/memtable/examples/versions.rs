//! A table from its first write to its last read: batches, snapshots, a cursor that goes on while
//! the table grows, and what it takes. Run with `cargo run --release --example versions`.

use std::sync::Arc;

use memtable::{Entry, Kind, Memtable, Order};

fn main() {
    let table = Arc::new(Memtable::new(Order::Ordered));

    // The owner gives every batch a sequence and publishes it when the insert has returned.
    table.insert(&[
        Entry::put(b"pond/carp", 1, b"12"),
        Entry::put(b"pond/frog", 1, b"3"),
        Entry::put(b"shore/reed", 1, b""),
    ]);
    let snapshot = 1;
    table.insert(&[Entry::put(b"pond/carp", 2, b"13"), Entry::delete(b"pond/frog", 2)]);

    println!("as of {snapshot} and as of 2:");
    for seq in [snapshot, 2] {
        let mut cursor = table.cursor(seq);
        cursor.seek(b"pond/");
        while cursor.valid() && cursor.entry().key.starts_with(b"pond/") {
            let entry = cursor.entry();
            let key = String::from_utf8_lossy(entry.key);
            match entry.kind {
                Kind::Delete => println!("  {key} is gone since {}", entry.seq),
                _ => println!("  {key} = {}", String::from_utf8_lossy(entry.value)),
            }
            // Nothing is locked between two moves: inserting here is fine, and stays invisible.
            table.insert_one(Entry::put(b"pond/newt", 3, b"1"));
            cursor.next();
        }
    }

    for number in 0..100_000_u64 {
        let key = format!("pond/egg/{:06}", number * 7_919 % 100_000);
        table.insert_one(Entry::put(key.as_bytes(), number + 4, &[0; 100]));
    }
    table.seal();
    let mut cursor = table.cursor(u64::MAX);
    let mut count = 0;
    cursor.seek_first();
    while cursor.valid() {
        count += 1;
        cursor.next();
    }
    assert_eq!(count, table.keys());
    println!(
        "sealed: {} keys, {} versions, sequences {:?} to {:?}, {} bytes",
        table.keys(),
        table.entries(),
        table.min_seq(),
        table.max_seq(),
        table.bytes()
    );
}
