//! Edits of a MANIFEST: decoded, applied, encoded again; and as the MANIFEST of a directory that
//! holds nothing else, or files that are empty. Rows 29, 38, 56, 74.

use engine::{Db, Options};
use vfs::{Env, Kind, Name, SimDisk};
use wal::SegmentWriter;

use crate::input::Input;
use crate::limits::bounded;
use crate::verdict::clear_of_engine;

const MANIFEST: Kind = Kind::new("manifest");

/// The body.
pub(crate) fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let control = input.u8();
    let mut edits = Vec::new();
    while !input.is_empty() && edits.len() < 20 {
        edits.push(input.part().rest());
    }
    let len = data.len();
    if let Ok(bytes) = bounded(len, || engine::fuzzing::edits(edits.iter().copied())) {
        let again = engine::fuzzing::edits([&bytes[..]]).expect("what was encoded decodes");
        assert!(again == bytes, "a whole state is one edit");
    }
    let disk = SimDisk::new(1);
    let (fs, sim) = (disk.root(), Env::sim(1));
    let name = Name::new(MANIFEST, u64::from(control >> 4) + 1);
    let mut writer = SegmentWriter::create(&fs, &sim.env, name, 5).expect("an empty disk");
    for (seq, edit) in (1..).zip(&edits) {
        let fill = &mut |_, out: &mut [u8]| out.copy_from_slice(edit);
        writer.append(seq, edit.len(), fill).expect("there is space");
        if control & 1 == 1 {
            writer.sync().expect("the disk is sound");
        }
    }
    writer.finish().expect("the disk is sound");
    for kind in ["tbl", "val", "wal", "map"].into_iter().filter(|_| control & 2 == 2) {
        disk.write_file(Name::new(Kind::new(kind), 1), b"");
    }
    let options = Options::default().create_if_missing(control & 4 == 0).reserve_bytes(0);
    let options = options.memtable_bytes(4096).segment_bytes(4096).log_bytes(4096);
    let written = disk.files().iter().map(|(_, len)| usize::try_from(*len).unwrap_or(0)).sum();
    bounded(written, || {
        let Some(db) = clear_of_engine(Db::open_on(fs, sim.env.clone(), options)) else { return };
        for (name, _) in clear_of_engine(db.keyspaces()).unwrap_or_default() {
            assert!(name.len() <= 64 << 10, "a name that an edit held");
        }
        clear_of_engine(db.check());
        clear_of_engine(db.put(b"k", b"v"));
        clear_of_engine(db.flush());
        clear_of_engine(db.close());
    });
}
