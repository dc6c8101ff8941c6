//! Crashes at every call, with every kind of image. Catalogue rows 13, 28, 82, 88, 98, 99.

use diskhash::{At, Options, ReadMode, Table};
use vfs::sim::{ImageKind, SimDisk};

use crate::bed::{
    Batch, Keys, Model, apply, apply_model, get, mixed, open, open_at, options, walk,
};

const KEYS: u64 = 500;

/// A generation and what it holds.
#[derive(Clone)]
struct State {
    id: u64,
    model: Model,
}

struct Workload {
    disk: SimDisk,
    options: Options,
    /// In the order of their commits.
    states: Vec<State>,
    /// From this boundary on so many states are acknowledged.
    acknowledged: Vec<(usize, usize)>,
}

impl Workload {
    fn commit(&mut self, id: u64, model: &Model) {
        self.states.push(State { id, model: model.clone() });
        self.acknowledged.push((self.disk.boundaries() - 1, self.states.len()));
    }

    fn acknowledged_at(&self, boundary: usize) -> usize {
        let before = self.acknowledged.iter().filter(|(from, _)| *from <= boundary);
        before.map(|(_, count)| *count).max().unwrap_or(0)
    }
}

fn batch(round: u64) -> Batch {
    let value = |key: u64| u32::try_from(round * 1000 + key).unwrap();
    let keys = (0..KEYS).filter(|key| !(key + round).is_multiple_of(3));
    keys.map(|key| (key, (!(key + round).is_multiple_of(4)).then(|| value(key)))).collect()
}

/// Applies, merges of every kind, releases that lag behind, a kill and a reopen.
fn workload(options: &Options) -> Workload {
    let disk = SimDisk::new(5);
    disk.record();
    let mut run = Workload {
        disk: disk.clone(),
        options: options.clone(),
        states: Vec::new(),
        acknowledged: Vec::new(),
    };
    let mut model = Model::new();
    let mut table = open(&disk, options).unwrap();
    run.commit(table.newest().id(), &model);
    let mut unreleased = vec![table.newest().id()];
    for round in 0..7 {
        apply_model(&mut model, &batch(round));
        let id = apply(&table, mixed, &batch(round)).unwrap().id();
        run.commit(id, &model);
        if round % 2 == 1 {
            merge(&mut run, &table, &model, round == 5, &mut unreleased);
        }
        unreleased.drain(..).for_each(|id| table.release(id));
        unreleased.push(table.newest().id());
        if round == 3 {
            disk.kill();
            table = open(&disk, options).unwrap();
            unreleased = vec![table.newest().id()];
        }
    }
    run
}

fn merge(run: &mut Workload, table: &Table, model: &Model, full: bool, unreleased: &mut Vec<u64>) {
    while let Some(mut job) = table.plan(full) {
        unreleased.push(table.newest().id());
        while !job.step(&mut Keys::default()).unwrap() {}
        let id = table.commit(job.finish()).unwrap().id();
        run.commit(id, model);
    }
}

fn require_state(table: &Table, model: &Model, what: &str) {
    let newest = table.newest();
    assert_eq!(walk(&newest).unwrap(), *model, "{what}");
    for key in (0..KEYS).step_by(41) {
        assert_eq!(get(&newest, mixed, key).unwrap(), model.get(&key).copied(), "{what}");
    }
    newest.check(&mut |_| Ok(()), &mut |error| panic!("{what}: {error}"));
}

fn ids_of(disk: &SimDisk) -> u64 {
    let files = disk.files();
    let ids = files.iter().filter_map(|(path, _)| u64::from_str_radix(path.get(..16)?, 16).ok());
    ids.max().unwrap_or(0)
}

/// Opens an image by both ways, judges it, goes on, crashes again.
fn judge_image(run: &Workload, boundary: usize, kind: ImageKind, seed: u64) {
    let what = format!("boundary {boundary}, {kind:?}, seed {seed}");
    let count = run.acknowledged_at(boundary);
    let image = run.disk.image(boundary, kind, seed);
    let seen = ids_of(&image);
    if let Some(last) = count.checked_sub(1) {
        // What is acknowledged is there by its number, and nothing newer shows.
        let State { id, model } = &run.states[last];
        let copy = image.fork(seed);
        let table = open_at(&copy, &run.options, At::Generation(*id))
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(table.newest().id(), *id, "{what}");
        require_state(&table, model, &what);
        let next = apply(&table, mixed, &batch(8)).unwrap().id();
        assert!(seen < next, "{what}: id {next} was seen before");
    }
    let table = open(&image, &run.options).unwrap_or_else(|error| panic!("{what}: {error}"));
    let id = table.newest().id();
    // The last acknowledged one, or the one that was on its way.
    let states = &run.states[count.saturating_sub(1)..run.states.len().min(count + 1)];
    let state = states.iter().find(|state| state.id == id);
    let model = match state {
        Some(state) => state.model.clone(),
        None if count == 0 => Model::new(),
        None => panic!("{what}: generation {id} is none of those that may be there"),
    };
    require_state(&table, &model, &what);
    let mut model = model;
    apply_model(&mut model, &batch(9));
    let next = apply(&table, mixed, &batch(9)).unwrap().id();
    assert!(seen < next && id < next, "{what}: id {next} was seen before");
    // Row 28: what is acknowledged is there when nothing unsynced is kept.
    let again = open(&image.crash(ImageKind::SyncedOnly, seed), &run.options)
        .unwrap_or_else(|error| panic!("{what}, again: {error}"));
    assert_eq!(again.newest().id(), next, "{what}");
    require_state(&again, &model, &what);
}

fn every_image(options: &Options) {
    let run = workload(options);
    let boundaries = run.disk.boundaries();
    assert!(run.states.len() > 10 && boundaries > 80, "{} {boundaries}", run.states.len());
    for boundary in 0..boundaries {
        for kind in ImageKind::kinds() {
            judge_image(&run, boundary, *kind, boundary as u64);
        }
    }
}

#[test]
fn row_099_a_crash_at_any_call_leaves_the_last_commit_or_the_one_on_its_way() {
    every_image(&options());
}

#[test]
fn row_098_mapped_tables_survive_a_kill_at_any_call_from_the_first_on() {
    every_image(&Options { read_mode: ReadMode::Mapped, runs_max: 2, ..options() });
}

// Rows 13 and 82.
#[test]
fn a_crash_at_any_call_of_recovery_changes_nothing() {
    let run = workload(&options());
    for boundary in (0..run.disk.boundaries()).step_by(9) {
        for kind in [
            ImageKind::Everything,
            ImageKind::RandomSectors { keep_percent: 50 },
            ImageKind::NamesSubset,
            ImageKind::CallPrefix,
        ] {
            let image = run.disk.image(boundary, kind, 3);
            image.record();
            let table = open(&image, &run.options).unwrap();
            let (id, model) = (table.newest().id(), walk(&table.newest()).unwrap());
            let is_new = run.acknowledged_at(boundary) == 0;
            for crash in 0..image.boundaries() {
                for kind in ImageKind::kinds() {
                    let again = image.image(crash, *kind, 7);
                    let table = open(&again, &run.options).unwrap();
                    let what = format!("{boundary} {crash} {kind:?}");
                    assert!(is_new || table.newest().id() == id, "{what}");
                    require_state(&table, &model, &what);
                }
            }
        }
    }
}

#[test]
fn row_099_what_an_open_showed_after_a_kill_is_there_after_the_next_power_cut() {
    let run = workload(&options());
    for boundary in 0..run.disk.boundaries() {
        // The process died, the system lives: what it wrote is visible and not yet durable.
        let killed = run.disk.fork_at(boundary, 1);
        let table = open(&killed, &run.options).unwrap();
        let (id, model) = (table.newest().id(), walk(&table.newest()).unwrap());
        drop(table);
        let image = killed.crash(ImageKind::SyncedOnly, 1);
        let table = open(&image, &run.options).unwrap();
        assert_eq!(table.newest().id(), id, "boundary {boundary}");
        require_state(&table, &model, &format!("boundary {boundary}"));
    }
}
