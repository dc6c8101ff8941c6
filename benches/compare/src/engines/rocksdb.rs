//! RocksDB, plain and with blob files.

use ::rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, Cache, CompactOptions, DB, DBCompressionType,
    Options, ReadOptions, WaitForCompactOptions, WriteBatch, WriteOptions,
};
use anyhow::Result;

use crate::data::Key;
use crate::store::{CACHE_BYTES, Durability, Engine, Kind, Opening, Scan, WRITE_BUFFER_BYTES};

const PLAIN: Kind = Kind {
    name: "rocksdb",
    is_ours: false,
    is_ordered: true,
    survives_kill: true,
    has_durable_puts: true,
    needs_large_values: false,
    is_slow: false,
    open: |opening| open(opening, false),
};

/// Both.
pub(super) const KINDS: [Kind; 2] = [
    PLAIN,
    Kind {
        name: "rocksdb-blob",
        needs_large_values: true,
        open: |opening| open(opening, true),
        ..PLAIN
    },
];

/// What its tuning guide proposes: ten bits a key in full filters, index and filter blocks in the
/// cache with those of level 0 pinned, levels sized from the last one up, syncs in the background
/// each MiB.
fn options(with_blobs: bool) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(CACHE_BYTES));
    table.set_bloom_filter(10.0, false);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_compression_type(DBCompressionType::None);
    options.set_bottommost_compression_type(DBCompressionType::None);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_bytes_per_sync(1 << 20);
    options.increase_parallelism(2);
    if with_blobs {
        options.set_enable_blob_files(true);
        options.set_min_blob_size(512);
        options.set_blob_compression_type(DBCompressionType::None);
        options.set_enable_blob_gc(true);
    }
    options
}

struct Rocks {
    db: DB,
    unsynced: WriteOptions,
    durable: WriteOptions,
}

fn open(opening: Opening<'_>, with_blobs: bool) -> Result<Box<dyn Engine>> {
    let db = DB::open(&options(with_blobs), opening.dir.join("rocksdb"))?;
    let mut durable = WriteOptions::default();
    durable.set_sync(true);
    Ok(Box::new(Rocks { db, unsynced: WriteOptions::default(), durable }))
}

impl Engine for Rocks {
    fn put(&self, key: &[u8], value: &[u8], durability: Durability) -> Result<()> {
        let options = match durability {
            Durability::Unsynced => &self.unsynced,
            Durability::Durable => &self.durable,
        };
        Ok(self.db.put_opt(key, value, options)?)
    }

    fn put_batch(&self, entries: &[(Key, &[u8])]) -> Result<()> {
        let mut batch = WriteBatch::default();
        for (key, value) in entries {
            batch.put(&**key, value);
        }
        Ok(self.db.write_opt(batch, &self.unsynced)?)
    }

    fn get(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.db.get_pinned(key)?;
        value.as_deref().map(visit);
        Ok(value.is_some())
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        Ok(self.db.delete_opt(key, &self.unsynced)?)
    }

    fn scan(&self, scan: Scan<'_>, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        let mut iterator = self.db.raw_iterator_opt(ReadOptions::default());
        match (scan.from, scan.is_reverse) {
            (None, false) => iterator.seek_to_first(),
            (None, true) => iterator.seek_to_last(),
            (Some(from), false) => iterator.seek(from),
            (Some(from), true) => iterator.seek_for_prev(from),
        }
        let mut left = scan.limit;
        while left > 0 {
            let Some((key, value)) = iterator.item() else { break };
            visit(key, value);
            left -= 1;
            if scan.is_reverse {
                iterator.prev();
            } else {
                iterator.next();
            }
        }
        Ok(iterator.status()?)
    }

    fn sync(&mut self) -> Result<()> {
        Ok(self.db.flush_wal(true)?)
    }

    fn settle(&mut self) -> Result<()> {
        self.db.flush()?;
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        self.db.compact_range_opt(None::<&[u8]>, None::<&[u8]>, &options);
        Ok(self.db.wait_for_compact(&WaitForCompactOptions::default())?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.db.flush_wal(true)?;
        self.db.cancel_all_background_work(true);
        Ok(())
    }
}
