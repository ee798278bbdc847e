//! The latency of echoes at the server: from a complete message to its echo in the kernel's send buffer.
//!
//! It excludes the time in the kernel's queue and in the event loop's. The time until a slow reader takes its echo is
//! included where the connection blocks on it (stages 1 and 2), not where a loop serves the others meanwhile.
//!
//! Up to about a thousand echoes per second are timed. Each counts for the untimed ones before it, so that the histogram
//! counts all messages. An untimed echo costs one comparison with a number of its shard.

use super::buckets::Buckets;
use super::families::{self, MetricFamily};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use std::array;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Echoes timed per second, if they are evenly spaced, or all of them.
const TIMED_PER_SECOND: f64 = 1024.0;
/// The sampling adapts at least after this many messages that were timed.
const WINDOW_TIMED: u64 = 64;
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

/// Which echoes of a shard are timed.
#[derive(Debug, Default)]
pub(crate) struct Sampling {
    /// The number of the next message to time.
    next: AtomicU64,
    /// The messages that are timed so far, or have another timed on their behalf.
    covered: AtomicU64,
}

/// Written about a thousand times per second at most; on its own cache lines.
#[repr(align(128))]
struct Times {
    /// One in this many messages is timed.
    one_in: AtomicU64,
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
    since_ns: u64,
    timed: u64,
    messages: u64,
}

/// An echo in progress. One register, because the hot path keeps it while it writes.
///
/// 0: it is not timed. Otherwise the low bits are the number of messages that it stands for, and the others are when it
/// began, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echoing(u64);

/// The bits for the number of messages. 44 are left for the time, which lasts almost five hours before it begins anew.
const MESSAGES_BITS: u32 = 20;
const MESSAGES_MOST: u64 = (1 << MESSAGES_BITS) - 1;

impl Sampling {
    /// `messages` are complete, after `before` earlier ones.
    #[inline]
    pub(crate) fn begin(&self, messages: u64, before: u64) -> Echoing {
        if before < self.next.load(Relaxed) {
            return Echoing(0);
        }
        self.begin_timed(&TIMES, messages, before)
    }

    #[cold]
    fn begin_timed(&self, times: &Times, messages: u64, before: u64) -> Echoing {
        let now_ns = now_ns();
        let covered = self.cover(times, messages, before, now_ns);
        Echoing(covered.map_or(0, |messages| now_ns << MESSAGES_BITS | messages.min(MESSAGES_MOST)))
    }

    /// How many messages an echo stands for: these, and those since the last one that was timed. `None`: it is not timed.
    fn cover(&self, times: &Times, messages: u64, before: u64, now_ns: u64) -> Option<u64> {
        let end = before + messages;
        let covered = self.covered.fetch_max(end, Relaxed);
        // Otherwise it is a piece of a message, or another thread was here first.
        let more = end.checked_sub(covered).filter(|&more| more > 0)?;
        times.adapt(more, now_ns);
        self.next.store(end + times.one_in.load(Relaxed) - 1, Relaxed);
        Some(more)
    }

    /// Has the next echo timed: if there are much fewer than before, the sampling adapts to that.
    pub(crate) fn time_next(&self) {
        self.next.store(0, Relaxed);
    }
}

impl Echoing {
    /// Its last byte is with the kernel.
    #[inline]
    pub fn written(self) {
        if self.0 != 0 {
            TIMES.record(self);
        }
    }

    /// How long ago it began, and for how many messages it stands.
    fn took(self, now_ns: u64) -> (u64, u64) {
        let since = (now_ns << MESSAGES_BITS).wrapping_sub(self.0 & !MESSAGES_MOST) >> MESSAGES_BITS;
        (since, self.0 & MESSAGES_MOST)
    }
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

impl Times {
    const fn new() -> Times {
        Times {
            one_in: AtomicU64::new(1),
            window: Mutex::new(None),
            timed: AtomicU64::new(0),
            sum_ns: AtomicU64::new(0),
            counts: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }

    #[cold]
    fn record(&self, echoing: Echoing) {
        let (ns, messages) = echoing.took(now_ns());
        self.add(ns, messages);
    }

    fn add(&self, ns: u64, messages: u64) {
        self.timed.fetch_add(1, Relaxed);
        self.sum_ns.fetch_add(ns.saturating_mul(messages), Relaxed);
        self.counts[SCALE.of(ns)].fetch_add(messages, Relaxed);
    }

    /// Adapts the sampling to the rate of messages, of which these are covered by the echo to be timed now.
    fn adapt(&self, messages: u64, now_ns: u64) {
        // Where another thread adapts it, this echo does not matter.
        let Ok(mut window) = self.window.try_lock() else { return };
        let Window { since_ns, timed, messages: all } =
            window.get_or_insert(Window { since_ns: now_ns, timed: 0, messages: 0 });
        *timed += 1;
        *all += messages;
        let elapsed = Duration::from_nanos(now_ns.saturating_sub(*since_ns));
        if *timed < WINDOW_TIMED && elapsed < WINDOW {
            return;
        }
        let one_in = *all as f64 / elapsed.as_secs_f64().max(1e-6) / TIMED_PER_SECOND;
        self.one_in.store((one_in.ceil() as u64).clamp(1, 1 << 20), Relaxed);
        *window = Some(Window { since_ns: now_ns, timed: 0, messages: 0 });
    }

    fn now(&self) -> [u64; BUCKETS] {
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

    /// Messages that arrive in batches, at a rate per second.
    struct Load {
        sampling: Sampling,
        times: Times,
        now_ns: u64,
        before: u64,
    }

    impl Load {
        fn new() -> Load {
            Load { sampling: Sampling::default(), times: Times::new(), now_ns: 0, before: 0 }
        }

        /// Returns how many were timed.
        fn echo(&mut self, per_second: f64, batch: u64, batches: u64) -> u64 {
            let timed_before = self.times.timed.load(Relaxed);
            for _ in 0..batches {
                self.now_ns += (batch as f64 * 1e9 / per_second) as u64;
                if self.before >= self.sampling.next.load(Relaxed)
                    && let Some(messages) = self.sampling.cover(&self.times, batch, self.before, self.now_ns)
                {
                    self.times.add(5_000, messages);
                }
                self.before += batch;
            }
            self.times.timed.load(Relaxed) - timed_before
        }

        /// The count of the histogram.
        fn counted(&self) -> u64 {
            self.times.now().iter().sum()
        }
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
        let (mut load, rate) = (Load::new(), 0.75 * TIMED_PER_SECOND);
        assert_eq!(load.echo(rate, 1, 30_000), 30_000);
        assert_eq!((load.echo(rate, 0, 1), load.counted()), (0, 30_000), "pieces alone are timed");
        let (sampling, begun) = (Sampling::default(), now_ns());
        let (took_ns, messages) = sampling.begin(3, 0).took(now_ns());
        assert!(messages == 3 && took_ns <= now_ns() - begun, "{took_ns} ns for {messages}");
        assert_eq!(sampling.begin(0, 3).0, 0);
    }

    #[test]
    fn the_clock_may_begin_anew() {
        let wrap_ns = 1 << (u64::BITS - MESSAGES_BITS);
        let echoing = Echoing((wrap_ns - 700) << MESSAGES_BITS | 9);
        assert_eq!(echoing.took(2 * wrap_ns + 300), (1_000, 9));
    }

    #[test]
    fn many_echoes_are_sampled_and_each_message_is_counted_once() {
        for (per_second, batch) in [(300_000.0, 1), (300_000.0, 16), (8_000_000.0, 64), (20_000.0, 7)] {
            let mut load = Load::new();
            let (first, messages) = (load.echo(100.0, 1, 3), 3 + (10.0 * per_second) as u64);
            let timed = load.echo(per_second, batch, messages / batch) as f64;
            let case = format!("{per_second} per second in batches of {batch}: {first} and {timed} timed");
            assert!((2.5 * TIMED_PER_SECOND..12.0 * TIMED_PER_SECOND).contains(&timed), "{case}");
            let uncounted = load.before - load.counted();
            assert!(uncounted < load.times.one_in.load(Relaxed) + batch, "{case}, {uncounted} not counted");
        }
    }

    #[test]
    fn sampling_ends_with_the_load() {
        let mut load = Load::new();
        load.echo(300_000.0, 1, 300_000);
        assert_eq!(load.echo(10.0, 1, 10), 0, "one in 293");
        load.sampling.time_next();
        load.echo(10.0, 1, 20);
        assert_eq!(load.echo(10.0, 1, 10), 10, "every one");
    }

    #[test]
    fn the_histogram_is_in_seconds() {
        let times = Times::new();
        for (us, messages) in [(0, 1), (3, 2), (500, 3), (90_000, 4), (20_000_000, 5)] {
            times.add(us * 1_000, messages);
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
