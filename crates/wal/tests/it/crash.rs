//! Crashes at every call, with every kind of image, and crashes of the recovery that follows.
//! Catalogue rows 1, 3, 6, 9, 12, 13, 19, 28, 88.

use std::sync::atomic::{AtomicU64, Ordering};

use vfs::sim::{ImageKind, SimDisk};
use wal::{AppendMode, Durability, Log, Options, SegmentId, Start};

use crate::bed::{Entry, open, open_with, options, payload};

/// What was attempted before a boundary of the disk, and how much of it was acknowledged.
#[derive(Clone, Copy, Debug)]
struct Mark {
    boundary: usize,
    /// Records attempted by then, the one in progress included.
    attempted: usize,
    /// Records acknowledged as durable by then.
    durable: usize,
}

/// A recorded run: records as they were attempted, with marks.
struct Run {
    disk: SimDisk,
    attempted: Vec<Entry>,
    /// Where batches end: a recovered prefix ends at one of these.
    borders: Vec<usize>,
    marks: Vec<Mark>,
    durable: usize,
}

impl Run {
    fn new(seed: u64) -> Run {
        let disk = SimDisk::new(seed);
        disk.record();
        let mut run =
            Run { disk, attempted: Vec::new(), borders: vec![0], marks: Vec::new(), durable: 0 };
        run.mark();
        run
    }

    fn mark(&mut self) {
        let (attempted, durable) = (self.attempted.len(), self.durable);
        // Calls from here on happen with this much attempted.
        self.marks.push(Mark { boundary: self.disk.boundaries() - 1, attempted, durable });
    }

    fn append(&mut self, log: &Log, len: usize, durable: bool) {
        let seq = log.last_seq() + 1;
        let bytes = payload(seq, len);
        self.attempted.push((seq, bytes.clone()));
        self.borders.push(self.attempted.len());
        self.mark();
        let staged = log.stage(seq, len.max(8), &mut |_, out| out.copy_from_slice(&bytes)).unwrap();
        log.commit(&staged, durable).unwrap();
        if log.synced() >= staged.end {
            self.durable = self.attempted.len();
        }
        self.mark();
    }

    fn append_batch(&mut self, log: &Log, count: u64, len: usize) {
        let first = log.last_seq() + 1;
        let payloads: Vec<Vec<u8>> = (first..first + count).map(|seq| payload(seq, len)).collect();
        self.attempted.extend((first..).zip(payloads.clone()));
        self.borders.push(self.attempted.len());
        self.mark();
        let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        log.append_batch(&slices).unwrap();
        if log.synced() >= log.end() {
            self.durable = self.attempted.len();
        }
        self.mark();
    }

    fn sync(&mut self, log: &Log) {
        log.sync().unwrap();
        self.durable = self.attempted.len();
        self.mark();
    }

    /// The marks that hold at a boundary: what was attempted by the latest call before it, and
    /// what was acknowledged before that.
    fn bounds_at(&self, boundary: usize) -> (usize, usize) {
        let before = self.marks.iter().filter(|mark| mark.boundary <= boundary);
        before.fold((0, 0), |(durable, attempted), mark| {
            (durable.max(mark.durable), attempted.max(mark.attempted))
        })
    }
}

static IMAGES: AtomicU64 = AtomicU64::new(0);

/// The prefix oracle: what was recovered is what was attempted up to some border, and at least
/// what was acknowledged.
fn check_prefix(run: &Run, entries: &[Entry], durable: usize, attempted: usize, what: &str) {
    let count = entries.len();
    assert!(durable <= count, "{what}: {count} records of {durable} durable ones");
    assert!(count <= attempted, "{what}: {count} records, but only {attempted} were attempted");
    assert!(run.borders.contains(&count), "{what}: a batch is torn at {count}");
    assert_eq!(entries, &run.attempted[..count], "{what}");
}

/// Opens an image, checks it, opens it again, writes on, crashes and checks that all is there.
fn check_image(run: &Run, boundary: usize, kind: ImageKind, seed: u64, options: &Options) {
    let what = format!("boundary {boundary}, {kind:?}, seed {seed}");
    IMAGES.fetch_add(1, Ordering::Relaxed);
    let (durable, attempted) = run.bounds_at(boundary);
    let image = run.disk.image(boundary, kind, seed);
    let first = open(&image, seed, options).unwrap_or_else(|error| panic!("{what}: {error}"));
    check_prefix(run, &first.entries, durable, attempted, &what);
    let (first_id, max_seq) = (first.log.active(), first.recovered.max_seq_seen);
    let count = first.entries.len();
    drop(first);

    // The same again, although a segment was added; ids and seqs go on.
    let second = open(&image, seed + 1, options).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(second.entries.len(), count, "{what}: the second open differs");
    assert!(first_id < second.log.active(), "{what}: an id came back");
    assert!(max_seq <= second.recovered.max_seq_seen, "{what}: seqs were forgotten");

    // Row 9: what is written behind a torn tail is there after the next crash, synced only.
    let bytes = payload(1 << 40, 40);
    second.log.append(&bytes).unwrap();
    second.log.sync().unwrap();
    let seq = second.log.last_seq();
    assert!(max_seq < seq, "{what}: a seq came back");
    let third = open(&image.crash(ImageKind::SyncedOnly, seed), seed + 2, options)
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut expected = run.attempted[..count].to_vec();
    expected.push((seq, bytes));
    assert_eq!(third.entries, expected, "{what}: written after recovery");
}

fn check_all_images(run: &Run, options: &Options, draws: u64) {
    for boundary in 0..run.disk.boundaries() {
        for kind in ImageKind::kinds() {
            let draws = if kind.is_random() { draws } else { 1 };
            for draw in 0..draws {
                check_image(run, boundary, *kind, 1000 * draw + boundary as u64, options);
            }
        }
    }
}

/// Small and larger records, a batch, durable and other commits, a rotation by size and one by
/// hand, a reopen in the middle.
fn workload(options: &Options) -> Run {
    let mut run = Run::new(1);
    {
        let log = open(&run.disk, 1, options).unwrap().log;
        run.mark();
        run.append(&log, 30, false);
        run.append(&log, 700, true);
        run.append_batch(&log, 3, 200);
        run.append(&log, 1500, false);
        // Does not fit any more: rotates.
        run.append(&log, 1600, false);
        run.append(&log, 20, true);
        log.rotate().unwrap();
        run.mark();
        run.append(&log, 100, false);
        log.sync_sealed(SegmentId(log.active().0 - 1)).unwrap();
        run.mark();
        run.append_batch(&log, 2, 90);
        run.sync(&log);
        run.append(&log, 60, false);
    }
    let log = open(&run.disk, 2, options).unwrap().log;
    // What was in the cache survived the death of the process, and recovery synced it.
    assert_eq!(log.iter().map(Result::unwrap).count(), run.attempted.len());
    run.durable = run.attempted.len();
    run.mark();
    run.append(&log, 50, false);
    run.append(&log, 5000, false);
    log.write_back().unwrap();
    run.mark();
    run.append(&log, 10, false);
    let closed = log.close().unwrap();
    run.durable = run.attempted.len();
    run.mark();
    assert_eq!(closed.end.last_seq, run.attempted.last().unwrap().0);
    run
}

#[test]
fn row_001_a_crash_at_any_call_leaves_a_prefix_with_every_durable_record_mapped() {
    for durability in [Durability::Never, Durability::EveryBytes(1000)] {
        let options = options(durability, AppendMode::Mapped);
        check_all_images(&workload(&options), &options, 2);
    }
}

#[test]
fn row_001_a_crash_at_any_call_leaves_a_prefix_with_every_durable_record_positional() {
    for durability in [Durability::Always, Durability::Never] {
        let options = options(durability, AppendMode::Positional);
        check_all_images(&workload(&options), &options, 2);
    }
}

#[test]
fn row_006_a_file_that_grows_without_preallocation_crashes_as_well() {
    let base = options(Durability::EveryBytes(600), AppendMode::Positional);
    let options = Options { preallocate: false, ..base };
    check_all_images(&workload(&options), &options, 2);
}

#[test]
fn row_028_every_durable_acknowledgement_is_in_the_synced_only_image() {
    // The ack gate: at the call after each acknowledgement, with nothing unsynced kept.
    for mode in [AppendMode::Mapped, AppendMode::Positional] {
        let options = options(Durability::Always, mode);
        let mut run = Run::new(3);
        let log = open(&run.disk, 3, &options).unwrap().log;
        for number in 0..24 {
            run.append(&log, 300 + number, false);
            assert_eq!(run.durable, run.attempted.len(), "the policy is Always");
            let image = run.disk.crash(ImageKind::SyncedOnly, 9);
            assert_eq!(open(&image, 9, &options).unwrap().entries, run.attempted);
        }
    }
}

#[test]
fn row_013_a_crash_at_any_call_of_recovery_and_of_the_recovery_after_it_loses_nothing() {
    for mode in [AppendMode::Mapped, AppendMode::Positional] {
        let options = options(Durability::Never, mode);
        let run = workload(&options);
        // Some boundaries in the middle of the run, with torn and unordered remains.
        for boundary in (0..run.disk.boundaries()).step_by(7) {
            let (durable, attempted) = run.bounds_at(boundary);
            for kind in [
                ImageKind::Everything,
                ImageKind::RandomSectors { keep_percent: 50 },
                ImageKind::NewestFileWhole,
            ] {
                let first = run.disk.image(boundary, kind, 5);
                nested(&run, &first, (durable, attempted), &options, 2);
            }
        }
    }
}

/// Records a recovery of `disk` and crashes it at every call; the recoveries of those likewise.
fn nested(run: &Run, disk: &SimDisk, bounds: (usize, usize), options: &Options, depth: u32) {
    let image = disk.image(0, ImageKind::Everything, 1);
    image.record();
    let opened = open(&image, 11, options).unwrap();
    check_prefix(run, &opened.entries, bounds.0, bounds.1, "nested");
    // Once an open returned, what it gave is durable.
    let after = open(&image.crash(ImageKind::SyncedOnly, 2), 12, options).unwrap();
    assert_eq!(after.entries, opened.entries);
    if depth == 0 {
        return;
    }
    for boundary in 0..image.boundaries() {
        for kind in [
            ImageKind::SyncedOnly,
            ImageKind::Everything,
            ImageKind::RandomSectors { keep_percent: 50 },
            ImageKind::NamesOnly,
        ] {
            let crashed = image.image(boundary, kind, 3);
            if depth == 1 {
                let opened = open(&crashed, 13, options).unwrap();
                check_prefix(run, &opened.entries, bounds.0, bounds.1, "nested");
            } else {
                nested(run, &crashed, bounds, options, depth - 1);
            }
        }
    }
}

#[test]
fn row_088_ids_and_seqs_grow_over_every_chain_of_crashes() {
    for seed in vfs::testing::seeds(40) {
        let options = options(Durability::Never, AppendMode::Positional);
        let mut disk = SimDisk::new(seed);
        let mut random = vfs::Random::new(seed);
        let (mut id, mut seq) = (SegmentId(0), 0);
        let kinds = ImageKind::kinds();
        for _ in 0..8 {
            let opened = open(&disk, random.next_u64(), &options).unwrap();
            // What was never durable may leave no trace, and come back: nobody can have kept it.
            assert!(id < opened.log.active(), "{id} came back");
            id = opened.log.active();
            assert!(opened.recovered.last_seq <= opened.recovered.max_seq_seen);
            for _ in 0..random.below(12) {
                opened.log.append(&payload(7, random.index(900))).unwrap();
                if random.percent(20) {
                    opened.log.sync().unwrap();
                    seq = opened.log.last_seq();
                    id = opened.log.active();
                }
            }
            assert!(seq <= opened.log.last_seq());
            disk = disk.crash(kinds[random.index(kinds.len())], random.next_u64());
        }
    }
}

#[test]
fn row_019_a_log_with_any_one_file_removed_is_refused_or_keeps_what_is_written_later() {
    let options = options(Durability::Always, AppendMode::Positional);
    let run = workload(&options);
    let whole = run.disk.crash(ImageKind::Everything, 1);
    let files = whole.files();
    assert!(files.len() > 3);
    for (name, _) in &files {
        let disk = whole.image(0, ImageKind::Everything, 1);
        disk.corrupt(name, &vfs::sim::Damage::Remove);
        let Ok(opened) = open(&disk, 1, &options) else { continue };
        // Only the front or the back of the log can go unnoticed by someone who knows nothing.
        let count = opened.entries.len();
        let is_prefix = opened.entries == run.attempted[..count];
        let is_suffix = opened.entries == run.attempted[run.attempted.len() - count..];
        assert!(is_prefix || is_suffix, "a hole without {name}");
        opened.log.append(b"written later").unwrap();
        drop(opened);
        let again = open(&disk, 2, &options).unwrap();
        assert_eq!(again.entries.last().unwrap().1, b"written later", "without {name}");
    }
}

#[test]
fn an_owner_that_knows_where_the_log_begins_and_ended_notices_any_missing_file() {
    let options = options(Durability::Always, AppendMode::Positional);
    let run = workload(&options);
    let whole = run.disk.crash(ImageKind::Everything, 1);
    let opened = open(&whole.fork(1), 1, &options).unwrap();
    let segments = &opened.recovered.segments;
    let (first, last) = (segments[0].id, segments[segments.len() - 1]);
    let start = || Start {
        first: Some(first),
        attested: Some(wal::Position { segment: last.id, offset: last.len }),
        ..Start::default()
    };
    assert!(open_with(&whole.fork(1).root(), 1, &options, start()).is_ok());
    for segment in segments {
        let disk = whole.image(0, ImageKind::Everything, 1);
        let name = vfs::Name::new(wal::SEGMENT, u64::from(segment.id.0));
        disk.corrupt(name, &vfs::sim::Damage::Remove);
        let error = open_with(&disk.root(), 1, &options, start()).unwrap_err();
        let is_named = matches!(error, vfs::Error::NotFound { .. }) || error.is_corrupt();
        assert!(is_named, "{name}: {error}");
    }
}
