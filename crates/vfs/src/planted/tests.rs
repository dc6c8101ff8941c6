use super::{Bug, is, reached, with};

#[test]
fn a_bug_is_on_inside_and_on_one_thread_only() {
    let bug = Bug::ALL[0];
    assert!(!is(bug) && !reached());
    with(Some(bug), || {
        assert!(is(bug) && !is(Bug::ALL[1]));
        let elsewhere = std::thread::spawn(move || is(bug)).join();
        assert!(!elsewhere.expect("it does not panic"));
        with(None, || assert!(!is(bug)));
        assert!(is(bug), "as before");
    });
    assert!(!is(bug), "off again");
    assert!(reached() && !reached(), "told once");
}

#[test]
fn a_panic_switches_it_off() {
    let bug = Bug::ALL[0];
    let panicked = std::panic::catch_unwind(|| with(Some(bug), || panic!("planted")));
    assert!(panicked.is_err() && !is(bug));
}

#[test]
fn every_bug_names_family_and_row() {
    for bug in Bug::ALL {
        let (place, what) = bug.says().split_once(": ").expect("place: what");
        let (family, row) = place.split_once(", ").expect("family, row");
        let row: u32 = row.parse().expect("a row of the catalogue");
        assert!(!family.is_empty() && (1..=118).contains(&row) && what.ends_with('.'), "{bug:?}");
    }
}
