//! Append-only bytes that never move, addressed by 32 bits.
//!
//! A chunk is filled and then left alone; the next one is as large as all before it together,
//! between 1 KiB and 2 MiB, so a table of one small entry holds little and a large one wastes
//! little. Every chunk owns 2 MiB of the address space whatever it holds, so an address needs no
//! search.

use crate::memory::{HUGE_BYTES, Memory};
use crate::pool::Pool;

/// The first chunk's capacity.
const CHUNK_BYTES_MIN: usize = 1 << 10;
/// The largest chunk's capacity, and the address space of each.
pub(crate) const CHUNK_BYTES_MAX: usize = HUGE_BYTES;
/// Everything appended starts on such a boundary.
const ALIGN: usize = 8;
/// Addresses per chunk.
const CHUNK_UNITS: u32 = 1 << 18;
/// Chunks that 32-bit addresses can tell apart: 32 GiB of them.
const CHUNKS_MAX: usize = 1 << 14;
const _: () = assert!(CHUNK_BYTES_MAX == CHUNK_UNITS as usize * ALIGN);
const _: () = assert!(CHUNKS_MAX as u64 * CHUNK_UNITS as u64 == 1 << 32);

/// Where something starts, in units of 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Address(pub(crate) u32);

impl Address {
    /// Nothing is ever stored here.
    pub(crate) const NONE: Address = Address(0);

    fn chunk(self) -> usize {
        (self.0 / CHUNK_UNITS) as usize
    }

    fn offset(self) -> usize {
        (self.0 % CHUNK_UNITS) as usize * ALIGN
    }
}

#[derive(Default)]
pub(crate) struct Arena {
    chunks: Vec<Chunk>,
    /// Capacities of all chunks.
    chunk_bytes: usize,
    /// Where chunks come from and go to.
    pool: Pool,
}

/// Allocated once, at its capacity, and filled from the front.
struct Chunk {
    memory: Memory,
    /// Bytes in use.
    len: usize,
}

impl Chunk {
    fn push(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        self.memory[self.len..end].copy_from_slice(bytes);
        self.len = end;
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        for chunk in self.chunks.drain(..) {
            self.pool.give(chunk.memory);
        }
    }
}

impl Arena {
    /// An empty arena.
    pub(crate) fn new(pool: &Pool) -> Arena {
        Arena { chunks: Vec::new(), chunk_bytes: 0, pool: pool.clone() }
    }

    /// Memory held: the chunks' capacities and the list of them.
    pub(crate) fn bytes(&self) -> usize {
        self.chunk_bytes + self.chunks.capacity() * size_of::<Chunk>()
    }

    /// How many more bytes fit the address space for certain, in pieces of at most an eighth of
    /// a chunk.
    pub(crate) fn room(&self) -> u64 {
        let chunks = (CHUNKS_MAX - self.chunks.len()) as u64;
        chunks * (CHUNK_BYTES_MAX as u64 / 8 * 7)
    }

    /// Copies `parts`, one behind the other, and returns where the first byte is.
    pub(crate) fn append(&mut self, parts: &[&[u8]]) -> Address {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let len_padded = len.next_multiple_of(ALIGN);
        if self.chunks.last().is_none_or(|chunk| chunk.memory.len() - chunk.len < len_padded) {
            self.grow(len_padded);
        }
        let index = self.chunks.len() - 1;
        let chunk = &mut self.chunks[index];
        let units = index * CHUNK_UNITS as usize + chunk.len / ALIGN;
        let address = Address(u32::try_from(units).expect("chunks are counted when they start"));
        for part in parts {
            chunk.push(part);
        }
        chunk.len += len_padded - len;
        address
    }

    fn grow(&mut self, len: usize) {
        assert!(self.chunks.len() < CHUNKS_MAX, "a table addresses 32 GiB");
        // The very first unit stays empty: its address means "none".
        let reserved = if self.chunks.is_empty() { ALIGN } else { 0 };
        let capacity = self.chunk_bytes.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX).max(len + reserved);
        assert!(capacity <= CHUNK_BYTES_MAX, "{len} bytes in one piece");
        self.chunk_bytes += capacity;
        // What was in used memory is never read: a chunk is read up to its length.
        let used = if capacity == CHUNK_BYTES_MAX { self.pool.take() } else { None };
        let memory = used.unwrap_or_else(|| Memory::zeroed(capacity));
        self.chunks.push(Chunk { memory, len: reserved });
    }

    /// The bytes from `address` to the end of what its chunk holds.
    #[inline]
    pub(crate) fn at(&self, address: Address) -> &[u8] {
        let chunk = &self.chunks[address.chunk()];
        &chunk.memory[address.offset()..chunk.len]
    }

    /// Changes bytes in place, `skip` bytes behind `address`.
    pub(crate) fn overwrite(&mut self, address: Address, skip: usize, bytes: &[u8]) {
        let offset = address.offset() + skip;
        self.chunks[address.chunk()].memory[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// Where the first thing appended is.
    pub(crate) fn first(&self) -> Option<Address> {
        (!self.chunks.is_empty()).then_some(Address(1))
    }

    /// Where the thing appended after the one of `len` bytes at `address` is.
    pub(crate) fn after(&self, address: Address, len: usize) -> Option<Address> {
        let chunk = address.chunk();
        let offset = address.offset() + len.next_multiple_of(ALIGN);
        let units = if offset < self.chunks[chunk].len {
            chunk * CHUNK_UNITS as usize + offset / ALIGN
        } else if chunk + 1 < self.chunks.len() {
            (chunk + 1) * CHUNK_UNITS as usize
        } else {
            return None;
        };
        Some(Address(u32::try_from(units).expect("an address in use")))
    }
}

#[cfg(test)]
mod tests;
