//! A run beside another, for whoever compares two.

use super::bar::Bar;
use super::report::RunReport;
use super::{RunArgs, fleet_config, load, summary};
use crate::fleet::Fleet;
use anyhow::Result;
use clap::Parser;
use std::time::SystemTime;

#[derive(Parser)]
struct Usual {
    #[command(flatten)]
    args: RunArgs,
}

/// What `client run` does where no flag is given.
pub(crate) fn usual() -> RunArgs {
    Usual::parse_from(["run"]).args
}

/// Loads a server with a fleet of its own.
///
/// # Errors
/// Where the fleet cannot be started, or a shard has died.
pub(crate) fn run(args: &RunArgs, mut bar: Bar) -> Result<RunReport> {
    let mut fleet = Fleet::start(fleet_config(args))?;
    let mut report = RunReport::new(args, &fleet, humantime::format_rfc3339_millis(SystemTime::now()));
    load::run(args, &mut fleet, &mut bar, &mut report)?;
    report.conclude();
    Ok(report)
}

/// What failed, in one line; nothing where nothing did.
pub(crate) fn complaint(report: &RunReport) -> Option<String> {
    summary::complaint(report)
}
