//! Look-ups of eight bytes under a hash, in page cache: `diskhash`, and the least that a table on
//! disk can do: one open-addressed array in a mapping, probed linearly, half full.
//!
//! `ENTRIES=8000000` for another number than 2 million. Beside parity-db, with and without runs:
//! `cargo bench -p benches --bench hash_index`.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::Path;

use criterion::{Criterion, Throughput};
use diskhash::{At, Leftovers, Owner, Table, Verdict};
use memmap2::MmapMut;
use vfs::{Env, Random, StdFs};

/// Slots that one apply brings, as a flush of the engine does.
const APPLY: u64 = 300_000;

/// Bytes of a slot of the array: the hash, never 0, and what is under it.
const SLOT: usize = 16;

fn hash(number: u64) -> u64 {
    Random::new(number).next_u64() | 1
}

/// No key was put twice.
struct Distinct;

impl Owner for Distinct {
    fn same_key(&mut self, newer: &[u8], older: &[u8]) -> vfs::Result<bool> {
        Ok(newer == older)
    }

    fn judge(&mut self, _: &[u8], _: bool) -> vfs::Result<Verdict> {
        Ok(Verdict::Keep)
    }
}

fn table(dir: &Path, entries: u64) -> Table {
    let fs = StdFs::create(dir).expect("a scratch directory");
    let options = diskhash::Options::new(8);
    let table = Table::open(fs, &Env::system(), options, At::Latest, Leftovers::Keep);
    let table = table.expect("a new table");
    let mut start = 0;
    while start < entries {
        let end = entries.min(start + APPLY);
        let mut builder = table.builder();
        for number in start..end {
            builder.add(hash(number), &number.to_le_bytes());
        }
        let before = table.newest().id();
        if let Some(built) = builder.finish().expect("written") {
            table.commit(built).expect("committed");
            table.release(before);
        }
        start = end;
    }
    while let Some(mut job) = table.plan(true) {
        while !job.step(&mut Distinct).expect("merged") {}
        let before = table.newest().id();
        table.commit(job.finish()).expect("committed");
        table.release(before);
    }
    table
}

/// What stands under a hash.
type LookUp<'a> = &'a dyn Fn(u64) -> Option<u64>;

/// The array in a mapping.
struct Probe {
    map: MmapMut,
    slots: u64,
}

impl Probe {
    fn new(path: &Path, entries: u64) -> Probe {
        let slots = (entries * 2).next_power_of_two();
        let mut options = std::fs::OpenOptions::new();
        let options = options.read(true).write(true).create_new(true);
        let file = options.open(path).expect("created");
        file.set_len(slots * SLOT as u64).expect("there is room");
        // SAFETY: nobody else has this file, and it is not cut while it is mapped.
        let map = unsafe { MmapMut::map_mut(&file).expect("mapped") };
        let mut probe = Probe { map, slots };
        for number in 0..entries {
            let hash = hash(number);
            // The lowest bit is always set.
            let mut slot = (hash >> 1) & (slots - 1);
            while probe.word(slot, 0) != 0 {
                slot = (slot + 1) & (slots - 1);
            }
            let start = usize::try_from(slot).expect("it is mapped") * SLOT;
            probe.map[start..start + 8].copy_from_slice(&hash.to_le_bytes());
            probe.map[start + 8..start + SLOT].copy_from_slice(&number.to_le_bytes());
        }
        probe
    }

    fn word(&self, slot: u64, offset: usize) -> u64 {
        let start = usize::try_from(slot).expect("it is mapped") * SLOT + offset;
        let bytes = self.map[start..start + 8].first_chunk().expect("eight bytes");
        u64::from_le_bytes(*bytes)
    }

    fn get(&self, hash: u64) -> Option<u64> {
        let mut slot = (hash >> 1) & (self.slots - 1);
        loop {
            match self.word(slot, 0) {
                0 => return None,
                found if found == hash => return Some(self.word(slot, 8)),
                _ => slot = (slot + 1) & (self.slots - 1),
            }
        }
    }
}

fn main() {
    let mut c = Criterion::default().configure_from_args();
    let entries =
        std::env::var("ENTRIES").map_or(2_000_000, |text| text.parse().expect("a number"));
    let dir = tempfile::tempdir().expect("a scratch directory");
    let table = table(&dir.path().join("diskhash"), entries);
    let generation = table.newest();
    let ours = |hash: u64| {
        let mut found = None;
        let visit = &mut |slot: &[u8]| {
            let number = u64::from_le_bytes(*slot.first_chunk().expect("eight bytes"));
            // The index keeps a part of the hash, and an owner compares keys.
            if self::hash(number) != hash {
                return Ok(ControlFlow::Continue(()));
            }
            found = Some(number);
            Ok(ControlFlow::Break(()))
        };
        generation.candidates(hash, visit).expect("readable");
        found
    };
    let probe = Probe::new(&dir.path().join("probe"), entries);
    let linear = |hash: u64| probe.get(hash);
    let look_ups: [(&str, LookUp<'_>); 2] = [("diskhash", &ours), ("mapped linear probe", &linear)];
    let mut group = c.benchmark_group("diskhash");
    group.throughput(Throughput::Elements(1));
    for (name, look_up) in look_ups {
        let mut random = Random::new(1);
        group.bench_function(format!("{name}, hit"), |b| {
            b.iter(|| {
                let number = random.below(entries);
                assert_eq!(black_box(look_up(hash(number))), Some(number));
            });
        });
        // A hash of 64 bits may be met by chance: what is found is not looked at.
        group.bench_function(format!("{name}, miss"), |b| {
            b.iter(|| black_box(look_up(hash(entries + random.below(entries)))));
        });
    }
    group.finish();
    c.final_summary();
}
