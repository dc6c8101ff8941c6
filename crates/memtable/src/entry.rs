//! What goes in and comes out: one version of one key.

/// The longest key, in bytes. The shortest is 1.
pub const KEY_LEN_MAX: usize = 65_535;

/// The longest value, in bytes: 1 GiB. An empty value is a value.
pub const VALUE_LEN_MAX: usize = 1 << 30;

/// What a version says about its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The key has this value, whose bytes are held here.
    Put,
    /// The key is gone. Shadows every older version; the value is empty.
    Delete,
    /// The key has a value that is held elsewhere: only [`Entry::pointer`] says where, and the
    /// value here is empty.
    Pointer,
}

/// One version of one key, borrowed both on its way in and on its way out.
///
/// ```
/// let entry = memtable::Entry::put(b"name", 7, b"lotus");
/// assert_eq!((entry.seq, entry.expiry, entry.pointer), (7, 0, 0));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// 1 to [`KEY_LEN_MAX`] bytes.
    pub key: &'a [u8],
    /// The order of the write that made this version. For one key it never decreases.
    pub seq: u64,
    /// What this version says.
    pub kind: Kind,
    /// Milliseconds since the epoch from which on the owner no longer serves it; 0 means never.
    /// The table stores it and never looks at it: an expired version still shadows older ones.
    pub expiry: u64,
    /// Where the owner's log holds this record; 0 means nowhere. Opaque here, carried for every
    /// kind.
    pub pointer: u64,
    /// At most [`VALUE_LEN_MAX`] bytes; empty unless `kind` is [`Kind::Put`].
    pub value: &'a [u8],
}

impl<'a> Entry<'a> {
    /// A version that holds `value`, without expiry or pointer.
    #[must_use]
    pub fn put(key: &'a [u8], seq: u64, value: &'a [u8]) -> Entry<'a> {
        Entry { key, seq, kind: Kind::Put, expiry: 0, pointer: 0, value }
    }

    /// A version that says the key is gone, without pointer.
    #[must_use]
    pub fn delete(key: &'a [u8], seq: u64) -> Entry<'a> {
        Entry { key, seq, kind: Kind::Delete, expiry: 0, pointer: 0, value: &[] }
    }

    /// A version whose value is held elsewhere, at `pointer`.
    #[must_use]
    pub fn pointer(key: &'a [u8], seq: u64, pointer: u64) -> Entry<'a> {
        Entry { key, seq, kind: Kind::Pointer, expiry: 0, pointer, value: &[] }
    }

    /// The limits every caller must have checked before: breaking one is a bug, not an input.
    pub(crate) fn assert_limits(&self) {
        let (key_len, value_len) = (self.key.len(), self.value.len());
        assert!(0 < key_len && key_len <= KEY_LEN_MAX, "a key of {key_len} bytes");
        assert!(value_len <= VALUE_LEN_MAX, "a value of {value_len} bytes");
        assert!(self.kind == Kind::Put || value_len == 0, "{:?} with a value", self.kind);
    }
}

/// Whether a table keeps its keys in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Point look-ups and cursors.
    Ordered,
    /// Point look-ups and scans in the order of first insertion; cheaper to fill.
    Unordered,
}
