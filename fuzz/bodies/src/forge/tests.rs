use crate::directory;
use crate::input::Input;
use crate::seeds::seeds;
use vfs::SimDisk;

/// Every file of the seeds was written by the store: forging must find each checksum and change
/// none. A file that is changed in its middle and forged is another one, and whole again.
#[test]
fn forging_what_nobody_changed_changes_nothing() {
    let mut judged = 0;
    for (_, name, input) in seeds().iter().filter(|(target, ..)| *target == "db_open") {
        let mut raw = Input::new(input);
        raw.u8();
        raw.part();
        let (plain, forged) = (SimDisk::new(1), SimDisk::new(1));
        directory::unpack(&mut raw.clone(), false, &plain);
        directory::unpack(&mut raw, true, &forged);
        for (path, len) in plain.files() {
            let same = plain.read_file(&path) == forged.read_file(&path);
            assert!(same, "{path} of {len} bytes in {name} is another after forging");
            judged += 1;
        }
    }
    assert!(judged > 40, "{judged} files were judged");
}

#[test]
fn all_seeds_that_are_whole_files_are_sound_after_forging() {
    let names: std::collections::BTreeSet<&str> =
        seeds().iter().map(|(target, ..)| *target).collect();
    let all: Vec<&str> = crate::targets::TARGETS.iter().map(|target| target.name).collect();
    assert!(all.iter().all(|name| names.contains(name)), "a target without seeds: {names:?}");
}
