//! `client find`: the highest rate at which a bound of the latency holds, with the evidence.

mod finder;
mod search;
mod step;
mod table;

pub use crate::results::find::{FindReport, SCHEMA};

use crate::fleet::{Url, Verify};
use crate::load::{self, ConnectionArgs, HandshakeArgs, MessageArgs, Scenario};
use crate::measure::WatchArgs;
use crate::report::format::{count, number};
use crate::{cli, file, words};
use anyhow::Result;
use clap::Args;
use humantime::format_duration;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Begins error lines.
const PROGRAM: &str = "client find";
/// A 99th percentile of fewer messages says little.
const LEAST_MESSAGES: f64 = 100.0;

/// Raises the rate of an open loop until a bound of the latency breaks, and confirms the highest rate at which it holds
///
/// Each step is a rate, over the same connections. The rate doubles until the bound breaks: p99 is over it, under 99% of
/// what was due is echoed, something fails, or the client itself is late. Bisection then narrows it down to 2.2%. The
/// result held in three of three steps, and the next rate above broke. Exit status: 0 if a rate was found, 1 if not
/// even the lowest one holds or the server failed, 2 if a flag is wrong. Ctrl-C reports the steps so far.
#[derive(Args, Clone, Debug)]
#[command(next_line_help = true, allow_negative_numbers = true)]
pub struct FindArgs {
    /// The server. A host name is resolved once, and its addresses are used round-robin
    #[arg(long, default_value = "ws://127.0.0.1:8000/echo", value_name = "URL")]
    pub url: Url,

    /// Additions to the opening handshake
    #[command(flatten)]
    pub handshake: HandshakeArgs,

    /// The bound: 99% of the echoes within this time from when their message was due
    #[arg(long, value_name = "TIME", value_parser = cli::positive_duration)]
    pub p99: Duration,

    /// The lowest rate to try, in messages per second over all active connections
    #[arg(long = "from", id = "from_rate", default_value = "1000", value_name = "N", value_parser = cli::rate_per_s)]
    pub from: f64,

    /// Measure each rate for this long, after a third of it to settle
    #[arg(long, default_value = "3s", value_name = "TIME", value_parser = cli::positive_duration)]
    pub step_time: Duration,

    /// Connections to open
    #[arg(long, default_value = "1000", value_name = "N", value_parser = cli::count)]
    pub connections: u64,

    /// Connections that send messages; the others stay idle [default: all]
    #[arg(long, value_name = "N", value_parser = cli::count)]
    pub active: Option<u64>,

    /// Messages and replies
    #[command(flatten)]
    pub message: MessageArgs,

    /// The connections
    #[command(flatten)]
    pub connection: ConnectionArgs,

    /// The server's process
    #[command(flatten)]
    pub watch: WatchArgs,

    /// Write all steps as JSON to this file, or in one line to standard output if it is '-'
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Show neither progress nor steps
    #[arg(long)]
    pub quiet: bool,
}

impl FindArgs {
    /// Fails where flags contradict one another.
    ///
    /// # Errors
    /// Which ones, and why, in one line.
    pub fn check(&self) -> Result<(), String> {
        load::check_active(self.active, self.connections)?;
        self.handshake.check()?;
        self.message.check(Scenario::Echo, true)?;
        self.connection.check(&self.url)?;
        if self.message.verify == Verify::None {
            return Err(
                "--verify none awaits no reply, and the bound is one of replies: use any or echo".into()
            );
        }
        if self.p99 > self.step_time / 2 {
            return Err(format!(
                "--p99 {} needs steps twice as long at least: --step-time {}",
                format_duration(self.p99),
                format_duration(self.p99 * 2)
            ));
        }
        let messages = self.from * self.step_time.as_secs_f64();
        if messages < LEAST_MESSAGES {
            return Err(format!(
                "a step at --from {} has {} messages in --step-time {}, too few for a 99th percentile: at least \
                 {LEAST_MESSAGES} are needed",
                number(self.from),
                count(messages),
                format_duration(self.step_time)
            ));
        }
        Ok(())
    }
}

/// Searches, reports, and says in one line on standard error why nothing was found.
pub fn run(args: &FindArgs) -> ExitCode {
    match try_run(args) {
        Ok(exit_status) => ExitCode::from(exit_status),
        Err(error) => {
            words::complain(PROGRAM, &format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn try_run(args: &FindArgs) -> Result<u8> {
    let endpoint = args.connection.resolve(&args.url)?;
    args.json.iter().try_for_each(|file| file::check(file))?;
    let report = finder::find(args, endpoint)?;
    let json = args.json.as_deref().map(|file| {
        let json = if file::is_stdout(file) { serde_json::to_string } else { serde_json::to_string_pretty };
        (file, json(&report).expect("a report has no map whose keys are not text") + "\n")
    });
    let results: Vec<_> = json.into_iter().collect();
    let conclusion = table::conclusion(&report);
    let fitted = |to_stdout| if to_stdout { cli::fitted(&conclusion) } else { conclusion.clone() };
    let complete = file::deliver(PROGRAM, &results, fitted);
    if let Some(why) = table::complaint(&report) {
        words::complain(PROGRAM, &why);
    }
    Ok(report.exit_status.max(u8::from(!complete)))
}
