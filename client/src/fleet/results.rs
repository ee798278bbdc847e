//! A fleet's reports: live counts, and one result per phase.

use super::failures::Failures;
use super::times::Times;
use hdrhistogram::Histogram;
use std::fmt;
use std::time::Duration;

/// The longest time of a histogram: ten minutes. Longer times are recorded as this.
const HIGHEST_NS: u64 = 600_000_000_000;

/// A histogram of nanoseconds with three significant digits; takes 250 KB.
pub fn histogram_ns() -> Histogram<u64> {
    Histogram::new_with_bounds(1, HIGHEST_NS, 3).expect("these bounds are valid")
}

/// A shard's histogram, with a resolution of 64 ns below 64 µs; takes 98 KB.
pub(super) fn shard_times_ns() -> Histogram<u32> {
    Histogram::new_with_bounds(64, HIGHEST_NS, 3).expect("these bounds are valid")
}

/// The counts of a fleet, over all shards; cheap to read, and up to some milliseconds old.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Open connections.
    pub connected: u64,
    /// Lost connections not yet replaced.
    pub reconnecting: u64,
    /// Handshakes in progress.
    pub connecting: u64,
    /// Messages sent since the start of the fleet.
    pub sent: u64,
    /// Replies since the start of the fleet, including warm-ups.
    pub echoes: u64,
    /// Messages since the start of the fleet that are no replies, without greetings.
    pub pushed: u64,
    /// Failures since the start of the fleet.
    pub failures: Failures,
    /// Time from connect(2) to the verified response, per connection opened since the start of the fleet.
    pub handshakes: Times,
    /// Latency per recorded echo: without warm-ups and churn.
    pub latencies: Times,
    /// Time since the start of the phase.
    pub phase_elapsed: Duration,
}

/// Connections lost and replaced.
#[derive(Clone)]
pub struct Reconnects {
    /// Connections lost.
    pub lost: u64,
    /// Those replaced.
    pub reconnected: u64,
    /// Failed attempts to replace them.
    pub failed_attempts: u64,
    /// How they were lost, by class.
    pub causes: Failures,
    /// Nanoseconds from the loss until the replacement was open.
    pub away: Histogram<u64>,
}

impl Default for Reconnects {
    fn default() -> Reconnects {
        let away = histogram_ns();
        Reconnects { lost: 0, reconnected: 0, failed_attempts: 0, causes: Failures::default(), away }
    }
}

impl Reconnects {
    /// Adds the counts of `more`.
    pub fn merge(&mut self, more: &Reconnects) {
        self.lost += more.lost;
        self.reconnected += more.reconnected;
        self.failed_attempts += more.failed_attempts;
        self.causes.merge(&more.causes);
        self.away.add(&more.away).expect("histograms of the same bounds");
    }
}

/// Connections to one of the server's addresses, in all phases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressCounts {
    /// Connections opened.
    pub opened: u64,
    /// Failed attempts and connections.
    pub failed: u64,
}

/// Messages from the server that are no replies, in all phases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsolicited {
    /// Expected messages before a connection was used: see [`super::Messages::greetings`].
    pub greetings: u64,
    /// Other messages that arrived while no reply was awaited.
    pub pushed: u64,
    /// Their payload bytes, including those of incomplete messages.
    pub pushed_bytes: u64,
}

impl Unsolicited {
    /// Adds the counts of `more`.
    pub fn merge(&mut self, more: &Unsolicited) {
        self.greetings += more.greetings;
        self.pushed += more.pushed;
        self.pushed_bytes += more.pushed_bytes;
    }
}

/// The parts of the handshakes of `wss://` connections, in nanoseconds.
#[derive(Clone)]
pub struct TlsTimes {
    /// From connect(2) until the connection was established.
    pub tcp: Histogram<u64>,
    /// From then until the TLS handshake was over.
    pub tls: Histogram<u64>,
    /// From then to the verified response to the upgrade.
    pub upgrade: Histogram<u64>,
    /// Handshakes that resumed a session.
    pub resumed: u64,
}

impl Default for TlsTimes {
    fn default() -> TlsTimes {
        TlsTimes { tcp: histogram_ns(), tls: histogram_ns(), upgrade: histogram_ns(), resumed: 0 }
    }
}

impl TlsTimes {
    /// Adds the times of `more`.
    pub fn merge(&mut self, more: &TlsTimes) {
        for (sum, more) in
            [(&mut self.tcp, &more.tcp), (&mut self.tls, &more.tls), (&mut self.upgrade, &more.upgrade)]
        {
            sum.add(more).expect("histograms of the same bounds");
        }
        self.resumed += more.resumed;
    }
}

/// What a second added, over all shards.
#[derive(Clone, Debug, PartialEq)]
pub struct Second {
    /// Its end, since the start of the measurement.
    pub end: Duration,
    /// Its length: a second, except for the last one.
    pub elapsed: Duration,
    /// Open connections at its end.
    pub connections: u64,
    /// Messages or connections due in it; `None` without a schedule.
    pub due: Option<u64>,
    /// The same per second.
    pub due_per_s: Option<f64>,
    /// Connections opened.
    pub opened: u64,
    /// Echoes received.
    pub echoes: u64,
    /// Messages sent late.
    pub late: u64,
    /// Failures.
    pub failures: u64,
    /// Nanoseconds per echo or handshake, each with its count.
    pub times: Vec<(u64, u64)>,
}

/// The result of growing the fleet.
#[derive(Clone)]
pub struct ConnectPhase {
    /// Connections requested in total.
    pub requested: u64,
    /// Connections open at the end, including earlier ones.
    pub connected: u64,
    /// Connections opened in this phase.
    pub opened: u64,
    /// From the first attempt to the last connection.
    pub elapsed: Duration,
    /// `opened` divided by `elapsed`.
    pub connects_per_s: f64,
    /// Nanoseconds from connect(2) to the verified response to the upgrade, or to the last greeting expected.
    pub handshake: Histogram<u64>,
    /// Their parts over TLS.
    pub tls: Option<TlsTimes>,
    /// Failures; a failed attempt is not repeated.
    pub failures: Failures,
    /// Why the phase ended before all attempts were made.
    pub ended_early: Option<String>,
    /// Results per second, if the fleet counts them.
    pub seconds: Vec<Second>,
}

/// The result of sending messages and receiving their echoes.
#[derive(Clone)]
pub struct EchoPhase {
    /// Connections that took part.
    pub active: u64,
    /// Messages sent, without the warm-up.
    pub sent: u64,
    /// Their replies: verified echoes unless [`super::Messages::verify`] accepts others.
    pub echoes: u64,
    /// Payload bytes of these.
    pub bytes: u64,
    /// The measured time: without the warm-up, and without the wait for the last echoes of a timed phase.
    pub elapsed: Duration,
    /// Echoes received within `elapsed`, divided by it.
    pub echoes_per_s: f64,
    /// Nanoseconds per echo: in open loop from the time its message was *due*, otherwise from its sending.
    pub latency: Histogram<u64>,
    /// Messages sent late: more than [`super::FleetConfig::late_after`] after they were due (open loop only).
    pub late: u64,
    /// Of these, messages that waited until their socket could take them.
    pub blocked: u64,
    /// Messages due (in open loop even if unsent) and not echoed, for any reason, without those in flight when the fleet
    /// was stopped. Where no replies are awaited: messages due and not sent.
    pub missing: u64,
    /// Failures by class.
    pub failures: Failures,
    /// Why the phase ended early.
    pub ended_early: Option<String>,
    /// Results per second, if the fleet counts them.
    pub seconds: Vec<Second>,
}

/// The result of holding the connections idle.
#[derive(Clone, Debug)]
pub struct HoldPhase {
    /// Duration of the phase.
    pub elapsed: Duration,
    /// Connections open at the end.
    pub held: u64,
    /// Connections lost during the phase.
    pub lost: u64,
    /// Answered pings from the server.
    pub pings: u64,
    /// How they were lost, by class.
    pub failures: Failures,
    /// Why the phase ended early.
    pub ended_early: Option<String>,
}

/// The result of closing and opening connections at a rate.
#[derive(Clone)]
pub struct ChurnPhase {
    /// Connections closed with a complete closing handshake.
    pub closed: u64,
    /// Connections opened in their place.
    pub opened: u64,
    /// Echoes on the new connections: each sends one message once open.
    pub echoes: u64,
    /// Duration of the phase.
    pub elapsed: Duration,
    /// Connections open at the end.
    pub connected: u64,
    /// Nanoseconds per handshake of the new connections.
    pub handshake: Histogram<u64>,
    /// Their parts over TLS.
    pub tls: Option<TlsTimes>,
    /// Failures by class.
    pub failures: Failures,
    /// Why the phase ended early.
    pub ended_early: Option<String>,
    /// Results per second, if the fleet counts them.
    pub seconds: Vec<Second>,
}

/// The result of closing all connections.
#[derive(Clone, Debug)]
pub struct ClosePhase {
    /// Connections closed with the closing handshake, by the server first (RFC 6455, section 7.1.1).
    pub closed: u64,
    /// Connections reset because the server did not answer in time or the fleet was stopped.
    pub forced: u64,
    /// Duration of the phase.
    pub elapsed: Duration,
    /// Failures by class.
    pub failures: Failures,
}

/// Implements `Debug` with only the maximum of the histogram, not its thousands of counters.
macro_rules! debug_without_histogram {
    ($phase:ty, $histogram:ident, $($field:ident),+) => {
        impl fmt::Debug for $phase {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($phase))
                    $(.field(stringify!($field), &self.$field))+
                    .field(stringify!($histogram), &format_args!("up to {} ns", self.$histogram.max()))
                    .finish()
            }
        }
    };
}

debug_without_histogram!(
    ConnectPhase,
    handshake,
    requested,
    connected,
    opened,
    elapsed,
    failures,
    ended_early
);
debug_without_histogram!(
    EchoPhase,
    latency,
    active,
    sent,
    echoes,
    elapsed,
    late,
    missing,
    failures,
    ended_early
);
debug_without_histogram!(
    ChurnPhase,
    handshake,
    closed,
    opened,
    echoes,
    elapsed,
    connected,
    failures,
    ended_early
);
debug_without_histogram!(TlsTimes, tls, resumed);
debug_without_histogram!(Reconnects, away, lost, reconnected, failed_attempts, causes);
