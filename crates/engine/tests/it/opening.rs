//! What an open costs.

use engine::{Durability, KeyspaceOptions, Options, ReadMode};
use vfs::sim::CallKind;

use crate::world::{TestResult, World};

/// Opened files, read calls and listed bytes of an open behind a clean close, with `count` keys in a
/// keyspace of each kind.
fn reads_of_an_open(count: u32) -> Result<u64, Box<dyn std::error::Error>> {
    let world = World::new(117);
    let options = Options::default().durability(Durability::Never).read_mode(ReadMode::Positional);
    let db = world.open(&options)?;
    let kinds = [("ordered", KeyspaceOptions::btree()), ("hashed", KeyspaceOptions::hash())];
    for (name, kind) in &kinds {
        let keyspace = db.keyspace(name, kind.clone())?;
        for number in 0..count {
            keyspace.put(number.to_string(), [7; 40])?;
        }
    }
    db.flush()?;
    db.compact()?;
    db.close()?;
    let before = world.disk.calls_of(CallKind::Read);
    let db = world.open(&options)?;
    let reads = world.disk.calls_of(CallKind::Read) - before;
    for (name, kind) in &kinds {
        let found = db.keyspace(name, kind.clone())?.get("1")?;
        assert_eq!(found.as_deref(), Some([7; 40].as_slice()), "{name}");
    }
    db.close()?;
    Ok(reads)
}

/// RoseDB and LotusDB rebuild their key directory or scan their tables at every start: seconds for
/// a million keys. Here an open reads headers, footers and the MANIFEST.
#[test]
fn row_117_an_open_reads_no_more_for_a_hundred_times_the_keys() -> TestResult {
    let (few, many) = (reads_of_an_open(200)?, reads_of_an_open(20_000)?);
    assert!(few > 0, "an open reads the MANIFEST at least");
    assert!(many <= few + 4, "{few} reads for 200 keys, {many} for 20,000");
    Ok(())
}
