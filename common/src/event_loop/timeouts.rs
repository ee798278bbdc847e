//! What is due on a connection that has been quiet.

use super::{Drain, Marks, Phase, Ticks};
use crate::config::{Config, LINGER};
use crate::heartbeat::{Beat, Heartbeat};
use crate::untaken::SlowReaders;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

/// What is due on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// Its peer has acknowledged output, which ends the quiet time.
    Acknowledged,
    /// A Ping.
    Ping,
    /// It has timed out.
    TimedOut,
}

/// The timeouts of each phase: `--handshake-timeout`; `--ping-interval` and `--idle-timeout`; and
/// [`LINGER`]. And the clock by which they are measured.
#[derive(Debug)]
pub struct Timeouts {
    ticks: Ticks,
    /// Ticks for which [`Timeouts::due`] answers.
    elapsed: u32,
    handshake: Duration,
    heartbeat: Heartbeat,
    slow_readers: SlowReaders,
    /// The end of all connections. Once it has begun, lingering ones have until its deadline.
    pub drain: Drain,
}

impl Timeouts {
    /// From the flags, on a clock that begins at `start`.
    pub fn new(config: &Config, start: Instant) -> Timeouts {
        Timeouts {
            ticks: Ticks::new(config, start),
            elapsed: 0,
            handshake: config.handshake_timeout,
            heartbeat: Heartbeat::new(config),
            slow_readers: SlowReaders::default(),
            drain: Drain::default(),
        }
    }

    /// Moves the clock to `now`. Returns whether a tick has passed, so that something may be due.
    #[inline]
    pub fn advance(&mut self, now: Instant) -> bool {
        self.elapsed = self.ticks.advance(now);
        self.elapsed > 0
    }

    /// The tick to which the clock was moved.
    #[inline]
    pub fn now(&self) -> u32 {
        self.ticks.now()
    }

    /// The longest wait for events: a tick, or less while a drain closes connections.
    #[inline]
    pub fn tick_len(&self) -> Duration {
        self.drain.poll_timeout(self.ticks.len())
    }

    /// What fell due on connection `fd` when the clock was moved.
    pub fn due(&mut self, fd: RawFd, phase: Phase, marks: &Marks) -> Due {
        let quiet = self.ticks.quiet(marks.quiet_ticks(self.ticks.now()), self.elapsed);
        let timed_out = match phase {
            Phase::Handshake => quiet.end >= self.handshake,
            Phase::Lingering => quiet.end >= LINGER && !self.drain.has_begun(),
            Phase::Idle | Phase::Busy => {
                if self.heartbeat.must_look(quiet.start, quiet.end) && self.slow_readers.progressed(fd) {
                    return Due::Acknowledged;
                }
                match self.heartbeat.due(quiet.start, quiet.end) {
                    Some(Beat::Ping) => return Due::Ping,
                    beat => beat == Some(Beat::Dead),
                }
            }
        };
        if timed_out { Due::TimedOut } else { Due::Nothing }
    }

    /// Connection `fd` has ended; its descriptor may be another's next.
    pub fn remove(&mut self, fd: RawFd) {
        self.slow_readers.remove(fd);
    }

    /// Frees memory that only a peak needed.
    pub fn trim(&mut self) {
        self.slow_readers.trim();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shutdown::Shutdown;
    use crate::untaken::tests::pair;
    use std::io::Write;
    use std::os::fd::AsRawFd;

    const SECOND: Duration = Duration::from_secs(1);
    /// No socket, so no output of it is acknowledged.
    const NO_SOCKET: RawFd = -1;

    fn timeouts(flags: &[&str], start: Instant) -> Timeouts {
        Timeouts::new(&Config::of(flags), start)
    }

    #[test]
    fn each_phase_has_its_timeout() {
        let flags = ["--handshake-timeout", "2s", "--ping-interval", "3s", "--idle-timeout", "7s"];
        let due_in = |phase| {
            let start = Instant::now();
            let mut timeouts = timeouts(&flags, start);
            let marks = Marks::new(timeouts.now());
            let mut due_at = |s| {
                assert!(timeouts.advance(start + SECOND * s));
                (s, timeouts.due(NO_SOCKET, phase, &marks))
            };
            (1..99).map(&mut due_at).filter(|(_, due)| *due != Due::Nothing).take(3).collect::<Vec<_>>()
        };
        let timed_out_from = |s| [(s, Due::TimedOut), (s + 1, Due::TimedOut), (s + 2, Due::TimedOut)];
        assert_eq!(due_in(Phase::Handshake), timed_out_from(2));
        for phase in [Phase::Idle, Phase::Busy] {
            assert_eq!(due_in(phase), [(3, Due::Ping), (6, Due::Ping), (7, Due::TimedOut)]);
        }
        assert_eq!(due_in(Phase::Lingering), timed_out_from(LINGER.as_secs() as u32));
    }

    #[test]
    fn nothing_is_due_again_before_the_next_tick() {
        let start = Instant::now();
        let mut timeouts = timeouts(&["--ping-interval", "8s", "--handshake-timeout", "8s"], start);
        let marks = Marks::new(timeouts.now());
        assert!(timeouts.advance(start + SECOND * 8));
        assert_eq!(timeouts.due(NO_SOCKET, Phase::Idle, &marks), Due::Ping);
        assert!(!timeouts.advance(start + SECOND * 8 + timeouts.tick_len() / 2));
        assert_eq!(timeouts.due(NO_SOCKET, Phase::Idle, &marks), Due::Nothing);
    }

    #[test]
    fn lingering_connections_have_until_the_end_of_a_drain() {
        let start = Instant::now();
        let mut timeouts = timeouts(&[], start);
        let marks = Marks::new(timeouts.now());
        timeouts.advance(start + LINGER);
        assert_eq!(timeouts.due(NO_SOCKET, Phase::Lingering, &marks), Due::TimedOut);
        timeouts.drain.begin(&Shutdown::new().expect("an eventfd"), vec![]);
        assert_eq!(timeouts.due(NO_SOCKET, Phase::Lingering, &marks), Due::Nothing);
    }

    #[test]
    fn a_peer_that_acknowledges_output_does_not_time_out() {
        let (_peer, mut server) = pair();
        server.set_nonblocking(true).expect("non-blocking");
        let (fd, start) = (server.as_raw_fd(), Instant::now());
        let mut timeouts = timeouts(&["--idle-timeout", "4s"], start);
        let marks = Marks::new(timeouts.now());
        timeouts.advance(start + SECOND * 4);
        assert_eq!(timeouts.due(fd, Phase::Busy, &marks), Due::TimedOut, "nothing is sent");
        while server.write(&[0; 65_536]).is_ok() {}
        assert_eq!(timeouts.due(fd, Phase::Busy, &marks), Due::Acknowledged);
        // It takes a moment until the kernel's queues are full at both ends.
        while server.write(&[0; 65_536]).is_ok() || timeouts.due(fd, Phase::Busy, &marks) == Due::Acknowledged
        {
        }
        assert_eq!(timeouts.due(fd, Phase::Busy, &marks), Due::TimedOut, "nobody reads");
        timeouts.remove(fd);
        timeouts.trim();
    }
}
