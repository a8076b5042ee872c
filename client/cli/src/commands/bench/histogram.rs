//! Latencies in bounded memory: buckets that grow with what they count, so that every quantile is within 1 % of its true value.

use std::time::Duration;

/// Buckets of each power of two.
const STEPS: u64 = 128;
/// Microseconds that fit; longer ones count as this.
const MAX_MICROS: u64 = 1 << 36;
const BUCKETS: usize = ((36 - 7 + 1) * STEPS as usize) + STEPS as usize;

/// How often which latency was seen.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: Duration,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: vec![0; BUCKETS], total: 0, max: Duration::ZERO }
    }
}

impl Histogram {
    /// Counts one.
    pub(super) fn count(&mut self, latency: Duration) {
        self.counts[bucket(latency)] += 1;
        self.total += 1;
        self.max = self.max.max(latency);
    }

    /// Counts all of another.
    pub(super) fn add(&mut self, other: &Histogram) {
        for (own, others) in self.counts.iter_mut().zip(&other.counts) {
            *own += others;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// How many there are.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The longest, in milliseconds.
    pub(super) fn max_ms(&self) -> f64 {
        self.max.as_secs_f64() * 1000.0
    }

    /// The latency that `share` (0 to 1) of all do not exceed, in milliseconds; 0 if there are none.
    pub(super) fn quantile_ms(&self, share: f64) -> f64 {
        let wanted = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return (middle(index) / 1000.0).min(self.max_ms());
            }
        }
        0.0
    }
}

/// Below [`STEPS`] µs each has its own; above, each power of two has [`STEPS`] of equal width.
fn bucket(latency: Duration) -> usize {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).min(MAX_MICROS - 1);
    if micros < STEPS {
        return micros as usize;
    }
    let power = u64::from(micros.ilog2()) - 7;
    (STEPS * (power + 1) + (micros >> power) - STEPS) as usize
}

/// The middle of a bucket, in microseconds.
fn middle(index: usize) -> f64 {
    let index = index as u64;
    if index < STEPS {
        return index as f64;
    }
    let (power, step) = (index / STEPS - 1, index % STEPS);
    (((STEPS + step) << power) as f64) + ((1u64 << power) as f64) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn quantiles_are_within_one_percent(micros in prop::collection::vec(1u64..10_000_000, 1..300)) {
            let mut histogram = Histogram::default();
            micros.iter().for_each(|micros| histogram.count(Duration::from_micros(*micros)));
            let mut sorted = micros.clone();
            sorted.sort_unstable();
            for share in [0.01, 0.5, 0.99, 0.999, 1.0] {
                let rank = ((sorted.len() as f64 * share).ceil() as usize).max(1);
                let exact = sorted[rank - 1] as f64 / 1000.0;
                let found = histogram.quantile_ms(share);
                prop_assert!((found - exact).abs() <= exact * 0.01 + 0.001, "{share}: {found} for {exact}");
            }
        }
    }

    #[test]
    fn the_longest_and_the_shortest_have_their_place() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile_ms(0.5), 0.0);
        histogram.count(Duration::ZERO);
        histogram.count(Duration::MAX);
        assert_eq!((histogram.total(), histogram.quantile_ms(0.5)), (2, 0.0));
        let mut sum = Histogram::default();
        sum.add(&histogram);
        sum.add(&histogram);
        assert_eq!(sum.total(), 4);
    }
}
