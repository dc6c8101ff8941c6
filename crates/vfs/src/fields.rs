//! Little-endian fields of a file. A [`Reader`] knows path and offset, so that every decoder's
//! error names them; it never panics, whatever the bytes.

use std::path::Path;

use crate::error::{Error, Result};

/// Reads fields from bytes of a file, front to back.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    path: &'a Path,
    /// Offset in the file of `rest[0]`.
    offset: u64,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of `bytes`, which start at `offset` of the file at `path`.
    pub fn new(path: &'a Path, offset: u64, bytes: &'a [u8]) -> Reader<'a> {
        Reader { path, offset, rest: bytes }
    }

    /// Offset in the file of the next byte.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The file the bytes come from.
    pub fn path(&self) -> &'a Path {
        self.path
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The bytes that are left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `len` bytes. `Corrupt` if fewer are left.
    #[inline]
    pub fn bytes(&mut self, what: &'static str, len: usize) -> Result<&'a [u8]> {
        let Some((head, tail)) = self.rest.split_at_checked(len) else {
            return Err(self.corrupt(what, len as u64, self.rest.len() as u64));
        };
        self.rest = tail;
        self.offset += len as u64;
        Ok(head)
    }

    /// The next `N` bytes. `Corrupt` if fewer are left.
    #[inline]
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        let bytes = self.bytes(what, N)?;
        Ok(bytes.try_into().expect("N bytes were taken"))
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self, what: &'static str) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array(what)?))
    }

    /// Two bytes.
    #[inline]
    pub fn u16(&mut self, what: &'static str) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    /// Four bytes.
    #[inline]
    pub fn u32(&mut self, what: &'static str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    /// Eight bytes.
    #[inline]
    pub fn u64(&mut self, what: &'static str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// LEB128: seven bits a byte, low bits first, at most ten bytes, no longer than needed.
    pub fn varint(&mut self, what: &'static str) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8(what)?;
            let bits = u64::from(byte & 0x7f);
            if (shift == 63 && bits > 1) || (shift > 0 && byte == 0) {
                return Err(self.corrupt(what, 0, u64::from(byte)));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.corrupt(what, 10, 11))
    }

    /// Bytes that must stand here: a magic, a version, reserved zeros.
    #[inline]
    pub fn expect(&mut self, what: &'static str, expected: &[u8]) -> Result<()> {
        let start = self.offset;
        let found = self.bytes(what, expected.len())?;
        if found != expected {
            let (expected, found) = (head(expected), head(found));
            return Err(Error::corrupt(what, self.path, start, expected, found));
        }
        Ok(())
    }

    /// A format's version, four bytes; `Invalid` with a message that says so unless it is the one
    /// that this build knows. To be asked when the bytes are known to be whole: a changed bit in a
    /// version is damage, not a newer file.
    pub fn version(&mut self, what: &'static str, known: u32) -> Result<()> {
        let found = self.u32(what)?;
        if found != known {
            let message = format!("{what} {found}, this build knows {known}");
            return Err(Error::invalid(message, self.path));
        }
        Ok(())
    }

    /// `Corrupt` unless every byte was read.
    pub fn end(&self, what: &'static str) -> Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(self.corrupt(what, 0, self.rest.len() as u64))
    }

    /// The error for a rule that does not hold at the next byte.
    #[cold]
    pub fn corrupt(&self, what: &'static str, expected: u64, found: u64) -> Error {
        Error::corrupt(what, self.path, self.offset, expected, found)
    }
}

/// The first eight bytes as a number, for messages.
fn head(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

/// Writes fields to the end of a buffer. The twin of [`Reader`].
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// A writer that appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Writer<'a> {
        Writer { out }
    }

    /// How many bytes the buffer holds.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// True if the buffer is empty.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.extend_from_slice(bytes);
        self
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// LEB128, as [`Reader::varint`] reads it.
    pub fn varint(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.u8(0x80 | u8::try_from(value & 0x7f).expect("seven bits"));
            value >>= 7;
        }
        self.u8(u8::try_from(value).expect("seven bits"))
    }

    /// Zeros up to the next multiple of `align`, a power of two.
    pub fn pad(&mut self, align: usize) -> &mut Self {
        assert!(align.is_power_of_two(), "alignment {align} is no power of two");
        self.out.resize(self.out.len().next_multiple_of(align), 0);
        self
    }
}

/// Where the first byte that is not zero is. What is reserved, padded or behind an end must have
/// none, and that is most of many a page: 64 bytes are looked at together.
///
/// ```
/// assert_eq!(vfs::first_nonzero(&[0; 100]), None);
/// assert_eq!(vfs::first_nonzero(&[0, 0, 7, 0, 9]), Some(2));
/// ```
pub fn first_nonzero(bytes: &[u8]) -> Option<usize> {
    let (chunks, _) = bytes.as_chunks::<64>();
    let is_zero = |chunk: &&[u8; 64]| chunk.iter().fold(0, |bits, byte| bits | byte) == 0;
    let zeros = chunks.iter().take_while(is_zero).count() * 64;
    bytes[zeros..].iter().position(|byte| *byte != 0).map(|at| zeros + at)
}

#[cfg(test)]
mod tests;
