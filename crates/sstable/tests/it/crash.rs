//! A build that is cut short by a crash or a fault never passes for a table.

use std::sync::Arc;

use sstable::{Builder, FoundValue, ReadMode, Table};
use vfs::sim::{At, Fault, ImageKind, SimDisk, Times, What};
use vfs::{Error, Random};

use crate::tables::{
    Model, build, entry, expect, found, inline, name, options, random_model, tall_model,
};

/// Some 6 MiB: four writes, of which blocks are the first.
fn model() -> Model {
    let mut model = tall_model(&mut Random::new(3), 100);
    let mut random = Random::new(4);
    model.extend(random_model(&mut random, 500, 3));
    for key in 0..5_u8 {
        let value = FoundValue::Inline(random.bytes(1 << 20).into());
        model.insert(vec![50 * key, b'!'], (value, 0));
    }
    model
}

fn is_whole(table: &Arc<Table>, model: &Model) {
    assert_eq!(table.check().unwrap().entries, model.len() as u64);
    for (key, kept) in model {
        assert_eq!(table.get(key).unwrap(), Some(found(kept)));
    }
}

#[test]
fn a_build_crashed_anywhere_never_opens_as_something_else() {
    let disk = SimDisk::new(1);
    disk.record();
    let (fs, model) = (disk.root(), model());
    let built = build(&fs, 1, &model).unwrap();
    fs.sync_dir().unwrap();
    let boundaries = disk.boundaries();
    assert!(boundaries >= 6, "create, writes, sync, sync of the directory: {boundaries}");
    let (mut whole, mut refused) = (0, 0);
    for boundary in 0..boundaries {
        for kind in ImageKind::kinds() {
            for seed in 0..if kind.is_random() { 3 } else { 1 } {
                let fs = disk.image(boundary, *kind, seed).root();
                let opened = Table::open(&fs, name(1), ReadMode::Positional, expect(&built));
                match opened.and_then(|table| table.check().map(|_| table)) {
                    Ok(table) => {
                        is_whole(&table, &model);
                        whole += 1;
                    }
                    Err(Error::Corrupt { .. } | Error::NotFound { .. }) => {
                        assert!(boundary + 1 < boundaries, "synced, and lost by {kind:?}");
                        refused += 1;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
    assert!(whole > 10 && refused > 10, "{whole} whole, {refused} refused");
}

// Rows 45 and 46: what cannot be written is an error, now and at every later call.
#[test]
fn a_fault_at_any_call_of_a_build_is_reported_and_final() {
    let model = model();
    for what in [What::Io, What::NoSpace, What::SyncLost] {
        for nth in 0.. {
            let disk = SimDisk::new(1);
            let fs = disk.root();
            let file = fs.create_new(name(1)).unwrap();
            let at = At::Call(disk.calls() + nth);
            disk.fault(Fault { at, what, times: Times::Once });
            let result = Builder::new(file, options(1)).and_then(|mut builder| {
                for (key, kept) in &model {
                    if let Err(error) = builder.add(entry(key, kept)) {
                        let again = builder.add(entry(&[0xff; 700], &inline(b"")));
                        assert!(matches!(again, Err(Error::Poisoned { .. })));
                        assert!(matches!(builder.finish(b""), Err(Error::Poisoned { .. })));
                        return Err(error);
                    }
                }
                builder.finish(b"")
            });
            if disk.faults_hit() == 0 {
                if disk.calls() > nth {
                    continue;
                }
                result.unwrap();
                break;
            }
            assert!(result.is_err(), "fault {what:?} at call {nth}");
        }
    }
}
