//! What an index file says about itself to the engine, beside its entries.
//!
//! ```text
//! extra := version u8 2 | due_ms u64 | list of segments        see `listed.rs`
//! ```
//!
//! From `due_ms` (milliseconds since 1970; 0: never) on about a quarter of the file's entries has
//! expired, or more: then the file is merged even if nothing is written to it. It is taken from a
//! sample of the entries, exact for small files.

use std::path::Path;

use vfs::{Random, Reader, Result, Writer};

use crate::listed::Listed;

const VERSION: u8 = 2;
/// Entries of the sample.
const SAMPLE_LEN: usize = 256;
/// The share of entries, one in so many, that makes a file due.
const DUE_SHARE: usize = 4;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extra {
    pub(crate) listed: Listed,
    pub(crate) due_ms: u64,
}

impl Extra {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        Writer::new(&mut bytes).u8(VERSION).u64(self.due_ms).bytes(&self.listed.encode());
        bytes
    }

    /// Reads what the file at `path` says. One of an older build has a list alone, or nothing.
    pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Extra> {
        if bytes.first() != Some(&VERSION) {
            return Ok(Extra { listed: Listed::decode(path, bytes)?, due_ms: 0 });
        }
        let mut reader = Reader::new(path, 0, bytes);
        reader.expect("version of an index file's extra", &[VERSION])?;
        let due_ms = reader.u64("when a file is due")?;
        if reader.remaining() == 0 {
            return Err(reader.corrupt("list of segments", 1, 0));
        }
        Ok(Extra { listed: Listed::decode(path, reader.rest())?, due_ms })
    }

    /// True if so much has expired that the file should be merged.
    pub(crate) fn is_due(due_ms: u64, now_ms: u64) -> bool {
        due_ms != 0 && due_ms <= now_ms
    }
}

/// A sample of the expiries of a file's entries, all entries equally likely (Vitter's algorithm
/// R, 1985).
pub(crate) struct Expiries {
    random: Random,
    sample: Vec<u64>,
    count: u64,
}

impl Expiries {
    pub(crate) fn new(seed: u64) -> Expiries {
        Expiries { random: Random::new(seed), sample: Vec::new(), count: 0 }
    }

    /// Takes note of an entry's expiry; 0 is never.
    pub(crate) fn add(&mut self, expiry: u64) {
        let expiry = if expiry == 0 { u64::MAX } else { expiry };
        self.count += 1;
        if self.sample.len() < SAMPLE_LEN {
            self.sample.push(expiry);
        } else if let Ok(index) = usize::try_from(self.random.below(self.count))
            && let Some(one) = self.sample.get_mut(index)
        {
            *one = expiry;
        }
    }

    /// When a quarter of the entries will have expired; 0 is never. Begins anew.
    pub(crate) fn take_due_ms(&mut self) -> u64 {
        self.sample.sort_unstable();
        let index = self.sample.len().div_ceil(DUE_SHARE).saturating_sub(1);
        let due_ms = self.sample.get(index).copied().unwrap_or(u64::MAX);
        self.sample.clear();
        self.count = 0;
        if due_ms == u64::MAX { 0 } else { due_ms }
    }
}

#[cfg(test)]
mod tests;
