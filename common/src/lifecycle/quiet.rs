//! How long a connection has been quiet, where a thread or a task waits for one connection (stages 1 and 2).

use crate::heartbeat::{Beat, Heartbeat};
use crate::untaken::{Untaken, received_ago, unread_bytes};
use std::mem;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

/// The quiet time of a connection, since it last received something whole.
#[derive(Debug)]
pub struct Quiet {
    since: Instant,
    /// The quiet time at the last check.
    before: Duration,
    untaken: Untaken,
    socket: RawFd,
}

impl Quiet {
    /// It begins now, on the connection of this socket.
    pub fn begin(socket: RawFd) -> Quiet {
        Quiet { since: Instant::now(), before: Duration::ZERO, untaken: Untaken::default(), socket }
    }

    /// When to check again. `None`: never.
    pub fn next_look(&self, heartbeat: Heartbeat) -> Option<Instant> {
        heartbeat.wait(self.before).map(|wait| self.since + self.before + wait)
    }

    /// Checks, and returns what is due. Received bytes, even of a part of a message, and acknowledged output end the quiet time.
    pub fn look(&mut self, heartbeat: Heartbeat) -> Option<Beat> {
        let now = Instant::now();
        let mut quiet = now.saturating_duration_since(self.since);
        if let Some(ago) = received_ago(self.socket).filter(|ago| *ago < quiet) {
            (quiet, self.since) = (ago, now - ago);
        }
        if heartbeat.must_look(self.before, quiet) && self.untaken.progressed(self.socket) {
            (quiet, self.since) = (Duration::ZERO, now);
        }
        let beat = heartbeat.due(mem::replace(&mut self.before, quiet), quiet);
        if beat == Some(Beat::Dead) && unread_bytes(self.socket) > 0 {
            // The server was stopped, not the peer: its input is read first.
            (self.since, self.before) = (now, Duration::ZERO);
            return None;
        }
        beat
    }

    /// Excludes a stall of the server from the silence of its peer.
    pub fn forgive(&mut self, stalled: Duration) {
        self.since += stalled;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::untaken::tests::pair;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::thread;

    const IDLE: Duration = Duration::from_millis(50);

    #[test]
    fn input_that_waits_is_read_before_a_peer_is_dead() {
        let heartbeat = Heartbeat::new(&Config::of(&["--idle-timeout", "50ms"]));
        let (mut peer, mut server) = pair();
        let socket = server.as_raw_fd();
        let mut quiet = Quiet::begin(socket);
        peer.write_all(b"a").expect("room for it");
        server.peek(&mut [0]).expect("it has arrived");
        // As if this thread were stopped here.
        while received_ago(socket).expect("TCP") < 2 * IDLE {
            thread::yield_now();
        }
        assert_eq!(quiet.look(heartbeat), None);
        assert_eq!(quiet.before, Duration::ZERO, "it has time to read");
        server.read_exact(&mut [0]).expect("the input");
        while quiet.since.elapsed() < IDLE {
            thread::yield_now();
        }
        assert_eq!(quiet.look(heartbeat), Some(Beat::Dead));
    }
}
