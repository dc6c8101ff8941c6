//! An embedded key-value store: WAL and memtables in front, an index per keyspace behind, values
//! in a value log.
//!
//! ```text
//! write:  batch -> commit lock -> WAL append -> memtables -> ack       (the policy says when to sync)
//! flush:  generation sealed -> values stay in or move to value segments -> index files -> one MANIFEST edit
//! read:   view = { memtables, sealed generations, indexes, segments } -> memtables newest first -> index -> value log
//! ```
//!
//! `write.rs` and `read.rs` hold these paths, top to bottom; ARCHITECTURE.md leads through them.

mod error;
mod options;
mod record;
mod slot;
mod listed;
mod extra;
mod batch;
mod catalog;
mod manifest;
mod reserve;
mod clock;
mod files;
mod remap_format;
mod remap;
mod moved;
mod vlog;
mod index;
mod dissolve;
mod levels;
mod compact;
mod ordered;
mod hash_table;
mod hash_delta;
mod hash_due;
mod hash_merge;
mod hashed;
mod view;
mod pins;
mod reap;
mod victims;
mod collecting;
mod sample;
mod history;
mod turns;
mod counters;
mod pace;
mod state;
mod edit;
mod seal;
mod merge;
mod flush;
mod checkpoint;
mod collect;
mod read;
mod reads;
mod key;
mod scan;
mod range;
mod write;
mod keyspaces;
mod replay;
mod recover;
mod jobs;
mod close;
mod check;
mod stats;
mod handle;
mod keyspace;
mod snapshot;
mod atomic;
mod txn;
mod db;
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "stepping")]
pub mod stepping;

pub use crate::atomic::TimeToLive;
pub use crate::batch::Batch;
pub use crate::check::CheckReport;
pub use crate::db::Db;
pub use crate::error::{Error, ErrorKind, Result};
pub use crate::key::Key;
pub use crate::keyspace::Keyspace;
pub use crate::options::{
    AppendMode, BATCH_LEN_MAX, DEFAULT_KEYSPACE, Durability, IndexKind, KEY_LEN_MAX,
    KEYSPACE_NAME_LEN_MAX, KeyspaceOptions, Options, ReadMode, VALUE_LEN_MAX, WriteOptions,
};
pub use crate::range::Range;
pub use crate::read::Value;
pub use crate::replay::RecoveryReport;
pub use crate::snapshot::Snapshot;
pub use crate::stats::{KeyspaceStats, Stats};
pub use crate::txn::Transaction;

/// The README's example, run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The workspace README's example, run as a test.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct WorkspaceReadme;
