//! Builds and reads immutable B+tree files of sorted entries.
//!
//! ```text
//! entries in order -> Builder -> file of 4 KiB nodes, filter, props, footer
//! file -> Table -> get: filter, root, ..., leaf, entry
//!               -> cursor: seek, then leaf by leaf, both ways; Merge of many
//! ```
//!
//! 1. A file is written once, front to back, and never changed; its owner keeps length and footer
//!    checksum ([`Built`]) and demands them at open ([`Expect`]).
//! 2. Every page's checksum covers where it belongs: page, file and owner.
//! 3. Whatever the bytes, the answer is right or [`Corrupt`](vfs::Error::Corrupt) with path and
//!    offset. Bytes forged together with their checksums may give wrong answers, but never a
//!    panic, a hang or an allocation out of proportion to the file.
//! 4. After an error a cursor answers errors until a seek succeeds.

mod entry;
mod format;
mod filter;
mod node;
mod fill;
mod builder;
mod pages;
mod table;
mod cursor;
mod check;
mod merge;
#[doc(hidden)]
pub mod fuzzing;

pub use crate::builder::{Builder, BuilderOptions, Built};
pub use crate::check::CheckReport;
pub use crate::cursor::{Cursor, TableCursor};
pub use crate::entry::{
    EXTRA_LEN_MAX, Entry, FileId, Found, FoundValue, KEY_LEN_MAX, VALUE_LEN_MAX, Value,
};
pub use crate::filter::{KeyHash, key_hash};
pub use crate::merge::Merge;
pub use crate::table::{Expect, Props, ReadMode, Table};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
