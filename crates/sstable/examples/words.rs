//! A static map: counts the words of a text into a table, then looks words up.
//!
//! `cargo run -p sstable --example words -- [WORD ...]` counts this crate's own README; give a
//! text on standard input with `-` as the first word.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Read;

use sstable::{
    Builder, BuilderOptions, Cursor, Entry, Expect, FileId, FoundValue, ReadMode, Table, Value,
};
use vfs::{Env, Kind, Name};

fn main() -> Result<(), Box<dyn Error>> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let mut text = include_str!("../README.md").to_string();
    if words.first().is_some_and(|word| word == "-") {
        words.remove(0);
        text.clear();
        std::io::stdin().read_to_string(&mut text)?;
    }
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }

    let dir = tempfile::tempdir()?;
    let fs = vfs::StdFs::open(dir.path())?;
    let name = Name::new(Kind::new("words"), 1);
    let rng = Env::system().rng;
    let (owner, salt) = (rng.next_u64(), rng.next_u64());
    let options = BuilderOptions { file_id: FileId(1), owner, salt, bloom_bits_per_key: 10 };
    let mut builder = Builder::new(fs.create_new(name)?, options)?;
    for (word, count) in counts.iter().filter(|(word, _)| word.len() <= sstable::KEY_LEN_MAX) {
        builder.add(Entry { key: word.as_bytes(), value: Value::Pointer(*count), expiry: 0 })?;
    }
    let built = builder.finish(b"")?;
    fs.sync_dir()?;
    println!(
        "{} words in {} bytes, {} to {}",
        built.count,
        built.len,
        text_of(&built.smallest),
        text_of(&built.largest)
    );

    let expect = Expect { len: built.len, footer_crc: built.footer_crc, owner };
    let table = Table::open(&fs, name, ReadMode::Mapped, Some(expect))?;
    if words.is_empty() {
        words.extend(["lotus", "table", "absent"].map(String::from));
    }
    for word in words {
        match table.get(word.to_lowercase().as_bytes())?.map(|found| found.value) {
            Some(FoundValue::Pointer(count)) => println!("{word}: {count} times"),
            _ => {
                let mut cursor = table.cursor();
                cursor.seek(word.as_bytes())?;
                let next = if cursor.valid() { text_of(cursor.key()) } else { "nothing".into() };
                println!("{word}: never; behind it comes {next}");
            }
        }
    }
    Ok(())
}

fn text_of(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}
