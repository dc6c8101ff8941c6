use super::*;

fn run(numbers: &[(&str, f64)]) -> Measurements {
    let mut run = Measurements::default();
    numbers.iter().for_each(|(name, number)| run.add(name, *number));
    run
}

#[test]
fn medians_are_those_of_the_middle_and_keep_the_order() {
    let runs = [
        run(&[("z per_s", 3.0), ("a s", 1.0)]),
        run(&[("z per_s", 1.0), ("a s", 4.0)]),
        run(&[("z per_s", 2.0), ("a s", 2.0)]),
    ];
    let found = spreads(&runs);
    assert_eq!(found[0], Spread { name: "z per_s".to_owned(), median: 2.0, low: 1.0, high: 3.0 });
    assert_eq!((found[1].name.as_str(), found[1].median), ("a s", 2.0));
    assert!((spreads(&runs[..2])[1].median - 2.5).abs() < 1e-9);
    assert_eq!(spreads(&[]), []);
}

#[test]
fn numbers_are_readable() {
    assert_eq!(readable(1_234_567.4), "1,234,567");
    assert_eq!(readable(-1_234.0), "-1,234");
    assert_eq!(readable(12.3456), "12.346");
    assert_eq!(readable(1000.0), "1,000");
}
