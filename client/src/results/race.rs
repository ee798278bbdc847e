//! What `client race --json` writes. README.md of this crate documents it; a change that readers must know of raises
//! [`SCHEMA`].

use super::Header;
use super::run::RunReport;
use serde::{Deserialize, Serialize};

/// The version of the JSON's layout.
pub const SCHEMA: u32 = 1;

/// One race.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RaceReport {
    /// With [`SCHEMA`].
    #[serde(flatten)]
    pub header: Header,
    /// The two servers, in the order of the command line.
    pub servers: Vec<Side>,
}

/// One server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Side {
    /// The package of a stage, the name from the command line, or the URL.
    pub name: String,
    /// The command that started it; `None` for a server that was running.
    pub command: Option<String>,
    /// What `client run --json` would write of its load; `None` where the load failed.
    pub run: Option<RunReport>,
    /// How it exited on SIGTERM; `None` for a server that was running.
    pub exit: Option<String>,
    /// Why its load, or its exit, failed.
    pub error: Option<String>,
}
