//! The latency of echoes at the server: from a complete message to its echo in the kernel's send buffer.
//!
//! It excludes the time in the kernel's queue and in the event loop's. The time until a slow reader takes its echo is
//! included where the connection blocks on it (stages 1 and 2), not where a loop serves the others meanwhile.
//!
//! Up to some thousands of echoes per second are timed, each on behalf of the untimed ones before it, so that a histogram's
//! count is that of the messages. An untimed echo costs one load and two branches.

use super::buckets::Buckets;
use super::families::{self, MetricFamily};
use serde::Serialize;
use std::array;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Echoes timed per second, if they are evenly spaced: between half of this and this, or all of them.
const TIMED_PER_SECOND: f64 = 4096.0;
/// The sampling adapts at least after this many messages that were timed.
const WINDOW_TIMED: u64 = 1024;
/// And not sooner than this if there were fewer.
const WINDOW: Duration = Duration::from_secs(1);

/// From 256 ns to 17 s.
const SCALE: Buckets = Buckets::new(8..34);
const BUCKETS: usize = SCALE.count();

/// The histogram's buckets: each power of two from 1 µs to 34 ms, and 1.07 s.
const BOUNDS_NS: [u64; 17] = {
    let mut bounds = [1 << 30; 17];
    let mut i = 0;
    while i < 16 {
        bounds[i] = 1 << (10 + i);
        i += 1;
    }
    bounds
};

/// One for the process, since all its echoes are measured alike.
static TIMES: Times = Times::new();

/// Which echoes are timed. On cache lines of its own, which every echo reads.
#[repr(align(128))]
struct Sampling {
    /// One in `mask + 1` messages is timed: a power of two.
    mask: AtomicU64,
}

/// Written a few thousand times per second at most.
#[repr(align(128))]
struct Times {
    sampling: Sampling,
    window: Mutex<Option<Window>>,
    /// How many echoes were timed.
    timed: AtomicU64,
    /// The time of all messages, estimated.
    sum_ns: AtomicU64,
    /// Messages by their time, estimated.
    counts: [AtomicU64; BUCKETS],
}

/// What was timed since the sampling was last adapted.
struct Window {
    since: Instant,
    timed: u64,
    messages: u64,
}

/// An echo in progress; if it is timed, since when, and for how many messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echoing(Option<(Instant, u64)>);

impl Echoing {
    /// `messages` are complete, after `before` earlier ones.
    #[inline]
    pub(crate) fn begin(messages: u64, before: u64) -> Echoing {
        TIMES.begin(messages, before)
    }

    /// Its last byte is with the kernel.
    #[inline]
    pub fn written(self) {
        if let Some((since, messages)) = self.0 {
            TIMES.record(since.elapsed(), messages);
        }
    }
}

impl Times {
    const fn new() -> Times {
        Times {
            sampling: Sampling { mask: AtomicU64::new(0) },
            window: Mutex::new(None),
            timed: AtomicU64::new(0),
            sum_ns: AtomicU64::new(0),
            counts: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }

    #[inline]
    fn begin(&self, messages: u64, before: u64) -> Echoing {
        let mask = self.sampling.mask.load(Relaxed);
        // Greater exactly if a multiple of the power of two `mask + 1` is reached.
        if before ^ before.wrapping_add(messages) > mask {
            self.begin_timed(mask, messages, before)
        } else {
            Echoing(None)
        }
    }

    #[cold]
    fn begin_timed(&self, mask: u64, messages: u64, before: u64) -> Echoing {
        let messages = weight(mask, messages, before);
        self.adapt(messages, Instant::now());
        Echoing(Some((Instant::now(), messages)))
    }

    #[cold]
    fn record(&self, took: Duration, messages: u64) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.timed.fetch_add(1, Relaxed);
        self.sum_ns.fetch_add(ns.saturating_mul(messages), Relaxed);
        self.counts[SCALE.of(ns)].fetch_add(messages, Relaxed);
    }

    /// Adapts the sampling to the rate of messages. `messages`: those that are timed now, 0 if none are.
    fn adapt(&self, messages: u64, now: Instant) {
        // Where another thread adapts it, this echo does not matter.
        let Ok(mut window) = self.window.try_lock() else { return };
        let Window { since, timed, messages: all } =
            window.get_or_insert(Window { since: now, timed: 0, messages: 0 });
        *timed += u64::from(messages > 0);
        *all += messages;
        let elapsed = now.saturating_duration_since(*since);
        if *timed < WINDOW_TIMED && elapsed < WINDOW {
            return;
        }
        let one_in = *all as f64 / elapsed.as_secs_f64().max(1e-6) / TIMED_PER_SECOND;
        self.sampling.mask.store((one_in.ceil() as u64).clamp(1, 1 << 20).next_power_of_two() - 1, Relaxed);
        *window = Some(Window { since: now, timed: 0, messages: 0 });
    }

    fn now(&self) -> [u64; BUCKETS] {
        self.adapt(0, Instant::now());
        self.counts.each_ref().map(|count| count.load(Relaxed))
    }

    fn family(&self) -> MetricFamily {
        let counts = self.now();
        let (mut buckets, mut below) = (Vec::with_capacity(BOUNDS_NS.len()), 0);
        for (bound, count) in SCALE.by_doubling(&counts) {
            below += count;
            if BOUNDS_NS.contains(&(bound.as_nanos() as u64)) {
                buckets.push((bound.as_secs_f64(), std::mem::take(&mut below)));
            }
        }
        let sum_s = self.sum_ns.load(Relaxed) as f64 / 1e9;
        let help = "From a complete message to its echo in the send buffer, estimated from a sample";
        families::histogram("ws_echo_seconds", help, buckets, below, sum_s)
    }
}

/// How many messages an echo stands for that is timed: those up to the last multiple of `mask + 1`, from the multiple before.
fn weight(mask: u64, messages: u64, before: u64) -> u64 {
    (before.wrapping_add(messages) & !mask).wrapping_sub(before & !mask)
}

/// The histogram for Prometheus.
pub(crate) fn family() -> MetricFamily {
    TIMES.family()
}

/// Tells how long echoes took since it was last asked.
pub(crate) struct Timing {
    timed: u64,
    counts: [u64; BUCKETS],
}

/// What echoes took.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Took {
    /// Echoes that were timed.
    pub timed: u64,
    /// Half of them took less, in microseconds.
    pub p50_us: f64,
    /// 99 of 100 took less, in microseconds.
    pub p99_us: f64,
}

impl Timing {
    pub fn start() -> Timing {
        Timing { timed: TIMES.timed.load(Relaxed), counts: TIMES.now() }
    }

    /// The latencies since the last call. `None` without any.
    pub fn took(&mut self) -> Option<Took> {
        let timed = TIMES.timed.load(Relaxed);
        let (now, before) = (TIMES.now(), self.counts);
        self.counts = now;
        let timed = timed - std::mem::replace(&mut self.timed, timed);
        took(timed, &array::from_fn(|i| now[i] - before[i]))
    }
}

fn took(timed: u64, counts: &[u64; BUCKETS]) -> Option<Took> {
    let at_us = |part| Some(SCALE.quantile_ns(counts, part)? / 1e3);
    Some(Took { timed, p50_us: at_us(0.5)?, p99_us: at_us(0.99)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Echoes messages in batches at a rate per second, from `start` on. Returns how many were timed.
    fn echo(times: &Times, start: Instant, per_second: f64, batch: u64, messages: u64) -> usize {
        let timed = (0..messages / batch).filter(|i| {
            let now = start + Duration::from_secs_f64((i * batch) as f64 / per_second);
            let mask = times.sampling.mask.load(Relaxed);
            let weight = weight(mask, batch, i * batch);
            if weight > 0 {
                times.adapt(weight, now);
                times.record(Duration::from_micros(5), weight);
            }
            weight > 0
        });
        timed.count()
    }

    #[test]
    fn percentiles_are_those_of_the_echoes() {
        let mut counts = [0; BUCKETS];
        assert_eq!(took(0, &counts), None);
        (1..=1000).for_each(|us| counts[SCALE.of(us * 1_000)] += 1);
        let took = took(1000, &counts).expect("some were timed");
        assert_eq!(took.timed, 1000);
        assert!((470.0..530.0).contains(&took.p50_us) && (930.0..1050.0).contains(&took.p99_us), "{took:?}");
    }

    #[test]
    fn few_echoes_are_all_timed() {
        let times = Times::new();
        assert!(times.begin(0, 0).0.is_none(), "messages alone are timed");
        assert_eq!(times.begin(1, 0).0.map(|(_, messages)| messages), Some(1));
        assert_eq!(echo(&times, Instant::now(), 3_000.0, 1, 30_000), 30_000);
    }

    #[test]
    fn many_echoes_are_sampled_and_their_count_is_that_of_the_messages() {
        for (per_second, batch) in [(300_000.0, 1), (300_000.0, 16), (8_000_000.0, 64), (20_000.0, 7)] {
            let (times, messages) = (Times::new(), (10.0 * per_second) as u64);
            let timed = echo(&times, Instant::now(), per_second, batch, messages) as f64;
            let case = format!("{per_second} per second in batches of {batch}: {timed} timed");
            assert!((10_000.0..10.0 * TIMED_PER_SECOND + 8_000.0).contains(&timed), "{case}");
            let counted = times.counts.iter().map(|count| count.load(Relaxed)).sum::<u64>() as f64;
            assert!((counted / messages as f64 - 1.0).abs() < 0.01, "{case}, counted as {counted}");
        }
    }

    #[test]
    fn sampling_ends_with_the_load() {
        let (times, start) = (Times::new(), Instant::now());
        echo(&times, start, 300_000.0, 1, 300_000);
        assert!(times.begin(1, 64).0.is_none(), "one in 128");
        // Its last window ends first.
        times.adapt(0, start + Duration::from_secs(3));
        times.adapt(0, start + Duration::from_secs(5));
        assert!(times.begin(1, 64).0.is_some(), "every one");
    }

    #[test]
    fn the_histogram_is_in_seconds() {
        let times = Times::new();
        for (us, messages) in [(0, 1), (3, 2), (500, 3), (90_000, 4), (20_000_000, 5)] {
            times.record(Duration::from_micros(us), messages);
        }
        let text = String::from_utf8(families::text(&[times.family()])).expect("text");
        for line in [
            "# TYPE ws_echo_seconds histogram",
            "ws_echo_seconds_bucket{le=\"0.000001024\"} 1",
            "ws_echo_seconds_bucket{le=\"0.000004096\"} 3",
            "ws_echo_seconds_bucket{le=\"0.033554432\"} 6",
            "ws_echo_seconds_bucket{le=\"1.073741824\"} 10",
            "ws_echo_seconds_bucket{le=\"+Inf\"} 15",
            "ws_echo_seconds_sum 100.361506",
            "ws_echo_seconds_count 15",
        ] {
            assert!(text.lines().any(|there| there == line), "{line} is missing in\n{text}");
        }
        assert_eq!(text.matches("_bucket").count(), BOUNDS_NS.len() + 1);
    }
}
