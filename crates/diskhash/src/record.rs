//! Bytes of a generation record: the small file that names everything a generation consists of.
//! The only module that knows a byte position in one.
//!
//! ```text
//! record   0 magic      "NELUHGEN"
//!          8 version    u32   VERSION
//!         12 slot_len   u16
//!         14 hash_bytes u8
//!         15 has_listed u8    1 if a number of the slot is listed
//!         16 listed     u16   where in the slot it stands; 0 if none is
//!         18 zeros      [u8; 6]
//!         24 owner      u64
//!         32 id         u64   the generation, the number in the file's name
//!         40 seed       u64   for the owner's keyed hash
//!         48 next_id    u64   above every id given away so far
//!         56 applied    u64   how many applies there were
//!         64 runs       u32   how many
//!         68 partitions u32   how many, at least 1
//!         72 run*             newest first
//!            partition*       ascending, all hashes without a gap
//!            crc        u32   of the bytes before it, seeded with (id, 0)
//!
//! run      0 file, 28 times written u32, 32 newest u64: the apply it ends with
//! partition 0 file (zeros if it holds nothing), 28 bits u8, 29 zeros [u8; 3],
//!         32 start u64, 40 taken u64: the newest apply it has taken in
//! file     0 id u64, 8 len u64, 16 entries u64, 24 footer_crc u32
//! ```

#[cfg(test)]
mod tests;

use std::path::Path;

use vfs::{Checksum, Error, Reader, Result, Writer};

use crate::address::Prefix;
use crate::run::Expect;

const MAGIC: &[u8; 8] = b"NELUHGEN";
const VERSION: u32 = 1;
const FIELDS_LEN: usize = 72;
const RUN_LEN: usize = 40;
const PARTITION_LEN: usize = 48;
const CRC_LEN: usize = 4;
/// No id is above this: there is always room for more.
pub(crate) const ID_MAX: u64 = u64::MAX >> 1;
/// No table holds more slots: sums and small multiples of them fit 64 bits.
const ENTRIES_MAX: u64 = 1 << 56;
/// The longest record that is read into memory.
pub(crate) const RECORD_LEN_MAX: u64 = 1 << 30;

/// The options that are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fixed {
    pub(crate) slot_len: u16,
    pub(crate) hash_bytes: u8,
    pub(crate) listed: Option<u16>,
    pub(crate) owner: u64,
}

/// A file as a record names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FileRecord {
    pub(crate) id: u64,
    pub(crate) expect: Expect,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RunRecord {
    pub(crate) file: FileRecord,
    pub(crate) written: u32,
    pub(crate) newest: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PartitionRecord {
    pub(crate) file: Option<FileRecord>,
    pub(crate) prefix: Prefix,
    pub(crate) taken: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    pub(crate) fixed: Fixed,
    pub(crate) id: u64,
    pub(crate) seed: u64,
    pub(crate) next_id: u64,
    pub(crate) applied: u64,
    pub(crate) runs: Vec<RunRecord>,
    pub(crate) partitions: Vec<PartitionRecord>,
}

pub(crate) fn encode(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut out = Writer::new(&mut bytes);
    let Fixed { slot_len, hash_bytes, listed, owner } = record.fixed;
    out.bytes(MAGIC).u32(VERSION).u16(slot_len).u8(hash_bytes).u8(listed.is_some().into());
    out.u16(listed.unwrap_or(0)).bytes(&[0; 6]).u64(owner);
    out.u64(record.id).u64(record.seed).u64(record.next_id).u64(record.applied);
    out.u32(u32::try_from(record.runs.len()).expect("few runs"));
    out.u32(u32::try_from(record.partitions.len()).expect("at most 2^32 partitions"));
    for run in &record.runs {
        encode_file(&mut out, Some(run.file));
        out.u32(run.written).u64(run.newest);
    }
    for partition in &record.partitions {
        encode_file(&mut out, partition.file);
        out.u8(partition.prefix.bits).bytes(&[0; 3]).u64(partition.prefix.start);
        out.u64(partition.taken);
    }
    let crc = Checksum::of(record.id, 0, &bytes);
    Writer::new(&mut bytes).u32(crc);
    bytes
}

fn encode_file(out: &mut Writer<'_>, file: Option<FileRecord>) {
    let none = FileRecord { id: 0, expect: Expect { len: 0, footer_crc: 0, entries: 0 } };
    let FileRecord { id, expect } = file.unwrap_or(none);
    out.u64(id).u64(expect.len).u64(expect.entries).u32(expect.footer_crc);
}

/// Reads the record of generation `id`. `Corrupt` unless it is whole.
pub(crate) fn decode(path: &Path, id: u64, bytes: &[u8]) -> Result<Record> {
    let mut reader = Reader::new(path, 0, bytes);
    reader.expect("magic", MAGIC)?;
    let (covered, crc) = bytes.split_at_checked(bytes.len() - CRC_LEN).unwrap_or((&[], bytes));
    let expected = Checksum::of(id, 0, covered);
    let at = covered.len() as u64;
    let found = Reader::new(path, at, crc).u32("checksum of the record")?;
    if expected != found {
        let what = "checksum of the record";
        return Err(Error::corrupt(what, path, at, expected.into(), found.into()));
    }
    reader.version("format version of a generation record", VERSION)?;
    let fixed = decode_fixed(&mut reader)?;
    reader.expect("id", &id.to_le_bytes())?;
    let seed = reader.u64("seed")?;
    let next_id = reader.u64("next_id")?;
    if next_id <= id || next_id > ID_MAX {
        return Err(reader.corrupt("next_id", id, next_id));
    }
    let applied = reader.u64("applied")?;
    if applied > ID_MAX {
        return Err(reader.corrupt("applied", ID_MAX, applied));
    }
    let runs = reader.u32("runs")?;
    let partitions = reader.u32("partitions")?;
    let left = u64::from(runs) * RUN_LEN as u64 + u64::from(partitions) * PARTITION_LEN as u64;
    let len = FIELDS_LEN as u64 + left + CRC_LEN as u64;
    if len != bytes.len() as u64 || partitions == 0 {
        return Err(Error::corrupt("length of the record", path, 64, len, bytes.len() as u64));
    }
    let mut newest = applied.saturating_add(1);
    let mut decoded_runs: Vec<RunRecord> = Vec::new();
    for _ in 0..runs {
        let run = decode_run(&mut reader)?;
        if run.newest >= newest {
            return Err(reader.corrupt("order of the runs", newest, run.newest));
        }
        newest = run.newest;
        decoded_runs.push(run);
    }
    let mut decoded = Vec::new();
    let mut start = Some(0);
    for _ in 0..partitions {
        let partition = decode_partition(&mut reader)?;
        if start != Some(partition.prefix.start) {
            let wanted = start.unwrap_or(u64::MAX);
            return Err(reader.corrupt("start of a partition", wanted, partition.prefix.start));
        }
        if partition.taken > applied {
            return Err(reader.corrupt("newest apply taken", applied, partition.taken));
        }
        start = partition.prefix.last().checked_add(1);
        decoded.push(partition);
    }
    if let Some(start) = start {
        return Err(reader.corrupt("end of the partitions", u64::MAX, start));
    }
    check_files(&decoded_runs, &decoded, &reader)?;
    Ok(Record { fixed, id, seed, next_id, applied, runs: decoded_runs, partitions: decoded })
}

/// What every commit leaves true of the files together: no file is named twice, there are not more
/// entries than can be counted, and no run is left that every partition has taken in.
fn check_files(
    runs: &[RunRecord],
    partitions: &[PartitionRecord],
    reader: &Reader<'_>,
) -> Result<()> {
    let bottoms = partitions.iter().filter_map(|partition| partition.file);
    let mut ids: Vec<u64> =
        runs.iter().map(|run| run.file).chain(bottoms.clone()).map(|file| file.id).collect();
    ids.sort_unstable();
    if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(reader.corrupt("file that is named once", 0, twice[0]));
    }
    let mut entries = 0_u64;
    for FileRecord { expect, .. } in runs.iter().map(|run| run.file).chain(bottoms) {
        entries = entries.saturating_add(expect.entries);
    }
    if entries > ENTRIES_MAX {
        return Err(reader.corrupt("entries of all files", ENTRIES_MAX, entries));
    }
    let taken = partitions.iter().map(|partition| partition.taken).min().unwrap_or(0);
    match runs.iter().find(|run| run.newest <= taken) {
        Some(run) => Err(reader.corrupt("run that is needed", taken, run.newest)),
        None => Ok(()),
    }
}

fn decode_fixed(reader: &mut Reader<'_>) -> Result<Fixed> {
    let slot_len = reader.u16("slot_len")?;
    let hash_bytes = reader.u8("hash_bytes")?;
    let has_listed = reader.u8("has_listed")?;
    let listed = reader.u16("listed")?;
    reader.expect("zeros", &[0; 6])?;
    if has_listed > 1 || (has_listed == 0 && listed != 0) {
        return Err(reader.corrupt("has_listed", 1, has_listed.into()));
    }
    let owner = reader.u64("owner")?;
    Ok(Fixed { slot_len, hash_bytes, listed: (has_listed == 1).then_some(listed), owner })
}

fn decode_file(reader: &mut Reader<'_>) -> Result<FileRecord> {
    let id = reader.u64("file id")?;
    let len = reader.u64("length of a file")?;
    let entries = reader.u64("entries of a file")?;
    let footer_crc = reader.u32("checksum of a footer")?;
    Ok(FileRecord { id, expect: Expect { len, footer_crc, entries } })
}

fn decode_run(reader: &mut Reader<'_>) -> Result<RunRecord> {
    let file = decode_file(reader)?;
    let written = reader.u32("times written")?;
    let newest = reader.u64("newest apply")?;
    Ok(RunRecord { file, written, newest })
}

fn decode_partition(reader: &mut Reader<'_>) -> Result<PartitionRecord> {
    let file = decode_file(reader)?;
    let bits = reader.u8("bits of a partition")?;
    reader.expect("zeros", &[0; 3])?;
    let start = reader.u64("start of a partition")?;
    let prefix = Prefix { bits, start };
    if !prefix.is_sound() {
        return Err(reader.corrupt("bits of a partition", 32, bits.into()));
    }
    let taken = reader.u64("newest apply taken")?;
    Ok(PartitionRecord { file: (file.id != 0).then_some(file), prefix, taken })
}
