use super::*;

/// Bar R16 and catalogue row 17 in part: a sample here, all of it by `cargo xtask crash`.
#[test]
fn row_r16_histories_of_transactions_have_a_serial_order_over_crashes() {
    let part = Transactions { operations: 160_000, seed: vfs::testing::seed() };
    let mut sum = Outcome::default();
    (0..part.units()).for_each(|unit| sum.add(part.run(unit)));
    assert_eq!(sum.findings, []);
    println!("{:?}", sum.counts);
    let least = [
        ("operations", 100_000),
        ("operations by threads", 10_000),
        ("transactions lost", 1_000),
        ("crashes", 100),
        ("leases", 100),
        ("work under leases", 500),
        ("flushes", 100),
        ("merges", 100),
        ("collections", 20),
    ];
    for (what, count) in least {
        assert!(sum.counts.get(what).is_some_and(|found| *found >= count), "{what}");
    }
}
