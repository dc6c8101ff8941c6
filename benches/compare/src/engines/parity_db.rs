//! parity-db with a hash column and with a B-tree column.
//!
//! A commit is acknowledged when it is in a queue in memory: there is no durable put, and no call
//! that waits until the queue is written. Closing does, so that is what a sync is here.

use std::path::{Path, PathBuf};

use ::parity_db::{ColumnOptions, Db, Options};
use anyhow::{Context, Result};

use crate::data::Key;
use crate::store::{Durability, Engine, Kind, Opening, Scan};

const HASH: Kind = Kind {
    name: "parity-hash",
    is_ours: false,
    is_ordered: false,
    survives_kill: false,
    has_durable_puts: false,
    needs_large_values: false,
    is_slow: false,
    open: |opening| open(opening, false),
};

/// Both.
pub(super) const KINDS: [Kind; 2] = [
    HASH,
    Kind {
        name: "parity-btree",
        is_ordered: true,
        is_slow: true,
        open: |opening| open(opening, true),
        ..HASH
    },
];

const COLUMN: u8 = 0;

struct Parity {
    /// Absent only after a reopening that failed.
    db: Option<Db>,
    dir: PathBuf,
    is_ordered: bool,
}

fn open(opening: Opening<'_>, is_ordered: bool) -> Result<Box<dyn Engine>> {
    let dir = opening.dir.join("parity");
    let db = Some(open_db(&dir, is_ordered)?);
    Ok(Box::new(Parity { db, dir, is_ordered }))
}

fn open_db(dir: &Path, is_ordered: bool) -> Result<Db> {
    let mut options = Options::with_columns(dir, 1);
    options.stats = false;
    options.columns[0] = ColumnOptions { btree_index: is_ordered, ..ColumnOptions::default() };
    Ok(Db::open_or_create(&options)?)
}

impl Parity {
    fn db(&self) -> Result<&Db> {
        self.db.as_ref().context("it was not reopened")
    }
}

impl Engine for Parity {
    fn put(&self, key: &[u8], value: &[u8], durability: Durability) -> Result<()> {
        anyhow::ensure!(durability == Durability::Unsynced, "parity-db has no durable put");
        Ok(self.db()?.commit([(COLUMN, key, Some(value.to_vec()))])?)
    }

    fn put_batch(&self, entries: &[(Key, &[u8])]) -> Result<()> {
        let changes = entries.iter().map(|(key, value)| (COLUMN, &**key, Some(value.to_vec())));
        Ok(self.db()?.commit(changes)?)
    }

    fn get(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.db()?.get(COLUMN, key)?;
        value.as_deref().map(visit);
        Ok(value.is_some())
    }

    fn get_copied(&self, key: &[u8], into: &mut Vec<u8>) -> Result<bool> {
        let value = self.db()?.get(COLUMN, key)?;
        let is_there = value.is_some();
        if let Some(value) = value {
            *into = value;
        }
        Ok(is_there)
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        Ok(self.db()?.commit([(COLUMN, key, None)])?)
    }

    fn scan(&self, scan: Scan<'_>, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        anyhow::ensure!(self.is_ordered, "a hash column of parity-db does not show its keys");
        let mut iterator = self.db()?.iter(COLUMN)?;
        match (scan.from, scan.is_reverse) {
            (None, true) => iterator.seek_to_last()?,
            (None, false) => iterator.seek_to_first()?,
            (Some(from), _) => iterator.seek(from)?,
        }
        for _ in 0..scan.limit {
            let entry = if scan.is_reverse { iterator.prev()? } else { iterator.next()? };
            let Some((key, value)) = entry else { break };
            visit(&key, &value);
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        drop(self.db.take());
        self.db = Some(open_db(&self.dir, self.is_ordered)?);
        Ok(())
    }

    /// Nothing is left to do once the queue is empty.
    fn settle(&mut self) -> Result<()> {
        self.sync()
    }

    fn close(self: Box<Self>) -> Result<()> {
        drop(self.db);
        Ok(())
    }
}
