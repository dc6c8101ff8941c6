//! What both file systems promise, one sentence per test.

use std::io::IoSlice;
use std::sync::Arc;

use vfs::{
    Access, Advice, Bytes, Error, FILE_LEN_MAX, File, Fs, Name, Preallocation, read_exact_at,
    write_all_at,
};

use crate::bed::{Bed, TABLE, name};

fn create(fs: &Arc<dyn Fs>, id: u64, bytes: &[u8]) -> Arc<dyn File> {
    let file = fs.create_new(name(id)).expect("created");
    write_all_at(&*file, bytes, 0).expect("written");
    file
}

fn content(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.len().expect("a length")).expect("small")];
    read_exact_at(file, &mut bytes, 0).expect("read");
    bytes
}

fn names(fs: &Arc<dyn Fs>) -> Vec<Name> {
    let mut names: Vec<_> =
        fs.list().expect("listed").entries.into_iter().map(|e| e.name).collect();
    names.sort();
    names
}

#[track_caller]
fn assert_invalid<T: std::fmt::Debug>(result: vfs::Result<T>) {
    assert!(matches!(result, Err(Error::Invalid { .. })), "{result:?} should be Invalid");
}

#[track_caller]
fn assert_not_found<T: std::fmt::Debug>(result: vfs::Result<T>) {
    assert!(matches!(result, Err(Error::NotFound { .. })), "{result:?} should be NotFound");
}

#[test]
fn what_is_written_is_read_and_holes_are_zeros() {
    for bed in Bed::all() {
        let file = create(&bed.open(), 1, b"lotus");
        write_all_at(&*file, b"root", 10).expect("written");
        assert_eq!(content(&*file), b"lotus\0\0\0\0\0root");
        assert_eq!(file.len().expect("a length"), 14);
        assert!(!file.is_empty().expect("a length"));

        let mut bytes = [7; 4];
        assert_eq!(file.read_at(&mut bytes, 14).expect("at the end"), 0);
        assert_eq!(file.read_at(&mut bytes, 1 << 40).expect("far behind it"), 0);
        assert_eq!(file.read_at(&mut bytes, 12).expect("across the end"), 2);
        assert_eq!(&bytes[..2], b"ot");
        assert_eq!(file.read_at(&mut [], 0).expect("nothing"), 0);
    }
}

#[test]
fn a_read_past_the_end_is_corrupt_and_names_where_the_file_ends() {
    for bed in Bed::all() {
        let file = create(&bed.open(), 1, b"lotus");
        let error = read_exact_at(&*file, &mut [0; 8], 2).expect_err("too short");
        let Error::Corrupt { offset, expected, found, path, .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!((offset, expected, found), (5, 10, 5));
        assert_eq!(path, file.path());
    }
}

#[test]
fn several_buffers_are_written_one_behind_the_other() {
    for bed in Bed::all() {
        let file = create(&bed.open(), 1, b"");
        let parts = [IoSlice::new(b"lo"), IoSlice::new(b""), IoSlice::new(b"tus")];
        assert_eq!(file.write_at(&parts, 3).expect("written"), 5);
        assert_eq!(content(&*file), b"\0\0\0lotus");
        assert_eq!(file.write_at(&[], 100).expect("nothing to do"), 0);
        assert_eq!(file.len().expect("a length"), 8);
        // More buffers than a system takes in one call.
        let parts = vec![IoSlice::new(b"x"); 3000];
        let count = file.write_at(&parts, 0).expect("written");
        assert!(0 < count && count <= 3000);
    }
}

#[test]
fn offsets_beyond_the_longest_file_are_invalid_and_poison_nothing() {
    for bed in Bed::all() {
        let file = create(&bed.open(), 1, b"lotus");
        assert_invalid(file.read_at(&mut [0; 2], FILE_LEN_MAX));
        assert_invalid(file.read_at(&mut [0; 2], u64::MAX));
        assert_invalid(file.write_at(&[IoSlice::new(b"ab")], FILE_LEN_MAX - 1));
        assert_invalid(file.truncate(FILE_LEN_MAX + 1));
        assert_invalid(file.preallocate(u64::MAX, 2));
        assert_invalid(file.map(FILE_LEN_MAX));
        write_all_at(&*file, b"L", 0).expect("not poisoned");
        file.sync_data().expect("not poisoned");
        assert_eq!(content(&*file), b"Lotus");
    }
}

#[test]
fn row_064_files_beyond_4_gib_keep_every_byte_in_its_place() {
    for bed in Bed::all() {
        let file = create(&bed.open(), 1, b"");
        let borders = [0, (1_u64 << 32) - 3, (1 << 32) + 4096, 1 << 33];
        for (index, offset) in borders.into_iter().enumerate() {
            write_all_at(&*file, format!("mark {index}").as_bytes(), offset).expect("written");
        }
        assert_eq!(file.len().expect("a length"), (1 << 33) + 6);
        for (index, offset) in borders.into_iter().enumerate() {
            let mut bytes = [0; 6];
            read_exact_at(&*file, &mut bytes, offset).expect("read");
            assert_eq!(bytes, *format!("mark {index}").as_bytes());
        }
        let mut bytes = [1; 8];
        read_exact_at(&*file, &mut bytes, 1 << 31).expect("read");
        assert_eq!(bytes, [0; 8]);
    }
}

#[test]
fn nothing_that_exists_is_overwritten_by_a_create_a_link_or_a_rename() {
    for bed in Bed::all() {
        let fs = bed.open();
        create(&fs, 1, b"one");
        create(&fs, 2, b"two");
        assert_invalid(fs.create_new(name(1)));
        assert_invalid(fs.create_dir(name(1)));
        assert_invalid(fs.rename(name(1), name(2)));
        assert_invalid(fs.rename(name(1), name(1)));
        assert_invalid(fs.link(name(1), &*fs, name(2)));
        let file = |id| fs.open(name(id), Access::Read).expect("still there");
        assert_eq!(content(&*file(1)), b"one");
        assert_eq!(content(&*file(2)), b"two");
    }
}

#[test]
fn what_does_not_exist_is_not_found() {
    for bed in Bed::all() {
        let fs = bed.open();
        assert_not_found(fs.open(name(1), Access::Read));
        assert_not_found(fs.open(name(1), Access::ReadWrite));
        assert_not_found(fs.rename(name(1), name(2)));
        assert_not_found(fs.link(name(1), &*fs, name(2)));
        assert_not_found(fs.remove(name(1)));
        assert_not_found(fs.open_dir(name(1)));
        assert_not_found(fs.remove_dir(name(1)));
        assert_eq!(names(&fs), []);
    }
}

#[test]
fn a_renamed_file_is_found_under_its_new_name_only() {
    for bed in Bed::all() {
        let fs = bed.open();
        let file = create(&fs, 1, b"lotus");
        fs.rename(name(1), name(2).quarantine()).expect("renamed");
        assert_eq!(names(&fs), [name(2).quarantine()]);
        write_all_at(&*file, b"L", 0).expect("the handle lives on");
        let again = fs.open(name(2).quarantine(), Access::Read).expect("opened");
        assert_eq!(content(&*again), b"Lotus");
    }
}

#[test]
fn a_linked_file_has_two_names_and_one_content() {
    for bed in Bed::all() {
        let fs = bed.open();
        let file = create(&fs, 1, b"lotus");
        let backup = fs.create_dir(name(9)).expect("created");
        fs.link(name(1), &*backup, name(1)).expect("linked");
        fs.link(name(1), &*fs, name(2)).expect("linked");
        fs.remove(name(1)).expect("removed");
        write_all_at(&*file, b"L", 0).expect("written");
        for other in [fs.open(name(2), Access::Read), backup.open(name(1), Access::Read)] {
            assert_eq!(content(&*other.expect("opened")), b"Lotus");
        }
    }
    let [std, sim] = Bed::all();
    create(&std.open(), 1, b"lotus");
    create(&sim.open(), 1, b"lotus");
    assert_invalid(std.open().link(name(1), &*sim.open(), name(2)));
    assert_invalid(sim.open().link(name(1), &*std.open(), name(2)));
}

#[test]
fn a_removed_file_stays_readable_through_handles_and_mappings() {
    for bed in Bed::all() {
        let fs = bed.open();
        let file = create(&fs, 1, b"lotus");
        let map = file.map(5).expect("mapped");
        fs.remove(name(1)).expect("removed");
        fs.sync_dir().expect("synced");
        assert_eq!(names(&fs), []);
        assert_eq!(content(&*file), b"lotus");
        file.sync_all().expect("synced");
        drop(file);
        drop(fs);
        assert_eq!(map, "lotus");
    }
}

#[test]
fn row_111_listings_hold_exactly_the_legal_names_and_report_the_others() {
    for bed in Bed::all() {
        let fs = bed.open();
        create(&fs, 0x12, b"lotus");
        fs.create_dir(name(3)).expect("created");
        let lock = fs.lock().expect("locked");
        let foreign = [
            "0000000000000012.tbl.1",
            "0000000000000012.tbl.bak",
            "0000000000000012.TBL",
            "000000000000001A.tbl",
            "00000000000000012.tbl",
            "12.tbl",
            "lock",
            "0000000000000012",
            "0000000000000012.bad",
            ".0000000000000012.tbl",
        ];
        for text in foreign {
            bed.plant_file(text, b"foreign");
        }
        bed.plant_symlink("0000000000000077.tbl");
        let mut listing = fs.list().expect("listed");
        listing.entries.sort();
        let entry = |id, is_dir, len| vfs::DirEntry { name: name(id), is_dir, len };
        assert_eq!(listing.entries, [entry(3, true, 0), entry(0x12, false, 5)]);
        let mut expected = Vec::from(foreign.map(str::to_owned));
        expected.push("0000000000000077.tbl".to_owned());
        expected.sort();
        listing.foreign.sort();
        assert_eq!(listing.foreign, expected);
        drop(lock);
    }
}

#[test]
fn row_074_symbolic_links_are_refused_everywhere() {
    for bed in Bed::all() {
        let fs = bed.open();
        bed.plant_symlink(&name(1).to_string());
        assert_invalid(fs.open(name(1), Access::Read));
        assert_invalid(fs.open(name(1), Access::ReadWrite));
        assert_invalid(fs.create_new(name(1)));
        assert_invalid(fs.open_dir(name(1)));
        assert_invalid(fs.rename(name(1), name(2)));
        assert_invalid(fs.link(name(1), &*fs, name(2)));
        assert_invalid(fs.remove(name(1)));
        bed.plant_symlink("LOCK");
        assert_invalid(fs.lock());
    }
}

#[test]
fn files_and_directories_are_not_taken_for_each_other() {
    for bed in Bed::all() {
        let fs = bed.open();
        create(&fs, 1, b"lotus");
        fs.create_dir(name(2)).expect("created");
        assert_invalid(fs.open_dir(name(1)));
        assert_invalid(fs.remove_dir(name(1)));
        assert_invalid(fs.open(name(2), Access::Read));
        assert_invalid(fs.open(name(2), Access::ReadWrite));
        assert_invalid(fs.remove(name(2)));
        assert_invalid(fs.rename(name(2), name(3)));
        assert_invalid(fs.link(name(2), &*fs, name(3)));
        assert_eq!(names(&fs), [name(1), name(2)]);
    }
}

#[test]
fn directories_nest_and_only_empty_ones_are_removed() {
    for bed in Bed::all() {
        let fs = bed.open();
        let outer = fs.create_dir(name(1)).expect("created");
        let inner = outer.create_dir(name(1)).expect("created");
        create(&inner, 1, b"lotus");
        assert_invalid(fs.create_dir(name(1)));
        assert_invalid(outer.remove_dir(name(1)));
        let inner = fs.open_dir(name(1)).and_then(|fs| fs.open_dir(name(1))).expect("opened");
        assert_eq!(names(&inner), [name(1)]);
        inner.remove(name(1)).expect("removed");
        inner.sync_dir().expect("synced");
        outer.remove_dir(name(1)).expect("removed");
        assert_not_found(inner.create_new(name(5)));
        assert_not_found(outer.open_dir(name(1)));
        assert_eq!(names(&outer), []);
        outer.sync_dir().expect("synced");
        assert!(outer.path().ends_with(name(1).to_string()));
    }
}

#[test]
fn writes_through_a_reading_handle_are_refused() {
    for bed in Bed::all() {
        let fs = bed.open();
        create(&fs, 1, b"lotus");
        let file = fs.open(name(1), Access::Read).expect("opened");
        assert_invalid(file.write_at(&[IoSlice::new(b"x")], 0));
        assert_invalid(file.truncate(0));
        assert_invalid(file.preallocate(0, 100));
        assert_invalid(file.map_append(0, 5));
        file.sync_data().expect("recovery syncs what it only reads");
        assert_eq!(content(&*file), b"lotus");
    }
}

#[test]
fn truncate_cuts_and_grows_by_zeros() {
    for bed in Bed::all() {
        let fs = bed.open();
        let bytes = vec![0xee; 300_000];
        let file = create(&fs, 1, &bytes);
        for len in [299_999, 262_144, 140_000, 8192, 8191, 4097, 4096, 1] {
            file.truncate(len).expect("cut");
            file.truncate(200_000).expect("grown");
            let now = content(&*file);
            let len = usize::try_from(len).expect("small");
            assert!(now[..len.min(200_000)].iter().all(|b| *b == 0xee), "{len}");
            assert!(now[len.min(200_000)..].iter().all(|b| *b == 0), "{len}");
            file.truncate(len as u64).expect("cut");
        }
        file.truncate(0).expect("cut");
        assert!(file.is_empty().expect("a length"));
    }
}

#[test]
fn row_006_preallocation_grows_by_zeros_and_keeps_what_is_there() {
    for bed in Bed::all() {
        let fs = bed.open();
        let file = create(&fs, 1, b"lotus");
        file.preallocate(2, 10_000).expect("reserved");
        assert_eq!(file.len().expect("a length"), 10_002);
        file.preallocate(0, 5).expect("inside");
        file.preallocate(50, 0).expect("nothing");
        assert_eq!(file.len().expect("a length"), 10_002);
        let bytes = content(&*file);
        assert_eq!(&bytes[..5], b"lotus");
        assert!(bytes[5..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn the_preallocation_probe_leaves_nothing_behind() {
    for bed in Bed::all() {
        let fs = bed.open();
        let first = fs.preallocation().expect("probed");
        assert_eq!(fs.preallocation().expect("known"), first);
        let listing = fs.list().expect("listed");
        assert!(listing.entries.is_empty() && listing.foreign.is_empty());
        assert!(fs.free_space().expect("asked") > 1 << 20);
    }
}

#[test]
fn row_075_a_mapping_longer_than_the_file_is_refused() {
    for bed in Bed::all() {
        let file = create(&bed.open(), 1, b"lotus");
        assert_invalid(file.map(6));
        assert_invalid(file.map(u64::MAX));
        assert_invalid(file.map_append(0, 6));
        assert_invalid(file.map_append(6, 5));
        assert_eq!(file.map(3).expect("mapped"), "lot");
        assert_eq!(file.map(0).expect("mapped"), "");
    }
}

#[test]
fn a_mapping_outlives_its_handle_and_its_slices_share_it() {
    for bed in Bed::all() {
        let file = create(&bed.open(), 1, b"lotus root");
        file.advise(0, 10, Advice::WillNeed);
        file.advise(0, 0, Advice::Random);
        file.advise(0, 10, Advice::WriteBack);
        file.advise(0, 0, Advice::WriteBack);
        let map: Bytes = file.map(10).expect("mapped");
        drop(file);
        let slice = map.slice(6..);
        drop(map);
        assert_eq!(slice, "root");
    }
}

#[test]
fn an_append_mapping_shows_what_was_appended_and_nothing_else() {
    for bed in Bed::all() {
        let fs = bed.open();
        let file = create(&fs, 1, b"head");
        file.preallocate(0, 10_000).expect("reserved");
        let map = file.map_append(4, 10_000).expect("mapped");
        assert_eq!((map.end(), map.capacity()), (4, 10_000));
        assert_eq!(map.path(), file.path());
        assert_eq!(map.read(0, 4).expect("before the start"), "head");
        assert_invalid(map.read(2, 3));

        map.append(b"lotus").expect("appended");
        let early = map.read(4, 5).expect("written");
        map.append(&[7; 9_000]).expect("appended");
        assert_eq!(map.end(), 9_009);
        assert_eq!(map.read(9_009, 0).expect("nothing"), "");
        assert_invalid(map.read(9_009, 1));
        assert_invalid(map.read(u64::MAX, 2));
        assert_invalid(map.append(&[1; 992]));
        assert_eq!(map.end(), 9_009);
        map.append(&[1; 991]).expect("exactly full");
        map.append(b"").expect("nothing more");
        assert_invalid(map.append(b"x"));
        map.sync().expect("synced");

        // Other handles see it, and what was handed out outlives everything.
        let bytes = content(&*fs.open(name(1), Access::Read).expect("opened"));
        assert_eq!(&bytes[..9], b"headlotus");
        assert_eq!(&bytes[9_009..], &[1; 991]);
        drop((map, file, fs));
        assert_eq!(early, "lotus");
    }
}

#[test]
fn row_091_a_second_lock_is_refused_until_the_first_is_dropped() {
    for bed in Bed::all() {
        let fs = bed.open();
        let lock = fs.lock().expect("locked");
        assert!(lock.path().ends_with("LOCK"));
        assert!(matches!(fs.lock(), Err(Error::Locked { .. })), "the same handle");
        assert!(matches!(bed.open().lock(), Err(Error::Locked { .. })), "another handle");
        lock.verify().expect("held");
        drop(lock);
        bed.open().lock().expect("free again").verify().expect("held");
    }
}

#[test]
fn row_091_a_lock_file_that_was_removed_is_noticed() {
    for bed in Bed::all() {
        let fs = bed.open();
        let lock = fs.lock().expect("locked");
        bed.remove("LOCK");
        assert!(matches!(lock.verify(), Err(Error::Locked { .. })), "gone");
        let second = bed.open().lock().expect("a new file");
        second.verify().expect("held");
        assert!(matches!(lock.verify(), Err(Error::Locked { .. })), "another one");
        drop(lock);
        assert!(matches!(fs.lock(), Err(Error::Locked { .. })), "the second is still held");
    }
}

#[test]
fn locks_of_different_directories_are_independent() {
    for bed in Bed::all() {
        let fs = bed.open();
        let _outer = fs.lock().expect("locked");
        let _inner = fs.create_dir(name(1)).expect("created").lock().expect("locked");
        assert!(matches!(fs.open_dir(name(1)).expect("opened").lock(), Err(Error::Locked { .. })));
    }
}

#[test]
fn a_file_opened_twice_shows_one_content_and_keeps_two_poisons() {
    for bed in Bed::all() {
        let fs = bed.open();
        let one = create(&fs, 1, b"lotus");
        let two = fs.open(name(1), Access::ReadWrite).expect("opened");
        write_all_at(&*two, b"L", 0).expect("written");
        assert_eq!(content(&*one), b"Lotus");
    }
}

#[test]
fn names_of_every_legal_kind_are_files() {
    for bed in Bed::all() {
        let fs = bed.open();
        let mut all = Vec::new();
        for kind in ["a", "abcdefgh", "tbl"] {
            for id in [0, 1, u64::MAX] {
                let name = Name::new(vfs::Kind::new(kind), id);
                all.extend([name, name.quarantine()]);
            }
        }
        for name in &all {
            fs.create_new(*name).expect("created");
        }
        all.sort();
        assert_eq!(names(&fs), all);
        assert_eq!(TABLE.as_str(), "tbl");
    }
}

#[test]
fn preallocated_space_where_it_is_reserved_can_be_mapped_and_filled() {
    for bed in Bed::all() {
        let fs = bed.open();
        if fs.preallocation().expect("probed") == Preallocation::LengthOnly {
            continue; // scratch directories on such file systems are not what we test here
        }
        let file = create(&fs, 1, b"");
        file.preallocate(0, 1 << 16).expect("reserved");
        let map = file.map_append(0, 1 << 16).expect("mapped");
        map.append(&vec![9; 1 << 16]).expect("filled");
        map.sync().expect("synced");
        assert_eq!(content(&*file), vec![9; 1 << 16]);
    }
}
