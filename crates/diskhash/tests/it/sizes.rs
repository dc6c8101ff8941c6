//! How much, how many, how large: pages a look-up reads, bytes an apply writes, splits and joins.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use diskhash::{Options, ReadMode, Table};
use vfs::sim::{CallKind, SimDisk};
use vfs::{Env, Random};

use crate::allocated;
use crate::bed::{
    Batch, Hasher, Keys, Model, apply, apply_model, few, get, highest, judge, merge_all, mixed,
    open, options, slots_of, zero,
};

fn some(keys: impl IntoIterator<Item = u64>) -> Batch {
    keys.into_iter().map(|key| (key, Some(1))).collect()
}

#[test]
fn a_look_up_allocates_nothing_and_reads_one_page_of_each_file() {
    for read_mode in [ReadMode::Mapped, ReadMode::Positional] {
        let disk = SimDisk::new(1);
        let options = Options { read_mode, runs_max: 8, partition_bytes: 1 << 20, ..options() };
        let table = open(&disk, &options).unwrap();
        apply(&table, mixed, &some(0..9000)).unwrap();
        merge_all(&table, true, &mut Keys::default()).unwrap();
        for run in 0..8 {
            apply(&table, mixed, &some((0..300).map(|key| key * 8 + run))).unwrap();
        }
        let newest = table.newest();
        assert!(newest.is_full() && newest.stats().probes_max == 9);
        let mut pages = 0;
        for key in 0..2000_u64 {
            let before = disk.calls_of(CallKind::Read);
            let mut found = 0;
            let (result, bytes) = allocated::during(|| {
                newest.candidates(mixed(key), &mut |_| {
                    found += 1;
                    Ok(ControlFlow::Continue(()))
                })
            });
            result.unwrap();
            assert_eq!(found, 2);
            let reads = disk.calls_of(CallKind::Read) - before;
            pages += reads;
            match read_mode {
                ReadMode::Mapped => assert!(reads == 0 && bytes == 0, "{bytes} bytes"),
                ReadMode::Positional => assert!((9..=12).contains(&reads), "{reads} reads"),
            }
        }
        assert!(pages <= 2000 * 9 + 300, "{pages} pages");
    }
}

#[test]
fn one_hash_for_all_finds_every_key_newest_first() {
    for hasher in [zero as Hasher, highest, few] {
        let disk = SimDisk::new(1);
        let table = open(&disk, &options()).unwrap();
        let mut model = Model::new();
        for round in 0..3_u32 {
            let batch: Batch = (0..900).map(|key| (key, Some(round * 7))).collect();
            apply_model(&mut model, &batch);
            apply(&table, hasher, &batch).unwrap();
            let slots = slots_of(&table.newest(), hasher(5)).unwrap();
            let values: Vec<u8> = slots.iter().map(|slot| slot[8]).collect();
            assert!(values.is_sorted_by(|newer, older| newer >= older), "newest first");
        }
        let same = (0..900).filter(|key| hasher(*key) == hasher(5)).count();
        assert_eq!(slots_of(&table.newest(), hasher(5)).unwrap().len(), 3 * same);
        judge(&table.newest(), hasher, &model, 950);
        merge_all(&table, true, &mut Keys::default()).unwrap();
        assert_eq!(slots_of(&table.newest(), hasher(5)).unwrap().len(), same);
        judge(&table.newest(), hasher, &model, 950);
    }
}

// Row 97: pages that are full to the last slot, and chains behind them.
#[test]
fn row_097_pages_of_one_or_two_slots_overflow_and_lose_nothing() {
    for (slot_len, hash_bytes) in [(1024, 8), (1024, 5), (900, 5), (1, 8)] {
        let disk = SimDisk::new(1);
        let options = Options { hash_bytes, ..Options::new(slot_len) };
        let env = Env::sim(1).env;
        let table = Table::open(
            disk.root(),
            &env,
            options,
            diskhash::At::Latest,
            diskhash::Leftovers::Keep,
        )
        .unwrap();
        let mut random = Random::new(3);
        let hashes: Vec<u64> = (0..3000).map(|_| random.next_u64()).collect();
        let slot = vec![7; slot_len.into()];
        let newest = table.apply(hashes.iter().map(|hash| (*hash, &slot[..]))).unwrap();
        for hash in &hashes {
            let mut found = 0;
            let count = &mut |_: &[u8]| {
                found += 1;
                Ok(ControlFlow::Continue(()))
            };
            newest.candidates(*hash, count).unwrap();
            assert_eq!(found, 1);
        }
        newest.check(&mut |_| Ok(()), &mut |error| panic!("{error}"));
        let stats = newest.stats();
        let fit = 4072 / (u64::from(slot_len) + u64::from(hash_bytes));
        let load = 3000 * 100 / (stats.pages * fit);
        assert!((70..=87).contains(&load), "{load} of 100, {stats:?}");
    }
}

#[test]
fn partitions_split_as_they_grow_and_join_as_they_shrink() {
    let disk = SimDisk::new(1);
    let options = Options { runs_max: 8, ..options() };
    let table = open(&disk, &options).unwrap();
    let mut model = Model::new();
    let mut partitions = Vec::new();
    for round in 0..12 {
        let batch = some(round * 1000..(round + 1) * 1000);
        apply_model(&mut model, &batch);
        apply(&table, mixed, &batch).unwrap();
        merge_all(&table, true, &mut Keys::default()).unwrap();
        partitions.push(table.newest().stats().partitions);
    }
    judge(&table.newest(), mixed, &model, 12_100);
    assert!(partitions.is_sorted(), "{partitions:?}");
    // 8 KiB are two pages of 203 slots filled to 0.85; partitions stay between half of that and all.
    let stats = table.newest().stats();
    let mean = stats.partition_slots / stats.partitions;
    assert!((120..=420).contains(&mean), "{mean} slots, {stats:?}");
    // A tenth stays.
    let gone: Batch = (0..12_000).filter(|key| key % 10 != 0).map(|key| (key, None)).collect();
    apply_model(&mut model, &gone);
    apply(&table, mixed, &gone).unwrap();
    merge_all(&table, true, &mut Keys::default()).unwrap();
    // Sizes are known now; the next rewrite joins.
    while let Some(mut job) = table.plan_rewrite() {
        while !job.step(&mut Keys::default()).unwrap() {}
        table.commit(job.finish()).unwrap();
    }
    judge(&table.newest(), mixed, &model, 12_100);
    let shrunk = table.newest().stats();
    assert!(shrunk.partitions * 2 < stats.partitions, "{shrunk:?} of {stats:?}");
    assert!(shrunk.bytes * 2 < stats.bytes);
}

#[test]
fn a_large_run_becomes_many_partitions_in_one_fold() {
    let disk = SimDisk::new(1);
    let table = open(&disk, &options()).unwrap();
    apply(&table, mixed, &some(0..20_000)).unwrap();
    let mut jobs = 0;
    while let Some(mut job) = table.plan(false) {
        jobs += 1;
        let mut steps = 0;
        while !job.step(&mut Keys::default()).unwrap() {
            steps += 1;
            // An apply goes on meanwhile.
            apply(&table, mixed, &some(20_000..20_010)).unwrap();
        }
        assert!(steps >= 1, "a step is bounded");
        table.commit(job.finish()).unwrap();
        if jobs > 20 {
            break;
        }
    }
    let stats = table.newest().stats();
    assert!(stats.partitions >= 32, "{stats:?}");
    for key in 0..20_010 {
        assert_eq!(get(&table.newest(), mixed, key).unwrap(), Some(1));
    }
}

#[test]
fn a_fold_is_cut_into_jobs_and_a_dropped_tombstone_brings_nothing_back() {
    let disk = SimDisk::new(1);
    let options = Options { runs_max: 6, ..options() };
    let table = open(&disk, &options).unwrap();
    let mut model = Model::new();
    let batch = some(0..5000);
    apply_model(&mut model, &batch);
    apply(&table, mixed, &batch).unwrap();
    merge_all(&table, true, &mut Keys::default()).unwrap();
    // The older run holds what the newer deletes.
    let puts: Batch = (0..5000).map(|key| (key, Some(2))).collect();
    let deletes: Batch = (0..5000).map(|key| (key, None)).collect();
    for batch in [puts, deletes] {
        apply_model(&mut model, &batch);
        apply(&table, mixed, &batch).unwrap();
    }
    let (mut jobs, mut halfway) = (0, 0);
    while let Some(mut job) = table.plan(false) {
        while !job.step(&mut Keys::default()).unwrap() {}
        let generation = table.commit(job.finish()).unwrap();
        jobs += 1;
        halfway += u32::from(generation.stats().runs == 2);
        judge(&generation, mixed, &model, 5000);
    }
    assert!(jobs >= 5 && halfway >= 4, "{jobs} jobs, {halfway} halfway");
    assert!(table.newest().is_empty());
}

#[test]
fn a_merge_of_runs_keeps_a_tombstone_that_an_older_run_needs() {
    let disk = SimDisk::new(1);
    let options = Options { runs_max: 3, ..options() };
    let table = open(&disk, &options).unwrap();
    let is_upper = |key: &u64| mixed(*key) >> 63 == 1;
    let mut model = Model::new();
    let mut put = |batch: Batch| {
        apply_model(&mut model, &batch);
        apply(&table, mixed, &batch).unwrap();
        model.clone()
    };
    // The upper half of the hashes has no partition with anything in it.
    put(some((0..12_000).filter(|key| !is_upper(key))));
    merge_all(&table, true, &mut Keys::default()).unwrap();
    put(some(0..12_000));
    // A fold is under way when the upper keys are deleted.
    let step = || {
        let mut job = table.plan(false).unwrap();
        while !job.step(&mut Keys::default()).unwrap() {}
        table.commit(job.finish()).unwrap()
    };
    assert_eq!(step().stats().runs, 1, "the fold is not done");
    put((0..12_000).filter(is_upper).map(|key| (key, None)).collect());
    let model = put(some([1]));
    assert!(table.newest().is_full());
    assert_eq!(step().stats().runs, 2, "the two newer runs were merged");
    judge(&table.newest(), mixed, &model, 12_000);
}

#[test]
fn a_partition_that_took_a_run_in_hides_it_also_where_a_slot_was_replaced() {
    let disk = SimDisk::new(1);
    let table = open(&disk, &options()).unwrap();
    apply(&table, mixed, &some(0..5000)).unwrap();
    merge_all(&table, true, &mut Keys::default()).unwrap();
    apply(&table, mixed, &some(0..5000)).unwrap();
    let mut owner = Keys { replace: Some(2), ..Keys::default() };
    let mut job = table.plan(false).unwrap();
    while !job.step(&mut owner).unwrap() {}
    let generation = table.commit(job.finish()).unwrap();
    let mut hidden = 0;
    for key in 0..5000 {
        // Mark 9 stands for a slot that was replaced in the partition; the run still has mark 2.
        let slots = slots_of(&generation, mixed(key)).unwrap();
        let marks: Vec<u8> = slots.iter().map(|slot| slot[12]).collect();
        assert!(marks == [9] || marks == [2, 2], "key {key}: {marks:?}");
        hidden += u32::from(marks == [9]);
    }
    assert!((100..4900).contains(&hidden), "{hidden} of 5000 are folded");
    let mut shown = 0;
    let mut cursor = generation.cursor();
    while let Some((_, slot)) = cursor.next().unwrap() {
        assert!(slot[12] == 9 || slot[12] == 2);
        shown += 1;
    }
    assert_eq!(shown, hidden + 2 * (5000 - hidden));
}

#[test]
fn an_expired_slot_goes_with_a_rewrite_and_a_replaced_one_is_listed() {
    let disk = SimDisk::new(1);
    let table = open(&disk, &options()).unwrap();
    let batch: Batch = (0..3000).map(|key| (key, Some(u32::try_from(key).unwrap()))).collect();
    apply(&table, mixed, &batch).unwrap();
    merge_all(&table, true, &mut Keys::default()).unwrap();
    assert_eq!(table.newest().listed(), BTreeSet::from([1, 2, 3, 4, 5]));
    assert!(table.plan(true).is_none());
    let expired: BTreeSet<u64> = (0..3000).filter(|key| key % 3 == 0).collect();
    let mut owner = Keys { replace: Some(2), expired: expired.clone() };
    let mut jobs = 0;
    while let Some(mut job) = table.plan_rewrite() {
        while !job.step(&mut owner).unwrap() {}
        table.commit(job.finish()).unwrap();
        jobs += 1;
    }
    assert!(jobs > 1, "{jobs}");
    assert_eq!(table.newest().listed(), BTreeSet::from([1, 3, 4, 5, 9]));
    let model: Model = batch
        .iter()
        .filter(|(key, _)| !expired.contains(key))
        .map(|(key, value)| (*key, value.unwrap()))
        .collect();
    judge(&table.newest(), mixed, &model, 3000);
}

/// What the simulation of decision 0004 counts, for the same policy: entries written.
fn modelled(flushes: u64, flush: u64, keys: u64, runs_max: usize) -> f64 {
    let distinct = |puts: f64| keys as f64 * (1.0 - (-puts / keys as f64).exp());
    let (mut runs, mut written): (Vec<(f64, u32)>, f64) = (Vec::new(), 0.0);
    for _ in 0..flushes {
        written += distinct(flush as f64);
        runs.push((flush as f64, 1));
        let entries: f64 = runs.iter().map(|(puts, _)| distinct(*puts)).sum();
        if entries * 2.0 >= keys as f64 {
            runs.clear();
            written += keys as f64;
        } else if runs.len() >= runs_max {
            let grows = |at: &usize| *at == 0 || runs[*at].1 < runs[*at - 1].1;
            let at = (0..runs.len() - 1).rev().find(grows).unwrap();
            let times = runs[at].1 + 1;
            let puts = runs.drain(at..).map(|(puts, _)| puts).sum();
            written += distinct(puts);
            runs.push((puts, times));
        }
    }
    written
}

// Decision 0004: the simulation's bytes are what the files take.
#[test]
fn bytes_written_by_uniform_updates_are_those_of_the_simulation() {
    let (keys, flush, flushes) = (40_000, 800, 120);
    let disk = SimDisk::new(1);
    let options = Options { partition_bytes: 256 << 10, runs_max: 8, ..Options::new(16) };
    let table = open(&disk, &Options { listed: None, ..options }).unwrap();
    let put = |table: &Table, keys: &[u64]| apply(table, mixed, &some(keys.iter().copied()));
    put(&table, &(0..keys).collect::<Vec<_>>()).unwrap();
    merge_all(&table, true, &mut Keys::default()).unwrap();
    let start = disk.trace().len();
    let mut random = Random::new(7);
    for _ in 0..flushes {
        let drawn: BTreeSet<u64> = (0..flush).map(|_| random.below(keys)).collect();
        put(&table, &drawn.into_iter().collect::<Vec<_>>()).unwrap();
        merge_all(&table, false, &mut Keys::default()).unwrap();
    }
    let trace = disk.trace();
    let writes = trace[start..].iter().filter(|call| call.kind == CallKind::Write);
    let data = writes.filter(|call| !call.path.ends_with(".gen"));
    let bytes: u64 = data.map(|call| call.len).sum();
    // A slot of 16 bytes and 4 to 5 of the hash in pages filled to 0.85, and a header's page a file.
    let expected = modelled(flushes, flush, keys, 8) * 24.5;
    let ratio = bytes as f64 / expected;
    assert!((0.85..1.25).contains(&ratio), "{bytes} bytes, {ratio:.2} of those expected");
}
