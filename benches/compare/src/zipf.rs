//! Numbers that a few of them dominate, as YCSB draws them (Gray et al., theta 0.99).

use vfs::Random;

const THETA: f64 = 0.99;

/// Draws ranks below a bound: rank 0 most often.
#[derive(Clone, Debug)]
pub struct Zipf {
    count: u64,
    zeta: f64,
    alpha: f64,
    eta: f64,
}

impl Zipf {
    /// Ranks below `count`, which is at least 2. Takes a moment for millions.
    pub fn new(count: u64) -> Zipf {
        assert!(count > 1, "there is something to choose");
        let zeta_of = |count: u64| (1..=count).map(|rank| (rank as f64).powf(-THETA)).sum::<f64>();
        let zeta = zeta_of(count);
        let alpha = 1.0 / (1.0 - THETA);
        let eta = (1.0 - (2.0 / count as f64).powf(1.0 - THETA)) / (1.0 - zeta_of(2) / zeta);
        Zipf { count, zeta, alpha, eta }
    }

    /// A rank.
    pub fn rank(&self, random: &mut Random) -> u64 {
        let uniform = random.below(1 << 53) as f64 / (1_u64 << 53) as f64;
        let scaled = uniform * self.zeta;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < 1.0 + 0.5_f64.powf(THETA) {
            return 1;
        }
        let rank = self.count as f64 * (self.eta * uniform - self.eta + 1.0).powf(self.alpha);
        #[expect(clippy::cast_possible_truncation, reason = "between 0 and the count")]
        let rank = rank as u64;
        rank.min(self.count - 1)
    }

    /// A number below the count that is as likely as a rank, but neighbours are not.
    pub fn scrambled(&self, random: &mut Random) -> u64 {
        Random::new(self.rank(random)).next_u64() % self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rank_is_drawn_most_and_none_is_out_of_bounds() {
        let zipf = Zipf::new(1000);
        let mut random = Random::new(7);
        let mut counts = vec![0_u32; 1000];
        for _ in 0..100_000 {
            counts[usize::try_from(zipf.rank(&mut random)).expect("small")] += 1;
            assert!(zipf.scrambled(&mut random) < 1000);
        }
        assert!(counts[0] > counts[1] && counts[1] > counts[10] && counts[10] > counts[500]);
        // The share of the first rank is 1 / zeta(1000), about 0.13.
        assert!((12_000..15_000).contains(&counts[0]), "{}", counts[0]);
    }
}
