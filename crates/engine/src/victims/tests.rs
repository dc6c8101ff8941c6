use super::*;
use crate::catalog::Change;

/// Files of 1000 bytes: id, origin, garbage.
fn catalog(files: &[(u32, SegmentOrigin, u64)]) -> Catalog {
    let mut catalog = Catalog { wal_min: 100, ..Catalog::default() };
    for (id, origin, garbage) in files {
        let (id, origin, garbage) = (*id, *origin, *garbage);
        let segment = SegmentRecord { id, origin, len: 1000, first_seq: 1, last_seq: 9, garbage };
        catalog.apply(Change::SegmentAdded { segment }).expect("it is new");
    }
    catalog
}

fn ids(catalog: &Catalog, zeal: Zeal) -> Vec<u32> {
    let found = candidates(catalog, &Options::default(), zeal, &|_| false);
    found.iter().map(|file| file.id).collect()
}

const COPIED: SegmentOrigin = SegmentOrigin::Copied;
const PROMOTED: SegmentOrigin = SegmentOrigin::Promoted;

#[test]
fn below_the_total_bound_only_forced_files_are_taken() {
    // 24 % in total.
    let catalog = catalog(&[(1, COPIED, 810), (2, COPIED, 150), (3, COPIED, 0), (4, COPIED, 0)]);
    for zeal in [Zeal::Forced, Zeal::Advised] {
        assert_eq!(ids(&catalog, zeal), [1], "{zeal:?}");
    }
}

#[test]
fn a_caller_has_the_total_brought_a_fifth_below_its_bound() {
    let total_of =
        |garbage| catalog(&[(1, COPIED, garbage), (2, COPIED, 0), (3, COPIED, 0), (4, COPIED, 0)]);
    assert_eq!(ids(&total_of(790), Zeal::Full), Vec::<u32>::new());
    assert_eq!(ids(&total_of(810), Zeal::Full), [1]);
    let even = catalog(&[(1, COPIED, 210), (2, COPIED, 210)]);
    assert_eq!(ids(&even, Zeal::Advised), Vec::<u32>::new());
    assert_eq!(ids(&even, Zeal::Full), [1, 2]);
    let even = catalog(&[(1, COPIED, 190), (2, COPIED, 190)]);
    assert_eq!(ids(&even, Zeal::Full), Vec::<u32>::new());
}

#[test]
fn above_it_the_background_takes_advised_files_and_a_caller_any() {
    let catalog = catalog(&[(1, COPIED, 390), (2, COPIED, 410), (3, COPIED, 0), (4, COPIED, 450)]);
    assert_eq!(ids(&catalog, Zeal::Forced), Vec::<u32>::new());
    assert_eq!(ids(&catalog, Zeal::Advised), [2, 4]);
    assert_eq!(ids(&catalog, Zeal::Full), [1, 2, 4]);
}

#[test]
fn age_counts_as_much_as_garbage() {
    // Scores: 0.5 x 100 / 1.5 = 33, 0.6 x 60 / 1.4 = 26, 0.9 x 20 / 1.1 = 16.
    let catalog =
        catalog(&[(10, COPIED, 500), (50, COPIED, 600), (90, COPIED, 900), (109, COPIED, 0)]);
    assert_eq!(ids(&catalog, Zeal::Advised), [10, 50, 90]);
}

#[test]
fn what_the_log_still_needs_is_never_taken_and_neither_is_what_is_skipped() {
    let catalog = catalog(&[(99, PROMOTED, 900), (100, PROMOTED, 900), (101, COPIED, 900)]);
    assert_eq!(ids(&catalog, Zeal::Full), [99, 101]);
    let found = candidates(&catalog, &Options::default(), Zeal::Full, &|id| id == 101);
    assert_eq!(found.len(), 1);
}

#[test]
fn several_files_are_taken_together_until_what_is_live_fills_a_segment() {
    let catalog =
        catalog(&[(1, COPIED, 900), (2, COPIED, 900), (3, COPIED, 900), (4, COPIED, 1000)]);
    let count = |segment_bytes| {
        let found = candidates(&catalog, &Options::default(), Zeal::Full, &|_| false);
        choose(found, segment_bytes).len()
    };
    // Live are 100, 100, 100 and, counted as one byte, 0.
    assert_eq!((count(1), count(100), count(250), count(1000)), (1, 1, 2, 4));
}

#[test]
fn a_count_is_wrong_when_it_is_off_by_more_than_the_tolerance() {
    let catalog = catalog(&[(1, COPIED, 500), (2, COPIED, 3000)]);
    let wrong = |id: u32, garbage| is_wrong(&catalog.segments[&id], garbage, 0.1);
    assert_eq!([399, 400, 600, 601].map(|garbage| wrong(1, garbage)), [true, false, false, true]);
    // No file has more garbage than bytes: these are equal.
    assert!(!wrong(2, 3000) && !wrong(2, 1000) && !wrong(2, 5000) && wrong(2, 800));
}

#[test]
fn more_garbage_than_bytes_counts_as_all_of_them() {
    let catalog = catalog(&[(1, COPIED, u64::MAX), (2, COPIED, 0), (3, COPIED, 0)]);
    assert!((total_share(&catalog) - 1.0 / 3.0).abs() < 1e-9);
    assert_eq!(
        choose(candidates(&catalog, &Options::default(), Zeal::Full, &|_| false), 10).len(),
        1
    );
    assert!(total_share(&Catalog::default()).abs() < 1e-9);
}
