use std::cell::Cell;

use super::shortest;

#[test]
fn what_is_left_is_what_matters() {
    let all: Vec<u32> = (0..100).collect();
    let asked = Cell::new(0);
    let fails = |list: &[u32]| {
        asked.set(asked.get() + 1);
        list.contains(&17) && list.contains(&63) && list.contains(&64)
    };
    assert_eq!(shortest(&all, &fails), [17, 63, 64]);
    assert!(asked.get() < 200, "{} questions", asked.get());
}

#[test]
fn nothing_is_left_of_what_always_fails_and_all_of_what_needs_all() {
    assert_eq!(shortest(&[1, 2, 3], &|_| true), [0; 0]);
    assert_eq!(shortest(&[1, 2, 3], &|list| list.len() == 3), [1, 2, 3]);
    assert_eq!(shortest(&[0; 0], &|_| false), [0; 0]);
}
