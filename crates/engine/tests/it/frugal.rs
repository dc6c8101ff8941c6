//! What a read takes from the allocator.

use std::path::Path;

use engine::{Db, Options};

use crate::alloc::peak_of;
use crate::world::{TestResult, both, key, value};

const KEYS: u64 = 2000;
/// Kept in the index, and apart from it.
const VALUE_LENS: [usize; 2] = [150, 1024];

fn filled(path: &Path, options: &Options, len: usize) -> engine::Result<Db> {
    let db = Db::open(path, options.clone())?;
    for index in 0..KEYS {
        db.put(key(index), value(index, 0, len))?;
    }
    Ok(db)
}

/// The most that one get of these keys held.
fn most_held(db: &Db, keys: std::ops::Range<u64>, is_there: bool) -> engine::Result<u64> {
    let mut most = 0;
    for index in keys {
        let key = key(index);
        let (found, peak) = peak_of(|| db.get(&key));
        assert_eq!(found?.is_some(), is_there, "key {index}");
        most = most.max(peak);
    }
    Ok(most)
}

#[test]
fn a_get_of_what_was_flushed_allocates_nothing() -> TestResult {
    for options in both(&Options::default()) {
        for len in VALUE_LENS {
            let scratch = tempfile::tempdir()?;
            let db = filled(scratch.path(), &options, len)?;
            db.flush()?;
            db.compact()?;
            // The first of a thread makes the place where it counts what it holds of a mapping.
            most_held(&db, 0..KEYS, true)?;
            assert_eq!(most_held(&db, 0..KEYS, true)?, 0, "hits of {len} bytes");
            assert_eq!(most_held(&db, KEYS..2 * KEYS, false)?, 0, "misses");
        }
    }
    Ok(())
}

/// Its value is copied, or held where the log is mapped: it outlives the memtable, which nobody
/// could let go of otherwise.
#[test]
fn a_get_of_what_is_in_memory_allocates_its_value_and_nothing_else() -> TestResult {
    for options in both(&Options::default()) {
        for len in VALUE_LENS {
            let scratch = tempfile::tempdir()?;
            let db = filled(scratch.path(), &options, len)?;
            most_held(&db, 0..KEYS, true)?;
            let most = most_held(&db, 0..KEYS, true)?;
            assert!((1..=160).contains(&most), "{most} bytes for a value of {len}");
            assert_eq!(most_held(&db, KEYS..2 * KEYS, false)?, 0, "misses");
        }
    }
    Ok(())
}
