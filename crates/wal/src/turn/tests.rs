use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;

use super::*;
use crate::position::SegmentId;

fn at(offset: u64) -> Position {
    Position { segment: SegmentId(1), offset }
}

fn failure() -> Error {
    Error::invalid("planned", Path::new("disk"))
}

#[test]
fn what_is_done_is_not_done_again() {
    let (turn, poison) = (Turn::new(at(96)), Poison::new(Path::new("log")));
    let never = || -> Result<Position> { panic!("there is nothing to do") };
    turn.reach(at(96), &poison, never).unwrap();
    turn.reach(at(104), &poison, || Ok(at(200))).unwrap();
    turn.reach(at(200), &poison, never).unwrap();
    assert_eq!(turn.done(), at(200));
}

#[test]
fn after_a_failure_nobody_is_told_that_all_is_well() {
    let (turn, poison) = (Turn::new(at(96)), Poison::new(Path::new("log")));
    assert!(matches!(turn.reach(at(104), &poison, || Err(failure())), Err(Error::Invalid { .. })));
    let retried = turn.reach(at(104), &poison, || panic!("nothing is retried"));
    assert!(matches!(retried, Err(Error::Poisoned { .. })));
    let reached_before = turn.reach(at(96), &poison, || panic!("nothing to do"));
    assert!(matches!(reached_before, Err(Error::Poisoned { .. })));
}

/// Two threads that commit one record after the other were two groups that took turns: eight threads
/// had four records a sync. The leader waits for who was there before, and not for ever.
#[test]
fn a_leader_waits_for_those_who_were_there_before_and_gives_up_where_nobody_comes() {
    let (turn, poison) = (Turn::new(at(96)), Poison::new(Path::new("log")));
    let clock = &*vfs::Env::system().clock;
    let reach = |offset| turn.reach_together(at(offset), &poison, clock, || Ok(at(offset)));
    reach(104).unwrap();
    let patience = || turn.queue.lock().patience;
    assert_eq!(patience(), PATIENCE_MAX, "it was alone: nobody to wait for");
    for round in 1..=PATIENT_EVERY {
        let mut queue = turn.queue.lock();
        (queue.expected, queue.took) = (2, Duration::from_secs(1000));
        drop(queue);
        let before = patience();
        reach(104 + 8 * round).unwrap();
        let limit = if round == PATIENT_EVERY { PATIENCE_MAX } else { before };
        assert_eq!(patience(), limit / 2, "nobody came in round {round}");
    }
}

#[test]
fn a_leader_stops_to_wait_when_all_are_there() {
    let (turn, poison) = (Turn::new(at(96)), Poison::new(Path::new("log")));
    let env = vfs::Env::system();
    let (turn, poison, clock) = (&turn, &poison, &*env.clock);
    {
        let mut queue = turn.queue.lock();
        (queue.expected, queue.took) = (2, Duration::from_secs(1000));
    }
    thread::scope(|scope| {
        let follower = scope.spawn(|| {
            while !turn.queue.lock().busy {
                thread::yield_now();
            }
            turn.reach(at(104), poison, || panic!("the leader covers it"))
        });
        let leader = turn.reach_together(at(104), poison, clock, || {
            // Also if it gave up before the other thread ran at all.
            while turn.queue.lock().waiting == 0 {
                thread::yield_now();
            }
            Ok(at(104))
        });
        leader.unwrap();
        follower.join().unwrap().unwrap();
    });
    assert_eq!(turn.queue.lock().expected, 2, "both were there");
}

#[test]
fn a_panic_in_the_work_poisons_and_wakes_those_who_wait() {
    let (turn, poison) = (Turn::new(at(96)), Poison::new(Path::new("log")));
    let (turn, poison) = (&turn, &poison);
    thread::scope(|scope| {
        let (entered, panics) = std::sync::mpsc::channel();
        let leader = scope.spawn(move || {
            turn.reach(at(104), poison, || {
                entered.send(()).unwrap();
                // Until the other thread has had a chance to wait; the test is right either way.
                thread::yield_now();
                panic!("planned")
            })
        });
        panics.recv().unwrap();
        let follower = scope.spawn(|| turn.reach(at(104), poison, || Ok(at(104))));
        assert!(leader.join().is_err());
        assert!(matches!(follower.join().unwrap(), Err(Error::Poisoned { .. })));
    });
}

#[test]
fn one_work_at_a_time_serves_many_and_covers_every_target() {
    const THREADS: u64 = 8;
    const ROUNDS: u64 = 500;
    let turn = Turn::new(at(0));
    let poison = Poison::new(Path::new("log"));
    let (staged, running, works) =
        (AtomicU64::new(0), Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let target = at(staged.fetch_add(8, Ordering::SeqCst) + 8);
                    turn.reach(target, &poison, || {
                        assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
                        let done = staged.load(Ordering::SeqCst);
                        works.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(running.fetch_sub(1, Ordering::SeqCst), 1, "one at a time");
                        Ok(at(done))
                    })
                    .unwrap();
                    assert!(target <= turn.done());
                }
            });
        }
    });
    assert_eq!(turn.done(), at(THREADS * ROUNDS * 8));
    assert!(works.load(Ordering::SeqCst) <= usize::try_from(THREADS * ROUNDS).unwrap());
}
