//! Seeded numbers, and how many distinct keys a number of draws touches.

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..1`.
    pub(super) fn unit(&mut self) -> f64 {
        to_f64(self.next() >> 11) / to_f64(1 << 53)
    }

    /// A number in `0..below`.
    pub(super) fn below(&mut self, below: u32) -> u32 {
        let high = (u128::from(self.next()) * u128::from(below)) >> 64;
        u32::try_from(high).expect("the product is below `below`")
    }
}

/// Zipf-distributed ranks as YCSB draws them (Gray et al.: "Quickly generating billion-record
/// synthetic databases", 1994). Rank 0 is the most frequent.
pub(super) struct Zipfian {
    count: u32,
    theta: f64,
    zeta: f64,
    eta: f64,
}

impl Zipfian {
    pub(super) fn new(count: u32, theta: f64) -> Zipfian {
        let zeta = (1..=count).map(|rank| f64::from(rank).powf(-theta)).sum();
        let zeta_of_two = 1.0 + 0.5f64.powf(theta);
        let eta = (1.0 - (2.0 / f64::from(count)).powf(1.0 - theta)) / (1.0 - zeta_of_two / zeta);
        Zipfian { count, theta, zeta, eta }
    }

    pub(super) fn rank(&self, random: &mut Random) -> u32 {
        let unit = random.unit();
        let scaled = unit * self.zeta;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < 1.0 + 0.5f64.powf(self.theta) {
            return 1;
        }
        let base = self.eta * unit - self.eta + 1.0;
        let rank = f64::from(self.count) * base.powf(1.0 / (1.0 - self.theta));
        floor(rank).min(self.count - 1)
    }
}

/// Distinct keys among `puts` uniform draws out of `keys`.
pub(super) fn distinct_uniform(puts: f64, keys: f64) -> f64 {
    -keys * (-puts / keys).exp_m1()
}

#[expect(clippy::cast_precision_loss, reason = "a simulation's figure, not an address")]
pub(super) fn to_f64(number: u64) -> f64 {
    number as f64
}

/// The whole part of a number in the range of `u32`; numbers outside are clamped.
#[expect(
    clippy::cast_possible_truncation,
    reason = "`as` from a float saturates: clamping is meant"
)]
#[expect(clippy::cast_sign_loss, reason = "a negative number becomes 0")]
pub(super) fn floor(number: f64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests;
