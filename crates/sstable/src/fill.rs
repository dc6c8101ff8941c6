//! Nodes being filled: keys in ascending order go in, bytes of one leaf or inner node come out.
//!
//! The length of the node is known at every moment, so that its builder can stop in time. It
//! changes with the common prefix: a key that shares less makes all suffixes longer.

use crate::entry::{Entry, Value};
use crate::format::{
    CHILD_LEN, CHILDREN_MIN, HEAD_LEN, NODE_HEADER_LEN, NodeHeader, PAGE_LEN, TAG_EXPIRY,
    TAG_INLINE, TAG_POINTER, TAG_TOMBSTONE, WIDE_SPAN, encode_node_header, head_of,
};

/// A leaf grows beyond its pages only while less than three quarters of them are used, and only up
/// to this many pages, unless its first entry is longer.
const LEAF_SPAN_MAX: usize = 4;

/// Ascending keys, one behind the other.
#[derive(Debug, Default)]
struct Keys {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    prefix_len: usize,
    /// Bytes of all suffixes behind their heads.
    tails_len: usize,
}

impl Keys {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn key(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.bytes[start..self.ends[index] as usize]
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        (self.prefix_len, self.tails_len) = (0, 0);
    }

    /// Prefix and tails once `key` is in too.
    fn grown(&self, key: &[u8]) -> (usize, usize) {
        if self.ends.is_empty() {
            return (key.len(), 0);
        }
        let prefix = &self.bytes[..self.prefix_len];
        if key.starts_with(prefix) {
            return (self.prefix_len, self.tails_len + tail_len(key.len(), self.prefix_len));
        }
        let prefix_len = common_len(prefix, key);
        let tails: usize =
            (0..self.len()).map(|index| tail_len(self.key(index).len(), prefix_len)).sum();
        (prefix_len, tails + tail_len(key.len(), prefix_len))
    }

    fn push(&mut self, key: &[u8], (prefix_len, tails_len): (usize, usize)) {
        self.bytes.extend_from_slice(key);
        self.ends.push(u32::try_from(self.bytes.len()).expect("a node is far below 4 GiB"));
        (self.prefix_len, self.tails_len) = (prefix_len, tails_len);
    }

    /// The prefix, padded to a multiple of 8, and the heads.
    fn encode_prefix_and_heads(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes[..self.prefix_len]);
        out.resize(out.len() + self.prefix_len.next_multiple_of(8) - self.prefix_len, 0);
        for index in 0..self.len() {
            out.extend_from_slice(&head_of(&self.key(index)[self.prefix_len..]).to_le_bytes());
        }
    }

    /// A key's suffix length, and the part of the suffix behind its head.
    fn suffix(&self, index: usize) -> (u16, &[u8]) {
        let suffix = &self.key(index)[self.prefix_len..];
        let len = u16::try_from(suffix.len()).expect("keys were checked");
        (len, suffix.get(HEAD_LEN..).unwrap_or(&[]))
    }
}

fn tail_len(key_len: usize, prefix_len: usize) -> usize {
    (key_len - prefix_len).saturating_sub(HEAD_LEN)
}

/// How many bytes two keys start with alike.
pub(crate) fn common_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Pages that `len` bytes with `slots` slots of 2 bytes fill; slots grow to 4 bytes in long nodes.
fn span_of(len: usize, slots: usize) -> usize {
    let span = len.div_ceil(PAGE_LEN);
    if span < WIDE_SPAN { span } else { (len + 2 * slots).div_ceil(PAGE_LEN) }
}

/// Writes slots into the room left for them at `slots_at`, for records at these offsets.
fn encode_slots(out: &mut [u8], span: usize, offsets: impl Iterator<Item = usize>) {
    let width = if span < WIDE_SPAN { 2 } else { 4 };
    for (slot, offset) in out.chunks_exact_mut(width).zip(offsets) {
        let bytes = u32::try_from(offset).expect("a node is far below 4 GiB").to_le_bytes();
        slot.copy_from_slice(&bytes[..width]);
    }
}

#[derive(Clone, Copy, Debug)]
struct Held {
    tag: u8,
    expiry: u64,
    value_end: usize,
}

/// A leaf being filled.
#[derive(Debug, Default)]
pub(crate) struct LeafFill {
    keys: Keys,
    values: Vec<u8>,
    held: Vec<Held>,
    expiring: usize,
    span: usize,
}

impl LeafFill {
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Bytes of the node, were it written now.
    pub(crate) fn len(&self) -> usize {
        let keys = self.keys.len();
        self.len_with(keys, (self.keys.prefix_len, self.keys.tails_len), 0)
    }

    fn len_with(&self, keys: usize, (prefix, tails): (usize, usize), more: usize) -> usize {
        let fixed = NODE_HEADER_LEN + keys * (HEAD_LEN + 2 + 3) + 2;
        fixed + prefix.next_multiple_of(8) + tails + self.expiring * 8 + self.values.len() + more
    }

    /// Takes an entry, whose key is above all before, or answers that it does not fit: then the
    /// leaf is full. An empty leaf takes every entry.
    pub(crate) fn push(&mut self, entry: &Entry<'_>) -> bool {
        let pointer;
        let (tag, value) = match entry.value {
            Value::Inline(bytes) => (TAG_INLINE, bytes),
            Value::Pointer(to) => {
                pointer = to.to_le_bytes();
                (TAG_POINTER, pointer.as_slice())
            }
            Value::Tombstone => (TAG_TOMBSTONE, [].as_slice()),
        };
        let grown = self.keys.grown(entry.key);
        let keys = self.keys.len() + 1;
        let more = value.len() + if entry.expiry == 0 { 0 } else { 8 };
        let span = span_of(self.len_with(keys, grown, more), keys + 1);
        if span > self.span && !self.is_empty() {
            let sparse = self.len() * 4 < self.span * PAGE_LEN * 3;
            if !sparse || span > LEAF_SPAN_MAX {
                return false;
            }
        }
        self.span = span.max(self.span);
        self.keys.push(entry.key, grown);
        self.values.extend_from_slice(value);
        let expires = entry.expiry != 0;
        self.expiring += usize::from(expires);
        let tag = if expires { tag | TAG_EXPIRY } else { tag };
        self.held.push(Held { tag, expiry: entry.expiry, value_end: self.values.len() });
        true
    }

    /// Puts the node behind `out` as whole pages and empties the leaf. The crc and the page of
    /// the next leaf are left to the caller. Returns the pages it fills.
    pub(crate) fn encode(&mut self, prev: u32, out: &mut Vec<u8>) -> u32 {
        let (start, keys) = (out.len(), self.keys.len());
        assert!(keys > 0, "an empty leaf is never written");
        let span = span_of(self.len(), keys + 1);
        let header = NodeHeader {
            level: 0,
            prefix_len: u16::try_from(self.keys.prefix_len).expect("keys were checked"),
            span: u32::try_from(span).expect("entries were checked"),
            count: u32::try_from(keys).expect("a node is far below 4 GiB"),
            prev,
            next: 0,
        };
        out.reserve(span * PAGE_LEN);
        encode_node_header(&header, out);
        self.keys.encode_prefix_and_heads(out);
        let slots_at = out.len();
        out.resize(slots_at + (keys + 1) * if span < WIDE_SPAN { 2 } else { 4 }, 0);
        let records_at = out.len() - start;
        let mut value_at = 0;
        for (index, held) in self.held.iter().enumerate() {
            let (suffix_len, tail) = self.keys.suffix(index);
            let [l0, l1] = suffix_len.to_le_bytes();
            out.extend_from_slice(&[held.tag, l0, l1]);
            if held.expiry != 0 {
                out.extend_from_slice(&held.expiry.to_le_bytes());
            }
            out.extend_from_slice(tail);
            out.extend_from_slice(&self.values[value_at..held.value_end]);
            value_at = held.value_end;
        }
        let slots = self.slots(records_at);
        encode_slots(&mut out[slots_at..start + records_at], span, slots);
        assert!(out.len() - start <= span * PAGE_LEN, "the length was known before");
        out.resize(start + span * PAGE_LEN, 0);
        self.clear();
        header.span
    }

    fn slots(&self, records_at: usize) -> impl Iterator<Item = usize> {
        let (mut at, mut value_at) = (records_at, 0);
        let ends = self.held.iter().enumerate().map(move |(index, held)| {
            let fixed = if held.expiry == 0 { 3 } else { 11 };
            at += fixed + self.keys.suffix(index).1.len() + held.value_end - value_at;
            value_at = held.value_end;
            at
        });
        std::iter::once(records_at).chain(ends)
    }

    fn clear(&mut self) {
        self.keys.clear();
        self.values.clear();
        self.held.clear();
        (self.expiring, self.span) = (0, 0);
    }
}

/// An inner node being filled.
#[derive(Debug, Default)]
pub(crate) struct InnerFill {
    /// Between the children: one fewer than they.
    separators: Keys,
    children: Vec<u32>,
    /// Separates this node from the one before it on its level; empty in the first.
    first: Vec<u8>,
}

impl InnerFill {
    /// The only child, if there is one only.
    pub(crate) fn only_child(&self) -> Option<u32> {
        if let [child] = *self.children { Some(child) } else { None }
    }

    fn len_with(children: usize, (prefix_len, tails_len): (usize, usize)) -> usize {
        let keys = children - 1;
        NODE_HEADER_LEN
            + keys * (HEAD_LEN + 2)
            + children * (CHILD_LEN + 2)
            + prefix_len.next_multiple_of(8)
            + tails_len
    }

    /// Whether one more child fits, behind this separator.
    pub(crate) fn fits(&self, separator: &[u8]) -> bool {
        let children = self.children.len() + 1;
        children <= CHILDREN_MIN
            || InnerFill::len_with(children, self.separators.grown(separator)) <= PAGE_LEN
    }

    /// Takes a child and what separates it from the one before.
    pub(crate) fn push(&mut self, separator: &[u8], child: u32) {
        if self.children.is_empty() {
            self.first.clear();
            self.first.extend_from_slice(separator);
        } else {
            let grown = self.separators.grown(separator);
            self.separators.push(separator, grown);
        }
        self.children.push(child);
    }

    /// Puts the node behind `out` as whole pages and empties it. The crc is left to the caller.
    /// Returns the pages it fills and what separates it from the node before.
    pub(crate) fn encode(&mut self, level: u8, out: &mut Vec<u8>) -> (u32, Vec<u8>) {
        let (start, keys, children) = (out.len(), self.separators.len(), self.children.len());
        assert!(keys + 1 == children, "separators stand between children");
        let shape = (self.separators.prefix_len, self.separators.tails_len);
        let span = span_of(InnerFill::len_with(children, shape), children);
        let header = NodeHeader {
            level,
            prefix_len: u16::try_from(self.separators.prefix_len).expect("keys were checked"),
            span: u32::try_from(span).expect("keys were checked"),
            count: u32::try_from(children).expect("a node is far below 4 GiB"),
            prev: 0,
            next: 0,
        };
        out.reserve(span * PAGE_LEN);
        encode_node_header(&header, out);
        self.separators.encode_prefix_and_heads(out);
        for child in &self.children {
            out.extend_from_slice(&child.to_le_bytes());
        }
        let slots_at = out.len();
        out.resize(slots_at + children * if span < WIDE_SPAN { 2 } else { 4 }, 0);
        let records_at = out.len() - start;
        for index in 0..keys {
            let (suffix_len, tail) = self.separators.suffix(index);
            out.extend_from_slice(&suffix_len.to_le_bytes());
            out.extend_from_slice(tail);
        }
        let mut at = records_at;
        let ends = (0..keys).map(|index| {
            at += 2 + self.separators.suffix(index).1.len();
            at
        });
        let slots = std::iter::once(records_at).chain(ends);
        encode_slots(&mut out[slots_at..start + records_at], span, slots);
        assert!(out.len() - start <= span * PAGE_LEN, "the length was known before");
        out.resize(start + span * PAGE_LEN, 0);
        self.separators.clear();
        self.children.clear();
        (header.span, std::mem::take(&mut self.first))
    }
}

#[cfg(test)]
mod tests;
