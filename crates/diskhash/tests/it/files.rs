//! What stands in the directory: options, generations by number, releases, leftovers.

use std::collections::BTreeSet;

use diskhash::{At, GENERATION, Leftovers, Options, RUN, Table};
use vfs::sim::{ImageKind, SimDisk};
use vfs::{Env, Error, Name};

use crate::bed::{
    Keys, Model, apply, apply_model, get, judge, merge_all, mixed, open, open_at, options, slot,
};

fn names(disk: &SimDisk) -> BTreeSet<String> {
    disk.files().into_iter().map(|(path, _)| path).collect()
}

fn names_of(table: &Table) -> BTreeSet<String> {
    table.newest().files().iter().map(|(name, _)| name.to_string()).collect()
}

#[test]
fn options_out_of_range_or_other_than_stored_are_refused_by_name() {
    let disk = SimDisk::new(1);
    let refused = |options: Options, word: &str| match open(&disk, &options).unwrap_err() {
        Error::Invalid { what, .. } => assert!(what.contains(word), "{what}"),
        error => panic!("{error}"),
    };
    let illegal = [
        (Options { slot_len: 0, ..Options::new(1) }, "slot_len"),
        (Options { slot_len: 1025, ..Options::new(1) }, "slot_len"),
        (Options { hash_bytes: 4, ..options() }, "hash_bytes"),
        (Options { hash_bytes: 9, ..options() }, "hash_bytes"),
        (Options { listed: Some(13), ..options() }, "listed"),
        (Options { runs_max: 1, ..options() }, "runs_max"),
        (Options { partition_bytes: 8191, ..options() }, "partition_bytes"),
    ];
    illegal.into_iter().for_each(|(options, word)| refused(options, word));
    assert!(disk.files().is_empty(), "nothing was made");
    let seed = open(&disk, &options()).unwrap().seed();
    let other = [
        (Options { slot_len: 20, ..options() }, "slot_len"),
        (Options { hash_bytes: 6, ..options() }, "hash_bytes"),
        (Options { listed: None, ..options() }, "listed"),
        (Options { owner: 8, ..options() }, "owner"),
    ];
    other.into_iter().for_each(|(options, word)| refused(options, word));
    let free = Options { runs_max: 9, partition_bytes: 1 << 20, ..options() };
    assert_eq!(open(&disk, &free).unwrap().seed(), seed);
    // Another table has another seed.
    let env = Env::sim(4).env;
    let fs = SimDisk::new(1).root();
    let table = Table::open(fs, &env, options(), At::Latest, Leftovers::Keep).unwrap();
    assert_ne!(table.seed(), seed);
}

#[test]
fn a_generation_that_is_not_there_is_damage_and_none_is_made() {
    let disk = SimDisk::new(1);
    let error = open_at(&disk, &options(), At::Generation(7)).unwrap_err();
    assert!(error.is_corrupt(), "{error}");
    assert!(error.to_string().contains("0000000000000007.gen"), "{error}");
    assert!(disk.files().is_empty());
}

#[test]
fn release_keeps_what_other_generations_name_and_readers_keep_their_files() {
    let disk = SimDisk::new(1);
    let options = Options { runs_max: 9, ..options() };
    let table = open(&disk, &options).unwrap();
    let mut model = Model::new();
    let mut held = Vec::new();
    for round in 0..6_u64 {
        let batch = (0..200).map(|key| (key, (key % 5 != round).then_some(9))).collect();
        apply_model(&mut model, &batch);
        held.push((apply(&table, mixed, &batch).unwrap(), model.clone()));
    }
    // Every second one goes; the others still have all their files.
    for (generation, _) in held.iter().step_by(2) {
        table.release(generation.id());
        table.release(generation.id());
        let name = Name::new(GENERATION, generation.id());
        assert!(!names(&disk).contains(&name.to_string()));
    }
    for (generation, _) in held.iter().skip(1).step_by(2) {
        let files = generation.files();
        assert!(files.iter().all(|(name, _)| names(&disk).contains(&name.to_string())));
    }
    while let Some(mut job) = table.plan(true) {
        while !job.step(&mut Keys::default()).unwrap() {}
        let old = table.newest().id();
        table.commit(job.finish()).unwrap();
        if held.iter().all(|(generation, _)| generation.id() != old) {
            table.release(old);
        }
    }
    for (generation, model) in held.iter().skip(1).step_by(2) {
        judge(generation, mixed, model, 200);
        table.release(generation.id());
    }
    // The first generation of the table is still held; it names no data.
    assert_eq!(names(&disk).len(), names_of(&table).len() + 1);
    let (old, _) = &held[0];
    assert!(old.stats().runs == 1 && old.cursor().next().unwrap().is_some(), "still readable");
}

#[test]
#[should_panic(expected = "the newest generation is not released")]
fn the_newest_generation_is_not_released() {
    let table = open(&SimDisk::new(1), &options()).unwrap();
    table.release(table.newest().id());
}

#[test]
fn what_is_built_and_not_committed_leaves_no_file() {
    let disk = SimDisk::new(1);
    let table = open(&disk, &options()).unwrap();
    let before = names(&disk);
    assert!(table.builder().finish().unwrap().is_none());
    assert_eq!(table.apply([]).unwrap().id(), table.newest().id());
    for how in 0..2 {
        let mut builder = table.builder();
        assert!(builder.is_empty());
        builder.add(1, &slot(1, Some(2)));
        assert_eq!(builder.len(), 1);
        let built = builder.finish().unwrap().unwrap();
        assert!(built.bytes_written() > 8192 && names(&disk).len() == before.len() + 1);
        if how == 0 {
            table.abandon(built);
        }
        // Dropped otherwise.
    }
    apply(&table, mixed, &vec![(1, Some(1))]).unwrap();
    let before = names(&disk);
    let mut job = table.plan(true).unwrap();
    assert!(table.is_merging() && table.plan(true).is_none() && table.plan_rewrite().is_none());
    while !job.step(&mut Keys::default()).unwrap() {}
    assert!(names(&disk).len() > before.len());
    drop(job.finish());
    assert_eq!(names(&disk), before);
    assert!(!table.is_merging() && table.plan(true).is_some());
}

#[test]
fn unknown_files_and_newer_generations_are_set_aside_and_go_after_a_clean_close() {
    let disk = SimDisk::new(1);
    let table = open(&disk, &options()).unwrap();
    let first = apply(&table, mixed, &vec![(1, Some(1))]).unwrap().id();
    let second = apply(&table, mixed, &vec![(2, Some(2))]).unwrap();
    let newer: Vec<Name> = second.files().iter().map(|(name, _)| *name).collect();
    disk.write_file(Name::new(RUN, 0x99), b"unknown");
    disk.write_file("notes.txt", b"foreign");
    drop(table);
    let table = open_at(&disk, &options(), At::Generation(first)).unwrap();
    let bad = |name: Name| name.quarantine().to_string();
    let mut expected: BTreeSet<String> = names_of(&table);
    let known = expected.clone();
    expected.extend(newer.iter().filter(|n| !known.contains(&n.to_string())).map(|n| bad(*n)));
    expected.extend([bad(Name::new(RUN, 0x99)), "notes.txt".into()]);
    assert_eq!(names(&disk), expected, "older records are gone");
    let mut quarantined = table.quarantined().to_vec();
    quarantined.sort();
    let set_aside: Vec<_> = expected.iter().filter(|n| n.ends_with(".bad")).cloned().collect();
    assert_eq!(quarantined, set_aside);
    // The next id is above all that was seen.
    let third = apply(&table, mixed, &vec![(3, Some(3))]).unwrap().id();
    assert!(third > 0x99);
    table.release(first);
    drop(table);
    let reopen = |leftovers| {
        Table::open(disk.root(), &Env::sim(1).env, options(), At::Generation(third), leftovers)
    };
    let table = reopen(Leftovers::Keep).unwrap();
    assert!(table.quarantined().is_empty());
    assert!(names(&disk).is_superset(&set_aside.iter().cloned().collect()));
    drop(table);
    let table = reopen(Leftovers::Remove).unwrap();
    let mut left = names_of(&table);
    left.insert("notes.txt".into());
    assert_eq!(names(&disk), left);
    let image = disk.crash(ImageKind::SyncedOnly, 1);
    assert_eq!(open(&image, &options()).unwrap().newest().id(), third);
    let model = Model::from([(1, 1), (3, 3)]);
    judge(&table.newest(), mixed, &model, 5);
}

#[test]
fn a_leftover_whose_id_the_record_does_not_bound_stays() {
    let disk = SimDisk::new(1);
    drop(open(&disk, &options()).unwrap());
    let left = Name::new(RUN, 0x77).quarantine();
    disk.write_file(left, b"");
    let env = Env::sim(1).env;
    let table = Table::open(disk.root(), &env, options(), At::Latest, Leftovers::Remove).unwrap();
    assert!(names(&disk).contains(&left.to_string()));
    let id = apply(&table, mixed, &vec![(1, Some(1))]).unwrap().id();
    assert!(id > 0x77);
    drop(table);
    drop(Table::open(disk.root(), &env, options(), At::Latest, Leftovers::Remove).unwrap());
    assert!(!names(&disk).contains(&left.to_string()), "now an id above it is stored");
}

#[test]
fn a_merge_of_what_was_taken_back_is_refused_and_a_crash_brings_back_whole_files_or_none() {
    let disk = SimDisk::new(1);
    let options = Options { runs_max: 2, ..options() };
    let table = open(&disk, &options).unwrap();
    let kept = apply(&table, mixed, &vec![(1, Some(1))]).unwrap();
    apply(&table, mixed, &vec![(1, Some(2))]).unwrap();
    let mut job = table.plan(true).unwrap();
    disk.record();
    table.revert(&kept).unwrap();
    while !job.step(&mut Keys::default()).unwrap() {}
    let refused = table.commit(job.finish());
    assert!(matches!(refused, Err(Error::Invalid { .. })));
    judge(&table.newest(), mixed, &Model::from([(1, 1)]), 5);
    for boundary in 0..disk.boundaries() {
        for kind in ImageKind::kinds() {
            let found = open(&disk.image(boundary, *kind, 1), &options).unwrap();
            let value = get(&found.newest(), mixed, 1).unwrap();
            assert!(value == Some(1) || value == Some(2), "{value:?}");
        }
    }
    // The next apply has the number of the one that was taken back, and is not hidden by it.
    apply(&table, mixed, &vec![(1, Some(3))]).unwrap();
    merge_all(&table, true, &mut Keys::default()).unwrap();
    judge(&table.newest(), mixed, &Model::from([(1, 3)]), 5);
}

#[test]
fn a_file_with_a_last_id_is_refused_before_anything_changes() {
    let disk = SimDisk::new(1);
    disk.write_file(Name::new(RUN, u64::MAX - 1), b"");
    let error = open(&disk, &options()).unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
    assert_eq!(disk.files().len(), 1);
}

#[test]
fn an_unfinished_first_record_makes_a_new_table() {
    let disk = SimDisk::new(1);
    disk.write_file(Name::new(GENERATION, 1), b"");
    disk.write_file(Name::new(GENERATION, 2), b"NELUHGEN");
    let table = open(&disk, &options()).unwrap();
    assert!(table.newest().id() > 2 && table.newest().is_empty());
    assert_eq!(table.quarantined().len(), 2);
}
