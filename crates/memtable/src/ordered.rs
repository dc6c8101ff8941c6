//! The keys of a table in order: a B+tree that only grows, over records that never move.
//!
//! It is built in one go when somebody first asks for the order, and grows with every key from
//! then on: most tables are filled and written out without a reader who walks them, and sorting
//! all keys at once costs a fraction of finding each one's leaf.
//!
//! 1. A key is in exactly one leaf: the one whose separators enclose it.
//! 2. Every key of a node shares the node's prefix. Between two separators that is what the
//!    separators have in common; on the two edges of the tree, what all keys have in common.
//! 3. No leaf of a table that is not empty is empty; the first leaf is always the first one made.

use crate::arena::Address;
use crate::inner::{INNER_CAP, Inner};
use crate::leaf::{LEAF_CAP, Leaf, Slot, Sorted, common_len, head, sort};
use crate::records::Records;

/// Inner nodes from the root to a leaf. Each split leaves at least 32 children, so 2^32 leaves
/// need fewer than 8.
const HEIGHT_MAX: usize = 8;

const LEAF_FIRST: u32 = 0;

/// Keys of a leaf that is built while the table is open: the next key should not split it.
pub(crate) const LEAF_KEYS_OPEN: usize = LEAF_CAP / 4 * 3;

/// What a leaf takes, with its part of the lists and of the nodes above it, which have 32 children
/// or more.
const LEAF_BYTES: usize = size_of::<Leaf>() + size_of::<Inner>() / 32 + 16;

/// Where a descent went: the inner node, and which child of it.
type Step = (u32, usize);

// Boxed one by one: a growing list would move all nodes at once and hold them twice meanwhile.
#[expect(clippy::vec_box, reason = "nodes stay where they are while the list of them grows")]
pub(crate) struct Ordered {
    leaves: Vec<Box<Leaf>>,
    inners: Vec<Box<Inner>>,
    /// An inner node, or the only leaf when `height` is 0.
    root: u32,
    height: usize,
    leaf_last: u32,
    /// What all keys start with.
    common: Vec<u8>,
}

impl Ordered {
    pub(crate) fn new() -> Ordered {
        Ordered {
            leaves: Vec::new(),
            inners: Vec::new(),
            root: LEAF_FIRST,
            height: 0,
            leaf_last: LEAF_FIRST,
            common: Vec::new(),
        }
    }

    /// The order of all keys of `records`, with leaves of at most `leaf_keys` keys. O(n log n).
    pub(crate) fn build(records: &Records, leaf_keys: usize) -> Ordered {
        let mut ordered = Ordered::new();
        let firsts: Vec<Address> = records.firsts(None).collect();
        let Some(one) = firsts.first().map(|first| records.key(*first)) else { return ordered };
        let shared = |len: usize, first: &Address| common_len(&one[..len], records.key(*first));
        ordered.common = one[..firsts.iter().fold(one.len(), shared)].to_vec();
        let common_len = ordered.common.len();
        let slot = |first: &Address| (head(records.key(*first), common_len), *first);
        let mut slots: Vec<Slot> = firsts.iter().map(slot).collect();
        drop(firsts);
        sort(&mut slots, common_len, records);
        for slots in slots.chunks(leaf_keys) {
            ordered.push_leaf(slots, records);
        }
        ordered
    }

    /// About what [`build`](Ordered::build) will take, at the most.
    pub(crate) fn bytes_to_come(keys: usize) -> usize {
        let root = if keys <= LEAF_KEYS_OPEN { 0 } else { size_of::<Inner>() };
        root + keys.div_ceil(LEAF_KEYS_OPEN) * LEAF_BYTES
    }

    /// Adds a leaf behind the last one. Its heads are taken behind what all keys share, which is
    /// enough as a rule; where heads tie, behind what the leaf's keys can share.
    fn push_leaf(&mut self, slots: &[Slot], records: &Records) {
        let right_id = id(self.leaves.len());
        let mut leaf = Box::new(Leaf::new(self.common.len()));
        leaf.fill(slots, self.common.len(), records);
        self.leaves.push(leaf);
        if right_id == LEAF_FIRST {
            return;
        }
        let left_id = std::mem::replace(&mut self.leaf_last, right_id);
        self.leaves[right_id as usize].before = Some(left_id);
        self.leaves[left_id as usize].after = Some(right_id);
        let mut path = [(0, 0); HEIGHT_MAX];
        let mut node = self.root;
        for step in &mut path[..self.height] {
            let inner = &self.inners[node as usize];
            *step = (node, inner.index_last());
            node = inner.child_last();
        }
        let path = &path[..self.height];
        let separator = slots[0].1;
        let (low, _) = self.bounds(path);
        let prefix_len = self.prefix_len(low, Some(separator), records);
        let left = &mut self.leaves[left_id as usize];
        if left.has_ties() {
            left.rehead(prefix_len, records);
        }
        self.add_child(path, separator, left_id, right_id, records);
    }

    /// Memory held.
    pub(crate) fn bytes(&self) -> usize {
        self.leaves.len() * size_of::<Leaf>()
            + self.inners.len() * size_of::<Inner>()
            + self.leaves.capacity() * size_of::<Box<Leaf>>()
            + self.inners.capacity() * size_of::<Box<Inner>>()
            + self.common.capacity()
    }

    /// Adds a key that is not here yet, whose first record is at `first`.
    pub(crate) fn insert(&mut self, key: &[u8], first: Address, records: &Records) {
        if self.leaves.is_empty() {
            self.common = key.to_vec();
            self.leaves.push(Box::new(Leaf::new(key.len())));
        }
        self.share(key, records);
        let mut path = [(0, 0); HEIGHT_MAX];
        let mut node = self.root;
        for step in &mut path[..self.height] {
            let inner = &self.inners[node as usize];
            let index = inner.rank(key, records);
            *step = (node, index);
            node = inner.child(index);
        }
        let path = &path[..self.height];
        let leaf = &mut self.leaves[node as usize];
        if leaf.is_full() {
            self.split_leaf(path, node, key, first, records);
        } else {
            leaf.append(key, first);
        }
    }

    /// Makes invariant 2 hold for a key about to be added: where the keys now have less in
    /// common, only the nodes on the edges are affected.
    fn share(&mut self, key: &[u8], records: &Records) {
        if key.starts_with(&self.common) {
            return;
        }
        let common_len = common_len(&self.common, key);
        self.common.truncate(common_len);
        for last in [false, true] {
            let mut node = self.root;
            for _ in 0..self.height {
                let inner = &mut self.inners[node as usize];
                inner.rehead(inner.prefix_len.min(common_len), records);
                node = if last { inner.child_last() } else { inner.child(0) };
            }
            let leaf = &mut self.leaves[node as usize];
            leaf.rehead(leaf.prefix_len.min(common_len), records);
        }
    }

    fn split_leaf(
        &mut self,
        path: &[Step],
        left_id: u32,
        key: &[u8],
        first: Address,
        records: &Records,
    ) {
        let left = &self.leaves[left_id as usize];
        let (prefix_len, after) = (left.prefix_len, left.after);
        let sorted = left.to_sorted(records);
        let slots = sorted.slots();
        // Keys that arrive in order leave full leaves behind.
        let is_ascending = after.is_none() && sorted.rank(key, false, records) == LEAF_CAP;
        let middle = if is_ascending { LEAF_CAP } else { LEAF_CAP / 2 };
        let separator = slots.get(middle).map_or(first, |slot| slot.1);

        let (low, high) = self.bounds(path);
        let left_prefix_len = self.prefix_len(low, Some(separator), records);
        let right_prefix_len = self.prefix_len(Some(separator), high, records);
        let right_id = id(self.leaves.len());
        let mut right = Box::new(Leaf::new(prefix_len));
        right.fill(&slots[middle..], right_prefix_len, records);
        (right.before, right.after) = (Some(left_id), after);
        let left = &mut self.leaves[left_id as usize];
        left.fill(&slots[..middle], left_prefix_len, records);
        left.after = Some(right_id);
        let goes_right = is_ascending || key >= records.key(separator);
        if goes_right { &mut right } else { left }.append(key, first);

        match after {
            Some(after) => self.leaves[after as usize].before = Some(right_id),
            None => self.leaf_last = right_id,
        }
        self.leaves.push(right);
        self.add_child(path, separator, left_id, right_id, records);
    }

    /// Makes `right` the sibling after `left`, below the last step of `path`.
    fn add_child(
        &mut self,
        path: &[Step],
        separator: Address,
        left: u32,
        right: u32,
        records: &Records,
    ) {
        let Some((&(node, index), above)) = path.split_last() else {
            let mut root = Box::new(Inner::new(self.common.len(), left));
            root.insert(0, separator, right, records);
            self.root = id(self.inners.len());
            self.inners.push(root);
            self.height += 1;
            assert!(self.height < HEIGHT_MAX, "more leaves than ids");
            return;
        };
        let inner = &mut self.inners[node as usize];
        if !inner.is_full() {
            inner.insert(index, separator, right, records);
            return;
        }
        let middle = INNER_CAP / 2;
        let (up, mut sibling) = inner.split(middle);
        let (low, high) = self.bounds(above);
        let left_prefix_len = self.prefix_len(low, Some(up), records);
        sibling.rehead(self.prefix_len(Some(up), high, records), records);
        let inner = &mut self.inners[node as usize];
        inner.rehead(left_prefix_len, records);
        if index <= middle {
            inner.insert(index, separator, right, records);
        } else {
            sibling.insert(index - middle - 1, separator, right, records);
        }
        let sibling_id = id(self.inners.len());
        self.inners.push(Box::new(sibling));
        self.add_child(above, up, node, sibling_id, records);
    }

    /// The separators that enclose what is below `path`; None at the edges of the tree.
    fn bounds(&self, path: &[Step]) -> (Option<Address>, Option<Address>) {
        path.iter().fold((None, None), |(low, high), (node, index)| {
            let (nearer_low, nearer_high) = self.inners[*node as usize].around(*index);
            (nearer_low.or(low), nearer_high.or(high))
        })
    }

    fn prefix_len(&self, low: Option<Address>, high: Option<Address>, records: &Records) -> usize {
        match (low, high) {
            (Some(low), Some(high)) => common_len(records.key(low), records.key(high)),
            _ => self.common.len(),
        }
    }

    pub(crate) fn leaf_first(&self) -> u32 {
        LEAF_FIRST
    }

    pub(crate) fn leaf_last(&self) -> u32 {
        self.leaf_last
    }

    /// The leaf in which `key`, any bytes, is or would be.
    pub(crate) fn leaf_of(&self, key: &[u8], records: &Records) -> u32 {
        if !key.starts_with(&self.common) {
            return if key < &self.common[..] { LEAF_FIRST } else { self.leaf_last };
        }
        let mut node = self.root;
        for _ in 0..self.height {
            let inner = &self.inners[node as usize];
            node = inner.child(inner.rank(key, records));
        }
        node
    }

    pub(crate) fn leaf_after(&self, leaf: u32) -> Option<u32> {
        self.leaves[leaf as usize].after
    }

    pub(crate) fn leaf_before(&self, leaf: u32) -> Option<u32> {
        self.leaves[leaf as usize].before
    }

    pub(crate) fn sorted(&self, leaf: u32, records: &Records) -> Sorted {
        self.leaves[leaf as usize].to_sorted(records)
    }
}

fn id(index: usize) -> u32 {
    u32::try_from(index).expect("fewer nodes than records")
}

#[cfg(test)]
mod tests;
