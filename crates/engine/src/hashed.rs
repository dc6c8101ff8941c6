//! The hash index as the store sees it: a generation of a [`HashTable`] behind the seam of
//! `index.rs`.
//!
//! The table maps the hash of a key to slots, which point to records in the value log; only those
//! hold the keys. So every answer reads a record, and a delete has one too.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use diskhash::{Builder, PARTITION, RUN};
use sstable::{Entry, Found, FoundValue, Value};
use vfs::Part;
use vfs::planted::{self, Bug};

use crate::error::{Error, ErrorKind, Result};
use crate::files::Files;
use crate::hash_delta::{HashIndex, into_delta};
use crate::hash_merge;
use crate::hash_table::{self, HashTable};
use crate::index::{
    Backlog, BoxCursor, Delta, Flush, FlushEntry, FlushValue, Index, Merge, MergeContext, Shape,
};
use crate::listed::Listed;
use crate::record::{Record, RecordKind, ValuePtr};
use crate::slot::Slot;
use crate::vlog::Values;

impl HashIndex {
    /// What `answer` makes of the newest slot and record of a key. A candidate whose record was
    /// dropped is shadowed, so it is passed over.
    fn find<R>(
        &self,
        key: &[u8],
        values: &Values<'_>,
        mut answer: impl FnMut(Slot, &Record<'_>, &Part<'_>) -> R,
    ) -> Result<Option<R>> {
        let mut found = Ok(None);
        self.generation().candidates(self.table.hash(key), &mut |slot| {
            let slot = Slot::decode(slot);
            let candidate = values.record(slot.pointer, |record, bytes| {
                let is_ours = record.key == key || planted::is(Bug::CandidateKeyTrusted);
                Ok(is_ours.then(|| answer(slot, &record, bytes)))
            });
            match candidate {
                Ok(None | Some(None)) => return Ok(ControlFlow::Continue(())),
                Ok(Some(answer)) => found = Ok(answer),
                Err(error) => found = Err(error),
            }
            Ok(ControlFlow::Break(()))
        })?;
        found
    }
}

impl Index for HashIndex {
    fn get(&self, key: &[u8], values: &Values<'_>) -> Result<Option<Found>> {
        self.find(key, values, |slot, record, bytes| {
            let value = match record.kind {
                RecordKind::Put if !slot.is_delete => {
                    FoundValue::Inline(bytes.slice_ref(record.value))
                }
                _ => FoundValue::Tombstone,
            };
            Found { value, expiry: record.expiry }
        })
    }

    fn newest_pointer(&self, key: &[u8], values: &Values<'_>) -> Result<Option<ValuePtr>> {
        self.find(key, values, |slot, _, _| slot.pointer)
    }

    fn forget_verified(&self) {
        self.generation().forget_verified();
    }

    fn look_up_order(&self, key: &[u8]) -> u64 {
        self.table.hash(key)
    }

    fn listed(&self) -> Listed {
        self.generation().listed().into_iter().collect()
    }

    fn cursors(&self, _out: &mut Vec<BoxCursor>) -> Result<()> {
        Err(Error::invalid("a hash index has no order"))
    }

    fn is_empty(&self) -> bool {
        self.generation().is_empty()
    }

    fn begin_flush(&self, _files: &Arc<Files>, _keyspace: u32) -> Result<Box<dyn Flush>> {
        let (table, builder) = (self.table.clone(), self.table.table.builder());
        Ok(Box::new(HashFlush { table, builder }))
    }

    fn plan_merge(&self, context: &MergeContext) -> Option<Box<dyn Merge>> {
        hash_merge::plan(self, context)
    }

    fn is_stalled(&self, _files: &Files) -> bool {
        self.generation().is_full()
    }

    fn backlog(&self, _files: &Files) -> Option<Backlog> {
        None // its merges move slots only, and are done before much waits
    }

    fn is_full(&self) -> bool {
        self.generation().is_full()
    }

    fn shape(&self) -> Shape {
        let files = self.generation().files();
        let of_kind = |kind| {
            let lens = files.iter().filter(move |(name, _)| name.kind == kind);
            lens.fold((0, 0), |(count, bytes), (_, len)| (count + 1, bytes + len))
        };
        let stats = self.generation().stats();
        let entries = stats.run_slots + stats.partition_slots;
        Shape { levels: vec![of_kind(RUN), of_kind(PARTITION)], entries }
    }

    fn check(
        &self,
        values: &Values<'_>,
        visit: &mut dyn FnMut(Entry<'_>) -> Result<()>,
        report: &mut dyn FnMut(Error),
    ) {
        self.generation().check(&mut |_| Ok(()), &mut |error| report(error.into()));
        if let Err(error) = self.check_slots(values, visit, report) {
            report(error);
        }
    }

    fn retire(&self, files: &Files) {
        let name = self.table.name();
        files.retire_with(&self.table, move |files| {
            // What stays is seen to by the next open.
            hash_table::remove(&*files.fs, name);
        });
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl HashIndex {
    /// Every slot leads to a record that agrees with it.
    fn check_slots(
        &self,
        values: &Values<'_>,
        visit: &mut dyn FnMut(Entry<'_>) -> Result<()>,
        report: &mut dyn FnMut(Error),
    ) -> Result<()> {
        let mut cursor = self.generation().cursor();
        while let Some((hash, slot)) = cursor.next()? {
            let slot = Slot::decode(slot);
            let checked = values.record(slot.pointer, |record, _| {
                let is_delete = record.kind == RecordKind::Delete;
                let made = Slot::new(slot.pointer, is_delete, record.expiry);
                if made != slot || self.table.kept_hash(record.key) != hash {
                    return Err(disagreeing(slot.pointer));
                }
                let value = if is_delete { Value::Tombstone } else { Value::Inline(record.value) };
                visit(Entry { key: record.key, value, expiry: record.expiry })
            });
            if let Err(error) = checked {
                report(error);
            }
        }
        Ok(())
    }
}

/// The error for a slot that says something else than its record does.
fn disagreeing(pointer: ValuePtr) -> Error {
    let address = pointer.address();
    let message = format!(
        "a hash index does not agree with the record at byte {} of value segment {}",
        address.offset, address.segment
    );
    Error::new(ErrorKind::Corrupt, message)
}

struct HashFlush {
    table: Arc<HashTable>,
    builder: Builder,
}

impl Flush for HashFlush {
    fn add(&mut self, entry: FlushEntry<'_>) -> Result<()> {
        let pointer = match entry.value {
            FlushValue::Pointer(pointer) => pointer,
            FlushValue::None => return Ok(()), // a delete that hides nothing
            FlushValue::Inline(_) => unreachable!("every value of a hash keyspace has a record"),
        };
        let slot = Slot::new(pointer, entry.is_delete, entry.expiry);
        self.builder.add(self.table.hash(entry.key), &slot.encode());
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Option<Delta>> {
        let HashFlush { table, builder } = *self;
        let built = builder.finish()?;
        Ok(built.map(|built| into_delta(table, built, BTreeMap::new())))
    }
}
