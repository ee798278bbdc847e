//! Live histograms that other threads can read: coarse, and cheap to record into.
//!
//! Reports use the finer histograms of [`super::phase::Outcome`], which are available only at the end of a phase.

use common::buckets::Buckets;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// From 1 µs to half a minute: a time is shown up to 6% too long or too short.
const SCALE: Buckets = Buckets::new(10..35);
const STEPS: usize = SCALE.count();

/// A shard's histogram. Only the shard writes it.
#[derive(Debug)]
pub(super) struct LiveTimes {
    counts: [AtomicU64; STEPS],
    sum_ns: AtomicU64,
}

impl Default for LiveTimes {
    fn default() -> LiveTimes {
        LiveTimes { counts: [const { AtomicU64::new(0) }; STEPS], sum_ns: AtomicU64::new(0) }
    }
}

impl LiveTimes {
    /// Records a time.
    #[inline]
    pub(super) fn record(&self, time_ns: u64) {
        self.record_n(time_ns, 1);
    }

    /// Records the same time `count` times.
    #[inline]
    pub(super) fn record_n(&self, time_ns: u64, count: u64) {
        bump(&self.counts[SCALE.of(time_ns)], count);
        bump(&self.sum_ns, time_ns * count);
    }

    /// Adds these counts to `times`.
    pub(super) fn add_to(&self, times: &mut Times) {
        for (sum, count) in times.counts.iter_mut().zip(&self.counts) {
            *sum += count.load(Relaxed);
        }
        times.sum_ns += self.sum_ns.load(Relaxed);
    }
}

/// Adds to a counter with a single writer: no locked instruction is needed.
#[inline]
fn bump(count: &AtomicU64, n: u64) {
    count.store(count.load(Relaxed).wrapping_add(n), Relaxed);
}

/// Times since the start of the fleet.
#[derive(Clone, Debug)]
pub struct Times {
    counts: [u64; STEPS],
    sum_ns: u64,
}

impl Default for Times {
    fn default() -> Times {
        Times { counts: [0; STEPS], sum_ns: 0 }
    }
}

impl Times {
    /// A histogram of the given times.
    #[cfg(test)]
    pub(crate) fn of(all: impl IntoIterator<Item = Duration>) -> Times {
        let (live, mut times) = (LiveTimes::default(), Times::default());
        all.into_iter().for_each(|time| live.record(time.as_nanos() as u64));
        live.add_to(&mut times);
        times
    }

    /// The times recorded since `earlier`.
    pub fn since(&self, earlier: &Times) -> Times {
        let mut times = self.clone();
        times
            .counts
            .iter_mut()
            .zip(&earlier.counts)
            .for_each(|(count, before)| *count = count.saturating_sub(*before));
        times.sum_ns = times.sum_ns.saturating_sub(earlier.sum_ns);
        times
    }

    /// The quantile `part` (0 to 1) in microseconds; `None` if the histogram is empty.
    pub fn quantile_us(&self, part: f64) -> Option<f64> {
        Some(SCALE.quantile_ns(&self.counts, part)? / 1e3)
    }

    /// The number of times.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The number of times above `bound`, without those in the same bucket.
    pub fn longer_than(&self, bound: Duration) -> u64 {
        let bucket = SCALE.of(bound.as_nanos().try_into().unwrap_or(u64::MAX));
        self.counts[bucket + 1..].iter().sum()
    }

    /// Counts per power of two: upper bound (exclusive) and count. Those of the last may be longer.
    pub fn doublings(&self) -> impl Iterator<Item = (Duration, u64)> {
        SCALE.by_doubling(&self.counts)
    }

    /// The sum of all times.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_what_has_come_since() {
        let (live, mut before, mut now) = (LiveTimes::default(), Times::default(), Times::default());
        (0..1_000).for_each(|_| live.record(5_000_000));
        live.add_to(&mut before);
        (0..98).for_each(|_| live.record(100_000));
        (0..2).for_each(|_| live.record(7_000_000));
        live.add_to(&mut now);
        let times = now.since(&before);
        let near = |part, us: f64| {
            let shown = times.quantile_us(part).expect("a time");
            assert!((shown / us - 1.0).abs() < 0.07, "{part}: {shown}");
        };
        near(0.5, 100.0);
        near(0.98, 100.0);
        near(0.99, 7_000.0);
        assert_eq!((times.count(), times.longer_than(Duration::from_millis(1))), (100, 2));
        assert_eq!(times.longer_than(Duration::MAX), 0);
        assert_eq!(before.since(&now).quantile_us(0.5), None);
    }

    #[test]
    fn doublings_have_all_times() {
        let (live, mut times) = (LiveTimes::default(), Times::default());
        [0, 2_047, 2_048, 3_000, 1 << 34, u64::MAX >> 1].into_iter().for_each(|time_ns| live.record(time_ns));
        live.add_to(&mut times);
        let some: Vec<_> = times.doublings().filter(|&(_, count)| count > 0).collect();
        assert_eq!(
            some,
            [(2_048, 2), (4_096, 2), (1 << 35, 2)].map(|(ns, count)| (Duration::from_nanos(ns), count))
        );
        assert_eq!(times.sum(), Duration::from_nanos(2_047 + 2_048 + 3_000 + (1 << 34) + (u64::MAX >> 1)));
    }
}
