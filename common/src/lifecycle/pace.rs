//! How a drain spreads the Close frames over time: peers that are all disconnected in the same instant all reconnect in it.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// When each connection is closed: evenly from the beginning of the drain on, by `--drain-rate`, and early enough that a
/// quarter of `--drain-timeout` is left for the closing handshakes of the last ones.
#[derive(Debug)]
pub struct DrainPace {
    began: Instant,
    timeout: Duration,
    /// From the first Close frame to the last.
    over: Duration,
    /// Connections of the whole server when the drain began.
    peers: usize,
    slots_taken: AtomicUsize,
}

impl DrainPace {
    /// For a drain that begins now, of `peers` connections.
    pub fn new(began: Instant, peers: usize, rate_per_s: usize, timeout: Duration) -> DrainPace {
        let by_rate = Duration::from_secs_f64(peers as f64 / rate_per_s as f64);
        let over = by_rate.min(timeout * 3 / 4);
        DrainPace { began, timeout, over, peers, slots_taken: AtomicUsize::new(0) }
    }

    /// When the drain ends, even if connections are still open.
    pub fn deadline(&self) -> Instant {
        self.began + self.timeout
    }

    /// How long it takes until every connection has been sent a Close frame.
    pub fn over(&self) -> Duration {
        self.over
    }

    /// How many of a shard's connections, which were `count` when the drain began, are to be closed until `now`.
    pub fn due(&self, now: Instant, count: usize) -> usize {
        let elapsed = now.saturating_duration_since(self.began);
        if elapsed >= self.over {
            return count;
        }
        // The first of them at once.
        let share = count as u128 * elapsed.as_nanos() / self.over.as_nanos();
        count.min(share as usize + 1)
    }

    /// The time at which to close a connection that waits for itself, as those with a thread or a task of their own do: each
    /// call returns the next one.
    pub fn slot(&self) -> Instant {
        let slot = self.slots_taken.fetch_add(1, Relaxed).min(self.peers);
        let after = self.over.as_nanos() * slot as u128 / self.peers.max(1) as u128;
        // No longer than a day, the longest --drain-timeout.
        self.began + Duration::from_nanos(after as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Closes connections one by one on a clock that moves by a microsecond: what [`DrainPace`] computes.
    fn slow_reference(peers: usize, over: Duration) -> Vec<Duration> {
        let us = over.as_micros() as usize;
        (0..peers).map(|peer| Duration::from_micros((peer * us / peers) as u64)).collect()
    }

    #[test]
    fn connections_are_closed_evenly() {
        let began = Instant::now();
        for (peers, rate, timeout, over) in [
            (1_000, 100, 60 * SECOND, 10 * SECOND),
            (7, 1, 3600 * SECOND, 7 * SECOND),
            // The rate alone would take 100 s.
            (100_000, 1_000, 8 * SECOND, 6 * SECOND),
        ] {
            let pace = DrainPace::new(began, peers, rate, timeout);
            assert_eq!(pace.over(), over);
            let expected = slow_reference(peers, over);
            let slots: Vec<_> = (0..peers).map(|_| pace.slot() - began).collect();
            let us = Duration::from_micros(1);
            assert!(slots.iter().zip(&expected).all(|(slot, at)| (*at..=*at + us).contains(slot)));
            for ms in (0..over.as_millis() as u64 + 10).step_by(7) {
                let now = Duration::from_millis(ms);
                let due = slots.iter().filter(|&&slot| slot <= now).count();
                assert_eq!(pace.due(began + now, peers), due, "{peers} peers after {ms} ms");
            }
        }
    }

    #[test]
    fn shards_close_their_connections_over_the_same_time() {
        let began = Instant::now();
        let pace = DrainPace::new(began, 1_100, 100, 60 * SECOND);
        let due = |ms, count| pace.due(began + Duration::from_millis(ms), count);
        assert_eq!(
            [due(0, 1_000), due(5_500, 1_000), due(10_999, 1_000), due(11_000, 1_000)],
            [1, 501, 1_000, 1_000]
        );
        assert_eq!([due(0, 100), due(5_500, 100), due(11_000, 100)], [1, 51, 100]);
        assert_eq!([due(0, 0), due(5_500, 0)], [0, 0]);
    }

    #[test]
    fn a_few_are_closed_at_once_and_all_of_them_in_time() {
        let began = Instant::now();
        assert_eq!(DrainPace::new(began, 3, 1_000, 60 * SECOND).over(), Duration::from_millis(3));
        // Without time nobody waits.
        let none = DrainPace::new(began, 100_000, 1, Duration::ZERO);
        assert_eq!((none.due(began, 100_000), none.slot()), (100_000, began));
        let day = 24 * 3600 * SECOND;
        let longest = DrainPace::new(began, 1_000_000_000, 1, day);
        assert_eq!(longest.due(began + day * 3 / 8, 1_000_000_000), 500_000_001);
        // Connections that were opened while the drain began are the last.
        let crowded = DrainPace::new(began, 2, 1, day);
        let slots: Vec<_> = (0..4).map(|_| crowded.slot() - began).collect();
        assert_eq!(slots, [Duration::ZERO, SECOND, 2 * SECOND, 2 * SECOND]);
        assert_eq!(DrainPace::new(began, 0, 1, day).slot(), began);
    }
}
