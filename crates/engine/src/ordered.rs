//! The ordered index as the store sees it: [`Levels`] behind the seam of `index.rs`.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use sstable::{Cursor, Entry, Found, FoundValue, Table, Value};
use vfs::sync::habit;

use crate::compact;
use crate::error::{Error, Result};
use crate::files::Files;
use crate::index::{
    Backlog, BoxCursor, Delta, Flush, FlushEntry, FlushValue, Index, Merge, MergeContext, Shape,
};
use crate::levels::{Ends, Level, LevelCursor, Levels, TableOutput, find};
use crate::listed::Listed;
use crate::record::ValuePtr;
use crate::vlog::Values;

/// So many times `level0_files_max` files may wait in level 0 while together they have less than
/// `level1_bytes`.
const LEVEL0_SMALL: usize = 3;

impl Index for Levels {
    fn get(&self, key: &[u8], _values: &Values<'_>) -> Result<Option<Found>> {
        let hash = sstable::key_hash(key);
        let Some((newest, deeper)) = self.levels.split_first() else { return Ok(None) };
        if newest.len() > 1 {
            newest.iter().for_each(|table| table.table.prefetch_filter(hash));
        }
        for table in newest.iter().filter(|table| table.covers(key)) {
            if let Some(found) = table.table.get_hashed(key, hash)? {
                return Ok(Some(found));
            }
        }
        let Some((deepest, between)) = deeper.split_last() else { return Ok(None) };
        for level in between {
            if let Some(table) = find(level, key)
                && let Some(found) = table.table.get_hashed(key, hash)?
            {
                return Ok(Some(found));
            }
        }
        let Some(table) = find(deepest, key) else { return Ok(None) };
        // Who found the last key probably finds this one.
        let found = match habit::guess() {
            true => table.table.get_likely(key, hash)?,
            false => table.table.get_hashed(key, hash)?,
        };
        habit::note(found.is_some());
        Ok(found)
    }

    fn newest_pointer(&self, key: &[u8], values: &Values<'_>) -> Result<Option<ValuePtr>> {
        Ok(self.get(key, values)?.and_then(|found| match found.value {
            FoundValue::Pointer(bits) => Some(ValuePtr::from_bits(bits)),
            FoundValue::Inline(_) | FoundValue::Tombstone => None,
        }))
    }

    fn forget_verified(&self) {
        self.tables().for_each(|table| table.table.forget_verified());
    }

    fn look_up_order(&self, _key: &[u8]) -> u64 {
        0
    }

    fn listed(&self) -> Listed {
        let mut all = Listed::default();
        self.tables().for_each(|table| all.extend(&table.extra.listed));
        all
    }

    fn cursors(&self, out: &mut Vec<BoxCursor>) -> Result<()> {
        let Some((newest, deeper)) = self.levels.split_first() else { return Ok(()) };
        for table in newest.iter() {
            out.push(Box::new(table.table.cursor()));
        }
        for level in deeper.iter().filter(|level| !level.is_empty()) {
            out.push(Box::new(LevelCursor::new(level.clone())));
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    fn begin_flush(&self, files: &Arc<Files>, keyspace: u32) -> Result<Box<dyn Flush>> {
        let output = TableOutput::new(files.clone(), keyspace, 0, Ends::never());
        Ok(Box::new(LevelsFlush { output, keep_tombstones: !self.is_empty() }))
    }

    fn plan_merge(&self, context: &MergeContext) -> Option<Box<dyn Merge>> {
        compact::plan(self, context)
    }

    fn is_stalled(&self, files: &Files) -> bool {
        self.backlog(files).is_some_and(|backlog| backlog.files >= backlog.most)
    }

    fn backlog(&self, files: &Files) -> Option<Backlog> {
        let options = &files.options;
        let level = self.levels.first().filter(|level| !level.is_empty())?;
        // Small files are merged quickly as soon as a merge of deeper levels is done, but that may
        // take long: a burst is not to wait for it.
        let bytes: u64 = level.iter().map(|table| table.record.len).sum();
        let count = level.len() as u64;
        let with_level1_bytes = options.level1_bytes.saturating_mul(count).div_ceil(bytes.max(1));
        let with_level1_bytes = usize::try_from(with_level1_bytes).unwrap_or(usize::MAX);
        let least = options.level0_files_max;
        let most = with_level1_bytes.clamp(least, least.saturating_mul(LEVEL0_SMALL));
        Some(Backlog { files: level.len(), due: options.level0_files, most })
    }

    fn is_full(&self) -> bool {
        false
    }

    fn shape(&self) -> Shape {
        let bytes = |level: &Level| level.iter().map(|table| table.record.len).sum();
        let levels = self.levels.iter().map(|level| (level.len() as u64, bytes(level)));
        let entries = self.tables().map(|table| table.table.props().count).sum();
        Shape { levels: levels.collect(), entries }
    }

    fn check(
        &self,
        _values: &Values<'_>,
        visit: &mut dyn FnMut(Entry<'_>) -> Result<()>,
        report: &mut dyn FnMut(Error),
    ) {
        for table in self.tables() {
            if let Err(error) = check_table(&table.table, visit) {
                report(error);
            }
        }
    }

    fn retire(&self, files: &Files) {
        for table in self.tables() {
            files.retire(table.name(), &table.table);
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn check_table(table: &Arc<Table>, visit: &mut dyn FnMut(Entry<'_>) -> Result<()>) -> Result<()> {
    table.check()?;
    let mut cursor = table.cursor();
    cursor.seek_first()?;
    while cursor.valid() {
        visit(cursor.entry())?;
        cursor.next()?;
    }
    Ok(())
}

struct LevelsFlush {
    output: TableOutput,
    keep_tombstones: bool,
}

impl Flush for LevelsFlush {
    fn add(&mut self, entry: FlushEntry<'_>) -> Result<()> {
        let FlushEntry { key, is_delete, expiry, value } = entry;
        let value = match value {
            _ if is_delete && !self.keep_tombstones => return Ok(()),
            _ if is_delete => Value::Tombstone,
            FlushValue::Inline(value) => Value::Inline(value),
            FlushValue::Pointer(pointer) => Value::Pointer(pointer.bits()),
            FlushValue::None => unreachable!("only a delete has no value"),
        };
        self.output.add(Entry { key, value, expiry })
    }

    fn finish(mut self: Box<Self>) -> Result<Option<Delta>> {
        self.output.end_table()?;
        let any = self.output.count > 0;
        Ok(any.then(|| self.output.into_delta(Vec::new(), BTreeMap::new())))
    }
}
