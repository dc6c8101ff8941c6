//! A memtable with one writer: what readers see at a seq that was published, and beyond.

use std::sync::Arc;

use memtable::{Entry, Memtable, Order};
use shuttle::thread;
use vfs::SimDisk;
use vfs::sync::atomic::{AtomicU64, Ordering};
use vfs::sync::mistake;

use crate::bed::draw;
use crate::explore::Model;

pub(crate) const MEMTABLE: Model = Model {
    name: "memtable",
    promise: "at a published seq a batch is there whole, no entry is torn, cursors do not move, and \
        sealing changes nothing (row 14)",
    prepare: || SimDisk::new(1),
    run,
    mistakes: &["a seq is published before its entries", "a batch is inserted entry by entry"],
};

const LAST: u64 = 4;

fn value(seq: u64) -> Vec<u8> {
    let len = usize::try_from(seq * 7).expect("small");
    vec![u8::try_from(seq).expect("small"); len]
}

fn run(_: &SimDisk) {
    let order = if draw(2) == 0 { Order::Ordered } else { Order::Unordered };
    let table = Arc::new(Memtable::new(order));
    let visible = Arc::new(AtomicU64::new(0));
    write(&table, 1);
    visible.store(1, Ordering::Release);
    let programs: [fn(&Arc<Memtable>, &AtomicU64); 4] = [
        |table, visible| {
            for seq in 2..=LAST {
                if mistake("a seq is published before its entries") {
                    visible.store(seq, Ordering::Release);
                }
                write(table, seq);
                visible.store(seq, Ordering::Release);
            }
            table.seal();
        },
        |table, visible| (0..3).for_each(|_| get(table, visible.load(Ordering::Acquire))),
        |table, visible| scan(table, visible.load(Ordering::Acquire)),
        |table, _| (0..3).for_each(|_| look(table)),
    ];
    let threads = programs.map(|program| {
        let (table, visible) = (table.clone(), visible.clone());
        thread::spawn(move || program(&table, &visible))
    });
    for thread in threads {
        thread.join().expect("a panic ends the schedule");
    }
    assert_eq!((table.keys(), table.is_sealed()), (2 + LAST, true));
    (1..=LAST).for_each(|seq| get(&table, seq));
}

/// A batch of two old keys and a new one.
fn write(table: &Memtable, seq: u64) {
    let (value, fresh) = (value(seq), [b'f', u8::try_from(seq).expect("small")]);
    let batch = [
        Entry::put(b"a", seq, &value),
        Entry::put(b"b", seq, &value),
        Entry::put(&fresh, seq, &[]),
    ];
    match mistake("a batch is inserted entry by entry") {
        true => batch.into_iter().for_each(|entry| table.insert_one(entry)),
        false => table.insert(&batch),
    }
}

fn get(table: &Memtable, seq: u64) {
    for key in [b"a", b"b"] {
        let found = table.get(key, seq, |entry| (entry.seq, entry.value.to_vec()));
        assert!(found == Some((seq, value(seq))), "at {seq} there is {found:?}");
    }
    let fresh = [b'f', u8::try_from(seq).expect("small")];
    assert!(table.get(&fresh, seq, |entry| entry.seq) == Some(seq), "half a batch at {seq}");
}

/// Keys and seqs at a seq, by cursor from both ends or by scan.
fn entries(table: &Arc<Memtable>, seq: u64, backwards: bool) -> Vec<(Vec<u8>, u64)> {
    let mut found = Vec::new();
    let note = |entry: Entry<'_>| {
        let is_whole = entry.value.is_empty() || entry.value == value(entry.seq);
        assert!(is_whole, "a torn entry");
        (entry.key.to_vec(), entry.seq)
    };
    if table.order() == Order::Unordered {
        let mut scan = table.scan(seq);
        while let Some(entry) = scan.next() {
            found.push(note(entry));
        }
        found.sort();
        return found;
    }
    let mut cursor = table.cursor(seq);
    if backwards {
        cursor.seek_last()
    } else {
        cursor.seek_first()
    }
    while cursor.valid() {
        found.push(note(cursor.entry()));
        if backwards { cursor.prev() } else { cursor.next() }
    }
    if backwards {
        found.reverse();
    }
    found
}

fn scan(table: &Arc<Memtable>, seq: u64) {
    let mut expected = vec![(b"a".to_vec(), seq), (b"b".to_vec(), seq)];
    expected.extend((1..=seq).map(|seq| (vec![b'f', u8::try_from(seq).expect("small")], seq)));
    assert_eq!(entries(table, seq, false), expected, "at {seq}");
    assert_eq!(entries(table, seq, true), expected, "at {seq}, again");
}

/// What is there without asking for a seq: the newest, in whole batches.
fn look(table: &Memtable) {
    // In this order: who sees entries sees their seqs too.
    let (count, low, high) = (table.entries(), table.min_seq(), table.max_seq());
    assert_eq!(low, Some(1));
    assert!(high.is_some_and(|high| high <= LAST && count <= high * 3), "{count} up to {high:?}");
    let one = table.newest_seq(b"a").expect("it was there first");
    let two = table.newest_seq(b"b").expect("it was there first");
    assert!(one <= two, "half a batch: {one} and then {two}");
    let mut seqs = Vec::new();
    table.for_each_newest(|entry| seqs.push((entry.key[0], entry.seq)));
    let newest = |key| seqs.iter().filter(|(of, _)| *of == key).map(|(_, seq)| *seq).max();
    assert!(newest(b'a') == newest(b'b') && newest(b'a') == newest(b'f'), "half a batch: {seqs:?}");
}
