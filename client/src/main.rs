//! The command line: which subcommand, and nothing else.

use clap::{Parser, Subcommand};
use client::{anatomy, compare, doctor, million, run};
use std::process::ExitCode;

/// Loads a WebSocket echo server, and measures it.
#[derive(Parser, Debug)]
#[command(name = "client", version, about, arg_required_else_help = false, subcommand_required = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Run(Box<run::RunArgs>),
    Merge(run::MergeArgs),
    Compare(compare::CompareArgs),
    Doctor(doctor::DoctorArgs),
    Million(million::MillionArgs),
    Anatomy(anatomy::AnatomyArgs),
}

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => match cli.command {
            Command::Run(args) => run::run(&args),
            Command::Merge(args) => run::merge(&args),
            Command::Compare(args) => compare::run(&args),
            Command::Doctor(args) => doctor::run(&args),
            Command::Million(args) => million::run(&args),
            Command::Anatomy(args) => anatomy::run(&args),
        },
        Err(error) => ExitCode::from(common::config::explain("client", &error)),
    }
}
