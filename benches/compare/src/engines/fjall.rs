//! fjall, plain and with large values separated.

use ::fjall::config::CompressionPolicy;
use ::fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode,
};
use anyhow::Result;

use crate::data::Key;
use crate::store::{CACHE_BYTES, Durability, Engine, Kind, Opening, Scan, WRITE_BUFFER_BYTES};

const PLAIN: Kind = Kind {
    name: "fjall",
    is_ours: false,
    is_ordered: true,
    survives_kill: true,
    has_durable_puts: true,
    needs_large_values: false,
    is_slow: false,
    open: |opening| open(opening, None),
};

/// Both.
pub(super) const KINDS: [Kind; 2] = [
    PLAIN,
    Kind {
        name: "fjall-kv",
        needs_large_values: true,
        open: |opening| {
            let options = KvSeparationOptions::default().compression(CompressionType::None);
            open(opening, Some(options))
        },
        ..PLAIN
    },
];

struct Fjall {
    db: Database,
    keyspace: Keyspace,
}

fn open(opening: Opening<'_>, separation: Option<KvSeparationOptions>) -> Result<Box<dyn Engine>> {
    let db = Database::builder(opening.dir.join("fjall"))
        .cache_size(u64::try_from(CACHE_BYTES)?)
        .journal_compression(CompressionType::None)
        .open()?;
    let memtable_bytes = u64::try_from(WRITE_BUFFER_BYTES)?;
    let keyspace = db.keyspace("data", || {
        KeyspaceCreateOptions::default()
            .max_memtable_size(memtable_bytes)
            .data_block_compression_policy(CompressionPolicy::disabled())
            .index_block_compression_policy(CompressionPolicy::disabled())
            .with_kv_separation(separation)
    })?;
    Ok(Box::new(Fjall { db, keyspace }))
}

impl Engine for Fjall {
    fn put(&self, key: &[u8], value: &[u8], durability: Durability) -> Result<()> {
        self.keyspace.insert(key, value)?;
        if durability == Durability::Durable {
            self.db.persist(PersistMode::SyncData)?;
        }
        Ok(())
    }

    fn put_batch(&self, entries: &[(Key, &[u8])]) -> Result<()> {
        let mut batch = self.db.batch();
        for (key, value) in entries {
            batch.insert(&self.keyspace, &**key, *value);
        }
        Ok(batch.commit()?)
    }

    fn get(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.keyspace.get(key)?;
        value.as_deref().map(visit);
        Ok(value.is_some())
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        Ok(self.keyspace.remove(key)?)
    }

    fn scan(&self, scan: Scan<'_>, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        let mut range = match (scan.from, scan.is_reverse) {
            (None, _) => self.keyspace.iter(),
            (Some(from), false) => self.keyspace.range(from..),
            (Some(from), true) => self.keyspace.range(..=from),
        };
        for _ in 0..scan.limit {
            let entry = if scan.is_reverse { range.next_back() } else { range.next() };
            let Some(entry) = entry else { break };
            let (key, value) = entry.into_inner()?;
            visit(&key, &value);
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        Ok(self.db.persist(PersistMode::SyncAll)?)
    }

    fn settle(&mut self) -> Result<()> {
        self.keyspace.rotate_memtable_and_wait()?;
        Ok(self.keyspace.major_compact()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.db.persist(PersistMode::SyncAll)?;
        drop(self);
        Ok(())
    }
}
