//! LMDB through heed. Unsynced writes with `MDB_NOSYNC`, durable ones with its default flags.

use std::ops::Bound;

use ::heed::types::Bytes;
use ::heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions};
use anyhow::Result;

use crate::data::Key;
use crate::store::{Durability, Engine, Kind, Opening, Scan};

/// LMDB.
pub(super) const KIND: Kind = Kind {
    name: "heed",
    is_ours: false,
    is_ordered: true,
    survives_kill: true,
    has_durable_puts: true,
    needs_large_values: false,
    is_slow: false,
    open,
};

/// Address space that is set aside: more than any measurement fills.
const MAP_BYTES: usize = 64 << 30;

struct Heed {
    env: Env,
    database: Database<'static, Bytes, Bytes>,
    durability: Durability,
}

fn open(opening: Opening<'_>) -> Result<Box<dyn Engine>> {
    let mut options = EnvOpenOptions::new();
    options.map_size(MAP_BYTES);
    if opening.durability == Durability::Unsynced {
        // SAFETY: without syncs a crash of the machine may lose or damage the database, which
        // nobody reads after one; a crash of the process does neither.
        unsafe { options.flags(EnvFlags::NO_SYNC) };
    }
    // SAFETY: the directory is this measurement's own; no other process maps the file.
    let env = unsafe { options.open(opening.dir)? };
    let database = env
        .create_databases_and_commit(env.write_txn()?, |opener, txn| -> ::heed::Result<_> {
            Ok(CommitOrAbort::<_, ()>::Commit(opener.create_database(txn, None)?))
        })?
        .unwrap_commit();
    Ok(Box::new(Heed { env, database, durability: opening.durability }))
}

impl Engine for Heed {
    fn put(&self, key: &[u8], value: &[u8], durability: Durability) -> Result<()> {
        anyhow::ensure!(durability == self.durability, "LMDB syncs always or never");
        let mut txn = self.env.write_txn()?;
        self.database.put(&mut txn, key, value)?;
        Ok(txn.commit()?)
    }

    fn put_batch(&self, entries: &[(Key, &[u8])]) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        for (key, value) in entries {
            self.database.put(&mut txn, key, value)?;
        }
        Ok(txn.commit()?)
    }

    fn get(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let txn = self.env.read_txn()?;
        let value = self.database.get(&txn, key)?;
        value.map(visit);
        Ok(value.is_some())
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        self.database.delete(&mut txn, key)?;
        Ok(txn.commit()?)
    }

    fn scan(&self, scan: Scan<'_>, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        let txn = self.env.read_txn()?;
        let limit = usize::try_from(scan.limit)?;
        let mut show = |entry: ::heed::Result<(&[u8], &[u8])>| -> Result<()> {
            let (key, value) = entry?;
            visit(key, value);
            Ok(())
        };
        match (scan.from, scan.is_reverse) {
            (None, false) => self.database.iter(&txn)?.take(limit).try_for_each(&mut show),
            (None, true) => self.database.rev_iter(&txn)?.take(limit).try_for_each(&mut show),
            (Some(from), false) => self
                .database
                .range(&txn, &(Bound::Included(from), Bound::Unbounded))?
                .take(limit)
                .try_for_each(&mut show),
            (Some(from), true) => self
                .database
                .rev_range(&txn, &(Bound::Unbounded, Bound::Included(from)))?
                .take(limit)
                .try_for_each(&mut show),
        }
    }

    fn sync(&mut self) -> Result<()> {
        Ok(self.env.force_sync()?)
    }

    /// There is nothing to wait for: LMDB works in place and compacts only into another file.
    fn settle(&mut self) -> Result<()> {
        self.sync()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.env.prepare_for_closing().wait();
        Ok(())
    }
}
