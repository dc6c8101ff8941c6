use vfs::testing::check_dump;
use vfs::{Kind, Name, SimDisk};

use super::*;

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
