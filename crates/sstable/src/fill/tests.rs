use std::path::Path;

use super::*;
use crate::format::PAGE_LEN;
use crate::node::{Held as Found, Node};

fn put<'a>(key: &'a [u8], value: &'a [u8]) -> Entry<'a> {
    Entry { key, value: Value::Inline(value), expiry: 0 }
}

#[test]
fn the_length_is_known_at_every_moment() {
    let mut random = vfs::Random::new(6);
    for round in 0..200 {
        let mut leaf = LeafFill::default();
        let mut keys: Vec<Vec<u8>> = (0..40)
            .map(|_| {
                let mut key = vec![b'p'; random.index(20 + round)];
                key.extend(random.bytes(1 + random.clone().index(12)));
                key
            })
            .collect();
        keys.sort();
        keys.dedup();
        let mut taken = 0;
        for key in &keys {
            let expiry = random.below(2);
            if !leaf.push(&Entry { expiry, ..put(key, &key[..1]) }) {
                break;
            }
            taken += 1;
        }
        let (len, mut out) = (leaf.len(), Vec::new());
        let span = leaf.encode(3, &mut out);
        assert_eq!(out.len(), span as usize * PAGE_LEN);
        assert!(out.len() - PAGE_LEN < len && len <= out.len());
        assert!(out[len..].iter().all(|byte| *byte == 0));
        let node = Node::parse(Path::new("table"), 9, 0, &out).unwrap();
        node.check().unwrap();
        assert_eq!(node.layout.keys, taken);
        let mut read = node.prefix().to_vec();
        for (index, key) in keys.iter().take(taken as usize).enumerate() {
            let (held, _) = node.read_entry(index, &mut read).unwrap();
            assert_eq!(&read, key);
            assert!(matches!(held, Found::Inline(range) if out[range.clone()] == key[..1]));
            assert_eq!(node.lower_bound(key).unwrap(), (index, true));
        }
    }
}

#[test]
fn a_leaf_wastes_at_most_a_quarter_on_a_long_value() {
    let mut leaf = LeafFill::default();
    assert!(leaf.push(&put(b"a", &[1; 2100])));
    assert!(leaf.push(&put(b"b", &[2; 2100])), "half empty: it grows");
    assert!(leaf.push(&put(b"c", &[3; 2100])));
    assert!(!leaf.push(&put(b"d", &[4; 2100])), "three quarters are used");
    assert_eq!(leaf.encode(0, &mut Vec::new()), 2);
    assert!(leaf.push(&put(b"d", &[4; 100])));
    assert!(!leaf.push(&put(b"e", &[5; 100_000])), "far too long for this leaf");
    leaf.encode(0, &mut Vec::new());
    assert!(leaf.push(&put(b"e", &[5; 100_000])), "an empty leaf takes it");
}

#[test]
fn an_inner_node_takes_eight_children_however_long_their_separators_are() {
    let mut node = InnerFill::default();
    let separators: Vec<Vec<u8>> = (0..9).map(|n| vec![n; 60_000]).collect();
    for (separator, child) in separators.iter().zip(1..) {
        assert_eq!(node.fits(separator), child <= 8);
        if child <= 8 {
            node.push(separator, child);
        }
    }
    let mut out = Vec::new();
    let (span, first) = node.encode(1, &mut out);
    assert_eq!((first, out.len()), (separators[0].clone(), span as usize * PAGE_LEN));
    let node = Node::parse(Path::new("table"), 99, 1, &out).unwrap();
    node.check().unwrap();
    for (separator, child) in separators.iter().take(8).zip(1..) {
        assert_eq!(node.child(node.child_index(separator).unwrap()).unwrap(), child);
    }
}
