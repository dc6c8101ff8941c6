//! Calls that read and write one key in one step, and times to live as their callers know them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use engine::{Db, Durability, ErrorKind, Keyspace, KeyspaceOptions, TimeToLive, WriteOptions};
use vfs::{Clock, Random};

use crate::histories::small;
use crate::world::{TestResult, World, assert_sound, key, kind_of, tiny, value};

/// Every kind of keyspace.
pub(crate) fn kinds() -> Vec<KeyspaceOptions> {
    vec![KeyspaceOptions::btree(), KeyspaceOptions::hash()]
}

/// A fresh database with a keyspace of each kind, with nothing, a flush, or a merge in between.
fn each(test: impl Fn(&World, &Db, &Keyspace, &dyn Fn()) -> TestResult) -> TestResult {
    for options in kinds() {
        for between in 0..3 {
            let world = World::new(90);
            let db = world.open(&tiny())?;
            let keyspace = db.keyspace("of this kind", options.clone())?;
            println!("{:?}, {between}", keyspace.kind());
            let between = || match between {
                0 => {}
                1 => db.flush().expect("a healthy disk"),
                _ => db.compact().expect("a healthy disk"),
            };
            test(&world, &db, &keyspace, &between)?;
            assert_sound(&db)?;
        }
    }
    Ok(())
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn compare_and_swap_changes_a_key_only_if_it_is_as_expected() -> TestResult {
    each(|world, _, keyspace, between| {
        let swap = |expected: Option<&[u8]>, new: Option<&[u8]>| {
            between();
            keyspace.compare_and_swap(b"k", expected, new)
        };
        assert!(!swap(Some(b"1"), Some(b"2"))?, "absent is no value");
        assert!(swap(None, None)?, "absent as expected");
        assert!(swap(None, Some(b""))?, "an empty value is a value");
        assert!(!swap(None, Some(b"1"))?);
        assert!(swap(Some(b""), Some(&[7; 900]))?);
        assert!(!swap(Some(&[7; 899]), Some(b"1"))?);
        assert!(swap(Some(&[7; 900]), None)?);
        assert_eq!(keyspace.get(b"k")?, None);
        // An expired value is absent; a new one lives for ever.
        keyspace.put_with(b"k", b"1", WriteOptions::default().ttl(ms(5)))?;
        world.sim.clock.advance(ms(5));
        assert!(!swap(Some(b"1"), Some(b"2"))?);
        keyspace.put_with(b"k", b"1", WriteOptions::default().ttl(ms(5)))?;
        assert!(swap(Some(b"1"), Some(b"2"))?);
        assert_eq!(keyspace.ttl(b"k")?, Some(TimeToLive::Forever));
        Ok(())
    })
}

#[test]
fn fetch_update_keeps_the_time_to_live_and_delete_and_get_ends_it() -> TestResult {
    each(|world, db, keyspace, between| {
        let double = |old: Option<&[u8]>| old.map(|old| [old, old].concat());
        assert_eq!(keyspace.fetch_update(b"k", double)?, None);
        assert!(!keyspace.contains(b"k")?, "nothing comes of nothing");
        assert_eq!(keyspace.fetch_update(b"k", |_| Some(b"ab".to_vec()))?, None);
        keyspace.expire(b"k", ms(100))?;
        for len in [2, 4, 8, 16, 32, 64, 128, 256] {
            between();
            world.sim.clock.advance(ms(10));
            let old = keyspace.fetch_update(b"k", double)?.expect("it is there");
            assert_eq!(old.len(), len);
        }
        let entries = db.stats().user_bytes;
        keyspace.fetch_update(b"k", |old| old.map(<[u8]>::to_vec))?;
        assert_eq!(db.stats().user_bytes, entries, "the same value is not written again");
        assert_eq!(keyspace.ttl(b"k")?, Some(TimeToLive::Left(ms(20))));
        between();
        assert_eq!(keyspace.delete_and_get(b"k")?.map(|old| old.len()), Some(512));
        assert_eq!(keyspace.delete_and_get(b"k")?, None);
        assert_eq!(keyspace.ttl(b"k")?, None);
        keyspace.put(b"k", b"new")?;
        world.sim.clock.advance(ms(1000));
        assert!(keyspace.contains(b"k")?, "the old time was the old entry's");
        assert_eq!(keyspace.fetch_update(b"k", |_| None)?.as_deref(), Some(b"new".as_slice()));
        assert!(!keyspace.contains(b"k")?);
        // Refused whole: the update is too long for a value.
        let long = |_: Option<&[u8]>| Some(vec![0; (1 << 30) + 1]);
        assert_eq!(kind_of(keyspace.fetch_update(b"k", long)), ErrorKind::Invalid);
        assert_eq!(kind_of(keyspace.delete_and_get(b"")), ErrorKind::Invalid);
        Ok(())
    })
}

#[test]
fn an_update_inside_an_updates_closure_is_seen_and_the_outer_one_asks_again() -> TestResult {
    each(|_, db, keyspace, between| {
        let mut asked = 0;
        let old = keyspace.fetch_update(b"n", |old| {
            asked += 1;
            if asked < 5 {
                keyspace.put(b"n", [asked]).expect("a healthy disk");
                between();
            }
            Some([old.unwrap_or_default(), b"!"].concat())
        })?;
        assert_eq!((asked, old.as_deref()), (5, Some([4].as_slice())));
        assert_eq!(keyspace.get(b"n")?.as_deref(), Some([4, b'!'].as_slice()));
        assert_eq!(db.stats().conflicts, 4);
        // One that always meddles with itself hears of it.
        let hopeless = keyspace.fetch_update(b"n", |_| {
            keyspace.put(b"n", b"x").expect("a healthy disk");
            Some(b"y".to_vec())
        });
        assert_eq!(kind_of(hopeless), ErrorKind::Conflict);
        Ok(())
    })
}

/// What every call says about a key that a time to live is on; all must agree.
fn is_there(db: &Db, keyspace: &Keyspace, key: &[u8]) -> bool {
    let there = keyspace.get(key).expect("a healthy disk").is_some();
    assert_eq!(keyspace.contains(key).expect("a healthy disk"), there);
    assert_eq!(keyspace.ttl(key).expect("a healthy disk").is_some(), there);
    let shown = |range: engine::Range| {
        range.map(|entry| entry.expect("a healthy disk")).any(|(found, _)| *found == *key)
    };
    assert_eq!(shown(keyspace.iter()), there);
    let snapshot = db.snapshot();
    assert_eq!(snapshot.get(keyspace, key).expect("a healthy disk").is_some(), there);
    assert_eq!(snapshot.contains(keyspace, key).expect("a healthy disk"), there);
    assert_eq!(shown(snapshot.iter(keyspace)), there);
    let txn = db.transaction();
    assert_eq!(txn.get(keyspace, key).expect("a healthy disk").is_some(), there);
    assert_eq!(txn.contains(keyspace, key).expect("a healthy disk"), there);
    assert_eq!(shown(txn.iter(keyspace)), there);
    if keyspace.kind() == engine::IndexKind::BTree {
        assert_eq!(shown(keyspace.prefix(key)), there);
        assert_eq!(shown(keyspace.range(key..)), there);
    }
    there
}

#[test]
fn row_090_114_expire_ttl_and_persist_agree_with_every_read_on_the_tick() -> TestResult {
    each(|world, db, keyspace, between| {
        let clock = &world.sim.clock;
        for len in [0, 20, 900] {
            let bytes = value(1, 1, len);
            assert!(!keyspace.expire(b"k", ms(50))? && !keyspace.persist(b"k")?);
            assert_eq!(keyspace.ttl(b"k")?, None);
            keyspace.put(b"k", &bytes)?;
            between();
            assert_eq!(keyspace.ttl(b"k")?, Some(TimeToLive::Forever));
            assert!(keyspace.persist(b"k")?, "as it is");
            assert!(keyspace.expire(b"k", ms(1000))?);
            between();
            assert_eq!(keyspace.ttl(b"k")?, Some(TimeToLive::Left(ms(1000))));
            clock.advance(ms(999));
            assert_eq!(keyspace.ttl(b"k")?, Some(TimeToLive::Left(ms(1))));
            assert!(is_there(db, keyspace, b"k"), "gone at t-1");
            // Longer, then shorter, then for ever.
            assert!(keyspace.expire(b"k", ms(5000))? && keyspace.expire(b"k", ms(100))?);
            between();
            clock.advance(ms(99));
            assert!(keyspace.persist(b"k")?);
            between();
            clock.advance(Duration::from_secs(3600));
            assert_eq!(keyspace.ttl(b"k")?, Some(TimeToLive::Forever));
            assert_eq!(keyspace.get(b"k")?.as_deref(), Some(bytes.as_slice()));
            assert!(keyspace.expire(b"k", Duration::from_micros(9001))?, "rounded up to 10 ms");
            between();
            clock.advance(ms(9));
            assert!(is_there(db, keyspace, b"k"), "gone at t-1");
            clock.advance(ms(1));
            assert!(!is_there(db, keyspace, b"k"), "there at t");
            between();
            clock.advance(ms(1));
            assert!(!is_there(db, keyspace, b"k"), "there at t+1");
            assert!(!keyspace.expire(b"k", ms(50))? && !keyspace.persist(b"k")?, "no way back");
            assert_eq!(keyspace.delete_and_get(b"k")?, None);
            keyspace.put(b"k", b"")?;
            assert!(keyspace.expire(b"k", Duration::ZERO)?);
            assert!(!is_there(db, keyspace, b"k"), "gone at once");
            keyspace.put(b"k", b"")?;
            assert!(keyspace.expire(b"k", Duration::MAX)?);
            clock.advance(Duration::from_secs(10 * 365 * 86_400));
            assert!(is_there(db, keyspace, b"k"), "as good as for ever");
            keyspace.delete(b"k")?;
        }
        Ok(())
    })
}

/// A key's value and expiry (0: never), as they should be.
type Model = std::collections::BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

/// Every call at random, with a clock that runs, stops and jumps back and forth, over flushes,
/// merges and reopens: nothing is served at or after its time, nothing is lost before it, what was
/// seen gone stays gone.
#[test]
fn row_090_114_a_jumping_clock_never_serves_late_and_never_loses_early() -> TestResult {
    const HOUR: i64 = 3_600_000;
    const YEARS: i64 = 10 * 365 * 24 * HOUR;
    for options in kinds() {
        for seed in vfs::testing::seeds(4) {
            let mut random = Random::new(seed);
            let world = World::new(seed);
            let mut db = world.open(&tiny())?;
            db.put_with(b"asks the clock", b"", WriteOptions::default().ttl(Duration::MAX))?;
            let mut model = Model::new();
            // The latest time that the database was told: it never goes back.
            let mut now = world.sim.clock.wall_ms();
            for step in 0..1500_u64 {
                let keyspace = db.keyspace("of this kind", options.clone())?;
                let clock = &world.sim.clock;
                match random.index(40) {
                    0 => clock.jump_wall_ms([-HOUR, HOUR, -YEARS, YEARS][random.index(4)]),
                    1 => db.flush()?,
                    2 => db.compact()?,
                    3 => {
                        db.close()?;
                        db = world.open(&tiny())?;
                        continue;
                    }
                    4..14 => clock.advance(ms(random.next_u64() % 200)),
                    _ => {}
                }
                assert!(db.contains(b"asks the clock")?);
                now = clock.wall_ms().max(now);
                model.retain(|_, (_, expiry)| *expiry == 0 || now < *expiry);
                let key = key(random.next_u64() % 12);
                let ttl = random.next_u64() % 300;
                let old = model.get(&key).cloned();
                let old_value = old.as_ref().map(|(value, _)| value.clone());
                let new = value(1, step, [0, 10, 500][random.index(3)]);
                match random.index(9) {
                    0 => {
                        keyspace.put(&key, &new)?;
                        model.insert(key, (new, 0));
                    }
                    1 => {
                        keyspace.put_with(&key, &new, WriteOptions::default().ttl(ms(ttl)))?;
                        model.insert(key, (new, now + ttl));
                    }
                    2 => {
                        assert_eq!(keyspace.expire(&key, ms(ttl))?, old.is_some());
                        model.entry(key).and_modify(|entry| entry.1 = now + ttl);
                    }
                    3 => {
                        assert_eq!(keyspace.persist(&key)?, old.is_some());
                        model.entry(key).and_modify(|entry| entry.1 = 0);
                    }
                    4 => {
                        let found = keyspace.delete_and_get(&key)?;
                        assert_eq!(found.as_deref(), old_value.as_deref());
                        model.remove(&key);
                    }
                    5 => {
                        let found = keyspace.fetch_update(&key, |_| Some(new.clone()))?;
                        assert_eq!(found.as_deref(), old_value.as_deref());
                        model.entry(key).or_default().0 = new;
                    }
                    6 => {
                        let swapped =
                            keyspace.compare_and_swap(&key, old_value.as_deref(), Some(&new))?;
                        assert!(swapped);
                        model.insert(key, (new, 0));
                    }
                    7 => {
                        let (ttl_found, expiry) = (keyspace.ttl(&key)?, old.map(|old| old.1));
                        let expected = expiry.map(|expiry| match expiry {
                            0 => TimeToLive::Forever,
                            _ => TimeToLive::Left(ms(expiry - now)),
                        });
                        assert_eq!(ttl_found, expected);
                        assert_eq!(is_there(&db, &keyspace, &key), expiry.is_some());
                    }
                    _ => {
                        let found = keyspace.iter().map(|entry| {
                            entry.map(|(key, value)| (key.to_vec(), value.into_vec()))
                        });
                        let mut found = found.collect::<engine::Result<Vec<_>>>()?;
                        found.sort();
                        let expected = model.iter();
                        let expected = expected.map(|(key, entry)| (key.clone(), entry.0.clone()));
                        assert!(found.into_iter().eq(expected), "step {step}");
                    }
                }
                world.step(random.next_u64() % 2, step);
            }
            assert_sound(&db)?;
        }
    }
    Ok(())
}

#[test]
fn row_090_times_to_live_at_the_clocks_extremes_do_no_harm() -> TestResult {
    for wall in [0, 1, u64::MAX - 1, u64::MAX] {
        let world = World::new(90);
        world.sim.clock.set_wall_ms(wall);
        let db = world.open(&tiny())?;
        db.put(b"k", b"v")?;
        for ttl in [Duration::ZERO, ms(1), Duration::MAX] {
            db.put(b"k", b"v")?;
            assert!(db.expire(b"k", ttl)?);
            let left = db.ttl(b"k")?;
            // A clock at its end leaves no time.
            assert_eq!(left.is_some(), ttl > Duration::ZERO && wall < u64::MAX || wall == 0);
            assert_eq!(db.contains(b"k")?, left.is_some());
            assert_eq!(db.persist(b"k")?, left.is_some());
        }
    }
    Ok(())
}

#[test]
fn concurrent_updates_are_never_lost_however_the_log_is_synced() -> TestResult {
    const THREADS: u64 = 4;
    for (durability, count) in [(Durability::Never, 2500), (Durability::Always, 30)] {
        for options in kinds() {
            let scratch = tempfile::tempdir()?;
            let db = Db::open(scratch.path(), small().durability(durability))?;
            let keyspace = db.keyspace("of this kind", options)?;
            let (stop, taken) = (AtomicBool::new(false), AtomicU64::new(0));
            let increment = |old: Option<&[u8]>| {
                let old = old.map_or(0, |old| {
                    u64::from_le_bytes(old.get(..8).expect("a count").try_into().expect("8 bytes"))
                });
                if old.is_multiple_of(8) {
                    thread::yield_now();
                }
                let mut new = (old + 1).to_le_bytes().to_vec();
                new.resize(if old.is_multiple_of(5) { 300 } else { 8 }, 0);
                Some(new)
            };
            thread::scope(|scope| {
                let workers: Vec<_> = (0..THREADS)
                    .map(|worker| {
                        let (keyspace, taken) = (&keyspace, &taken);
                        scope.spawn(move || {
                            for round in 0..count {
                                keyspace.fetch_update(b"count", increment).expect("a healthy disk");
                                // One of them puts the token back, one of them takes it.
                                if round % THREADS == worker {
                                    let put = keyspace.compare_and_swap(b"token", None, Some(b""));
                                    put.expect("a healthy disk");
                                }
                                if keyspace.delete_and_get(b"token").expect("fine").is_some() {
                                    taken.fetch_add(1, Ordering::Relaxed);
                                }
                            }
                        })
                    })
                    .collect();
                let maintainer = scope.spawn(|| {
                    let mut rounds = 0;
                    while !stop.load(Ordering::Acquire) {
                        db.flush().expect("a healthy disk");
                        db.compact().expect("a healthy disk");
                        db.collect_garbage().expect("a healthy disk");
                        rounds += 1;
                    }
                    assert!(rounds > 0);
                });
                let workers: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
                stop.store(true, Ordering::Release);
                maintainer.join().expect("no panic");
                workers.into_iter().for_each(|worker| worker.expect("no panic"));
            });
            let total = keyspace.get(b"count")?.expect("it is there");
            assert_eq!(total.get(..8), Some((THREADS * count).to_le_bytes().as_slice()));
            assert!(taken.load(Ordering::Relaxed) > 0);
            println!("{durability:?}: {} conflicts", db.stats().conflicts);
            assert_sound(&db)?;
        }
    }
    Ok(())
}
