//! `client million`: a million connections in one server process on this machine, and the proof.

mod attempt;
mod counts;
mod drain;
mod forecast;
mod grow;
mod load;
mod page;
mod picture;
mod room;
mod store;
mod summary;
mod verdict;

#[cfg(test)]
pub(crate) mod sample;

pub use crate::results::million::{Record, Run, SCHEMA, Settings};
pub use store::{FILE, merge, read, write};

use crate::doctor::Machine;
use crate::results::million as record;
use crate::subject::{self, Subject};
use crate::watch::Watched;
use crate::{cli, file, words};
use anyhow::Result;
use clap::Args;
use drain::Drain;
use forecast::Forecast;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Begins error lines.
const PROGRAM: &str = "client million";

/// Bytes of payload in a message.
const PAYLOAD_LEN: u64 = 32;

/// Holds a million connections in one server process, sends messages over all of them, and compares the counts of both ends
///
/// Exit status: 0 if every stage held all connections and nothing failed or was lost, 1 if not, 2 if a flag is wrong.
/// Ctrl-C ends it at once, and the results so far are reported.
#[derive(Args, Clone, Debug)]
#[command(next_line_help = true, allow_negative_numbers = true)]
pub struct MillionArgs {
    /// Stages to load, one after the other
    #[arg(long, value_name = "N,N,...", default_value = "4", value_delimiter = ',',
          value_parser = clap::value_parser!(u8).range(1..=4))]
    pub stage: Vec<u8>,

    /// Connections to hold
    #[arg(long, default_value = "1_000_000", value_name = "N", value_parser = cli::count_to(1_000_000_000))]
    pub connections: u64,

    /// Hold them idle for this long before sending
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = cli::duration)]
    pub hold: Duration,

    /// Messages per second in open loop, over all connections
    #[arg(long, default_value = "20_000", value_name = "N", value_parser = cli::rate_per_s)]
    pub rate: f64,

    /// Send at this rate for this long
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = cli::positive_duration)]
    pub duration: Duration,

    /// Measure the floor before each stage: the time that the kernel alone takes for as many pairs of sockets
    #[arg(long)]
    pub raw: bool,

    /// Write million.json, million.svg and index.html to this directory
    #[arg(long, value_name = "DIRECTORY", default_value = "report/million")]
    pub out: PathBuf,

    /// Do not measure: merge the runs of these million.json, and write their report. Of two runs of one stage, the later
    /// file's is used
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub from: Vec<PathBuf>,

    /// Do not build the stages
    #[arg(long)]
    pub no_build: bool,

    /// Do not show progress
    #[arg(long)]
    pub quiet: bool,

    /// Flags for the server, such as `-- --ping-interval 30s --idle-timeout 60s`
    #[arg(last = true, value_name = "FLAGS")]
    pub server_flags: Vec<String>,
}

/// The load on each stage.
struct Task {
    settings: Settings,
    hold: Duration,
    duration: Duration,
    quiet: bool,
    stop: &'static AtomicBool,
    /// Resident memory of this process before its first connection.
    client_start_bytes: u64,
}

/// Measures and reports. The exit status is 0 where all connections were held and nothing was lost, else 1.
pub fn run(args: &MillionArgs) -> ExitCode {
    let outcome = if args.from.is_empty() { measure(args) } else { again(args) };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            words::complain(PROGRAM, &format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Loads each stage and reports. Returns whether nothing failed. The report is written after each stage, so that an
/// interrupted run keeps its figures.
fn measure(args: &MillionArgs) -> Result<bool> {
    let task = task(args)?;
    if !args.no_build {
        let machine = Machine::here();
        let subjects = task.settings.stages.iter().map(|&stage| Subject::stage(stage, &machine));
        subject::build_stages(&subjects.collect::<Result<Vec<_>>>()?)?;
    }
    // Fail before the first minute is spent, where the report cannot be written.
    file::check_directory(&args.out)?;
    let mut record = blank(&task);
    let drain = Drain::before();
    for &stage in &task.settings.stages {
        // Sockets of the stage before must not disturb this one.
        drain.wait(record.runs.last().map_or(0, |run| run.held), task.stop);
        if task.stop.load(Relaxed) {
            break;
        }
        let forecast = Forecast::new(stage, args.connections)?;
        for line in &forecast.lines {
            let line = cli::fitted(&format!("{}: {line}", forecast.subject.name));
            line.lines().for_each(words::progress);
        }
        let run = attempt::attempt(&task, stage, &forecast);
        record.runs.push(run);
        let written = write(&record, &args.out);
        let run = &record.runs[record.runs.len() - 1];
        words::print(&cli::fitted(&summary::render(run)));
        if let Some(complaint) = run.complaint() {
            words::complain(PROGRAM, &complaint);
        }
        written?;
    }
    tell_where(args);
    let all = record.runs.len() == task.settings.stages.len();
    Ok(all && record.runs.iter().all(|run| run.complaint().is_none()))
}

/// Writes the report of earlier runs.
fn again(args: &MillionArgs) -> Result<bool> {
    let records = args.from.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?;
    let record = merge(records)?;
    write(&record, &args.out)?;
    for run in &record.runs {
        words::print(&cli::fitted(&summary::render(run)));
    }
    tell_where(args);
    Ok(true)
}

/// Writes the report of a `million.json` to a directory, and returns its summary; `None` if the file is no such record.
///
/// # Errors
/// If the record cannot be read, or the report not be written.
pub fn redraw(file: &Path, out: &Path) -> Result<Option<String>> {
    let value: serde_json::Value = serde_json::from_str(&fs::read_to_string(file)?).unwrap_or_default();
    if value.get("runs").is_none() {
        return Ok(None);
    }
    let record = read(file)?;
    write(&record, out)?;
    Ok(Some(record.runs.iter().map(summary::render).collect()))
}

fn tell_where(args: &MillionArgs) {
    let shown = |file: &str| args.out.join(file).display().to_string();
    words::line(&format!("report: {}, data: {}", shown("index.html"), shown(FILE)));
}

fn task(args: &MillionArgs) -> Result<Task> {
    let mut stages = Vec::new();
    for &stage in &args.stage {
        if !stages.contains(&stage) {
            stages.push(stage);
        }
    }
    Ok(Task {
        settings: Settings {
            stages,
            connections: args.connections,
            hold_s: args.hold.as_secs_f64(),
            rate_per_s: args.rate,
            duration_s: args.duration.as_secs_f64(),
            payload_bytes: PAYLOAD_LEN,
            raw: args.raw,
            server_flags: args.server_flags.clone(),
        },
        hold: args.hold,
        duration: args.duration,
        quiet: args.quiet,
        stop: cli::stop_on_ctrl_c(),
        client_start_bytes: Watched::new(std::process::id()).read()?.rss_bytes,
    })
}

fn blank(task: &Task) -> Record {
    Record {
        origin: subject::origin(SCHEMA),
        machine: subject::machine(),
        settings: task.settings.clone(),
        runs: Vec::new(),
    }
}
