//! What `client run --json` writes. README.md of this crate documents it; a change that readers must know of raises [`SCHEMA`].

use super::{Close, Header, Hold, Latency, RampReport, Sample, SecondReport};
use crate::fleet::{Failures, Reconnects, TlsTimes, Verify};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The version of the JSON's layout.
pub const SCHEMA: u32 = 1;

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunReport {
    /// With [`SCHEMA`].
    #[serde(flatten)]
    pub header: Header,
    /// The server; of merged results all of them, with commas.
    pub url: String,
    /// Host and port of the proxy, if there was one; of merged results all of them, with commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// The number of clients: more than one in merged results.
    #[serde(default = "one")]
    pub clients: u64,
    /// The name of the scenario.
    pub scenario: String,
    /// Connections asked for.
    pub connections: u64,
    /// Threads of the client.
    pub shards: u64,
    /// Bytes of payload in a message, at most.
    pub payload_bytes: u64,
    /// Their kind, and what counts as a reply.
    #[serde(flatten)]
    pub messages: MessageReport,
    /// Messages in flight per connection in closed loop.
    #[serde(default = "one")]
    pub in_flight: u64,
    /// Messages due per second in open loop, or connections replaced per second in churn; `None` in closed loop.
    pub rate_per_s: Option<f64>,
    /// The rate in open loop, if it rises.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp: Option<RampReport>,
    /// Connections due per second, if their rate rises.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_ramp: Option<RampReport>,
    /// Opening connections.
    pub connect: Option<ConnectReport>,
    /// Holding them.
    pub hold: Option<Hold>,
    /// Sending messages.
    pub echo: Option<EchoReport>,
    /// Replacing connections.
    pub churn: Option<ChurnReport>,
    /// Closing them.
    pub close: Option<Close>,
    /// Replacing lost connections, with `--reconnect`.
    pub reconnect: Option<ReconnectReport>,
    /// The addresses of the server, or of the proxy, if the client used more than one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<AddressReport>,
    /// Messages received by `--expect greeting`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub greetings: u64,
    /// Messages from the server that are no replies, if there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed: Option<PushedReport>,
    /// Results per second, if they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seconds: Vec<SecondReport>,
    /// The server, if it was watched.
    pub server: Option<ServerReport>,
    /// Failures of all phases.
    pub failures: Failures,
    /// Why a phase ended early.
    pub ended_early: Option<String>,
    /// Whether Ctrl-C or SIGTERM ended it.
    pub interrupted: bool,
    /// The exit status of the program.
    pub exit_status: u8,
}

/// The messages of a load, where they are not binary ones of one length that are echoed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageReport {
    /// Whether they are text messages.
    #[serde(default, skip_serializing_if = "is_default")]
    pub text: bool,
    /// Bytes of payload in a message, at least, if lengths vary.
    #[serde(default, skip_serializing_if = "is_default")]
    pub payload_min_bytes: Option<u64>,
    /// Whether the payload is the content of a file.
    #[serde(default, skip_serializing_if = "is_default")]
    pub payload_file: bool,
    /// What counts as a reply.
    #[serde(default, skip_serializing_if = "is_default")]
    pub verify: Verify,
}

/// Messages from the server that are no replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushedReport {
    /// Messages that arrived whole.
    pub messages: u64,
    /// Payload bytes.
    pub bytes: u64,
}

/// Opening connections; in storm, all rounds together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ConnectReport {
    /// How often all connections were opened: more than once only in storm.
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
    /// Its parts, over TLS.
    #[serde(flatten)]
    pub parts: Option<HandshakeParts>,
}

/// The parts of the handshakes of `wss://` connections.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HandshakeParts {
    /// From connect(2) until the connection was established.
    pub tcp: Latency,
    /// From then until the TLS handshake was over.
    pub tls: Latency,
    /// From then to the verified answer.
    pub upgrade: Latency,
    /// TLS handshakes that resumed a session.
    pub tls_resumed: u64,
}

impl From<&TlsTimes> for HandshakeParts {
    fn from(times: &TlsTimes) -> HandshakeParts {
        let mut parts = HandshakeParts::default();
        parts.add(times);
        parts
    }
}

impl HandshakeParts {
    /// Adds the times of another phase.
    pub(crate) fn add(&mut self, more: &TlsTimes) {
        self.tcp.add(&more.tcp);
        self.tls.add(&more.tls);
        self.upgrade.add(&more.upgrade);
        self.tls_resumed += more.resumed;
    }

    /// Adds those of another client.
    pub(crate) fn merge(&mut self, more: &HandshakeParts) {
        self.tcp.add(&more.tcp.0);
        self.tls.add(&more.tls.0);
        self.upgrade.add(&more.upgrade.0);
        self.tls_resumed += more.tls_resumed;
    }
}

/// Sending messages; in storm and burst, all rounds together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct EchoReport {
    /// How often the phase ran: more than once only in storm and burst.
    pub rounds: u64,
    /// Connections that sent.
    pub active: u64,
    /// Messages sent, without the warm-up.
    pub sent: u64,
    /// Their echoes, each equal to what was sent; with `--verify any`, their replies.
    pub echoes: u64,
    /// Bytes of payload in the echoes.
    pub bytes: u64,
    /// The time measured.
    pub elapsed_s: f64,
    /// Echoes within `elapsed_s`, over `elapsed_s`.
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
    /// The time it took.
    pub elapsed_s: f64,
    /// Connections open at the end.
    pub connected: u64,
    /// From connect(2) to the verified answer.
    pub handshake: Latency,
    /// Its parts, over TLS.
    #[serde(flatten)]
    pub parts: Option<HandshakeParts>,
}

/// Replacing lost connections, in all phases.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ReconnectReport {
    /// Connections lost.
    pub lost: u64,
    /// Of these, connections replaced before all were closed.
    pub reconnected: u64,
    /// Attempts at a replacement that failed.
    pub failed_attempts: u64,
    /// Why they were lost, by class, with the first error in words.
    pub causes: Failures,
    /// From the loss until the replacement was open.
    pub away: Latency,
}

impl From<&Reconnects> for ReconnectReport {
    fn from(reconnects: &Reconnects) -> ReconnectReport {
        let Reconnects { lost, reconnected, failed_attempts, ref causes, ref away } = *reconnects;
        let (causes, away) = (causes.clone(), Latency(away.clone()));
        ReconnectReport { lost, reconnected, failed_attempts, causes, away }
    }
}

/// Connections to one address of the server, in all phases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressReport {
    /// IP address and port.
    pub address: String,
    /// Connections opened to it.
    pub opened: u64,
    /// Failed attempts, and failures of its connections.
    pub failed: u64,
}

/// The server's memory and processor time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ServerReport {
    /// Why this may not be the server's process.
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
    /// The most resident memory, sampled once per second.
    pub peak_rss_bytes: u64,
    /// Growth of resident memory from `before` to `connected`, per connection.
    pub rss_bytes_per_connection: Option<f64>,
    /// Processor time from `connected` to `loaded`, per echo in between, warm-up included.
    pub cpu_us_per_echo: Option<f64>,
}

impl RunReport {
    /// The latencies that the run is about: of replies if any are awaited, else of handshakes.
    pub fn latency(&self) -> Option<&Histogram<u64>> {
        let echo = self.echo.as_ref().filter(|_| self.messages.verify != Verify::None);
        let echo = echo.map(|echo| &echo.latency.0);
        echo.or(self.connect.as_ref().map(|connect| &connect.handshake.0))
    }

    /// Whether messages were due at a rate, constant or rising.
    pub(crate) fn is_open_loop(&self) -> bool {
        self.scenario == "echo" && (self.rate_per_s.is_some() || self.ramp.is_some())
    }

    /// Connections lost and not replaced before all were closed.
    pub(crate) fn not_replaced(&self) -> u64 {
        self.reconnect.as_ref().map_or(0, |reconnect| reconnect.lost - reconnect.reconnected)
    }

    /// Adds failures, and why a phase ended early if it was the first to do so.
    pub(crate) fn add_failures(&mut self, failures: &Failures, ended_early: &Option<String>) {
        self.failures.merge(failures);
        self.ended_early = self.ended_early.take().or(ended_early.clone());
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn one() -> u64 {
    1
}

/// A count over a time; 0 for no time.
pub(crate) fn per_s(count: f64, elapsed_s: f64) -> f64 {
    if elapsed_s > 0.0 { count / elapsed_s } else { 0.0 }
}
