//! Hash of a key -> the key's first record. Answers gets; keeps no order.
//!
//! Open addressing with linear probing over 8-byte slots {32 hash bits, address}. A slot's home
//! is given by the hash's *high* bits, so growing moves slots in two sequential streams, reads
//! no key, and a probe compares a key only when all 32 bits agree.

use std::hash::{BuildHasher, RandomState};

use crate::arena::Address;
use crate::memory::Memory;
use crate::prefetch::prefetch;

const SLOTS_MIN: usize = 8;
const SLOT_BYTES: usize = size_of::<u64>();

pub(crate) struct Point {
    /// A power of two of slots. 0 is free: no record has address 0.
    memory: Memory,
    /// 32 - log2(slots).
    shift: u32,
    used: usize,
    /// Drawn per table, so that nobody can choose keys that collide.
    seed: [u64; 2],
}

impl Point {
    pub(crate) fn new() -> Point {
        let random = RandomState::new();
        let seed = [random.hash_one(0_u8), random.hash_one(1_u8)];
        Point { memory: Memory::empty(), shift: 32, used: 0, seed }
    }

    /// Memory held.
    pub(crate) fn bytes(&self) -> usize {
        self.memory.len()
    }

    /// Keys held.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    #[inline]
    pub(crate) fn hash(&self, key: &[u8]) -> u32 {
        hash(self.seed, key)
    }

    /// The first record with this hash that `is_it` accepts.
    #[inline]
    pub(crate) fn find(&self, hash: u32, is_it: impl Fn(Address) -> bool) -> Option<Address> {
        let slots = slots(&self.memory);
        if slots.is_empty() {
            return None;
        }
        let mask = slots.len() - 1;
        let mut index = (hash >> self.shift) as usize;
        loop {
            let slot = u64::from_le_bytes(slots[index & mask]);
            if slot == 0 {
                return None;
            }
            let address = Address(low(slot));
            if high(slot) == hash && is_it(address) {
                return Some(address);
            }
            index += 1;
        }
    }

    /// Asks for the slot at which a search will begin.
    #[inline]
    pub(crate) fn expect(&self, hash: u32) {
        let home = hash.checked_shr(self.shift).unwrap_or(0) as usize;
        if let Some(slot) = slots(&self.memory).get(home) {
            prefetch(slot);
        }
    }

    /// Adds a record whose key is not here yet.
    pub(crate) fn add(&mut self, hash: u32, address: Address) {
        // At most three quarters full: about 2.5 slots per hit at the worst, mostly in one line.
        if (self.used + 1) * 4 > slots(&self.memory).len() * 3 {
            self.grow();
        }
        self.used += 1;
        place(&mut self.memory, self.shift, u64::from(hash) << 32 | u64::from(address.0));
    }

    fn grow(&mut self) {
        let held = slots(&self.memory);
        let count = (held.len() * 2).max(SLOTS_MIN);
        assert!(count <= 1 << 32, "a slot's home has 32 bits");
        let mut memory = Memory::zeroed(count * SLOT_BYTES);
        self.shift = 32 - count.trailing_zeros();
        for slot in held.iter().map(|slot| u64::from_le_bytes(*slot)).filter(|slot| *slot != 0) {
            place(&mut memory, self.shift, slot);
        }
        self.memory = memory;
    }
}

fn slots(memory: &[u8]) -> &[[u8; SLOT_BYTES]] {
    memory.as_chunks().0
}

fn place(memory: &mut [u8], shift: u32, slot: u64) {
    let slots: &mut [[u8; SLOT_BYTES]] = memory.as_chunks_mut().0;
    let mask = slots.len() - 1;
    let mut index = (high(slot) >> shift) as usize;
    while slots[index & mask] != [0; SLOT_BYTES] {
        index += 1;
    }
    slots[index & mask] = slot.to_le_bytes();
}

fn high(word: u64) -> u32 {
    u32::try_from(word >> 32).expect("32 bits are left")
}

fn low(word: u64) -> u32 {
    u32::try_from(word & u64::from(u32::MAX)).expect("32 bits are left")
}

/// Multiplies to 128 bits and folds the halves: the mixing step of wyhash (Wang Yi, 2019).
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    let half = |shift: u32| {
        u64::try_from(product >> shift & u128::from(u64::MAX)).expect("64 bits are left")
    };
    half(0) ^ half(64)
}

/// 32 bits from 16 key bytes per multiplication; the last 16 may overlap those before.
fn hash(seed: [u64; 2], key: &[u8]) -> u32 {
    // Odd constants with mixed bits (the golden ratio's, and one of wyhash's): the length must
    // matter, and the last step must not multiply by anything a key can cancel.
    const LEN: u64 = 0x9e37_79b9_7f4a_7c15;
    const LAST: u64 = 0x2d35_8dcc_aa6c_78a5;
    let mut state = seed[0] ^ (key.len() as u64).wrapping_mul(LEN);
    let (mut left, mut right) = (0, 0);
    if let Some(tail) = key.last_chunk::<16>() {
        let mut rest = key;
        while rest.len() > 16 {
            let (chunk, after) = rest.split_first_chunk::<16>().expect("more than 16");
            let (chunk_left, chunk_right) = words(*chunk);
            state = fold(chunk_left ^ state, chunk_right ^ seed[1]);
            rest = after;
        }
        (left, right) = words(*tail);
    } else if let (Some(head), Some(tail)) = (key.first_chunk(), key.last_chunk()) {
        (left, right) = (u64::from_le_bytes(*head), u64::from_le_bytes(*tail));
    } else {
        // Shorter than a word: the length is in the state, so padding cannot collide.
        for byte in key {
            left = left << 8 | u64::from(*byte);
        }
        right ^= left;
    }
    high(fold(fold(left ^ state, right ^ seed[1]) ^ seed[1], LAST ^ state))
}

fn words(chunk: [u8; 16]) -> (u64, u64) {
    let word = u128::from_le_bytes(chunk);
    let left = u64::try_from(word & u128::from(u64::MAX)).expect("64 bits are left");
    (left, u64::try_from(word >> 64).expect("64 bits are left"))
}

#[cfg(test)]
mod tests;
