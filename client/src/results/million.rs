//! `million.json`, which `client million` writes. README.md of this crate documents it.
//!
//! Fields are added, never renamed or given another meaning, within one [`SCHEMA`].

use super::{Close, Hold, Latency, Machine, Origin};
use crate::fleet::Failures;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the layout.
pub const SCHEMA: u32 = 1;

/// One call of the command, or several merged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// With [`SCHEMA`] when it was written.
    #[serde(flatten)]
    pub origin: Origin,
    /// Where it ran.
    pub machine: Machine,
    /// The load on every stage.
    pub settings: Settings,
    /// One per stage, in order of time.
    pub runs: Vec<Run>,
}

/// The load on every stage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Their numbers.
    pub stages: Vec<u8>,
    /// Connections to hold.
    pub connections: u64,
    /// How long to hold them idle.
    pub hold_s: f64,
    /// Messages per second in open loop, over all connections.
    pub rate_per_s: f64,
    /// Length of the open loop.
    pub duration_s: f64,
    /// Bytes of payload in a message.
    pub payload_bytes: u64,
    /// Whether the raw floor was measured before each stage.
    pub raw: bool,
    /// Flags passed on to the server.
    pub server_flags: Vec<String>,
}

/// One stage. A phase is `None` where it was not reached.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    /// The number of the stage.
    pub stage: u8,
    /// Its package.
    pub package: String,
    /// Connections asked for.
    pub asked: u64,
    /// Connections tried for: fewer where a known limit of the machine would stop it.
    pub goal: u64,
    /// The most connections open at the same time.
    pub held: u64,
    /// What stopped it before all that were asked for.
    pub stopped: Option<String>,
    /// What `client doctor` found before, one line each.
    pub advice: Vec<String>,
    /// Shards of the server.
    pub shards: Option<u64>,
    /// Shards of the client.
    pub client_shards: u64,
    /// The floor, measured just before.
    pub raw: Option<Raw>,
    /// Memory on the way up.
    pub curve: Vec<Point>,
    /// Opening all connections.
    pub setup: Option<Setup>,
    /// Memory, phase by phase.
    pub memory: Memory,
    /// Holding them idle.
    pub hold: Option<Hold>,
    /// One echo per connection, about a thousand at a time.
    pub each: Option<Echoes>,
    /// Messages at a fixed rate over all connections.
    pub open_loop: Option<Echoes>,
    /// One echo per connection, all at once.
    pub burst: Option<Echoes>,
    /// Closing them.
    pub close: Option<Close>,
    /// The counts of both ends.
    pub counts: Counts,
    /// Connections that the server rejected, by the reason in its metrics.
    pub rejected: BTreeMap<String, u64>,
    /// Failures of all phases.
    pub failures: Failures,
    /// Flags passed on to the server.
    pub server_flags: Vec<String>,
    /// How the server exited on SIGTERM, such as `exit 0`.
    pub exit: Option<String>,
    /// Phases that were skipped, and why.
    pub notes: Vec<String>,
    /// Whether Ctrl-C or SIGTERM ended it.
    pub interrupted: bool,
    /// The error that ended it.
    pub error: Option<String>,
}

/// The floor, which the kernel alone sets: [`crate::raw::Floor`].
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Raw {
    /// Pairs of sockets, all open at the same time.
    pub pairs: u64,
    /// To connect them all.
    pub setup_s: f64,
    /// For one message and its echo on each.
    pub echoes_s: f64,
}

/// Memory at one number of connections.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Point {
    /// Connections open.
    pub connections: u64,
    /// Time spent connecting until then.
    pub elapsed_s: f64,
    /// Resident memory of the server.
    pub rss_bytes: u64,
    /// Kernel memory for the server's end, above that before the first connection.
    pub kernel_bytes: Option<i64>,
    /// Resident memory of the client.
    pub client_rss_bytes: u64,
    /// Available memory of the machine, or of this control group.
    pub available_bytes: Option<u64>,
}

/// Opening connections.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Setup {
    /// Connections opened.
    pub opened: u64,
    /// The time it took, without reading memory in between.
    pub elapsed_s: f64,
    /// `opened` over `elapsed_s`.
    pub connects_per_s: f64,
    /// From connect(2) to the verified answer.
    pub handshake: Latency,
}

/// Resident memory, phase by phase, and the kernel's.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Memory {
    /// The server before the first connection.
    pub server_start_bytes: u64,
    /// With all connected.
    pub server_connected_bytes: Option<u64>,
    /// Growth per connection.
    pub server_bytes_per_connection: Option<f64>,
    /// After holding them idle.
    pub server_held_bytes: Option<u64>,
    /// After an echo per connection.
    pub server_echoed_bytes: Option<u64>,
    /// After all were closed.
    pub server_closed_bytes: Option<u64>,
    /// Kernel memory for the server's end, with all connected.
    pub kernel_bytes: Option<i64>,
    /// Kernel memory for both ends.
    pub kernel_both_ends_bytes: Option<i64>,
    /// The client before the first stage.
    pub client_start_bytes: u64,
    /// The peak of the client, read at the end of each phase.
    pub client_peak_bytes: u64,
    /// Growth per connection.
    pub client_bytes_per_connection: Option<f64>,
}

/// Sending messages.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Echoes {
    /// Connections that took part.
    pub connections: u64,
    /// Messages due per second, in open loop.
    pub rate_per_s: Option<f64>,
    /// Messages sent, without the warm-up.
    pub sent: u64,
    /// Their echoes, each equal to what was sent.
    pub echoes: u64,
    /// The time measured.
    pub elapsed_s: f64,
    /// Echoes within `elapsed_s`, over `elapsed_s`.
    pub echoes_per_s: f64,
    /// Messages sent more than 1 ms after they were due (open loop).
    pub late: u64,
    /// Messages without an echo.
    pub missing: u64,
    /// From sending (open loop: from the time due) to the echo.
    pub latency: Latency,
}

/// The counts of both ends.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// After holding the connections idle.
    pub connections: Option<ConnectionCounts>,
    /// After the last phase that sends messages.
    pub messages: Option<MessageCounts>,
}

/// Connections as both ends count them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConnectionCounts {
    /// Open at the client.
    pub client_open: u64,
    /// `ws_connections_active`
    pub server_active: u64,
    /// `ws_connections_accepted_total`
    pub server_accepted: u64,
    /// `ws_connections_closed_total`, over all reasons.
    pub server_closed: u64,
    /// Whether `client_open` = `server_active` = `server_accepted` - `server_closed`.
    pub agree: bool,
}

/// Messages as both ends count them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MessageCounts {
    /// Echoes that the client verified, warm-ups included.
    pub client_echoes: u64,
    /// `ws_messages_received_total`
    pub server_received: u64,
    /// `ws_messages_sent_total`
    pub server_sent: u64,
    /// Whether all three are equal.
    pub agree: bool,
}
