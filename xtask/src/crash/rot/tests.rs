use super::*;

#[test]
fn row_071_073_no_damage_of_a_small_sample_is_served_or_goes_unreported() {
    let rot = Rot::sample(400);
    let mut outcome = Outcome::default();
    for unit in 0..rot.units() {
        outcome.add(rot.run(unit));
    }
    assert_eq!(outcome.findings, [], "{:?}", outcome.counts);
}

#[test]
fn a_case_is_read_as_it_is_shown() {
    let rot = Rot::sample(100);
    let plan = rot.plan();
    for (base, case) in plan.cases.iter() {
        let base = &plan.bases[usize::from(*base)];
        let line = case.show(base).to_string();
        assert_eq!(Case::parse(&line, base).expect("it was shown"), *case, "{line}");
    }
}
