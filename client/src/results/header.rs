//! How results begin: what wrote them, and when.

use serde::{Deserialize, Serialize};

/// How a run and a race begin: one execution of this program.
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

/// How a comparison and a million begin: what was built, and how to repeat it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Origin {
    /// The version of the layout, which each kind counts for itself.
    pub schema: u32,
    /// When it began (RFC 3339, UTC); in merged records, all dates with commas.
    pub date: String,
    /// The commit that was built, with `-dirty` where files had changed; `None` outside a repository.
    pub commit: Option<String>,
    /// The command line that repeats it; in merged records, one per line.
    pub command: String,
}
