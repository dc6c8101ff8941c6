//! Latencies of a sample of operations.

use std::time::Instant;

use hdrhistogram::Histogram;

/// One operation in so many is timed: reading the clock costs as much as a tenth of a put.
const STRIDE: u64 = 8;

/// Times some of the operations that it runs.
#[derive(Debug)]
pub struct Sampler {
    nanos: Histogram<u64>,
    count: u64,
}

impl Default for Sampler {
    fn default() -> Sampler {
        let nanos = Histogram::new(3).expect("3 digits are legal");
        Sampler { nanos, count: 0 }
    }
}

impl Sampler {
    /// Runs an operation.
    pub fn run<T>(&mut self, operation: impl FnOnce() -> T) -> T {
        self.count += 1;
        if !self.count.is_multiple_of(STRIDE) {
            return operation();
        }
        let clock = Instant::now();
        let result = operation();
        let nanos = u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX);
        // The histogram grows as it must; only a latency of centuries could not be recorded.
        self.nanos.record(nanos).expect("the histogram resizes itself");
        result
    }

    /// The latency in nanoseconds that this share (0 to 1) of the sampled operations kept.
    pub fn nanos_at(&self, share: f64) -> u64 {
        self.nanos.value_at_quantile(share)
    }
}
