//! Buckets for times: eight per doubling, so that the middle of a bucket is within 6.25% of every time in it.

use std::ops::Range;
use std::time::Duration;

/// Buckets per doubling.
const PER_DOUBLING: usize = 8;

/// Log-linear buckets over a range of doublings, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Buckets {
    first: u32,
    end: u32,
}

impl Buckets {
    /// Buckets from 2^start ns to 2^end ns. Shorter times count in the first, longer ones in the last. The start is at least 3.
    pub const fn new(doublings: Range<u32>) -> Buckets {
        assert!(1 << doublings.start >= PER_DOUBLING && doublings.start < doublings.end);
        Buckets { first: doublings.start, end: doublings.end }
    }

    /// How many there are.
    pub const fn count(self) -> usize {
        PER_DOUBLING * (self.end - self.first) as usize
    }

    /// The number of the bucket that a time in nanoseconds falls into.
    #[inline]
    pub const fn of(self, ns: u64) -> usize {
        if ns < 1 << self.first {
            return 0;
        }
        let doubling = ns.ilog2();
        if doubling >= self.end {
            return self.count() - 1;
        }
        let step = (ns >> (doubling - PER_DOUBLING.ilog2())) as usize % PER_DOUBLING;
        (doubling - self.first) as usize * PER_DOUBLING + step
    }

    /// The middle of a bucket, in nanoseconds.
    pub fn middle_ns(self, bucket: usize) -> f64 {
        let steps = PER_DOUBLING as f64 + (bucket % PER_DOUBLING) as f64 + 0.5;
        let doubling = self.first as usize + bucket / PER_DOUBLING;
        steps / PER_DOUBLING as f64 * 2f64.powi(doubling as i32)
    }

    /// The middle, in nanoseconds, of the bucket with the quantile `part`, from 0 to 1, of these counts; `None` if all are 0.
    pub fn quantile_ns<T: Copy + Into<u64>>(self, counts: &[T], part: f64) -> Option<f64> {
        let all: u64 = counts.iter().map(|&count| count.into()).sum();
        let rank = ((all as f64 * part).ceil() as u64).max(1);
        let mut cumulative = 0;
        let bucket = counts.iter().position(|&count| {
            cumulative += count.into();
            cumulative >= rank
        })?;
        Some(self.middle_ns(bucket))
    }

    /// The counts added up by doublings, each with its upper bound. Times of the last one may be longer.
    pub fn by_doubling(self, counts: &[u64]) -> impl Iterator<Item = (Duration, u64)> {
        let doublings = counts.chunks_exact(PER_DOUBLING).zip(self.first + 1..);
        doublings.map(|(counts, bit)| (Duration::from_nanos(1 << bit), counts.iter().sum()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUCKETS: Buckets = Buckets::new(8..34);

    #[test]
    fn a_bucket_is_near_what_falls_into_it() {
        for ns in (256..20_000).chain([1_000_000, 999_999_999, 16_000_000_000]) {
            let shown = BUCKETS.middle_ns(BUCKETS.of(ns));
            assert!((shown / ns as f64 - 1.0).abs() < 0.0626, "{ns} ns is shown as {shown}");
        }
        assert_eq!((BUCKETS.of(0), BUCKETS.of(256), BUCKETS.of(u64::MAX)), (0, 0, BUCKETS.count() - 1));
        assert!((1..1 << 34).step_by(9_999_991).all(|ns| BUCKETS.of(ns) <= BUCKETS.of(ns + 1)));
    }

    #[test]
    fn quantiles_and_doublings() {
        let mut counts = vec![0u64; BUCKETS.count()];
        assert_eq!(BUCKETS.quantile_ns(&counts, 0.5), None);
        (1..=1000).for_each(|us| counts[BUCKETS.of(us * 1_000)] += 1);
        let near = |part, us: f64| {
            let shown = BUCKETS.quantile_ns(&counts, part).expect("there are times") / 1e3;
            assert!((shown / us - 1.0).abs() < 0.07, "{part}: {shown}");
        };
        near(0.0, 1.0);
        near(0.5, 500.0);
        near(1.0, 1_000.0);
        let below = |bound: Duration| BUCKETS.by_doubling(&counts).find(|(of, _)| *of == bound);
        assert_eq!(below(Duration::from_nanos(2_048)), Some((Duration::from_nanos(2_048), 1)));
    }
}
