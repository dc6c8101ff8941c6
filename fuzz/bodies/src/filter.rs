//! Filters: none hides a key that was put in, whatever number of bits; a forged one gives an
//! answer or `Corrupt`, and a check that passes means that nothing is hidden. Row 52.

use sstable::{Builder, BuilderOptions, Entry, FileId, ReadMode, Table, Value, key_hash};
use vfs::{Name, SimDisk};

use crate::forge;
use crate::input::Input;
use crate::limits::bounded;
use crate::sst_open::{self, TABLE};
use crate::verdict::clear;

const PAGE_LEN: usize = 4096;
/// One key in so many is looked up, too, each at the cost of some pages.
const LOOKED_UP: usize = 41;

/// The body.
pub(crate) fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let bits = input.u8() % 65;
    let many = u32::from(input.u16() % 2500);
    let mut named = input.part();
    let mut keys = std::collections::BTreeSet::new();
    while !named.is_empty() {
        let key = named.short();
        keys.insert(if key.is_empty() { vec![0] } else { key.to_vec() });
    }
    // Enough keys for some pages of blocks.
    keys.extend((0..many).map(|number| number.to_le_bytes().to_vec()));
    let disk = SimDisk::new(1);
    let (fs, name) = (disk.root(), Name::new(TABLE, 1));
    let file = fs.create_new(name).expect("the disk is empty");
    let bloom_bits_per_key = bits.into();
    let options = BuilderOptions { file_id: FileId(1), owner: 9, salt: 3, bloom_bits_per_key };
    let mut builder = Builder::new(file, options).expect("legal options");
    for key in &keys {
        let entry = Entry { key, value: Value::Tombstone, expiry: 0 };
        builder.add(entry).expect("keys ascend");
    }
    builder.finish(b"").expect("there is space");
    let modes = [ReadMode::Mapped, ReadMode::Positional];
    for mode in modes {
        let table = Table::open(&fs, name, mode, None).expect("what was built opens");
        for key in &keys {
            assert!(table.may_contain(key_hash(key)), "{key:?} is hidden");
        }
        for key in keys.iter().step_by(LOOKED_UP) {
            assert!(table.get(key).expect("what was built is read").is_some(), "{key:?}");
        }
    }
    let mut bytes = disk.read_file(name).expect("it was built");
    if !change(&mut input, &mut bytes) {
        return;
    }
    forge::table(1, &mut bytes);
    disk.write_file(name, &bytes);
    let some: Vec<Vec<u8>> = keys.iter().step_by(LOOKED_UP).cloned().collect();
    for mode in modes {
        bounded(bytes.len(), || sst_open::read(&fs, mode, bytes.len(), &some));
        if let Some(table) = clear(Table::open(&fs, name, mode, None))
            && clear(table.check()).is_some()
        {
            let hidden = keys.iter().find(|key| !table.may_contain(key_hash(key)));
            assert!(hidden.is_none(), "{hidden:?} is hidden in a table that is sound");
        }
    }
}

/// Changes bytes of filter pages, props or footer; false if nothing was asked for.
fn change(input: &mut Input<'_>, bytes: &mut [u8]) -> bool {
    let pages = bytes.len() / PAGE_LEN;
    let is_filter = |page: &usize| bytes[page * PAGE_LEN + 4] >= 3;
    let targets: Vec<usize> = (1..pages).filter(is_filter).collect();
    let mut changed = false;
    while !input.is_empty() {
        let page = targets[input.below(targets.len())];
        let at = page * PAGE_LEN + usize::from(input.u16()) % PAGE_LEN;
        let value = input.short();
        let end = (at + value.len()).min(bytes.len());
        bytes[at..end].copy_from_slice(&value[..end - at]);
        changed = true;
    }
    changed
}
