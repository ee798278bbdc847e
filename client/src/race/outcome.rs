//! What became of a server in a race.

use super::contender::Ready;
use crate::results::race::Side;
use crate::results::run::RunReport;
use anyhow::Result;

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
        let what = self.error.clone().or_else(|| self.run.as_ref()?.complaint())?;
        Some(format!("{}: {what}", self.name))
    }
}
