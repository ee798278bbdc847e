//! What several kinds of results have of a server and of phases.

use serde::{Deserialize, Serialize};

/// A server's memory and processor time at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Resident memory.
    pub rss_bytes: u64,
    /// Processor time since its start, user and system.
    pub cpu_s: f64,
}

/// A phase that holds connections idle.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Hold {
    /// The time it took.
    pub elapsed_s: f64,
    /// Connections open at the end.
    pub held: u64,
    /// Connections lost.
    pub lost: u64,
    /// Pings that were answered.
    pub pings: u64,
}

/// A phase that closes connections; in storm, all rounds together.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Close {
    /// Connections closed by the closing handshake.
    pub closed: u64,
    /// Connections reset because the server did not answer in time.
    pub forced: u64,
    /// The time it took.
    pub elapsed_s: f64,
}
