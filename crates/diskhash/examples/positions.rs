//! An index of a text: which line holds a word first, found again by hash and comparison.
//!
//! `cargo run -p diskhash --example positions -- [WORD ...]`

use std::error::Error;

use diskhash::{Options, Store};
use vfs::Random;

const TEXT: &str = include_str!("../README.md");

/// FNV-1a (Fowler, Noll, Vo), keyed and mixed: good enough for an example.
fn hash(seed: u64, word: &str) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    Random::new(word.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, fold)).next_u64()
}

/// A slot is where the word starts in the text and how long it is, four bytes each.
fn slot(start: usize, len: usize) -> Result<[u8; 8], std::num::TryFromIntError> {
    let (start, len) = (u32::try_from(start)?, u32::try_from(len)?);
    Ok((u64::from(start) << 32 | u64::from(len)).to_le_bytes())
}

fn word_at(slot: &[u8]) -> &'static str {
    let number = slot.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let (start, len) = (number >> 32, number & 0xffff_ffff);
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    let end = start.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
    TEXT.get(start..end).unwrap_or("")
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let same_key = |one: &[u8], other: &[u8]| Ok(word_at(one) == word_at(other));
    let mut store = Store::open_dir(dir.path(), Options::new(8), same_key)?;
    let seed = store.seed();
    let is_word = |c: char| c.is_alphanumeric();
    for word in TEXT.split(|c| !is_word(c)).filter(|word| !word.is_empty()) {
        let start = word.as_ptr() as usize - TEXT.as_ptr() as usize;
        let (hash, matches) = (hash(seed, word), |slot: &[u8]| Ok(word_at(slot) == word));
        if store.get(hash, matches)?.is_none() {
            store.put(hash, &slot(start, word.len())?, matches)?;
        }
    }
    store.commit()?;
    println!("{:?}", store.stats());

    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if words.is_empty() {
        words.extend(["hash", "candidates", "absent"].map(String::from));
    }
    for word in words {
        match store.get(hash(seed, &word), |slot| Ok(word_at(slot) == word))? {
            Some(slot) => {
                let start = word_at(&slot).as_ptr() as usize - TEXT.as_ptr() as usize;
                println!("{word}: line {}", TEXT[..start].lines().count().max(1));
            }
            None => println!("{word}: nowhere"),
        }
    }
    store.close()?;
    Ok(())
}
