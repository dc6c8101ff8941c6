//! What the MANIFEST says: changes, and the state they add up to.
//!
//! The only serde and bincode in the engine are in this file, so that they can be replaced alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use vfs::Name;
use wal::{Position, SegmentId, SegmentMeta};

use crate::error::Result;
use crate::options::IndexKind;
use crate::record::SEQ_MAX;

/// Version of everything the engine writes; another one is refused.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// A change may not be longer, and a hostile length in one is refused before anything is allocated.
/// The longest is that of a remap table with 65,536 targets.
const CHANGE_LEN_MAX: usize = 512 << 10;
/// File ids stay below, so that the next one can be counted.
pub(crate) const FILE_ID_LIMIT: u64 = 1 << 62;
/// All files of a kind together, and what is known to be dead of them, have less bytes: sums of
/// lengths need no care.
const BYTES_LIMIT: u64 = 1 << 62;

/// A table of an ordered index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TableRecord {
    pub(crate) file: u64,
    pub(crate) level: u8,
    pub(crate) len: u64,
    pub(crate) footer_crc: u32,
}

/// What kind of file a value segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SegmentOrigin {
    /// A log segment that became a value segment as it was.
    Promoted,
    /// Values copied by a flush.
    Copied,
    /// Records that garbage collection moved here; they keep their addresses.
    Rewritten,
}

/// A value segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentRecord {
    pub(crate) id: u32,
    pub(crate) origin: SegmentOrigin,
    pub(crate) len: u64,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    /// Bytes known to be dead; a hint, a lower bound.
    pub(crate) garbage: u64,
}

impl SegmentRecord {
    pub(crate) fn name(&self) -> Name {
        let kind = match self.origin {
            SegmentOrigin::Promoted => wal::SEGMENT,
            SegmentOrigin::Copied | SegmentOrigin::Rewritten => wal::VALUES,
        };
        Name::new(kind, u64::from(self.id))
    }

    pub(crate) fn meta(&self) -> SegmentMeta {
        SegmentMeta {
            id: SegmentId(self.id),
            len: self.len,
            first_seq: self.first_seq,
            last_seq: self.last_seq,
        }
    }
}

/// Where the records of an address space went when garbage collection rewrote their file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RemapRecord {
    pub(crate) file: u64,
    pub(crate) len: u64,
    pub(crate) footer_crc: u32,
    /// The rewritten segments that the table leads to.
    #[serde(deserialize_with = "as_they_come")]
    pub(crate) targets: Vec<u32>,
}

/// One change. Variants are only ever added at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Change {
    /// First change of every file: whose it is and which format.
    Database { db_id: u64, format: u32 },
    /// Ids at or above these were never used.
    Ids { file: u64, segment: u32, keyspace: u32 },
    /// The latest time anybody was told that an entry had expired, in ms since 1970.
    Clock { wall_ms: u64 },
    /// A keyspace exists from here on. `index` is `"btree"` or `"hash"`.
    KeyspaceCreated { id: u32, name: String, index: String },
    /// It does not any more; its id never returns.
    KeyspaceDropped { id: u32 },
    /// A table is part of a keyspace's index. Level 0: later ones are newer.
    TableAdded { keyspace: u32, table: TableRecord },
    /// A table is not part of it any more.
    TableRemoved { keyspace: u32, file: u64 },
    /// A table moved down without being rewritten.
    TableMoved { keyspace: u32, file: u64, level: u8 },
    /// A value segment exists.
    SegmentAdded { segment: SegmentRecord },
    /// It does not any more.
    SegmentRemoved { id: u32 },
    /// More of a segment is known to be dead.
    Garbage { segment: u32, bytes: u64 },
    /// Everything up to `seq` is in the indexes; the log is needed from segment `wal_min` on.
    Flushed { seq: u64, wal_min: u32 },
    /// The log was closed cleanly, whole and synced up to here.
    Closed { segment: u32, offset: u64, last_seq: u64 },
    /// A hash keyspace's index is this generation of its table.
    HashGeneration { keyspace: u32, generation: u64 },
    /// Records with addresses in this segment are found through a table, which replaces an older.
    RemapSet { segment: u32, remap: RemapRecord },
    /// No index points into the address space any more.
    RemapRemoved { segment: u32 },
    /// A segment's dead bytes, counted anew.
    GarbageSet { segment: u32, bytes: u64 },
    /// Which function hashes the keys of a hash keyspace.
    KeyHasher { keyspace: u32, tag: u64 },
}

/// The state that the changes add up to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Catalog {
    pub(crate) db_id: u64,
    pub(crate) next_file: u64,
    pub(crate) next_segment: u32,
    pub(crate) next_keyspace: u32,
    pub(crate) clock_ms: u64,
    pub(crate) keyspaces: BTreeMap<u32, KeyspaceRecord>,
    pub(crate) segments: BTreeMap<u32, SegmentRecord>,
    /// By the address space whose records moved.
    pub(crate) remaps: BTreeMap<u32, RemapRecord>,
    pub(crate) flushed_seq: u64,
    pub(crate) wal_min: u32,
    pub(crate) closed: Option<(Position, u64)>,
}

/// A keyspace and its tables.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KeyspaceRecord {
    pub(crate) name: String,
    pub(crate) index: IndexKind,
    /// In the order they were added: of two tables of level 0 the later one is newer.
    pub(crate) tables: Vec<TableRecord>,
    /// Of a hash index: which generation of its table counts.
    pub(crate) generation: u64,
    /// Of a hash index: which function hashes its keys.
    pub(crate) hasher: u64,
}

impl KeyspaceRecord {
    /// A keyspace without anything in it.
    pub(crate) fn new(name: String, index: IndexKind) -> KeyspaceRecord {
        KeyspaceRecord { name, index, tables: Vec::new(), generation: 0, hasher: 0 }
    }
}

impl Catalog {
    /// Applies one change; what does not fit the state is damage, told by the rule it breaks.
    pub(crate) fn apply(&mut self, change: Change) -> Result<(), &'static str> {
        match change {
            Change::Database { db_id, format } => {
                if format != FORMAT_VERSION {
                    return Err("format version");
                }
                self.db_id = db_id;
            }
            Change::Ids { file, segment, keyspace } => {
                self.raise_next_file(file)?;
                self.next_segment = self.next_segment.max(segment);
                self.next_keyspace = self.next_keyspace.max(keyspace);
            }
            Change::Clock { wall_ms } => self.clock_ms = self.clock_ms.max(wall_ms),
            Change::Flushed { seq, wal_min } => {
                let grows = self.flushed_seq <= seq && self.wal_min <= wal_min;
                if !grows || seq > SEQ_MAX {
                    return Err("flushed seq");
                }
                self.flushed_seq = seq;
                self.wal_min = wal_min;
            }
            Change::Closed { segment, offset, last_seq } => {
                let end = Position { segment: SegmentId(segment), offset };
                self.closed = Some((end, last_seq));
            }
            Change::KeyspaceCreated { .. }
            | Change::KeyspaceDropped { .. }
            | Change::TableAdded { .. }
            | Change::TableRemoved { .. }
            | Change::TableMoved { .. }
            | Change::HashGeneration { .. }
            | Change::KeyHasher { .. } => return self.apply_to_keyspaces(change),
            Change::SegmentAdded { .. }
            | Change::SegmentRemoved { .. }
            | Change::Garbage { .. }
            | Change::GarbageSet { .. }
            | Change::RemapSet { .. }
            | Change::RemapRemoved { .. } => return self.apply_to_segments(change),
        }
        Ok(())
    }

    fn apply_to_keyspaces(&mut self, change: Change) -> Result<(), &'static str> {
        match change {
            Change::KeyspaceCreated { id, name, index } => {
                let index = match index.as_str() {
                    "btree" => IndexKind::BTree,
                    "hash" => IndexKind::Hash,
                    _ => return Err("keyspace index kind"),
                };
                let record = KeyspaceRecord::new(name, index);
                if self.keyspaces.insert(id, record).is_some() {
                    return Err("keyspace created twice");
                }
                self.next_keyspace = self.next_keyspace.max(id.saturating_add(1));
            }
            Change::KeyspaceDropped { id } => {
                self.keyspaces.remove(&id).ok_or("dropped keyspace")?;
            }
            Change::TableAdded { keyspace, table } => {
                self.raise_next_file(table.file.saturating_add(1))?;
                self.tables(keyspace)?.push(table);
            }
            Change::TableRemoved { keyspace, file } => {
                let tables = self.tables(keyspace)?;
                let index = tables.iter().position(|table| table.file == file);
                tables.remove(index.ok_or("removed table")?);
            }
            Change::TableMoved { keyspace, file, level } => {
                let table = self.tables(keyspace)?.iter_mut().find(|table| table.file == file);
                table.ok_or("moved table")?.level = level;
            }
            Change::HashGeneration { keyspace, generation } => {
                let found = self.keyspaces.get_mut(&keyspace).ok_or("keyspace of a generation")?;
                if generation <= found.generation {
                    return Err("hash generation");
                }
                found.generation = generation;
            }
            Change::KeyHasher { keyspace, tag } => {
                self.keyspaces.get_mut(&keyspace).ok_or("keyspace of a hasher")?.hasher = tag;
            }
            other => unreachable!("{other:?} is about no keyspace"),
        }
        Ok(())
    }

    fn apply_to_segments(&mut self, change: Change) -> Result<(), &'static str> {
        match change {
            Change::SegmentAdded { segment } => {
                self.next_segment = self.next_segment.max(segment.id.saturating_add(1));
                if self.segments.insert(segment.id, segment).is_some() {
                    return Err("segment added twice");
                }
            }
            Change::SegmentRemoved { id } => {
                self.segments.remove(&id).ok_or("removed segment")?;
            }
            Change::Garbage { segment, bytes } => {
                let segment = self.segments.get_mut(&segment).ok_or("segment with garbage")?;
                segment.garbage = segment.garbage.saturating_add(bytes);
            }
            Change::GarbageSet { segment, bytes } => {
                self.segments.get_mut(&segment).ok_or("segment with garbage")?.garbage = bytes;
            }
            Change::RemapSet { segment, remap } => {
                self.raise_next_file(remap.file.saturating_add(1))?;
                self.remaps.insert(segment, remap);
            }
            Change::RemapRemoved { segment } => {
                self.remaps.remove(&segment).ok_or("removed remap table")?;
            }
            other => unreachable!("{other:?} is about no segment"),
        }
        Ok(())
    }

    /// No file with this id or one above was ever made.
    fn raise_next_file(&mut self, next: u64) -> Result<(), &'static str> {
        if next > FILE_ID_LIMIT {
            return Err("file id");
        }
        self.next_file = self.next_file.max(next);
        Ok(())
    }

    /// What no single change can tell: every name stands for one thing, and lengths can be added.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let (mut names, mut tables, mut remaps) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for keyspace in self.keyspaces.values() {
            if !names.insert(&keyspace.name) {
                return Err("two keyspaces with one name");
            }
            if !keyspace.tables.iter().all(|table| tables.insert(table.file)) {
                return Err("table that is named twice");
            }
        }
        if !self.remaps.values().all(|remap| remaps.insert(remap.file)) {
            return Err("remap table that is named twice");
        }
        let all = self.keyspaces.values().flat_map(|keyspace| &keyspace.tables);
        let tables = all.map(|table| table.len);
        let remaps = self.remaps.values().map(|remap| remap.len);
        let segments = self.segments.values().map(|segment| segment.len);
        let sum = |sum: u64, len: u64| sum.saturating_add(len);
        // Not of garbage: its counts are hints, whatever they say.
        let sums = [tables.fold(0, sum), remaps.fold(0, sum), segments.fold(0, sum)];
        if sums.iter().any(|sum| *sum >= BYTES_LIMIT) {
            return Err("bytes of all files");
        }
        Ok(())
    }

    fn tables(&mut self, keyspace: u32) -> Result<&mut Vec<TableRecord>, &'static str> {
        Ok(&mut self.keyspaces.get_mut(&keyspace).ok_or("keyspace of a table")?.tables)
    }

    /// The changes that build this state from nothing. The clean close is not part of it: the
    /// next open writes this.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let mut changes = vec![
            Change::Database { db_id: self.db_id, format: FORMAT_VERSION },
            Change::Ids {
                file: self.next_file,
                segment: self.next_segment,
                keyspace: self.next_keyspace,
            },
            Change::Clock { wall_ms: self.clock_ms },
            Change::Flushed { seq: self.flushed_seq, wal_min: self.wal_min },
        ];
        for (id, keyspace) in &self.keyspaces {
            let (name, index) = (keyspace.name.clone(), keyspace.index.as_str().to_owned());
            changes.push(Change::KeyspaceCreated { id: *id, name, index });
            for table in &keyspace.tables {
                changes.push(Change::TableAdded { keyspace: *id, table: table.clone() });
            }
            if keyspace.index == IndexKind::Hash {
                let KeyspaceRecord { generation, hasher: tag, .. } = *keyspace;
                changes.push(Change::KeyHasher { keyspace: *id, tag });
                if generation != 0 {
                    changes.push(Change::HashGeneration { keyspace: *id, generation });
                }
            }
        }
        for segment in self.segments.values() {
            changes.push(Change::SegmentAdded { segment: segment.clone() });
        }
        for (segment, remap) in &self.remaps {
            changes.push(Change::RemapSet { segment: *segment, remap: remap.clone() });
        }
        changes
    }
}

pub(crate) fn encode(changes: &[Change]) -> Vec<u8> {
    bincode::serde::encode_to_vec(changes, bincode::config::standard())
        .expect("changes are plain fields and always encode")
}

/// Gives every change of an edit to `visit`, in order, one at a time: an edit takes no memory beside its
/// own bytes. The first error ends it.
pub(crate) fn decode(
    bytes: &[u8],
    visit: &mut dyn FnMut(Change) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    let (count, mut at) = take::<u64>(bytes)?;
    for _ in 0..count {
        let (change, len) = take::<Change>(bytes.get(at..).unwrap_or_default())?;
        at += len;
        visit(change)?;
    }
    if at == bytes.len() { Ok(()) } else { Err("bytes behind a manifest edit") }
}

/// A list that takes memory for the elements that are there, not for those that its count claims.
fn as_they_come<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
    struct Elements;

    impl<'de> Visitor<'de> for Elements {
        type Value = Vec<u32>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of numbers")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<u32>, A::Error> {
            let mut list = Vec::new();
            while let Some(element) = elements.next_element()? {
                list.push(element);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_seq(Elements)
}

/// Decodes what `bytes` begin with; also tells how many of them it takes.
fn take<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), &'static str> {
    let config = bincode::config::standard().with_limit::<CHANGE_LEN_MAX>();
    bincode::serde::decode_from_slice(bytes, config).map_err(|_| "manifest edit")
}
