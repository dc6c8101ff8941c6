//! canopydb. One write transaction at a time, which is what single puts of its benchmarks use.

use ::canopydb::{Database, DbOptions, EnvOptions, TreeOptions};
use anyhow::{Context, Result};

use crate::data::Key;
use crate::store::{CACHE_BYTES, Durability, Engine, Kind, Opening, Scan};

/// canopydb.
pub(super) const KIND: Kind = Kind {
    name: "canopydb",
    is_ours: false,
    is_ordered: true,
    survives_kill: true,
    has_durable_puts: true,
    needs_large_values: false,
    is_slow: true,
    open,
};

const TREE: &[u8] = b"data";

struct Canopy {
    db: Database,
}

fn open(opening: Opening<'_>) -> Result<Box<dyn Engine>> {
    let mut environment = EnvOptions::new(opening.dir); // it makes no directory
    environment.page_cache_size = CACHE_BYTES;
    // Nobody else syncs by the clock either.
    environment.wal_background_sync_interval = None;
    let canopy = Canopy { db: Database::with_options(environment, DbOptions::new())? };
    canopy.write(Durability::Durable, |_| Ok(()))?;
    Ok(Box::new(canopy))
}

impl Canopy {
    fn write(
        &self,
        durability: Durability,
        body: impl FnOnce(&mut ::canopydb::Tree<'_>) -> Result<()>,
    ) -> Result<()> {
        let txn = self.db.begin_write()?;
        let mut options = TreeOptions::new();
        options.compress_overflow_values = None;
        body(&mut txn.get_or_create_tree_with(TREE, options)?)?;
        txn.commit_with(durability == Durability::Durable)?;
        Ok(())
    }
}

impl Engine for Canopy {
    fn put(&self, key: &[u8], value: &[u8], durability: Durability) -> Result<()> {
        self.write(durability, |tree| Ok(tree.insert(key, value)?))
    }

    fn put_batch(&self, entries: &[(Key, &[u8])]) -> Result<()> {
        self.write(Durability::Unsynced, |tree| {
            entries.iter().try_for_each(|(key, value)| Ok(tree.insert(key, value)?))
        })
    }

    fn get(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let txn = self.db.begin_read()?;
        let tree = txn.get_tree(TREE)?.context("the tree")?;
        let value = tree.get(key)?;
        value.as_deref().map(visit);
        Ok(value.is_some())
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        self.write(Durability::Unsynced, |tree| {
            tree.delete(key)?;
            Ok(())
        })
    }

    fn scan(&self, scan: Scan<'_>, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        let txn = self.db.begin_read()?;
        let tree = txn.get_tree(TREE)?.context("the tree")?;
        let mut range = match (scan.from, scan.is_reverse) {
            (None, _) => tree.iter()?,
            (Some(from), false) => tree.range(from..)?,
            (Some(from), true) => tree.range(..=from)?,
        };
        for _ in 0..scan.limit {
            let entry = if scan.is_reverse { range.next_back() } else { range.next() };
            let Some(entry) = entry else { break };
            let (key, value) = entry?;
            visit(&key, &value);
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        Ok(self.db.sync()?)
    }

    fn settle(&mut self) -> Result<()> {
        self.db.checkpoint()?;
        Ok(self.db.compact()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        // Its documentation proposes this for a quick open.
        self.db.checkpoint()?;
        Ok(())
    }
}
