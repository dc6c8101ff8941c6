//! redb. Unsynced writes with `Durability::None`: a crash of the process takes them back.

use ::redb::{Database, Durability as Level, ReadableDatabase, ReadableTable, TableDefinition};
use anyhow::{Context, Result};

use crate::data::Key;
use crate::store::{CACHE_BYTES, Durability, Engine, Kind, Opening, Scan};

/// redb.
pub(super) const KIND: Kind = Kind {
    name: "redb",
    is_ours: false,
    is_ordered: true,
    survives_kill: false,
    has_durable_puts: true,
    needs_large_values: false,
    is_slow: true,
    open,
};

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("data");

struct Redb {
    db: Database,
}

fn open(opening: Opening<'_>) -> Result<Box<dyn Engine>> {
    let mut builder = Database::builder();
    let db = builder.set_cache_size(CACHE_BYTES).create(opening.dir.join("redb"))?;
    let redb = Redb { db };
    redb.write(Durability::Durable, |_| Ok(()))?;
    Ok(Box::new(redb))
}

impl Redb {
    fn write(
        &self,
        durability: Durability,
        body: impl FnOnce(&mut ::redb::Table<'_, &[u8], &[u8]>) -> Result<()>,
    ) -> Result<()> {
        let mut txn = self.db.begin_write()?;
        txn.set_durability(match durability {
            Durability::Unsynced => Level::None,
            Durability::Durable => Level::Immediate,
        })?;
        body(&mut txn.open_table(TABLE)?)?;
        Ok(txn.commit()?)
    }
}

impl Engine for Redb {
    fn put(&self, key: &[u8], value: &[u8], durability: Durability) -> Result<()> {
        self.write(durability, |table| {
            table.insert(key, value)?;
            Ok(())
        })
    }

    fn put_batch(&self, entries: &[(Key, &[u8])]) -> Result<()> {
        self.write(Durability::Unsynced, |table| {
            for (key, value) in entries {
                table.insert(&**key, *value)?;
            }
            Ok(())
        })
    }

    fn get(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let table = self.db.begin_read()?.open_table(TABLE)?;
        let value = table.get(key)?;
        if let Some(value) = &value {
            visit(value.value());
        }
        Ok(value.is_some())
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        self.write(Durability::Unsynced, |table| {
            table.remove(key)?;
            Ok(())
        })
    }

    fn scan(&self, scan: Scan<'_>, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        let table = self.db.begin_read()?.open_table(TABLE)?;
        let mut range = match (scan.from, scan.is_reverse) {
            (None, _) => table.iter()?,
            (Some(from), false) => table.range(from..)?,
            (Some(from), true) => table.range(..=from)?,
        };
        for _ in 0..scan.limit {
            let entry = if scan.is_reverse { range.next_back() } else { range.next() };
            let Some(entry) = entry else { break };
            let (key, value) = entry?;
            visit(key.value(), value.value());
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        self.write(Durability::Durable, |_| Ok(()))
    }

    fn settle(&mut self) -> Result<()> {
        self.sync()?;
        self.db.compact().context("compact")?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        drop(self.db);
        Ok(())
    }
}
