//! A crash-safe hash table on disk: hash -> fixed-size slots.
//!
//! ```text
//! apply -> run (immutable, in order of hashes) -> generation record -> readers
//! merge -> runs into fewer runs, runs into partitions
//! candidates(hash) -> one page of each run, newest first, then one page of a partition
//! ```

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

pub use crate::commit::Built;
pub use crate::cursor::Cursor;
pub use crate::generation::{Generation, Stats};
pub use crate::merge::{Job, Owner, Verdict};
pub use crate::options::{GENERATION, Options, PARTITION, RUN, ReadMode};
pub use crate::recover::{At, Leftovers};
pub use crate::table::{Builder, Table};
