//! The command line: selects the subcommand.

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use client::{anatomy, compare, doctor, find, help, million, race, report, run, words};
use std::path::{Path, PathBuf};
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
    Find(Box<find::FindArgs>),
    Report(report::ReportArgs),
    Compare(compare::CompareArgs),
    Doctor(doctor::DoctorArgs),
    Million(million::MillionArgs),
    Anatomy(anatomy::AnatomyArgs),
    Race(Box<race::RaceArgs>),
    /// Prints completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Writes manual pages, one for each subcommand
    Man {
        /// Write them to this directory
        directory: PathBuf,
    },
}

fn command() -> clap::Command {
    help::dress(Cli::command())
}

fn main() -> ExitCode {
    let matches = command().try_get_matches();
    let parsed = matches.and_then(|matches| Cli::from_arg_matches(&matches)).and_then(Cli::check);
    match parsed {
        Ok(cli) => match cli.command {
            Command::Run(args) => run::run(&args),
            Command::Merge(args) => run::merge(&args),
            Command::Find(args) => find::run(&args),
            Command::Report(args) => report::run(&args, million::redraw),
            Command::Compare(args) => compare::run(&args),
            Command::Doctor(args) => doctor::run(&args),
            Command::Million(args) => million::run(&args),
            Command::Anatomy(args) => anatomy::run(&args),
            Command::Race(args) => race::run(&args),
            Command::Completions { shell } => {
                ExitCode::from(common::config::print_completions(shell, &mut command(), "client"))
            }
            Command::Man { directory } => man(&directory),
        },
        // --help or --version.
        Err(error) if !error.use_stderr() => ExitCode::from(common::config::explain("client", &error)),
        Err(error) => {
            words::complain("client", &common::config::in_one_line("client", &error));
            ExitCode::from(2)
        }
    }
}

impl Cli {
    /// Rejects flags that contradict one another.
    fn check(self) -> Result<Cli, clap::Error> {
        let checked = match &self.command {
            Command::Run(args) => args.check(),
            Command::Merge(args) => args.check(),
            Command::Find(args) => args.check(),
            Command::Report(args) => args.check(),
            Command::Compare(args) => args.check(),
            Command::Race(args) => args.check(),
            Command::Anatomy(args) => args.check(),
            _ => Ok(()),
        };
        checked.map_err(|why| clap::Error::raw(ErrorKind::ArgumentConflict, why))?;
        Ok(self)
    }
}

fn man(directory: &Path) -> ExitCode {
    let written =
        std::fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(command(), directory));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            words::complain("client man", &format!("cannot write to {}: {error}", directory.display()));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_stands_under_a_heading_and_every_subcommand_has_examples() {
        command().debug_assert();
        for subcommand in command().get_subcommands() {
            let name = subcommand.get_name();
            assert!(subcommand.get_after_help().is_some(), "help.rs has no example of {name}");
            let flags = subcommand.get_opts().filter(|flag| flag.get_long() != Some("help"));
            for flag in flags.filter(|_| !["merge", "doctor"].contains(&name)) {
                assert!(
                    flag.get_help_heading().is_some(),
                    "help.rs has no heading for --{} of {name}",
                    flag.get_id()
                );
            }
        }
    }

    #[test]
    fn manual_pages_and_completions() {
        let directory = std::env::temp_dir().join(format!("client-man-{}", std::process::id()));
        assert_eq!(man(&directory), ExitCode::SUCCESS);
        let page = std::fs::read_to_string(directory.join("client-run.1")).expect("a page");
        assert!(page.contains(".SH EXAMPLES") || page.contains("Examples:"), "{page}");
        std::fs::remove_dir_all(&directory).expect("removed");
        assert_eq!(man(Path::new("/proc/nowhere")), ExitCode::FAILURE);
        let mut script = Vec::new();
        clap_complete::generate(Shell::Bash, &mut command(), "client", &mut script);
        let script = String::from_utf8(script).expect("text");
        assert!(["race", "--connect-rate"].iter().all(|word| script.contains(word)));
    }
}
