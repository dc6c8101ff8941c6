//! What the log held, put back into memtables as the writes did.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use memtable::{Entry, Kind, Memtable};
use vfs::Name;
use vfs::planted::{self, Bug};
use wal::{Log, Position, Recovered, SegmentId, Start};

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::files::Files;
use crate::options::{AppendMode, Durability};
use crate::record::{self, RecordKind, ValuePtr};
use crate::view::new_memtable;

/// What recovery met; part of `Stats`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Batches replayed from the log.
    pub batches: u64,
    /// Where the log ended in unsynced or torn bytes, if it did: file, offset, ignored bytes.
    pub cut: Option<(String, u64, u64)>,
    /// Where the MANIFEST ended in such bytes, if it did: an edit that was not finished.
    pub manifest_cut: Option<(String, u64, u64)>,
    /// Files set aside: neither the MANIFEST nor the log knew them.
    pub quarantined: Vec<String>,
    /// True if the database had been closed.
    pub clean: bool,
}

/// What the log held.
pub(crate) struct Replay {
    pub(crate) log: Log,
    pub(crate) recovered: Recovered,
    pub(crate) memtables: Vec<(u32, Arc<Memtable>)>,
    pub(crate) last_seq: u64,
    /// The first segment that is still needed.
    pub(crate) wal_min: SegmentId,
}

impl Replay {
    /// Log files that hold nothing that is still needed.
    pub(crate) fn superseded(&self) -> Vec<Name> {
        let ids = self.recovered.segments.iter().map(|meta| meta.id);
        let old = ids.filter(|id| *id < self.wal_min);
        old.map(|id| Name::new(wal::SEGMENT, u64::from(id.0))).collect()
    }
}

/// Entries that go into a memtable together: it asks memory for what the next ones need.
const TOGETHER: usize = 32;
/// Bytes of keys and values from which on they wait for no more.
const TOGETHER_BYTES: usize = 64 << 10;

/// An entry whose key and value are in [`Together`]'s bytes: the key ends where the value starts.
struct Waiting {
    key: usize,
    value: usize,
    end: usize,
    entry: Entry<'static>,
}

/// Entries on their way into one memtable.
struct Together<'a> {
    memtables: &'a [(u32, Arc<Memtable>)],
    index: usize,
    bytes: Vec<u8>,
    waiting: Vec<Waiting>,
}

impl<'a> Together<'a> {
    fn new(memtables: &'a [(u32, Arc<Memtable>)]) -> Together<'a> {
        Together { memtables, index: 0, bytes: Vec::new(), waiting: Vec::with_capacity(TOGETHER) }
    }

    /// Takes an entry for the memtable at `index`.
    fn add(&mut self, index: usize, entry: Entry<'_>) {
        let is_full = self.waiting.len() == TOGETHER || self.bytes.len() >= TOGETHER_BYTES;
        if index != self.index || is_full {
            self.insert();
            self.index = index;
        }
        let key = self.bytes.len();
        let value = key + entry.key.len();
        self.bytes.extend_from_slice(entry.key);
        self.bytes.extend_from_slice(entry.value);
        let (end, entry) = (self.bytes.len(), Entry { key: b"", value: b"", ..entry });
        self.waiting.push(Waiting { key, value, end, entry });
    }

    /// Puts what waits into its memtable.
    fn insert(&mut self) {
        let bytes = &self.bytes;
        let entry = |waiting: &Waiting| {
            let (key, value) =
                (&bytes[waiting.key..waiting.value], &bytes[waiting.value..waiting.end]);
            Entry { key, value, ..waiting.entry }
        };
        let entries: Vec<Entry<'_>> = self.waiting.iter().map(entry).collect();
        if let Some((_, memtable)) = self.memtables.get(self.index) {
            memtable.insert(&entries);
        }
        self.waiting.clear();
        self.bytes.clear();
    }
}

/// Replays the log from what the catalog still needs on.
pub(crate) fn replay(
    files: &Files,
    catalog: &Catalog,
    frugal: bool,
    report: &mut RecoveryReport,
) -> Result<Replay> {
    let memtables: Vec<(u32, Arc<Memtable>)> = catalog
        .keyspaces
        .iter()
        .map(|(id, keyspace)| (*id, new_memtable(keyspace.index, &files.pool)))
        .collect();
    let mut batches = 0;
    let mut file = (SegmentId(0), PathBuf::new());
    let mut together = Together::new(&memtables);
    let start = Start {
        log_id: Some(catalog.db_id),
        first: (catalog.wal_min != 0 && !planted::is(Bug::ObsoleteLogReplayed))
            .then_some(SegmentId(catalog.wal_min)),
        attested: catalog.closed.map(|(end, _)| end),
        ids: files.segment_ids.clone(),
        seq_floor: catalog.flushed_seq,
        frugal,
    };
    let opened =
        Log::open(files.fs.clone(), &files.env, log_options(files), start, &mut |record| {
            if record.seq <= catalog.flushed_seq && !planted::is(Bug::ObsoleteLogReplayed) {
                return Ok(());
            }
            batches += 1;
            let segment = record.address.segment;
            if file.0 != segment {
                let name = Name::new(wal::SEGMENT, u64::from(segment.0));
                file = (segment, files.fs.path().join(name.to_string()));
            }
            replay_batch(files, catalog, &mut together, &record, &file.1)
        });
    let (log, recovered) = opened.map_err(Error::named_file)?;
    together.insert();
    require_other_ids(files, catalog, &recovered)?;
    report.batches = batches;
    report.cut = recovered.cut.map(|(at, bytes)| {
        let name = Name::new(wal::SEGMENT, u64::from(at.segment.0));
        (name.to_string(), at.offset, bytes)
    });
    let empty = memtables.iter().all(|(_, table)| table.is_empty());
    let oldest = recovered.segments.first().map_or(log.active(), |meta| meta.id);
    let wal_min = if empty { log.active() } else { oldest };
    let last_seq = match planted::is(Bug::SeqReused) {
        true => catalog.flushed_seq,
        false => recovered.max_seq_seen.max(catalog.flushed_seq),
    };
    Ok(Replay { log, recovered, memtables, last_seq, wal_min })
}

/// A segment's id is one address space: in the log, or behind it.
fn require_other_ids(files: &Files, catalog: &Catalog, recovered: &Recovered) -> Result<()> {
    for SegmentId(id) in recovered.segments.iter().map(|meta| meta.id) {
        if catalog.segments.contains_key(&id) || catalog.remaps.contains_key(&id) {
            let path = files.fs.path().join(Name::new(wal::SEGMENT, id.into()).to_string());
            return Err(Error::corrupt("value segment that is in the log", &path, 0, 0, id.into()));
        }
    }
    Ok(())
}

fn log_options(files: &Files) -> wal::Options {
    let options = &files.options;
    let append_mode = match (options.append_mode, options.durability) {
        (AppendMode::Positional, _) | (AppendMode::Auto, Durability::Always) => {
            wal::AppendMode::Positional
        }
        _ => wal::AppendMode::Mapped,
    };
    wal::Options {
        kind: wal::SEGMENT,
        segment_bytes: options.segment_bytes,
        // The engine's own job calls `sync` in time.
        durability: match options.durability {
            Durability::Interval(_) => Durability::Never,
            other => other,
        },
        append_mode,
        read_mode: files.segment_read_mode(),
        preallocate: true,
    }
}

/// Puts the records of a logged batch into the memtables, as the write did.
fn replay_batch(
    files: &Files,
    catalog: &Catalog,
    together: &mut Together<'_>,
    batch: &wal::Record<'_>,
    path: &Path,
) -> vfs::Result<()> {
    let mut at = 0;
    while let Some(rest) = batch.payload.get(at..).filter(|rest| !rest.is_empty()) {
        let offset = batch.address.offset + at as u64;
        let place = Position { offset, ..batch.address };
        let decoded = record::decode(files.db_id, place, path, offset, rest);
        if decoded.is_err() && planted::is(Bug::BatchReplayedInHalves) {
            return Ok(());
        }
        let (record, len) = decoded?;
        at += len;
        let bad = |what, limit, found| Err(vfs::Error::corrupt(what, path, offset, limit, found));
        if record.seq != batch.seq {
            return bad("seq of a record", batch.seq, record.seq);
        }
        // Nothing points to it, so it may be anywhere. (Postmortem: behind a batch of a gigabyte it
        // is beyond what a pointer reaches, and the database did not open again.)
        if record.keyspace == record::CLOCK_KEYSPACE {
            files.clock.tell(record.expiry);
            files.clock.wrote(record.expiry);
            continue;
        }
        if offset >= record::OFFSET_LIMIT {
            return bad("offset of a record", record::OFFSET_LIMIT, offset);
        }
        // Nothing is logged for a keyspace before its creation is durable.
        if record.keyspace >= catalog.next_keyspace {
            return bad("keyspace", catalog.next_keyspace.into(), record.keyspace.into());
        }
        let found = together.memtables.binary_search_by_key(&record.keyspace, |(id, _)| *id);
        // A keyspace that is not there any more was dropped after this was written.
        let Ok(index) = found else { continue };
        let kind = match record.kind {
            RecordKind::Delete => Kind::Delete,
            RecordKind::Put if record.value.len() > files.options.inline_max => Kind::Pointer,
            RecordKind::Put => Kind::Put,
        };
        let value = if kind == Kind::Put { record.value } else { &[] };
        let pointer = ValuePtr::new(place, len).bits();
        let (key, seq, expiry) = (record.key, record.seq, record.expiry);
        together.add(index, Entry { key, seq, kind, expiry, pointer, value });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
