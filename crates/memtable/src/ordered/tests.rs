use super::*;
use crate::entry::Entry;

struct Grown {
    ordered: Ordered,
    records: Records,
}

impl Grown {
    fn of(keys: impl IntoIterator<Item = Vec<u8>>) -> Grown {
        let mut grown = Grown { ordered: Ordered::new(), records: Records::default() };
        for key in keys {
            let first = grown.records.push_key(&Entry::put(&key, 1, b""));
            grown.ordered.insert(&key, first, &grown.records);
        }
        grown
    }

    /// The same keys, of which all but the last `later` were there before anybody asked for order.
    fn built(keys: &[Vec<u8>], leaf_keys: usize, later: usize) -> Grown {
        let mut records = Records::default();
        let (before, after) = keys.split_at(keys.len() - later);
        for key in before {
            records.push_key(&Entry::put(key, 1, b""));
        }
        let ordered = Ordered::build(&records, leaf_keys);
        let allowed =
            Ordered::bytes_to_come(before.len() * LEAF_KEYS_OPEN / leaf_keys.min(LEAF_KEYS_OPEN));
        let allowed = allowed + 8_192;
        assert!(ordered.bytes() <= allowed, "{} of {allowed}", ordered.bytes());
        let mut built = Grown { ordered, records };
        for key in after {
            let first = built.records.push_key(&Entry::put(key, 1, b""));
            built.ordered.insert(key, first, &built.records);
        }
        built
    }

    /// Checks the invariants below a node, whose keys are within `low..high`.
    fn check(&self, node: u32, height: usize, low: Option<&[u8]>, high: Option<&[u8]>) {
        let shared = match (low, high) {
            (Some(low), Some(high)) => common_len(low, high),
            _ => self.ordered.common.len(),
        };
        if height == 0 {
            let leaf = &self.ordered.leaves[node as usize];
            assert!(leaf.prefix_len <= shared, "all keys of a leaf share its prefix");
            for slot in leaf.to_sorted(&self.records).slots() {
                let key = self.records.key(slot.1);
                assert!(low.is_none_or(|low| low <= key) && high.is_none_or(|high| key < high));
                assert!(key.starts_with(&self.ordered.common));
            }
            return;
        }
        let inner = &self.ordered.inners[node as usize];
        assert!(inner.prefix_len <= shared, "all keys below a node share its prefix");
        let mut index = 0;
        let mut below = low;
        loop {
            let above = inner.around(index).1.map(|key| self.records.key(key));
            self.check(inner.child(index), height - 1, below, above.or(high));
            if above.is_none() {
                assert_eq!(inner.child(index), inner.child_last());
                return;
            }
            below = above;
            index += 1;
        }
    }

    /// All keys, by walking leaves one way.
    fn keys(&self) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        let (mut at, mut before) = (Some(self.ordered.leaf_first()), None);
        while let Some(leaf) = at {
            assert_eq!(self.ordered.leaf_before(leaf), before, "neighbours know each other");
            let sorted = self.ordered.sorted(leaf, &self.records);
            assert!(!sorted.slots().is_empty());
            keys.extend(sorted.slots().iter().map(|slot| self.records.key(slot.1).to_vec()));
            before = at;
            at = self.ordered.leaf_after(leaf);
        }
        assert_eq!(before, Some(self.ordered.leaf_last()));
        keys
    }
}

/// Checks trees that grew key by key, that were built at once, and that were built and grew on.
/// Returns the first.
fn assert_holds(keys: Vec<Vec<u8>>) -> Grown {
    let grown = Grown::of(keys.iter().cloned());
    let mut want = keys.clone();
    want.sort();
    let built = [LEAF_CAP, LEAF_KEYS_OPEN, 1].map(|count| Grown::built(&keys, count, 0));
    let half = Grown::built(&keys, LEAF_KEYS_OPEN, keys.len() / 2);
    let few = Grown::built(&keys, LEAF_CAP, keys.len() - 1);
    for grown in [&grown, &half, &few].into_iter().chain(&built) {
        grown.check(grown.ordered.root, grown.ordered.height, None, None);
        assert_eq!(grown.keys(), want);
        for key in want.iter().step_by(7) {
            let leaf = grown.ordered.leaf_of(key, &grown.records);
            let sorted = grown.ordered.sorted(leaf, &grown.records);
            assert!(sorted.slots().iter().any(|slot| grown.records.key(slot.1) == key));
        }
    }
    grown
}

#[test]
fn an_order_of_nothing_is_empty_and_grows() {
    assert_eq!(Ordered::build(&Records::default(), LEAF_CAP).leaves.len(), 0);
    let keys: Vec<Vec<u8>> =
        scattered(300).map(|number| vec![number.to_le_bytes()[0]; 2]).collect();
    let keys = keys[..200].to_vec();
    Grown::built(&keys, LEAF_CAP, keys.len());
}

/// 0..count in an order that jumps about: multiplied by a number without a factor in common.
fn scattered(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |index| index * 7_919 % count)
}

#[test]
fn invariants_hold_for_keys_made_of_words() {
    let word = |number: u64| {
        ["index", "blog", "products", "x", ""][usize::try_from(number % 5).expect("small")]
    };
    let grown = assert_holds(
        scattered(20_000)
            .map(|number| {
                let (one, two) = (word(number), word(number / 5));
                format!("https://host-{}/{one}/{two}/{number}", number % 37).into_bytes()
            })
            .collect(),
    );
    assert!(grown.ordered.height >= 2);
}

#[test]
fn invariants_hold_when_the_common_prefix_shrinks_again_and_again() {
    let mut keys: Vec<Vec<u8>> = Vec::new();
    for depth in (0..40).rev() {
        let stem = "d".repeat(depth);
        // Both sides of what is there already, so both edges of the tree change.
        for number in scattered(150) {
            keys.push(format!("{stem}a{number:03}").into_bytes());
            keys.push(format!("{stem}z{number:03}").into_bytes());
        }
    }
    assert_holds(keys);
}

#[test]
fn invariants_hold_for_keys_of_zeros() {
    assert_holds(
        scattered(701).map(|number| vec![0; usize::try_from(number).expect("small") + 1]).collect(),
    );
}

#[test]
fn ascending_keys_leave_full_leaves_and_descending_keys_hold_too() {
    let key = |number: u64| format!("user{number:016}").into_bytes();
    let grown = assert_holds((0..64_000).map(key).collect());
    assert_eq!(grown.ordered.leaves.len(), 64_000 / LEAF_CAP);
    assert_holds((0..20_000).rev().map(key).collect());
}

#[test]
fn a_key_outside_the_common_prefix_belongs_to_an_edge() {
    let grown = Grown::of(scattered(1_000).map(|number| format!("mm{number:04}").into_bytes()));
    let Grown { ordered, records } = &grown;
    for before in [b"".as_slice(), b"a", b"m", b"ml9"] {
        assert_eq!(ordered.leaf_of(before, records), ordered.leaf_first(), "{before:?}");
    }
    for after in [b"mn".as_slice(), b"z"] {
        assert_eq!(ordered.leaf_of(after, records), ordered.leaf_last(), "{after:?}");
    }
}
