//! Transactions: the anomalies by name, every interleaving of small ones against all serial
//! orders, own writes, clocks, limits and misuse.

use std::ops::Bound;
use std::time::Duration;

use engine::{Db, ErrorKind, IndexKind, Keyspace, KeyspaceOptions, Transaction, WriteOptions};
use vfs::Random;
use vfs::sim::ImageKind;

use crate::atomic::kinds;
use crate::world::{Map, TestResult, World, assert_sound, key, kind_of, tiny, value};

/// What happens to the files between two steps of a transaction.
#[derive(Clone, Copy, Debug)]
enum Between {
    Nothing,
    Flush,
    FlushAndCompact,
}

const BETWEEN: [Between; 3] = [Between::Nothing, Between::Flush, Between::FlushAndCompact];

impl Between {
    fn run(self, db: &Db) {
        match self {
            Between::Nothing => {}
            Between::Flush => db.flush().expect("a healthy disk"),
            Between::FlushAndCompact => db.compact().expect("a healthy disk"),
        }
    }
}

/// A fresh database with a keyspace of each kind, for every thing that may happen in between.
fn each(test: impl Fn(&World, &Db, &Keyspace, &dyn Fn()) -> TestResult) -> TestResult {
    for between in BETWEEN {
        for options in kinds() {
            let world = World::new(7);
            let db = world.open(&tiny())?;
            let keyspace = db.keyspace("of this kind", options)?;
            println!("{between:?}, {:?}", keyspace.kind());
            test(&world, &db, &keyspace, &|| between.run(&db))?;
            assert_eq!(db.stats().open_transactions, 0);
            assert_eq!(db.stats().txn_history_bytes, 0, "nobody needs it any more");
            assert_sound(&db)?;
        }
    }
    Ok(())
}

#[track_caller]
fn number(txn: &Transaction, keyspace: &Keyspace, key: &[u8]) -> i64 {
    let value = txn.get(keyspace, key).expect("a healthy disk");
    let value = value.map(|value| String::from_utf8_lossy(&value).into_owned());
    value.map_or(0, |value| value.parse().expect("a number"))
}

fn add(txn: &mut Transaction, keyspace: &Keyspace, key: &[u8], amount: i64) -> engine::Result<()> {
    let sum = number(txn, keyspace, key) + amount;
    txn.put(keyspace, key, sum.to_string())
}

#[track_caller]
fn assert_lost(outcome: engine::Result<()>, key: &[u8]) {
    let error = outcome.expect_err("it must lose");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(error.conflict().map(|(_, key)| key), Some(key), "{error}");
}

#[test]
fn a_lost_update_is_refused_and_the_error_names_the_key() -> TestResult {
    each(|_, db, keyspace, between| {
        keyspace.put(b"n\x00", b"1")?;
        between();
        let (mut one, mut two) = (db.transaction(), db.transaction());
        add(&mut one, keyspace, b"n\x00", 10)?;
        add(&mut two, keyspace, b"n\x00", 100)?;
        between();
        one.commit()?;
        between();
        let error = two.commit().expect_err("it would lose the other's update");
        assert_eq!(error.conflict(), Some(("of this kind", b"n\x00".as_slice())));
        assert!(error.to_string().contains(r#"key "n\x00" of keyspace "of this kind""#), "{error}");
        assert_eq!(keyspace.get(b"n\x00")?.as_deref(), Some(b"11".as_slice()));
        // Also to a plain write, a delete, and a write of the same value.
        for change in 0..3 {
            let mut txn = db.transaction();
            add(&mut txn, keyspace, b"n\x00", 1)?;
            match change {
                0 => keyspace.put(b"n\x00", b"5")?,
                1 => keyspace.delete(b"n\x00")?,
                _ => keyspace.put(b"n\x00", b"5")?,
            }
            between();
            assert_lost(txn.commit(), b"n\x00");
        }
        Ok(())
    })
}

#[test]
fn write_skew_is_refused_over_two_keyspaces() -> TestResult {
    each(|_, db, keyspace, between| {
        let other = db.default_keyspace();
        keyspace.put(b"alice on call", b"1")?;
        other.put(b"bob on call", b"1")?;
        let (mut one, mut two) = (db.transaction(), db.transaction());
        for txn in [&one, &two] {
            let on_call =
                number(txn, keyspace, b"alice on call") + number(txn, other, b"bob on call");
            assert_eq!(on_call, 2);
        }
        between();
        one.put(keyspace, b"alice on call", b"0")?;
        two.put(other, b"bob on call", b"0")?;
        one.commit()?;
        between();
        assert_lost(two.commit(), b"alice on call");
        assert_eq!(other.get(b"bob on call")?.as_deref(), Some(b"1".as_slice()));
        Ok(())
    })
}

#[test]
fn a_phantom_is_refused_in_what_an_iterator_showed_and_only_there() -> TestResult {
    each(|_, db, keyspace, between| {
        for index in (10..20).step_by(2) {
            keyspace.put(key(index), b"")?;
        }
        between();
        if keyspace.kind() == IndexKind::Hash {
            return a_scan_without_order_conflicts_with_every_write(db, keyspace, between);
        }
        type Read = fn(&Transaction, &Keyspace) -> usize;
        let bounds = |low, high| (Bound::Excluded(key(low)), Bound::Included(key(high)));
        let all: Read = |txn, keyspace| txn.iter(keyspace).count();
        let two: Read = |txn, keyspace| txn.iter(keyspace).take(2).count();
        let last_two: Read = |txn, keyspace| txn.iter(keyspace).rev().take(2).count();
        let both: Read = |txn, keyspace| {
            let mut range = txn.iter(keyspace);
            usize::from(range.next().is_some() && range.next_back().is_some())
        };
        let lent: Read = |txn, keyspace| {
            let mut range = txn.iter(keyspace);
            let is_there = matches!(range.next_ref(), Ok(Some(_)));
            usize::from(is_there && matches!(range.next_back_ref(), Ok(Some(_))))
        };
        let prefix: Read = |txn, keyspace| txn.prefix(keyspace, b"key00001").count();
        let none: Read =
            |txn, keyspace| usize::from(txn.range::<&[u8]>(keyspace, ..).size_hint().0 > 0);
        let cases: [(Read, usize, &[u64], &[u64]); 7] = [
            (all, 5, &[1, 10, 11, 18, 30], &[]),
            (two, 2, &[1, 10, 11, 12], &[13, 14, 18, 30]),
            (last_two, 2, &[16, 17, 18, 30], &[15, 14, 1]),
            (both, 1, &[1, 10, 18, 30], &[11, 12, 17]),
            (lent, 1, &[1, 10, 18, 30], &[11, 12, 17]),
            (prefix, 5, &[10, 15, 19], &[9, 20, 100]),
            (none, 0, &[], &[1, 10, 11, 18, 30]),
        ];
        // Without an order there are no gaps: whoever began to iterate has read everything.
        let ordered = keyspace.kind() == IndexKind::BTree;
        let cases = &cases[..if ordered { cases.len() } else { 3 }];
        for (case, (read, count, conflicting, passing)) in cases.iter().enumerate() {
            for (index, conflicts) in conflicting
                .iter()
                .map(|index| (*index, true))
                .chain(passing.iter().map(|i| (*i, !ordered)))
            {
                for deletes in [false, true] {
                    let mut txn = db.transaction();
                    assert_eq!(read(&txn, keyspace), *count, "case {case}");
                    txn.put(db.default_keyspace(), b"count", b"")?;
                    let was_there = keyspace.contains(key(index))?;
                    match deletes {
                        true => keyspace.delete(key(index))?,
                        false => keyspace.put(key(index), b"new")?,
                    }
                    between();
                    match conflicts {
                        true => assert_lost(txn.commit(), &key(index)),
                        false => txn.commit()?,
                    }
                    match was_there {
                        true => keyspace.put(key(index), b"")?,
                        false => keyspace.delete(key(index))?,
                    }
                }
            }
        }
        // Bounds that are not keys, and the excluded one.
        let around = [(12, false), (13, true), (16, true), (17, false)];
        for (index, conflicts) in around.into_iter().filter(|_| ordered) {
            let mut txn = db.transaction();
            assert_eq!(txn.range(keyspace, bounds(12, 16)).count(), 2);
            txn.put(db.default_keyspace(), b"count", b"")?;
            keyspace.put(key(index), b"")?;
            between();
            assert_eq!(txn.commit().is_err(), conflicts, "key {index}");
            if index % 2 == 1 {
                keyspace.delete(key(index))?;
            }
        }
        Ok(())
    })
}

/// Whatever of a hash keyspace was shown.
fn a_scan_without_order_conflicts_with_every_write(
    db: &Db,
    keyspace: &Keyspace,
    between: &dyn Fn(),
) -> TestResult {
    for (shown, index) in [(5, 10), (5, 99), (1, 12), (1, 98), (0, 97)] {
        let mut txn = db.transaction();
        assert_eq!(txn.iter(keyspace).rev().take(shown).count(), shown);
        txn.put(db.default_keyspace(), b"count", b"")?;
        // A write elsewhere is none.
        db.put(b"elsewhere", b"")?;
        keyspace.delete(key(index))?;
        between();
        assert_lost(txn.commit(), &key(index));
        keyspace.put(key(10), b"")?;
        keyspace.put(key(12), b"")?;
    }
    let mut txn = db.transaction();
    assert_eq!(txn.iter(keyspace).count(), 5);
    txn.put(db.default_keyspace(), b"count", b"")?;
    db.put(b"elsewhere", b"")?;
    between();
    txn.commit()?;
    let txn = db.transaction();
    for mut range in [txn.range(keyspace, b"a".as_slice()..), txn.prefix(keyspace, b"key")] {
        assert_eq!(range.next().map(kind_of), Some(ErrorKind::Invalid), "it has no order");
    }
    Ok(())
}

/// Fekete, O'Neil and O'Neil, 2004: under snapshot isolation a transaction that only reads may see
/// what no serial order shows.
#[test]
fn the_read_only_anomaly_is_refused() -> TestResult {
    each(|_, db, keyspace, between| {
        let mut withdraw = db.transaction();
        let total = number(&withdraw, keyspace, b"x") + number(&withdraw, keyspace, b"y");
        assert_eq!(total, 0);
        between();
        let mut deposit = db.transaction();
        add(&mut deposit, keyspace, b"y", 20)?;
        deposit.commit()?;
        between();
        let report = db.transaction();
        assert_eq!((number(&report, keyspace, b"x"), number(&report, keyspace, b"y")), (0, 20));
        report.commit()?;
        // It saw no deposit, so it charges a fee; the report says that the deposit came first.
        withdraw.put(keyspace, b"x", b"-11")?;
        assert_lost(withdraw.commit(), b"y");
        Ok(())
    })
}

#[test]
fn there_is_no_long_fork() -> TestResult {
    each(|_, db, keyspace, between| {
        let (mut one, mut two) = (db.transaction(), db.transaction());
        let mut readers = vec![db.transaction()];
        one.put(keyspace, b"x", b"1")?;
        two.put(keyspace, b"y", b"1")?;
        one.commit()?;
        readers.push(db.transaction());
        between();
        two.commit()?;
        readers.push(db.transaction());
        between();
        let mut seen = Vec::new();
        for reader in readers {
            seen.push((number(&reader, keyspace, b"x"), number(&reader, keyspace, b"y")));
            reader.commit()?;
        }
        assert_eq!(seen, [(0, 0), (1, 0), (1, 1)]);
        Ok(())
    })
}

#[test]
fn what_nobody_read_never_conflicts() -> TestResult {
    each(|_, db, keyspace, between| {
        // Blind writes, reads of own writes, and other keys' reads.
        keyspace.put(b"read", b"")?;
        let (mut one, mut two) = (db.transaction(), db.transaction());
        for txn in [&mut one, &mut two] {
            assert!(txn.contains(keyspace, b"read")?);
            txn.put(keyspace, b"blind", b"1")?;
            assert!(txn.get(keyspace, b"blind")?.is_some());
            txn.delete(keyspace, b"gone")?;
            assert!(!txn.contains(keyspace, b"gone")?);
        }
        two.put(keyspace, b"blind", b"2")?;
        between();
        one.commit()?;
        between();
        two.commit()?;
        assert_eq!(keyspace.get(b"blind")?.as_deref(), Some(b"2".as_slice()));
        // One that writes nothing read one state, whatever came since.
        let reader = db.transaction();
        assert_eq!(reader.iter(keyspace).count(), 2);
        keyspace.put(b"read", b"changed")?;
        between();
        assert_eq!(reader.get(keyspace, b"read")?.as_deref(), Some(b"".as_slice()));
        reader.commit()?;
        Ok(())
    })
}

#[test]
fn an_abandoned_transaction_changes_nothing() -> TestResult {
    each(|_, db, keyspace, between| {
        keyspace.put(b"k", b"old")?;
        let mut one = db.transaction();
        one.put(keyspace, b"k", b"new")?;
        between();
        one.rollback();
        let mut two = db.transaction();
        two.delete(keyspace, b"k")?;
        drop(two);
        let (mut three, mut four) = (db.transaction(), db.transaction());
        add(&mut three, keyspace, b"n", 1)?;
        add(&mut four, keyspace, b"n", 1)?;
        four.put(keyspace, b"k", b"lost")?;
        three.commit()?;
        assert_lost(four.commit(), b"n");
        between();
        assert_eq!(keyspace.get(b"k")?.as_deref(), Some(b"old".as_slice()));
        Ok(())
    })
}

/// Everything a transaction shows, from both ends at once; checked against point reads.
fn shown(txn: &Transaction, keyspace: &Keyspace, random: &mut Random) -> engine::Result<Map> {
    let mut range = txn.iter(keyspace);
    let mut map = Map::new();
    loop {
        let item = if random.index(2) == 0 { range.next() } else { range.next_back() };
        let Some(item) = item else { break };
        let (key, value) = item?;
        assert_eq!(txn.get(keyspace, &key)?.as_deref(), Some(&*value));
        assert!(txn.contains(keyspace, &key)?);
        assert!(map.insert(key.to_vec(), value.into_vec()).is_none(), "each key once");
    }
    Ok(map)
}

#[test]
fn own_writes_are_read_back_in_iterators_too() -> TestResult {
    let seed = vfs::testing::seed();
    each(|_, db, keyspace, between| {
        let mut random = Random::new(seed);
        let mut committed = Map::new();
        for round in 0..30 {
            let mut txn = db.transaction();
            let mut expected = committed.clone();
            for step in 0..20 {
                let index = random.next_u64() % 25;
                let len = [0, 5, 100, 900][random.index(4)];
                match random.index(5) {
                    0 | 1 => {
                        txn.put(keyspace, key(index), value(index, step, len))?;
                        expected.insert(key(index), value(index, step, len));
                    }
                    2 => {
                        txn.delete(keyspace, key(index))?;
                        expected.remove(&key(index));
                    }
                    3 => {
                        assert_eq!(shown(&txn, keyspace, &mut random)?, expected);
                        let (low, high) = (key(index), key(index + 7));
                        if keyspace.kind() != IndexKind::BTree {
                            continue;
                        }
                        let range = txn.range(keyspace, low.clone()..high.clone());
                        let keys: Vec<_> = range.map(|e| e.map(|e| e.0.to_vec())).collect();
                        let keys = keys.into_iter().collect::<engine::Result<Vec<_>>>()?;
                        let expected = expected.range(low..high).map(|(key, _)| key.clone());
                        assert_eq!(keys, expected.collect::<Vec<_>>());
                    }
                    _ => {
                        // An iterator goes on showing what it showed; later writes are for others.
                        let range = txn.iter(keyspace);
                        let before = expected.len();
                        txn.put(keyspace, key(900 + step), b"later")?;
                        txn.delete(keyspace, key(index))?;
                        assert_eq!(range.count(), before);
                        expected.insert(key(900 + step), b"later".to_vec());
                        expected.remove(&key(index));
                    }
                }
            }
            if round % 3 == 0 {
                between();
            }
            if random.index(3) == 0 {
                txn.rollback();
            } else {
                txn.commit()?;
                committed = expected;
            }
            let found = crate::world::contents(keyspace)?;
            crate::world::assert_same(&found, &committed, "what was committed");
        }
        Ok(())
    })
}

#[test]
fn an_entry_that_expires_while_the_transaction_is_open_is_a_conflict() -> TestResult {
    let ttl = |ms| WriteOptions::default().ttl(Duration::from_millis(ms));
    each(|world, db, keyspace, between| {
        for scan in [false, true] {
            for left in [999, 1000, 1001] {
                keyspace.put_with(b"lease", b"mine", ttl(1000))?;
                keyspace.put(b"other", b"")?;
                between();
                let mut txn = db.transaction();
                match scan {
                    true => assert_eq!(txn.iter(keyspace).count(), 2),
                    false => assert!(txn.contains(keyspace, b"lease")?),
                }
                txn.put(db.default_keyspace(), b"done under the lease", b"")?;
                world.sim.clock.advance(Duration::from_millis(left));
                between();
                // Gone for this transaction's eyes as well, from its last millisecond on.
                assert_eq!(txn.get(keyspace, b"lease")?.is_some(), left < 1000);
                assert_eq!(txn.iter(keyspace).count(), if left < 1000 { 2 } else { 1 });
                match left < 1000 {
                    true => txn.commit()?,
                    false => assert_lost(txn.commit(), b"lease"),
                }
                // Long gone: nothing changes while this one is open.
                world.sim.clock.advance(Duration::from_secs(1));
                let mut txn = db.transaction();
                assert_eq!(txn.get(keyspace, b"lease")?, None);
                txn.put(keyspace, b"lease", b"yours")?;
                world.sim.clock.advance(Duration::from_secs(1));
                txn.commit()?;
                assert_eq!(keyspace.get(b"lease")?.as_deref(), Some(b"yours".as_slice()));
            }
        }
        // One that only reads must not have seen two states either.
        keyspace.put_with(b"lease", b"mine", ttl(10))?;
        let reader = db.transaction();
        assert!(reader.contains(keyspace, b"lease")?);
        world.sim.clock.advance(Duration::from_millis(10));
        assert!(!reader.contains(keyspace, b"lease")?);
        assert_lost(reader.commit(), b"lease");
        Ok(())
    })
}

#[test]
fn a_time_to_live_given_in_a_transaction_runs_from_its_commit() -> TestResult {
    each(|world, db, keyspace, between| {
        let mut txn = db.transaction();
        txn.put_ttl(keyspace, b"own", b"1", Duration::from_millis(10))?;
        txn.put(keyspace, b"of the commit", b"1")?;
        txn.put_ttl(keyspace, b"for ever after all", b"1", Duration::ZERO)?;
        txn.put_ttl(keyspace, b"for ever after all", b"2", Duration::MAX)?;
        world.sim.clock.advance(Duration::from_secs(60));
        assert!(txn.contains(keyspace, b"own")?);
        assert_eq!(txn.iter(keyspace).count(), 3);
        between();
        txn.commit_with(WriteOptions::default().ttl(Duration::from_millis(20)))?;
        for (ms, count) in [(0, 3), (9, 3), (1, 2), (9, 2), (1, 1), (1000, 1)] {
            world.sim.clock.advance(Duration::from_millis(ms));
            assert_eq!(keyspace.iter().count(), count);
        }
        Ok(())
    })
}

#[test]
fn a_conflict_is_seen_through_any_number_of_flushes_and_merges() -> TestResult {
    let world = World::new(16);
    let db = world.open(&tiny())?;
    let keyspace = db.default_keyspace();
    for index in 0..50 {
        keyspace.put(key(index), value(index, 0, 300))?;
    }
    let (mut loser, mut scanner, mut winner) =
        (db.transaction(), db.transaction(), db.transaction());
    assert!(loser.contains(keyspace, key(7))?);
    assert_eq!(scanner.prefix(keyspace, b"key00001").count(), 10);
    assert!(winner.contains(keyspace, b"nobody writes this")?.eq(&false));
    for txn in [&mut loser, &mut scanner, &mut winner] {
        txn.put(keyspace, b"result", b"")?;
    }
    keyspace.put(key(7), b"once")?;
    keyspace.delete(key(13))?;
    for version in 1..20 {
        for index in (0..50).filter(|index| *index != 7 && index / 10 != 1) {
            keyspace.put(key(index), value(index, version, 300))?;
        }
        if version % 5 == 0 {
            db.compact()?;
        }
    }
    let stats = db.stats();
    assert!(stats.flushes > 10 && stats.txn_history_bytes > 0, "{stats:?}");
    assert_lost(loser.commit(), &key(7));
    assert_lost(scanner.commit(), &key(13));
    winner.commit()?;
    assert_eq!(db.stats().txn_history_bytes, 0);
    assert_eq!(db.stats().conflicts, 2);
    Ok(())
}

#[test]
fn beyond_the_bound_of_the_history_the_oldest_transaction_loses() -> TestResult {
    let world = World::new(17);
    let fill = |db: &Db, from: u64| -> TestResult {
        for index in from..from + 60 {
            db.put(key(index), value(index, 0, 300))?;
        }
        db.flush()?;
        Ok(())
    };
    for bound in [0, 40 << 10] {
        let db = world.open(&tiny().txn_history_bytes(bound))?;
        let keyspace = db.default_keyspace();
        let mut oldest = db.transaction();
        let reader = db.transaction();
        assert_eq!(oldest.get(keyspace, b"x")?, None);
        assert_eq!(reader.get(keyspace, b"x")?, None);
        oldest.put(keyspace, b"y", b"1")?;
        let mut younger = None;
        for round in 0..20 {
            fill(&db, 1000 + round * 60)?;
            assert!(db.stats().txn_history_bytes <= bound, "{:?}", db.stats());
            if round == 18 {
                let mut txn = db.transaction();
                assert_eq!(txn.get(keyspace, b"x")?, None);
                txn.put(keyspace, b"y", b"2")?;
                younger = Some(txn);
            }
        }
        let error = oldest.commit().expect_err("too old");
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert_eq!(error.conflict(), None);
        assert!(error.to_string().contains("txn_history_bytes"), "{error}");
        // It wrote nothing, so nobody has to know what came since.
        reader.commit()?;
        let younger = younger.expect("it was begun").commit();
        assert_eq!(younger.is_ok(), bound > 0, "{younger:?}");
        assert_eq!(db.stats().txn_history_bytes, 0);
        db.close()?;
    }
    Ok(())
}

#[test]
fn transact_runs_again_until_it_wins_and_gives_up_in_the_end() -> TestResult {
    let world = World::new(18);
    let db = world.open(&tiny())?;
    let keyspace = db.default_keyspace();
    let mut runs = 0;
    let sum = db.transact(|txn| {
        runs += 1;
        let sum = number(txn, keyspace, b"n") + 1;
        if runs < 6 {
            keyspace.put(b"n", (runs * 10).to_string())?;
        }
        txn.put(keyspace, b"n", sum.to_string())?;
        Ok(sum)
    })?;
    assert_eq!((runs, sum), (6, 51));
    assert_eq!(keyspace.get(b"n")?.as_deref(), Some(b"51".as_slice()));
    let mut runs = 0;
    let hopeless = db.transact(|txn| {
        runs += 1;
        add(txn, keyspace, b"n", 1)?;
        keyspace.put(b"n", b"0")
    });
    assert_lost(hopeless, b"n");
    assert!(runs >= 10, "{runs}");
    let runs = std::cell::Cell::new(0);
    let refused = db.transact(|txn| {
        runs.set(runs.get() + 1);
        txn.put(keyspace, b"n", b"never")?;
        txn.put(keyspace, b"", b"an empty key")
    });
    assert_eq!((kind_of(refused), runs.get()), (ErrorKind::Invalid, 1));
    assert_eq!(keyspace.get(b"n")?.as_deref(), Some(b"0".as_slice()));
    // One inside another's closure is another transaction.
    let nested = db.transact(|outer| {
        add(outer, keyspace, b"outer", 1)?;
        db.transact(|inner| add(inner, keyspace, b"inner", 1))
    });
    nested?;
    assert_eq!(keyspace.get(b"inner")?.as_deref(), Some(b"1".as_slice()));
    assert_eq!(keyspace.get(b"outer")?.as_deref(), Some(b"1".as_slice()));
    Ok(())
}

#[test]
fn a_durable_commit_survives_and_an_unlogged_one_does_with_its_flush() -> TestResult {
    let world = World::new(19);
    let db = world.open(&tiny())?;
    let side = db.keyspace("side", KeyspaceOptions::btree())?;
    let write = |options: WriteOptions, name: &[u8]| -> engine::Result<()> {
        let mut txn = db.transaction();
        txn.put(db.default_keyspace(), name, value(1, 1, 900))?;
        txn.put(&side, name, b"too short to be alone")?;
        txn.put(&side, name, b"")?;
        txn.commit_with(options)
    };
    write(WriteOptions::default().durable(), b"durable")?;
    write(WriteOptions::default().disable_wal(), b"unlogged")?;
    let both = write(WriteOptions::default().disable_wal().durable(), b"both");
    assert_eq!(kind_of(both), ErrorKind::Invalid);
    for flushed in [false, true] {
        if flushed {
            db.flush()?;
        }
        let world = world.crash(ImageKind::SyncedOnly, 19);
        let db = world.open(&tiny())?;
        let side = db.keyspace("side", KeyspaceOptions::btree())?;
        for (name, is_there) in [(b"durable".as_slice(), true), (b"unlogged", flushed)] {
            assert_eq!(db.contains(name)?, is_there);
            let empty = Some(b"".as_slice());
            assert_eq!(side.get(name)?.as_deref(), empty.filter(|_| is_there));
        }
    }
    // One that only reads, committed as durable: what it read stays.
    db.put(b"read", b"1")?;
    let reader = db.transaction();
    assert!(reader.contains(db.default_keyspace(), b"read")?);
    reader.commit_with(WriteOptions::default().durable())?;
    let world = world.crash(ImageKind::SyncedOnly, 20);
    assert!(world.open(&tiny())?.contains(b"read")?);
    Ok(())
}

#[test]
fn row_113_misuse_returns_errors() -> TestResult {
    let (world, elsewhere) = (World::new(113), World::new(114));
    let (db, other) = (world.open(&tiny())?, elsewhere.open(&tiny())?);
    let guest = db.keyspace("guest", KeyspaceOptions::btree())?;
    guest.put(b"k", b"v")?;
    let foreign = other.default_keyspace();
    let mut txn = db.transaction();
    assert_eq!(kind_of(txn.get(foreign, b"k")), ErrorKind::Invalid);
    assert_eq!(kind_of(txn.contains(foreign, b"k")), ErrorKind::Invalid);
    assert_eq!(kind_of(txn.put(foreign, b"k", b"v")), ErrorKind::Invalid);
    assert_eq!(kind_of(txn.delete(foreign, b"k")), ErrorKind::Invalid);
    let mut range = txn.iter(foreign);
    assert_eq!(range.next().map(kind_of), Some(ErrorKind::Invalid));
    assert!(range.next().is_none());
    assert_eq!(kind_of(txn.get(&guest, b"")), ErrorKind::Invalid);
    assert_eq!(kind_of(txn.put(&guest, vec![0; 65_536], b"")), ErrorKind::Invalid);
    assert_eq!(kind_of(txn.put(&guest, b"k", vec![0; (1 << 30) + 1])), ErrorKind::Invalid);
    // What was refused is no part of it; the rest is.
    txn.put(&guest, b"k", b"w")?;
    txn.commit()?;
    assert_eq!(guest.get(b"k")?.as_deref(), Some(b"w".as_slice()));

    // A keyspace that goes, and one that came later.
    let (mut reader, mut writer) = (db.transaction(), db.transaction());
    assert!(reader.contains(&guest, b"k")?);
    reader.put(db.default_keyspace(), b"seen", b"1")?;
    writer.put(&guest, b"k", b"1")?;
    writer.put(db.default_keyspace(), b"seen", b"1")?;
    db.drop_keyspace("guest")?;
    assert!(reader.contains(&guest, b"k")?, "the state it began with");
    assert_eq!(kind_of(reader.commit()), ErrorKind::Conflict);
    assert_eq!(kind_of(writer.commit()), ErrorKind::NotFound);
    assert!(!db.contains(b"seen")?);
    let mut early = db.transaction();
    let later = db.keyspace("later", KeyspaceOptions::btree())?;
    assert_eq!(kind_of(early.get(&later, b"k")), ErrorKind::NotFound);
    early.put(&later, b"k", b"v")?;
    early.commit()?;
    assert!(later.contains(b"k")?);

    // After close every call says so, and nothing waits for ever.
    let mut open = db.transaction();
    open.put(&later, b"k", b"lost")?;
    let (mut range, rolled_back) = (open.iter(&later), db.transaction());
    let second = db.clone();
    db.close()?;
    assert_eq!(kind_of(second.clone().close()), ErrorKind::Closed);
    assert_eq!(kind_of(open.get(&later, b"k")), ErrorKind::Closed);
    assert_eq!(kind_of(open.put(&later, b"k", b"")), ErrorKind::Closed);
    assert_eq!(range.next().map(kind_of), Some(ErrorKind::Closed));
    rolled_back.rollback();
    assert_eq!(kind_of(open.commit()), ErrorKind::Closed);
    assert_eq!(kind_of(second.transaction().commit()), ErrorKind::Closed);
    assert_eq!(kind_of(second.transact(|txn| txn.put(&later, b"k", b""))), ErrorKind::Closed);
    assert_eq!(kind_of(later.compare_and_swap(b"k", None, None)), ErrorKind::Closed);
    let again = world.open(&tiny())?;
    let later = again.keyspace("later", KeyspaceOptions::btree())?;
    assert_eq!(later.get(b"k")?.as_deref(), Some(b"v".as_slice()));
    Ok(())
}

#[test]
fn a_full_disk_refuses_a_commit_whole_and_the_next_one_passes() -> TestResult {
    let world = World::new(101);
    let db = world.open(&tiny())?;
    let write = |len: usize| {
        let mut txn = db.transaction();
        txn.put(db.default_keyspace(), b"a", b"1")?;
        txn.put(db.default_keyspace(), b"z", vec![1; len])?;
        txn.commit()
    };
    world.disk.set_quota(Some(256 << 10));
    assert_eq!(kind_of(write(1 << 20)), ErrorKind::NoSpace);
    assert_eq!(db.iter().count(), 0);
    world.disk.set_quota(None);
    write(1 << 20)?;
    assert_eq!(db.iter().count(), 2);
    Ok(())
}

#[test]
fn a_transaction_goes_between_threads() {
    fn both<T: Send + Sync>() {}
    fn one<T: Send>() {}
    both::<Transaction>();
    one::<engine::Range>();
}
