//! One leaf of the ordered structure: keys are appended, and sorted when somebody needs order.
//!
//! A leaf holds {head, address} pairs. A head is the eight key bytes behind the prefix that all
//! keys of the leaf share, so it decides most comparisons without touching a key. Inserting
//! appends: the search inside the leaf and the moves that keep a leaf sorted are what a sorted
//! leaf pays most for (docs/decisions/0001-memtable-structure.md). The front of a leaf is what
//! its last split left sorted; whoever reads sorts the rest and merges it.

use std::ops::Range;

use crate::arena::Address;
use crate::records::Records;

/// Keys per leaf.
pub(crate) const LEAF_CAP: usize = 64;

/// A key in a leaf: its head and the address of its first record.
pub(crate) type Slot = (u64, Address);

/// Eight bytes of `key` behind `prefix_len`, zero-padded, as a number of the same order. Equal
/// heads decide nothing.
#[inline]
pub(crate) fn head(key: &[u8], prefix_len: usize) -> u64 {
    let rest = key.get(prefix_len..).unwrap_or(&[]);
    // Most significant byte first, whatever the machine: read little-endian, then swapped.
    let word = rest.first_chunk().copied().unwrap_or_else(|| {
        let mut padded = [0; 8];
        padded[..rest.len()].copy_from_slice(rest);
        padded
    });
    u64::from_le_bytes(word).swap_bytes()
}

/// How many leading bytes both have in common.
pub(crate) fn common_len(left: &[u8], right: &[u8]) -> usize {
    const WORD: usize = size_of::<u128>();
    let words = left.chunks_exact(WORD).zip(right.chunks_exact(WORD));
    let len = WORD * words.take_while(|(left, right)| left == right).count();
    let rest = left[len..].iter().zip(&right[len..]);
    len + rest.take_while(|(left, right)| left == right).count()
}

pub(crate) struct Leaf {
    heads: [u64; LEAF_CAP],
    keys: [Address; LEAF_CAP],
    len: usize,
    /// The slots before this index are in order.
    sorted: usize,
    pub(crate) prefix_len: usize,
    /// Neighbours in key order.
    pub(crate) before: Option<u32>,
    pub(crate) after: Option<u32>,
}

impl Leaf {
    pub(crate) fn new(prefix_len: usize) -> Leaf {
        Leaf {
            heads: [0; LEAF_CAP],
            keys: [Address::NONE; LEAF_CAP],
            len: 0,
            sorted: 0,
            prefix_len,
            before: None,
            after: None,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len == LEAF_CAP
    }

    /// Whether heads do not tell all keys of a leaf in order apart.
    pub(crate) fn has_ties(&self) -> bool {
        self.heads[..self.len].windows(2).any(|pair| pair[0] == pair[1])
    }

    /// Adds a key that is not here yet; the leaf is not full.
    #[inline]
    pub(crate) fn append(&mut self, key: &[u8], first: Address) {
        self.heads[self.len] = head(key, self.prefix_len);
        self.keys[self.len] = first;
        self.len += 1;
    }

    /// The leaf's slots, in order.
    pub(crate) fn to_sorted(&self, records: &Records) -> Sorted {
        let mut slots = [(0, Address::NONE); LEAF_CAP];
        for (slot, from) in slots.iter_mut().zip(self.heads.iter().zip(&self.keys)) {
            *slot = (*from.0, *from.1);
        }
        let mut sorted = Sorted { slots, len: self.len, prefix_len: self.prefix_len };
        if self.sorted < self.len {
            // Where heads tie, most keys will be asked for, one after the other.
            let sorted_heads = &self.heads[..self.sorted];
            if sorted_heads.windows(2).any(|pair| pair[0] == pair[1]) {
                records.warm(sorted.slots());
            }
            sort(&mut sorted.slots[self.sorted..self.len], self.prefix_len, records);
            sorted.merge(self.sorted, records);
        }
        sorted
    }

    /// Replaces the leaf's content by slots that are in order, under a prefix they share.
    pub(crate) fn fill(&mut self, slots: &[Slot], prefix_len: usize, records: &Records) {
        for (index, (head, first)) in slots.iter().enumerate() {
            self.heads[index] = *head;
            self.keys[index] = *first;
        }
        self.len = slots.len();
        self.sorted = slots.len();
        self.rehead(prefix_len, records);
    }

    /// Takes heads behind another prefix, which all keys must share.
    pub(crate) fn rehead(&mut self, prefix_len: usize, records: &Records) {
        if prefix_len != self.prefix_len {
            self.prefix_len = prefix_len;
            for (head_of, first) in self.heads.iter_mut().zip(&self.keys).take(self.len) {
                *head_of = head(records.key(*first), prefix_len);
            }
        }
    }
}

/// A copy of a leaf, in order.
pub(crate) struct Sorted {
    slots: [Slot; LEAF_CAP],
    len: usize,
    prefix_len: usize,
}

impl Sorted {
    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots[..self.len]
    }

    /// How many keys are less than `key`, or at most `key` if `or_equal`. `key` may be any.
    pub(crate) fn rank(&self, key: &[u8], or_equal: bool, records: &Records) -> usize {
        let slots = self.slots();
        let ([(_, first), ..], [.., (_, last)]) = (slots, slots) else { return 0 };
        let is_before = |held: &[u8]| if or_equal { held <= key } else { held < key };
        // A cursor that comes from a neighbour asks for an end.
        if !is_before(records.key(*first)) {
            return 0;
        }
        if is_before(records.key(*last)) {
            return slots.len();
        }
        // Between two keys of the leaf: it shares their prefix.
        let head_of = head(key, self.prefix_len);
        slots.partition_point(|(head, first)| {
            if *head != head_of {
                return *head < head_of;
            }
            is_before(records.key(*first))
        })
    }

    /// Merges two sorted parts that meet at `middle`, from the back.
    fn merge(&mut self, middle: usize, records: &Records) {
        let mut right = [(0, Address::NONE); LEAF_CAP];
        let right_len = self.len - middle;
        right[..right_len].copy_from_slice(&self.slots[middle..self.len]);
        let (mut left_at, mut right_at) = (middle, right_len);
        while 0 < left_at && 0 < right_at {
            let (left, right) = (self.slots[left_at - 1], right[right_at - 1]);
            let left_is_greater = if left.0 == right.0 {
                records.key(left.1)[self.prefix_len..] > records.key(right.1)[self.prefix_len..]
            } else {
                left.0 > right.0
            };
            self.slots[left_at + right_at - 1] = if left_is_greater { left } else { right };
            left_at -= usize::from(left_is_greater);
            right_at -= usize::from(!left_is_greater);
        }
        self.slots[..right_at].copy_from_slice(&right[..right_at]);
    }
}

/// Sorts distinct keys that share `prefix_len` bytes by heads taken there; where heads tie, by heads
/// taken where the tied keys begin to differ, and so on: each key is touched once per level, not
/// once per comparison. Heads are as before when it returns.
///
/// Postmortem: of keys of which each begins with the one before it, one leaves at each level. All
/// they had in common was compared at each of thousands of levels, by a recursion as deep: seconds,
/// under the memtable's lock. Only bytes that nobody has compared count now, and a list says what
/// is left to sort.
pub(crate) fn sort(slots: &mut [Slot], prefix_len: usize, records: &Records) {
    /// Up to here comparing whole keys is cheaper than another level.
    const COMPARE_MAX: usize = 3;
    slots.sort_unstable_by_key(|slot| slot.0);
    let tied: Vec<Range<usize>> = ties(slots, 0).collect();
    let mut left: Vec<(Range<usize>, usize)> =
        tied.iter().map(|tie| (tie.clone(), prefix_len)).collect();
    while let Some((tie, from)) = left.pop() {
        let rest = |slot: &Slot| &records.key(slot.1)[from..];
        let slots = &mut slots[tie.clone()];
        let one = rest(&slots[0]);
        let shared = slots[1..]
            .iter()
            .fold(one.len(), |shared, slot| common_len(&one[..shared], rest(slot)));
        // Keys that differ only in trailing zeros tie at every depth: compare them whole.
        if slots.len() <= COMPARE_MAX || shared < size_of::<u64>() {
            slots.sort_unstable_by(|left, right| rest(left).cmp(rest(right)));
            continue;
        }
        let deeper = from + shared;
        for slot in &mut *slots {
            slot.0 = head(records.key(slot.1), deeper);
        }
        slots.sort_unstable_by_key(|slot| slot.0);
        left.extend(ties(slots, tie.start).map(|tie| (tie, deeper)));
    }
    for tie in tied {
        let head_of = head(records.key(slots[tie.start].1), prefix_len);
        slots[tie].iter_mut().for_each(|slot| slot.0 = head_of);
    }
}

/// Where slots have equal heads, of sorted ones that begin at `start`.
fn ties(slots: &[Slot], start: usize) -> impl Iterator<Item = Range<usize>> {
    let mut end = start;
    slots.chunk_by(|left, right| left.0 == right.0).filter_map(move |tie| {
        end += tie.len();
        (tie.len() > 1).then(|| end - tie.len()..end)
    })
}

#[cfg(test)]
mod tests;
