use vfs::Env;
use vfs::sim::SimDisk;
use wal::SegmentIds;

use super::*;
use crate::files::NextIds;
use crate::options::{Options, ReadMode};

/// What a flush makes of one slot.
fn flushed(table: &Arc<HashTable>, hash: u64) -> Delta {
    let mut builder = table.table.builder();
    builder.add(hash, &[0; crate::slot::SLOT_LEN]);
    let built = builder.finish().expect("a healthy disk").expect("a slot");
    into_delta(table.clone(), built, BTreeMap::new())
}

/// A delta that was installed can still take its table back, so it has the files of the version
/// before open; they stay until it is dropped, whoever sweeps.
/// (What we believed: the view is all that holds a version. What was true: `State::install` dropped
/// its delta after the manifest lock, and another thread's sweep came between, once in 30,000
/// schedules of `removal-hashed`.)
#[test]
fn row_084_files_stay_while_a_delta_could_take_them_back() {
    let (disk, env) = (SimDisk::new(84), Env::sim(84).env);
    let options = Options::default().read_mode(ReadMode::Positional);
    let next = NextIds { file: 1, keyspace: 1 };
    let files = Files::new(disk.root(), env, 7, options, SegmentIds::new(), next, 0);
    let table = Arc::new(HashTable::create(&files, 1).expect("a healthy disk"));
    let records = || {
        let names = table.table.fs().list().expect("a healthy disk").entries;
        names.into_iter().filter(|entry| entry.name.to_string().ends_with(".gen")).count()
    };

    let before = HashIndex::newest(table.clone());
    let mut delta = flushed(&table, 1);
    let installed = (delta.install)(&before).expect("a healthy disk");
    assert_eq!(records(), 2);
    (installed.retire)(&files);
    drop(before);

    files.sweep();
    assert_eq!((files.retired_count(), records()), (1, 2), "the delta holds it");
    drop(delta);
    files.sweep();
    assert_eq!((files.retired_count(), records()), (0, 1), "nobody holds it");
    assert!(!installed.index.is_empty());
}
