//! Bytes of a slot of a hash index: where the newest record of a key is, and what can be told of it
//! without reading it.
//!
//! ```text
//! slot  0 pointer  u64   the record: segment 32 bits | offset / 8 27 bits | length class 5 bits
//!       8 meta     u32   1 bit tombstone | 31 bits expiry
//!
//! expiry  0 never; else units of 2 seconds since 1970, rounded up; all ones: the record says
//! ```
//!
//! Little-endian. The exact expiry is the record's; the slot's tells merges which records they
//! need not read.

use crate::record::ValuePtr;

/// Bytes of a slot.
pub(crate) const SLOT_LEN: usize = 12;
/// Where in a slot the segment of its pointer stands, as a `u32`.
pub(crate) const SEGMENT_OFFSET: u16 = 4;
const META_OFFSET: usize = 8;
const TOMBSTONE: u32 = 1 << 31;
const EXPIRY_MASK: u32 = TOMBSTONE - 1;
/// The expiry is beyond what a slot can hold.
const EXPIRY_ESCAPE: u32 = EXPIRY_MASK;
const UNIT_MS: u64 = 2000;

/// A slot, decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Slot {
    pub(crate) pointer: ValuePtr,
    pub(crate) is_delete: bool,
    expiry_units: u32,
}

/// When an entry vanishes, in milliseconds since 1970, as far as its slot knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expiry {
    Never,
    /// It has vanished.
    Passed,
    /// Not before this.
    NotBefore(u64),
    /// Only the record knows.
    AskRecord,
}

impl Slot {
    /// `expiry` in milliseconds since 1970; 0 is never.
    pub(crate) fn new(pointer: ValuePtr, is_delete: bool, expiry: u64) -> Slot {
        let units = u32::try_from(expiry.div_ceil(UNIT_MS)).unwrap_or(EXPIRY_ESCAPE);
        Slot { pointer, is_delete, expiry_units: units.min(EXPIRY_ESCAPE) }
    }

    /// The same slot for a record that was copied.
    pub(crate) fn at(self, pointer: ValuePtr) -> Slot {
        Slot { pointer, ..self }
    }

    pub(crate) fn encode(self) -> [u8; SLOT_LEN] {
        let mut bytes = [0; SLOT_LEN];
        let flag = if self.is_delete { TOMBSTONE } else { 0 };
        let meta = self.expiry_units | flag;
        bytes[..META_OFFSET].copy_from_slice(&self.pointer.bits().to_le_bytes());
        bytes[META_OFFSET..].copy_from_slice(&meta.to_le_bytes());
        bytes
    }

    /// Any bytes are a slot; what they say is for the record to confirm.
    ///
    /// # Panics
    /// If there are not [`SLOT_LEN`] bytes: the table was opened with that length.
    pub(crate) fn decode(bytes: &[u8]) -> Slot {
        let [a, b, c, d, e, f, g, h, i, j, k, l] =
            bytes.try_into().expect("a table's slots have its slot length");
        let pointer = ValuePtr::from_bits(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
        let meta = u32::from_le_bytes([i, j, k, l]);
        Slot { pointer, is_delete: meta & TOMBSTONE != 0, expiry_units: meta & EXPIRY_MASK }
    }

    /// When it expires, as far as the slot knows.
    pub(crate) fn expiry(self, now_ms: u64) -> Expiry {
        let latest_ms = u64::from(self.expiry_units) * UNIT_MS;
        match self.expiry_units {
            0 => Expiry::Never,
            EXPIRY_ESCAPE => Expiry::AskRecord,
            _ if latest_ms <= now_ms => Expiry::Passed,
            _ if now_ms <= latest_ms - UNIT_MS => Expiry::NotBefore(latest_ms - UNIT_MS + 1),
            _ => Expiry::AskRecord,
        }
    }
}

#[cfg(test)]
mod tests;
