//! What the controlling thread and the shards say to each other.

use super::failures::Failures;
use super::pace::Pace;
use super::results::Reconnects;
use hdrhistogram::Histogram;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// To a shard. Times are in nanoseconds since the fleet was started.
#[derive(Clone, Copy, Debug)]
pub(super) enum Command {
    /// Start a phase; the shard answers with one [`Outcome`] when it is over.
    Start(Phase),
    /// Go on churning at this pace.
    Pace(Option<Pace>),
    /// End the phase at once with what there is so far.
    Stop,
    /// Cut off what is still open and end the thread.
    Quit,
}

/// What a shard is to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    /// Nothing: the time between phases, in which pings are answered all the same.
    Rest,
    /// Make `attempts`, as fast as the window allows or at the pace given.
    Connect { attempts: u64, pace: Option<Pace>, window: u32 },
    /// The first `active` connections send one message each, at most `window` of them waiting at a time.
    Once { active: u32, window: u32 },
    /// The first `active` connections send a round of messages whenever all of the one before are echoed.
    Closed { active: u32, span: Span },
    /// Messages are due at a pace, and go to the first `active` connections in turn.
    Open { active: u32, pace: Pace, span: Span },
    /// Nothing until `end_ns`, with losses counted.
    Hold { end_ns: u64 },
    /// At a pace, one connection is closed and another opened, at most `window` handshakes at a time. No pace: where there
    /// is nobody to replace.
    Churn { pace: Option<Pace>, window: u32, end_ns: u64 },
    /// All connections are closed, at most `window` of them waiting for the server at a time.
    Close { window: u32 },
}

/// The times of a phase that measures for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    /// The end of the warm-up: what belongs to a time before is verified but not recorded.
    pub record_ns: u64,
    /// From here on nothing is sent, and the echoes still under way are awaited.
    pub end_ns: u64,
}

/// What a shard has to report of a phase. Fields that a kind of phase has no use for stay zero.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub live: u64,
    pub opened: u64,
    pub closed: u64,
    pub forced: u64,
    pub sent: u64,
    /// Messages that were due in open loop, sent or not (a connection may have been lost).
    pub due: u64,
    /// Messages that were due and could still have been answered when the fleet was told to stop.
    pub under_way: u64,
    pub echoes: u64,
    /// Echoes that came before the end of the span.
    pub in_span: u64,
    pub late: u64,
    pub pings: u64,
    pub failures: Failures,
    pub start_ns: u64,
    /// When the last event that counts happened.
    pub last_ns: u64,
    /// Connections that were replaced since the last phase ended.
    pub reconnects: Option<Reconnects>,
    /// Of handshakes in a phase that connects, else of echoes: times in nanoseconds.
    pub times: Option<Histogram<u32>>,
    /// The phase was given up, for nothing moved any more, in this shard or in any other.
    pub stuck: bool,
}

impl Outcome {
    /// Nothing yet, at `now_ns`.
    pub(super) fn new(now_ns: u64) -> Outcome {
        Outcome {
            live: 0,
            opened: 0,
            closed: 0,
            forced: 0,
            sent: 0,
            due: 0,
            under_way: 0,
            echoes: 0,
            in_span: 0,
            late: 0,
            pings: 0,
            failures: Failures::default(),
            start_ns: now_ns,
            last_ns: now_ns,
            reconnects: None,
            times: None,
            stuck: false,
        }
    }

    /// Adds what another shard reports of the same phase, but for its times and what was replaced.
    pub(super) fn merge(&mut self, other: &Outcome) {
        self.live += other.live;
        self.opened += other.opened;
        self.closed += other.closed;
        self.forced += other.forced;
        self.sent += other.sent;
        self.due += other.due;
        self.under_way += other.under_way;
        self.echoes += other.echoes;
        self.in_span += other.in_span;
        self.late += other.late;
        self.pings += other.pings;
        self.failures.merge(&other.failures);
        self.start_ns = self.start_ns.min(other.start_ns);
        self.last_ns = self.last_ns.max(other.last_ns);
        self.stuck |= other.stuck;
    }

    /// Begins anew, but keeps the failures, which else nobody would hear of.
    pub(super) fn restart(&mut self, now_ns: u64) {
        (self.opened, self.closed, self.forced) = (0, 0, 0);
        (self.start_ns, self.last_ns) = (now_ns, now_ns);
    }

    /// Why none of `all` connections that took part is left. The server is said to be gone only where it has cut some off and nobody
    /// listens there any more: they may as well have been dropped at this end, for what came on them.
    pub(super) fn all_lost(&self, all: u64, server: SocketAddr) -> String {
        let first = self.failures.first.as_deref().unwrap_or("they were closed");
        let listens = || match TcpStream::connect_timeout(&server, Duration::from_secs(1)) {
            Err(error) => error.kind() != ErrorKind::ConnectionRefused,
            Ok(_) => true,
        };
        let gone = if self.failures.reset > 0 && !listens() { "the server is gone: " } else { "" };
        let active = if self.live > 0 { "active " } else { "" };
        format!("{gone}all of {all} {active}connections were lost ({first})")
    }

    /// From the start to the last event that counts.
    pub(super) fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.last_ns.saturating_sub(self.start_ns))
    }
}
