//! The database's directory: which ids are next, how files are made and opened, and when one that
//! nobody needs any more is removed.
//!
//! 1. A file id is never used twice.
//! 2. A retired file is removed only when the edit that retired it is durable (the caller's duty)
//!    and nobody holds it.

use std::any::Any;
use std::sync::{Arc, Weak};

use memtable::Pool;
use sstable::{Builder, BuilderOptions, Expect, FileId, Table};
use vfs::planted::{self, Bug};
use vfs::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use vfs::sync::{Mutex, mistake};
use vfs::{Env, Fs, Kind, Name};
use wal::{Segment, SegmentIds};

use crate::catalog::{Catalog, FILE_ID_LIMIT, SegmentRecord, TableRecord};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::options::{Options, ReadMode};
use crate::reserve::Reserve;

pub(crate) const TABLE: Kind = Kind::new("tbl");
/// Remap tables.
pub(crate) const REMAP: Kind = Kind::new("map");

/// Every file that a MANIFEST with this state names, the log's segments apart.
pub(crate) fn named(catalog: &Catalog) -> impl Iterator<Item = Name> {
    let tables = catalog.keyspaces.values().flat_map(|keyspace| &keyspace.tables);
    let tables = tables.map(|table| Name::new(TABLE, table.file));
    let remaps = catalog.remaps.values().map(|remap| Name::new(REMAP, remap.file));
    tables.chain(remaps).chain(catalog.segments.values().map(SegmentRecord::name))
}

/// What every part of the engine needs to touch the disk.
pub(crate) struct Files {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) env: Env,
    pub(crate) db_id: u64,
    pub(crate) options: Options,
    pub(crate) segment_ids: SegmentIds,
    next_file: AtomicU64,
    next_keyspace: AtomicU32,
    pub(crate) clock: Clock,
    /// Memory of memtables that were flushed, for those to come: of one generation.
    pub(crate) pool: Pool,
    retired: Mutex<Vec<Retired>>,
    pub(crate) reserve: Reserve,
}

/// Ids at and above which none was ever used.
pub(crate) struct NextIds {
    pub(crate) file: u64,
    pub(crate) keyspace: u32,
}

/// What to do once nobody holds something.
struct Retired {
    removal: Removal,
    holders: Weak<dyn Any + Send + Sync>,
}

type Removal = Box<dyn FnOnce(&Files) + Send>;

impl Files {
    pub(crate) fn new(
        fs: Arc<dyn Fs>,
        env: Env,
        db_id: u64,
        options: Options,
        segment_ids: SegmentIds,
        next: NextIds,
        clock_ms: u64,
    ) -> Files {
        let reserve = Reserve::new(options.reserve_bytes);
        let pool = Pool::new(options.memtable_bytes);
        Files {
            fs,
            env,
            db_id,
            options,
            segment_ids,
            next_file: AtomicU64::new(next.file),
            next_keyspace: AtomicU32::new(next.keyspace),
            clock: Clock::starting_at(clock_ms),
            pool,
            retired: Mutex::new(Vec::new()),
            reserve,
        }
    }

    /// Milliseconds since 1970, never less than anybody was told before, also by earlier opens.
    pub(crate) fn now_ms(&self) -> u64 {
        let wall_ms = self.env.clock.wall_ms();
        if planted::is(Bug::ExpiredReturns) {
            return wall_ms;
        }
        self.clock.tell(wall_ms)
    }

    /// The id the next table will get.
    pub(crate) fn next_file(&self) -> u64 {
        self.next_file.load(Ordering::Relaxed)
    }

    /// An id for a new file that is no segment.
    pub(crate) fn take_file_id(&self) -> Result<u64> {
        let next = |id: u64| (id < FILE_ID_LIMIT).then_some(id + 1);
        let taken = self.next_file.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        taken.map_err(|_| Error::invalid("all file ids are used up"))
    }

    /// The id the next keyspace will get.
    pub(crate) fn next_keyspace(&self) -> u32 {
        self.next_keyspace.load(Ordering::Relaxed)
    }

    /// An id for a keyspace; `None` if all are used up. One whose creation fails is not used again.
    pub(crate) fn take_keyspace(&self) -> Option<u32> {
        let next = |id: u32| id.checked_add(1);
        self.next_keyspace.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()
    }

    pub(crate) fn create_table(&self) -> Result<(u64, Builder)> {
        let id = self.take_file_id()?;
        let file = self.fs.create_new(Name::new(TABLE, id))?;
        let options = BuilderOptions {
            file_id: FileId(id),
            owner: self.db_id,
            salt: self.env.rng.next_u64(),
            bloom_bits_per_key: self.options.bloom_bits_per_key,
        };
        Ok((id, Builder::new(file, options)?))
    }

    pub(crate) fn open_table(&self, record: &TableRecord) -> Result<Arc<Table>> {
        let mode = match self.options.read_mode {
            ReadMode::Mapped => sstable::ReadMode::Mapped,
            ReadMode::Positional => sstable::ReadMode::Positional,
        };
        let expect = Expect { len: record.len, footer_crc: record.footer_crc, owner: self.db_id };
        let name = Name::new(TABLE, record.file);
        Table::open(&self.fs, name, mode, Some(expect)).map_err(Error::named_file)
    }

    pub(crate) fn open_segment(&self, record: &SegmentRecord) -> Result<Arc<Segment>> {
        let meta = record.meta();
        Segment::open(&self.fs, record.name(), self.segment_read_mode(), Some(&meta))
            .map_err(Error::named_file)
    }

    pub(crate) fn segment_read_mode(&self) -> wal::ReadMode {
        match self.options.read_mode {
            ReadMode::Mapped => wal::ReadMode::Mapped,
            ReadMode::Positional => wal::ReadMode::Positional,
        }
    }

    /// Marks a file for removal. The caller lets go of `holder` when the view is swapped.
    pub(crate) fn retire<T: Any + Send + Sync>(&self, name: Name, holder: &Arc<T>) {
        self.retire_with(holder, move |files| drop(files.fs.remove(name)));
    }

    /// As [`Files::retire`], for what is more than a file.
    pub(crate) fn retire_with<T: Any + Send + Sync>(
        &self,
        holder: &Arc<T>,
        removal: impl FnOnce(&Files) + Send + 'static,
    ) {
        let (removal, holders): (Removal, Weak<T>) = (Box::new(removal), Arc::downgrade(holder));
        self.retired.lock().push(Retired { removal, holders });
    }

    /// Removes a file that was made and never became part of the database. Failing is no harm:
    /// the next open sets it aside.
    pub(crate) fn abandon(&self, name: Name) {
        drop(self.fs.remove(name));
    }

    /// Removes the retired files that nobody holds. One that cannot be removed is forgotten here
    /// and set aside by the next open.
    pub(crate) fn sweep(&self) {
        let is_free = |retired: &mut Retired| {
            retired.holders.strong_count() == 0 || mistake("a file is removed under its readers")
        };
        let free: Vec<Retired> = self.retired.lock().extract_if(.., is_free).collect();
        if !planted::is(Bug::RetiredForgotten) {
            free.into_iter().for_each(|retired| (retired.removal)(self));
        }
    }

    /// How many retired files somebody still holds.
    pub(crate) fn retired_count(&self) -> usize {
        self.retired.lock().len()
    }
}
