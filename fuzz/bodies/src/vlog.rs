//! Records, pointers, slots, rewritten segments, remap tables. Rows 57, 70, 100.

use std::sync::Arc;

use engine::fuzzing::{self, RemapFile};
use engine::{Options, ReadMode};
use vfs::{Env, Fs, Kind, Name, SimDisk};
use wal::{Position, SegmentId};

use crate::forge::{self, Payload};
use crate::input::Input;
use crate::limits::bounded;
use crate::verdict::{clear, clear_of_engine};

/// Whose files these are; the seeds' too.
pub(crate) const DB_ID: u64 = 0x5eed;
const REMAP: Kind = Kind::new("map");

/// The body.
pub(crate) fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let control = input.u8();
    let fix = control & 1 == 0;
    match control >> 1 & 3 {
        0 => record(&mut input, fix),
        1 => fuzzing::pointer(input.u64(), input.u32(), input.number()),
        2 => moved(&mut input, fix),
        _ => remap(&mut input, fix, control & 8 == 0),
    }
}

fn record(input: &mut Input<'_>, fix: bool) {
    let (segment, units) = (input.u32(), input.u32() >> 4);
    let address = Position { segment: SegmentId(segment), offset: u64::from(units) * 8 };
    let mut bytes = input.clone().expand();
    if fix {
        forge::record(DB_ID, segment, address.offset, &mut bytes);
    }
    if let Some(len) = bounded(bytes.len(), || clear(fuzzing::record(DB_ID, address, &bytes))) {
        assert!(len <= bytes.len() && len.is_multiple_of(8), "a record is inside its bytes");
    }
}

fn moved(input: &mut Input<'_>, fix: bool) {
    let id = u32::from(input.u8()) + 1;
    let db_id = if input.u8() == 0 { DB_ID } else { input.u64() };
    let mut bytes = input.clone().expand();
    if fix {
        forge::segment(id, Payload::Moved(db_id), &mut bytes);
    }
    let disk = SimDisk::new(1);
    let name = Name::new(wal::VALUES, id.into());
    disk.write_file(name, &bytes);
    let fs = disk.root();
    bounded(bytes.len(), || clear_of_engine(fuzzing::moved(&fs, name, db_id)));
}

fn remap(input: &mut Input<'_>, fix: bool, mapped: bool) {
    let (segment, file) = (input.u32(), u64::from(input.u8()) + 1);
    let db_id = if input.u8() == 0 { DB_ID } else { input.u64() };
    let targets = (0..input.below(8)).map(|_| input.u32()).collect();
    let offsets: Vec<u64> = (0..input.below(16)).map(|_| u64::from(input.u32()) * 4).collect();
    let mut bytes = input.clone().expand();
    if fix {
        forge::remap(file, &mut bytes);
    }
    let len = bytes.len() as u64;
    let footer = bytes.len().saturating_sub(4096);
    let footer_crc = bytes[footer..].first_chunk().map_or(0, |crc| u32::from_le_bytes(*crc));
    let found = RemapFile { file, len, footer_crc, targets, segment };
    let disk = SimDisk::new(1);
    disk.write_file(Name::new(REMAP, file), &bytes);
    let (fs, sim): (Arc<dyn Fs>, _) = (disk.root(), Env::sim(1));
    let read_mode = if mapped { ReadMode::Mapped } else { ReadMode::Positional };
    let options = Options::default().read_mode(read_mode).reserve_bytes(0);
    bounded(bytes.len(), || {
        clear_of_engine(fuzzing::remap(fs, &sim.env, options, db_id, &found, &offsets))
    });
}
