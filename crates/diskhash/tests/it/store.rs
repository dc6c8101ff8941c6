//! The convenient face against a map, over crashes and reopens.

use std::collections::BTreeMap;

use diskhash::{Options, Store};
use vfs::sim::{ImageKind, SimDisk};
use vfs::{Env, Error, Random, Result};

type Map = BTreeMap<u64, u64>;

fn slot(key: u64, value: u64) -> Vec<u8> {
    [key.to_le_bytes(), value.to_le_bytes()].concat()
}

fn is(key: u64) -> impl Fn(&[u8]) -> Result<bool> {
    move |slot| Ok(slot[..8] == key.to_le_bytes())
}

/// Every eighth key shares its hash with seven others.
fn hash(key: u64) -> u64 {
    Random::new(key / 8).next_u64()
}

fn options() -> Options {
    Options { runs_max: 3, partition_bytes: 8 << 10, ..Options::new(16) }
}

fn open(disk: &SimDisk) -> Result<Store> {
    let same_key = |one: &[u8], other: &[u8]| Ok(one[..8] == other[..8]);
    Store::open(disk.root(), &Env::sim(1).env, options(), same_key)
}

fn judge(store: &mut Store, map: &Map, keys: u64) {
    for key in 0..keys {
        let found = store.get(hash(key), is(key)).unwrap();
        assert_eq!(found, map.get(&key).map(|value| slot(key, *value)), "key {key}");
    }
    let mut all = Map::new();
    let mut before = 0;
    let walked = store.for_each(|hash, slot| {
        assert!(before <= hash, "hashes ascend");
        before = hash;
        let (key, value) = slot.split_at(8);
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        assert!(all.insert(number(key), number(value)).is_none(), "each key once");
        Ok(())
    });
    walked.unwrap();
    assert_eq!(all, *map);
}

#[test]
fn a_store_is_a_map_that_shows_its_own_changes_and_crashes_to_the_last_commit() {
    for seed in vfs::testing::seeds(12) {
        let mut random = Random::new(seed);
        let mut disk = SimDisk::new(seed);
        let mut store = open(&disk).unwrap();
        let (mut map, mut committed) = (Map::new(), Map::new());
        for round in 0..60 {
            for _ in 0..random.below(80) {
                let key = random.below(400);
                if random.percent(60) {
                    let value = random.next_u64();
                    store.put(hash(key), &slot(key, value), is(key)).unwrap();
                    map.insert(key, value);
                } else {
                    let was_there = store.delete(hash(key), is(key)).unwrap();
                    assert_eq!(was_there, map.remove(&key).is_some());
                }
            }
            if random.percent(40) {
                store.commit().unwrap();
                assert_eq!(store.pending(), 0);
                committed.clone_from(&map);
            }
            if round % 6 == 5 {
                judge(&mut store, &map, 410);
            }
            match random.below(10) {
                0 => {
                    store.close().unwrap();
                    committed.clone_from(&map);
                    store = open(&disk).unwrap();
                }
                1 => {
                    let kinds = ImageKind::kinds();
                    disk = disk.crash(kinds[random.index(kinds.len())], seed);
                    store = open(&disk).unwrap();
                    map.clone_from(&committed);
                }
                _ => {}
            }
        }
        for key in map.keys() {
            assert!(store.delete(hash(*key), is(*key)).unwrap());
        }
        store.commit().unwrap();
        store.commit().unwrap();
        judge(&mut store, &Map::new(), 410);
        let stats = store.stats();
        assert_eq!(stats.run_slots + stats.partition_slots, 0, "{stats:?}");
    }
}

#[test]
fn a_store_is_locked_and_its_leftovers_go_when_nothing_unknown_was_left() {
    let disk = SimDisk::new(1);
    let mut store = open(&disk).unwrap();
    assert!(matches!(open(&disk), Err(Error::Locked { .. })));
    store.put(hash(1), &slot(1, 1), is(1)).unwrap();
    store.commit().unwrap();
    let seed = store.seed();
    drop(store);
    disk.write_file("0000000000000002.run.bad", b"");
    disk.write_file("00000000000000ff.run", b"");
    let bad = |disk: &SimDisk| {
        let files = disk.files().into_iter();
        files.filter(|(path, _)| path.ends_with(".bad")).count()
    };
    drop(open(&disk).unwrap());
    assert_eq!(bad(&disk), 2, "set aside, and kept for now");
    let mut store = open(&disk).unwrap();
    assert_eq!((bad(&disk), store.seed()), (1, seed), "an id above the stored ones stays");
    store.put(hash(1), &slot(1, 2), is(1)).unwrap();
    store.close().unwrap();
    let mut store = open(&disk).unwrap();
    assert_eq!(bad(&disk), 0);
    judge(&mut store, &Map::from([(1, 2)]), 10);
}

#[test]
fn wrong_lengths_are_refused_and_errors_of_the_owner_come_back() {
    let disk = SimDisk::new(1);
    let mut store = open(&disk).unwrap();
    let refused = store.put(hash(1), b"short", is(1));
    assert!(matches!(refused, Err(Error::Invalid { .. })));
    store.put(hash(1), &slot(1, 1), is(1)).unwrap();
    store.commit().unwrap();
    let fails = |_: &[u8]| Err(Error::invalid("the owner's", "here"));
    assert!(matches!(store.get(hash(1), fails), Err(Error::Invalid { .. })));
    assert!(matches!(store.delete(hash(1), fails), Err(Error::Invalid { .. })));
    judge(&mut store, &Map::from([(1, 1)]), 10);
    for slot_len in [0, 1024] {
        let disk = SimDisk::new(1);
        let options = Options { slot_len, ..Options::new(1) };
        let opened = Store::open(disk.root(), &Env::sim(1).env, options, |_, _| Ok(false));
        assert!(matches!(opened, Err(Error::Invalid { .. })));
    }
}

#[test]
fn a_store_on_the_real_disk_opens_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made");
    let same_key = |one: &[u8], other: &[u8]| Ok(one[..8] == other[..8]);
    let mut store = Store::open_dir(&path, options(), same_key).unwrap();
    for key in 0..2000 {
        store.put(hash(key), &slot(key, key), is(key)).unwrap();
        if key % 200 == 0 {
            store.commit().unwrap();
        }
    }
    store.close().unwrap();
    let mut store = Store::open_dir(&path, options(), same_key).unwrap();
    judge(&mut store, &(0..2000).map(|key| (key, key)).collect(), 2100);
}
