//! A crash-safe hash table on disk: hash -> fixed-size slots.
//!
//! ```text
//! slots -> Builder -> run -(commit)-> generation -> candidates(hash): newest first
//! plan -> Job -> fewer runs, or partitions -(commit)-> generation
//! Store: get, put, delete, commit on top of it
//! ```
//!
//! 1. Every file is immutable once it is synced; a commit is one small file more, which names all
//!    that its generation consists of. After any crash a table is one whole generation.
//! 2. A look-up starts in one page of each run (at most [`Options::runs_max`], if its owner merges
//!    when [`Generation::is_full`]) and in one page of a partition.
//! 3. Ids of files and generations are never used twice, whatever a crash forgot.
//! 4. The table compares hashes, never keys: it returns candidates and its owner decides. Merges
//!    ask the owner two questions ([`Owner`]).
//! 5. Whatever the bytes of a file, the answer is right or [`Corrupt`](vfs::Error::Corrupt) with path
//!    and offset. Bytes forged together with their checksums may give wrong answers, never a
//!    panic, a hang or an allocation out of proportion to the file.

mod address;
mod format;
mod probe;
mod page;
mod options;
mod run;
mod writer;
mod scan;
mod record;
mod generation;
mod cursor;
mod check;
mod commit;
mod merge;
mod recover;
mod table;
mod plan;
mod store;
#[doc(hidden)]
pub mod fuzzing;

pub use crate::commit::Built;
pub use crate::cursor::Cursor;
pub use crate::generation::{Generation, Stats};
pub use crate::merge::{Job, Owner, Verdict};
pub use crate::options::{GENERATION, Options, PARTITION, RUN, ReadMode};
pub use crate::recover::{At, Leftovers};
pub use crate::store::Store;
pub use crate::table::{Builder, Table};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
