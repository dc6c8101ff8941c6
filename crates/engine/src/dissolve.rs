//! Address spaces that are nearly empty, and small ones where there are many: the next merge that
//! meets a pointer into one copies the value into a fresh segment, so that the address space, its
//! remap table and what is left of its records can go.

use std::collections::BTreeMap;
use std::sync::Arc;

use sstable::{Entry, Value};

use crate::catalog::SegmentRecord;
use crate::error::{Error, ErrorKind, Result};
use crate::files::Files;
use crate::index::{Delta, MergeContext};
use crate::listed::Listed;
use crate::record::{Record, ValuePtr};
use crate::vlog::{self, Segments, ValueWriter};

/// A remapped address space with less than one live record in this many is dissolved.
const LIVE_SHARE: u64 = 10;
/// An address space is small if so many of them are no longer than a segment.
const SMALL_SHARE: u64 = 16;
/// So many small ones are dissolved together.
const JOINED_MIN: usize = 8;

/// The address spaces that every merge dissolves: those with few live records left.
pub(crate) fn sparse(segments: &Segments) -> Listed {
    let is_sparse = |count: u64, records: u64| count.saturating_mul(LIVE_SHARE) < records;
    let sparse = segments.remaps().filter(|(_, remap)| is_sparse(remap.count(), remap.records()));
    sparse.map(|(id, _)| id.0).collect()
}

/// Those that a merge dissolves whose inputs list these spaces and are met as a whole.
pub(crate) fn spaces(context: &MergeContext, inputs: &Listed) -> Listed {
    let mut all = Listed::clone(&context.dissolve);
    if context.is_roomy {
        let met = context.segments.spaces().filter(|(id, _)| inputs.contains(id.0));
        let small = context.files.options.segment_bytes / SMALL_SHARE;
        all.extend(&joined(met.map(|(id, len)| (len, id.0)), small));
    }
    all
}

/// The small address spaces that are to become one: enough of them, none longer than the others
/// together, so that a value is copied a logarithmic number of times.
///
/// Postmortem: each flush of a few large values left a file, which nothing joined with others while it
/// had no garbage: a flush a minute for six weeks, and the system had no mappings left.
fn joined(spaces: impl Iterator<Item = (u64, u32)>, small: u64) -> Listed {
    let mut spaces: Vec<(u64, u32)> = spaces.filter(|(len, _)| *len < small).collect();
    spaces.sort_unstable();
    let (mut bytes, mut count) = (0, 0);
    for (index, (len, _)) in spaces.iter().enumerate() {
        if *len <= bytes && index + 1 >= JOINED_MIN {
            count = index + 1;
        }
        bytes += len;
    }
    let mut ids: Vec<u32> = spaces.into_iter().take(count).map(|(_, id)| id).collect();
    ids.sort_unstable();
    ids.into_iter().collect()
}

/// What a merge does with the pointers it meets.
pub(crate) struct Dissolver {
    files: Arc<Files>,
    segments: Arc<Segments>,
    dissolve: Listed,
    values: ValueWriter,
}

impl Dissolver {
    /// `dissolve`: see [`spaces`].
    pub(crate) fn new(context: &MergeContext, dissolve: Listed) -> Dissolver {
        let MergeContext { files, segments, .. } = context;
        Dissolver {
            files: files.clone(),
            segments: segments.clone(),
            dissolve,
            values: ValueWriter::new(files.clone()),
        }
    }

    /// The entry as it goes on; `None` if its record was dropped.
    pub(crate) fn place<'a>(
        &mut self,
        entry: Entry<'a>,
        garbage: &mut BTreeMap<u32, u64>,
    ) -> Result<Option<Entry<'a>>> {
        let Value::Pointer(bits) = entry.value else { return Ok(Some(entry)) };
        let next = self.pointer(ValuePtr::from_bits(bits), garbage)?;
        Ok(next.map(|next| Entry { value: Value::Pointer(next.bits()), ..entry }))
    }

    /// The pointer that takes the place of a live one: mostly itself; `None` if its record was
    /// dropped.
    pub(crate) fn pointer(
        &mut self,
        pointer: ValuePtr,
        garbage: &mut BTreeMap<u32, u64>,
    ) -> Result<Option<ValuePtr>> {
        let space = pointer.segment();
        let is_to_go = self.dissolve.contains(space.0);
        if !is_to_go && self.segments.remap(space).is_none() {
            return Ok(Some(pointer));
        }
        let place = match self.segments.place_or_surely_none(pointer.address()) {
            // Nobody can tell where its record is: it stays, for whoever reads it to say so.
            Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(Some(pointer)),
            place => place?,
        };
        let Some(place) = place else { return Ok(None) };
        if !is_to_go {
            return Ok(Some(pointer));
        }
        let mut is_read = false;
        let copied = vlog::read_record(self.files.db_id, place, pointer, |record, _| {
            is_read = true;
            self.values.append(&Record { ..record })
        });
        let copied = match copied {
            // It stays where it is, for whoever reads it to say so.
            Err(error) if !is_read && is_unreadable(&error) => return Ok(Some(pointer)),
            copied => copied?,
        };
        self.segments.charge(pointer, garbage)?;
        Ok(Some(copied))
    }

    /// Ends and syncs what was copied (not the directory).
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.values.finish()
    }

    /// Adds what was copied to a merge's result.
    pub(crate) fn into_delta(mut self, delta: Delta) -> Delta {
        let copied = self.values.take();
        let names: Vec<_> = copied.iter().map(SegmentRecord::name).collect();
        let bytes: u64 = copied.iter().map(|segment| segment.len).sum();
        let abandon = delta.abandon;
        Delta {
            abandon: Box::new(move |files| {
                let abandoned = abandon(files);
                names.into_iter().for_each(|name| files.abandon(name));
                abandoned
            }),
            bytes_written: delta.bytes_written + bytes,
            copied,
            ..delta
        }
    }
}

/// True if what is there is damaged, or the disk does not give it.
fn is_unreadable(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Io)
}

#[cfg(test)]
mod tests;
