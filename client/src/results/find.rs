//! What `client find --json` writes.

use super::run::{ConnectReport, ServerReport};
use super::{Header, LatencyReport};
use crate::fleet::Failures;
use serde::{Deserialize, Serialize};

/// The version of the JSON's layout.
pub const SCHEMA: u32 = 1;

/// A search for the highest rate at which a bound holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FindReport {
    /// With [`SCHEMA`].
    #[serde(flatten)]
    pub header: Header,
    /// The server.
    pub url: String,
    /// Connections asked for.
    pub connections: u64,
    /// Those that send.
    pub active: u64,
    /// Threads of the client.
    pub shards: u64,
    /// Bytes of payload in a message.
    pub payload_bytes: u64,
    /// The bound of the 99th percentile.
    pub bound_p99_us: f64,
    /// The lowest rate.
    pub from_per_s: f64,
    /// The measured time of a step.
    pub step_s: f64,
    /// Opening connections.
    pub connect: Option<ConnectReport>,
    /// All steps, in time order.
    pub steps: Vec<Step>,
    /// The highest rate at which the bound held; `None` if it was not found.
    pub found: Option<Found>,
    /// The server, if it was watched.
    pub server: Option<ServerReport>,
    /// Failures in all steps.
    pub failures: Failures,
    /// Why the search ended early.
    pub ended_early: Option<String>,
    /// Whether Ctrl-C or SIGTERM ended it.
    pub interrupted: bool,
    /// The exit status of the program.
    pub exit_status: u8,
}

/// A rate that was tried.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Messages due per second.
    pub rate_per_s: f64,
    /// What the step was for.
    pub purpose: Purpose,
    /// The measured time; less than `step_s` if it was certain to break.
    pub elapsed_s: f64,
    /// Echoes per second.
    pub achieved_per_s: f64,
    /// Messages due.
    pub sent: u64,
    /// Their echoes.
    pub echoes: u64,
    /// Messages not echoed.
    pub missing: u64,
    /// Messages that the client itself sent later than half of the bound.
    pub late: u64,
    /// Failures of all classes.
    pub failures: u64,
    /// Processor time of the server over the time of the step, if it was watched.
    pub server_cores: Option<f64>,
    /// From the time due to the echo.
    pub latency: LatencyReport,
    /// Whether the bound held.
    pub verdict: Verdict,
}

/// What a step is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To double the rate until the bound breaks.
    Grow,
    /// To halve the interval between a rate that holds and one that breaks.
    Bisect,
    /// To confirm the highest rate that held.
    Confirm,
    /// To show that the rate above a confirmed one breaks.
    Above,
}

/// Whether the bound held in a step, or what broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It held.
    Held,
    /// The 99th percentile is over the bound.
    Latency,
    /// Fewer than 99% of the messages due were echoed in time: a queue grows.
    Behind,
    /// A connection failed, or an echo is missing.
    Failed,
    /// More than 1% of the messages were sent late, by half of the bound: the client is the limit, not the server.
    ClientLate,
}

/// The highest rate at which the bound held, and the evidence.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Found {
    /// Messages per second.
    pub rate_per_s: f64,
    /// Steps that confirmed it, all of them.
    pub confirmations: u64,
    /// The highest 99th percentile of these.
    pub p99_us: Option<f64>,
    /// The latest step that broke at the next rate above; `None` if that is too high to be tried.
    pub broke: Option<Broke>,
}

/// How a rate broke.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Broke {
    /// Messages due per second.
    pub rate_per_s: f64,
    /// What broke.
    pub verdict: Verdict,
    /// The 99th percentile.
    pub p99_us: Option<f64>,
    /// Echoes per second.
    pub achieved_per_s: f64,
}
