use super::{Random, Zipfian, distinct_uniform, to_f64};

#[test]
fn the_most_frequent_rank_gets_its_share() {
    let zipfian = Zipfian::new(1000, 0.99);
    let mut random = Random::new(1);
    let draws = 100_000;
    let first = (0..draws).filter(|_| zipfian.rank(&mut random) == 0).count();
    let share = to_f64(first as u64) / f64::from(draws);
    let expected = 1.0 / zipfian.zeta;
    assert!((share - expected).abs() < 0.01, "{share} instead of {expected}");
}

#[test]
fn few_draws_are_all_distinct_and_many_reach_every_key() {
    assert!((distinct_uniform(10.0, 1e9) - 10.0).abs() < 1e-3);
    assert!((distinct_uniform(1e6, 1e3) - 1e3).abs() < 1e-3);
}
