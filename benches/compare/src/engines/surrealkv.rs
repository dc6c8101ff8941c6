//! surrealkv, with its value log from values of 1 KiB on.

use std::sync::Arc;

use ::surrealkv::{
    CompactRangeOptions, Durability as Level, Error, LSMIterator, Mode, Options, Tree, TreeBuilder,
};
use anyhow::Result;
use tokio::runtime::{Builder, Runtime};

use crate::data::Key;
use crate::size::Size;
use crate::store::{CACHE_BYTES, Durability, Engine, Kind, Opening, Scan, WRITE_BUFFER_BYTES};

/// surrealkv.
pub(super) const KIND: Kind = Kind {
    name: "surrealkv",
    is_ours: false,
    is_ordered: true,
    survives_kill: true,
    has_durable_puts: true,
    needs_large_values: false,
    is_slow: true,
    open,
};

/// Behind every key: keys are lower-case hexadecimal digits.
const END: &[u8] = b"g";

struct Surreal {
    tree: Tree,
    runtime: Arc<Runtime>,
}

fn open(opening: Opening<'_>) -> Result<Box<dyn Engine>> {
    let runtime = Arc::new(Builder::new_multi_thread().worker_threads(2).enable_all().build()?);
    let options = Options::new()
        .with_path(opening.dir.join("surrealkv"))
        .with_block_cache_capacity(u64::try_from(CACHE_BYTES)?)
        .with_max_memtable_size(WRITE_BUFFER_BYTES)
        .without_compression()
        .with_enable_vlog(opening.size != Size::Small)
        // Its documentation proposes this where commits are synced.
        .with_wal_preallocation(opening.durability == Durability::Durable);
    let entered = runtime.enter();
    let tree = TreeBuilder::with_options(options).build()?;
    drop(entered);
    Ok(Box::new(Surreal { tree, runtime }))
}

impl Surreal {
    /// Writes in a transaction. Two that put one key at once conflict, though neither read it: its
    /// documentation proposes to try again.
    ///
    /// Postmortem: we believed that writes alone never conflict. YCSB A of four threads failed, and
    /// with it every story of the full comparison; the quick one has one thread there.
    fn write(
        &self,
        durability: Durability,
        mut body: impl FnMut(&mut ::surrealkv::Transaction) -> ::surrealkv::Result<()>,
    ) -> Result<()> {
        loop {
            let mut txn = self.tree.begin_with_mode(Mode::WriteOnly)?;
            txn.set_durability(match durability {
                Durability::Unsynced => Level::Eventual,
                Durability::Durable => Level::Immediate,
            });
            body(&mut txn)?;
            match self.runtime.block_on(txn.commit()) {
                Err(Error::TransactionWriteConflict | Error::TransactionRetry) => {}
                done => return Ok(done?),
            }
        }
    }
}

impl Engine for Surreal {
    fn put(&self, key: &[u8], value: &[u8], durability: Durability) -> Result<()> {
        self.write(durability, |txn| txn.set(key, value))
    }

    fn put_batch(&self, entries: &[(Key, &[u8])]) -> Result<()> {
        self.write(Durability::Unsynced, |txn| {
            entries.iter().try_for_each(|(key, value)| txn.set(&**key, *value))
        })
    }

    fn get(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.tree.begin_with_mode(Mode::ReadOnly)?.get(key)?;
        value.as_deref().map(visit);
        Ok(value.is_some())
    }

    fn get_copied(&self, key: &[u8], into: &mut Vec<u8>) -> Result<bool> {
        let value = self.tree.begin_with_mode(Mode::ReadOnly)?.get(key)?;
        let is_there = value.is_some();
        if let Some(value) = value {
            *into = value;
        }
        Ok(is_there)
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        self.write(Durability::Unsynced, |txn| txn.delete(key))
    }

    fn scan(&self, scan: Scan<'_>, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        let txn = self.tree.begin_with_mode(Mode::ReadOnly)?;
        // Ends exclude their key, so a byte behind it includes it.
        let behind = |key: &[u8]| [key, &[0]].concat();
        let (start, end) = match (scan.from, scan.is_reverse) {
            (None, _) => (Vec::new(), END.to_vec()),
            (Some(from), false) => (from.to_vec(), END.to_vec()),
            (Some(from), true) => (Vec::new(), behind(from)),
        };
        let mut iterator = txn.range(start, end)?;
        let mut is_there =
            if scan.is_reverse { iterator.seek_last()? } else { iterator.seek_first()? };
        let mut left = scan.limit;
        while is_there && left > 0 {
            visit(iterator.key().user_key(), &iterator.value_ref()?);
            left -= 1;
            is_there = if scan.is_reverse { iterator.prev()? } else { iterator.next()? };
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        Ok(self.tree.flush_wal(true)?)
    }

    fn settle(&mut self) -> Result<()> {
        let options = CompactRangeOptions { flush_memtable: true, ..Default::default() };
        let _entered = self.runtime.enter();
        Ok(self.tree.compact_range(None, None, &options)?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.runtime.block_on(self.tree.close())?)
    }
}
