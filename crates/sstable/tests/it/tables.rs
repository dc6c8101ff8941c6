//! Tables to test with: a model's entries, a directory, building and opening.

use std::collections::BTreeMap;
use std::sync::Arc;

use sstable::{
    Builder, BuilderOptions, Built, Cursor, Entry, Expect, FileId, Found, FoundValue, ReadMode,
    Table, Value,
};
use vfs::{Checksum, Fs, Kind, Name, Random, Result};

pub(crate) const KIND: Kind = Kind::new("tbl");
pub(crate) const OWNER: u64 = 0x0b0e;
pub(crate) const PAGE_LEN: usize = 4096;
pub(crate) const MODES: [ReadMode; 2] = [ReadMode::Mapped, ReadMode::Positional];

/// A value the model keeps, and its expiry.
pub(crate) type Kept = (FoundValue, u64);
pub(crate) type Model = BTreeMap<Vec<u8>, Kept>;

pub(crate) fn entry<'a>(key: &'a [u8], kept: &'a Kept) -> Entry<'a> {
    let value = match &kept.0 {
        FoundValue::Inline(bytes) => Value::Inline(bytes),
        FoundValue::Pointer(to) => Value::Pointer(*to),
        FoundValue::Tombstone => Value::Tombstone,
    };
    Entry { key, value, expiry: kept.1 }
}

pub(crate) fn inline(bytes: &[u8]) -> Kept {
    (FoundValue::Inline(bytes.to_vec().into()), 0)
}

pub(crate) fn name(id: u64) -> Name {
    Name::new(KIND, id)
}

pub(crate) fn options(id: u64) -> BuilderOptions {
    BuilderOptions {
        file_id: FileId(id),
        owner: OWNER,
        salt: 0x5a17_0000 + id,
        bloom_bits_per_key: 10,
    }
}

pub(crate) fn build(fs: &Arc<dyn Fs>, id: u64, model: &Model) -> Result<Built> {
    let mut builder = Builder::new(fs.create_new(name(id))?, options(id))?;
    for (key, kept) in model {
        builder.add(entry(key, kept))?;
    }
    assert_eq!(builder.count(), model.len() as u64);
    let estimate = builder.len_estimate();
    let built = builder.finish(b"extra")?;
    assert!(built.len < 2 * estimate, "estimate {estimate}, length {}", built.len);
    Ok(built)
}

pub(crate) fn expect(built: &Built) -> Option<Expect> {
    Some(Expect { len: built.len, footer_crc: built.footer_crc, owner: OWNER })
}

pub(crate) fn build_and_open(
    fs: &Arc<dyn Fs>,
    id: u64,
    model: &Model,
    mode: ReadMode,
) -> Arc<Table> {
    let built = build(fs, id, model).expect("a table is built");
    Table::open(fs, name(id), mode, expect(&built)).expect("what was built opens")
}

/// Computes the checksum of the node, filter, props or footer pages `from..to` again.
pub(crate) fn reseal(bytes: &mut [u8], id: u64, from: usize, to: usize) {
    let salt = options(id).salt ^ OWNER.rotate_left(21) ^ id.rotate_left(42);
    let offset = from * PAGE_LEN;
    let crc = Checksum::of(salt, offset as u64, &bytes[offset + 4..to * PAGE_LEN]);
    bytes[offset..offset + 4].copy_from_slice(&crc.to_le_bytes());
}

pub(crate) fn at<C: Cursor>(cursor: &C) -> Option<(Vec<u8>, Kept)> {
    cursor.valid().then(|| {
        let entry = cursor.entry();
        assert_eq!(entry.key, cursor.key());
        let value = match entry.value {
            Value::Inline(bytes) => {
                assert_eq!(bytes, cursor.value_bytes());
                FoundValue::Inline(cursor.value_bytes())
            }
            Value::Pointer(to) => FoundValue::Pointer(to),
            Value::Tombstone => FoundValue::Tombstone,
        };
        (entry.key.to_vec(), (value, entry.expiry))
    })
}

pub(crate) fn owned(pair: Option<(&Vec<u8>, &Kept)>) -> Option<(Vec<u8>, Kept)> {
    pair.map(|(key, kept)| (key.clone(), kept.clone()))
}

pub(crate) fn found(kept: &Kept) -> Found {
    Found { value: kept.0.clone(), expiry: kept.1 }
}

pub(crate) fn random_kept(random: &mut Random) -> Kept {
    let value = match random.below(100) {
        0..20 => FoundValue::Pointer(random.next_u64()),
        20..35 => FoundValue::Tombstone,
        35..45 => FoundValue::Inline(vfs::Bytes::new()),
        45..47 => long_value(random, 100 << 10),
        47..55 => long_value(random, 6000),
        _ => long_value(random, 120),
    };
    let expiry = if random.percent(20) { 1 + random.below(1 << 40) } else { 0 };
    (value, expiry)
}

fn long_value(random: &mut Random, limit: usize) -> FoundValue {
    let len = random.index(limit);
    FoundValue::Inline(random.bytes(len).into())
}

/// Keys of one of several shapes.
pub(crate) fn random_key(random: &mut Random, shape: u64) -> Vec<u8> {
    match shape {
        // Few letters and a zero: many prefixes of each other, padding that looks like content.
        0 => {
            let len = 1 + random.index(12);
            (0..len).map(|_| [0, 1, b'a', 255][random.index(4)]).collect()
        }
        // Numbers, high byte first.
        1 => random.below(100_000).to_le_bytes().iter().rev().copied().collect(),
        // A long shared prefix.
        2 => {
            let mut key = vec![b'p'; 700];
            key.extend_from_slice(format!("{:06}/suffix", random.below(50_000)).as_bytes());
            key
        }
        // Equal heads inside groups.
        3 => format!("group{:02}:member:{:05}", random.below(40), random.below(500)).into_bytes(),
        // Any bytes.
        4 => {
            let len = 1 + random.index(40);
            random.bytes(len)
        }
        // The longest, which differ late.
        5 => {
            let mut key = vec![[1, 2, 3][random.index(3)]; sstable::KEY_LEN_MAX];
            let at = sstable::KEY_LEN_MAX - 1 - random.index(3) * 20_000;
            key[at] = random.bytes(1)[0];
            key.truncate(at + 1 + random.index(sstable::KEY_LEN_MAX - at));
            key
        }
        _ => {
            let shape = random.below(6);
            let shape = if shape == 5 && !random.percent(10) { 4 } else { shape };
            random_key(random, shape)
        }
    }
}

pub(crate) fn random_model(random: &mut Random, count: usize, shape: u64) -> Model {
    (0..count).map(|_| (random_key(random, shape), random_kept(random))).collect()
}

/// Keys around one: itself, a bit longer, a bit shorter, a bit larger and smaller.
pub(crate) fn neighbours(key: &[u8]) -> Vec<Vec<u8>> {
    let (mut longer, mut larger, mut smaller) = (key.to_vec(), key.to_vec(), key.to_vec());
    longer.push(0);
    let last = key.len() - 1;
    larger[last] = larger[last].wrapping_add(1);
    smaller[last] = smaller[last].wrapping_sub(1);
    let mut all = vec![key.to_vec(), larger, smaller];
    if longer.len() <= sstable::KEY_LEN_MAX {
        all.push(longer);
    }
    if last > 0 {
        all.push(key[..last].to_vec());
    }
    all
}

/// A table of height 3 and a few dozen pages: groups of keys that differ in the last byte only,
/// so that separators are as long as keys.
pub(crate) fn tall_model(random: &mut Random, groups: usize) -> Model {
    let mut model = Model::new();
    for _ in 0..groups {
        let mut key = random.bytes(600);
        for last in 0..4 {
            *key.last_mut().unwrap() = last;
            let value = if last == 0 { random_kept(random) } else { inline(&[last; 1300]) };
            model.insert(key.clone(), value);
        }
    }
    model
}
