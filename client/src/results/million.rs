//! `million.json`: what `client million` measured. README.md of this crate documents it.
//!
//! Fields are added, never renamed or given another meaning, within one [`SCHEMA`].

use super::{Close, Hold, Latency, Machine};
use crate::fleet::Failures;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the layout.
pub const SCHEMA: u32 = 1;

/// One call of the command, or several merged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA`] when it was written.
    pub schema: u32,
    /// When it began, RFC 3339 in UTC.
    pub date: String,
    /// The commit that was built, with `-dirty` where files had changed; `None` outside a repository.
    pub commit: Option<String>,
    /// The command line that repeats it; of merged records one a line.
    pub command: String,
    /// Where it ran.
    pub machine: Machine,
    /// What was asked of every stage.
    pub settings: Settings,
    /// One for each stage, in the order of time.
    pub runs: Vec<Run>,
}

/// What was asked of every stage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Their numbers.
    pub stages: Vec<u8>,
    /// Connections to hold.
    pub connections: u64,
    /// How long to hold them idle.
    pub hold_s: f64,
    /// Messages a second in open loop, over all connections.
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

/// One stage and its connections. `None` is a phase that it did not come to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    /// The number of the stage.
    pub stage: u8,
    /// Its package.
    pub package: String,
    /// Connections asked for.
    pub asked: u64,
    /// Connections tried for: fewer, where a limit of the machine was known to stop it.
    pub goal: u64,
    /// The most connections open at the same time.
    pub held: u64,
    /// What kept it from all that were asked for.
    pub stopped: Option<String>,
    /// What `client doctor` had to say before, a line each.
    pub advice: Vec<String>,
    /// Shards of the server.
    pub shards: Option<u64>,
    /// Shards of the client.
    pub client_shards: u64,
    /// The floor, measured right before.
    pub raw: Option<Raw>,
    /// Memory on the way up.
    pub curve: Vec<Point>,
    /// Opening all connections.
    pub setup: Option<Setup>,
    /// Memory, phase by phase.
    pub memory: Memory,
    /// Holding them idle.
    pub hold: Option<Hold>,
    /// One echo on each, a thousand or so at a time.
    pub each: Option<Echoes>,
    /// Messages at a fixed rate over all connections.
    pub open_loop: Option<Echoes>,
    /// One echo on each, all at once.
    pub burst: Option<Echoes>,
    /// Closing them.
    pub close: Option<Close>,
    /// Whether both ends count alike.
    pub counts: Counts,
    /// Connections that the server refused, by the reason that it counts them under.
    pub rejected: BTreeMap<String, u64>,
    /// What failed, in all phases together.
    pub failures: Failures,
    /// Flags passed on to the server.
    pub server_flags: Vec<String>,
    /// How the server ended on SIGTERM, such as `exit 0`.
    pub exit: Option<String>,
    /// Phases that were left out, and why.
    pub notes: Vec<String>,
    /// Whether a signal ended it.
    pub interrupted: bool,
    /// What broke it off.
    pub error: Option<String>,
}

/// What the kernel alone needs: [`crate::raw::Floor`].
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
    /// Time spent connecting so far.
    pub elapsed_s: f64,
    /// Resident memory of the server.
    pub rss_bytes: u64,
    /// The kernel's memory for the server's end, above that before the first connection.
    pub kernel_bytes: Option<i64>,
    /// Resident memory of the client.
    pub client_rss_bytes: u64,
    /// Memory that the machine, or this control group, has left.
    pub available_bytes: Option<u64>,
}

/// Opening connections.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Setup {
    /// How many were opened.
    pub opened: u64,
    /// The time it took, without the looks at memory in between.
    pub elapsed_s: f64,
    /// `opened` over `elapsed_s`.
    pub connects_per_s: f64,
    /// From connect(2) to the verified answer.
    pub handshake: Latency,
}

/// Resident memory, phase by phase, and the kernel's.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Memory {
    /// The server without a connection.
    pub server_start_bytes: u64,
    /// With all connected.
    pub server_connected_bytes: Option<u64>,
    /// What a connection added to it.
    pub server_bytes_per_connection: Option<f64>,
    /// At the end of the time that they were held idle.
    pub server_held_bytes: Option<u64>,
    /// After an echo on each.
    pub server_echoed_bytes: Option<u64>,
    /// After all have closed.
    pub server_closed_bytes: Option<u64>,
    /// The kernel's for the server's end, with all connected.
    pub kernel_bytes: Option<i64>,
    /// The kernel's for both ends.
    pub kernel_both_ends_bytes: Option<i64>,
    /// The client before the first stage.
    pub client_start_bytes: u64,
    /// The most that the client had at the end of a phase.
    pub client_peak_bytes: u64,
    /// What a connection added to it.
    pub client_bytes_per_connection: Option<f64>,
}

/// Sending messages.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Echoes {
    /// Connections that took part.
    pub connections: u64,
    /// Messages due in a second, in open loop.
    pub rate_per_s: Option<f64>,
    /// Messages sent, without the warm-up.
    pub sent: u64,
    /// Their echoes, each equal to what was sent.
    pub echoes: u64,
    /// The time measured.
    pub elapsed_s: f64,
    /// Echoes in that time, over that time.
    pub echoes_per_s: f64,
    /// Messages sent more than 1 ms after they were due (open loop).
    pub late: u64,
    /// Messages whose echo never came.
    pub missing: u64,
    /// From sending (in open loop: from when it was due) to the echo.
    pub latency: Latency,
}

/// The counts of both ends.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// At the end of the time that they were held idle.
    pub connections: Option<ConnectionCounts>,
    /// After the last phase that sends.
    pub messages: Option<MessageCounts>,
}

/// Connections as both ends count them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConnectionCounts {
    /// Open, as the client has it.
    pub client_open: u64,
    /// `ws_connections_active`
    pub server_active: u64,
    /// `ws_connections_accepted_total`
    pub server_accepted: u64,
    /// `ws_connections_closed_total`, for whatever reason.
    pub server_closed: u64,
    /// Whether the first is the second, and the third less the fourth.
    pub agree: bool,
}

/// Messages as both ends count them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MessageCounts {
    /// Echoes that the client found right, warm-ups included.
    pub client_echoes: u64,
    /// `ws_messages_received_total`
    pub server_received: u64,
    /// `ws_messages_sent_total`
    pub server_sent: u64,
    /// Whether all three are the same.
    pub agree: bool,
}
