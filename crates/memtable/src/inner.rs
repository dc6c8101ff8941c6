//! One inner node of the ordered structure: separators in order, and the children between them.
//!
//! Separators are keys of the table, named by address: they live as long as the table does. Each
//! has a head of 32 bytes behind the node's prefix, wide enough that keys made of words, like
//! paths, seldom tie. Inner nodes are few, so the width costs little.

use crate::arena::Address;
use crate::leaf::head;
use crate::records::Records;

/// Separators per node.
pub(crate) const INNER_CAP: usize = 64;

const HEAD_WORDS: usize = 4;
type WideHead = [u64; HEAD_WORDS];

fn wide_head(key: &[u8], prefix_len: usize) -> WideHead {
    std::array::from_fn(|index| head(key, prefix_len + index * size_of::<u64>()))
}

pub(crate) struct Inner {
    heads: [WideHead; INNER_CAP],
    keys: [Address; INNER_CAP],
    /// One more than there are separators.
    children: [u32; INNER_CAP + 1],
    len: usize,
    pub(crate) prefix_len: usize,
}

impl Inner {
    /// A node without separators, whose only child is `child`.
    pub(crate) fn new(prefix_len: usize, child: u32) -> Inner {
        let mut children = [0; INNER_CAP + 1];
        children[0] = child;
        let heads = [[0; HEAD_WORDS]; INNER_CAP];
        Inner { heads, keys: [Address::NONE; INNER_CAP], children, len: 0, prefix_len }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len == INNER_CAP
    }

    pub(crate) fn child(&self, index: usize) -> u32 {
        self.children[index]
    }

    /// The index of the last child.
    pub(crate) fn index_last(&self) -> usize {
        self.len
    }

    pub(crate) fn child_last(&self) -> u32 {
        self.children[self.len]
    }

    /// The separators on both sides of a child.
    pub(crate) fn around(&self, index: usize) -> (Option<Address>, Option<Address>) {
        let low = index.checked_sub(1).map(|below| self.keys[below]);
        (low, (index < self.len).then(|| self.keys[index]))
    }

    /// Which child covers `key`, which shares the node's prefix: how many separators are at most
    /// `key`.
    #[inline]
    pub(crate) fn rank(&self, key: &[u8], records: &Records) -> usize {
        let head = wide_head(key, self.prefix_len);
        let heads = &self.heads[..self.len];
        let low = heads.partition_point(|held| *held < head);
        if heads.get(low) != Some(&head) {
            return low;
        }
        let tied = heads[low..].partition_point(|held| *held == head);
        low + self.keys[low..low + tied]
            .partition_point(|held| records.key(*held)[self.prefix_len..] <= key[self.prefix_len..])
    }

    /// Puts a separator behind child `index`, and `child` behind the separator.
    pub(crate) fn insert(&mut self, index: usize, key: Address, child: u32, records: &Records) {
        let len = self.len;
        self.heads.copy_within(index..len, index + 1);
        self.keys.copy_within(index..len, index + 1);
        self.children.copy_within(index + 1..len + 1, index + 2);
        self.heads[index] = wide_head(records.key(key), self.prefix_len);
        self.keys[index] = key;
        self.children[index + 1] = child;
        self.len += 1;
    }

    /// Keeps the separators before `middle`; returns that separator and a node of the rest.
    pub(crate) fn split(&mut self, middle: usize) -> (Address, Inner) {
        let mut right = Inner::new(self.prefix_len, 0);
        right.len = self.len - middle - 1;
        right.heads[..right.len].copy_from_slice(&self.heads[middle + 1..self.len]);
        right.keys[..right.len].copy_from_slice(&self.keys[middle + 1..self.len]);
        right.children[..=right.len].copy_from_slice(&self.children[middle + 1..=self.len]);
        self.len = middle;
        (self.keys[middle], right)
    }

    /// Takes heads behind another prefix, which all keys below must share.
    pub(crate) fn rehead(&mut self, prefix_len: usize, records: &Records) {
        if prefix_len != self.prefix_len {
            self.prefix_len = prefix_len;
            for (head, key) in self.heads.iter_mut().zip(&self.keys).take(self.len) {
                *head = wide_head(records.key(*key), prefix_len);
            }
        }
    }
}
