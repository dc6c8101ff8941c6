//! What a table holds: a key, a value in one of three forms, an expiry.

use vfs::Bytes;

/// Which table file. Its owner never uses an id twice; the file's name carries the same number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileId(pub u64);

/// Longest key in bytes. The shortest is one byte.
pub const KEY_LEN_MAX: usize = 65_535;

/// Longest inline value in bytes. The shortest is no byte at all.
pub const VALUE_LEN_MAX: usize = 16 << 20;

/// Most bytes an owner may keep in a table's props.
pub const EXTRA_LEN_MAX: usize = 1 << 20;

/// The value of an entry, borrowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// The value itself, at most [`VALUE_LEN_MAX`] bytes.
    Inline(&'a [u8]),
    /// Where the value is: eight bytes whose meaning only the owner knows.
    Pointer(u64),
    /// The key was deleted; hides older values of it elsewhere.
    Tombstone,
}

/// One entry, borrowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// 1 to [`KEY_LEN_MAX`] bytes, in the order of [`slice::cmp`](Ord).
    pub key: &'a [u8],
    /// The value.
    pub value: Value<'a>,
    /// When it stops to count, in the owner's unit; 0 for never. Stored, never judged here.
    pub expiry: u64,
}

/// A value that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FoundValue {
    /// The value itself; a slice of the mapping if the table is mapped.
    Inline(Bytes),
    /// Where the value is.
    Pointer(u64),
    /// The key was deleted.
    Tombstone,
}

/// What [`Table::get`](crate::Table::get) found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The value.
    pub value: FoundValue,
    /// When it stops to count; 0 for never.
    pub expiry: u64,
}
