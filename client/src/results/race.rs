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
    /// A stage's package, the name that was given, or the URL.
    pub name: String,
    /// How it was started, where it was.
    pub command: Option<String>,
    /// What `client run --json` would write of its load; `None` where that broke off.
    pub run: Option<RunReport>,
    /// How it ended on SIGTERM, where it was started.
    pub exit: Option<String>,
    /// What broke it off.
    pub error: Option<String>,
}
