use super::*;

#[test]
fn a_mark_is_of_what_starts_in_its_bytes_and_of_nothing_else() {
    let marks = Marks::default();
    let len = 100_000;
    let set: Vec<u64> = (0..len).step_by(MARK_BYTES * 7).collect();
    for offset in &set {
        assert!(!marks.get(*offset));
        marks.set(*offset + 8, usize::try_from(len).expect("small"));
    }
    for offset in (0..len).step_by(8) {
        let start = offset - offset % MARK_BYTES as u64;
        assert_eq!(marks.get(offset), set.contains(&start), "{offset}");
    }
}

#[test]
fn behind_the_end_nothing_is_marked() {
    let marks = Marks::default();
    marks.set(1 << 40, 4096);
    marks.prefetch(1 << 40);
    assert!(!marks.get(1 << 40));
    assert!(!marks.get(u64::MAX));
}
