//! What `--json` writes. README.md of this crate documents it; a change that readers must know of raises [`SCHEMA`].

use super::latency::Latency;
use super::server::Sample;
use super::{RunArgs, Scenario};
use crate::fleet::{ChurnPhase, ClosePhase, ConnectPhase, EchoPhase, Failures, Fleet, HoldPhase, Reconnects};
use clap::ValueEnum;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::time::Duration;

/// The version of the JSON's layout.
pub const SCHEMA: u32 = 1;

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunReport {
    /// [`SCHEMA`]
    pub schema: u32,
    /// The version of this program.
    pub version: String,
    /// The command line.
    pub command: Vec<String>,
    /// When it was started (RFC 3339, UTC).
    pub started: String,
    /// The server; of merged results all of them, with commas.
    pub url: String,
    /// Clients whose results these are: more than one where they are merged.
    #[serde(default = "one")]
    pub clients: u64,
    /// The name of the scenario.
    pub scenario: String,
    /// Connections asked for.
    pub connections: u64,
    /// Threads.
    pub shards: u64,
    /// Bytes of payload in a message.
    pub payload_bytes: u64,
    /// Messages in flight on a connection in closed loop.
    #[serde(default = "one")]
    pub in_flight: u64,
    /// Messages asked for in a second in open loop (in churn: connections); none in closed loop.
    pub rate_per_s: Option<f64>,
    /// Opening connections.
    pub connect: Option<ConnectReport>,
    /// Holding them.
    pub hold: Option<HoldReport>,
    /// Sending messages.
    pub echo: Option<EchoReport>,
    /// Replacing connections.
    pub churn: Option<ChurnReport>,
    /// Closing them.
    pub close: Option<CloseReport>,
    /// Replacing those that were lost, where that was asked for.
    pub reconnect: Option<ReconnectReport>,
    /// The server, if it was watched.
    pub server: Option<ServerReport>,
    /// What failed, in all phases together.
    pub failures: Failures,
    /// Why a phase ended before its time.
    pub ended_early: Option<String>,
    /// Whether it was stopped with a signal.
    pub interrupted: bool,
    /// What the program exits with.
    pub exit_status: u8,
}

/// Opening connections; in storm, of all rounds together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ConnectReport {
    /// How often all were opened: more than once only in storm.
    pub rounds: u64,
    /// Connections opened.
    pub opened: u64,
    /// Connections open at the end of the last round.
    pub connected: u64,
    /// The time it took.
    pub elapsed_s: f64,
    /// `opened` over `elapsed_s`.
    pub connects_per_s: f64,
    /// From connect(2) to the verified answer.
    pub handshake: Latency,
}

/// Holding connections.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HoldReport {
    /// For how long.
    pub elapsed_s: f64,
    /// Connections left.
    pub held: u64,
    /// Connections lost.
    pub lost: u64,
    /// Pings that were answered.
    pub pings: u64,
}

/// Sending messages; in storm and burst, of all rounds together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct EchoReport {
    /// How often the phase was run: more than once only in storm and burst.
    pub rounds: u64,
    /// Connections that sent.
    pub active: u64,
    /// Messages sent, without the warm-up.
    pub sent: u64,
    /// Their echoes, each equal to what was sent.
    pub echoes: u64,
    /// Bytes of payload in the echoes.
    pub bytes: u64,
    /// The time measured.
    pub elapsed_s: f64,
    /// Echoes in that time, over that time.
    pub echoes_per_s: f64,
    /// Messages sent more than 1 ms after they were due (open loop).
    pub late: u64,
    /// Messages that were due (in open loop sent or not, else sent) and not echoed, whatever the cause; not those that
    /// could still have been when it was interrupted.
    pub missing: u64,
    /// From sending (open loop: from the time due) to the echo.
    pub latency: Latency,
}

/// Replacing connections.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ChurnReport {
    /// Connections closed.
    pub closed: u64,
    /// Connections opened.
    pub opened: u64,
    /// Echoes on those opened.
    pub echoes: u64,
    /// For how long.
    pub elapsed_s: f64,
    /// Connections open at the end.
    pub connected: u64,
    /// From connect(2) to the verified answer.
    pub handshake: Latency,
}

/// Closing connections; in storm, of all rounds together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CloseReport {
    /// By the closing handshake.
    pub closed: u64,
    /// By a reset, for want of an answer.
    pub forced: u64,
    /// The time it took.
    pub elapsed_s: f64,
}

/// Replacing connections that were lost, in all phases.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ReconnectReport {
    /// Connections lost.
    pub lost: u64,
    /// Of these, those in whose place another was opened before all were closed.
    pub reconnected: u64,
    /// Attempts that failed on the way.
    pub failed_attempts: u64,
    /// How they were lost, by class, and the `first` in words.
    pub causes: Failures,
    /// From the loss until the next connection stood.
    pub away: Latency,
}

impl From<&Reconnects> for ReconnectReport {
    fn from(reconnects: &Reconnects) -> ReconnectReport {
        let Reconnects { lost, reconnected, failed_attempts, ref causes, ref away } = *reconnects;
        let (causes, away) = (causes.clone(), Latency(away.clone()));
        ReconnectReport { lost, reconnected, failed_attempts, causes, away }
    }
}

/// The server's memory and processor time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ServerReport {
    /// What is doubtful about this being the server.
    #[serde(default)]
    pub doubt: Option<String>,
    /// Before the first connection.
    pub before: Sample,
    /// With all connections open and idle.
    pub connected: Option<Sample>,
    /// After the messages.
    pub loaded: Option<Sample>,
    /// After all were closed.
    pub closed: Option<Sample>,
    /// The most memory that was seen, once a second.
    pub peak_rss_bytes: u64,
    /// What memory grew by from `before` to `connected`, over the connections.
    pub rss_bytes_per_connection: Option<f64>,
    /// Processor time from `connected` to `loaded` over the echoes in between, warm-up included.
    pub cpu_us_per_echo: Option<f64>,
}

impl RunReport {
    pub(super) fn new(args: &RunArgs, fleet: &Fleet, started: impl Display) -> RunReport {
        let scenario = args.scenario.to_possible_value().expect("no scenario is hidden");
        RunReport {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command: std::env::args().collect(),
            started: started.to_string(),
            url: args.url.to_string(),
            clients: one(),
            scenario: scenario.get_name().to_owned(),
            connections: args.connections,
            shards: fleet.shards() as u64,
            payload_bytes: args.payload as u64,
            in_flight: args.in_flight,
            rate_per_s: args.rate.or((args.scenario == Scenario::Churn).then_some(super::load::CHURN_PER_S)),
            connect: None,
            hold: None,
            echo: None,
            churn: None,
            close: None,
            reconnect: None,
            server: None,
            failures: Failures::default(),
            ended_early: None,
            interrupted: false,
            exit_status: 0,
        }
    }

    /// The latencies that the run is about: of echoes, else of handshakes.
    pub fn latency(&self) -> Option<&Histogram<u64>> {
        let echo = self.echo.as_ref().map(|echo| &echo.latency.0);
        echo.or(self.connect.as_ref().map(|connect| &connect.handshake.0))
    }

    pub(super) fn failed(&mut self, failures: &Failures, ended_early: &Option<String>) {
        self.failures.merge(failures);
        self.ended_early = self.ended_early.take().or(ended_early.clone());
    }

    pub(super) fn add_connect(&mut self, phase: &ConnectPhase) {
        self.failed(&phase.failures, &phase.ended_early);
        let connect = self.connect.get_or_insert_default();
        connect.rounds += 1;
        connect.opened += phase.opened;
        connect.connected = phase.connected;
        connect.elapsed_s += phase.elapsed.as_secs_f64();
        connect.connects_per_s = per_s(connect.opened as f64, connect.elapsed_s);
        connect.handshake.add(&phase.handshake);
    }

    pub(super) fn add_hold(&mut self, phase: &HoldPhase) {
        self.failed(&phase.failures, &phase.ended_early);
        let before = self.hold.take();
        self.hold = Some(HoldReport {
            elapsed_s: phase.elapsed.as_secs_f64() + before.as_ref().map_or(0.0, |hold| hold.elapsed_s),
            held: phase.held,
            lost: phase.lost + before.as_ref().map_or(0, |hold| hold.lost),
            pings: phase.pings + before.as_ref().map_or(0, |hold| hold.pings),
        });
    }

    pub(super) fn add_echo(&mut self, phase: &EchoPhase) {
        self.failed(&phase.failures, &phase.ended_early);
        let echo = self.echo.get_or_insert_default();
        let in_time = echo.echoes_per_s * echo.elapsed_s + phase.echoes_per_s * seconds(phase.elapsed);
        echo.rounds += 1;
        echo.active = phase.active;
        echo.sent += phase.sent;
        echo.echoes += phase.echoes;
        echo.bytes += phase.bytes;
        echo.elapsed_s += seconds(phase.elapsed);
        echo.echoes_per_s = per_s(in_time, echo.elapsed_s);
        echo.late += phase.late;
        echo.missing += phase.missing;
        echo.latency.add(&phase.latency);
    }

    pub(super) fn add_churn(&mut self, phase: ChurnPhase) {
        self.failed(&phase.failures, &phase.ended_early);
        self.churn = Some(ChurnReport {
            closed: phase.closed,
            opened: phase.opened,
            echoes: phase.echoes,
            elapsed_s: seconds(phase.elapsed),
            connected: phase.connected,
            handshake: Latency(phase.handshake),
        });
    }

    pub(super) fn add_close(&mut self, phase: &ClosePhase) {
        self.failed(&phase.failures, &None);
        let close = self.close.get_or_insert_default();
        close.closed += phase.closed;
        close.forced += phase.forced;
        close.elapsed_s += seconds(phase.elapsed);
    }

    /// Connections that were lost, and not replaced before all were closed.
    pub(super) fn gone(&self) -> u64 {
        self.reconnect.as_ref().map_or(0, |reconnect| reconnect.lost - reconnect.reconnected)
    }

    /// Sets what follows from the rest.
    pub(super) fn conclude(&mut self) {
        // Of a run that was interrupted, some were just on their way back.
        let gone = self.gone() > 0 && !self.interrupted;
        self.exit_status = u8::from(self.failures.total() > 0 || self.ended_early.is_some() || gone);
    }
}

fn one() -> u64 {
    1
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

pub(super) fn per_s(count: f64, elapsed_s: f64) -> f64 {
    if elapsed_s > 0.0 { count / elapsed_s } else { 0.0 }
}
