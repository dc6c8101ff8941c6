//! When much of a hash index has expired, it is merged even if nothing is written to it.

use std::sync::Arc;

use diskhash::Generation;
use vfs::Rng;

use crate::error::Result;
use crate::slot::{Expiry, Slot};

/// Places in the order of hashes at which a sample is taken.
const PLACES: u64 = 32;
/// Slots that are looked at from there on.
const SLOTS_PER_PLACE: u64 = 8;
/// The share of slots, one in so many, that makes a merge worth its while.
const DUE_SHARE: u64 = 4;

/// True if of a sample of the slots a quarter has expired or more. Reads a page or two of each run
/// and of a partition, so many times as there are places. Only slots that say so themselves count.
pub(crate) fn is_due(generation: &Arc<Generation>, rng: &dyn Rng, now_ms: u64) -> Result<bool> {
    let (mut slots, mut expired) = (0, 0);
    for _ in 0..PLACES {
        let mut cursor = generation.cursor_from(rng.next_u64());
        for _ in 0..SLOTS_PER_PLACE {
            let Some((_, slot)) = cursor.next()? else { break };
            slots += 1;
            let slot = Slot::decode(slot);
            expired += u64::from(!slot.is_delete && slot.expiry(now_ms) == Expiry::Passed);
        }
    }
    Ok(expired * DUE_SHARE >= slots.max(1))
}
