//! One writer, many readers: what a reader sees at a published sequence is whole and final.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use memtable::{Entry, Memtable, Order};

/// Keys that every batch of one group overwrites together.
const GROUP_KEYS: u64 = 3;
const GROUPS: u64 = 7;
const BATCHES: u64 = 20_000;

fn shared_key(group: u64, index: u64) -> Vec<u8> {
    format!("shared/{group}/{index}").into_bytes()
}

/// New with every batch, spread over the key space.
fn own_key(seq: u64) -> Vec<u8> {
    format!("own/{:05}/{seq}", seq * 7_919 % 30_011).into_bytes()
}

/// The sequence of the last batch of `group` at or before `seq`; batches start at 1.
fn last_of(group: u64, seq: u64) -> Option<u64> {
    (1..=seq).rev().take(usize::try_from(GROUPS).expect("small")).find(|seq| seq % GROUPS == group)
}

fn write_batch(table: &Memtable, seq: u64) {
    let value = seq.to_le_bytes();
    let own = own_key(seq);
    let keys: Vec<_> = (0..GROUP_KEYS).map(|index| shared_key(seq % GROUPS, index)).collect();
    let mut batch: Vec<_> = keys.iter().map(|key| Entry::put(key, seq, &value)).collect();
    batch.push(Entry::put(&own, seq, &value));
    table.insert(&batch);
}

fn check_gets(table: &Memtable, seq: u64) {
    for group in 0..GROUPS {
        let want = last_of(group, seq);
        for index in 0..GROUP_KEYS {
            let found = table.get(&shared_key(group, index), seq, |entry| {
                assert_eq!(entry.value, entry.seq.to_le_bytes());
                entry.seq
            });
            assert_eq!(found, want, "group {group} at {seq}: a batch is seen whole");
        }
    }
    assert_eq!(table.get(&own_key(seq), seq, |entry| entry.seq), Some(seq));
    assert_eq!(table.get(&own_key(seq), seq - 1, |_| ()), None);
}

fn check_entry(entry: &Entry<'_>, seq: u64) {
    assert!(entry.seq <= seq && entry.value == entry.seq.to_le_bytes());
    let want = if entry.key.starts_with(b"own/") {
        own_key(entry.seq)
    } else {
        let index = u64::from(entry.key[entry.key.len() - 1] - b'0');
        let group = entry.seq % GROUPS;
        assert_eq!(last_of(group, seq), Some(entry.seq), "the newest, and no newer");
        shared_key(group, index)
    };
    assert_eq!(entry.key, want);
}

fn check_cursor(table: &Arc<Memtable>, seq: u64, is_forward: bool) {
    let mut cursor = table.cursor(seq);
    let mut keys: Vec<Vec<u8>> = Vec::new();
    if is_forward {
        cursor.seek_first()
    } else {
        cursor.seek_last()
    }
    while cursor.valid() {
        check_entry(&cursor.entry(), seq);
        keys.push(cursor.entry().key.to_vec());
        if is_forward { cursor.next() } else { cursor.prev() }
    }
    let ascending = keys.windows(2).all(|pair| pair[0] < pair[1]);
    let descending = keys.windows(2).all(|pair| pair[0] > pair[1]);
    assert!(if is_forward { ascending } else { descending });
    let shared = (0..GROUPS).filter(|group| last_of(*group, seq).is_some()).count() as u64;
    assert_eq!(keys.len() as u64, seq + shared * GROUP_KEYS, "nothing is missed");
}

fn check_scan(table: &Arc<Memtable>, seq: u64) {
    let mut scan = table.scan(seq);
    let mut count = 0;
    while let Some(entry) = scan.next() {
        check_entry(&entry, seq);
        count += 1;
    }
    assert!(count >= seq, "nothing is missed");
}

#[test]
fn readers_see_whole_batches_and_ordered_keys_while_a_writer_inserts_and_seals() {
    let table = Arc::new(Memtable::new(Order::Ordered));
    let published = AtomicU64::new(0);
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in 0..3 {
            let (table, published, is_done) = (&table, &published, &is_done);
            scope.spawn(move || {
                let mut round = reader;
                loop {
                    // Asked before the work, so that the last round sees the sealed table.
                    let is_last = is_done.load(Ordering::Acquire);
                    let seq = published.load(Ordering::Acquire);
                    if seq > 0 {
                        check_gets(table, seq);
                        match round % 3 {
                            0 => check_cursor(table, seq, true),
                            1 => check_cursor(table, seq, false),
                            _ => check_scan(table, seq),
                        }
                    }
                    round += 1;
                    if is_last {
                        break;
                    }
                }
            });
        }
        for seq in 1..=BATCHES {
            write_batch(&table, seq);
            published.store(seq, Ordering::Release);
        }
        table.seal();
        is_done.store(true, Ordering::Release);
    });
    check_gets(&table, BATCHES);
    check_cursor(&table, BATCHES, true);
    check_cursor(&table, BATCHES, false);
    assert_eq!(table.entries(), BATCHES * (GROUP_KEYS + 1));
}

#[test]
fn a_table_and_its_cursors_can_be_sent_and_shared() {
    fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<Memtable>();
    is_shared::<memtable::Cursor>();
    is_shared::<memtable::Scan>();
}
