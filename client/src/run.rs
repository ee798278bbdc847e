//! `client run`: one load against one server.

mod exporter;
mod hdr;
mod merge;
mod sentence;
mod summary;

pub use crate::load::{ConnectionArgs, HandshakeArgs, MessageArgs, ProxyArgs, Scenario, TlsArgs};
pub use crate::measure::WatchArgs;
pub use crate::results::run::{RunReport, SCHEMA};
pub use crate::results::{Latency, LatencyReport};
pub use merge::{MergeArgs, merge};

use crate::fleet::{Endpoint, Fleet, FleetConfig, Ramp, Url};
use crate::live::text::{Row, Tone};
use crate::load::{self, Load, MAX_IN_FLIGHT};
use crate::progress::{Bar, Look};
use crate::report::format;
use crate::results::run::ReconnectReport;
use crate::results::seconds_csv;
use crate::watch::{Listens, doubt, listens};
use crate::{cli, file, words};
use anyhow::{Context, Result};
use clap::Args;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, SystemTime};

/// Opens connections to one server, sends messages, and verifies the replies
///
/// Exit status: 0 if all went well, 1 if anything failed, 2 if a flag is wrong. Ctrl-C ends the load at once, and
/// the results so far are reported.
#[derive(Args, Clone, Debug)]
#[command(next_line_help = true, allow_negative_numbers = true)]
pub struct RunArgs {
    /// The server: ws://HOST:PORT/PATH, or wss:// over TLS. A host name is resolved once, and its addresses are used round-robin
    #[arg(long, default_value = "ws://127.0.0.1:8000/echo", value_name = "URL")]
    pub url: Url,

    /// Additions to the opening handshake
    #[command(flatten)]
    pub handshake: HandshakeArgs,

    /// Connections to open
    #[arg(long, default_value = "1000", value_name = "N", value_parser = cli::count)]
    pub connections: u64,

    /// Connections to open per second [default: as fast as they are accepted]
    #[arg(long, value_name = "N", value_parser = cli::rate_per_s)]
    pub connect_rate: Option<f64>,

    /// Open connections at a rate that rises linearly, and then stays: FROM..TO/TIME in connections per second, such as
    /// 0..5000/30s. Results include one per second
    #[arg(long, value_name = "RAMP", value_parser = cli::ramp, conflicts_with = "connect_rate")]
    pub connect_ramp: Option<Ramp>,

    /// Start at this time, such as 2026-01-31T12:00:00Z, so that many clients start together; a late one starts at once
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_rfc3339_weak)]
    pub start_at: Option<SystemTime>,

    /// What to do with the connections
    #[arg(long, value_enum, default_value_t = Scenario::Echo)]
    pub scenario: Scenario,

    /// Connections that send messages; the others stay idle [default: all]
    #[arg(long, value_name = "N", value_parser = cli::count)]
    pub active: Option<u64>,

    /// Messages and replies
    #[command(flatten)]
    pub message: MessageArgs,

    /// Messages in flight per active connection, in closed loop: a round of N messages is sent at once, and the next when
    /// all are echoed
    #[arg(long, default_value = "1", value_name = "N", value_parser = cli::count_to(MAX_IN_FLIGHT))]
    pub in_flight: u64,

    /// Send N messages per second over all active connections, in open loop: latency then counts from the time a message
    /// was due. With --scenario churn: replace N connections per second (100 if not given)
    /// [default: closed loop, --in-flight messages outstanding per active connection]
    #[arg(long, value_name = "N", value_parser = cli::rate_per_s)]
    pub rate: Option<f64>,

    /// Send messages at a rate that rises linearly: FROM..TO/TIME in messages per second, such as 0..20000/60s. TIME is
    /// the duration, without warm-up. Results include one per second
    #[arg(long, value_name = "RAMP", value_parser = cli::ramp, conflicts_with_all = ["rate", "duration", "warmup"])]
    pub ramp: Option<Ramp>,

    /// Measure for this long
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = cli::positive_duration)]
    pub duration: Duration,

    /// Send for this long before measuring
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = cli::duration)]
    pub warmup: Duration,

    /// Hold the connections idle for this long before sending
    #[arg(long, default_value = "0s", value_name = "TIME", value_parser = cli::duration)]
    pub hold: Duration,

    /// The connections
    #[command(flatten)]
    pub connection: ConnectionArgs,

    /// Replace a lost connection, after a random wait of 100 ms to 5 s that grows with failed attempts. Losses are then
    /// counted, and are failures only if they are not replaced before all connections are closed
    #[arg(long)]
    pub reconnect: bool,

    /// The server's process
    #[command(flatten)]
    pub watch: WatchArgs,

    /// Serve this client's own metrics on this address, for Prometheus: http://IP:PORT/metrics
    #[arg(long, value_name = "IP:PORT")]
    pub metrics_addr: Option<SocketAddr>,

    /// Write the results as JSON to this file, or in one line to standard output if it is '-'
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Write the latencies to this file, or to standard output if it is '-', as a percentile distribution in microseconds
    /// for HdrHistogram's plotter
    #[arg(long, value_name = "FILE")]
    pub hdr: Option<PathBuf>,

    /// Write the results of every second as CSV to this file, or to standard output if it is '-'. They are also in --json
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,

    /// Do not show progress
    #[arg(long)]
    pub quiet: bool,
}

impl RunArgs {
    /// Fails where flags contradict one another.
    ///
    /// # Errors
    /// Which ones, and why, in one line.
    pub fn check(&self) -> Result<(), String> {
        self.outputs().check()?;
        load::check_active(self.active, self.connections)?;
        self.handshake.check()?;
        if self.ramp.is_some() && self.scenario != Scenario::Echo {
            return Err("--ramp is for --scenario echo".into());
        }
        if self.csv.is_some() && matches!(self.scenario, Scenario::Storm | Scenario::Burst) {
            return Err("--csv has no seconds in --scenario storm and burst, which repeat rounds".into());
        }
        let at_a_rate = self.rate.is_some() || self.ramp.is_some();
        let in_closed_loop = self.scenario == Scenario::Echo && !at_a_rate;
        load::check_in_flight(self.in_flight, self.message.payload_len(), in_closed_loop)?;
        self.message.check(self.scenario, at_a_rate)?;
        self.connection.check(&self.url)
    }

    fn outputs(&self) -> Outputs<'_> {
        Outputs { json: self.json.as_deref(), hdr: self.hdr.as_deref(), csv: self.csv.as_deref() }
    }
}

/// The files that results are written to.
#[derive(Clone, Copy, Default)]
struct Outputs<'a> {
    json: Option<&'a Path>,
    hdr: Option<&'a Path>,
    csv: Option<&'a Path>,
}

impl<'a> Outputs<'a> {
    /// The files, each with its flag.
    fn files(self) -> impl Iterator<Item = (&'static str, &'a Path)> + Clone {
        let all = [("--json", self.json), ("--hdr", self.hdr), ("--csv", self.csv)];
        all.into_iter().filter_map(|(flag, file)| Some((flag, file?)))
    }

    /// Fails where two results would be written to the same file.
    fn check(self) -> Result<(), String> {
        for (number, (flag, file)) in self.files().enumerate() {
            if let Some((other, _)) = self.files().take(number).find(|(_, other)| file::are_one(other, file))
            {
                let file = file.display();
                return Err(format!("{other} and {flag} are both to be written to {file}: give two files"));
            }
        }
        Ok(())
    }
}

/// Runs the load, reports it, and prints what failed in one line on standard error.
pub fn run(args: &RunArgs) -> ExitCode {
    match try_run(args) {
        Ok(exit_status) => ExitCode::from(exit_status),
        Err(error) => {
            words::complain("client", &format!("{error:#}"));
            ExitCode::from(1)
        }
    }
}

fn try_run(args: &RunArgs) -> Result<u8> {
    let endpoint = args.connection.resolve(&args.url)?;
    args.outputs().files().try_for_each(|(_, file)| file::check(file))?;
    let server = args.watch.sampler()?;
    let port = args.url.authority.port;
    if let Some(pid) = args.watch.pid.filter(|&pid| listens(pid, port) == Listens::No) {
        // The results have it too, but a warning now can save a long run.
        doubt(pid, port).iter().for_each(|doubt| words::complain("client", doubt));
    }
    let exporter = args.metrics_addr.map(exporter::listen).transpose()?;
    let load = load_of(args, endpoint)?;
    let mut fleet = Fleet::start(load.fleet.clone())?;
    if let Some(listener) = exporter {
        exporter::start(listener, args, fleet.watch()).context("cannot serve --metrics-addr")?;
    }
    if let Some(time) = args.start_at {
        wait_until(time, load.fleet.stop);
    }
    let mut report = load.report(&fleet);
    let mut bar = Bar::new(Look::new(args.quiet), format!("client run {}", args.url), server);
    if let Err(error) = load.run(&mut fleet, &mut bar, &mut report) {
        // What was measured before is kept.
        report.ended_early.get_or_insert(format!("{error:#}"));
    }
    report.reconnect = fleet.reconnects().map(ReconnectReport::from);
    drop(fleet);
    bar.finish();
    report.conclude();
    Ok(deliver(args.outputs(), &report))
}

/// Sleeps until `time`, or until `stop` is set.
fn wait_until(time: SystemTime, stop: &AtomicBool) {
    const POLL_EVERY: Duration = Duration::from_millis(50);
    if let Ok(late) = SystemTime::now().duration_since(time) {
        let late = format::time(late.as_secs_f64());
        words::complain("client", &format!("{late} late for --start-at; starting at once"));
    }
    while let Ok(left) = time.duration_since(SystemTime::now())
        && !stop.load(Relaxed)
    {
        thread::sleep(left.min(POLL_EVERY));
    }
}

fn load_of(args: &RunArgs, endpoint: Endpoint) -> Result<Load> {
    let fleet = FleetConfig {
        request_fields: args.handshake.request_fields(),
        in_flight: args.in_flight as u32,
        by_second: args.csv.is_some() || args.ramp.is_some() || args.connect_ramp.is_some(),
        reconnect: args.reconnect,
        stop: cli::stop_on_ctrl_c(),
        ..args.connection.fleet(endpoint, args.connections)?
    };
    Ok(Load {
        fleet: args.message.configure(fleet, args.scenario),
        connect_rate: args.connect_rate,
        connect_ramp: args.connect_ramp,
        scenario: args.scenario,
        active: args.active,
        rate: args.rate,
        ramp: args.ramp,
        hold: args.hold,
        warmup: args.warmup,
        duration: args.duration,
        pid: args.watch.pid,
    })
}

/// The summary, and its last sentence in colour if it is on a terminal that has some.
fn shown(report: &RunReport, to_stdout: bool) -> String {
    let (summary, sentence) = (summary::render(report), sentence::sentence(report));
    if !to_stdout {
        return format!("{summary}\n{sentence}\n");
    }
    let tone = if report.exit_status == 0 { Tone::Amount } else { Tone::Bad };
    let colour = common::output::has_colour(&std::io::stdout());
    let painted = |line: &str| Row::of(tone, line).to_terminal(colour) + "\n";
    let sentence: String = cli::fitted(&sentence).lines().map(painted).collect();
    format!("{}\n{sentence}", cli::fitted(&summary))
}

/// Writes the results, prints the summary, and what failed in one line; returns the exit status.
fn deliver(to: Outputs<'_>, report: &RunReport) -> u8 {
    let json = to.json.map(|file| {
        // In one line on standard output, so that a log of both streams can be parsed.
        let json = if file::is_stdout(file) { serde_json::to_string } else { serde_json::to_string_pretty };
        (file, json(report).expect("a report has no map whose keys are not text") + "\n")
    });
    let hdr = to.hdr.map(|file| (file, report.latency().map(hdr::percentiles).unwrap_or_default()));
    let csv = to.csv.map(|file| (file, seconds_csv(&report.seconds)));
    let results: Vec<_> = json.into_iter().chain(hdr).chain(csv).collect();
    let complete = file::deliver("client", &results, |to_stdout| shown(report, to_stdout));
    if let Some(line) = report.complaint() {
        words::complain("client", &line);
    }
    report.exit_status.max(u8::from(!complete))
}
