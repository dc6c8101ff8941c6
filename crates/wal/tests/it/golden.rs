//! A log that an earlier build wrote. `tests/golden/v1` was made by
//! `cargo test -p wal --test it -- --ignored write_the_golden_log`, once.

use vfs::golden;
use vfs::sim::SimDisk;
use wal::{AppendMode, Durability, Position, SegmentId, Start};

use crate::bed::{Entry, Opened, open, open_with, options, payload};

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/v1");

/// Records of three segments, batches among them, and where a clean close ended.
fn write(disk: &SimDisk) -> (Vec<Entry>, Position) {
    let options = options(Durability::Always, AppendMode::Positional);
    let log = open(disk, 18, &options).unwrap().log;
    let mut entries = Vec::new();
    for number in 0..9 {
        if number == 3 || number == 6 {
            log.rotate().unwrap();
        }
        let batch = [payload(number, 20), payload(number + 100, 0), payload(number + 200, 300)];
        let slices: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
        log.append_batch(&slices).unwrap();
        let last = log.last_seq();
        entries.extend(batch.into_iter().zip(last - 2..).map(|(bytes, seq)| (seq, bytes)));
    }
    let segment = log.active();
    (entries, Position { segment, offset: log.close().unwrap().end.len })
}

#[test]
#[ignore = "writes the golden log, once for each format version: cargo xtask golden"]
fn write_the_golden_log() {
    let disk = SimDisk::new(18);
    write(&disk);
    golden::save(&disk, DIR, |_| true).unwrap();
}

#[test]
fn the_golden_log_replays_and_goes_on() {
    let (entries, end) = write(&SimDisk::new(18));
    for append in [AppendMode::Positional, AppendMode::Mapped] {
        let disk = golden::load(DIR).unwrap();
        let options = options(Durability::Never, append);
        let start = Start { first: Some(SegmentId(1)), attested: Some(end), ..Start::default() };
        let opened: Opened = open_with(&disk.root(), 2, &options, start).unwrap();
        assert_eq!(opened.entries, entries);
        opened.log.append(b"later").unwrap();
        opened.log.close().unwrap();
        let again = open(&disk, 3, &options).unwrap().entries;
        assert_eq!(again[..entries.len()], entries);
        assert_eq!(again.last().map(|(_, bytes)| &bytes[..]), Some(&b"later"[..]));
    }
}
