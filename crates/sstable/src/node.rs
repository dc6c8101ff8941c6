//! Searches one leaf or inner node, trusting nothing in it: every offset is checked when it is
//! followed, so that bytes with a right checksum and a wrong meaning give `Corrupt` or a wrong
//! answer, never a panic.
//!
//! A search compares 8-byte heads first and looks at a record only among equal heads. Heads are
//! counted in two steps (the last of each 16, then one group of 16) without a branch that depends
//! on them.
//!
//! What a look-up runs through is always inlined: moved out of calls, layouts and results cost
//! more than the search in them.

use std::cmp::Ordering;
use std::ops::Range;
use std::path::Path;

use vfs::{Error, Result, first_nonzero};

use crate::entry::KEY_LEN_MAX;
use crate::format::{
    CHILD_LEN, HEAD_LEN, NODE_HEADER_LEN, PAGE_LEN, TAG_EXPIRY, TAG_INLINE, TAG_POINTER,
    TAG_TOMBSTONE, WIDE_SPAN, decode_node_header, head_bytes, head_of, page_offset, u16_at, u32_at,
};

/// Heads in one step of a search.
const GROUP: usize = 16;

/// Where the parts of a node are. All ranges lie inside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Layout {
    /// First page of the node.
    pub(crate) page: u32,
    pub(crate) span: u32,
    pub(crate) level: u8,
    pub(crate) prev: u32,
    pub(crate) next: u32,
    /// Keys in it: entries of a leaf, separators of an inner node.
    pub(crate) keys: u32,
    prefix_len: u32,
    heads_at: u32,
    /// Where the children of an inner node, or else the slots, start.
    heads_end: u32,
    slots_at: u32,
    records_at: u32,
}

/// A node's bytes with their layout.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    pub(crate) layout: Layout,
}

/// What a leaf's record holds, the value as a range of the node's bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Held {
    Inline(Range<usize>),
    Pointer(u64),
    Tombstone,
}

/// One record of a leaf or inner node.
#[derive(Clone, Copy, Debug)]
struct Record<'a> {
    tag: u8,
    suffix_len: u16,
    expiry: u64,
    /// The suffix behind its first 8 bytes.
    tail: &'a [u8],
    /// Where the value starts and ends in the node.
    value_at: usize,
    end: usize,
}

impl<'a> Node<'a> {
    /// A node whose checksum holds: finds its parts.
    #[inline(always)]
    pub(crate) fn parse(path: &'a Path, page: u32, level: u8, bytes: &'a [u8]) -> Result<Node<'a>> {
        let header = decode_node_header(path, page, level, bytes)?;
        let keys = if level == 0 { header.count } else { header.count - 1 };
        let wide = bytes.len() >= WIDE_SPAN * PAGE_LEN;
        let slot_len = if wide { 4 } else { 2 };
        let (keys_len, count_len) = (u64::from(keys), u64::from(header.count));
        let heads_at = NODE_HEADER_LEN as u64 + u64::from(header.prefix_len).next_multiple_of(8);
        let heads_end = heads_at + keys_len * HEAD_LEN as u64;
        let slots_at = heads_end + if level == 0 { 0 } else { count_len * CHILD_LEN as u64 };
        let records_at = slots_at + (keys_len + 1) * slot_len;
        if records_at > bytes.len() as u64 {
            return Err(too_long(path, page, bytes.len() as u64, records_at));
        }
        let fit = |at: u64| u32::try_from(at).expect("below the length of a node");
        let layout = Layout {
            page,
            span: header.span,
            level,
            prev: header.prev,
            next: header.next,
            keys,
            prefix_len: header.prefix_len.into(),
            heads_at: fit(heads_at),
            heads_end: fit(heads_end),
            slots_at: fit(slots_at),
            records_at: fit(records_at),
        };
        Ok(Node { path, bytes, layout })
    }

    /// The node whose bytes were parsed before.
    #[inline(always)]
    pub(crate) fn resume(path: &'a Path, bytes: &'a [u8], layout: Layout) -> Node<'a> {
        Node { path, bytes, layout }
    }

    #[cold]
    #[inline(never)]
    fn corrupt(&self, what: &'static str, at: usize, expected: u64, found: u64) -> Error {
        let offset = page_offset(self.layout.page) + at as u64;
        Error::corrupt(what, self.path, offset, expected, found)
    }

    #[inline(always)]
    fn heads(&self) -> &'a [[u8; HEAD_LEN]] {
        let range = self.layout.heads_at as usize..self.layout.heads_end as usize;
        self.bytes.get(range).unwrap_or(&[]).as_chunks().0
    }

    #[inline(always)]
    fn head(&self, index: usize) -> u64 {
        self.heads().get(index).map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    #[inline(always)]
    pub(crate) fn prefix(&self) -> &'a [u8] {
        let end = NODE_HEADER_LEN + self.layout.prefix_len as usize;
        self.bytes.get(NODE_HEADER_LEN..end).unwrap_or(&[])
    }

    #[inline(always)]
    fn slot(&self, index: usize) -> Option<usize> {
        let at = self.layout.slots_at as usize;
        if self.bytes.len() >= WIDE_SPAN * PAGE_LEN {
            u32_at(self.bytes, at + index * 4).map(|slot| slot as usize)
        } else {
            u16_at(self.bytes, at + index * 2).map(usize::from)
        }
    }

    /// Where record `index` starts and ends.
    #[inline(always)]
    fn bounds(&self, index: usize) -> Result<(usize, usize)> {
        let (Some(start), Some(end)) = (self.slot(index), self.slot(index + 1)) else {
            return Err(self.corrupt("record", 0, self.layout.keys.into(), index as u64));
        };
        if start < self.layout.records_at as usize || end < start || self.bytes.len() < end {
            return Err(self.corrupt("slot", start, self.bytes.len() as u64, end as u64));
        }
        Ok((start, end))
    }

    #[inline(always)]
    fn record(&self, index: usize) -> Result<Record<'a>> {
        let (start, end) = self.bounds(index)?;
        let bytes = self.bytes.get(start..end).unwrap_or(&[]);
        let record = if self.layout.level == 0 { leaf_record(bytes) } else { inner_record(bytes) };
        let Some((mut record, rest)) = record else {
            return Err(self.corrupt("length of a record", start, 2, bytes.len() as u64));
        };
        let tail_len = usize::from(record.suffix_len).saturating_sub(HEAD_LEN);
        let Some((tail, value)) = rest.split_at_checked(tail_len) else {
            let (wanted, found) = (tail_len as u64, rest.len() as u64);
            return Err(self.corrupt("length of a key", start, wanted, found));
        };
        let key_len = self.layout.prefix_len as usize + usize::from(record.suffix_len);
        if key_len == 0 || key_len > KEY_LEN_MAX {
            let max = KEY_LEN_MAX as u64;
            return Err(self.corrupt("length of a key", start, max, key_len as u64));
        }
        record.tail = tail;
        record.value_at = end - value.len();
        record.end = end;
        Ok(record)
    }

    /// The first key that is not below `key`, and whether it equals it. `keys` if all are below.
    #[inline(always)]
    pub(crate) fn lower_bound(&self, key: &[u8]) -> Result<(usize, bool)> {
        let (prefix, keys) = (self.prefix(), self.layout.keys as usize);
        let suffix = match key.strip_prefix(prefix) {
            Some(suffix) => suffix,
            None if key < prefix => return Ok((0, false)),
            None => return Ok((keys, false)),
        };
        let (heads, head) = (self.heads(), head_of(suffix));
        let mut low = count_below(heads, head);
        if heads.get(low).is_none_or(|bytes| u64::from_le_bytes(*bytes) != head) {
            return Ok((low, false));
        }
        let mut high = low + 1;
        if heads.get(high).is_some_and(|bytes| u64::from_le_bytes(*bytes) == head) {
            high = head.checked_add(1).map_or(keys, |above| count_below(heads, above)).max(high);
        }
        // Equal heads: the records decide.
        while low < high {
            let middle = low.midpoint(high);
            match self.compare(middle, suffix)? {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok((middle, true)),
                Ordering::Greater => high = middle,
            }
        }
        Ok((low, false))
    }

    /// Compares key `index` with one of the same prefix and head.
    fn compare(&self, index: usize, suffix: &[u8]) -> Result<Ordering> {
        let record = self.record(index)?;
        let tail = suffix.get(HEAD_LEN..).unwrap_or(&[]);
        // With equal heads, a suffix of fewer than 8 bytes is a prefix of the other, padded.
        let by_tail = record.tail.cmp(tail);
        Ok(by_tail.then_with(|| usize::from(record.suffix_len).cmp(&suffix.len())))
    }

    /// Which child may hold `key`.
    #[inline(always)]
    pub(crate) fn child_index(&self, key: &[u8]) -> Result<usize> {
        let (index, equal) = self.lower_bound(key)?;
        Ok(index + usize::from(equal))
    }

    /// How many children an inner node has.
    pub(crate) fn child_count(&self) -> usize {
        self.layout.keys as usize + 1
    }

    /// The page of a child, which is below this node's own page.
    #[inline(always)]
    pub(crate) fn child(&self, index: usize) -> Result<u32> {
        let at = self.layout.heads_end as usize + index * CHILD_LEN;
        let page = if index < self.child_count() { u32_at(self.bytes, at) } else { None };
        match page {
            Some(page) if 0 < page && page < self.layout.page => Ok(page),
            page => {
                let found = u64::from(page.unwrap_or(0));
                Err(self.corrupt("page of a child", at, self.layout.page.into(), found))
            }
        }
    }

    /// Puts the suffix of key `index` behind the prefix already in `key`.
    #[inline(always)]
    fn push_suffix(&self, index: usize, record: &Record<'_>, key: &mut Vec<u8>) {
        let head = head_bytes(self.head(index));
        match usize::from(record.suffix_len) {
            // A copy whose length is known is no call.
            HEAD_LEN.. => key.extend_from_slice(&head),
            len => key.extend_from_slice(head.get(..len).unwrap_or(&[])),
        }
        key.extend_from_slice(record.tail);
    }

    /// Makes `key` the separator `index` of an inner node.
    pub(crate) fn read_separator(&self, index: usize, key: &mut Vec<u8>) -> Result<()> {
        let record = self.record(index)?;
        key.clear();
        key.extend_from_slice(self.prefix());
        self.push_suffix(index, &record, key);
        Ok(())
    }

    /// What leaf entry `index` holds, and its expiry.
    #[inline(always)]
    pub(crate) fn held(&self, index: usize) -> Result<(Held, u64)> {
        let record = self.record(index)?;
        Ok((self.held_by(&record)?, record.expiry))
    }

    /// As [`Node::held`]; also puts the entry's suffix into `key`, which holds the prefix and
    /// perhaps the suffix of another entry of this leaf.
    #[inline(always)]
    pub(crate) fn read_entry(&self, index: usize, key: &mut Vec<u8>) -> Result<(Held, u64)> {
        let record = self.record(index)?;
        let held = self.held_by(&record)?;
        key.truncate(self.layout.prefix_len as usize);
        self.push_suffix(index, &record, key);
        Ok((held, record.expiry))
    }

    #[inline(always)]
    fn held_by(&self, record: &Record<'_>) -> Result<Held> {
        let (at, end) = (record.value_at, record.end);
        let len = end - at;
        match record.tag & !TAG_EXPIRY {
            TAG_INLINE => Ok(Held::Inline(at..end)),
            TAG_POINTER => match self.bytes.get(at..end).and_then(|value| value.try_into().ok()) {
                Some(bytes) => Ok(Held::Pointer(u64::from_le_bytes(bytes))),
                None => Err(self.corrupt("length of a pointer", at, 8, len as u64)),
            },
            TAG_TOMBSTONE if len == 0 => Ok(Held::Tombstone),
            TAG_TOMBSTONE => Err(self.corrupt("length of a tombstone", at, 0, len as u64)),
            _ => Err(self.corrupt("tag of a record", at, TAG_TOMBSTONE.into(), record.tag.into())),
        }
    }

    /// What only a check has time for: records lie back to back, expiries and short heads are as
    /// they are written, nothing stands behind the last record.
    pub(crate) fn check(&self) -> Result<()> {
        let padding = NODE_HEADER_LEN + self.prefix().len()..self.layout.heads_at as usize;
        if first_nonzero(self.bytes.get(padding.clone()).unwrap_or(&[])).is_some() {
            return Err(self.corrupt("padding of a prefix", padding.start, 0, 1));
        }
        let mut end = self.layout.records_at as usize;
        for index in 0..self.layout.keys as usize {
            let (start, record) = (self.bounds(index)?.0, self.record(index)?);
            if start != end {
                return Err(self.corrupt("start of a record", start, end as u64, start as u64));
            }
            if record.tag & TAG_EXPIRY != 0 && record.expiry == 0 {
                return Err(self.corrupt("expiry of a record", start, 1, 0));
            }
            if self.layout.level > 0 && record.value_at != record.end {
                return Err(self.corrupt("length of a separator", start, 0, 1));
            }
            let head = head_bytes(self.head(index));
            let pad = head.get(usize::from(record.suffix_len).min(HEAD_LEN)..).unwrap_or(&[]);
            if pad.iter().any(|byte| *byte != 0) {
                return Err(self.corrupt("padding of a head", start, 0, self.head(index)));
            }
            end = record.end;
        }
        if self.slot(self.layout.keys as usize) != Some(end) {
            return Err(self.corrupt("end of the records", end, end as u64, 0));
        }
        match first_nonzero(self.bytes.get(end..).unwrap_or(&[])) {
            Some(at) => Err(self.corrupt("zeros behind the records", end + at, 0, 1)),
            None => Ok(()),
        }
    }
}

#[cold]
fn too_long(path: &Path, page: u32, len: u64, records_at: u64) -> Error {
    Error::corrupt("records of a node", path, page_offset(page), len, records_at)
}

/// How many of the ascending heads are below `head`. Of heads in any other order, some number.
#[inline(always)]
fn count_below(heads: &[[u8; HEAD_LEN]], head: u64) -> usize {
    let below = |bytes: &[u8; HEAD_LEN]| usize::from(u64::from_le_bytes(*bytes) < head);
    let (groups, _) = heads.as_chunks::<GROUP>();
    let whole: usize = groups.iter().map(|[.., last]| below(last)).sum();
    let rest = heads.get(whole * GROUP..).unwrap_or(&[]);
    let in_group: usize = rest.iter().take(GROUP).map(below).sum();
    whole * GROUP + in_group
}

#[inline(always)]
fn leaf_record(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let ([tag, l0, l1], mut rest) = bytes.split_first_chunk::<3>()?;
    let mut expiry = 0;
    if tag & TAG_EXPIRY != 0 {
        let (field, behind) = rest.split_first_chunk::<8>()?;
        (expiry, rest) = (u64::from_le_bytes(*field), behind);
    }
    let suffix_len = u16::from_le_bytes([*l0, *l1]);
    Some((Record { tag: *tag, suffix_len, expiry, tail: &[], value_at: 0, end: 0 }, rest))
}

#[inline(always)]
fn inner_record(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (field, rest) = bytes.split_first_chunk::<2>()?;
    let suffix_len = u16::from_le_bytes(*field);
    Some((Record { tag: 0, suffix_len, expiry: 0, tail: &[], value_at: 0, end: 0 }, rest))
}

#[cfg(test)]
mod tests;
