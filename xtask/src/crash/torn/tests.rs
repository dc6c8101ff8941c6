use super::*;

#[test]
fn rows_003_to_012_an_end_is_an_end_and_damage_is_damage() {
    let torn = Torn::ci();
    let mut outcome = Outcome::default();
    // The whole of it is `cargo xtask crash --rot`.
    for unit in (0..torn.units()).step_by(13) {
        outcome.add(torn.run(unit));
    }
    assert_eq!(outcome.findings, [], "{:?}", outcome.counts);
}
