//! When a quiet connection is sent a Ping, and when it times out.

use crate::config::Config;
use crate::untaken::LOOKS;
use std::time::Duration;

/// What is due on a connection that has been quiet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Send a Ping.
    Ping,
    /// Close it.
    Dead,
}

/// `--ping-interval` and `--idle-timeout`. It keeps no state per connection: a Ping is due whenever a connection's quiet
/// time passes a multiple of the interval.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    ping: Duration,
    idle: Duration,
}

impl Heartbeat {
    /// From the flags; a time of zero is off.
    pub fn new(config: &Config) -> Heartbeat {
        Heartbeat { ping: config.ping_interval, idle: config.idle_timeout }
    }

    /// Whether any time is set at all.
    #[inline]
    pub fn is_on(&self) -> bool {
        !self.ping.is_zero() || !self.idle.is_zero()
    }

    /// How long a peer may acknowledge no output: `--idle-timeout`. `None`: for ever.
    pub fn write_timeout(&self) -> Option<Duration> {
        (!self.idle.is_zero()).then_some(self.idle)
    }

    /// How much longer to wait until something is due, or is to be checked, on a connection quiet for `quiet`. `None`: for ever.
    pub fn wait(&self, quiet: Duration) -> Option<Duration> {
        let left = |period: Duration| {
            // What is left of at most 30 days fits.
            let left = period.as_nanos() - quiet.as_nanos() % period.as_nanos();
            Duration::from_nanos(left as u64)
        };
        let ping = (!self.ping.is_zero()).then(|| left(self.ping));
        let look =
            (!self.idle.is_zero()).then(|| left(self.look_every()).min(self.idle.saturating_sub(quiet)));
        ping.into_iter().chain(look).min()
    }

    fn look_every(&self) -> Duration {
        self.idle / LOOKS
    }

    /// Whether to check that the peer still acknowledges output ([`crate::untaken::Untaken`]), when the quiet time of a connection
    /// went from `before` to `now`.
    pub fn must_look(&self, before: Duration, now: Duration) -> bool {
        !self.idle.is_zero() && periods(now, self.look_every()) > periods(before, self.look_every())
    }

    /// What fell due while the quiet time of a connection went from `before` to `now`.
    pub fn due(&self, before: Duration, now: Duration) -> Option<Beat> {
        if !self.idle.is_zero() && now >= self.idle {
            return Some(Beat::Dead);
        }
        let due = !self.ping.is_zero() && periods(now, self.ping) > periods(before, self.ping);
        due.then_some(Beat::Ping)
    }
}

fn periods(time: Duration, period: Duration) -> u128 {
    time.as_nanos() / period.as_nanos()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn pings_at_each_multiple_and_times_out_at_the_end() {
        let beat = Heartbeat { ping: seconds(30), idle: seconds(100) };
        assert_eq!(beat.wait(seconds(0)), Some(seconds(25)));
        assert_eq!(beat.wait(seconds(26)), Some(seconds(4)));
        assert_eq!(beat.wait(seconds(51)), Some(seconds(9)));
        assert_eq!(beat.wait(seconds(95)), Some(seconds(5)));
        assert_eq!(beat.due(seconds(0), seconds(29)), None);
        assert_eq!(beat.due(seconds(29), seconds(30)), Some(Beat::Ping));
        assert_eq!(beat.due(seconds(30), seconds(59)), None);
        assert_eq!(beat.due(seconds(59), seconds(61)), Some(Beat::Ping));
        assert_eq!(beat.due(seconds(99), seconds(100)), Some(Beat::Dead));
    }

    #[test]
    fn checks_four_times_before_the_timeout() {
        let beat = Heartbeat { ping: Duration::ZERO, idle: seconds(100) };
        let looks = (0..=100).filter(|&s| beat.must_look(seconds(s), seconds(s + 1))).collect::<Vec<_>>();
        assert_eq!(looks, [24, 49, 74, 99]);
    }

    #[test]
    fn no_time_overflows() {
        let set = [Duration::from_nanos(4), Duration::from_millis(10), seconds(365 * 24 * 3600)];
        let quiet = [Duration::ZERO, Duration::from_nanos(1), seconds(100 * 365 * 24 * 3600), Duration::MAX];
        for (ping, idle) in set.into_iter().flat_map(|ping| set.map(|idle| (ping, idle))) {
            let beat = Heartbeat { ping, idle };
            for (before, now) in quiet.into_iter().flat_map(|before| quiet.map(|now| (before, now))) {
                assert!(beat.wait(now).is_some_and(|wait| wait <= ping.min(beat.idle)));
                beat.must_look(before, now);
                beat.due(before, now);
            }
        }
    }

    #[test]
    fn off_is_off() {
        let beat = Heartbeat { ping: Duration::ZERO, idle: Duration::ZERO };
        assert_eq!((beat.wait(seconds(9)), beat.write_timeout()), (None, None));
        assert_eq!(beat.due(seconds(0), seconds(1_000_000)), None);
    }
}
