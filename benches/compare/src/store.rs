//! What an engine has to offer to be measured. No measurement knows more of it.

use std::path::Path;

use anyhow::Result;

use crate::data::Key;
use crate::size::Size;

/// Bytes of cache of an engine that has one.
pub const CACHE_BYTES: usize = 256 << 20;

/// Bytes of write buffer of an engine that has one.
pub const WRITE_BUFFER_BYTES: usize = 64 << 20;

/// Is a write to be on stable storage when it returns?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// As soon as the engine likes; no sync is asked for.
    Unsynced,
    /// When the call returns.
    Durable,
}

/// How an engine is opened.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// A directory of its own.
    pub dir: &'a Path,
    /// What will be in it: engines that separate large values do from 1 KiB on.
    pub size: Size,
    /// What every write will ask for: some engines decide it for the whole database.
    pub durability: Durability,
}

/// A stretch of entries in order of keys.
#[derive(Clone, Copy, Debug)]
pub struct Scan<'a> {
    /// Where it starts, this key included; without one, at an end.
    pub from: Option<&'a [u8]>,
    /// Towards smaller keys.
    pub is_reverse: bool,
    /// The most entries it visits.
    pub limit: u64,
}

/// An open store.
///
/// Reads see every write that was acknowledged before; each is a transaction of its own where the
/// engine has such.
pub trait Engine: Send + Sync {
    /// Puts one entry.
    ///
    /// # Errors
    /// As the engine fails.
    fn put(&self, key: &[u8], value: &[u8], durability: Durability) -> Result<()>;

    /// Puts entries, all or none, unsynced.
    ///
    /// # Errors
    /// As the engine fails.
    fn put_batch(&self, entries: &[(Key, &[u8])]) -> Result<()>;

    /// Shows a value with as few copies as the engine can do with; false if there is none.
    ///
    /// # Errors
    /// As the engine fails.
    fn get(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool>;

    /// Brings a value into a buffer of the caller's, replacing what it held; false if there is
    /// none.
    ///
    /// # Errors
    /// As the engine fails.
    fn get_copied(&self, key: &[u8], into: &mut Vec<u8>) -> Result<bool> {
        self.get(key, &mut |value| {
            into.clear();
            into.extend_from_slice(value);
        })
    }

    /// Deletes one entry, unsynced.
    ///
    /// # Errors
    /// As the engine fails.
    fn delete(&self, key: &[u8]) -> Result<()>;

    /// Visits entries in order; engines without an order visit all of them, and nothing else.
    ///
    /// # Errors
    /// As the engine fails.
    fn scan(&self, scan: Scan<'_>, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<()>;

    /// Puts everything on stable storage.
    ///
    /// # Errors
    /// As the engine fails.
    fn sync(&mut self) -> Result<()>;

    /// Flushes and compacts by the engine's own calls, until it says that it is done.
    ///
    /// # Errors
    /// As the engine fails.
    fn settle(&mut self) -> Result<()>;

    /// Closes it cleanly.
    ///
    /// # Errors
    /// As the engine fails.
    fn close(self: Box<Self>) -> Result<()>;
}

/// An engine with its settings, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The column's name.
    pub name: &'static str,
    /// One of our keyspaces.
    pub is_ours: bool,
    /// Keeps keys in order.
    pub is_ordered: bool,
    /// Acknowledged unsynced writes survive `kill -9`. Where they do not, figures are shown, and
    /// count for a ratio only in reads, scans and YCSB B to E.
    pub survives_kill: bool,
    /// Can make one put durable.
    pub has_durable_puts: bool,
    /// Separates values, so that it is measured only with those that are large enough.
    pub needs_large_values: bool,
    /// A quick comparison runs it once.
    pub is_slow: bool,
    /// Opens it, creating it if need be.
    pub open: fn(Opening<'_>) -> Result<Box<dyn Engine>>,
}

impl Kind {
    /// Is it measured with entries of this size?
    pub fn takes(&self, size: Size) -> bool {
        !self.needs_large_values || size != Size::Small
    }
}
