//! Our store, with a B-tree keyspace and with a hash keyspace.

use ::engine::{Db, Durability as Policy, Keyspace, KeyspaceOptions, Options, WriteOptions};
use anyhow::Result;

use crate::data::Key;
use crate::store::{Durability, Engine, Kind, Opening, Scan, WRITE_BUFFER_BYTES};

const BTREE: Kind = Kind {
    name: "ours-btree",
    is_ours: true,
    is_ordered: true,
    survives_kill: true,
    has_durable_puts: true,
    needs_large_values: false,
    is_slow: false,
    open: |opening| open(opening, KeyspaceOptions::btree()),
};

/// Both kinds of keyspace.
pub(super) const KINDS: [Kind; 2] = [
    BTREE,
    Kind {
        name: "ours-hash",
        is_ordered: false,
        open: |opening| open(opening, KeyspaceOptions::hash()),
        ..BTREE
    },
];

struct Ours {
    db: Db,
    keyspace: Keyspace,
}

fn open(opening: Opening<'_>, kind: KeyspaceOptions) -> Result<Box<dyn Engine>> {
    let options = Options::default()
        .durability(Policy::Never)
        .memtable_bytes(u64::try_from(WRITE_BUFFER_BYTES)?);
    let db = Db::open(opening.dir.join("db"), options)?;
    let keyspace = db.keyspace("data", kind)?;
    Ok(Box::new(Ours { db, keyspace }))
}

impl Engine for Ours {
    fn put(&self, key: &[u8], value: &[u8], durability: Durability) -> Result<()> {
        match durability {
            Durability::Unsynced => self.keyspace.put(key, value)?,
            Durability::Durable => {
                self.keyspace.put_with(key, value, WriteOptions::default().durable())?;
            }
        }
        Ok(())
    }

    fn put_batch(&self, entries: &[(Key, &[u8])]) -> Result<()> {
        let mut batch = self.db.batch();
        for (key, value) in entries {
            batch.put(&self.keyspace, &**key, value);
        }
        Ok(self.db.write(batch, WriteOptions::default())?)
    }

    fn get(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.keyspace.get(key)?;
        value.as_deref().map(visit);
        Ok(value.is_some())
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        Ok(self.keyspace.delete(key)?)
    }

    fn scan(&self, scan: Scan<'_>, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        let limit = usize::try_from(scan.limit)?;
        let mut range = match (scan.from, scan.is_reverse) {
            (None, _) => self.keyspace.iter(),
            (Some(from), false) => self.keyspace.range(from..),
            (Some(from), true) => self.keyspace.range(..=from),
        };
        for _ in 0..limit {
            let entry = if scan.is_reverse { range.next_back_ref()? } else { range.next_ref()? };
            let Some((key, value)) = entry else { break };
            visit(key, value);
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        Ok(self.db.sync()?)
    }

    fn settle(&mut self) -> Result<()> {
        self.db.flush()?;
        self.db.compact()?;
        Ok(self.db.collect_garbage()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        let Ours { db, keyspace } = *self;
        drop(keyspace);
        Ok(db.close()?)
    }
}
