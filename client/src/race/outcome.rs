//! The outcome of a race for one server.

use super::contender::Ready;
use crate::results::race::Side;
use crate::results::run::RunReport;
use anyhow::Result;

/// Stops a server, and puts its results together.
pub(super) fn side(ready: Ready, outcome: Result<RunReport>) -> Side {
    let (name, command) = (ready.name.clone(), ready.command.clone());
    let (run, failed) = match outcome {
        Ok(run) => (Some(run), None),
        Err(error) => (None, Some(error)),
    };
    // The death of a server explains more than the connections that it reset.
    let (exit, died) = match ready.stop() {
        Ok(exit) => (exit, None),
        Err(error) => (None, Some(error)),
    };
    let error = died.or(failed).map(|error| format!("{error:#}"));
    Side { name, command, run, exit, error }
}

impl Side {
    /// What failed, in one line; `None` where nothing failed.
    pub fn complaint(&self) -> Option<String> {
        let what = self.error.clone().or_else(|| self.run.as_ref()?.complaint())?;
        Some(format!("{}: {what}", self.name))
    }
}
