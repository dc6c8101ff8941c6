//! Single nodes and pages, without a file around them: prefix keys, heads, slots, fingerprints.
//! Rows 66, 70, 71.

use diskhash::fuzzing::PageView;
use sstable::fuzzing::NodeView;

use crate::input::Input;
use crate::verdict::clear;

const PAGE_LEN: usize = 4096;

/// The body.
pub(crate) fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let form = input.u8();
    let mut keys = vec![Vec::new(), vec![0], vec![0xff; 9]];
    for _ in 0..input.below(8) {
        keys.push(input.short().to_vec());
    }
    if form & 1 == 0 {
        let mut bytes = input.expand();
        bytes.resize(bytes.len().next_multiple_of(PAGE_LEN).max(PAGE_LEN), 0);
        node(form >> 1 & 7, &bytes, keys);
    } else {
        let slot_len = u16::from(input.u8()) + 1;
        let mut bytes = input.expand();
        bytes.resize(PAGE_LEN, 0);
        page(slot_len, 5 + (form >> 1 & 3), &bytes, &keys);
    }
}

fn node(level: u8, bytes: &[u8], mut asked: Vec<Vec<u8>>) {
    let Some(node) = clear(NodeView::parse(1 << 20, level, bytes)) else { return };
    let mut keys = Vec::new();
    for index in 0..node.keys() {
        keys.extend(clear(node.key(index)));
    }
    for index in [0, 1, node.keys(), node.keys() + 1, usize::MAX >> 3] {
        clear(node.child(index));
        clear(node.key(index));
    }
    let whole = keys.len() == node.keys() && clear(node.check()).is_some();
    let is_sound = whole && keys.is_sorted_by(|a, b| a < b);
    asked.extend(keys.iter().take(40).cloned());
    for key in asked {
        let found = clear(node.lower_bound(&key));
        if is_sound {
            let index = keys.partition_point(|other| *other < key);
            let equal = keys.get(index) == Some(&key);
            assert!(found == Some((index, equal)), "{key:?}: {found:?}, it is at {index}");
        }
    }
}

fn page(slot_len: u16, hash_bytes: u8, bytes: &[u8], keys: &[Vec<u8>]) {
    let Some(page) = PageView::new(slot_len, hash_bytes, bytes) else { return };
    let entries: Vec<(u64, &[u8])> = (0..page.count()).map(|index| page.entry(index)).collect();
    for index in [page.count(), usize::from(u16::MAX)] {
        std::hint::black_box(page.entry(index));
    }
    let (first, last) = page.ends();
    let ends = entries.first().zip(entries.last()).map(|(first, last)| (first.0, last.0));
    let ascends = entries.is_sorted_by_key(|(hash, _)| *hash);
    let is_sound = ascends && (entries.is_empty() || ends == Some((first, last)));
    let unit = 8 * (8 - u32::from(hash_bytes));
    let asked = keys.iter().map(|key| {
        let mut number = [0; 8];
        let len = key.len().min(8);
        number[..len].copy_from_slice(&key[..len]);
        u64::from_le_bytes(number)
    });
    let asked: Vec<u64> = asked.chain([first, last, 0, u64::MAX]).collect();
    for hash in asked.into_iter().chain(entries.iter().map(|(hash, _)| *hash)) {
        let hash = hash >> unit << unit;
        let index = page.lower_bound(hash);
        assert!(index <= page.count(), "a place in the page");
        // Only hashes in units of the kept one are ever written.
        if is_sound && first >> unit << unit == first {
            let right = entries.partition_point(|(other, _)| *other < hash);
            let there = entries.get(right).is_some_and(|(other, _)| *other == hash);
            assert!(index == right, "hash {hash:x} is at {right}, not at {index}");
            assert!(page.is_at(index, hash) == there, "hash {hash:x}");
        }
    }
}
