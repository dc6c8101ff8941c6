//! A directory of forged files, opened, and then calls: no panic, no hang, no end of memory; what
//! `check` calls sound is read without an error, and again after a clean close. Rows 38, 68 to 74.

use engine::{Db, Durability, KeyspaceOptions, Options, ReadMode};
use vfs::{Env, SimDisk};

use crate::directory;
use crate::input::Input;
use crate::limits::bounded;
use crate::verdict::clear_of_engine;

const CALLS_MAX: usize = 40;

/// What seeds are made with and inputs opened with.
pub(crate) fn options(control: u8) -> Options {
    let kind = match control & 2 {
        0 => KeyspaceOptions::btree(),
        _ => KeyspaceOptions::hash(),
    };
    let read_mode = if control & 4 == 0 { ReadMode::Mapped } else { ReadMode::Positional };
    Options::default()
        .default_keyspace(kind)
        .read_mode(read_mode)
        .durability(Durability::Never)
        .memtable_bytes(16 << 10)
        .segment_bytes(4096)
        .log_bytes(16 << 10)
        .table_bytes(4096)
        .inline_max(64)
        .level0_files(2)
        .level0_files_max(3)
        .level1_bytes(8192)
        .level_multiplier(2)
        .total_garbage_max(0.05)
        .advised_garbage(0.1)
        .reserve_bytes(0)
}

/// The body.
pub(crate) fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let control = input.u8();
    let mut calls = input.part();
    let disk = SimDisk::new(1);
    let total = directory::unpack(&mut input, control & 1 == 0, &disk);
    bounded(total, || use_store(&disk, &options(control), &mut calls));
}

fn use_store(disk: &SimDisk, options: &Options, calls: &mut Input<'_>) {
    let sim = Env::sim(1);
    let Some(db) = clear_of_engine(Db::open_on(disk.root(), sim.env.clone(), options.clone()))
    else {
        return;
    };
    directory::read(&db);
    let is_sound = clear_of_engine(db.check()).is_some_and(|report| report.is_sound());
    let names = clear_of_engine(db.keyspaces()).unwrap_or_default();
    if is_sound {
        for (name, _) in &names {
            let found = directory::contents(&db, name);
            assert!(found.is_some(), "check found nothing, but {name} cannot be read");
        }
    }
    for _ in 0..CALLS_MAX {
        if calls.is_empty() {
            break;
        }
        let name = names.get(calls.below(4)).map_or("new", |(name, _)| name.as_str());
        let Some(keyspace) = directory::keyspace(&db, name) else { continue };
        let call = calls.u8();
        match call % 10 {
            0 => drop(clear_of_engine(keyspace.put(calls.short(), calls.short()))),
            1 => drop(clear_of_engine(keyspace.put(calls.short(), vec![call; 700]))),
            2 => drop(clear_of_engine(keyspace.delete(calls.short()))),
            3 => drop(clear_of_engine(keyspace.get(calls.short()))),
            4 => drop(clear_of_engine(db.flush())),
            5 => drop(clear_of_engine(db.compact())),
            6 => drop(clear_of_engine(db.collect_garbage())),
            7 => {
                let (key, old) = (calls.short(), calls.short());
                clear_of_engine(keyspace.compare_and_swap(key, Some(old), Some(b"swapped")));
            }
            8 => drop(sim.spawner.step_one(call.into())),
            _ => drop(clear_of_engine(db.check())),
        }
    }
    directory::read(&db);
    clear_of_engine(db.close());
    let again = Db::open_on(disk.root(), sim.env.clone(), options.clone());
    if let Some(db) = clear_of_engine(again) {
        directory::read(&db);
    }
}
