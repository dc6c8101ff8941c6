//! How much of a value file is dead, from a sample: counts are hints that merges raise late, and
//! nothing is rewritten because of a count alone.

use std::sync::Arc;

use wal::{Frame, Position, Segment};

use crate::catalog::{SegmentOrigin, SegmentRecord};
use crate::collecting::is_live;
use crate::error::{ErrorKind, Result};
use crate::files::Files;
use crate::moved;
use crate::record;
use crate::view::View;

/// A file of at most so many bytes is read whole: its garbage is then known exactly.
const WHOLE_BYTES: u64 = 256 << 10;
/// Frames that are read of a longer one.
const FRAMES: u64 = 64;
/// Records that are looked up of one frame.
const RECORDS_PER_FRAME: usize = 8;
/// How far behind a random place a frame is searched for.
const SEARCH_BYTES: u64 = 4 << 20;

/// Estimates the dead bytes of a file. Exact for a short one; for a long one the standard
/// deviation of the error is at most 1 / 16 of the file, less with several records a frame.
pub(crate) fn garbage(
    files: &Files,
    view: &View,
    record: &SegmentRecord,
    segment: &Arc<Segment>,
) -> Result<u64> {
    let mut sample = Sample { files, view, segment, origin: record.origin, dead: 0, bytes: 0 };
    if segment.len() <= WHOLE_BYTES {
        for frame in segment.frames() {
            sample.add(&frame?, usize::MAX)?;
        }
        return Ok(sample.dead);
    }
    let mut read = 0;
    for _ in 0..FRAMES {
        // Of long frames a few are the whole file.
        if read >= segment.len() {
            break;
        }
        let offset = files.env.rng.next_u64() % segment.len();
        // Behind the last one begins the first.
        let frame = match segment.frame_near(offset, SEARCH_BYTES)? {
            Some(frame) => Some(frame),
            None => {
                read += SEARCH_BYTES;
                segment.frame_near(0, SEARCH_BYTES)?
            }
        };
        if let Some(frame) = frame {
            read += frame.payload.len() as u64;
            sample.add(&frame, RECORDS_PER_FRAME)?;
        }
    }
    let dead = u128::from(sample.dead) * u128::from(segment.len());
    let dead = dead / u128::from(sample.bytes.max(1));
    Ok(u64::try_from(dead).unwrap_or(u64::MAX).min(segment.len()))
}

/// What was looked up of a file so far.
struct Sample<'a> {
    files: &'a Files,
    view: &'a View,
    segment: &'a Arc<Segment>,
    origin: SegmentOrigin,
    dead: u64,
    bytes: u64,
}

impl Sample<'_> {
    /// Looks up at most `count` records of a frame that stand one behind the other.
    fn add(&mut self, frame: &Frame, count: usize) -> Result<()> {
        if self.origin == SegmentOrigin::Rewritten {
            return self.add_moved(frame, count);
        }
        let Sample { files, segment, .. } = *self;
        let path = segment.path();
        let from = if count == usize::MAX { 0 } else { self.random_below(frame.payload.len()) };
        let (mut at, mut taken) = (0, 0);
        while let Some(rest) = frame.payload.get(at..).filter(|rest| !rest.is_empty()) {
            let offset = frame.address.offset + at as u64;
            let next = at + record::peek_len(path, offset, rest)?;
            // From the one in which the random byte is.
            if from < next {
                let address = Position { offset, ..frame.address };
                let (record, len) = record::decode(files.db_id, address, path, offset, rest)?;
                self.look_up(address, record.keyspace, record.key, len)?;
                taken += 1;
                if taken == count {
                    break;
                }
            }
            at = next;
        }
        Ok(())
    }

    fn add_moved(&mut self, frame: &Frame, count: usize) -> Result<()> {
        let mut records = Vec::new();
        let segment = self.segment;
        moved::decode(self.files.db_id, segment, frame, &mut |address, _, record, len| {
            records.push((address, record.keyspace, record.key.to_vec(), len));
            Ok(())
        })?;
        let skip = self.random_below(records.len().saturating_sub(count) + 1);
        for (address, keyspace, key, len) in records.iter().skip(skip).take(count) {
            self.look_up(*address, *keyspace, key, *len)?;
        }
        Ok(())
    }

    fn random_below(&self, limit: usize) -> usize {
        let random = self.files.env.rng.next_u64() % (limit.max(1) as u64);
        usize::try_from(random).expect("below a usize")
    }

    fn look_up(&mut self, address: Position, keyspace: u32, key: &[u8], len: usize) -> Result<()> {
        self.bytes += len as u64;
        match is_live(self.files, self.view, keyspace, key, address) {
            Ok(true) => {}
            Ok(false) => self.dead += len as u64,
            // Damage of another record says nothing of this file; this one counts as live.
            Err(error) if error.kind() == ErrorKind::Corrupt => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
