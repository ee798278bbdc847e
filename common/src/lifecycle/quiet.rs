//! How long a connection has been quiet, for those who wait for one connection at a time (stages 1 and 2).

use crate::heartbeat::{Beat, Heartbeat};
use crate::untaken::{Untaken, received_ago};
use std::mem;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

/// The quiet of a connection, since something whole last came.
#[derive(Debug)]
pub struct Quiet {
    since: Instant,
    /// For how long, when that was last looked at.
    before: Duration,
    untaken: Untaken,
    socket: RawFd,
}

impl Quiet {
    /// It begins now, on the connection of this socket.
    pub fn begin(socket: RawFd) -> Quiet {
        Quiet { since: Instant::now(), before: Duration::ZERO, untaken: Untaken::default(), socket }
    }

    /// When to look at it again. `None`: never.
    pub fn next_look(&self, heartbeat: Heartbeat) -> Option<Instant> {
        heartbeat.wait(self.before).map(|wait| self.since + self.before + wait)
    }

    /// Looks at it; returns what is due. A part of a message that came, and a part of the output that was taken, end it.
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

    /// Those who watch were held up for so long, which is not the peer's fault.
    pub fn forgive(&mut self, held_up: Duration) {
        self.since += held_up;
    }
}
