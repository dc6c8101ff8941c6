use vfs::testing::check_dump;
use vfs::{Kind, Name, SimDisk};

use super::*;
use crate::{Expect, Found, FoundValue, ReadMode, Table};

const DUMPS: &str = include_str!("../../../../docs/formats/sstable.md");

#[test]
fn bytes_are_as_documented() {
    let disk = SimDisk::new(1);
    let name = Name::new(Kind::new("tbl"), 18);
    let options = BuilderOptions {
        file_id: FileId(18),
        owner: 0x0102_0304_0506_0708,
        salt: 0x1112_1314_1516_1718,
        bloom_bits_per_key: 10,
    };
    let mut builder = Builder::new(disk.root().create_new(name).unwrap(), options).unwrap();
    let entries = [
        Entry { key: b"lotus", value: Value::Inline(b"flower"), expiry: 0 },
        Entry { key: b"lotus/leaf", value: Value::Pointer(0x2a), expiry: 9 },
        Entry { key: b"lotus/nelumbo nucifera", value: Value::Tombstone, expiry: 0 },
    ];
    for entry in entries {
        builder.add(entry).unwrap();
    }
    let built = builder.finish(b"own").unwrap();
    let bytes = disk.read_file(name).unwrap();
    assert_eq!((bytes.len(), built.len), (5 * PAGE_LEN, 5 * PAGE_BYTES));
    let sections: [(&str, usize, usize); 7] = [
        ("header", 0, 40),
        ("header checksum", 4092, 4),
        ("leaf", PAGE_LEN, 112),
        ("filter", 2 * PAGE_LEN, 128),
        ("props", 3 * PAGE_LEN, 126),
        ("footer", 4 * PAGE_LEN, 48),
        ("footer padding", 5 * PAGE_LEN - 1, 1),
    ];
    let mut end = 0;
    for (section, start, len) in sections {
        assert!(bytes[end..start].iter().all(|byte| *byte == 0), "zeros before {section}");
        end = start + len;
        check_dump(DUMPS, section, &bytes[start..end]);
    }
    assert_eq!(built.footer_crc.to_le_bytes(), bytes[4 * PAGE_LEN..][..4]);
}

#[test]
fn bytes_of_an_inner_node_are_as_documented() {
    let mut node = InnerFill::default();
    for (separator, child) in [("", 1), ("lotus/m", 2), ("lotus/nelumbo", 5)] {
        node.push(separator.as_bytes(), child);
    }
    let mut page = Vec::new();
    assert_eq!(node.encode(1, &mut page).0, 1);
    seal_page(7, 6, &mut page);
    let (used, rest) = page.split_at(78);
    check_dump(DUMPS, "inner", used);
    assert!(rest.iter().all(|byte| *byte == 0));
}

#[test]
fn the_estimate_follows_the_file() {
    let disk = SimDisk::new(1);
    let name = Name::new(Kind::new("tbl"), 1);
    let options = BuilderOptions { file_id: FileId(1), owner: 1, salt: 1, bloom_bits_per_key: 10 };
    let mut builder = Builder::new(disk.root().create_new(name).unwrap(), options).unwrap();
    for n in 0..30_000_u32 {
        let key = n.swap_bytes().to_le_bytes();
        builder.add(Entry { key: &key, value: Value::Inline(&[1; 20]), expiry: 0 }).unwrap();
    }
    let estimate = builder.len_estimate();
    let len = builder.finish(b"").unwrap().len;
    assert!(estimate.abs_diff(len) < len / 20, "estimated {estimate}, built {len}");
}

/// A table whose leaves start `skipped` pages behind the header, as if the hole were full of others.
fn far_table(disk: &SimDisk, skipped: u32, keys: u32) -> Result<(Name, Built)> {
    let name = Name::new(Kind::new("tbl"), 3);
    let options = BuilderOptions { file_id: FileId(3), owner: 7, salt: 5, bloom_bits_per_key: 10 };
    let mut builder = Builder::new(disk.root().create_new(name)?, options)?;
    builder.flush()?;
    builder.page += skipped;
    builder.leaf_page = builder.page;
    builder.written = page_offset(builder.page);
    for key in 0..keys {
        let key = format!("key{key:05}");
        builder.add(Entry { key: key.as_bytes(), value: Value::Inline(&[9; 300]), expiry: 0 })?;
    }
    Ok((name, builder.finish(b"far")?))
}

#[test]
fn row_064_pages_past_4_gib_and_up_to_the_last_number_are_found_in_a_sparse_file() {
    // Around 4 GiB, at 2^40, and where the last leaf has the last number that is allowed.
    for skipped in [(1 << 20) - 10, 1 << 20, 1 << 28, PAGE_MAX - 30] {
        let disk = SimDisk::new(1);
        let (name, built) = far_table(&disk, skipped, 200).unwrap();
        assert!(built.len > page_offset(skipped) + 16 * PAGE_BYTES, "{built:?}");
        let expect = Expect { len: built.len, footer_crc: built.footer_crc, owner: 7 };
        let mode = ReadMode::Positional;
        let table = Table::open(&disk.root(), name, mode, Some(expect)).unwrap();
        for key in 0..200 {
            let found = table.get(format!("key{key:05}").as_bytes()).unwrap();
            let value = FoundValue::Inline(vec![9; 300].into());
            assert_eq!(found, Some(Found { value, expiry: 0 }), "key {key} behind {skipped}");
            assert_eq!(table.get(format!("key{key:05}x").as_bytes()).unwrap(), None);
        }
    }
}

#[test]
fn row_064_a_tree_of_more_pages_than_numbers_is_refused_before_it_is_written() {
    let disk = SimDisk::new(1);
    let error = far_table(&disk, PAGE_MAX - 5, 200).unwrap_err();
    assert!(error.to_string().contains("8 TiB"), "{error}");
}
