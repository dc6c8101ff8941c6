//! Files forged together with their checksums: no panic, no hang, no large allocation (rows 68-71).

use std::sync::Arc;

use sstable::{Cursor, ReadMode, Table, TableCursor};
use vfs::sim::SimDisk;
use vfs::{Error, Fs, Random, Result};

use crate::allocated;
use crate::tables::{
    MODES, Model, PAGE_LEN, build_and_open, name, neighbours, random_model, reseal, tall_model,
};

/// Pages each node, the filter pages, the props and the footer start at and end before.
fn parts(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut parts = Vec::new();
    let mut page = 1;
    while page < bytes.len() / PAGE_LEN {
        let field = bytes[page * PAGE_LEN + 8..][..4].try_into().unwrap();
        let span = u32::from_le_bytes(field) as usize;
        parts.push((page, page + span));
        page += span;
    }
    parts
}

fn mutate(random: &mut Random, part: &mut [u8]) {
    for _ in 0..1 + random.index(4) {
        let at = match random.below(4) {
            0 => 4 + random.index(28),
            1 => 32 + random.index(400),
            _ => 4 + random.index(part.len() - 4),
        };
        let value = match random.below(5) {
            0 => 0,
            1 => 0xff,
            2 => part[at].wrapping_add(1),
            3 => part[at].wrapping_sub(1),
            _ => random.bytes(1)[0],
        };
        let run = if random.percent(20) { 1 + random.index(8) } else { 1 };
        let end = (at + run).min(part.len());
        part[at..end].fill(value);
    }
}

/// Forges one or two parts and makes all checksums right again.
fn forge(random: &mut Random, whole: &[u8]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let parts = parts(whole);
    let (props, footer) = (parts[parts.len() - 2], parts[parts.len() - 1]);
    for _ in 0..1 + random.index(2) {
        let (from, to) = match random.below(6) {
            0 => props,
            1 => footer,
            _ => parts[random.index(parts.len())],
        };
        mutate(random, &mut bytes[from * PAGE_LEN..to * PAGE_LEN]);
        reseal(&mut bytes, 1, from, to);
    }
    if random.percent(90) {
        let crc: [u8; 4] = bytes[props.0 * PAGE_LEN..][..4].try_into().unwrap();
        bytes[footer.0 * PAGE_LEN + 40..][..4].copy_from_slice(&crc);
        reseal(&mut bytes, 1, footer.0, footer.1);
    }
    bytes
}

/// The result of `work`, which is right or `Corrupt` and allocated little.
fn bounded<T>(len: usize, work: impl FnOnce() -> Result<T>) -> Option<T> {
    let (result, bytes) = allocated::during(work);
    assert!(bytes <= 16 * len + (1 << 20), "{bytes} bytes allocated for a file of {len}");
    match result {
        Ok(value) => Some(value),
        Err(Error::Corrupt { path, offset, .. }) => {
            assert!(path.ends_with(name(1).to_string()));
            assert!(offset <= 2 * len as u64 + (1 << 44), "offset {offset}");
            None
        }
        Err(error) => panic!("{error} is not Corrupt"),
    }
}

fn walk(len: usize, mut seek: impl FnMut() -> Result<TableCursor>, forward: bool) {
    let Some(mut cursor) = bounded(len, &mut seek) else { return };
    let mut steps = 0;
    while cursor.valid() {
        std::hint::black_box((cursor.entry(), cursor.value_bytes()));
        let step = if forward { cursor.next() } else { cursor.prev() };
        if bounded(len, || step).is_none() {
            return;
        }
        steps += 1;
        assert!(steps <= len, "a walk is no longer than the file");
    }
}

fn use_everything(fs: &Arc<dyn Fs>, len: usize, model: &Model, random: &mut Random) -> bool {
    let mut refused = true;
    let keys: Vec<&Vec<u8>> = model.keys().collect();
    for mode in MODES {
        let Some(table) = bounded(len, || Table::open(fs, name(1), mode, None)) else { continue };
        for _ in 0..12 {
            for key in neighbours(keys[random.index(keys.len())]) {
                bounded(len, || table.get(&key));
                bounded(len, || table.get_unfiltered(&key));
                let mut cursor = table.cursor();
                bounded(len, || cursor.seek(&key));
                bounded(len, || cursor.seek_for_prev(&key));
            }
        }
        let forward = |mut cursor: TableCursor| cursor.seek_first().map(|()| cursor);
        walk(len, || forward(table.cursor()), true);
        let backward = |mut cursor: TableCursor| cursor.seek_last().map(|()| cursor);
        walk(len, || backward(table.cursor()), false);
        // The check keeps copies of separators; it reads the file once.
        refused &= bounded(16 * len, || table.check()).is_none();
    }
    refused
}

fn rounds(model: &Model, count: usize, random: &mut Random) -> usize {
    let disk = SimDisk::new(1);
    let fs = disk.root();
    build_and_open(&fs, 1, model, ReadMode::Mapped);
    let whole = disk.read_file(name(1)).unwrap();
    let mut refused = 0;
    for _ in 0..count {
        let bytes = forge(random, &whole);
        disk.write_file(name(1), &bytes);
        refused += usize::from(use_everything(&fs, bytes.len(), model, random));
    }
    refused
}

#[test]
fn rows_068_to_071_a_forged_tall_table_harms_nobody() {
    let mut random = Random::new(vfs::testing::seed());
    let model = tall_model(&mut random, 10);
    let refused = rounds(&model, 1500, &mut random);
    assert!(refused > 500, "the check saw {refused} forgeries only");
}

#[test]
fn rows_068_to_071_a_forged_table_of_all_kinds_of_entries_harms_nobody() {
    let mut random = Random::new(vfs::testing::seed());
    for shape in [0, 3, 6] {
        let mut model = random_model(&mut random, 150, shape);
        model.retain(|key, _| key.len() < 5000);
        rounds(&model, 500, &mut random);
    }
}

#[test]
fn row_069_children_and_links_in_a_circle_are_refused() {
    let disk = SimDisk::new(1);
    let fs = disk.root();
    let model = tall_model(&mut Random::new(5), 10);
    build_and_open(&fs, 1, &model, ReadMode::Mapped);
    let whole = disk.read_file(name(1)).unwrap();
    for (from, to) in parts(&whole) {
        let kind = whole[from * PAGE_LEN + 4];
        // prev, next and, in inner nodes, every aligned word that is a child or a slot.
        let places: Vec<usize> = match kind {
            1 => vec![16, 20],
            2 => (32..400).step_by(4).collect(),
            _ => continue,
        };
        for place in places {
            for target in [1, from, to, from - 1] {
                let mut bytes = whole.clone();
                let target = u32::try_from(target).unwrap().to_le_bytes();
                bytes[from * PAGE_LEN + place..][..4].copy_from_slice(&target);
                reseal(&mut bytes, 1, from, to);
                disk.write_file(name(1), &bytes);
                let changed = bytes != whole;
                let refused = use_everything(&fs, bytes.len(), &model, &mut Random::new(1));
                assert!(refused || !changed, "page {from} word {place}");
            }
        }
    }
}

// We believed that a table knows how many entries it has. Its owner adds that up over all tables: of a number
// near 2^64 that nobody counted, the sum ended the process.
#[test]
fn row_064_a_count_that_no_tree_of_that_length_holds_is_damage() {
    let disk = SimDisk::new(1);
    let fs = disk.root();
    build_and_open(&fs, 1, &tall_model(&mut Random::new(5), 10), ReadMode::Mapped);
    let whole = disk.read_file(name(1)).unwrap();
    let parts = parts(&whole);
    let (props, footer) = (parts[parts.len() - 2], parts[parts.len() - 1]);
    let pages = u64::try_from(props.0).unwrap();
    for count in [u64::MAX, 1 << 63, pages * 4096] {
        let mut bytes = whole.clone();
        bytes[props.0 * PAGE_LEN + 16..][..8].copy_from_slice(&count.to_le_bytes());
        reseal(&mut bytes, 1, props.0, props.1);
        let crc: [u8; 4] = bytes[props.0 * PAGE_LEN..][..4].try_into().unwrap();
        bytes[footer.0 * PAGE_LEN + 40..][..4].copy_from_slice(&crc);
        reseal(&mut bytes, 1, footer.0, footer.1);
        disk.write_file(name(1), &bytes);
        for mode in MODES {
            let error = Table::open(&fs, name(1), mode, None).unwrap_err();
            assert!(error.is_corrupt() && error.to_string().contains("count"), "{error}");
        }
    }
}
