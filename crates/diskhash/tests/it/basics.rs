//! What every call promises, without faults.

use std::ops::ControlFlow;
use std::sync::Arc;

use diskhash::{At, Generation, Leftovers, Options, ReadMode, Table};
use vfs::Env;
use vfs::sim::SimDisk;

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
