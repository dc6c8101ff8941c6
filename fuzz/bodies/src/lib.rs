//! What the fuzz targets do with an input: one plain function for each target. An ordinary test
//! replays the committed corpus through them, `cargo xtask fuzz` looks for new inputs.
//!
//! ```text
//! bytes -> Input -> files, their checksums made right again -> SimDisk -> the crates' own interface
//!                -> calls                                                  -> right, or a clear error
//! ```
//!
//! 1. Every string of bytes is a legal input and ends in bounded time.
//! 2. A body panics for a wrong answer, for an error that is not clear, for memory out of
//!    proportion ([`limits`]), and where the product panics.
//! 3. An input means the same for ever: the corpus is only worth something if it does. Where a
//!    target must read its input differently, the corpus is made anew.

pub mod limits;
pub mod input;
pub mod forge;
pub mod verdict;
pub mod directory;
mod wal_decode;
mod wal_open;
mod sst_open;
mod sst_model;
mod nodes;
mod filter;
mod manifest_replay;
mod hash_ops;
mod vlog;
mod batch;
mod options;
mod db_open;
mod db_model;
pub mod targets;
pub mod seeds;
