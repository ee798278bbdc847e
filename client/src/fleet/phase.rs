//! Messages between the controlling thread and the shards.

use super::endpoint::Endpoint;
use super::failures::Failures;
use super::laps::Lap;
use super::pace::Pace;
use super::results::{AddressCounts, Reconnects, TlsTimes, Unsolicited};
use hdrhistogram::Histogram;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Duration;

/// A command to a shard. Times are in nanoseconds since the start of the fleet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Command {
    /// Start a phase; the shard sends one [`Outcome`] when it ends, and a [`Lap`] per second from the given time on.
    Start(Phase, u64),
    /// Change the pace of churn.
    Pace(Option<Pace>),
    /// Nothing more is due in open loop from this time on.
    EndBy(u64),
    /// End the phase at once, with its results so far.
    Stop,
    /// Reset all open connections and end the thread.
    Quit,
}

/// What a shard sends to the controlling thread.
#[derive(Debug)]
pub(super) enum Report {
    /// A second of the phase is over.
    Lap(Lap),
    /// The phase is over.
    Ended(Box<Outcome>),
}

/// A shard's part of a phase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    /// Between phases. Pings are still answered.
    Rest,
    /// Make `attempts`, as fast as the window allows or at a pace.
    Connect { attempts: u64, pace: Option<Pace>, window: u32 },
    /// The first `active` connections send one message each, at most `window` in flight.
    Once { active: u32, window: u32 },
    /// The first `active` connections send a round of messages whenever the previous one is echoed.
    Closed { active: u32, span: Span },
    /// Messages are due at a pace, round-robin over the first `active` connections.
    Open { active: u32, pace: Pace, span: Span },
    /// Hold the connections idle until `end_ns`.
    Hold { end_ns: u64 },
    /// Close a connection and open another, at a pace, with at most `window` handshakes in progress. No pace: this shard
    /// has no connections to replace.
    Churn { pace: Option<Pace>, window: u32, end_ns: u64 },
    /// Close all connections, with at most `window` closing handshakes in progress.
    Close { window: u32 },
}

/// The times of a timed phase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    /// End of the warm-up: earlier messages are verified but not recorded.
    pub record_ns: u64,
    /// End of sending; then the echoes in flight are awaited.
    pub end_ns: u64,
}

/// A shard's results of a phase. Fields that do not apply to it are zero.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub live: u64,
    pub opened: u64,
    pub closed: u64,
    pub forced: u64,
    pub sent: u64,
    /// Messages due in open loop, including those unsent because their connection was lost.
    pub due: u64,
    /// Messages due and still awaiting their echo when the fleet was stopped.
    pub under_way: u64,
    pub echoes: u64,
    /// Payload bytes of these, except echoes of the usual form, whose length is known.
    pub bytes: u64,
    /// Echoes received before the end of the span.
    pub in_span: u64,
    pub late: u64,
    /// Of the late messages, those that waited for their socket to take them.
    pub blocked: u64,
    pub pings: u64,
    /// Messages that are no replies, since the last phase ended.
    pub unsolicited: Unsolicited,
    pub failures: Failures,
    pub start_ns: u64,
    /// Time of the last counted event.
    pub last_ns: u64,
    /// Connections that were replaced since the last phase ended.
    pub reconnects: Option<Reconnects>,
    /// Counts per address of the server since the last phase ended.
    pub addresses: Vec<AddressCounts>,
    /// Nanoseconds per handshake in a phase that connects, otherwise per echo.
    pub times: Option<Histogram<u32>>,
    /// The parts of these handshakes over TLS; `None` without any.
    pub tls: Option<TlsTimes>,
    /// The phase ended early because no shard could make progress.
    pub stalled: bool,
}

impl Outcome {
    /// An empty outcome of a phase that starts at `now_ns`.
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
            bytes: 0,
            in_span: 0,
            late: 0,
            blocked: 0,
            pings: 0,
            unsolicited: Unsolicited::default(),
            failures: Failures::default(),
            start_ns: now_ns,
            last_ns: now_ns,
            reconnects: None,
            addresses: Vec::new(),
            times: None,
            tls: None,
            stalled: false,
        }
    }

    /// Adds another shard's results of the same phase, except `times`, `reconnects`, `addresses` and `unsolicited`.
    pub(super) fn merge(&mut self, other: &Outcome) {
        self.live += other.live;
        self.opened += other.opened;
        self.closed += other.closed;
        self.forced += other.forced;
        self.sent += other.sent;
        self.due += other.due;
        self.under_way += other.under_way;
        self.echoes += other.echoes;
        self.bytes += other.bytes;
        self.in_span += other.in_span;
        self.late += other.late;
        self.blocked += other.blocked;
        self.pings += other.pings;
        self.failures.merge(&other.failures);
        match (&mut self.tls, &other.tls) {
            (Some(sum), Some(more)) => sum.merge(more),
            (sum @ None, more) => sum.clone_from(more),
            (Some(_), None) => {}
        }
        self.start_ns = self.start_ns.min(other.start_ns);
        self.last_ns = self.last_ns.max(other.last_ns);
        self.stalled |= other.stalled;
    }

    /// Resets the outcome for a new phase, but keeps failures since the last one, to report them with it.
    pub(super) fn restart(&mut self, now_ns: u64) {
        (self.opened, self.closed, self.forced) = (0, 0, 0);
        (self.start_ns, self.last_ns) = (now_ns, now_ns);
    }

    /// Why none of the `all` participating connections is left. The server, or its proxy, counts as down only if it reset
    /// connections and does not listen on any of its addresses any more; otherwise this end may have dropped them.
    pub(super) fn all_lost(&self, all: u64, endpoint: &Endpoint) -> String {
        let first = self.failures.first.as_deref().unwrap_or("they were closed");
        // The first address that does not refuse ends the search, so that it takes a second at most.
        let listens = |server| match TcpStream::connect_timeout(server, Duration::from_secs(1)) {
            Err(error) => error.kind() != ErrorKind::ConnectionRefused,
            Ok(_) => true,
        };
        let down = match endpoint.proxy {
            _ if self.failures.reset == 0 || endpoint.addrs().iter().any(listens) => "",
            Some(_) => "the proxy is down: ",
            None => "the server is down: ",
        };
        let active = if self.live > 0 { "active " } else { "" };
        format!("{down}all of {all} {active}connections were lost ({first})")
    }

    /// From the start to the last counted event.
    pub(super) fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.last_ns.saturating_sub(self.start_ns))
    }
}
