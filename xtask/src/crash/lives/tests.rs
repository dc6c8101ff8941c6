use super::{Lives, Program, drawn_images, run, shortest_program};
use crate::crash::part::{Outcome, Part};

#[test]
fn lives_of_many_seeds_end_well_and_are_equal_for_equal_seeds() {
    let part = Lives { first: 1, seeds: 50, minimise: true };
    let outcome = part.run(1);
    assert!(outcome.findings.is_empty(), "{:?}", outcome.findings);
    assert_eq!(outcome, part.run(1));
    assert_eq!(outcome.counts["seeds"], 25);
    assert!(outcome.counts["crashes"] >= 5 * 25);
}

#[test]
fn what_fails_is_made_short() {
    let program = Program::draw(3, &drawn_images());
    assert!(program.steps() > 10, "{program}");
    let (mut runs, key) = (0, program.lives.last().expect("lives").steps.first().copied());
    let key = key.expect("the last life has a call");
    let fails = |program: &Program| {
        program.lives.iter().any(|life| life.steps.contains(&key))
            && run(program, &mut Outcome::default()).is_ok()
    };
    runs += 1;
    assert!(fails(&program) && runs == 1);
    let short = shortest_program(&program, &fails);
    assert_eq!((short.lives.len(), short.steps()), (1, 1), "{short}");
}

/// Of two states that look alike, a store is in the one whose entries expire when its own do.
/// (What we believed: no two commits write the same value. What was true: numbers began again with
/// each life, and a put of life 5 without an expiry looked like the value of life 4 that has one.)
#[test]
fn equal_values_with_and_without_an_expiry_are_told_apart() {
    let line = "lives 4295053431 | positional/mapped/never/seeded/hash 11532301 0 - 431:65 \
        | positional/mapped/always/seeded/hash 3139378 0 - 168:18 \
        | mapped/mapped/never/seeded/hash 2749048 0 \
          hugeput.6.256,put.9.1500,sync.3.7000 981:80 \
        | mapped/mapped/never/seeded/hash 11601890 0 \
          batch.3.7000,batch.5.2560,bigput.4.40,expire.4.0,flush.4.1 606:19 \
        | positional/mapped/always/seeded/hash 5459935 0 \
          put.0.256,delete.1.257,put.4.40,batch.11.256,batch.6.0 783:83 \
        | positional/positional/never/lazy/hash 12461862 0 tick.1.2560 1000:33";
    let program: Program = line.parse().expect("a program");
    run(&program, &mut Outcome::default()).expect("the store is right");
}
