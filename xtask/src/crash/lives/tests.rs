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
