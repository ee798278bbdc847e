//! What a fleet reports: its counts at any time, and one result for each phase.

use super::failures::Failures;
use super::times::Times;
use hdrhistogram::Histogram;
use std::fmt;
use std::time::Duration;

/// The longest time a histogram tells apart, in nanoseconds: ten minutes; anything longer counts as this.
const HIGHEST_NS: u64 = 600_000_000_000;

/// A histogram of times in nanoseconds with three significant digits, in 250 KB.
pub fn histogram_ns() -> Histogram<u64> {
    Histogram::new_with_bounds(1, HIGHEST_NS, 3).expect("these bounds are valid")
}

/// The same for one shard, in 98 KB: in steps of 64 ns below 64 µs.
pub(super) fn shard_times_ns() -> Histogram<u32> {
    Histogram::new_with_bounds(64, HIGHEST_NS, 3).expect("these bounds are valid")
}

/// Where a fleet stands, over all shards; cheap, and up to some milliseconds old.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Connections that are open now.
    pub connected: u64,
    /// Connections that were lost, and are to come back.
    pub reconnecting: u64,
    /// Connections whose handshake is under way.
    pub connecting: u64,
    /// Messages sent since the start of the fleet.
    pub sent: u64,
    /// Echoes received and found right since the start of the fleet, warm-ups included.
    pub echoes: u64,
    /// Failures since the start of the fleet.
    pub failures: Failures,
    /// From connect(2) to the verified answer, of each connection opened since the start of the fleet.
    pub handshakes: Times,
    /// Of each echo that the results count: not of warm-ups, nor of churn.
    pub latencies: Times,
    /// Time since the phase began.
    pub phase_elapsed: Duration,
}

/// Connections that were lost without having been asked for, and replaced.
#[derive(Clone)]
pub struct Reconnects {
    /// Connections lost.
    pub lost: u64,
    /// Of these, those in whose place another was opened.
    pub reconnected: u64,
    /// Attempts that failed on the way.
    pub failed_attempts: u64,
    /// How they were lost.
    pub causes: Failures,
    /// From the loss until the next connection stood, in ns.
    pub away: Histogram<u64>,
}

impl Default for Reconnects {
    fn default() -> Reconnects {
        let away = histogram_ns();
        Reconnects { lost: 0, reconnected: 0, failed_attempts: 0, causes: Failures::default(), away }
    }
}

impl Reconnects {
    /// Counts those of `more` too.
    pub fn merge(&mut self, more: &Reconnects) {
        self.lost += more.lost;
        self.reconnected += more.reconnected;
        self.failed_attempts += more.failed_attempts;
        self.causes.merge(&more.causes);
        self.away.add(&more.away).expect("histograms of the same bounds");
    }
}

/// The result of growing the fleet.
#[derive(Clone)]
pub struct ConnectPhase {
    /// Connections asked for in total.
    pub requested: u64,
    /// Connections open at the end, those from before included.
    pub connected: u64,
    /// Connections opened in this phase.
    pub opened: u64,
    /// From the first attempt to the last connection.
    pub elapsed: Duration,
    /// `opened` over `elapsed`.
    pub connects_per_s: f64,
    /// From the call of connect(2) until the answer to the upgrade was verified, in ns.
    pub handshake: Histogram<u64>,
    /// What failed; a failed attempt is not repeated.
    pub failures: Failures,
    /// Why the phase ended before every attempt was made, in one line.
    pub ended_early: Option<String>,
}

/// The result of sending messages and receiving their echoes.
#[derive(Clone)]
pub struct EchoPhase {
    /// Connections that took part.
    pub active: u64,
    /// Messages sent, without those of the warm-up.
    pub sent: u64,
    /// Their echoes, each equal to what was sent.
    pub echoes: u64,
    /// Bytes of payload in these echoes.
    pub bytes: u64,
    /// The time measured: without warm-up, and without the wait for the last echoes of a timed phase.
    pub elapsed: Duration,
    /// Echoes received within `elapsed`, over `elapsed`.
    pub echoes_per_s: f64,
    /// Of each echo, in ns: in open loop from the time its message was *due*, else from the time it was sent.
    pub latency: Histogram<u64>,
    /// Messages sent more than 1 ms after they were due (open loop only).
    pub late: u64,
    /// Messages that were due (in open loop sent or not, else sent) and not echoed, whatever the cause; not those that
    /// could still have been when the fleet was stopped.
    pub missing: u64,
    /// What failed.
    pub failures: Failures,
    /// Why the phase ended before its time, in one line.
    pub ended_early: Option<String>,
}

/// The result of holding the connections idle.
#[derive(Clone, Debug)]
pub struct HoldPhase {
    /// How long they were held.
    pub elapsed: Duration,
    /// Connections open at the end.
    pub held: u64,
    /// Connections lost meanwhile.
    pub lost: u64,
    /// Pings of the server that were answered.
    pub pings: u64,
    /// How they were lost.
    pub failures: Failures,
    /// Why the phase ended before its time, in one line.
    pub ended_early: Option<String>,
}

/// The result of closing and opening connections at a rate.
#[derive(Clone)]
pub struct ChurnPhase {
    /// Connections closed, and their closing handshake done.
    pub closed: u64,
    /// Connections opened in their place.
    pub opened: u64,
    /// Echoes received on the new connections: each sends one message as soon as it is open.
    pub echoes: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// Connections open at the end.
    pub connected: u64,
    /// Of the new connections, in ns.
    pub handshake: Histogram<u64>,
    /// What failed.
    pub failures: Failures,
    /// Why the phase ended before its time, in one line.
    pub ended_early: Option<String>,
}

/// The result of closing all connections.
#[derive(Clone, Debug)]
pub struct ClosePhase {
    /// Connections that went by the closing handshake, the server closing first (RFC 6455, section 7.1.1).
    pub closed: u64,
    /// Connections cut off with a reset, for the server did not answer in time or the fleet was stopped.
    pub forced: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// What failed.
    pub failures: Failures,
}

/// Shows a phase without the thousands of counters of its histogram, and of that the maximum.
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
debug_without_histogram!(Reconnects, away, lost, reconnected, failed_attempts, causes);
