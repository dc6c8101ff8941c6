use std::collections::BTreeMap;
use std::sync::Arc;

use vfs::sim::{At, CallKind, Fault, ImageKind, SimDisk, Times, What};
use vfs::testing::check_dump;
use vfs::{Access, Env, Fs, Random, read_exact_at, write_all_at};

use super::*;
use crate::catalog::{
    Catalog, Change, FILE_ID_LIMIT, FORMAT_VERSION, KeyspaceRecord, RemapRecord, SegmentOrigin,
    SegmentRecord, TableRecord, encode,
};
use crate::options::IndexKind;

const DUMPS: &str = include_str!("../../../../docs/formats/manifest.md");

fn decode(bytes: &[u8]) -> std::result::Result<Vec<Change>, &'static str> {
    let mut changes = Vec::new();
    crate::catalog::decode(bytes, &mut |change| {
        changes.push(change);
        Ok(())
    })?;
    Ok(changes)
}

fn example() -> Catalog {
    let table = |file, level| TableRecord { file, level, len: 8192, footer_crc: 0xc0ff_ee00 };
    let tables = vec![table(9, 1), table(11, 0), table(12, 0)];
    let users = KeyspaceRecord { tables, ..KeyspaceRecord::new("users".into(), IndexKind::BTree) };
    let blobs = KeyspaceRecord {
        generation: 19,
        hasher: 0x4a5,
        ..KeyspaceRecord::new("blobs".into(), IndexKind::Hash)
    };
    let segment = |id, origin| SegmentRecord {
        id,
        origin,
        len: 70_000,
        first_seq: 3,
        last_seq: 300,
        garbage: 17,
    };
    Catalog {
        db_id: 0x5eed,
        next_file: 13,
        next_segment: 8,
        next_keyspace: 4,
        clock_ms: 1_750_000_000_000,
        keyspaces: [
            (0, KeyspaceRecord::new("default".into(), IndexKind::BTree)),
            (2, blobs),
            (3, users),
        ]
        .into(),
        segments: [
            (2, segment(2, SegmentOrigin::Promoted)),
            (5, segment(5, SegmentOrigin::Copied)),
        ]
        .into(),
        remaps: BTreeMap::new(),
        flushed_seq: 300,
        wal_min: 7,
        closed: None,
    }
}

fn built(changes: Vec<Change>) -> Result<Catalog, &'static str> {
    let mut catalog = Catalog::default();
    changes.into_iter().try_for_each(|change| catalog.apply(change))?;
    Ok(catalog)
}

fn start(disk: &SimDisk, number: u64, catalog: Catalog, old: &[u64]) -> Manifest {
    Manifest::start(&disk.root(), &Env::sim(1).env, number, catalog, old).expect("a healthy disk")
}

fn commit(manifest: &mut Manifest, changes: Vec<Change>) -> Result<()> {
    let edit = manifest.prepare(&changes)?;
    manifest.commit(edit)
}

fn loaded(disk: &SimDisk) -> Result<Option<Loaded>> {
    let fs = disk.root();
    let listing = fs.list().expect("a healthy disk");
    load(&fs, &listing)
}

fn bytes_of(fs: &Arc<dyn Fs>, number: u64) -> Vec<u8> {
    let file = fs.open(Name::new(MANIFEST, number), Access::Read).expect("it is there");
    let mut bytes = vec![0; usize::try_from(file.len().expect("a healthy disk")).expect("small")];
    read_exact_at(&*file, &mut bytes, 0).expect("a healthy disk");
    bytes
}

#[test]
fn bytes_are_as_documented() {
    let first =
        Catalog { db_id: 0x5eed, next_file: 1, next_segment: 1, next_keyspace: 1, ..example() };
    let first = Catalog {
        keyspaces: first.keyspaces.into_iter().take(1).collect(),
        segments: BTreeMap::new(),
        clock_ms: 0,
        flushed_seq: 0,
        wal_min: 0,
        ..first
    };
    check_dump(DUMPS, "first edit", &encode(&first.changes()));
    let catalog = example();
    let flush = vec![
        Change::SegmentAdded { segment: catalog.segments[&5].clone() },
        Change::TableAdded { keyspace: 3, table: catalog.keyspaces[&3].tables[0].clone() },
        Change::Flushed { seq: 300, wal_min: 7 },
        Change::Ids { file: 13, segment: 8, keyspace: 0 },
        Change::Clock { wall_ms: 1_750_000_000_000 },
    ];
    check_dump(DUMPS, "a flush", &encode(&flush));
}

#[test]
fn the_changes_of_a_state_build_that_state() {
    assert_eq!(built(example().changes()).expect("they fit"), example());
    let bytes = encode(&example().changes());
    assert_eq!(decode(&bytes).expect("it is whole"), example().changes());
}

#[test]
fn every_change_survives_its_encoding() {
    let table = TableRecord { file: u64::MAX, level: 15, len: u64::MAX, footer_crc: u32::MAX };
    let changes = vec![
        Change::KeyspaceDropped { id: u32::MAX },
        Change::TableRemoved { keyspace: 1, file: 2 },
        Change::TableMoved { keyspace: 1, file: 2, level: 3 },
        Change::TableAdded { keyspace: 0, table },
        Change::SegmentRemoved { id: 4 },
        Change::Garbage { segment: 5, bytes: 6 },
        Change::Closed { segment: 7, offset: 8, last_seq: 9 },
    ];
    assert_eq!(decode(&encode(&changes)).expect("it is whole"), changes);
}

#[test]
fn a_damaged_edit_never_panics_and_trailing_bytes_are_refused() {
    let bytes = encode(&example().changes());
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(changes) = decode(&flipped) {
            drop(built(changes));
        }
    }
    for len in 0..bytes.len() {
        assert!(decode(&bytes[..len]).is_err(), "cut at {len}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert_eq!(decode(&longer), Err("bytes behind a manifest edit"));
    let mut random = Random::new(3);
    for _ in 0..5000 {
        let len = random.index(40);
        drop(decode(&random.bytes(len)));
    }
}

#[test]
fn row_069_a_hostile_count_or_length_is_refused_before_it_is_allocated() {
    // 253 says that a u64 follows: a count of changes, or a name's length, no memory holds.
    let mut count = vec![253];
    count.extend_from_slice(&(1_u64 << 60).to_le_bytes());
    assert!(decode(&count).is_err());
    let mut name = vec![1, 3, 1];
    name.extend_from_slice(&count);
    assert!(decode(&name).is_err());
}

#[test]
fn row_088_ids_only_grow() {
    let mut catalog = example();
    let before = catalog.clone();
    catalog.apply(Change::Ids { file: 1, segment: 1, keyspace: 1 }).expect("it fits");
    catalog.apply(Change::Clock { wall_ms: 5 }).expect("it fits");
    assert_eq!(catalog, before, "nothing goes back");
    catalog.apply(Change::KeyspaceDropped { id: 3 }).expect("it is there");
    assert_eq!(catalog.next_keyspace, 4, "the id of a dropped keyspace never returns");
    let back = Change::Flushed { seq: 299, wal_min: 7 };
    assert!(catalog.apply(back).is_err(), "what is flushed stays flushed");
}

#[test]
fn changes_that_do_not_fit_the_state_are_refused() {
    let table = example().keyspaces[&3].tables[0].clone();
    for change in [
        Change::KeyspaceCreated { id: 3, name: "again".into(), index: "btree".into() },
        Change::KeyspaceCreated { id: 9, name: "other".into(), index: "hash9".into() },
        Change::KeyspaceDropped { id: 8 },
        Change::TableAdded { keyspace: 8, table },
        Change::TableRemoved { keyspace: 3, file: 99 },
        Change::TableMoved { keyspace: 3, file: 99, level: 1 },
        Change::SegmentAdded { segment: example().segments[&2].clone() },
        Change::SegmentRemoved { id: 99 },
        Change::Garbage { segment: 99, bytes: 1 },
    ] {
        assert!(example().apply(change.clone()).is_err(), "{change:?}");
    }
}

// We believed that an edit with a right checksum is one of ours. Sums of lengths and garbage that no
// disk holds ended the process in `stats`, ids at the end of their numbers began again at 0.
#[test]
fn row_071_a_state_that_cannot_be_is_refused() {
    let table = |file, len| TableRecord { file, level: 0, len, footer_crc: 0 };
    let added = |keyspace, table| Change::TableAdded { keyspace, table };
    let created = |id, index: &str| {
        let (name, index) = ("users".to_owned(), index.to_owned());
        Change::KeyspaceCreated { id, name, index }
    };
    let remap = |file| {
        let remap = RemapRecord { file, len: 8192, footer_crc: 0, targets: vec![] };
        Change::RemapSet { segment: u32::try_from(file % 100).expect("small") + 50, remap }
    };
    let after = |changes: Vec<Change>| {
        let mut catalog = example();
        changes.into_iter().try_for_each(|change| catalog.apply(change))?;
        catalog.check()
    };
    assert_eq!(after(vec![]), Ok(()));
    // A hint, whatever it says.
    assert_eq!(after(vec![Change::GarbageSet { segment: 2, bytes: u64::MAX }]), Ok(()));
    assert_eq!(after(vec![Change::Ids { file: FILE_ID_LIMIT, segment: 1, keyspace: 1 }]), Ok(()));
    for changes in [
        vec![Change::Ids { file: FILE_ID_LIMIT + 1, segment: 1, keyspace: 1 }],
        vec![added(3, table(FILE_ID_LIMIT, 8192))],
        vec![added(3, table(u64::MAX, 8192))],
        vec![remap(u64::MAX)],
        vec![added(3, table(9, 8192))],
        vec![
            remap(200),
            Change::RemapSet {
                segment: 9,
                remap: RemapRecord { file: 200, len: 1, footer_crc: 0, targets: vec![] },
            },
        ],
        vec![created(7, "btree")],
        vec![added(3, table(100, u64::MAX)), added(3, table(101, u64::MAX))],
    ] {
        assert!(after(changes.clone()).is_err(), "{changes:?}");
    }
}

// We believed that numbers never run out. One that somebody planted was the last: the open counted one
// further, removed the MANIFEST before it, and the next open found none. Only whole ones count now.
#[test]
fn row_064_a_planted_manifest_with_one_of_the_last_numbers_takes_no_numbers_away() {
    for back in 1..5 {
        let disk = SimDisk::new(1);
        let env = Env::sim(1).env;
        let open = || crate::Db::open_on(disk.root(), env.clone(), crate::Options::default());
        let db = open().expect("new");
        db.put(b"k", b"v").and_then(|()| db.close()).expect("a healthy disk");
        let planted = Name::new(MANIFEST, u64::from(u32::MAX) - back);
        drop(disk.root().create_new(planted).expect("planted"));
        for _ in 0..3 {
            let db = open().expect("it holds nothing");
            assert_eq!(db.get(b"k").expect("a healthy disk").as_deref(), Some(b"v".as_slice()));
            db.close().expect("a healthy disk");
            let found = numbers(&disk.root().list().expect("listed"));
            assert_eq!(found.len(), 1, "it was never in effect");
            assert!(found[0] < 100, "{found:?}");
        }
    }
}

/// One that is whole counts, whoever made it: nothing is written behind the last number.
#[test]
fn row_064_nothing_follows_the_last_number() {
    let fs = SimDisk::new(1).root();
    let last = NUMBER_LIMIT - 1;
    assert_eq!(next_number(&*fs, 6, &[5, 6, 7, 8, 10]).expect("there is one"), 9);
    assert_eq!(next_number(&*fs, last - 1, &[]).expect("there is one"), last);
    for taken in [(last, vec![]), (last - 1, vec![last])] {
        let error = next_number(&*fs, taken.0, &taken.1).expect_err("there is none");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
}

#[test]
fn a_manifest_reads_back_with_every_committed_edit() {
    let disk = SimDisk::new(1);
    let mut manifest = start(&disk, 4, example(), &[]);
    commit(&mut manifest, vec![Change::KeyspaceDropped { id: 3 }]).expect("a healthy disk");
    let created = Change::KeyspaceCreated { id: 4, name: "new".into(), index: "btree".into() };
    commit(&mut manifest, vec![created]).expect("a healthy disk");
    let found = loaded(&disk).expect("it is whole").expect("it is there");
    assert_eq!(found.catalog, *manifest.catalog());
    assert_eq!(found.cut, None);
}

#[test]
fn an_unknown_format_version_is_refused_by_name_and_nothing_is_changed() {
    let disk = SimDisk::new(1);
    let (fs, env) = (disk.root(), Env::sim(1).env);
    let name = Name::new(MANIFEST, 1);
    let mut writer = SegmentWriter::create(&fs, &env, name, 7).expect("a healthy disk");
    let newer = Change::Database { db_id: 7, format: FORMAT_VERSION + 1 };
    append(&mut writer, 1, &encode(&[newer])).expect("a healthy disk");
    fs.sync_dir().expect("a healthy disk");
    drop(writer);
    let before = bytes_of(&fs, 1);
    let error = loaded(&disk).err().expect("it is newer");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = error.to_string();
    assert!(text.contains("version 2") && text.contains(".manifest"), "{text}");
    let opened = crate::Db::open_on(fs.clone(), env, crate::Options::default());
    assert_eq!(opened.err().map(|error| error.kind()), Some(ErrorKind::Invalid));
    assert_eq!(bytes_of(&fs, 1), before);
    assert_eq!(numbers(&fs.list().expect("a healthy disk")), [1]);
}

#[test]
fn row_029_an_unfinished_switch_falls_back_to_the_file_before_it() {
    let disk = SimDisk::new(1);
    // In truth both say the same; here they differ, to see which one was read.
    let first = Catalog { flushed_seq: 250, ..example() };
    drop(start(&disk, 1, first.clone(), &[]));
    drop(start(&disk, 2, example(), &[]));
    assert_eq!(loaded(&disk).expect("both are whole").expect("it is there").catalog, example());
    let fs = disk.root();
    let whole = bytes_of(&fs, 2);
    for len in 0..whole.len() {
        let name = Name::new(MANIFEST, 2);
        fs.remove(name).expect("it is there");
        let file = fs.create_new(name).expect("it is gone");
        write_all_at(&*file, &whole[..len], 0).expect("a healthy disk");
        let found = loaded(&disk).expect("its predecessor is whole").expect("it is there");
        assert_eq!(found.catalog, first, "cut at {len}");
    }
}

#[test]
fn damage_to_the_only_manifest_is_corrupt_and_named() {
    let disk = SimDisk::new(1);
    let mut manifest = start(&disk, 3, example(), &[]);
    for id in 10..14 {
        let created = Change::KeyspaceCreated { id, name: format!("k{id}"), index: "btree".into() };
        commit(&mut manifest, vec![created]).expect("a healthy disk");
    }
    let last = manifest.catalog().clone();
    drop(manifest);
    let fs = disk.root();
    // Something else stands beside it: this is no creation that never finished.
    drop(fs.create_new(Name::new(wal::SEGMENT, 1)).expect("a healthy disk"));
    let whole = bytes_of(&fs, 3);
    let file = fs.open(Name::new(MANIFEST, 3), Access::ReadWrite).expect("it is there");
    for offset in 0..whole.len() {
        let flipped = [whole[offset] ^ 0x10];
        write_all_at(&*file, &flipped, offset as u64).expect("a healthy disk");
        match loaded(&disk) {
            Ok(found) => {
                let catalog = found.expect("it is there").catalog;
                // The last edit alone is not attested by a later one: its damage is a torn tail.
                let cut = catalog.keyspaces.len() + 1 == last.keyspaces.len();
                assert!(cut || catalog == last, "byte {offset}: {catalog:?}");
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {offset}: {error}");
                let text = error.to_string();
                assert!(text.contains("0000000000000003.manifest"), "byte {offset}: {text}");
            }
        }
        write_all_at(&*file, &whole[offset..=offset], offset as u64).expect("a healthy disk");
    }
}

#[test]
fn a_long_manifest_goes_on_in_a_fresh_file() {
    let disk = SimDisk::new(1);
    let mut manifest = start(&disk, 1, example(), &[]);
    let long = "n".repeat(200);
    let mut id = 10;
    while manifest.number == 1 {
        let many = (0..2000).map(|offset| Change::KeyspaceCreated {
            id: id + offset,
            name: long.clone(),
            index: "btree".into(),
        });
        commit(&mut manifest, many.collect()).expect("a healthy disk");
        let drops = (0..2000).map(|offset| Change::KeyspaceDropped { id: id + offset });
        commit(&mut manifest, drops.collect()).expect("a healthy disk");
        id += 2000;
        assert!(id < 1_000_000, "it never switched");
    }
    let found = loaded(&disk).expect("it is whole").expect("it is there");
    assert_eq!(found.catalog, *manifest.catalog());
    assert_eq!(numbers(&disk.root().list().expect("a healthy disk")), [2]);
}

#[test]
fn row_079_what_a_lost_sync_left_in_the_cache_is_durable_when_an_open_builds_on_it() {
    let disk = SimDisk::new(1);
    let mut manifest = start(&disk, 1, example(), &[]);
    let at = At::Kind(CallKind::Sync, disk.calls_of(CallKind::Sync));
    disk.fault(Fault { at, what: What::SyncLost, times: Times::Once });
    let created = Change::KeyspaceCreated { id: 9, name: "lost".into(), index: "btree".into() };
    commit(&mut manifest, vec![created]).expect_err("the sync is lost");
    drop(manifest);
    let found = loaded(&disk).expect("it is whole").expect("it is there");
    assert!(found.catalog.keyspaces.contains_key(&9), "reads still show it");
    settle(&disk.root(), &found).expect("a healthy disk");
    let later = disk.crash(ImageKind::SyncedOnly, 1);
    let later = loaded(&later).expect("it is whole").expect("it is there");
    assert_eq!(later.catalog, found.catalog);
}

#[test]
fn a_directory_without_a_manifest_holds_no_database() {
    let disk = SimDisk::new(1);
    assert!(loaded(&disk).expect("it is empty").is_none());
    // A creation that never finished: the file is there and holds nothing.
    drop(disk.root().create_new(Name::new(MANIFEST, 1)).expect("a healthy disk"));
    assert!(loaded(&disk).expect("nothing was ever in it").is_none());
}

/// Found by the crash explorer (`config=mapped/mapped/durable/seeded ops= crash=3:64 nested=2:8`):
/// a creation that was cut off, and then its repetition.
#[test]
fn a_creation_that_was_cut_off_twice_is_still_no_database() {
    let disk = SimDisk::new(1);
    write(&disk, 1, &[0; 160]);
    drop(disk.root().create_new(Name::new(MANIFEST, 2)).expect("a healthy disk"));
    assert!(loaded(&disk).expect("nothing was ever in it").is_none());
}

/// Two switches in a row that never finished leave two files that are not whole behind the one
/// that counts.
#[test]
fn a_switch_that_was_cut_off_twice_leaves_the_old_state() {
    let disk = SimDisk::new(1);
    let catalog = start(&disk, 1, example(), &[]).catalog().clone();
    write(&disk, 2, &[0; 160]);
    write(&disk, 3, b"NE");
    drop(disk.root().create_new(Name::new(wal::SEGMENT, 1)).expect("a healthy disk"));
    let found = loaded(&disk).expect("the old one is whole").expect("it is there");
    assert_eq!(found.catalog, catalog);
}

fn write(disk: &SimDisk, number: u64, bytes: &[u8]) {
    disk.write_file(Name::new(MANIFEST, number), bytes);
}
