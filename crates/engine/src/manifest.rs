//! The MANIFEST: what the database consists of. One edit makes one change visible.
//!
//! A MANIFEST file is a segment (the log's format) whose frames hold edits; the first holds the
//! whole state. Every open that will write starts the next file and never appends to an old one
//! again:
//!
//! write n+1, sync -> sync directory -> remove n -> sync directory -> first edit of n+1
//!
//! So two files stand beside each other only while both say the same, and a successor that is not
//! whole is an unfinished switch (docs/decisions/0005-manifest-switch.md).
//!
//! 1. An edit is durable when [`Manifest::commit`] returns, and only then takes effect.
//! 2. Ids in [`Catalog`] only grow.
//! 3. The only serde and bincode in the engine are in this file.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vfs::{Access, Env, Fs, Kind, Listing, Name};
use wal::{Position, SegmentId, SegmentMeta, SegmentWriter};

use crate::error::{Error, ErrorKind, Result};
use crate::options::IndexKind;
use crate::record::SEQ_MAX;

pub(crate) const MANIFEST: Kind = Kind::new("manifest");
/// Version of everything the engine writes; another one is refused.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// An edit may not be longer; a hostile length is refused before anything is allocated.
const EDIT_LEN_MAX: usize = 256 << 20;
/// File numbers stay below, so that the next one can be counted; a segment's id has 32 bits.
const NUMBER_LIMIT: u64 = u32::MAX as u64;
/// A file that grew beyond this is followed by a fresh one.
const MANIFEST_BYTES_MAX: u64 = 8 << 20;

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
            SegmentOrigin::Copied => wal::VALUES,
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

/// One change. Variants are only ever added at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Change {
    /// First change of every file: whose it is and which format.
    Database { db_id: u64, format: u32 },
    /// Ids at or above these were never used.
    Ids { file: u64, segment: u32, keyspace: u32 },
    /// The latest time anybody was told that an entry had expired, in ms since 1970.
    Clock { wall_ms: u64 },
    /// A keyspace exists from here on. `index` is `"btree"`, later also `"hash"`.
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
}

impl Catalog {
    /// Applies one change; what does not fit the state is damage, told by the rule it breaks.
    fn apply(&mut self, change: Change) -> Result<(), &'static str> {
        match change {
            Change::Database { db_id, format } => {
                if format != FORMAT_VERSION {
                    return Err("format version");
                }
                self.db_id = db_id;
            }
            Change::Ids { file, segment, keyspace } => {
                self.next_file = self.next_file.max(file);
                self.next_segment = self.next_segment.max(segment);
                self.next_keyspace = self.next_keyspace.max(keyspace);
            }
            Change::Clock { wall_ms } => self.clock_ms = self.clock_ms.max(wall_ms),
            Change::KeyspaceCreated { id, name, index } => {
                let index = match index.as_str() {
                    "btree" => IndexKind::BTree,
                    _ => return Err("keyspace index kind"),
                };
                let record = KeyspaceRecord { name, index, tables: Vec::new() };
                if self.keyspaces.insert(id, record).is_some() {
                    return Err("keyspace created twice");
                }
                self.next_keyspace = self.next_keyspace.max(id.saturating_add(1));
            }
            Change::KeyspaceDropped { id } => {
                self.keyspaces.remove(&id).ok_or("dropped keyspace")?;
            }
            Change::TableAdded { keyspace, table } => {
                self.next_file = self.next_file.max(table.file.saturating_add(1));
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
        }
        Ok(())
    }

    fn tables(&mut self, keyspace: u32) -> Result<&mut Vec<TableRecord>, &'static str> {
        Ok(&mut self.keyspaces.get_mut(&keyspace).ok_or("keyspace of a table")?.tables)
    }

    /// The changes that build this state from nothing. The clean close is not part of it: the
    /// next open writes this.
    fn changes(&self) -> Vec<Change> {
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
        }
        for segment in self.segments.values() {
            changes.push(Change::SegmentAdded { segment: segment.clone() });
        }
        changes
    }
}

fn encode(changes: &[Change]) -> Vec<u8> {
    bincode::serde::encode_to_vec(changes, bincode::config::standard())
        .expect("changes are plain fields and always encode")
}

fn decode(bytes: &[u8]) -> Result<Vec<Change>, &'static str> {
    let config = bincode::config::standard().with_limit::<EDIT_LEN_MAX>();
    match bincode::serde::decode_from_slice(bytes, config) {
        Ok((changes, len)) if len == bytes.len() => Ok(changes),
        Ok(_) => Err("bytes behind a manifest edit"),
        Err(_) => Err("manifest edit"),
    }
}

/// What [`load`] found.
pub(crate) struct Loaded {
    pub(crate) catalog: Catalog,
    /// The file the state came from.
    pub(crate) number: u64,
    /// True if its last edit was cut off: something may have been lost that was never in effect.
    pub(crate) torn: bool,
}

/// The numbers of the MANIFEST files in a directory, ascending.
pub(crate) fn numbers(listing: &Listing) -> Vec<u64> {
    let mut numbers: Vec<u64> = listing
        .entries
        .iter()
        .filter(|entry| entry.name.kind == MANIFEST && !entry.name.quarantined && !entry.is_dir)
        .filter(|entry| entry.name.id < NUMBER_LIMIT)
        .map(|entry| entry.name.id)
        .collect();
    numbers.sort_unstable();
    numbers
}

/// Reads the newest whole MANIFEST. `None` for a directory without one, or with one whose
/// creation never finished.
pub(crate) fn load(fs: &Arc<dyn Fs>, listing: &Listing) -> Result<Option<Loaded>> {
    // Behind the newest whole file stand only switches, or creations, that never finished: an older
    // file is gone before the first edit of a newer one.
    let mut unfinished = None;
    for number in numbers(listing).into_iter().rev() {
        match read(fs, number) {
            Ok(Some(loaded)) => return Ok(Some(loaded)),
            Ok(None) => {
                let path = fs.path().join(Name::new(MANIFEST, number).to_string());
                unfinished.get_or_insert(Error::corrupt("manifest state", &path, 0, 1, 0));
            }
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                unfinished.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    // With nothing else in the directory there never was a database.
    let is_other = |entry: &vfs::DirEntry| entry.name.kind != MANIFEST;
    match unfinished {
        Some(error) if listing.entries.iter().any(is_other) => Err(error),
        _ => Ok(None),
    }
}

/// Makes durable what [`load`] read, before anything is built on it: a process that was killed
/// leaves a MANIFEST that is whole in the system's cache and perhaps nowhere else.
pub(crate) fn settle(fs: &Arc<dyn Fs>, loaded: &Loaded) -> Result<()> {
    fs.open(Name::new(MANIFEST, loaded.number), Access::ReadWrite)?.sync_data()?;
    Ok(fs.sync_dir()?)
}

/// Reads one file; `None` if not even its first edit is whole.
fn read(fs: &Arc<dyn Fs>, number: u64) -> Result<Option<Loaded>> {
    let name = Name::new(MANIFEST, number);
    let path = fs.path().join(name.to_string());
    let mut catalog: Option<Catalog> = None;
    let end = wal::replay_segment(fs, name, &mut |record| {
        let bad = |what| vfs::Error::corrupt(what, &path, record.address.offset, 0, 0);
        let state = catalog.get_or_insert_default();
        for change in decode(record.payload).map_err(bad)? {
            if let Change::Database { format, .. } = change
                && format != FORMAT_VERSION
            {
                let what = format!("format version {format}, this build knows {FORMAT_VERSION}");
                return Err(vfs::Error::invalid(what, &path));
            }
            state.apply(change).map_err(bad)?;
        }
        Ok(())
    })?;
    let torn = matches!(end, wal::End::Torn { .. });
    Ok(catalog.map(|catalog| Loaded { catalog, number, torn }))
}

/// The open MANIFEST.
pub(crate) struct Manifest {
    fs: Arc<dyn Fs>,
    env: Env,
    number: u64,
    writer: SegmentWriter,
    edits: u64,
    catalog: Catalog,
}

impl Manifest {
    /// Starts file `number` with the whole state, durably; then removes the files before it.
    pub(crate) fn start(
        fs: &Arc<dyn Fs>,
        env: &Env,
        number: u64,
        catalog: Catalog,
        old: &[u64],
    ) -> Result<Manifest> {
        let catalog = Catalog { closed: None, ..catalog };
        let name = Name::new(MANIFEST, number);
        let mut writer = SegmentWriter::create(fs, env, name, catalog.db_id)?;
        append(&mut writer, 1, &encode(&catalog.changes()))?;
        fs.sync_dir()?;
        for old in old {
            fs.remove(Name::new(MANIFEST, *old))?;
        }
        if !old.is_empty() {
            fs.sync_dir()?;
        }
        Ok(Manifest { fs: fs.clone(), env: env.clone(), number, writer, edits: 1, catalog })
    }

    /// The state with every committed change.
    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Makes changes durable, all or nothing. After an error nothing more can be committed: it is
    /// unknown what reached the disk.
    pub(crate) fn commit(&mut self, changes: Vec<Change>) -> Result<()> {
        if self.writer.len() > MANIFEST_BYTES_MAX {
            self.switch()?;
        }
        let mut next = self.catalog.clone();
        for change in &changes {
            next.apply(change.clone()).expect("an edit fits the state it was made for");
        }
        append(&mut self.writer, self.edits + 1, &encode(&changes))?;
        self.edits += 1;
        self.catalog = next;
        Ok(())
    }

    /// Goes on in a fresh file, so that the MANIFEST's length is bounded by the state's.
    fn switch(&mut self) -> Result<()> {
        let catalog = self.catalog.clone();
        *self = Manifest::start(&self.fs, &self.env, self.number + 1, catalog, &[self.number])?;
        Ok(())
    }
}

fn append(writer: &mut SegmentWriter, seq: u64, bytes: &[u8]) -> Result<()> {
    writer.append(seq, bytes.len(), &mut |_, out| out.copy_from_slice(bytes))?;
    Ok(writer.sync()?)
}

#[cfg(test)]
mod tests;
