//! A table built from the input, against a `BTreeMap`: gets, seeks and steps. Rows 41, 65, 112.

use std::collections::BTreeMap;
use std::sync::Arc;

use sstable::{
    Builder, BuilderOptions, Cursor, Entry, Expect, FileId, Found, FoundValue, Merge, ReadMode,
    Table, TableCursor, Value,
};
use vfs::{Fs, Name, SimDisk};

use crate::input::Input;
use crate::sst_open::TABLE;

const OWNER: u64 = 9;
type Model = BTreeMap<Vec<u8>, (FoundValue, u64)>;

/// The body.
pub(crate) fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let control = input.u8();
    let mode = [ReadMode::Mapped, ReadMode::Positional][usize::from(control & 1)];
    let bits = u32::from(control >> 1 & 31);
    let mut entries = input.part();
    let disk = SimDisk::new(1);
    let fs = disk.root();
    let model = model(&mut entries);
    let table = build(&fs, 1, &model, bits, mode);
    let report = table.check().expect("what was built is sound");
    assert!(report.entries == model.len() as u64, "every entry is there");
    for (key, (value, expiry)) in &model {
        let found = table.get(key).expect("what was built is read");
        assert!(found == Some(Found { value: value.clone(), expiry: *expiry }), "{key:?}");
    }
    if control & 64 == 0 {
        steer(&mut table.cursor(), &model, &mut input);
    } else {
        // A second table lies below: its entries count where the first has none.
        let mut second = input.part();
        let older = self::model(&mut second);
        let below = build(&fs, 2, &older, bits, mode);
        let mut both = older;
        both.extend(model);
        let sources: Vec<TableCursor> = vec![table.cursor(), below.cursor()];
        steer(&mut Merge::new(sources), &both, &mut input);
    }
}

/// Entries: how much of the key before is kept, what comes behind it, the value.
fn model(input: &mut Input<'_>) -> Model {
    let mut model = Model::new();
    let mut key: Vec<u8> = Vec::new();
    while !input.is_empty() {
        let (kept, form) = (input.u8(), input.u8());
        key.truncate(kept.into());
        key.extend_from_slice(input.bytes(usize::from(form >> 3)));
        // Now and then a key that is longer than a page.
        if form == 0xff {
            key.extend(std::iter::repeat_n(kept, usize::from(input.u16() % 9000)));
        }
        if key.is_empty() {
            key.push(kept);
        }
        let expiry = if form & 4 == 0 { 0 } else { input.number() };
        let value = match form & 3 {
            0 => FoundValue::Tombstone,
            1 => FoundValue::Pointer(input.number()),
            2 => FoundValue::Inline(input.short().to_vec().into()),
            _ => FoundValue::Inline(vec![kept; usize::from(input.u16() % 20_000)].into()),
        };
        model.insert(key.clone(), (value, expiry));
    }
    model
}

fn build(fs: &Arc<dyn Fs>, id: u64, model: &Model, bits: u32, mode: ReadMode) -> Arc<Table> {
    let name = Name::new(TABLE, id);
    let file = fs.create_new(name).expect("the disk is empty");
    let options =
        BuilderOptions { file_id: FileId(id), owner: OWNER, salt: 3, bloom_bits_per_key: bits };
    let mut builder = Builder::new(file, options).expect("legal options");
    for (key, (value, expiry)) in model {
        let value = match value {
            FoundValue::Inline(bytes) => Value::Inline(bytes),
            FoundValue::Pointer(to) => Value::Pointer(*to),
            FoundValue::Tombstone => Value::Tombstone,
        };
        builder.add(Entry { key, value, expiry: *expiry }).expect("keys ascend");
    }
    let built = builder.finish(b"").expect("there is space");
    let expect = Expect { len: built.len, footer_crc: built.footer_crc, owner: OWNER };
    Table::open(fs, name, mode, Some(expect)).expect("what was built opens")
}

/// Moves a cursor as the input says; it is always where the model is.
fn steer(cursor: &mut impl Cursor, model: &Model, input: &mut Input<'_>) {
    let mut at: Option<Vec<u8>> = None;
    while !input.is_empty() {
        let call = input.u8() % 6;
        let key = match (call, input.u8()) {
            (2 | 3, 0) => at.clone().unwrap_or_default(),
            (2 | 3, 1) => [at.clone().unwrap_or_default(), vec![0]].concat(),
            (2 | 3, len) => input.bytes(usize::from(len % 16)).to_vec(),
            _ => Vec::new(),
        };
        let owned =
            |found: Option<(&Vec<u8>, &(FoundValue, u64))>| found.map(|(key, _)| key.clone());
        let (moved, expected) = match call {
            0 => (cursor.seek_first(), owned(model.first_key_value())),
            1 => (cursor.seek_last(), owned(model.last_key_value())),
            2 => (cursor.seek(&key), owned(model.range(key.clone()..).next())),
            3 => (cursor.seek_for_prev(&key), owned(model.range(..=key.clone()).next_back())),
            4 => {
                let behind = at.as_ref().and_then(|at| {
                    use std::ops::Bound::{Excluded, Unbounded};
                    model.range::<Vec<u8>, _>((Excluded(at), Unbounded)).next()
                });
                (cursor.next(), owned(behind))
            }
            _ => {
                let before = at.as_ref().and_then(|at| model.range(..at.clone()).next_back());
                (cursor.prev(), owned(before))
            }
        };
        moved.expect("what was built is read");
        judge(cursor, model, expected.as_ref());
        at = expected;
    }
}

fn judge(cursor: &impl Cursor, model: &Model, expected: Option<&Vec<u8>>) {
    assert!(cursor.valid() == expected.is_some(), "{expected:?} and valid {}", cursor.valid());
    let Some(key) = expected else { return };
    let (value, expiry) = &model[key];
    let entry = cursor.entry();
    assert!(entry.key == key && entry.expiry == *expiry, "{key:?} and {:?}", entry.key);
    let same = match (entry.value, value) {
        (Value::Inline(found), FoundValue::Inline(value)) => {
            found == value && cursor.value_bytes() == value
        }
        (Value::Pointer(found), FoundValue::Pointer(value)) => found == *value,
        (Value::Tombstone, FoundValue::Tombstone) => true,
        _ => false,
    };
    assert!(same, "the value of {key:?}");
}
