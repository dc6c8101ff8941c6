use super::*;

#[test]
fn row_r12_equal_seeds_make_equal_calls() {
    let part = Determinism { seeds: 16, seed: vfs::testing::seed() };
    let mut sum = Outcome::default();
    (0..part.units()).for_each(|unit| sum.add(part.run(unit)));
    assert_eq!(sum.findings, []);
    assert!(sum.counts["seeds"] == 16 && sum.counts["calls compared"] > 2000, "{:?}", sum.counts);
}
