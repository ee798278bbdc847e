//! `client race`: two servers under the same load at the same time, side by side.

mod contender;
mod outcome;
mod table;

pub use crate::results::race::{RaceReport, SCHEMA, Side};
pub use contender::Contender;

use crate::doctor::Machine;
use crate::fleet::FleetConfig;
use crate::load::{self, HandshakeArgs, Load, MAX_IN_FLIGHT, MessageArgs, ProxyArgs, Scenario, TlsArgs};
use crate::progress::{Bar, Gate, SideBySide};
use crate::results::Header;
use crate::results::run::RunReport;
use crate::subject::build_stages;
use crate::{cli, file, words};
use anyhow::{Error, Result};
use clap::Args;
use contender::Ready;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, SystemTime};

/// Begins error lines.
const PROGRAM: &str = "client race";

/// Loads two servers alike at the same time, and shows them side by side
///
/// The servers compete for the machine: for figures to be quoted, use client compare, which runs them one after the other. Exit status: 0 if all went well for both, 1 if anything failed, 2 if an argument
/// is wrong. Ctrl-C ends the load at once, and the results so far are reported.
#[derive(Args, Clone, Debug)]
#[command(next_line_help = true, allow_negative_numbers = true)]
pub struct RaceArgs {
    /// Each a stage (1 to 4), another server by NAME=COMMAND, in which {port} becomes a free port, or the URL of a
    /// running server
    #[arg(value_name = "SERVER", num_args = 2, required = true, value_parser = contender::parse)]
    pub servers: Vec<Contender>,

    /// Additions to the opening handshake
    #[command(flatten)]
    pub handshake: HandshakeArgs,

    /// The way to running servers
    #[command(flatten)]
    pub proxy: ProxyArgs,

    /// How to connect to wss:// servers
    #[command(flatten)]
    pub tls: TlsArgs,

    /// Connections to open to each
    #[arg(long, default_value = "1000", value_name = "N", value_parser = cli::count)]
    pub connections: u64,

    /// Connections to open to each per second [default: as fast as they are accepted]
    #[arg(long, value_name = "N", value_parser = cli::rate_per_s)]
    pub connect_rate: Option<f64>,

    /// Hold them idle for this long before sending
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = cli::duration)]
    pub hold: Duration,

    /// Connections to each that send messages; the others stay idle [default: all]
    #[arg(long, value_name = "N", value_parser = cli::count)]
    pub active: Option<u64>,

    /// Messages and replies
    #[command(flatten)]
    pub message: MessageArgs,

    /// Messages in flight per active connection, in closed loop
    #[arg(long, default_value = "1", value_name = "N", value_parser = cli::count_to(MAX_IN_FLIGHT))]
    pub in_flight: u64,

    /// Send N messages per second to each in open loop [default: closed loop, --in-flight messages outstanding per active
    /// connection]
    #[arg(long, value_name = "N", value_parser = cli::rate_per_s)]
    pub rate: Option<f64>,

    /// Send for this long, after a warm-up of 1 s
    #[arg(long, default_value = "20s", value_name = "TIME", value_parser = cli::positive_duration)]
    pub duration: Duration,

    /// The path at which a server given by its command echoes
    #[arg(long, value_name = "PATH", default_value = "/", value_parser = cli::path)]
    pub target_path: String,

    /// Do not build the stages
    #[arg(long)]
    pub no_build: bool,

    /// Write the results as JSON to this file, or to standard output if it is '-'
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Do not show progress
    #[arg(long)]
    pub quiet: bool,
}

impl RaceArgs {
    /// Fails where arguments do not go together.
    ///
    /// # Errors
    /// Which ones, and why, in one line.
    pub fn check(&self) -> Result<(), String> {
        if let [Contender::Other(left), Contender::Other(right)] = &self.servers[..]
            && left.name == right.name
            && left.words != right.words
        {
            return Err(format!("two servers have the same name, {}", left.name));
        }
        load::check_active(self.active, self.connections)?;
        self.handshake.check()?;
        for server in &self.servers {
            server.proxy(&self.proxy)?;
        }
        let urls = self.servers.iter().filter_map(|server| match server {
            Contender::Url(url) => Some(url),
            _ => None,
        });
        self.tls.check(urls)?;
        load::check_in_flight(self.in_flight, self.message.payload_len(), self.rate.is_none())?;
        self.message.check(Scenario::Echo, self.rate.is_some())
    }
}

/// Races them, and says in one line on standard error what failed.
pub fn run(args: &RaceArgs) -> ExitCode {
    match race(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            words::complain(PROGRAM, &format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn race(args: &RaceArgs) -> Result<bool> {
    let stop = cli::stop_on_ctrl_c();
    args.json.iter().try_for_each(|file| file::check(file))?;
    let started = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    let ready = start(args)?;
    let loads = ready.iter().map(|ready| load_of(args, stop, ready)).collect::<Result<Vec<_>>>()?;
    let outcomes = load(args, &ready, loads);
    let sides = ready.into_iter().zip(outcomes).map(|(ready, outcome)| outcome::side(ready, outcome));
    let report = RaceReport { header: Header::new(SCHEMA, started), servers: sides.collect() };
    let json = serde_json::to_string_pretty(&report)? + "\n";
    let results: Vec<_> = args.json.as_deref().map(|file| (file, json)).into_iter().collect();
    let colour = |to_stdout| to_stdout && common::output::has_colour(&std::io::stdout());
    let complete = file::deliver(PROGRAM, &results, |to_stdout| table::render(&report, colour(to_stdout)));
    let complaints: Vec<String> = report.servers.iter().filter_map(Side::complaint).collect();
    complaints.iter().for_each(|complaint| words::complain(PROGRAM, complaint));
    Ok(complete && complaints.is_empty())
}

/// Builds the stages that take part, and starts the servers that are not running yet.
fn start(args: &RaceArgs) -> Result<Vec<Ready>> {
    let machine = Machine::here();
    let subject = |contender: &Contender| contender.subject(&machine, &args.target_path);
    let subjects = args.servers.iter().map(subject).collect::<Result<Vec<_>>>()?;
    if !args.no_build {
        let mut stages: Vec<_> = subjects.iter().flatten().cloned().collect();
        stages.dedup_by(|left, right| left.name == right.name);
        build_stages(&stages)?;
    }
    let start = |(contender, subject): (&Contender, _)| {
        let proxy = contender.proxy(&args.proxy).map_err(Error::msg)?;
        Ready::start(contender, subject, args.connections, proxy)
    };
    args.servers.iter().zip(subjects).map(start).collect()
}

/// Loads both, each from a thread of its own, and shows their progress.
fn load(args: &RaceArgs, ready: &[Ready], loads: Vec<Load>) -> Vec<Result<RunReport>> {
    let mut show = SideBySide::new(args.quiet);
    thread::scope(|scope| {
        let runs = ready.iter().zip(loads).zip(Gate::pair()).map(|((ready, load), gate)| {
            let bar = Bar::new(show.look(&ready.name), ready.name.clone(), ready.sampler()).with_gate(gate);
            scope.spawn(move || load.run_alone(bar))
        });
        let runs: Vec<_> = runs.collect();
        while !runs.iter().all(|run| run.is_finished()) {
            show.draw();
            thread::sleep(SideBySide::EVERY);
        }
        let outcome = |run: thread::ScopedJoinHandle<'_, Result<RunReport>>| {
            run.join().unwrap_or_else(|_| Err(anyhow::anyhow!("its load has panicked")))
        };
        runs.into_iter().map(outcome).collect()
    })
}

fn load_of(args: &RaceArgs, stop: &'static AtomicBool, ready: &Ready) -> Result<Load> {
    let fleet = FleetConfig {
        request_fields: args.handshake.request_fields(),
        tls: args.tls.client(&ready.endpoint.url).map_err(Error::msg)?,
        in_flight: args.in_flight as u32,
        stop,
        ..FleetConfig::new(ready.endpoint.clone(), args.connections)
    };
    Ok(Load {
        connect_rate: args.connect_rate,
        hold: args.hold,
        active: args.active,
        rate: args.rate,
        ..Load::new(args.message.configure(fleet, Scenario::Echo), args.duration)
    })
}
