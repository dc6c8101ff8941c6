use vfs::Env;
use vfs::sim::SimDisk;

use super::*;
use crate::flush;
use crate::options::{Options, WriteOptions};
use crate::record::RecordKind;
use crate::recover;
use crate::write::{Expiry, Op, write};

#[test]
fn the_memtable_after_one_that_was_walked_keeps_the_order() {
    let disk = SimDisk::new(1);
    let (state, _) = recover::open(disk.root(), Env::sim(1).env, Options::default())
        .expect("a new database opens");
    let put = |key: &[u8]| {
        let (kind, expiry) = (RecordKind::Put, Expiry::Never);
        let op = Op { keyspace: 0, kind, expiry, key, value: b"value" };
        write(&state, &[op], &WriteOptions::default()).expect("put");
    };
    let table = || Arc::clone(&state.commit.lock().memtables[0].1);

    put(b"a");
    flush::flush_all(&state).expect("flush");
    assert!(!table().keeps_order(), "only the flush walked the table, which was sealed");
    put(b"b");
    let mut cursor = table().cursor(u64::MAX);
    cursor.seek_first();
    flush::flush_all(&state).expect("flush");
    assert!(table().keeps_order(), "a reader walked the table while it was open");
    put(b"c");
    flush::flush_all(&state).expect("flush");
    assert!(!table().keeps_order(), "nobody walked the table that kept the order");
}
