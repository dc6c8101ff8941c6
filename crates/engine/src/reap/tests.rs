use super::*;
use crate::catalog::RemapRecord;

fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    for (id, origin) in [
        (1, SegmentOrigin::Promoted),
        (2, SegmentOrigin::Copied),
        (10, SegmentOrigin::Rewritten),
        (11, SegmentOrigin::Rewritten),
    ] {
        let (len, first_seq, last_seq, garbage) = (100, 1, 9, 0);
        let segment = SegmentRecord { id, origin, len, first_seq, last_seq, garbage };
        catalog.apply(Change::SegmentAdded { segment }).expect("it is new");
    }
    for (id, targets) in [(3, vec![10]), (4, vec![10, 11])] {
        let remap = RemapRecord { file: u64::from(id), len: 8192, footer_crc: 1, targets };
        catalog.apply(Change::RemapSet { segment: id, remap }).expect("it fits");
    }
    catalog
}

fn reaped(listed: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let listed: Listed = listed.iter().copied().collect();
    let found = unlisted(&catalog(), &listed);
    let files: Vec<u32> = found.files.iter().map(|file| file.id).collect();
    assert_eq!(found.bytes(), 100 * files.len() as u64);
    let mut after = catalog();
    for change in found.changes() {
        after.apply(change).expect("it fits");
    }
    assert_eq!(unlisted(&after, &listed), Unlisted::default(), "a second time there is nothing");
    (files, found.remaps)
}

#[test]
fn what_is_listed_stays_and_takes_what_it_leads_to_along() {
    assert_eq!(reaped(&[1, 2, 3, 4]), (vec![], vec![]));
    assert_eq!(reaped(&[2, 3, 4]), (vec![1], vec![]));
    assert_eq!(reaped(&[1, 2, 3]), (vec![11], vec![4]));
    assert_eq!(reaped(&[1, 2, 4]), (vec![], vec![3]));
    assert_eq!(reaped(&[1, 2]), (vec![10, 11], vec![3, 4]));
    // The id of a rewritten file is no address space.
    assert_eq!(reaped(&[10, 11]), (vec![1, 2, 10, 11], vec![3, 4]));
    assert_eq!(reaped(&[]), (vec![1, 2, 10, 11], vec![3, 4]));
}

#[test]
fn a_file_without_a_list_keeps_everything() {
    assert_eq!(unlisted(&catalog(), &Listed::everything()), Unlisted::default());
}
