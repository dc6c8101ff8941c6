use vfs::sim::{At, CallKind, Fault, SimDisk, Times, What};
use vfs::write_all_at;

use super::*;

/// A check read the length of a log segment's file, a flush cut the file, and the check reported the
/// end of the file as damage. What was cut is gone, and so is what stood there.
#[test]
fn a_file_that_is_cut_while_it_is_looked_at_is_no_damage() {
    let disk = SimDisk::new(7);
    let name = Name::new(wal::SEGMENT, 1);
    let file = disk.root().create_new(name).expect("created");
    write_all_at(&*file, &[1; 456], 0).expect("written");
    assert_eq!(last_used(&*file, 456, 64 << 10).expect("it was cut"), None);
    assert_eq!(last_used(&*file, 400, 64 << 10).expect("it was cut"), Some((56, 1)));
    let at = At::Kind(CallKind::Read, disk.calls_of(CallKind::Read));
    disk.fault(Fault { at, what: What::Io, times: Times::Forever });
    last_used(&*file, 0, 456).expect_err("the disk cannot read");
}
