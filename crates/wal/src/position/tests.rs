use super::*;

#[test]
fn positions_encode_to_eight_bytes_and_back() {
    for (segment, offset) in [(0, 0), (1, 96), (u32::MAX, 8), (7, u64::from(u32::MAX) * 8)] {
        let position = Position { segment: SegmentId(segment), offset };
        assert_eq!(Position::decode(position.encode()), position);
    }
}

#[test]
fn positions_order_by_segment_then_offset() {
    let at = |segment, offset| Position { segment: SegmentId(segment), offset };
    assert!(at(1, 1 << 30) < at(2, 0));
    assert!(at(2, 8) < at(2, 16));
}

#[test]
fn ids_grow_skip_what_was_seen_and_run_out_with_an_error() {
    let ids = SegmentIds::new();
    let shared = ids.clone();
    assert_eq!(ids.next().unwrap(), SegmentId(1));
    shared.raise_above(SegmentId(9));
    shared.raise_above(SegmentId(4));
    assert_eq!(ids.next().unwrap(), SegmentId(10));
    assert_eq!(ids.peek(), SegmentId(10));
    ids.raise_above(SegmentId(u32::MAX - 1));
    assert_eq!(ids.next().unwrap(), SegmentId(u32::MAX));
    assert!(matches!(ids.next(), Err(Error::Invalid { .. })));
    assert!(matches!(ids.next(), Err(Error::Invalid { .. })));
}
