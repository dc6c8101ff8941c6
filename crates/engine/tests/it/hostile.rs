//! What fuzzing found: bytes that a forger sealed, and what they cost.

use std::sync::Arc;

use engine::{Db, ErrorKind, Options};
use vfs::{Fs, Kind, Name};
use wal::SegmentWriter;

use crate::alloc::peak_of;
use crate::world::{World, holds_data, tiny};

/// Puts a MANIFEST there whose only edit is `edit`, in a frame that is whole.
fn manifest(world: &World, number: u64, edit: &[u8]) {
    let fs: Arc<dyn Fs> = world.disk.root();
    let name = Name::new(Kind::new("manifest"), number);
    let mut writer = SegmentWriter::create(&fs, &world.sim.env, name, 5).expect("an empty disk");
    writer.append(1, edit.len(), &mut |_, out| out.copy_from_slice(edit)).expect("a sound disk");
    writer.finish().expect("a sound disk");
    world.disk.write_file(Name::new(Kind::new("tbl"), 1), b"");
}

/// The first edit of a database, as `docs/formats/manifest.md` has it, with another next file id.
fn first_edit(file: u64) -> Vec<u8> {
    let mut edit = b"\x05\x00\xfb\xed\x5e\x01\x01\xfd".to_vec();
    edit.extend_from_slice(&file.to_le_bytes());
    edit.extend_from_slice(b"\x01\x01\x02\x00\x0b\x00\x00\x03\x00\x07default\x05btree");
    edit
}

fn open(world: &World) -> engine::Result<Db> {
    world.open(&Options::create_if_missing(tiny(), false))
}

// We believed that the decoder's limit bounds what a claimed length costs. True was: it bounds it by
// the limit for any edit, 256 MiB; the bytes of a string are reserved before they are looked for, and
// for any list 1 MiB.
#[test]
fn row_068_a_length_that_an_edit_claims_costs_no_memory() {
    // 1 change: KeyspaceCreated, id 1, a name of 200 MiB.
    let name = [&[1, 3, 1, 0xfc][..], &(200_u32 << 20).to_le_bytes(), b"lotus"].concat();
    // 1 change: KeyspaceCreated, id 1, name "k", an index of 200 MiB.
    let index = [&[1, 3, 1, 1, b'k', 0xfc][..], &(200_u32 << 20).to_le_bytes(), b"tree"].concat();
    // 2^26 changes.
    let changes = [&[0xfc][..], &(1_u32 << 26).to_le_bytes(), &[2, 0]].concat();
    // 1 change: RemapSet of segment 1, file 1 with 2^26 targets.
    let targets = [&[1, 14, 1, 1, 1, 1, 0xfc][..], &(1_u32 << 26).to_le_bytes(), &[2, 0]].concat();
    for edit in [name, index, changes, targets] {
        let world = World::new(1);
        manifest(&world, 1, &edit);
        let (opened, peak) = peak_of(|| open(&world));
        let error = opened.expect_err("no edit");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(peak <= 1 << 20, "{peak} bytes were held for an edit of {}", edit.len());
    }
}

// We believed that a state whose next file id is legal can be worked with. True was: of the last id the
// next edit said that it was used, which did not fit the state, and the flush panicked.
#[test]
fn row_088_ids_of_files_that_a_forged_edit_would_exhaust_are_refused() {
    for file in [u64::MAX, u64::MAX - 1, (1 << 62) + 1] {
        let world = World::new(1);
        manifest(&world, 1, &first_edit(file));
        let data = || {
            let files = world.files().into_iter();
            files.filter(|(name, _)| holds_data(name)).collect::<Vec<_>>()
        };
        let before = data();
        let error = open(&world).expect_err("no such id was ever given");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains("file id"), "{error}");
        assert!(data() == before, "nothing is changed");
    }
    // One id is left, then none: the write is refused, the rest goes on.
    let world = World::new(1);
    manifest(&world, 1, &first_edit((1 << 62) - 1));
    let db = open(&world).unwrap();
    db.put(b"first", b"v").unwrap();
    db.flush().unwrap();
    db.put(b"second", b"v").unwrap();
    let error = db.flush().expect_err("no id is left");
    assert!(error.to_string().contains("used up"), "{error}");
    assert_eq!(world.names(".tbl"), ["3fffffffffffffff.tbl"]);
    drop(db);
    let db = open(&world).unwrap();
    for key in ["first", "second"] {
        assert_eq!(db.get(key).unwrap().as_deref(), Some(&b"v"[..]), "{key}");
    }
}
