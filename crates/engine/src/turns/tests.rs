use std::cell::Cell;
use std::sync::atomic::AtomicBool;
use std::thread;

use super::*;
use crate::error::Error;

fn lose<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Conflict, "lost"))
}

#[test]
fn attempts_end_with_the_first_that_does_not_lose() {
    let turns = Turns::default();
    let count = Cell::new(0);
    let won = turns.until_won(|| {
        count.set(count.get() + 1);
        if count.get() < 7 { lose() } else { Ok(count.get()) }
    });
    assert_eq!(won.expect("the seventh wins"), 7);
    assert_eq!(turns.starving.load(Ordering::Relaxed), 0, "nobody is left starving");
    let failed: Result<()> = turns.until_won(|| Err(Error::closed()));
    assert_eq!(failed.expect_err("no second attempt").kind(), ErrorKind::Closed);
}

#[test]
fn who_always_loses_hears_of_it_in_the_end() {
    let turns = Turns::default();
    let count = Cell::new(0);
    let lost: Result<()> = turns.until_won(|| {
        count.set(count.get() + 1);
        lose()
    });
    assert_eq!(lost.expect_err("never won").kind(), ErrorKind::Conflict);
    assert_eq!(count.get(), ATTEMPTS_MAX);
}

#[test]
fn a_call_inside_a_losers_attempt_does_not_wait_for_itself() {
    let turns = Turns::default();
    let count = Cell::new(0);
    let won = turns.until_won(|| {
        count.set(count.get() + 1);
        let first = Cell::new(true);
        turns.until_won(|| if first.replace(false) { lose() } else { Ok(()) })?;
        if count.get() < 10 { lose() } else { Ok(()) }
    });
    won.expect("the tenth wins");
}

#[test]
fn losers_exclude_each_other_and_a_starving_one_holds_back_newcomers() {
    let turns = Turns::default();
    let (inside, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let attempt = Cell::new(0);
                    let won = turns.until_won(|| {
                        attempt.set(attempt.get() + 1);
                        if attempt.get() == 1 {
                            return lose();
                        }
                        let was_inside = inside.swap(true, Ordering::SeqCst);
                        assert!(!was_inside, "two losers at once");
                        thread::yield_now();
                        inside.store(false, Ordering::SeqCst);
                        if attempt.get() < 8 { lose() } else { Ok(()) }
                    });
                    won.expect("the eighth wins");
                }
            });
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(stop.load(Ordering::Relaxed));
}
