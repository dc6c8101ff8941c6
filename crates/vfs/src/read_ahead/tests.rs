use super::*;

const PAGE_LEN: usize = 4096;

/// Goes through `len` bytes by pages, and says at which of them something was asked for.
fn walk(len: usize, backward: bool) -> Vec<usize> {
    let bytes = vec![0; len];
    let mut ahead = ReadAhead::default();
    let mut asked_at = Vec::new();
    for page in 0..len / PAGE_LEN {
        let at = if backward { len - (page + 1) * PAGE_LEN } else { page * PAGE_LEN };
        let before = ahead;
        if backward {
            ahead.backward(&bytes, at)
        } else {
            ahead.forward(&bytes, at)
        }
        if (before.from, before.upto) != (ahead.from, ahead.upto) {
            asked_at.push(at);
        }
        let is_covered = match backward {
            true => ahead.from <= at.saturating_sub(PAGE_LEN),
            false => ahead.upto >= len.min(at + 2 * PAGE_LEN),
        };
        assert!(is_covered, "the next page was asked for, {ahead:?} at {at}");
    }
    asked_at
}

#[test]
fn a_walk_is_ahead_of_itself_and_asks_seldom() {
    for backward in [false, true] {
        let len = 32 << 20;
        let asked_at = walk(len, backward);
        assert!(asked_at.len() < 40, "{} times", asked_at.len());
        let last = asked_at.last().expect("it asked");
        let left = if backward { *last } else { len - last };
        assert!(left > LEN_MAX / 4, "nothing is asked for at the end, again and again");
    }
}

#[test]
fn a_jump_starts_again_with_little() {
    let bytes = vec![0; 16 << 20];
    let mut ahead = ReadAhead::default();
    for at in (0..8 << 20).step_by(PAGE_LEN) {
        ahead.forward(&bytes, at);
    }
    assert_eq!(ahead.len, LEN_MAX);
    ahead.forward(&bytes, 100);
    assert_eq!((ahead.from, ahead.upto, ahead.len), (100, 100 + LEN_MIN, LEN_MIN));
}

#[test]
fn a_part_that_is_not_inside_is_left_alone() {
    let bytes = vec![7; 100_000];
    for part in [0..100_000, 5..6, 99_999..200_000, 100_000..100_001, 200_000..300_000, 8..8] {
        will_need(&bytes, part);
    }
    assert!(bytes.iter().all(|byte| *byte == 7));
}
