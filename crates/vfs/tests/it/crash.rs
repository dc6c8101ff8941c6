//! What a crash leaves of a simulated disk.

use std::collections::BTreeSet;
use std::sync::Arc;

use vfs::sim::{CallKind, Damage, ImageKind};
use vfs::testing::seeds;
use vfs::{Access, Error, File, Fs, Name, Random, SimDisk, write_all_at};

use crate::bed::name;

fn create(fs: &Arc<dyn Fs>, id: u64, bytes: &[u8]) -> Arc<dyn File> {
    let file = fs.create_new(name(id)).expect("created");
    write_all_at(&*file, bytes, 0).expect("written");
    file
}

/// A disk with one durable file of 0xaa, opened for writing again.
fn one_old_file(len: usize) -> (SimDisk, Arc<dyn File>) {
    let disk = SimDisk::new(1);
    disk.write_file(name(1), &vec![0xaa; len]);
    let file = disk.root().open(name(1), Access::ReadWrite).expect("opened");
    (disk, file)
}

fn after(disk: &SimDisk, kind: ImageKind, seed: u64) -> Option<Vec<u8>> {
    disk.crash(kind, seed).read_file(name(1))
}

fn ids(disk: &SimDisk) -> Vec<u64> {
    let parse = |path: &str| Name::parse(path).expect("only legal names").id;
    disk.files().iter().map(|(path, _)| parse(path)).collect()
}

#[test]
fn row_028_a_name_is_durable_only_after_the_directory_was_synced() {
    let disk = SimDisk::new(1);
    let fs = disk.root();
    create(&fs, 1, b"lotus").sync_all().expect("synced");
    assert_eq!(after(&disk, ImageKind::SyncedOnly, 0), None);
    fs.sync_dir().expect("synced");
    assert_eq!(after(&disk, ImageKind::SyncedOnly, 0).as_deref(), Some(&b"lotus"[..]));
}

#[test]
fn row_030_bytes_are_durable_only_after_the_file_was_synced() {
    let disk = SimDisk::new(1);
    let fs = disk.root();
    let file = create(&fs, 1, b"lotus");
    fs.sync_dir().expect("synced");
    assert_eq!(after(&disk, ImageKind::SyncedOnly, 0), Some(Vec::new()));
    file.sync_data().expect("synced");
    write_all_at(&*file, b"LOTUS ROOT", 0).expect("written");
    assert_eq!(after(&disk, ImageKind::SyncedOnly, 0).as_deref(), Some(&b"lotus"[..]));
    assert_eq!(after(&disk, ImageKind::Everything, 0).as_deref(), Some(&b"LOTUS ROOT"[..]));
}

#[test]
fn row_031_a_rename_is_there_or_not_and_durable_only_after_the_directory_was_synced() {
    let disk = SimDisk::new(1);
    let fs = disk.root();
    create(&fs, 1, b"lotus").sync_data().expect("synced");
    fs.sync_dir().expect("synced");
    fs.rename(name(1), name(2)).expect("renamed");
    assert_eq!(ids(&disk.crash(ImageKind::SyncedOnly, 0)), [1]);
    assert_eq!(ids(&disk.crash(ImageKind::Everything, 0)), [2]);
    let mut seen = BTreeSet::new();
    for seed in 0..50 {
        seen.insert(ids(&disk.crash(ImageKind::NamesSubset, seed)));
    }
    assert_eq!(seen, BTreeSet::from([vec![1], vec![2]]), "never both, never none");
    fs.sync_dir().expect("synced");
    assert_eq!(ids(&disk.crash(ImageKind::SyncedOnly, 0)), [2]);
}

#[test]
fn row_025_a_removal_that_is_not_durable_brings_the_file_back() {
    let (disk, _) = one_old_file(5);
    disk.root().remove(name(1)).expect("removed");
    assert_eq!(after(&disk, ImageKind::SyncedOnly, 0), Some(vec![0xaa; 5]));
    assert_eq!(after(&disk, ImageKind::Everything, 0), None);
    disk.root().sync_dir().expect("synced");
    assert_eq!(after(&disk, ImageKind::SyncedOnly, 0), None);
}

#[test]
fn without_its_creation_a_rename_means_nothing() {
    let disk = SimDisk::new(1);
    let fs = disk.root();
    fs.create_new(name(1)).expect("created");
    fs.rename(name(1), name(2)).expect("renamed");
    let left = |mask| ids(&disk.image(0, ImageKind::Subset { mask }, 0));
    assert_eq!(disk.choices(0), 2);
    assert_eq!(
        [left(0b00), left(0b01), left(0b10), left(0b11)],
        [vec![], vec![1], vec![], vec![2]]
    );
}

#[test]
fn a_removal_or_renaming_never_hits_another_file_of_the_same_name() {
    let (disk, _) = one_old_file(3);
    let fs = disk.root();
    fs.remove(name(1)).expect("removed");
    fs.create_new(name(1)).expect("created");
    fs.rename(name(1), name(2)).expect("renamed");
    let left = |mask| disk.image(0, ImageKind::Subset { mask }, 0).files();
    let (old, new) = ((name(1).to_string(), 3), (name(1).to_string(), 0));
    assert_eq!(left(0b000), std::slice::from_ref(&old));
    assert_eq!(left(0b001), []);
    assert_eq!(
        left(0b010),
        std::slice::from_ref(&new),
        "the entry was written, so it leads to the new file"
    );
    assert_eq!(left(0b100), [old], "it is not the file that was renamed");
    assert_eq!(left(0b011), [new]);
    assert_eq!(left(0b110), [(name(2).to_string(), 0)]);

    let (disk, _) = one_old_file(3);
    let fs = disk.root();
    fs.rename(name(1), name(2)).expect("renamed");
    fs.create_new(name(1)).expect("created");
    fs.remove(name(1)).expect("removed");
    let files = disk.image(0, ImageKind::Subset { mask: 0b100 }, 0).files();
    assert_eq!(files, [(name(1).to_string(), 3)], "it is not the file that was removed");
}

#[test]
fn row_006_preallocated_space_reads_as_zeros_in_every_image() {
    let disk = SimDisk::new(1);
    let fs = disk.root();
    let file = create(&fs, 1, b"");
    fs.sync_dir().expect("synced");
    file.preallocate(0, 9000).expect("reserved");
    for kind in ImageKind::kinds() {
        for seed in 0..5 {
            let bytes = after(&disk, *kind, seed).expect("the name is durable");
            assert!(bytes.iter().all(|byte| *byte == 0), "{kind:?}");
            assert!(bytes.is_empty() || bytes.len() == 9000, "{kind:?} has {}", bytes.len());
        }
    }
    assert_eq!(after(&disk, ImageKind::SyncedOnly, 0).map(|bytes| bytes.len()), Some(0));
    file.sync_data().expect("synced");
    assert_eq!(after(&disk, ImageKind::SyncedOnly, 0).map(|bytes| bytes.len()), Some(9000));
}

#[test]
fn random_sectors_keep_or_lose_each_512_bytes() {
    let (disk, file) = one_old_file(8192);
    write_all_at(&*file, &[0xbb; 8000], 100).expect("written");
    let mut states = [false; 2];
    for seed in 0..20 {
        let kind = ImageKind::RandomSectors { keep_percent: 50 };
        let bytes = after(&disk, kind, seed).expect("durable");
        assert_eq!(bytes.len(), 8192, "nothing grew");
        for sector in bytes.chunks(512) {
            let inside = &sector[100..400]; // clear of both ends of the write
            let kept = inside[0] == 0xbb;
            assert!(inside.iter().all(|byte| *byte == inside[0]), "a sector is not torn");
            states[usize::from(kept)] = true;
        }
        assert!(bytes[..100].iter().all(|byte| *byte == 0xaa));
        assert!(bytes[8100..].iter().all(|byte| *byte == 0xaa));
    }
    assert_eq!(states, [true; 2], "both happen");
}

#[test]
fn in_random_images_lengths_grow_or_not_independently_of_bytes() {
    let (disk, file) = one_old_file(512);
    write_all_at(&*file, &[0xbb; 1024], 512).expect("written");
    let lens = |keep_percent| {
        let kind = ImageKind::RandomSectors { keep_percent };
        let lens = (0..100).map(|seed| after(&disk, kind, seed).expect("durable").len());
        lens.collect::<BTreeSet<_>>()
    };
    assert_eq!(lens(50), BTreeSet::from([512, 1024, 1536]));
    assert_eq!(lens(100), BTreeSet::from([512, 1536]), "bytes that no length reaches");
    assert_eq!(lens(0), BTreeSet::from([512, 1536]), "a length that no bytes fill");
}

#[test]
fn length_without_data_shows_zeros_behind_the_durable_end() {
    let (disk, file) = one_old_file(100);
    write_all_at(&*file, &[0xbb; 1000], 50).expect("written");
    let mut expected = vec![0xaa; 100];
    expected.resize(1050, 0);
    assert_eq!(after(&disk, ImageKind::LengthWithoutData, 0), Some(expected));
}

#[test]
fn stale_data_shows_removed_bytes_behind_the_durable_end() {
    for removal_synced in [false, true] {
        let (disk, file) = one_old_file(100);
        disk.write_file(name(2), &[0xcc; 777]);
        disk.root().remove(name(2)).expect("removed");
        if removal_synced {
            disk.root().sync_dir().expect("synced");
        }
        write_all_at(&*file, &[0xbb; 1000], 50).expect("written");
        let mut expected = vec![0xaa; 100];
        expected.resize(1050, 0xcc);
        assert_eq!(after(&disk, ImageKind::StaleData, 0), Some(expected));
    }
}

#[test]
fn the_last_write_is_torn_at_multiples_of_the_unit_and_earlier_ones_are_whole() {
    for (unit, cuts) in [(512, vec![100, 512, 1024]), (4096, vec![100]), (1, vec![])] {
        let (disk, file) = one_old_file(2000);
        write_all_at(&*file, &[0xbb; 50], 0).expect("written");
        write_all_at(&*file, &[0xcc; 1000], 100).expect("written");
        let mut seen = BTreeSet::new();
        for seed in 0..3000 {
            let bytes = after(&disk, ImageKind::LastWriteTorn { unit }, seed).expect("durable");
            assert_eq!(bytes.len(), 2000);
            assert!(bytes[..50].iter().all(|byte| *byte == 0xbb), "the earlier write");
            let cut = bytes.iter().position(|b| *b == 0xcc).map_or(100, |start| {
                start + bytes[start..].iter().take_while(|b| **b == 0xcc).count()
            });
            let front = [vec![0xbb; 50], vec![0xaa; 50], vec![0xcc; cut - 100]].concat();
            assert_eq!(bytes[..cut], front);
            assert!(bytes[cut..].iter().all(|byte| *byte == 0xaa));
            seen.insert(cut);
        }
        if unit == 1 {
            assert!(seen.len() > 800 && !seen.contains(&1100), "{seen:?}");
        } else {
            assert_eq!(seen.into_iter().collect::<Vec<_>>(), cuts);
        }
    }
}

#[test]
fn a_call_prefix_never_keeps_a_change_without_the_earlier_ones() {
    let disk = SimDisk::new(1);
    let fs = disk.root();
    for id in 1..=4 {
        create(&fs, id, b"lotus");
    }
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let files = disk.crash(ImageKind::CallPrefix, seed).files();
        let whole = files.iter().filter(|(_, len)| *len == 5).count();
        assert!(files.len() - whole <= 1, "only the last may lack its bytes");
        assert_eq!(
            files,
            disk.files()[..files.len()]
                .iter()
                .map(|(path, _)| {
                    let len = files.iter().find(|(p, _)| p == path).expect("a prefix").1;
                    (path.clone(), len)
                })
                .collect::<Vec<_>>()
        );
        seen.insert((files.len(), whole));
    }
    assert_eq!(seen.len(), 9, "every prefix of eight changes");
}

#[test]
fn row_001_the_newest_file_may_be_whole_and_the_others_not_and_the_reverse() {
    let disk = SimDisk::new(1);
    let fs = disk.root();
    create(&fs, 1, b"old");
    create(&fs, 2, b"new");
    let lens = |kind| {
        let files = disk.crash(kind, 0).files();
        files.into_iter().map(|(_, len)| len).collect::<Vec<_>>()
    };
    assert_eq!(lens(ImageKind::NewestFileWhole), [0, 3]);
    assert_eq!(lens(ImageKind::NewestFileLost), [3, 0]);
    assert_eq!(lens(ImageKind::NamesOnly), [0, 0]);
    assert_eq!(lens(ImageKind::BytesOnly), []);
    assert_eq!(lens(ImageKind::LengthWithoutData), [3, 3]);
}

#[test]
fn names_come_in_every_prefix_and_every_subset() {
    let disk = SimDisk::new(1);
    let fs = disk.root();
    for id in 1..=3 {
        create(&fs, id, b"lotus");
    }
    let collect = |kind| (0..300).map(|seed| ids(&disk.crash(kind, seed))).collect::<BTreeSet<_>>();
    let prefixes = [vec![], vec![1], vec![1, 2], vec![1, 2, 3]];
    assert_eq!(collect(ImageKind::NamesPrefix), BTreeSet::from(prefixes));
    assert_eq!(collect(ImageKind::NamesSubset).len(), 8);
}

#[test]
fn all_subsets_of_a_few_changes_can_be_enumerated() {
    let (disk, file) = one_old_file(3);
    write_all_at(&*file, b"x", 0).expect("written");
    write_all_at(&*file, b"y", 1).expect("written");
    write_all_at(&*file, b"z", 2).expect("written");
    assert_eq!(disk.choices(0), 3);
    let images = (0..8).map(|mask| {
        let bytes = after(&disk, ImageKind::Subset { mask }, 0).expect("durable");
        bytes.into_iter().map(|b| if b == 0xaa { '.' } else { char::from(b) }).collect::<String>()
    });
    let expected = ["...", "x..", ".y.", "xy.", "..z", "x.z", ".yz", "xyz"];
    assert_eq!(images.collect::<Vec<_>>(), expected);
}

#[test]
fn stores_through_a_mapping_are_one_call_per_page_and_durable_after_its_sync() {
    let disk = SimDisk::new(1);
    let fs = disk.root();
    let file = create(&fs, 1, b"");
    file.preallocate(0, 20_000).expect("reserved");
    file.sync_all().expect("synced");
    fs.sync_dir().expect("synced");
    disk.record();
    let map = file.map_append(0, 20_000).expect("mapped");
    map.append(&[0xbb; 100]).expect("appended");
    map.append(&[0xcc; 9_000]).expect("appended");
    let stores: Vec<_> = disk.trace().into_iter().filter(|c| c.kind == CallKind::Store).collect();
    let ranges: Vec<_> = stores.iter().map(|call| (call.offset, call.len)).collect();
    assert_eq!(ranges, [(0, 100), (100, 3996), (4096, 4096), (8192, 908)]);
    assert_eq!(disk.boundaries(), 5);
    assert_eq!(after(&disk, ImageKind::SyncedOnly, 0), Some(vec![0; 20_000]));

    let torn = disk.image(3, ImageKind::Everything, 0).read_file(name(1)).expect("durable");
    assert_eq!(torn.iter().filter(|byte| **byte == 0xcc).count(), 3996 + 4096);
    map.sync().expect("synced");
    let bytes = after(&disk, ImageKind::SyncedOnly, 0).expect("durable");
    assert_eq!(bytes.iter().filter(|byte| **byte == 0xcc).count(), 9_000);
}

#[test]
fn an_image_is_at_rest_and_unlike_its_disk() {
    let (disk, file) = one_old_file(3);
    write_all_at(&*file, b"x", 0).expect("written");
    let image = disk.crash(ImageKind::Everything, 0);
    for kind in ImageKind::kinds() {
        assert_eq!(image.crash(*kind, 3).fingerprint(), image.fingerprint(), "{kind:?}");
    }
    assert_eq!((image.choices(0), image.calls(), image.trace().len()), (0, 0, 0));
    let handle = image.root().open(name(1), Access::ReadWrite).expect("opened");
    write_all_at(&*handle, b"y", 0).expect("written");
    assert_eq!(disk.read_file(name(1)), Some(b"x\xaa\xaa".to_vec()));
}

#[test]
fn row_021_an_old_file_is_never_cut_and_a_new_one_may_be() {
    let (disk, file) = one_old_file(100);
    assert!(matches!(file.truncate(99), Err(Error::Invalid { .. })));
    file.truncate(100).expect("not shorter");
    file.truncate(200).expect("longer");
    file.sync_data().expect("nothing was poisoned");
    let new = create(&disk.root(), 2, b"lotus");
    new.truncate(1).expect("cut");
    // After the next start it is old as well.
    new.sync_all().expect("synced");
    let fs = disk.crash(ImageKind::Everything, 0).root();
    let again = fs.open(name(2), Access::ReadWrite).expect("opened");
    assert!(matches!(again.truncate(0), Err(Error::Invalid { .. })));
}

#[test]
fn a_file_is_not_cut_below_a_mapping_that_lives() {
    let disk = SimDisk::new(1);
    let file = create(&disk.root(), 1, b"lotus root");
    let map = file.map(5).expect("mapped");
    let slice = map.slice(1..2);
    drop(map);
    assert!(matches!(file.truncate(4), Err(Error::Invalid { .. })));
    file.truncate(5).expect("behind the mapping");
    drop(slice);
    let append = file.map_append(0, 5).expect("mapped");
    assert!(matches!(file.truncate(4), Err(Error::Invalid { .. })));
    drop(append);
    file.truncate(0).expect("nobody looks");
}

#[test]
fn a_killed_process_loses_its_handles_and_locks_and_no_bytes() {
    let (disk, file) = one_old_file(3);
    let fs = disk.root();
    let lock = fs.lock().expect("locked");
    write_all_at(&*file, b"x", 0).expect("written");
    disk.kill();
    assert!(matches!(file.len(), Err(Error::Io { .. })));
    assert!(matches!(fs.list(), Err(Error::Io { .. })));
    assert!(lock.verify().is_err());
    let fs = disk.root();
    let held = fs.lock().expect("free");
    drop((lock, file));
    assert!(matches!(disk.root().lock(), Err(Error::Locked { .. })), "the old lock frees nothing");
    drop(held);
    assert_eq!(disk.read_file(name(1)), Some(b"x\xaa\xaa".to_vec()));
    assert_eq!(after(&disk, ImageKind::SyncedOnly, 0), Some(vec![0xaa; 3]));
}

#[test]
fn a_fork_keeps_what_is_pending_and_goes_its_own_way() {
    let (disk, file) = one_old_file(3);
    write_all_at(&*file, b"x", 0).expect("written");
    let fork = disk.fork(5);
    assert_eq!(after(&fork, ImageKind::SyncedOnly, 0), Some(vec![0xaa; 3]));
    let twin = fork.root().open(name(1), Access::ReadWrite).expect("opened");
    twin.sync_data().expect("synced");
    assert_eq!(after(&fork, ImageKind::SyncedOnly, 0), Some(b"x\xaa\xaa".to_vec()));
    assert_eq!(after(&disk, ImageKind::SyncedOnly, 0), Some(vec![0xaa; 3]));
}

#[test]
fn damage_hits_the_medium() {
    let damaged = |damage| {
        let disk = SimDisk::new(1);
        disk.write_file(name(1), b"lotus root");
        disk.corrupt(name(1), &damage);
        after(&disk, ImageKind::SyncedOnly, 0)
    };
    let is = |damage, expected: &[u8]| assert_eq!(damaged(damage).as_deref(), Some(expected));
    is(Damage::FlipBit { offset: 0, bit: 5 }, b"Lotus root");
    is(Damage::Zero { offset: 2, len: 3 }, b"lo\0\0\0 root");
    is(Damage::Overwrite { offset: 6, bytes: b"leaf".to_vec() }, b"lotus leaf");
    is(Damage::Swap { first: 0, second: 6, len: 4 }, b"roots lotu");
    is(Damage::Truncate { len: 5 }, b"lotus");
    assert_eq!(damaged(Damage::Remove), None);
}

#[test]
fn equal_content_has_equal_fingerprints_however_it_came_about() {
    let one = SimDisk::new(1);
    one.write_file(name(1), b"lotus");
    one.write_file("sub/0000000000000001.tbl", &[0; 10_000]);
    let two = SimDisk::new(2);
    let file = create(&two.root(), 1, b"LOTUS");
    write_all_at(&*file, b"lotus", 0).expect("written");
    let sub = two.root().create_dir(Name::parse("0000000000000005.dir").expect("legal"));
    sub.expect("created");
    assert_ne!(one.fingerprint(), two.fingerprint());
    two.root().remove_dir(Name::parse("0000000000000005.dir").expect("legal")).expect("removed");
    two.write_file("sub/0000000000000001.tbl", b"");
    assert_ne!(one.fingerprint(), two.fingerprint(), "the length counts");
    two.write_file("sub/0000000000000001.tbl", &[0; 10_000]);
    assert_eq!(one.fingerprint(), two.fingerprint());
    two.corrupt("sub/0000000000000001.tbl", &Damage::FlipBit { offset: 9_999, bit: 7 });
    assert_ne!(one.fingerprint(), two.fingerprint());
}

/// Random work on a few files; some of it synced.
fn work(disk: &SimDisk, random: &mut Random, calls: usize) {
    let fs = disk.root();
    let mut files = Vec::new();
    for id in 0..calls as u64 {
        match random.below(8) {
            0 => files.push(create(&fs, id, b"")),
            1 => fs.sync_dir().expect("synced"),
            2 if !files.is_empty() => {
                files[random.index(files.len())].sync_data().expect("synced");
            }
            3 => {
                let entries = fs.list().expect("listed").entries;
                if let Some(entry) = entries.first() {
                    fs.remove(entry.name).expect("removed");
                }
            }
            4 => {
                let entries = fs.list().expect("listed").entries;
                if let Some(entry) = entries.first() {
                    fs.rename(entry.name, name(1000 + id)).expect("renamed");
                }
            }
            _ if !files.is_empty() => {
                let bytes = vec![random.bytes(1)[0]; random.index(3000) + 1];
                let file = &files[random.index(files.len())];
                write_all_at(&**file, &bytes, random.below(5000)).expect("written");
            }
            _ => {}
        }
    }
}

#[test]
fn every_recorded_boundary_gives_the_images_that_crashing_there_would_have_given() {
    for seed in seeds(20) {
        let disk = SimDisk::new(seed);
        disk.record();
        work(&disk, &mut Random::new(seed), 60);
        assert_eq!(disk.boundaries(), disk.trace().len() + 1);
        // The same run again, crashed after each call in turn.
        for stop in (0..60).step_by(7) {
            let twin = SimDisk::new(seed);
            work(&twin, &mut Random::new(seed), stop);
            let boundary = twin.trace().len();
            assert_eq!(twin.trace(), disk.trace()[..boundary]);
            for kind in ImageKind::kinds() {
                let image = disk.image(boundary, *kind, seed);
                assert_eq!(image.files(), twin.crash(*kind, seed).files(), "{kind:?}");
                assert_eq!(image.fingerprint(), twin.crash(*kind, seed).fingerprint(), "{kind:?}");
            }
        }
    }
}

#[test]
fn equal_runs_have_equal_traces_and_different_ones_do_not() {
    for seed in seeds(20) {
        let run = |seed| {
            let disk = SimDisk::new(seed);
            work(&disk, &mut Random::new(seed), 60);
            (disk.trace_hash(), disk.fingerprint(), disk.calls())
        };
        assert_eq!(run(seed), run(seed));
        assert_ne!(run(seed).0, run(seed ^ 1).0);
    }
}

#[test]
fn what_was_synced_survives_in_every_image() {
    for seed in seeds(40) {
        let mut random = Random::new(seed);
        let disk = SimDisk::new(seed);
        let safe = create(&disk.root(), 5000, &[0xdd; 5000]);
        safe.sync_data().expect("synced");
        disk.root().sync_dir().expect("synced");
        disk.root().rename(name(5000), name(5001)).expect("renamed");
        disk.root().sync_dir().expect("synced");
        // Only other files change; the safe one may be renamed or removed by the work as well,
        // so it gets a second name in a directory of its own.
        let vault = disk.root().create_dir(name(6000)).expect("created");
        disk.root().link(name(5001), &*vault, name(1)).expect("linked");
        vault.sync_dir().expect("synced");
        disk.root().sync_dir().expect("synced");
        for _ in 0..30 {
            let file = create(&disk.root(), 7000 + random.next_u64() % (1 << 40), b"x");
            write_all_at(&*file, &[1; 700], 0).expect("written");
        }
        for kind in ImageKind::kinds() {
            let image = disk.crash(*kind, seed);
            let path = format!("{}/{}", name(6000), name(1));
            assert_eq!(image.read_file(path), Some(vec![0xdd; 5000]), "{kind:?}");
        }
    }
}

#[test]
fn listings_are_shuffled() {
    let disk = SimDisk::new(3);
    for id in 0..20 {
        disk.write_file(name(id), b"");
    }
    let list = || disk.root().list().expect("listed").entries;
    assert_ne!(list(), list());
}
