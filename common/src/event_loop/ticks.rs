//! The time of an event loop, as far as timeouts go: ticks since its start.
//!
//! Ticks are counted in 32 bits and wrap, after 497 days where they are shortest. A difference between two of them is
//! right as long as it is less than that; a caller that keeps fewer bits documents its own range.

use crate::config::{Config, LINGER};
use std::ops::Range;
use std::time::{Duration, Instant};

/// A clock that ticks.
#[derive(Debug)]
pub struct Ticks {
    start: Instant,
    len: Duration,
    now: u32,
}

impl Ticks {
    /// A clock that begins at `start`, with ticks of an eighth of the shortest time that the flags set, 10 ms to 1 s.
    pub fn new(config: &Config, start: Instant) -> Ticks {
        let times = [config.ping_interval, config.idle_timeout, config.handshake_timeout, LINGER];
        let shortest = times.into_iter().filter(|time| !time.is_zero()).min().unwrap_or_default();
        let len = (shortest / 8).clamp(Duration::from_millis(10), Duration::from_secs(1));
        Ticks { start, len, now: 0 }
    }

    /// Moves the clock to `now`; returns the ticks since it was moved before.
    #[inline]
    pub fn advance(&mut self, now: Instant) -> u32 {
        let ticks = (now.saturating_duration_since(self.start).as_nanos() / self.len.as_nanos()) as u32;
        let elapsed = ticks.wrapping_sub(self.now);
        self.now = ticks;
        elapsed
    }

    /// The tick to which the clock was moved.
    #[inline]
    pub fn now(&self) -> u32 {
        self.now
    }

    /// How long a tick is.
    pub fn len(&self) -> Duration {
        self.len
    }

    /// The quiet time of a connection that was quiet for `quiet_ticks`: from what it was `elapsed` ticks ago to what it is.
    pub fn quiet(&self, quiet_ticks: u32, elapsed: u32) -> Range<Duration> {
        self.duration(quiet_ticks.saturating_sub(elapsed))..self.duration(quiet_ticks)
    }

    /// The duration of `ticks`: 136 years at most.
    pub fn duration(&self, ticks: u32) -> Duration {
        self.len * ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heartbeat::{Beat, Heartbeat};

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[test]
    fn a_tick_is_an_eighth_of_the_shortest_time() {
        let len = |flags: &[&str]| Ticks::new(&Config::of(flags), Instant::now()).len();
        assert_eq!(len(&[]), LINGER / 8);
        assert_eq!(len(&["--idle-timeout", "800ms"]), Duration::from_millis(100));
        assert_eq!(len(&["--ping-interval", "10ms"]), Duration::from_millis(10));
    }

    /// A fake clock runs for ten years. Whenever a peer falls silent, it is found so when its time is over, and not before.
    #[test]
    fn a_silent_peer_is_found_in_time_in_any_year() {
        for idle in ["10ms", "1s", "1day", "30days"] {
            let config = Config::of(&["--handshake-timeout", "10ms", "--idle-timeout", idle]);
            let heartbeat = Heartbeat::new(&config);
            let start = Instant::now();
            let mut ticks = Ticks::new(&config, start);
            let wrap = ticks.duration(u32::MAX) + ticks.len();
            for day in (0..3650).step_by(7) {
                // Some of them shortly before the clock wraps.
                let at =
                    if day % 2 == 0 { DAY * day } else { wrap * (1 + day / 500) - config.idle_timeout / 2 };
                ticks.advance(start + at);
                let last_seen = ticks.now();
                let mut silent_for = Duration::ZERO;
                loop {
                    // In large steps as long as nothing is due for sure, then tick by tick.
                    let sure = config.idle_timeout.saturating_sub(silent_for + 2 * ticks.len());
                    silent_for += sure.min(config.idle_timeout / 50).max(ticks.len());
                    let elapsed = ticks.advance(start + at + silent_for);
                    let quiet = ticks.quiet(ticks.now().wrapping_sub(last_seen), elapsed);
                    if heartbeat.due(quiet.start, quiet.end) == Some(Beat::Dead) {
                        break;
                    }
                }
                let late = silent_for.checked_sub(config.idle_timeout).expect("not before");
                assert!(late <= 2 * ticks.len(), "{idle}, silent since {at:?}: {late:?} late");
            }
        }
    }
}
