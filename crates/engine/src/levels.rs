//! The ordered index: leveled B+tree files.
//!
//! level 0: files from flushes, newest first, overlapping
//! level n: files in key order, disjoint; older than everything above
//!
//! The newest version of a key is the first one met going down. One version of the files is
//! immutable; `compact.rs` says which files to merge and merges them, `ordered.rs` is the face that
//! the store sees.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use sstable::{Builder, Cursor, Entry, Table, TableCursor, Value};
use vfs::planted::{self, Bug};
use vfs::{Bytes, Name};

use crate::catalog::{Change, TableRecord};
use crate::error::{Error, Result};
use crate::extra::{Expiries, Extra};
use crate::files::{Files, TABLE};
use crate::index::{Delta, Index, Installed};
use crate::listed::{Listed, RANGES_MAX};
use crate::record::ValuePtr;

/// A file of the index.
pub(crate) struct LevelTable {
    pub(crate) record: TableRecord,
    pub(crate) table: Arc<Table>,
    /// The address spaces it points into, and when much of it will have expired.
    pub(crate) extra: Extra,
}

impl LevelTable {
    /// Opens a file, and reads what it says of itself.
    fn open(files: &Files, record: TableRecord) -> Result<LevelTable> {
        let table = files.open_table(&record)?;
        let extra = Extra::decode(table.path(), &table.props().extra)?;
        Ok(LevelTable { record, table, extra })
    }

    pub(crate) fn smallest(&self) -> &[u8] {
        &self.table.props().smallest
    }

    pub(crate) fn largest(&self) -> &[u8] {
        &self.table.props().largest
    }

    pub(crate) fn name(&self) -> Name {
        Name::new(TABLE, self.record.file)
    }

    pub(crate) fn covers(&self, key: &[u8]) -> bool {
        self.smallest() <= key && key <= self.largest()
    }

    /// The same file one or more levels down.
    pub(crate) fn at_level(&self, level: u8) -> LevelTable {
        let record = TableRecord { level, ..self.record.clone() };
        LevelTable { record, table: self.table.clone(), extra: self.extra.clone() }
    }
}

/// The files of one level.
pub(crate) type Level = Arc<Vec<Arc<LevelTable>>>;

/// One version of the index.
#[derive(Clone, Default)]
pub(crate) struct Levels {
    pub(crate) levels: Vec<Level>,
}

/// Deepest level; the sizes of the levels reach any disk long before.
pub(crate) const LEVEL_MAX: usize = 15;

impl Levels {
    /// Opens the files a MANIFEST lists, in the order they were added.
    pub(crate) fn open(files: &Files, records: &[TableRecord]) -> Result<Levels> {
        let mut tables = Vec::with_capacity(records.len());
        for record in records {
            let table = LevelTable::open(files, record.clone())?;
            if usize::from(record.level) > LEVEL_MAX {
                let (limit, found) = (LEVEL_MAX as u64, u64::from(record.level));
                return Err(Error::corrupt("table level", table.table.path(), 0, limit, found));
            }
            tables.push(Arc::new(table));
        }
        let levels = Levels::default().with(&tables, &[]);
        for level in levels.levels.iter().skip(1) {
            for pair in level.windows(2) {
                if pair[0].largest() >= pair[1].smallest() {
                    let (one, two) = (pair[0].record.file, pair[1].record.file);
                    let path = pair[1].table.path();
                    return Err(Error::corrupt("overlap of tables", path, 0, one, two));
                }
            }
        }
        Ok(levels)
    }

    /// This version with files added (each at the level its record says) and removed.
    pub(crate) fn with(&self, added: &[Arc<LevelTable>], removed: &[u64]) -> Levels {
        let removed: HashSet<u64> = removed.iter().copied().collect();
        let is_left = |table: &&Arc<LevelTable>| !removed.contains(&table.record.file);
        let mut levels: Vec<Vec<Arc<LevelTable>>> = self
            .levels
            .iter()
            .map(|level| level.iter().filter(is_left).cloned().collect())
            .collect();
        for table in added {
            let level = usize::from(table.record.level);
            if levels.len() <= level {
                levels.resize_with(level + 1, Vec::new);
            }
            let at = match level {
                0 if !planted::is(Bug::OldestTableFirst) => 0,
                _ => levels[level].len(),
            };
            levels[level].insert(at, table.clone());
        }
        // Stretches that are in order already, so this is linear.
        for level in levels.iter_mut().skip(1) {
            level.sort_by(|one, two| one.smallest().cmp(two.smallest()));
        }
        while levels.last().is_some_and(Vec::is_empty) {
            levels.pop();
        }
        Levels { levels: levels.into_iter().map(Arc::new).collect() }
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &Arc<LevelTable>> {
        self.levels.iter().flat_map(|level| level.iter())
    }

    /// True if a level below `level` may hold the key.
    pub(crate) fn may_exist_below(&self, level: usize, key: &[u8]) -> bool {
        let below = self.levels.iter().skip(level + 1);
        below.into_iter().any(|tables| find(tables, key).is_some())
    }

    fn of(index: &dyn Index) -> &Levels {
        index.as_any().downcast_ref().expect("a keyspace keeps its kind of index")
    }
}

/// The file of a disjoint level that may hold a key.
pub(crate) fn find<'a>(level: &'a [Arc<LevelTable>], key: &[u8]) -> Option<&'a Arc<LevelTable>> {
    let index = level.partition_point(|table| table.largest() < key);
    level.get(index).filter(|table| table.smallest() <= key)
}

/// Where the files of an output end.
///
/// A file that goes down later is merged with every file below that it meets: with one more than its
/// size asks for, unless it ends where one of them does. So it does if it can, as in RocksDB since
/// 7.8: 10 to 12 % fewer bytes are written by merges.
pub(crate) struct Ends {
    table_bytes: u64,
    /// The level below the output.
    below: Level,
    /// Files of it that begin at or before the last key.
    passed: usize,
}

impl Ends {
    /// One file, as large as it may become.
    pub(crate) fn never() -> Ends {
        Ends::at(u64::MAX, Level::default())
    }

    /// At `table_bytes`, or from three quarters to twice of that where a file of `below` begins.
    pub(crate) fn at(table_bytes: u64, below: Level) -> Ends {
        Ends { table_bytes, below, passed: 0 }
    }

    /// True if a file of so many bytes is to end before `key`. Keys come in order.
    fn before(&mut self, key: &[u8], bytes: u64) -> bool {
        let passed_before = self.passed;
        while self.below.get(self.passed).is_some_and(|table| table.smallest() <= key) {
            self.passed += 1;
        }
        let (least, most) = match self.below.is_empty() {
            true => (self.table_bytes, self.table_bytes),
            false => (self.table_bytes / 4 * 3, self.table_bytes.saturating_mul(2)),
        };
        bytes >= most || (bytes >= least && self.passed > passed_before)
    }
}

/// Writes sorted entries into as many files as their size asks for.
pub(crate) struct TableOutput {
    files: Arc<Files>,
    keyspace: u32,
    level: u8,
    ends: Ends,
    open: Option<(u64, Builder)>,
    /// What the open file points into.
    listed: Listed,
    /// When its entries expire.
    expiries: Expiries,
    done: Vec<Arc<LevelTable>>,
    pub(crate) count: u64,
}

impl TableOutput {
    pub(crate) fn new(files: Arc<Files>, keyspace: u32, level: u8, ends: Ends) -> Self {
        let (open, listed, done, count) = (None, Listed::default(), Vec::new(), 0);
        let expiries = Expiries::new(files.next_file());
        TableOutput { files, keyspace, level, ends, open, listed, expiries, done, count }
    }

    pub(crate) fn add(&mut self, entry: Entry<'_>) -> Result<()> {
        let bytes = self.open.as_ref().map_or(0, |(_, table)| table.len_estimate());
        if self.ends.before(entry.key, bytes) || self.listed.range_count() >= RANGES_MAX {
            self.end_table()?;
            if planted::is(Bug::OutputOverflowDropped) {
                self.count += 1;
                return Ok(());
            }
        }
        if self.open.is_none() {
            self.open = Some(self.files.create_table()?);
        }
        let (_, builder) = self.open.as_mut().expect("a table was just opened");
        builder.add(entry)?;
        self.expiries.add(entry.expiry);
        if let Value::Pointer(bits) = entry.value {
            self.listed.insert(ValuePtr::from_bits(bits).segment().0);
        }
        self.count += 1;
        Ok(())
    }

    pub(crate) fn end_table(&mut self) -> Result<()> {
        let Some((file, builder)) = self.open.take() else { return Ok(()) };
        let (listed, due_ms) = (std::mem::take(&mut self.listed), self.expiries.take_due_ms());
        let extra = Extra { listed, due_ms };
        let finish = || -> Result<LevelTable> {
            let built = builder.finish(&extra.encode())?;
            let (len, footer_crc) = (built.len, built.footer_crc);
            let record = TableRecord { file, level: self.level, len, footer_crc };
            LevelTable::open(&self.files, record)
        };
        let abandon = |_: &Error| self.files.abandon(Name::new(TABLE, file));
        self.done.push(Arc::new(finish().inspect_err(abandon)?));
        Ok(())
    }

    /// The change that adds the new files and removes `replaced`. Every file is ended.
    /// `garbage`: dead bytes that were found, by file.
    pub(crate) fn into_delta(
        mut self,
        replaced: Vec<Arc<LevelTable>>,
        garbage: BTreeMap<u32, u64>,
    ) -> Delta {
        assert!(self.open.is_none(), "the last table was ended");
        let added = std::mem::take(&mut self.done);
        let keyspace = self.keyspace;
        let mut changes = Vec::new();
        let mut replaced = replaced;
        for table in &replaced {
            changes.push(Change::TableRemoved { keyspace, file: table.record.file });
        }
        for table in &added {
            changes.push(Change::TableAdded { keyspace, table: table.record.clone() });
        }
        let bytes_written = added.iter().map(|table| table.record.len).sum();
        let names: Vec<Name> = added.iter().map(|table| table.name()).collect();
        let removed: Vec<u64> = replaced.iter().map(|table| table.record.file).collect();
        let install = move |index: &dyn Index| -> Result<Installed> {
            let next = Levels::of(index).with(&added, &removed);
            let replaced = std::mem::take(&mut replaced);
            let retire = move |files: &Files| {
                replaced.iter().for_each(|table| files.retire(table.name(), &table.table));
            };
            let changes = std::mem::take(&mut changes);
            Ok(Installed { changes, index: Arc::new(next), retire: Box::new(retire) })
        };
        let abandon = move |files: &Files| {
            names.into_iter().for_each(|name| files.abandon(name));
            Ok(())
        };
        let (install, abandon) = (Box::new(install), Box::new(abandon));
        Delta { install, abandon, bytes_written, garbage, copied: Vec::new() }
    }
}

impl Drop for TableOutput {
    /// An output that never became a delta leaves nothing behind.
    fn drop(&mut self) {
        let open = self.open.take().map(|(file, _)| Name::new(TABLE, file));
        let done = self.done.drain(..).map(|table| table.name());
        for name in done.chain(open) {
            self.files.abandon(name);
        }
    }
}

/// The change that moves files down without rewriting them.
pub(crate) fn move_delta(keyspace: u32, tables: Vec<Arc<LevelTable>>, level: u8) -> Delta {
    let file = |table: &Arc<LevelTable>| table.record.file;
    let install = move |index: &dyn Index| -> Result<Installed> {
        let change = |table| Change::TableMoved { keyspace, file: file(table), level };
        let changes = tables.iter().map(change).collect();
        let moved: Vec<_> = tables.iter().map(|t| Arc::new(t.at_level(level))).collect();
        let removed: Vec<u64> = tables.iter().map(file).collect();
        let index = Arc::new(Levels::of(index).with(&moved, &removed));
        Ok(Installed { changes, index, retire: Box::new(|_| ()) })
    };
    let (install, abandon) = (Box::new(install), Box::new(|_: &Files| Ok(())));
    let (garbage, copied) = (BTreeMap::new(), Vec::new());
    Delta { install, abandon, bytes_written: 0, garbage, copied }
}

/// A cursor over one disjoint level: one table cursor at a time.
pub(crate) struct LevelCursor {
    level: Level,
    index: usize,
    cursor: Option<TableCursor>,
    /// Verify every page at each read, not only at its first.
    verifying: bool,
}

impl LevelCursor {
    pub(crate) fn new(level: Level) -> LevelCursor {
        LevelCursor { level, index: 0, cursor: None, verifying: false }
    }

    /// As [`LevelCursor::new`] for a merge: what it copies gets fresh checksums, so it must be
    /// sound at that moment.
    pub(crate) fn verifying(level: Level) -> LevelCursor {
        LevelCursor { verifying: true, ..LevelCursor::new(level) }
    }

    /// Moves to a table, or past the end if there is none.
    fn enter(&mut self, index: Option<usize>) -> Option<&mut TableCursor> {
        let same = self.cursor.is_some() && index == Some(self.index);
        if !same {
            let table = index.and_then(|index| self.level.get(index));
            self.cursor = table.map(|table| match self.verifying {
                true => table.table.cursor_verifying(),
                false => table.table.cursor(),
            });
            self.index = index.unwrap_or(0);
        }
        self.cursor.as_mut()
    }

    fn skip_forward(&mut self) -> Result<(), vfs::Error> {
        while self.cursor.as_ref().is_some_and(|cursor| !cursor.valid()) {
            let next = self.index + 1;
            self.cursor = None;
            if let Some(cursor) = self.enter(Some(next)) {
                cursor.seek_first()?;
            }
        }
        Ok(())
    }

    fn skip_backward(&mut self) -> Result<(), vfs::Error> {
        while self.cursor.as_ref().is_some_and(|cursor| !cursor.valid()) {
            let previous = self.index.checked_sub(1);
            self.cursor = None;
            if let Some(cursor) = self.enter(previous) {
                cursor.seek_last()?;
            }
        }
        Ok(())
    }
}

impl Cursor for LevelCursor {
    fn seek_first(&mut self) -> Result<(), vfs::Error> {
        if let Some(cursor) = self.enter(Some(0)) {
            cursor.seek_first()?;
        }
        self.skip_forward()
    }

    fn seek_last(&mut self) -> Result<(), vfs::Error> {
        if let Some(cursor) = self.enter(self.level.len().checked_sub(1)) {
            cursor.seek_last()?;
        }
        self.skip_backward()
    }

    fn seek(&mut self, key: &[u8]) -> Result<(), vfs::Error> {
        let index = self.level.partition_point(|table| table.largest() < key);
        if let Some(cursor) = self.enter(Some(index)) {
            cursor.seek(key)?;
        }
        self.skip_forward()
    }

    fn seek_for_prev(&mut self, key: &[u8]) -> Result<(), vfs::Error> {
        let after = self.level.partition_point(|table| table.smallest() <= key);
        if let Some(cursor) = self.enter(after.checked_sub(1)) {
            cursor.seek_for_prev(key)?;
        }
        self.skip_backward()
    }

    fn next(&mut self) -> Result<(), vfs::Error> {
        if let Some(cursor) = &mut self.cursor {
            cursor.next()?;
        }
        self.skip_forward()
    }

    fn prev(&mut self) -> Result<(), vfs::Error> {
        if let Some(cursor) = &mut self.cursor {
            cursor.prev()?;
        }
        self.skip_backward()
    }

    fn valid(&self) -> bool {
        self.cursor.as_ref().is_some_and(TableCursor::valid)
    }

    fn entry(&self) -> Entry<'_> {
        self.cursor.as_ref().expect("the cursor is valid").entry()
    }

    fn key(&self) -> &[u8] {
        self.cursor.as_ref().expect("the cursor is valid").key()
    }

    fn value_bytes(&self) -> Bytes {
        self.cursor.as_ref().expect("the cursor is valid").value_bytes()
    }

    fn value_ahead(&self, steps: isize) -> Option<Value<'_>> {
        self.cursor.as_ref()?.value_ahead(steps)
    }
}

#[cfg(test)]
mod tests;
