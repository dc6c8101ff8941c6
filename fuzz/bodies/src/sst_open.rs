//! A table file, forged or not: every read gives an answer or `Corrupt`. Rows 52, 68 to 72.

use std::sync::Arc;

use sstable::{Cursor, Expect, ReadMode, Table, key_hash};
use vfs::{Fs, Kind, Name, SimDisk};

use crate::forge;
use crate::input::Input;
use crate::limits::bounded;
use crate::verdict::clear;

pub(crate) const TABLE: Kind = Kind::new("tbl");
const ID: u64 = 1;

/// The body.
pub(crate) fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let control = input.u8();
    let mut keys = vec![Vec::new(), vec![0xff; 300]];
    for _ in 0..input.below(8) {
        keys.push(input.short().to_vec());
    }
    let mut bytes = input.expand();
    if control & 1 == 0 {
        forge::table(ID, &mut bytes);
    }
    let disk = SimDisk::new(1);
    disk.write_file(Name::new(TABLE, ID), &bytes);
    let fs = disk.root();
    for mode in [ReadMode::Mapped, ReadMode::Positional] {
        bounded(bytes.len(), || read(&fs, mode, bytes.len(), &keys));
    }
}

/// Reads a table in every way there is.
pub(crate) fn read(fs: &Arc<dyn Fs>, mode: ReadMode, len: usize, keys: &[Vec<u8>]) {
    let Some(table) = clear(Table::open(fs, Name::new(TABLE, ID), mode, None)) else { return };
    let expect =
        Expect { len: table.len(), footer_crc: table.footer_crc(), owner: table.props().owner };
    let again = Table::open(fs, Name::new(TABLE, ID), mode, Some(expect));
    assert!(again.is_ok(), "a table is what it says it is");
    let sound = clear(table.check()).is_some();
    for key in keys {
        let hash = key_hash(key);
        let (any, plain) = (clear(table.get_hashed(key, hash)), clear(table.get_unfiltered(key)));
        if sound {
            assert!(any.is_some() && any == plain, "the filter of a sound table hides a key");
        }
        let mut cursor = table.cursor();
        clear(cursor.seek(key));
        clear(cursor.seek_for_prev(key));
        clear(cursor.next());
        clear(cursor.prev());
    }
    let forward = walk(&table, len, true);
    let backward = walk(&table, len, false);
    if sound {
        assert!(forward == backward && forward == Some(table.props().count), "a sound table");
    }
}

/// How many entries there are on the way; `None` behind an error.
fn walk(table: &Arc<Table>, len: usize, forward: bool) -> Option<u64> {
    let mut cursor = table.cursor();
    clear(if forward { cursor.seek_first() } else { cursor.seek_last() })?;
    let mut steps = 0;
    while cursor.valid() {
        std::hint::black_box((cursor.entry(), cursor.value_bytes()));
        steps += 1;
        assert!(steps <= len as u64, "a walk is no longer than the file");
        let moved = if forward { cursor.next() } else { cursor.prev() };
        if clear(moved).is_none() {
            assert!(!cursor.valid() && cursor.next().is_err(), "row 86: after an error, errors");
            return None;
        }
    }
    Some(steps)
}
