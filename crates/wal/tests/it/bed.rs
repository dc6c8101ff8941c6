//! What the tests stand on: a simulated disk with a log, and what was recovered from it.

use std::sync::Arc;

use vfs::sim::SimDisk;
use vfs::{Env, Error, Fs, Result};
use wal::{AppendMode, Durability, Log, Options, ReadMode, Recovered, SEGMENT, SegmentIds, Start};

/// A record as the tests remember it.
pub(crate) type Entry = (u64, Vec<u8>);

pub(crate) fn options(durability: Durability, append_mode: AppendMode) -> Options {
    Options {
        kind: SEGMENT,
        segment_bytes: 4096,
        durability,
        append_mode,
        read_mode: match append_mode {
            AppendMode::Mapped => ReadMode::Mapped,
            AppendMode::Positional => ReadMode::Positional,
        },
        preallocate: true,
    }
}

/// A log that was just opened, and everything that its replay gave.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) log: Log,
    pub(crate) recovered: Recovered,
    pub(crate) entries: Vec<Entry>,
}

pub(crate) fn open_with(
    fs: &Arc<dyn Fs>,
    seed: u64,
    options: &Options,
    start: Start,
) -> Result<Opened> {
    let mut entries = Vec::new();
    let (log, recovered) =
        Log::open(Arc::clone(fs), &Env::sim(seed).env, options.clone(), start, &mut |record| {
            assert_eq!(record.address.offset, record.position.offset + 24);
            entries.push((record.seq, record.payload.to_vec()));
            Ok(())
        })?;
    assert_eq!(recovered.records, entries.len() as u64);
    Ok(Opened { log, recovered, entries })
}

/// Opens with no knowledge but what is in the directory. A fresh allocator each time, as after a
/// restart.
pub(crate) fn open(disk: &SimDisk, seed: u64, options: &Options) -> Result<Opened> {
    let start = Start { ids: SegmentIds::new(), ..Start::default() };
    open_with(&disk.root(), seed, options, start)
}

/// A payload that tells its number and whose length varies.
pub(crate) fn payload(number: u64, len: usize) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend((8..len.max(8)).map(|index| u8::try_from((number + index as u64) % 251).unwrap()));
    bytes
}

pub(crate) fn path_of(error: &Error) -> String {
    error.path().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
