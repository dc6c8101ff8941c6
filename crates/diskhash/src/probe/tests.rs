use vfs::Random;

use super::*;

fn column_of(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

#[test]
fn the_block_search_agrees_with_its_plain_twin_whatever_the_guess() {
    let mut random = Random::new(vfs::testing::seed());
    for count in 0..300 {
        let limit = [3, 50, 1 << 20, 1 << 32][random.index(4)];
        let mut draw = || u32::try_from(random.below(limit)).unwrap();
        let mut numbers: Vec<u32> = (0..count).map(|_| draw()).collect();
        numbers.sort_unstable();
        let column = column_of(&numbers);
        let targets = numbers.iter().flat_map(|n| [*n, n.saturating_sub(1), n.saturating_add(1)]);
        for target in targets.chain([0, u32::MAX]) {
            let plain = lower_bound_plain(&column, target);
            for guess in [0, count / 2, count, random.index(count + 20), usize::MAX] {
                assert_eq!(lower_bound(&column, target, guess), plain, "{numbers:?} {target}");
                let number = |index: usize| numbers[index].into();
                let wide = lower_bound_wide(count, target.into(), guess, number);
                assert_eq!(wide, plain, "{numbers:?} {target} {guess}");
            }
        }
    }
}

#[test]
fn a_column_in_no_order_gives_some_place_and_ends() {
    let mut random = Random::new(vfs::testing::seed());
    for _ in 0..2000 {
        let count = random.index(300);
        let odd = random.index(4);
        let column = random.bytes(count * 4 + odd);
        let target = u32::try_from(random.below(1 << 32)).unwrap();
        let guess = random.index(400);
        assert!(lower_bound(&column, target, guess) <= count);
        let number = |index: usize| column[4 * index].into();
        assert!(lower_bound_wide(count, target.into(), guess, number) <= count);
    }
}
