//! A directory of log segments: it opens or says clearly why not; if it opens, it takes appends,
//! and after a crash what was shown and appended is there. Rows 1, 3, 9, 12, 13, 19.

use std::sync::Arc;

use vfs::sim::ImageKind;
use vfs::{Env, Fs, Kind, Name, SimDisk};
use wal::{AppendMode, Durability, Log, Options, Position, ReadMode, SegmentId, Start};

use crate::forge::{self, Payload};
use crate::input::Input;
use crate::limits::bounded;
use crate::verdict::clear;

const FILES_MAX: usize = 5;
const KINDS: [Kind; 2] = [wal::SEGMENT, wal::VALUES];

type Records = Vec<(u64, Vec<u8>)>;

/// The body.
pub(crate) fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let control = input.u8();
    let start = start(&mut input);
    let disk = SimDisk::new(1);
    let mut file_bytes = 0;
    for _ in 0..FILES_MAX {
        if input.is_empty() {
            break;
        }
        let (kind, id) = (KINDS[input.below(2)], input.number());
        let mut bytes = input.part().expand();
        if let Ok(id) = u32::try_from(id)
            && control & 1 == 0
        {
            forge::segment(id, Payload::Opaque, &mut bytes);
        }
        file_bytes += bytes.len();
        disk.write_file(Name::new(kind, id), &bytes);
    }
    let options = Options {
        segment_bytes: 4096,
        append_mode: [AppendMode::Mapped, AppendMode::Positional][usize::from(control >> 1 & 1)],
        read_mode: [ReadMode::Mapped, ReadMode::Positional][usize::from(control >> 2 & 1)],
        ..Options::new(Durability::Always)
    };
    bounded(file_bytes, || use_log(&disk, &options, &start, file_bytes));
}

fn start(input: &mut Input<'_>) -> Start {
    let given = input.u8();
    let given = |bit: u8, value: u64| (given >> bit & 1 == 1).then_some(value);
    let (log_id, first) = (given(0, input.number()), given(1, input.number()));
    let (segment, units) = (given(2, input.number()), input.u32());
    let id = |number| SegmentId(u32::try_from(number).unwrap_or(1).max(1));
    let attested =
        segment.map(|segment| Position { segment: id(segment), offset: u64::from(units) * 8 });
    Start { log_id, first: first.map(id), attested, ..Start::default() }
}

fn open(fs: Arc<dyn Fs>, options: &Options, start: &Start) -> Option<(Log, Records)> {
    let mut records = Records::new();
    let env = Env::sim(5).env;
    // Ids are handed on by reference: the second open makes its own.
    let start = Start { ids: wal::SegmentIds::new(), ..start.clone() };
    let opened = Log::open(fs, &env, options.clone(), start, &mut |record| {
        records.push((record.seq, record.payload.to_vec()));
        Ok(())
    });
    clear(opened).map(|(log, _)| (log, records))
}

fn use_log(disk: &SimDisk, options: &Options, start: &Start, file_bytes: usize) {
    let before = disk.fingerprint();
    let Some((log, mut records)) = open(disk.root(), options, start) else {
        // Only a new segment may have been left.
        let names = disk.files();
        assert!(names.len() <= FILES_MAX + 1 || before == disk.fingerprint(), "{names:?}");
        return;
    };
    assert!(records.is_sorted_by(|a, b| a.0 < b.0), "seqs grow");
    log.iter().for_each(|record| drop(clear(record)));
    for payload in [&b"after"[..], &[7; 5000]] {
        let Some(position) = clear(log.append(payload)) else { return };
        let read = log.read(position).expect("what was appended is read");
        assert!(read == payload, "what was appended is read");
        records.push((log.last_seq(), payload.to_vec()));
    }
    drop(log);
    let image = disk.crash(ImageKind::SyncedOnly, 1);
    // The log's owner knows of no other start than before.
    let Some((_, found)) = bounded(file_bytes, || open(image.root(), options, start)) else {
        panic!("a log that opened does not open again");
    };
    assert!(found == records, "{} records became {}", records.len(), found.len());
}
