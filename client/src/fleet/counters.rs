//! What a shard lets other threads see while it works.

use super::failures::{Class, Failures};
use super::results::Progress;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A shard's counts. Only the shard writes them, once a round of its loop, and times as they are taken; each pair of
/// cache lines has one writer.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Counters {
    live: AtomicU64,
    connecting: AtomicU64,
    sent: AtomicU64,
    echoes: AtomicU64,
    failures: [AtomicU64; Class::ALL.len()],
    pub(super) handshakes: Tally,
    pub(super) latencies: Tally,
    /// The shard's thread, for what /proc knows by thread.
    pub(super) thread_id: AtomicU32,
}

/// The same counts, as the shard itself holds them.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub live: u64,
    pub connecting: u64,
    pub sent: u64,
    pub echoes: u64,
    pub failures: [u64; Class::ALL.len()],
    /// Of `failures`, those that [`Counters`] does not show yet.
    pub unpublished_failures: bool,
}

impl Counters {
    /// Shows `totals` to other threads.
    pub(super) fn publish(&self, totals: &mut Totals) {
        self.live.store(totals.live, Relaxed);
        self.connecting.store(totals.connecting, Relaxed);
        self.sent.store(totals.sent, Relaxed);
        self.echoes.store(totals.echoes, Relaxed);
        if totals.unpublished_failures {
            totals.unpublished_failures = false;
            for (shown, &count) in self.failures.iter().zip(&totals.failures) {
                shown.store(count, Relaxed);
            }
        }
    }

    /// Connections that are open.
    pub(super) fn live(&self) -> u64 {
        self.live.load(Relaxed)
    }

    /// Adds these counts to `progress`.
    pub(super) fn add_to(&self, progress: &mut Progress) {
        progress.connected += self.live();
        progress.connecting += self.connecting.load(Relaxed);
        progress.sent += self.sent.load(Relaxed);
        progress.echoes += self.echoes.load(Relaxed);
        let mut failures = Failures::default();
        for (class, count) in Class::ALL.into_iter().zip(&self.failures) {
            failures.add(class, count.load(Relaxed));
        }
        progress.failures.merge(&failures);
    }
}

/// The first bucket of a [`Tally`] has times of up to 2^14 ns (16 µs), each other twice as many, the last up to 8.6 s.
const FIRST_BUCKET_LOG2_NS: u32 = 14;
const BUCKETS: usize = 20;

/// Times by powers of two: the index of a bucket is an instruction, and telling it to other threads is a store, for the
/// shard alone writes here.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The last has what is beyond all buckets.
    counts: [AtomicU64; BUCKETS + 1],
    sum_ns: AtomicU64,
}

impl Tally {
    #[inline]
    pub(super) fn add(&self, time_ns: u64) {
        let log2_ns = u64::BITS - time_ns.saturating_sub(1).leading_zeros();
        let bucket = (log2_ns.saturating_sub(FIRST_BUCKET_LOG2_NS) as usize).min(BUCKETS);
        bump(&self.counts[bucket], 1);
        bump(&self.sum_ns, time_ns);
    }
}

/// Adds to what no other thread writes: no locked instruction is needed.
#[inline]
fn bump(count: &AtomicU64, n: u64) {
    count.store(count.load(Relaxed).wrapping_add(n), Relaxed);
}

/// What a fleet shows to other threads, at any time, for as long as they like.
#[derive(Clone)]
pub struct Watch(pub(super) Vec<Arc<Counters>>);

/// A distribution of times since the start of the fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// How many were up to so long, and longer than the bound before.
    pub buckets: [(Duration, u64); BUCKETS],
    /// How many were longer.
    pub beyond: u64,
    /// All of them added up.
    pub sum: Duration,
}

impl Watch {
    /// Where the fleet stands.
    pub fn progress(&self) -> Progress {
        let mut progress = Progress::default();
        self.0.iter().for_each(|counters| counters.add_to(&mut progress));
        progress
    }

    /// From connect(2) to the verified answer, of each connection opened.
    pub fn handshakes(&self) -> Times {
        self.times(|counters| &counters.handshakes)
    }

    /// Of each echo that the results count: not of warm-ups, nor of churn.
    pub fn latencies(&self) -> Times {
        self.times(|counters| &counters.latencies)
    }

    /// The shards' threads, each of which has a descriptor table of its own.
    pub fn threads(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|counters| counters.thread_id.load(Relaxed))
    }

    fn times(&self, of: impl Fn(&Counters) -> &Tally) -> Times {
        let sum = |value: &dyn Fn(&Tally) -> u64| self.0.iter().map(|counters| value(of(counters))).sum();
        Times {
            buckets: std::array::from_fn(|i| {
                let bound = Duration::from_nanos(1 << (FIRST_BUCKET_LOG2_NS + i as u32));
                (bound, sum(&|tally| tally.counts[i].load(Relaxed)))
            }),
            beyond: sum(&|tally| tally.counts[BUCKETS].load(Relaxed)),
            sum: Duration::from_nanos(sum(&|tally| tally.sum_ns.load(Relaxed))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_sorted_into_buckets() {
        let shards = [Arc::new(Counters::default()), Arc::new(Counters::default())];
        let times_ns = [0, 1, 16_384, 16_385, 32_768, 32_769, 8_589_934_592, 8_589_934_593, 600_000_000_000];
        for (i, &time_ns) in times_ns.iter().enumerate() {
            shards[i % 2].latencies.add(time_ns);
        }
        let watch = Watch(shards.into());
        let times = watch.latencies();
        for (i, (bound, count)) in times.buckets.into_iter().enumerate() {
            let below = i.checked_sub(1).map_or(Duration::ZERO, |before| times.buckets[before].0);
            let within = |&&time_ns: &&u64| {
                let time = Duration::from_nanos(time_ns);
                time <= bound && (time > below || i == 0)
            };
            assert_eq!(count, times_ns.iter().filter(within).count() as u64, "up to {bound:?}");
        }
        assert_eq!((times.beyond, times.sum), (2, Duration::from_nanos(times_ns.iter().sum())));
        assert_eq!(watch.handshakes().sum, Duration::ZERO);
    }
}
