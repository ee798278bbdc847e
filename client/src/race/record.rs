//! What `--json` writes. README.md of this crate documents it; a change that readers must know of raises [`SCHEMA`].

use super::contender::Ready;
use crate::run::{RunReport, side as run};
use anyhow::Result;
use serde::{Deserialize, Serialize};

/// The version of the JSON's layout.
pub const SCHEMA: u32 = 1;

/// One race.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RaceReport {
    /// [`SCHEMA`]
    pub schema: u32,
    /// The version of this program.
    pub version: String,
    /// The command line.
    pub command: Vec<String>,
    /// When it was started (RFC 3339, UTC).
    pub started: String,
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

/// Ends a server, and puts together what became of it.
pub(super) fn side(ready: Ready, outcome: Result<RunReport>) -> Side {
    let (name, command) = (ready.name.clone(), ready.command.clone());
    let (run, failed) = match outcome {
        Ok(run) => (Some(run), None),
        Err(error) => (None, Some(error)),
    };
    // Of a server that died, its death is the news, and not what the connections noticed of it.
    let (exit, died) = match ready.stop() {
        Ok(exit) => (exit, None),
        Err(error) => (None, Some(error)),
    };
    let error = died.or(failed).map(|error| format!("{error:#}"));
    Side { name, command, run, exit, error }
}

impl Side {
    /// What went wrong, in one line.
    pub fn complaint(&self) -> Option<String> {
        let what = self.error.clone().or_else(|| run::complaint(self.run.as_ref()?))?;
        Some(format!("{}: {what}", self.name))
    }
}
