//! Live histograms that other threads can read: coarse, and cheap to record into.
//!
//! Reports use the finer histograms of [`super::phase::Outcome`], which are available only at the end of a phase.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Eight buckets per power of two: a time is shown up to 6% too long or too short.
const STEP_BITS: u32 = 3;
/// Shorter times count as 2^10 ns …
const LOWEST_BIT: u32 = 10;
/// … and longer ones as 2^35 ns, half a minute.
const HIGHEST_BIT: u32 = 35;
const STEPS: usize = ((HIGHEST_BIT - LOWEST_BIT) << STEP_BITS) as usize;

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
        bump(&self.counts[step(time_ns)], count);
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
        let all: u64 = self.counts.iter().sum();
        let wanted = ((all as f64 * part).ceil() as u64).max(1);
        let mut seen = 0;
        let step = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some(middle_ns(step) / 1e3)
    }

    /// Counts per power of two: upper bound (exclusive) and count. Those of the last may be longer.
    pub fn doublings(&self) -> impl Iterator<Item = (Duration, u64)> {
        self.counts
            .chunks_exact(1 << STEP_BITS)
            .zip(LOWEST_BIT + 1..)
            .map(|(counts, bit)| (Duration::from_nanos(1 << bit), counts.iter().sum()))
    }

    /// The sum of all times.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }
}

#[inline]
fn step(time_ns: u64) -> usize {
    let time_ns = time_ns.clamp(1 << LOWEST_BIT, (1 << HIGHEST_BIT) - 1);
    let bit = time_ns.ilog2();
    let within = (time_ns >> (bit - STEP_BITS)) - (1 << STEP_BITS);
    (u64::from((bit - LOWEST_BIT) << STEP_BITS) + within) as usize
}

/// The middle of a bucket, in nanoseconds.
fn middle_ns(step: usize) -> f64 {
    let (doubling, within) = (step >> STEP_BITS, step & ((1 << STEP_BITS) - 1));
    let eighth = f64::powi(2.0, doubling as i32 + (LOWEST_BIT - STEP_BITS) as i32);
    ((1 << STEP_BITS) as f64 + within as f64 + 0.5) * eighth
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_near_each_of_its_times() {
        for time_ns in [1_024, 1_100, 1_151, 1_152, 84_000, 1_239_000, 999_999_999, (1 << HIGHEST_BIT) - 1] {
            let shown = middle_ns(step(time_ns));
            assert!((shown / time_ns as f64 - 1.0).abs() < 0.07, "{time_ns} is shown as {shown}");
        }
        assert_eq!((step(0), step(1_024), step(u64::MAX)), (0, 0, STEPS - 1));
    }

    #[test]
    fn quantiles_since_an_earlier_reading() {
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
