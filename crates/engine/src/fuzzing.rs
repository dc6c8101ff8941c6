//! For fuzz targets: decoders without a database around them. No part of the interface.

use std::sync::Arc;

use vfs::{Env, Fs, Name};
use wal::{Position, Segment, SegmentId, SegmentIds};

use crate::catalog::{self, Catalog, RemapRecord};
use crate::error::Result;
use crate::files::{Files, NextIds};
use crate::moved;
use crate::options::Options;
use crate::record::{self, ValuePtr};
use crate::remap::Remap;
use crate::slot::Slot;

/// Decodes edits and applies them one after the other; the state they add up to, encoded again.
///
/// # Panics
/// If that state encoded, decoded and applied is another one.
pub fn edits<'a>(edits: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, &'static str> {
    let mut state = Catalog::default();
    for edit in edits {
        catalog::decode(edit, &mut |change| state.apply(change))?;
    }
    state.check()?;
    let bytes = catalog::encode(&state.changes());
    let mut again = Catalog { closed: state.closed, ..Catalog::default() };
    let applied = catalog::decode(&bytes, &mut |change| again.apply(change));
    applied.expect("a state's own changes decode and fit");
    assert!(again == state, "a state survives its encoding: {state:?} became {again:?}");
    Ok(bytes)
}

/// Decodes the record at the front of `bytes` and encodes it again; its length.
///
/// # Panics
/// If other bytes come out, but for the padding.
pub fn record(db_id: u64, address: Position, bytes: &[u8]) -> vfs::Result<usize> {
    let path = std::path::Path::new("record");
    let (found, len) = record::decode(db_id, address, path, address.offset, bytes)?;
    assert!(record::peek_len(path, 0, bytes)? == len, "the header alone tells the length");
    // An expiry of 0 is not what the encoder writes; it decodes.
    if len == found.encoded_len() {
        let mut out = vec![0; len];
        record::encode(db_id, address, &found, &mut out);
        let (again, _) = record::decode(db_id, address, path, 0, &out)?;
        assert!(again == found, "a record survives its encoding");
    }
    Ok(len)
}

/// Takes a pointer and a slot apart and puts them together again.
///
/// # Panics
/// If that gives others.
pub fn pointer(bits: u64, meta: u32, now_ms: u64) {
    let pointer = ValuePtr::from_bits(bits);
    if let Some(len) = pointer.len_max() {
        assert!(ValuePtr::new(pointer.address(), len) == pointer, "{pointer:?} is another");
    }
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&pointer.bits().to_le_bytes());
    bytes[8..].copy_from_slice(&meta.to_le_bytes());
    let slot = Slot::decode(&bytes);
    assert!(slot.encode() == bytes && slot.pointer == pointer, "{slot:?} is another");
    std::hint::black_box(slot.expiry(now_ms));
}

/// What a MANIFEST would say of a remap table.
#[derive(Clone, Debug)]
pub struct RemapFile {
    /// The number in its name.
    pub file: u64,
    /// Its length.
    pub len: u64,
    /// The checksum of its footer.
    pub footer_crc: u32,
    /// The files that it leads to.
    pub targets: Vec<u32>,
    /// The address space.
    pub segment: u32,
}

/// Opens a remap table, checks it, and asks it for some offsets; how many of them moved.
///
/// # Panics
/// If a table that is sound does not find its own entries.
pub fn remap(
    fs: Arc<dyn Fs>,
    env: &Env,
    options: Options,
    db_id: u64,
    found: &RemapFile,
    offsets: &[u64],
) -> Result<usize> {
    let next = NextIds { file: 1, keyspace: 1 };
    let files = Files::new(fs, env.clone(), db_id, options, SegmentIds::new(), next, 0);
    let RemapFile { file, len, footer_crc, ref targets, segment } = *found;
    let record = RemapRecord { file, len, footer_crc, targets: targets.clone() };
    let table = Remap::open(&files, segment, &record)?;
    let asked: Vec<_> = offsets.iter().map(|offset| table.find(*offset, false)).collect();
    let mut entries = Vec::new();
    let checked = table.check(&mut |entry| {
        entries.push(entry);
        Ok(())
    });
    let mut cursor = table.cursor();
    while cursor.next()?.is_some() {}
    checked?;
    for entry in &entries {
        let place = table.find(entry.offset, false)?;
        assert!(place == Some((entry.target, entry.position)), "{entry:?} is not found");
    }
    for (offset, answer) in offsets.iter().zip(asked) {
        let listed = entries.iter().any(|entry| entry.offset == *offset);
        if let Ok(answer) = answer {
            assert!(answer.is_some() == listed, "offset {offset} of a sound table");
        }
    }
    Ok(entries.len())
}

/// Reads every record of a rewritten segment; how many there are.
pub fn moved(fs: &Arc<dyn Fs>, name: Name, db_id: u64) -> Result<usize> {
    let segment = Segment::open(fs, name, wal::ReadMode::Positional, None)?;
    let mut count = 0;
    for frame in segment.frames() {
        moved::decode(db_id, &segment, &frame?, &mut |address, position, record, len| {
            std::hint::black_box((address.segment == SegmentId(0), position, record, len));
            count += 1;
            Ok(())
        })?;
    }
    Ok(count)
}
