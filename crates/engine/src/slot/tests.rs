use vfs::testing::check_dump;
use wal::{Position, SegmentId};

use super::*;

const DUMPS: &str = include_str!("../../../../docs/formats/vlog.md");

fn pointer() -> ValuePtr {
    ValuePtr::new(Position { segment: SegmentId(3), offset: 128 }, 40)
}

#[test]
fn bytes_are_as_documented() {
    check_dump(DUMPS, "slot", &Slot::new(pointer(), false, 1_750_000_000_001).encode());
    check_dump(DUMPS, "slot of a delete", &Slot::new(pointer(), true, 0).encode());
}

#[test]
fn the_segment_of_the_pointer_stands_where_the_table_lists_it() {
    let bytes = Slot::new(pointer(), false, 0).encode();
    assert_eq!(bytes[usize::from(SEGMENT_OFFSET)..][..4], 3_u32.to_le_bytes());
}

#[test]
fn a_slot_decodes_to_what_was_encoded_and_never_tells_a_wrong_expiry() {
    let last = u64::from(EXPIRY_ESCAPE) * UNIT_MS;
    for expiry in [0, 1, 1999, 2000, 2001, 4000, 1 << 40, last - UNIT_MS, last, u64::MAX] {
        for is_delete in [false, true] {
            let slot = Slot::new(pointer(), is_delete, expiry);
            assert_eq!(Slot::decode(&slot.encode()), slot);
            assert_eq!((slot.pointer, slot.is_delete), (pointer(), is_delete));
            let times = [0, 1, 1000, 2000, 3000, 4000, 1 << 40, last, u64::MAX];
            let around = [expiry.saturating_sub(1), expiry, expiry.saturating_add(1)];
            for now_ms in times.into_iter().chain(around) {
                let is_expired = expiry != 0 && expiry <= now_ms;
                match slot.expiry(now_ms) {
                    Expiry::Passed => assert!(is_expired, "{expiry} at {now_ms}"),
                    Expiry::NotBefore(time) => assert!(now_ms < time && time <= expiry),
                    Expiry::Never => assert_eq!(expiry, 0),
                    Expiry::AskRecord => assert_ne!(expiry, 0, "a slot knows what never expires"),
                }
            }
        }
    }
    let slot = Slot::new(pointer(), false, 1_000_000);
    assert_eq!(slot.expiry(998_000), Expiry::NotBefore(998_001), "two seconds off, it knows");
    assert_eq!(slot.expiry(1_000_000), Expiry::Passed);
}
