//! The latency of echoes at the server: from a complete message to its echo in the kernel's send buffer.
//!
//! It excludes the time in the kernel's queue and in the event loop's. The time until a slow reader takes its echo is
//! included where the connection blocks on it (stages 1 and 2), not where a loop serves the others meanwhile.
//!
//! It is measured only while the live page is open, and then on a sample of the echoes. Otherwise it costs an echo one load
//! and two branches.

use super::buckets::Buckets;
use serde::Serialize;
use std::array;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Echoes that are timed per second, if they are evenly spaced.
const TIMED_PER_SECOND: f64 = 4096.0;

/// From 256 ns to 17 s.
const SCALE: Buckets = Buckets::new(8..34);
const BUCKETS: usize = SCALE.count();

/// One for the process, written a few thousand times per second at most; on its own cache lines.
static TIMES: Times = Times { one_in: AtomicU32::new(0), counts: [const { AtomicU32::new(0) }; BUCKETS] };

#[repr(align(128))]
struct Times {
    /// Every `one_in`-th echo is timed. 0: none, because no page is open.
    one_in: AtomicU32,
    counts: [AtomicU32; BUCKETS],
}

/// An echo in progress, timed or not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echoing(Option<Instant>);

impl Echoing {
    /// `messages` are complete, after `before` earlier ones.
    #[inline]
    pub(crate) fn begin(messages: u64, before: u64) -> Echoing {
        match TIMES.one_in.load(Relaxed) {
            0 => Echoing(None),
            one_in => Echoing::begin_one_in(one_in, messages, before),
        }
    }

    #[cold]
    fn begin_one_in(one_in: u32, messages: u64, before: u64) -> Echoing {
        Echoing((messages > 0 && before.is_multiple_of(u64::from(one_in))).then(Instant::now))
    }

    /// Its last byte is with the kernel.
    #[inline]
    pub fn written(self) {
        if let Some(since) = self.0 {
            TIMES.record(since.elapsed());
        }
    }
}

impl Times {
    #[cold]
    fn record(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.counts[SCALE.of(ns)].fetch_add(1, Relaxed);
    }
}

/// Has echoes timed, and tells how long they took, until it is dropped. One at a time.
pub(crate) struct Timing {
    before: [u32; BUCKETS],
}

/// What echoes took.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Took {
    /// Echoes that were timed.
    pub timed: u32,
    /// Half of them took less, in microseconds.
    pub p50_us: f64,
    /// 99 of 100 took less, in microseconds.
    pub p99_us: f64,
}

impl Timing {
    pub fn start() -> Timing {
        TIMES.one_in.store(1, Relaxed);
        Timing { before: TIMES.counts.each_ref().map(|count| count.load(Relaxed)) }
    }

    /// The latencies timed since the last call, in which `messages` arrived over `seconds`. `None` without any.
    pub fn took(&mut self, messages: u64, seconds: f64) -> Option<Took> {
        let one_in = (messages as f64 / seconds / TIMED_PER_SECOND).clamp(1.0, 1e6) as u32;
        TIMES.one_in.store(one_in.next_power_of_two(), Relaxed);
        let counts: [u32; BUCKETS] = array::from_fn(|i| {
            let now = TIMES.counts[i].load(Relaxed);
            now.wrapping_sub(std::mem::replace(&mut self.before[i], now))
        });
        took(&counts)
    }
}

impl Drop for Timing {
    fn drop(&mut self) {
        TIMES.one_in.store(0, Relaxed);
    }
}

fn took(counts: &[u32; BUCKETS]) -> Option<Took> {
    let at_us = |part| Some(SCALE.quantile_ns(counts, part)? / 1e3);
    Some(Took { timed: counts.iter().sum(), p50_us: at_us(0.5)?, p99_us: at_us(0.99)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_echoes() {
        let mut counts = [0; BUCKETS];
        assert_eq!(took(&counts), None);
        (1..=1000).for_each(|us| counts[SCALE.of(us * 1_000)] += 1);
        let took = took(&counts).expect("some were timed");
        assert_eq!(took.timed, 1000);
        assert!((470.0..530.0).contains(&took.p50_us) && (930.0..1050.0).contains(&took.p99_us), "{took:?}");
    }

    #[test]
    fn nothing_is_timed_unless_somebody_looks() {
        assert!(Echoing::begin(1, 0).0.is_none());
        let mut timing = Timing::start();
        let echoing = Echoing::begin(1, 0);
        assert!(echoing.0.is_some() && Echoing::begin(0, 0).0.is_none(), "messages alone are timed");
        echoing.written();
        assert_eq!(timing.took(1_000_000, 1.0).map(|took| took.timed), Some(1));
        assert!(Echoing::begin(1, 256).0.is_some() && Echoing::begin(1, 255).0.is_none(), "one in 256");
        drop(timing);
        assert!(Echoing::begin(1, 256).0.is_none());
    }
}
