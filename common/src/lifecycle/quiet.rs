//! How long a connection has been quiet, where a thread or a task waits for one connection (stages 1 and 2).

use crate::heartbeat::{Beat, Heartbeat};
use crate::untaken::{Untaken, received_ago};
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
        heartbeat.due(mem::replace(&mut self.before, quiet), quiet)
    }

    /// Excludes a stall of the server from the silence of its peer.
    pub fn forgive(&mut self, stalled: Duration) {
        self.since += stalled;
    }
}
