//! `cargo xtask disks`. Catalogue rows 78, 91 and 101 on real file systems.

use crate::program::run;

fn disks(only: &str) -> String {
    run(&["disks", "--seed", "3", "--only", only]).expect_code(0).stdout
}

#[test]
fn row_091_the_one_that_lost_its_lock_to_another_process_changes_nothing() {
    assert!(disks("lost lock").contains("lost lock: ok"));
}

/// Where nobody may mount, the report says that nothing was shown.
#[test]
fn rows_078_101_a_full_real_disk_loses_nothing_or_is_skipped_aloud() {
    let said = disks("full tmpfs Mapped/Positional/hash");
    let line = said.lines().find(|line| line.starts_with("full tmpfs")).expect("it is reported");
    assert!(line.contains(": ok, full after") || line.contains(": skipped: "), "{line}");
}
