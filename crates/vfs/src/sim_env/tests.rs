use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use super::*;
use crate::testing::seeds;

fn log() -> (Arc<Mutex<Vec<&'static str>>>, impl Fn(&'static str) -> Step) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&log);
    let step = move |name| -> Step {
        let log = Arc::clone(&shared);
        Box::new(move || {
            log.lock().push(name);
            Next::Park
        })
    };
    (log, step)
}

#[test]
fn jobs_run_only_when_told_to_and_in_the_order_that_is_chosen() {
    let sim = Env::sim(1);
    let (log, step) = log();
    let jobs = ["a", "b", "c"].map(|name| sim.env.spawner.spawn(name, step(name)));
    assert_eq!(sim.spawner.runnable(), 3);
    assert!(log.lock().is_empty());
    assert!(sim.spawner.step_one(1));
    assert!(sim.spawner.step_one(7));
    assert!(sim.spawner.step_one(0));
    assert!(!sim.spawner.step_one(0));
    assert_eq!(*log.lock(), ["b", "c", "a"]);
    jobs[2].as_ref().expect("spawned").wake();
    assert_eq!(sim.spawner.run_until_idle(), 1);
    assert_eq!(log.lock().last(), Some(&"c"));
}

#[test]
fn one_seed_is_one_schedule() {
    let run = |seed| {
        let sim = Env::sim(seed);
        let (log, _) = log();
        let jobs: Vec<_> = ["a", "b", "c"]
            .into_iter()
            .map(|name| {
                let (log, mut left) = (Arc::clone(&log), 20);
                let step = move || {
                    log.lock().push(name);
                    left -= 1;
                    if left > 0 { Next::Again } else { Next::Stop }
                };
                sim.env.spawner.spawn(name, Box::new(step)).expect("spawned")
            })
            .collect();
        assert_eq!(sim.spawner.run_until_idle(), 60);
        drop(jobs);
        let order = log.lock().clone();
        (order, sim.env.rng.next_u64())
    };
    for seed in seeds(5) {
        assert_eq!(run(seed), run(seed));
        assert_ne!(run(seed).0, run(seed ^ 1).0);
    }
}

#[test]
fn sleepers_wake_when_the_clock_reaches_their_time_or_when_woken() {
    let sim = Env::sim(1);
    let step = || Next::ParkFor(Duration::from_secs(5));
    let job = sim.env.spawner.spawn("sleeper", Box::new(step)).expect("spawned");
    assert_eq!(sim.spawner.run_until_idle(), 1);
    assert_eq!(sim.spawner.next_due(), Some(Duration::from_secs(5)));
    sim.clock.advance(Duration::from_secs(4));
    assert_eq!(sim.spawner.run_until_idle(), 0);
    sim.clock.advance(Duration::from_secs(1));
    assert_eq!(sim.spawner.run_until_idle(), 1);
    job.wake();
    assert!(sim.env.spawner.run_one());
    assert!(!sim.env.spawner.run_one());
}

#[test]
fn a_stopped_job_is_dropped_at_once_or_after_its_own_step() {
    let sim = Env::sim(1);
    let held = Arc::new(());
    let inside = Arc::clone(&held);
    let step = move || {
        assert_eq!(Arc::strong_count(&inside), 2);
        Next::Park
    };
    let job = sim.env.spawner.spawn("held", Box::new(step)).expect("spawned");
    assert_eq!(sim.spawner.run_until_idle(), 1);
    job.stop();
    assert_eq!(Arc::strong_count(&held), 1);
    job.wake();
    assert_eq!(sim.spawner.run_until_idle(), 0);

    let own: Arc<OnceLock<Box<dyn Job>>> = Arc::default();
    let inside = Arc::clone(&own);
    let step = move || {
        inside.get().expect("its own handle").stop();
        Next::Again
    };
    let job = sim.env.spawner.spawn("suicidal", Box::new(step)).expect("spawned");
    own.set(job).expect("first");
    assert_eq!(sim.spawner.run_until_idle(), 1);
    assert_eq!(Arc::strong_count(&own), 1, "the step is dropped");
}

#[test]
fn a_step_may_spawn_and_wake_jobs() {
    let sim = Env::sim(1);
    let (log, step) = log();
    let spawner = Arc::clone(&sim.env.spawner);
    let mut children = Vec::new();
    let parent = move || {
        children.push(spawner.spawn("child", step("child")).expect("spawned"));
        Next::Park
    };
    let _parent = sim.env.spawner.spawn("parent", Box::new(parent)).expect("spawned");
    assert_eq!(sim.spawner.run_until_idle(), 2);
    assert_eq!(*log.lock(), ["child"]);
}

#[test]
fn a_step_that_panics_ends_its_job() {
    let sim = Env::sim(1);
    let step = || panic!("a bug in a step, for the test");
    let _job = sim.env.spawner.spawn("panicking", Box::new(step)).expect("spawned");
    assert!(catch_unwind(AssertUnwindSafe(|| sim.spawner.step_one(0))).is_err());
    assert_eq!(sim.spawner.run_until_idle(), 0);
    assert!(format!("{:?}", sim.spawner).contains("jobs: []"));
}

#[test]
fn row_090_the_wall_clock_jumps_to_any_value_and_monotonic_time_does_not() {
    let clock = SimClock::default();
    let start = clock.wall_ms();
    clock.jump_wall_ms(-3_600_000);
    assert_eq!(clock.wall_ms(), start - 3_600_000);
    clock.jump_wall_ms(i64::MIN);
    assert_eq!(clock.wall_ms(), 0);
    clock.set_wall_ms(u64::MAX);
    clock.jump_wall_ms(i64::MAX);
    clock.advance(Duration::from_secs(1));
    assert_eq!(clock.wall_ms(), u64::MAX);
    assert_eq!(clock.mono(), Duration::from_secs(1));
}
