//! How the results of a run and of a race begin.

use serde::{Deserialize, Serialize};

/// Which program wrote a result, how it was called, and when.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    /// The version of the layout, which each kind counts for itself.
    pub schema: u32,
    /// The version of this program.
    pub version: String,
    /// The command line.
    pub command: Vec<String>,
    /// When it was started (RFC 3339, UTC).
    pub started: String,
}

impl Header {
    /// The header of a result of this program's, begun at `started` (RFC 3339, UTC).
    pub fn new(schema: u32, started: String) -> Header {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Header { schema, version, command: std::env::args().collect(), started }
    }
}
