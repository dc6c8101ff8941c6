use super::*;

#[test]
fn numbers_are_those_of_splitmix64() {
    // The first outputs of the published algorithm for seed 1234567.
    let mut random = Random::new(1_234_567);
    let numbers = [(); 3].map(|()| random.next_u64());
    assert_eq!(
        numbers,
        [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
    );
}

#[test]
fn limits_are_kept_and_every_number_below_them_comes() {
    let mut random = Random::new(1);
    let mut seen = [false; 7];
    for _ in 0..1000 {
        seen[random.index(7)] = true;
    }
    assert_eq!(seen, [true; 7]);
    assert_eq!(random.below(1), 0);
    assert!((0..1000).all(|_| random.percent(100) && !random.percent(0)));
    assert_eq!(random.bytes(13).len(), 13);
}
