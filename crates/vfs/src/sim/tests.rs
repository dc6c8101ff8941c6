//! The sparse content and the chain of pending changes against plain models.

use super::chain::Chain;
use super::content::{PAGE_LEN, hash_bytes};
use super::*;
use crate::fs::{Access, write_all_at};
use crate::name::{Kind, Name};
use crate::random::Random;
use crate::testing::seeds;

#[test]
fn content_agrees_with_a_plain_vector() {
    for seed in seeds(200) {
        let mut random = Random::new(seed);
        let (mut content, mut model) = (Content::default(), Vec::new());
        let mut old = (content.clone(), model.clone());
        for _ in 0..30 {
            let offset = random.index(40 * PAGE_LEN);
            match random.below(5) {
                0 => {
                    model.resize(offset, 0);
                    content.set_len(offset as u64);
                }
                1 => old = (content.clone(), model.clone()),
                _ => {
                    let len = random.index(3 * PAGE_LEN);
                    // Runs of zeros, so that pages of zeros come about.
                    let bytes = if random.percent(30) { vec![0; len] } else { random.bytes(len) };
                    if !bytes.is_empty() {
                        model.resize(model.len().max(offset + bytes.len()), 0);
                        model[offset..offset + bytes.len()].copy_from_slice(&bytes);
                    }
                    content.write(offset as u64, &bytes);
                }
            }
            assert_eq!(content.len(), model.len() as u64);
            if random.percent(30) {
                assert_eq!(content.to_bytes(), model);
            }
            let mut buffer = vec![9; random.index(9000)];
            let at = random.index(40 * PAGE_LEN);
            let count = content.read(&mut buffer, at as u64);
            let rest = model.get(at..).unwrap_or_default();
            assert_eq!(buffer[..count], rest[..buffer.len().min(rest.len())]);
        }
        assert_eq!(content.to_bytes(), model);
        assert_eq!(old.0.to_bytes(), old.1, "a copy does not change with its origin");
        let mut fresh = Content::default();
        fresh.write(0, &model);
        fresh.set_len(model.len() as u64);
        assert_eq!(fresh.hash(), content.hash());
        if !model.is_empty() {
            let at = random.index(model.len());
            fresh.write(at as u64, &[model[at] ^ 1]);
            assert_ne!(fresh.hash(), content.hash());
        }
    }
}

#[test]
fn hashes_of_bytes_tell_lengths_and_zeros_apart() {
    let zeros = (0..40).map(|len| hash_bytes(&vec![0; len]));
    let set: std::collections::BTreeSet<_> = zeros.collect();
    assert_eq!(set.len(), 40);
    assert_eq!(hash_bytes(b"lotus root"), hash_bytes(b"lotus root"));
}

#[test]
fn a_chain_of_a_million_changes_is_dropped_without_recursion() {
    let mut chain = Chain::default();
    for number in 0..1_000_000 {
        chain.push(number);
    }
    let copy = chain.clone();
    assert!(copy.to_vec().into_iter().copied().eq(0..1_000_000));
    chain.clear();
    assert!(chain.is_empty() && !copy.is_empty());
    drop(copy);
}

#[test]
fn reservations_merge_and_are_counted_once() {
    let mut file = FileNode::default();
    file.reserve(10, 20);
    file.reserve(30, 40);
    file.reserve(0, 5);
    assert_eq!(file.reserved, [(0, 5), (10, 20), (30, 40)]);
    file.reserve(4, 12);
    file.reserve(20, 30);
    assert_eq!(file.reserved, [(0, 40)]);
    let page = PAGE_LEN as u64;
    file.live.write(39 * page, &[1; 2 * PAGE_LEN]);
    assert_eq!(file.pages_used(), 41);
}

#[test]
fn what_nothing_leads_to_is_forgotten_and_a_few_of_its_bytes_are_kept_as_stale() {
    let disk = SimDisk::new(1);
    let fs = disk.root();
    let name = |id| Name::new(Kind::new("tbl"), id);
    for id in 0..10 {
        let file = fs.create_new(name(id)).expect("created");
        write_all_at(&*file, &[7; 10], 0).expect("written");
    }
    let held = fs.open(name(9), Access::Read).expect("opened");
    for id in 0..10 {
        fs.remove(name(id)).expect("removed");
    }
    assert_eq!(disk.lock().state.nodes.len(), 11, "the removals are not durable yet");
    fs.sync_dir().expect("synced");
    assert_eq!(disk.lock().state.nodes.len(), 2, "the root and the open file");
    assert_eq!(disk.lock().state.stale.len(), 4);
    assert_eq!(held.len().expect("readable"), 10);
    drop(held);
    fs.sync_dir().expect("synced");
    assert_eq!(disk.lock().state.nodes.len(), 1);
}
