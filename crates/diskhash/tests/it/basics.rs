//! What every call promises, without faults.

use std::ops::ControlFlow;
use std::sync::Arc;

use diskhash::{At, Generation, Leftovers, Options, ReadMode, Table};
use vfs::Env;
use vfs::sim::{At as When, CallKind, Fault, ImageKind, SimDisk, Times, What};

fn slots_of(generation: &Arc<Generation>, hash: u64) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    generation
        .candidates(hash, &mut |slot| {
            found.push(slot.to_vec());
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    found
}

#[test]
fn applied_slots_are_candidates_newest_first_also_after_a_reopen() {
    for read_mode in [ReadMode::Mapped, ReadMode::Positional] {
        let disk = SimDisk::new(1);
        let options = Options { read_mode, ..Options::new(12) };
        let env = Env::sim(1).env;
        let open = || {
            Table::open(disk.root(), &env, options.clone(), At::Latest, Leftovers::Keep).unwrap()
        };
        let table = open();
        let mut random = vfs::Random::new(5);
        let hashes: Vec<u64> = (0..5000).map(|_| random.next_u64()).collect();
        for round in 0..3_u32 {
            let slots: Vec<(u64, [u8; 12])> = hashes
                .iter()
                .map(|hash| {
                    let mut slot = [0; 12];
                    slot[..8].copy_from_slice(&hash.to_le_bytes());
                    slot[8..].copy_from_slice(&round.to_le_bytes());
                    (*hash, slot)
                })
                .collect();
            table.apply(slots.iter().map(|(hash, slot)| (*hash, &slot[..]))).unwrap();
        }
        for table in [table, open()] {
            for hash in &hashes {
                let found = slots_of(&table.newest(), *hash);
                let rounds: Vec<u8> = found.iter().map(|slot| slot[8]).collect();
                assert_eq!(rounds, [2, 1, 0]);
                assert!(found.iter().all(|slot| slot[..8] == hash.to_le_bytes()));
                assert!(slots_of(&table.newest(), hash ^ 1 << 40).is_empty());
            }
        }
    }
}

/// Hashes that differ in what is kept of them.
const SEVEN: u64 = 7 << 32;
const EIGHT: u64 = 8 << 32;

#[test]
fn a_commit_that_is_taken_back_leaves_nothing_and_its_ids_are_not_used_again() {
    let disk = SimDisk::new(1);
    let open = |at| {
        let env = Env::sim(1).env;
        Table::open(disk.root(), &env, Options::new(4), at, Leftovers::Keep).unwrap()
    };
    let table = open(At::Latest);
    let kept = table.apply([(SEVEN, &b"kept"[..])]).unwrap();
    let files = disk.files();
    let gone = table.apply([(SEVEN, &b"gone"[..]), (EIGHT, &b"gone"[..])]).unwrap();
    table.revert(&kept).unwrap();
    assert_eq!(disk.files(), files);
    assert_eq!(table.newest().id(), kept.id());
    assert_eq!(slots_of(&table.newest(), SEVEN), [b"kept"]);
    // Who still has it goes on reading it.
    assert_eq!(slots_of(&gone, SEVEN), [b"gone", b"kept"]);
    let next = table.apply([(SEVEN, &b"next"[..])]).unwrap();
    assert!(next.id() > gone.id());
    table.release(kept.id());
    let table = open(At::Generation(next.id()));
    assert_eq!(slots_of(&table.newest(), SEVEN), [b"next", b"kept"]);
    assert!(slots_of(&table.newest(), EIGHT).is_empty());
    assert!(table.quarantined().is_empty());
}

#[test]
fn a_commit_that_cannot_sync_for_want_of_space_does_not_promise_that_the_table_goes_on() {
    for kind in [CallKind::Sync, CallKind::SyncDir] {
        let disk = SimDisk::new(1);
        let env = Env::sim(1).env;
        let open = || Table::open(disk.root(), &env, Options::new(4), At::Latest, Leftovers::Keep);
        let table = open().unwrap();
        let mut builder = table.builder();
        builder.add(SEVEN, b"lily");
        let built = builder.finish().unwrap().unwrap();
        let at = When::Kind(kind, disk.calls_of(kind));
        disk.fault(Fault { at, what: What::NoSpace, times: Times::Once });
        let error = table.commit(built).unwrap_err();
        assert!(matches!(error, vfs::Error::Io { .. }), "{error}");
        let refused = table.apply([(EIGHT, &b"rose"[..])]).unwrap_err();
        assert!(matches!(refused, vfs::Error::Poisoned { .. }), "{refused}");
    }
}

/// What we believed: taking a commit back is done when its record is removed. What was true: the
/// removal is durable only with the directory; if that sync fails, a crash may bring the record back,
/// and then its files must be there, and nothing else may be acknowledged on this table.
#[test]
fn a_commit_whose_taking_back_is_not_durable_keeps_its_files_and_ends_the_table() {
    let disk = SimDisk::new(1);
    disk.record();
    let env = Env::sim(1).env;
    let open =
        |disk: &SimDisk, at| Table::open(disk.root(), &env, Options::new(4), at, Leftovers::Keep);
    let table = open(&disk, At::Latest).unwrap();
    let kept = table.apply([(SEVEN, &b"kept"[..])]).unwrap();
    let gone = table.apply([(SEVEN, &b"gone"[..]), (EIGHT, &b"gone"[..])]).unwrap();
    let files = disk.files().len();
    let at = When::Kind(CallKind::SyncDir, disk.calls_of(CallKind::SyncDir));
    disk.fault(Fault { at, what: What::NoSpace, times: Times::Once });
    let error = table.revert(&kept).unwrap_err();
    assert!(matches!(error, vfs::Error::Io { .. }), "{error}");
    assert_eq!(disk.faults_hit(), 1);
    // Only the record went.
    assert_eq!(disk.files().len(), files - 1);
    assert_eq!(slots_of(&table.newest(), SEVEN), [b"kept"], "reads go on");
    let refused = table.apply([(EIGHT, &b"rose"[..])]).unwrap_err();
    assert!(matches!(refused, vfs::Error::Poisoned { .. }), "{refused}");
    for kind in ImageKind::kinds() {
        let image = disk.crash(*kind, 7);
        let table = open(&image, At::Generation(kept.id())).unwrap();
        assert_eq!(slots_of(&table.newest(), SEVEN), [b"kept"], "{kind:?}");
        let table = open(&disk.crash(*kind, 7), At::Latest).unwrap();
        let newest = slots_of(&table.newest(), SEVEN);
        let is_back = table.newest().id() == gone.id();
        let expected: &[&[u8]] = if is_back { &[b"gone", b"kept"] } else { &[b"kept"] };
        assert_eq!(newest, expected, "{kind:?}");
    }
    // The one that was synced before comes back whole, so this tested something.
    let table = open(&disk.crash(ImageKind::SyncedOnly, 7), At::Latest).unwrap();
    assert_eq!(table.newest().id(), gone.id());
}
