//! When a quiet connection is pinged, and when it is given up.

use crate::config::Config;
use std::time::Duration;

/// What is due on a connection from which nothing has come for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Send a Ping.
    Ping,
    /// Close it.
    Dead,
}

/// `--ping-interval` and `--idle-timeout`. It holds nothing of a connection: a Ping is due whenever its quiet time
/// passes a multiple of the interval.
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

    /// How much longer to wait until something is due, on a connection quiet for `quiet`. `None`: for ever.
    pub fn wait(&self, quiet: Duration) -> Option<Duration> {
        let ping = (!self.ping.is_zero()).then(|| self.ping * (periods(quiet, self.ping) + 1) - quiet);
        let idle = (!self.idle.is_zero()).then(|| self.idle.saturating_sub(quiet));
        ping.into_iter().chain(idle).min()
    }

    /// What fell due while the quiet time of a connection went from `before` to `now`.
    pub fn due(&self, before: Duration, now: Duration) -> Option<Beat> {
        if !self.idle.is_zero() && now >= self.idle {
            return Some(Beat::Dead);
        }
        let due = !self.ping.is_zero() && periods(now, self.ping) > periods(before, self.ping);
        due.then_some(Beat::Ping)
    }

    /// How often a loop looks through its connections for what is due: an eighth of the shortest time it keeps,
    /// and once a second at least.
    pub fn tick(&self, config: &Config) -> Duration {
        let times = [self.ping, self.idle, config.handshake_timeout, crate::config::LINGER];
        let shortest = times.into_iter().filter(|time| !time.is_zero()).min().unwrap_or_default();
        (shortest / 8).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}

fn periods(time: Duration, period: Duration) -> u32 {
    u32::try_from(time.as_nanos() / period.as_nanos()).unwrap_or(u32::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn pings_at_each_multiple_and_gives_up_at_the_end() {
        let beat = Heartbeat { ping: seconds(30), idle: seconds(100) };
        assert_eq!(beat.wait(seconds(0)), Some(seconds(30)));
        assert_eq!(beat.wait(seconds(31)), Some(seconds(29)));
        assert_eq!(beat.wait(seconds(95)), Some(seconds(5)));
        assert_eq!(beat.due(seconds(0), seconds(29)), None);
        assert_eq!(beat.due(seconds(29), seconds(30)), Some(Beat::Ping));
        assert_eq!(beat.due(seconds(30), seconds(59)), None);
        assert_eq!(beat.due(seconds(59), seconds(61)), Some(Beat::Ping));
        assert_eq!(beat.due(seconds(99), seconds(100)), Some(Beat::Dead));
    }

    #[test]
    fn off_is_off() {
        let beat = Heartbeat { ping: Duration::ZERO, idle: Duration::ZERO };
        assert_eq!(beat.wait(seconds(9)), None);
        assert_eq!(beat.due(seconds(0), seconds(1_000_000)), None);
    }
}
