use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use super::*;

/// Sends one message when dropped.
struct OnDrop(mpsc::Sender<&'static str>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        // Nobody may listen any more.
        let _ = self.0.send("dropped");
    }
}

#[test]
fn a_parked_job_runs_again_when_it_is_woken() {
    let (sender, steps) = mpsc::channel();
    let mut count = 0;
    let step = move || {
        count += 1;
        sender.send(count).expect("the test listens");
        Next::Park
    };
    let job = ThreadSpawner.spawn("parked", Box::new(step)).expect("spawned");
    assert_eq!(steps.recv(), Ok(1), "called at once");
    job.wake();
    assert_eq!(steps.recv(), Ok(2));
    job.stop();
    assert!(steps.recv().is_err(), "the step is dropped, and was not called again");
}

#[test]
fn a_wake_during_the_step_is_not_lost() {
    let (sender, steps) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let step = move || {
        sender.send(()).expect("the test listens");
        let _ = wait.recv();
        Next::Park
    };
    let job = ThreadSpawner.spawn("woken", Box::new(step)).expect("spawned");
    steps.recv().expect("the step runs");
    job.wake();
    go.send(()).expect("the step waits");
    steps.recv().expect("it runs again");
    drop(go);
    job.stop();
}

#[test]
fn a_job_goes_on_while_it_wants_to_and_ends_when_it_says_so() {
    let count = Arc::new(AtomicU64::new(0));
    let (sender, dropped) = mpsc::channel();
    let (inside, guard) = (Arc::clone(&count), OnDrop(sender));
    let step = move || {
        let _keep = &guard;
        match inside.fetch_add(1, Ordering::SeqCst) {
            0 => Next::Again,
            1 => Next::ParkFor(Duration::from_nanos(1)),
            _ => Next::Stop,
        }
    };
    let job = ThreadSpawner.spawn("counting", Box::new(step)).expect("spawned");
    assert_eq!(dropped.recv(), Ok("dropped"));
    assert_eq!(count.load(Ordering::SeqCst), 3);
    job.wake();
    job.stop();
    job.stop();
}

#[test]
fn when_stop_returns_the_step_is_dropped() {
    let (sender, dropped) = mpsc::channel();
    let guard = OnDrop(sender);
    let step = move || {
        let _keep = &guard;
        Next::Park
    };
    let job = ThreadSpawner.spawn("stopped", Box::new(step)).expect("spawned");
    job.stop();
    assert_eq!(dropped.try_recv(), Ok("dropped"));
}

#[test]
fn a_job_that_stops_itself_does_not_wait_for_itself() {
    let (hand_over, own) = mpsc::channel::<Box<dyn Job>>();
    let (sender, dropped) = mpsc::channel();
    let guard = OnDrop(sender);
    let step = move || {
        let _keep = &guard;
        own.recv().expect("its own handle").stop();
        Next::Again
    };
    let job = ThreadSpawner.spawn("suicidal", Box::new(step)).expect("spawned");
    hand_over.send(job).expect("the step listens");
    assert_eq!(dropped.recv(), Ok("dropped"));
}

#[test]
fn a_step_that_panics_ends_its_job_and_nothing_else() {
    let step = || panic!("a bug in a step, for the test");
    let job = ThreadSpawner.spawn("panicking", Box::new(step)).expect("spawned");
    job.stop();
    job.wake();
}

#[test]
fn two_threads_may_stop_the_same_job() {
    let job = ThreadSpawner.spawn("shared", Box::new(|| Next::Park)).expect("spawned");
    std::thread::scope(|scope| {
        scope.spawn(|| job.stop());
        scope.spawn(|| job.stop());
    });
    assert!(!ThreadSpawner.run_one(), "threads need no help");
}

#[test]
fn time_is_after_2024_and_does_not_go_back() {
    let clock = SystemClock::default();
    assert!(clock.wall_ms() > 1_704_067_200_000);
    let (one, two) = (clock.mono(), clock.mono());
    assert!(one <= two);
}
