//! What a medium does to files at rest.

use std::sync::Arc;

use vfs::sim::{Damage, ImageKind};
use vfs::{Access, File, Fs, SimDisk, read_exact_at, write_all_at};

use crate::bed::name;

/// Two sectors, written and synced three times over, and a second file.
fn disk() -> SimDisk {
    let disk = SimDisk::new(1);
    disk.remember();
    let fs = disk.root();
    let file = fs.create_new(name(1)).expect("created");
    for byte in [b'a', b'b', b'c'] {
        write_all_at(&*file, &[byte; 512], 0).expect("written");
        file.sync_data().expect("synced");
    }
    write_all_at(&*file, &[b'x'; 512], 512).expect("written");
    file.sync_data().expect("synced");
    let other = fs.create_new(name(2)).expect("created");
    write_all_at(&*other, &[b'z'; 1024], 0).expect("written");
    other.sync_data().expect("synced");
    fs.sync_dir().expect("synced");
    disk.crash(ImageKind::SyncedOnly, 1)
}

fn bytes(disk: &SimDisk, id: u64) -> Vec<u8> {
    disk.read_file(name(id)).expect("it is there")
}

fn open(disk: &SimDisk, id: u64) -> (Arc<dyn Fs>, Arc<dyn File>) {
    let fs = disk.root();
    let file = fs.open(name(id), Access::Read).expect("it is there");
    (fs, file)
}

#[test]
fn row_073_a_lost_write_leaves_what_the_sector_held_before_it() {
    let disk = disk();
    disk.corrupt(name(1), &Damage::Lost { offset: 0, len: 512 });
    let expected = [[b'b'; 512], [b'x'; 512]].concat();
    assert_eq!(bytes(&disk, 1), expected, "the write before the last");
    // The second sector was written once: there was nothing before it.
    disk.corrupt(name(1), &Damage::Lost { offset: 512, len: 512 });
    assert_eq!(bytes(&disk, 1)[512..], [0; 512]);
}

#[test]
fn row_073_a_lost_write_to_a_fresh_block_leaves_the_bytes_of_a_file_that_is_no_more() {
    let disk = SimDisk::new(1);
    let fs = disk.root();
    let old = fs.create_new(name(7)).expect("created");
    write_all_at(&*old, &[b'o'; 2048], 0).expect("written");
    old.sync_data().expect("synced");
    fs.sync_dir().expect("synced");
    drop(old);
    fs.remove(name(7)).expect("removed");
    fs.sync_dir().expect("synced");
    disk.write_file(name(1), &[b'n'; 1024]);
    disk.corrupt(name(1), &Damage::Lost { offset: 512, len: 512 });
    assert_eq!(bytes(&disk, 1), [[b'n'; 512], [b'o'; 512]].concat());
}

#[test]
fn row_073_a_misdirected_write_is_missing_here_and_stands_there() {
    let disk = disk();
    let to = name(2).to_string();
    disk.corrupt(name(1), &Damage::Misdirected { offset: 0, len: 512, to, at: 512 });
    assert_eq!(bytes(&disk, 1)[..512], [b'b'; 512]);
    assert_eq!(bytes(&disk, 2), [[b'z'; 512], [b'c'; 512]].concat());
    let to = name(1).to_string();
    disk.corrupt(name(1), &Damage::Misdirected { offset: 512, len: 512, to, at: 1024 });
    assert_eq!(bytes(&disk, 1).len(), 1536, "the file grows when it is written behind its end");
    assert_eq!(bytes(&disk, 1)[1024..], [b'x'; 512]);
}

#[test]
fn row_073_blocks_of_two_files_change_places() {
    let disk = disk();
    let with = name(2).to_string();
    disk.corrupt(name(1), &Damage::SwapWith { offset: 512, with, at: 0, len: 512 });
    assert_eq!(bytes(&disk, 1), [[b'c'; 512], [b'z'; 512]].concat());
    assert_eq!(bytes(&disk, 2), [[b'x'; 512], [b'z'; 512]].concat());
}

#[test]
fn a_file_is_copied_and_replaced_and_the_copies_are_apart() {
    let disk = disk();
    disk.corrupt(name(1), &Damage::CopyTo { path: name(3).to_string() });
    disk.corrupt(name(1), &Damage::FlipBit { offset: 0, bit: 0 });
    assert_eq!(bytes(&disk, 3)[..512], [b'c'; 512]);
    disk.corrupt(name(1), &Damage::ReplaceBy { other: name(2).to_string() });
    assert_eq!(bytes(&disk, 1), [b'z'; 1024]);
    disk.corrupt(name(2), &Damage::Zero { offset: 0, len: 1024 });
    assert_eq!(bytes(&disk, 1), [b'z'; 1024]);
}

#[test]
fn a_transient_flip_is_seen_by_one_read_and_not_by_the_next() {
    let disk = disk();
    disk.corrupt(name(1), &Damage::FlipOnce { offset: 100, bit: 3 });
    let (_fs, file) = open(&disk, 1);
    let mut buffer = [0; 50];
    read_exact_at(&*file, &mut buffer, 0).expect("read");
    assert_eq!(buffer, [b'c'; 50], "the read does not meet the bit");
    let mut buffer = [0; 60];
    read_exact_at(&*file, &mut buffer, 50).expect("read");
    assert_eq!(buffer[50], b'c' ^ 8);
    read_exact_at(&*file, &mut buffer, 50).expect("read");
    assert_eq!(buffer, [b'c'; 60]);
    assert_eq!(bytes(&disk, 1)[100], b'c', "the medium is sound");
}

#[test]
fn a_transient_flip_is_seen_through_one_mapping_and_not_through_the_next() {
    let disk = disk();
    disk.corrupt(name(1), &Damage::FlipOnce { offset: 600, bit: 0 });
    let (_fs, file) = open(&disk, 1);
    assert_eq!(file.map(512).expect("mapped")[..], [b'c'; 512]);
    let map = file.map(1024).expect("mapped");
    assert_eq!((map[600], map[601]), (b'x' ^ 1, b'x'));
    assert_eq!(file.map(1024).expect("mapped")[600], b'x');
}
