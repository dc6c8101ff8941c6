use std::collections::BTreeSet;

use super::*;

#[test]
fn every_order_of_six_has_its_number() {
    let text = |number| format!("{:?}", order(number, Victims::All, false));
    let orders: BTreeSet<String> = (0..ORDERS).map(text).collect();
    assert_eq!(orders.len(), 720);
}

/// Catalogue rows 54 and 95: every 45th of the 720 orders here, all of them by
/// `cargo xtask crash --orders`.
#[test]
fn row_054_095_deleted_and_expired_stay_so_in_every_order() {
    let part = Orders { random: 0, seed: 0 };
    let units = [0, 29, 58, 87, 96, 117];
    let mut sum = Outcome::default();
    units.into_iter().for_each(|unit| sum.add(part.run(unit)));
    assert_eq!(sum.findings, []);
    assert!(sum.counts["orders"] == 6 * 4 * ORDERS_PER_UNIT);
    assert!(sum.counts["collections installed"] >= sum.counts["orders"] / 4, "{:?}", sum.counts);
}

#[test]
fn row_054_059_deleted_stays_deleted_in_random_sequences() {
    let seed = vfs::testing::seed();
    let part = Orders { random: 400, seed };
    let mut sum = Outcome::default();
    (Orders::exhaustive_units()..part.units()).for_each(|unit| sum.add(part.run(unit)));
    assert_eq!(sum.findings, []);
    assert!(sum.counts["collections installed"] > 150, "{:?}", sum.counts);
}
