//! sled. Unsynced writes are flushed in the background; a crash takes back the last of them.

use std::io::ErrorKind;
use std::thread;
use std::time::Duration;

use ::sled::{Batch, Config, Db, Error, Mode};
use anyhow::Result;

use crate::data::Key;
use crate::store::{CACHE_BYTES, Durability, Engine, Kind, Opening, Scan};

/// sled.
pub(super) const KIND: Kind = Kind {
    name: "sled",
    is_ours: false,
    is_ordered: true,
    survives_kill: false,
    has_durable_puts: false,
    needs_large_values: false,
    is_slow: true,
    open,
};

/// How often its lock is asked for, and what lies between.
const LOCK_TRIES: u32 = 3000;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

struct Sled {
    db: Db,
}

fn open(opening: Opening<'_>) -> Result<Box<dyn Engine>> {
    let config = Config::new()
        .path(opening.dir.join("sled"))
        .cache_capacity(u64::try_from(CACHE_BYTES)?)
        .mode(Mode::HighThroughput);
    // A thread of the store that was dropped may still hold its lock.
    let mut tries = 0;
    loop {
        match config.open() {
            Ok(db) => return Ok(Box::new(Sled { db })),
            Err(Error::Io(error))
                if error.kind() == ErrorKind::WouldBlock && tries < LOCK_TRIES =>
            {
                tries += 1;
                thread::sleep(LOCK_PAUSE);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

impl Engine for Sled {
    fn put(&self, key: &[u8], value: &[u8], durability: Durability) -> Result<()> {
        self.db.insert(key, value)?;
        if durability == Durability::Durable {
            self.db.flush()?;
        }
        Ok(())
    }

    fn put_batch(&self, entries: &[(Key, &[u8])]) -> Result<()> {
        let mut batch = Batch::default();
        for (key, value) in entries {
            batch.insert(&**key, *value);
        }
        Ok(self.db.apply_batch(batch)?)
    }

    fn get(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.db.get(key)?;
        value.as_deref().map(visit);
        Ok(value.is_some())
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        self.db.remove(key)?;
        Ok(())
    }

    fn scan(&self, scan: Scan<'_>, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        let mut range = match (scan.from, scan.is_reverse) {
            (None, _) => self.db.iter(),
            (Some(from), false) => self.db.range(from..),
            (Some(from), true) => self.db.range(..=from),
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
        self.db.flush()?;
        Ok(())
    }

    /// sled has no call to compact; it defragments while it writes.
    fn settle(&mut self) -> Result<()> {
        self.sync()
    }

    fn close(mut self: Box<Self>) -> Result<()> {
        self.sync()
    }
}
