//! The read path, top to bottom.
//!
//! view, seq -> memtables newest first -> index -> value log
//!
//! The first version met is the newest; a tombstone or an expired entry is an answer: absent.

use std::fmt;
use std::ops::Deref;

use memtable::Kind;
use sstable::FoundValue;
use vfs::Bytes;

use crate::error::{Error, ErrorKind, Result};
use crate::options::KEY_LEN_MAX;
use crate::record::ValuePtr;
use crate::state::State;
use crate::view::{KeyspaceView, View};
use crate::vlog::{self, Place};

/// A value. Cheap to clone; may borrow a mapped file, which then stays on disk and mapped as long
/// as the value lives: keep [`Value::into_vec`] instead if that is long.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Value(Bytes);

impl Value {
    pub(crate) fn new(bytes: Bytes) -> Value {
        Value(bytes)
    }

    /// The bytes, copied; nothing of the database is held any more.
    pub fn into_vec(self) -> Vec<u8> {
        self.0.into()
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl PartialEq<[u8]> for Value {
    fn eq(&self, other: &[u8]) -> bool {
        *self.0 == *other
    }
}

impl PartialEq<&[u8]> for Value {
    fn eq(&self, other: &&[u8]) -> bool {
        *self.0 == **other
    }
}

impl<const N: usize> PartialEq<&[u8; N]> for Value {
    fn eq(&self, other: &&[u8; N]) -> bool {
        *self.0 == **other
    }
}

impl PartialEq<Vec<u8>> for Value {
    fn eq(&self, other: &Vec<u8>) -> bool {
        *self.0 == **other
    }
}

/// The newest version of a key.
enum Newest {
    Value(Bytes),
    /// Into the log behind a memtable.
    Logged(ValuePtr),
    /// Into a value segment.
    Pointer(ValuePtr),
    Deleted,
}

/// The value of a key in the newest state.
pub(crate) fn get(state: &State, keyspace: u32, key: &[u8]) -> Result<Option<Value>> {
    state.check_open()?;
    let view = state.look();
    let seq = state.visible();
    get_at(state, &view, seq, keyspace, key)
}

/// The value of a key in a view, as of `seq`.
pub(crate) fn get_at(
    state: &State,
    view: &View,
    seq: u64,
    keyspace: u32,
    key: &[u8],
) -> Result<Option<Value>> {
    Ok(get_with_expiry(state, view, seq, keyspace, key)?.0)
}

/// As [`get_at`], and when the newest version expires or did, in milliseconds since 1970; 0 for
/// never, also if there is none.
pub(crate) fn get_with_expiry(
    state: &State,
    view: &View,
    seq: u64,
    keyspace: u32,
    key: &[u8],
) -> Result<(Option<Value>, u64)> {
    let Some((newest, expiry)) = lookup(state, view, seq, keyspace, key)? else {
        return Ok((None, 0));
    };
    let bytes = match newest {
        Newest::Value(bytes) => bytes,
        Newest::Logged(pointer) => logged_value(state, view, pointer, keyspace, key)?,
        Newest::Pointer(pointer) => view.values(state.files.db_id, keyspace).value(pointer, key)?,
        Newest::Deleted => return Ok((None, expiry)),
    };
    Ok((Some(Value(bytes)), expiry))
}

/// A value that only the log has, behind a memtable.
pub(crate) fn logged_value(
    state: &State,
    view: &View,
    pointer: ValuePtr,
    keyspace: u32,
    key: &[u8],
) -> Result<Bytes> {
    let segment = view.log_segment(pointer.segment())?;
    let place = Place { segment: &segment, offset: pointer.address().offset };
    vlog::read_value(state.files.db_id, place, pointer, keyspace, key)
}

/// The value behind a pointer of a memtable or of the index: a log segment that a memtable needs
/// is no value segment yet.
pub(crate) fn pointed_value(
    state: &State,
    view: &View,
    bits: u64,
    keyspace: u32,
    key: &[u8],
) -> Result<Bytes> {
    let pointer = ValuePtr::from_bits(bits);
    match view.segments.knows(pointer.segment()) {
        true => view.values(state.files.db_id, keyspace).value(pointer, key),
        false => logged_value(state, view, pointer, keyspace, key),
    }
}

/// True if a key has a value, which is not read.
pub(crate) fn contains_at(
    state: &State,
    view: &View,
    seq: u64,
    keyspace: u32,
    key: &[u8],
) -> Result<bool> {
    Ok(contains_with_expiry(state, view, seq, keyspace, key)?.0)
}

/// As [`contains_at`], and when the newest version expires or did, as [`get_with_expiry`].
pub(crate) fn contains_with_expiry(
    state: &State,
    view: &View,
    seq: u64,
    keyspace: u32,
    key: &[u8],
) -> Result<(bool, u64)> {
    let newest = lookup(state, view, seq, keyspace, key)?;
    Ok(newest.map_or((false, 0), |(newest, expiry)| (!matches!(newest, Newest::Deleted), expiry)))
}

/// The newest version as it is to be served, and its expiry.
fn lookup(
    state: &State,
    view: &View,
    seq: u64,
    keyspace: u32,
    key: &[u8],
) -> Result<Option<(Newest, u64)>> {
    check_key(key)?;
    let keyspace = find_keyspace(view, keyspace)?;
    for memtable in &keyspace.memtables {
        let found = memtable.get(key, seq, |entry| {
            let newest = match entry.kind {
                Kind::Put => Newest::Value(Bytes::copy_from_slice(entry.value)),
                Kind::Pointer => Newest::Logged(ValuePtr::from_bits(entry.pointer)),
                Kind::Delete => Newest::Deleted,
            };
            (newest, entry.expiry)
        });
        if let Some((newest, expiry)) = found {
            return Ok(Some((unless_expired(state, newest, expiry), expiry)));
        }
    }
    let values = view.values(state.files.db_id, keyspace.id);
    let Some(found) = keyspace.index.get(key, &values)? else { return Ok(None) };
    let newest = match found.value {
        FoundValue::Inline(bytes) => Newest::Value(bytes),
        FoundValue::Pointer(bits) => Newest::Pointer(ValuePtr::from_bits(bits)),
        FoundValue::Tombstone => Newest::Deleted,
    };
    Ok(Some((unless_expired(state, newest, found.expiry), found.expiry)))
}

fn unless_expired(state: &State, newest: Newest, expiry: u64) -> Newest {
    if expiry != 0 && state.is_over(expiry) { Newest::Deleted } else { newest }
}

/// The keyspace in a view. `NotFound` if it was dropped.
pub(crate) fn find_keyspace(view: &View, id: u32) -> Result<&KeyspaceView> {
    let keyspace = view.keyspace(id).map(|keyspace| &**keyspace);
    keyspace.ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            format!("keyspace number {id} is not in this state: dropped, or created later"),
        )
    })
}

pub(crate) fn check_key(key: &[u8]) -> Result<()> {
    if key.is_empty() {
        return Err(Error::invalid("the key is empty; keys have 1 to 65,535 bytes"));
    }
    if key.len() > KEY_LEN_MAX {
        let found = key.len();
        return Err(Error::invalid(format!("the key has {found} bytes, at most {KEY_LEN_MAX}")));
    }
    Ok(())
}
