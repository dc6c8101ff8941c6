//! One page: filled by a writer, searched and walked by readers.

#[cfg(test)]
mod tests;

use crate::address::{PAGE_LEN, unit_bits};
use crate::format::{
    NARROW_LEN, PAGE_HEADER_LEN, PageHeader, Shape, decode_page_header, seal_page,
};
use crate::probe::{lower_bound, lower_bound_wide};

/// A page that is being filled, in order of hashes.
#[derive(Debug)]
pub(crate) struct PageFill {
    shape: Shape,
    header: PageHeader,
    bytes: [u8; PAGE_LEN],
    fingerprint_at: usize,
    slot_at: usize,
    capacity: usize,
    unit_bits: u32,
}

impl PageFill {
    pub(crate) fn new(shape: Shape) -> PageFill {
        let mut fill = PageFill {
            shape,
            header: PageHeader::default(),
            bytes: [0; PAGE_LEN],
            fingerprint_at: 0,
            slot_at: 0,
            capacity: 0,
            unit_bits: unit_bits(shape.hash_bytes),
        };
        fill.reset(false);
        fill
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.header.count == 0
    }

    /// Empties the page; from here on it has wide fingerprints or not.
    pub(crate) fn reset(&mut self, wide: bool) {
        self.bytes.fill(0);
        self.header = PageHeader { wide, ..PageHeader::default() };
        self.fingerprint_at = PAGE_HEADER_LEN;
        self.slot_at = self.shape.slots_at(wide);
        self.capacity = self.shape.capacity(wide);
    }

    /// Adds an entry, unless the page is full or the hash too far from its first.
    #[inline]
    pub(crate) fn push(&mut self, hash: u64, slot: &[u8]) -> bool {
        let header = &mut self.header;
        if header.count == 0 {
            header.base = hash;
        }
        assert!(header.base <= hash, "hashes ascend");
        let distance = (hash - header.base) >> self.unit_bits;
        let len = self.shape.fingerprint_len(header.wide);
        let fits = header.wide || distance <= u64::from(u32::MAX);
        if usize::from(header.count) == self.capacity || !fits {
            return false;
        }
        assert!(header.span <= distance, "hashes ascend");
        assert!(slot.len() == self.shape.slot_len(), "a slot of the table's length");
        let fingerprint = distance.to_le_bytes();
        self.bytes[self.fingerprint_at..self.fingerprint_at + len]
            .copy_from_slice(&fingerprint[..len]);
        self.bytes[self.slot_at..self.slot_at + slot.len()].copy_from_slice(slot);
        self.fingerprint_at += len;
        self.slot_at += slot.len();
        header.span = distance;
        header.count += 1;
        true
    }

    /// Appends the page to `out` as page `number` and empties it.
    pub(crate) fn finish(&mut self, continues: bool, salt: u64, number: u64, out: &mut Vec<u8>) {
        assert!(!continues || self.header.count > 0, "nothing overflows an empty page");
        self.header.continues = continues;
        let wide = self.header.wide;
        seal_page(&mut self.bytes, &self.header, salt, number);
        out.extend_from_slice(&self.bytes);
        self.reset(wide);
    }
}

/// A page as it was read. The bytes may be anything; nothing here panics because of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page<'a> {
    bytes: &'a [u8],
    shape: Shape,
    header: PageHeader,
}

impl<'a> Page<'a> {
    /// `None` if these bytes cannot be a page of this shape.
    #[inline]
    pub(crate) fn new(shape: Shape, bytes: &'a [u8]) -> Option<Page<'a>> {
        let header = decode_page_header(shape, bytes)?;
        Some(Page { bytes, shape, header })
    }

    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.header.count.into()
    }

    /// True if entries that are at home here or before stand on the next page.
    #[inline]
    pub(crate) fn continues(&self) -> bool {
        self.header.continues
    }

    /// The kept hash of the first entry, as the header has it.
    pub(crate) fn base(&self) -> u64 {
        self.header.base
    }

    pub(crate) fn is_wide(&self) -> bool {
        self.header.wide
    }

    fn column(&self) -> &'a [u8] {
        let len = self.count() * self.shape.fingerprint_len(self.header.wide);
        self.bytes.get(PAGE_HEADER_LEN..PAGE_HEADER_LEN + len).unwrap_or(&[])
    }

    /// Distance of entry `index` from the base.
    #[inline]
    fn distance(&self, index: usize) -> u64 {
        let len = self.shape.fingerprint_len(self.header.wide);
        let bytes = self.bytes.get(PAGE_HEADER_LEN + index * len..).unwrap_or(&[]);
        if !self.header.wide {
            return bytes.first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes).into());
        }
        // What stands behind the fingerprint is cut off; there is always something but at the end.
        let unused = 64 - 8 * u32::from(self.shape.hash_bytes);
        if let Some(bytes) = bytes.first_chunk::<8>() {
            return u64::from_le_bytes(*bytes) << unused >> unused;
        }
        let bytes = bytes.iter().take(len);
        bytes.rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    /// The kept hash of entry `index`.
    #[inline]
    pub(crate) fn hash(&self, index: usize) -> u64 {
        let distance = self.distance(index) << unit_bits(self.shape.hash_bytes);
        self.header.base.wrapping_add(distance)
    }

    /// The kept hash of the last entry; that of nothing is 0.
    #[inline]
    pub(crate) fn last(&self) -> u64 {
        self.header.base.wrapping_add(self.header.span << unit_bits(self.shape.hash_bytes))
    }

    /// The slot of entry `index`.
    #[inline]
    pub(crate) fn slot(&self, index: usize) -> &'a [u8] {
        let len = self.shape.slot_len();
        let at = self.shape.slots_at(self.header.wide) + index * len;
        self.bytes.get(at..at + len).unwrap_or(&[])
    }

    /// The index of the first entry that is not below a kept hash.
    #[inline]
    pub(crate) fn lower_bound(&self, hash: u64) -> usize {
        let PageHeader { base, span, wide, .. } = self.header;
        let Some(distance) = hash.checked_sub(base) else { return 0 };
        let target = distance >> unit_bits(self.shape.hash_bytes);
        if target > span {
            return self.count();
        }
        let last = self.count().saturating_sub(1) as u64;
        match u32::try_from(target) {
            Ok(target) if !wide => {
                let guess = (u64::from(target) * last).checked_div(span).unwrap_or(0);
                let guess = usize::try_from(guess).unwrap_or(0);
                lower_bound(self.column(), target, guess)
            }
            _ => {
                // A column has less than 4096 entries; what is cut off does not matter.
                let unused = 12_u32.saturating_sub(span.leading_zeros());
                let guess = ((target >> unused) * last).checked_div(span >> unused).unwrap_or(0);
                let guess = usize::try_from(guess).unwrap_or(0);
                lower_bound_wide(self.count(), target, guess, |index| self.distance(index))
            }
        }
    }

    /// True if entry `index` is there and has this kept hash.
    #[inline]
    pub(crate) fn is_at(&self, index: usize, hash: u64) -> bool {
        index < self.count() && self.hash(index) == hash
    }

    /// What stands behind the entries of each column.
    pub(crate) fn padding(&self) -> [(usize, &'a [u8]); 2] {
        let wide = self.header.wide;
        let column_end = PAGE_HEADER_LEN + self.count() * self.shape.fingerprint_len(wide);
        let slots_at = self.shape.slots_at(wide);
        let slots_end = slots_at + self.count() * self.shape.slot_len();
        let part = |from: usize, to: usize| (from, self.bytes.get(from..to).unwrap_or(&[]));
        [part(column_end, slots_at), part(slots_end, PAGE_LEN)]
    }
}

const _: () = assert!(NARROW_LEN == size_of::<u32>());
