//! Phases that several kinds of results have.

use serde::{Deserialize, Serialize};

/// What the server takes at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Resident memory.
    pub rss_bytes: u64,
    /// Processor time since it was started, user and system.
    pub cpu_s: f64,
}

/// Holding connections idle; in repeated phases, of all rounds together.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Hold {
    /// For how long.
    pub elapsed_s: f64,
    /// Connections left.
    pub held: u64,
    /// Connections lost.
    pub lost: u64,
    /// Pings that were answered.
    pub pings: u64,
}

/// Closing connections; in repeated phases, of all rounds together.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Close {
    /// By the closing handshake.
    pub closed: u64,
    /// Cut off with a reset.
    pub forced: u64,
    /// The time it took.
    pub elapsed_s: f64,
}
