use super::{Case, Keys, Policy, Sizes, Store, Victim};

fn store() -> Store {
    let case = Case {
        name: "test",
        keys: Keys::Uniform,
        sizes: Sizes::Fixed(1024),
        separate_all: false,
        ttl: None,
    };
    let policy = Policy {
        promote_min: 0.5,
        advised: 0.0,
        forced: 1.0,
        total: 0.25,
        victim: Victim::Greedy,
        by_heat: false,
        by_age: false,
        lag: 0.0,
        generations: 8,
    };
    Store::new(case, policy, 1000, 1, 10)
}

#[test]
fn collection_keeps_every_live_record_and_reaches_the_bound() {
    let mut store = store();
    (0..1000).for_each(|key| store.put(key));
    for _ in 0..5000 {
        let key = store.draw();
        store.put(key);
    }
    store.flush();
    store.merge_indexes(u64::MAX);
    store.collect(0.0);
    let held: u64 = store.in_use.iter().map(|&file| store.files[file].bytes).sum();
    let dead: u64 = store.in_use.iter().map(|&file| store.files[file].known_dead_bytes).sum();
    assert_eq!(held - dead, store.live_bytes, "what is not garbage is live");
    assert_eq!(store.entries, 1000, "no key was lost");
    assert!(dead * 4 <= held, "{dead} of {held} bytes are garbage");
}

#[test]
fn unique_inserts_count_no_garbage() {
    let mut store = store();
    (0..1000).for_each(|key| store.put(key));
    store.flush();
    store.merge_indexes(u64::MAX);
    assert!(store.in_use.iter().all(|&file| store.files[file].known_dead_bytes == 0));
}
