//! `/ready`: whether a load balancer should send new connections here. `/health` is another question: a full server is
//! healthy, and a restart would only close its connections.

use crate::http::Status;
use crate::metrics::Rejected;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// From this share of a limit on a server is full. The margin is for connections that arrive before its balancer looks again.
const FULL_FROM: f64 = 0.95;
/// Below this share it is ready again, so that it does not alternate with every connection that is closed.
const READY_BELOW: f64 = 0.90;
/// How long a server is not ready after it rejected a connection for want of descriptors, memory or threads.
const REJECTING: Duration = Duration::from_secs(5);

/// What `/ready` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    /// The drain has begun.
    Draining,
    /// From 95% of `--max-connections`, or of a shard's descriptor table, until below 90%.
    Full,
    /// In the last five seconds it rejected a connection for want of descriptors, memory or threads.
    Rejecting,
}

impl Readiness {
    /// Status and body.
    pub fn answer(self) -> (Status, &'static [u8]) {
        match self {
            Readiness::Ready => (Status::Ok, b"ready\n"),
            Readiness::Draining => (Status::Unavailable, b"draining\n"),
            Readiness::Full => (Status::Unavailable, b"full\n"),
            Readiness::Rejecting => (Status::Unavailable, b"rejecting\n"),
        }
    }
}

/// What readiness remembers: whether the server was full when somebody last looked, and when it last rejected a connection.
#[derive(Debug)]
pub(crate) struct Pressure {
    start: Instant,
    is_full: AtomicBool,
    /// Milliseconds from the start to the end of [`REJECTING`]. 0: it has rejected none.
    rejecting_until_ms: AtomicU64,
}

impl Pressure {
    pub fn new(start: Instant) -> Pressure {
        Pressure { start, is_full: AtomicBool::new(false), rejecting_until_ms: AtomicU64::new(0) }
    }

    /// A connection was rejected at `now`. For [`Rejected::Full`] the number of connections is what counts.
    pub fn rejected(&self, reason: Rejected, now: Instant) {
        if reason != Rejected::Full {
            self.rejecting_until_ms.store(self.ms(now + REJECTING), Relaxed);
        }
    }

    /// The readiness of a server that does not drain, at `now`. `taken` are connections, each with their limit.
    pub fn look(&self, taken: impl Iterator<Item = (u64, usize)>, now: Instant) -> Readiness {
        let share = taken.map(|(taken, limit)| taken as f64 / limit as f64).fold(0.0, f64::max);
        let full_from = if self.is_full.load(Relaxed) { READY_BELOW } else { FULL_FROM };
        let is_full = share >= full_from;
        self.is_full.store(is_full, Relaxed);
        if is_full {
            Readiness::Full
        } else if self.ms(now) < self.rejecting_until_ms.load(Relaxed) {
            Readiness::Rejecting
        } else {
            Readiness::Ready
        }
    }

    fn ms(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.start).as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Readiness::{Full, Ready, Rejecting};

    #[test]
    fn full_from_95_percent_until_below_90() {
        let now = Instant::now();
        let pressure = Pressure::new(now);
        let look = |taken, limit| pressure.look([(taken, limit)].into_iter(), now);
        let of_100 = [0, 94, 95, 94, 90, 89, 94, 100, 90, 0].map(|taken| look(taken, 100));
        assert_eq!(of_100, [Ready, Ready, Full, Full, Full, Ready, Ready, Full, Full, Ready]);
        // However few connections it is for, one that has room for none is full, and one that has none is ready.
        for limit in 1..=20 {
            let answers = [0, limit - 1, limit, 0].map(|taken| look(taken as u64, limit));
            let before = if limit == 20 { Full } else { Ready };
            assert_eq!(answers, [Ready, before, Full, Ready], "limit {limit}");
        }
        assert_eq!(look(1_000_000, usize::MAX), Ready);
    }

    #[test]
    fn the_fullest_shard_counts_as_well() {
        let now = Instant::now();
        let pressure = Pressure::new(now);
        let look = |shards: [u64; 2]| {
            let server = (shards.iter().sum(), 200);
            pressure.look([server, (shards[0], 120), (shards[1], 120)].into_iter(), now)
        };
        assert_eq!(look([60, 60]), Ready);
        assert_eq!(look([115, 0]), Full);
        assert_eq!(look([108, 0]), Full);
        assert_eq!(look([107, 0]), Ready);
    }

    #[test]
    fn rejections_count_for_five_seconds() {
        let start = Instant::now();
        let pressure = Pressure::new(start);
        let look = |ms| pressure.look([(0, 1)].into_iter(), start + Duration::from_millis(ms));
        pressure.rejected(Rejected::Full, start);
        assert_eq!(look(0), Ready);
        for reason in [Rejected::Descriptors, Rejected::Memory, Rejected::Threads] {
            pressure.rejected(reason, start + Duration::from_secs(60));
            assert_eq!([60_000, 64_999, 65_000].map(look), [Rejecting, Rejecting, Ready]);
        }
    }
}
