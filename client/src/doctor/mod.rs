//! `client doctor`: which limits of this machine N connections exceed, and how many each stage can hold.
//!
//! Server and client are assumed to run on this machine, so both ends count.

mod costs;
mod limits;
mod machine;
mod table;
mod verdict;

#[cfg(test)]
mod tests;

pub use limits::{GROUP_MEMORY, memory_kept};
pub use machine::{Machine, Roots};
pub use verdict::{Check, Examination, StageVerdict, Verdict, examine};

use crate::{cli, file, words};
use clap::Args;
use std::path::Path;
use std::process::ExitCode;

/// Check which limits of this machine N connections exceed, and which stages can hold them.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Connections to hold, with the client on this machine too
    #[arg(long, value_name = "N", default_value = "1_000_000", value_parser = cli::count_to(1_000_000_000))]
    pub connections: u64,

    /// Check this stage only
    #[arg(long, value_name = "1..4", value_parser = clap::value_parser!(u8).range(1..=4))]
    pub stage: Option<u8>,

    /// Check for wss://, through HAProxy with TLS in front of the stages, on this machine too
    #[arg(long)]
    pub wss: bool,

    /// Write JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Examines this machine. The exit status is 0 if the connections fit, otherwise 1.
pub fn run(args: &DoctorArgs) -> ExitCode {
    let examination = verdict::examine_with(&Machine::here(), args.connections, args.stage, args.wss);
    if args.json {
        let json = serde_json::to_string_pretty(&examination).expect("all map keys are strings") + "\n";
        if let Err(error) = file::write(Path::new("-"), &json) {
            words::complain("client doctor", &format!("{error:#}"));
            return ExitCode::FAILURE;
        }
    } else {
        words::print(&table::render(&examination, common::output::has_colour(&std::io::stdout())));
    }
    if examination.fits { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
