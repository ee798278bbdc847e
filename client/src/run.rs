//! `client run`: one load against one server.

mod exporter;
mod hdr;
mod merge;
mod summary;

pub use crate::load::{HandshakeArgs, MessageArgs, Scenario, TlsArgs};
pub use crate::results::run::{RunReport, SCHEMA};
pub use crate::results::{Latency, LatencyReport};
pub use merge::{MergeArgs, merge};

use crate::fleet::{Authority, Endpoint, Fleet, FleetConfig, Host, Url};
use crate::load::{self, Load, MAX_IN_FLIGHT, ProxyArgs, Source};
use crate::measure::{Sampler, metrics_url};
use crate::progress::{Bar, Look};
use crate::results::run::ReconnectReport;
use crate::watch::{Listens, Watched, doubt, listens};
use crate::{cli, file, words};
use anyhow::{Context, Error, Result};
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

    /// The way to the server
    #[command(flatten)]
    pub proxy: ProxyArgs,

    /// How to connect to wss:// servers
    #[command(flatten)]
    pub tls: TlsArgs,

    /// Connections to open
    #[arg(long, default_value = "1000", value_name = "N", value_parser = cli::count)]
    pub connections: u64,

    /// Connections to open per second [default: as fast as they are accepted]
    #[arg(long, value_name = "N", value_parser = cli::rate_per_s)]
    pub connect_rate: Option<f64>,

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

    /// Measure for this long
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = cli::positive_duration)]
    pub duration: Duration,

    /// Send for this long before measuring
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = cli::duration)]
    pub warmup: Duration,

    /// Hold the connections idle for this long before sending
    #[arg(long, default_value = "0s", value_name = "TIME", value_parser = cli::duration)]
    pub hold: Duration,

    /// Local address to connect from, to the server's addresses of its family, or the interface that has them, such as eth0;
    /// give several addresses for more connections than one has ports [default: all of 127.0.0.0/8 to a server there, else
    /// the kernel's choice]
    #[arg(long, value_name = "IP", num_args = 1.., value_delimiter = ',')]
    pub source_ip: Vec<Source>,

    /// Threads [default: one per core, or as many as the limit on open files requires]
    #[arg(long, value_name = "N", value_parser = cli::count)]
    pub shards: Option<u64>,

    /// Pin each thread to a core: for a server on this machine that also has --pin
    #[arg(long)]
    pub pin: bool,

    /// Fail a handshake that takes longer than this
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = cli::positive_duration)]
    pub connect_timeout: Duration,

    /// Fail a connection that waits longer than this for an echo, or for the server's Close
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = cli::positive_duration)]
    pub message_timeout: Duration,

    /// Replace a lost connection, after a random wait of 100 ms to 5 s that grows with failed attempts. Losses are then
    /// counted, and are failures only if they are not replaced before all connections are closed
    #[arg(long)]
    pub reconnect: bool,

    /// The server's process id, to sample its memory and processor time
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "metrics_url")]
    pub pid: Option<u32>,

    /// The server's metrics, to sample the same on another machine: http://HOST:PORT/metrics
    #[arg(long, value_name = "URL", value_parser = metrics_url)]
    pub metrics_url: Option<Authority>,

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
        outputs(self.json.as_deref(), self.hdr.as_deref())?;
        load::check_active(self.active, self.connections)?;
        self.handshake.check()?;
        self.tls.check([&self.url].into_iter())?;
        let in_closed_loop = self.scenario == Scenario::Echo && self.rate.is_none();
        load::check_in_flight(self.in_flight, self.message.payload_len(), in_closed_loop)?;
        self.message.check(self.scenario, self.rate)?;
        let proxy = self.proxy.proxy_to(&self.url)?;
        let server = proxy.as_ref().map_or(&self.url.authority, |proxy| &proxy.authority);
        // The addresses of a name are known only once it is resolved.
        let Host::Ip(server) = server.host else { return Ok(()) };
        let of_other_family = |source: &Source| match source {
            Source::Address(source) if source.is_ipv4() != server.is_ipv4() => Some(*source),
            _ => None,
        };
        match self.source_ip.iter().find_map(of_other_family) {
            Some(source) => Err(format!(
                "--source-ip {source} and the server's address {server} are not both IPv4, or both IPv6"
            )),
            None => Ok(()),
        }
    }
}

/// Fails where two results would be written to the same file.
fn outputs(json: Option<&Path>, hdr: Option<&Path>) -> Result<(), String> {
    match json.zip(hdr).filter(|(json, hdr)| file::are_one(json, hdr)) {
        Some((json, _)) => {
            Err(format!("--json and --hdr are both to be written to {}: give two files", json.display()))
        }
        None => Ok(()),
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
    let proxy = args.proxy.proxy_to(&args.url).map_err(Error::msg)?;
    let endpoint = args.url.clone().resolve_through(proxy)?;
    let source_ips = load::source_addresses(&args.source_ip, &endpoint)?;
    load::fits(&endpoint, &source_ips, args.connections)?;
    args.json.iter().chain(&args.hdr).try_for_each(|file| file::check(file))?;
    let server = sampler(args)?;
    if args.pid.is_some() || args.metrics_url.is_some() {
        server.read().context("the server cannot be watched")?;
    }
    let port = args.url.authority.port;
    if let Some(pid) = args.pid.filter(|&pid| listens(pid, port) == Listens::No) {
        // The results have it too, but a warning now can save a long run.
        doubt(pid, port).iter().for_each(|doubt| words::complain("client", doubt));
    }
    let exporter = args.metrics_addr.map(exporter::listen).transpose()?;
    let load = load_of(args, endpoint, source_ips)?;
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
    Ok(deliver(args.json.as_deref(), args.hdr.as_deref(), &report))
}

/// Sleeps until `time`, or until `stop` is set.
fn wait_until(time: SystemTime, stop: &AtomicBool) {
    const POLL_EVERY: Duration = Duration::from_millis(50);
    if let Ok(late) = SystemTime::now().duration_since(time) {
        words::complain("client", &format!("{late:.1?} late for --start-at; starting at once"));
    }
    while let Ok(left) = time.duration_since(SystemTime::now())
        && !stop.load(Relaxed)
    {
        thread::sleep(left.min(POLL_EVERY));
    }
}

fn load_of(args: &RunArgs, endpoint: Endpoint, source_ips: Vec<SocketAddr>) -> Result<Load> {
    let fleet = FleetConfig {
        request_fields: args.handshake.request_fields(),
        tls: args.tls.client(&endpoint.url).map_err(Error::msg)?,
        shards: args.shards.map(|shards| shards as usize),
        pin: args.pin,
        source_ips,
        in_flight: args.in_flight as u32,
        connect_timeout: args.connect_timeout,
        message_timeout: args.message_timeout,
        reconnect: args.reconnect,
        stop: cli::stop_on_ctrl_c(),
        ..FleetConfig::new(endpoint, args.connections)
    };
    Ok(Load {
        fleet: args.message.configure(fleet, args.scenario),
        connect_rate: args.connect_rate,
        scenario: args.scenario,
        active: args.active,
        rate: args.rate,
        hold: args.hold,
        warmup: args.warmup,
        duration: args.duration,
        pid: args.pid,
    })
}

/// How the server is sampled, by the flags.
fn sampler(args: &RunArgs) -> Result<Sampler> {
    match (args.pid, &args.metrics_url) {
        (Some(pid), _) => Ok(Sampler::Process(Watched::new(pid))),
        (None, Some(authority)) => Sampler::of_metrics(authority),
        (None, None) => Ok(Sampler::Unwatched),
    }
}

/// Writes the results, prints the summary, and what failed in one line; returns the exit status.
fn deliver(to_json: Option<&Path>, to_hdr: Option<&Path>, report: &RunReport) -> u8 {
    let json = to_json.map(|file| {
        // In one line on standard output, so that a log of both streams can be parsed.
        let json = if file::is_stdout(file) { serde_json::to_string } else { serde_json::to_string_pretty };
        (file, json(report).expect("a report has no map whose keys are not text") + "\n")
    });
    let hdr = to_hdr.map(|file| (file, report.latency().map(hdr::percentiles).unwrap_or_default()));
    let results: Vec<_> = json.into_iter().chain(hdr).collect();
    let summary = summary::render(report);
    let fitted = |to_stdout| if to_stdout { cli::fitted(&summary) } else { summary.clone() };
    let complete = file::deliver("client", &results, fitted);
    if let Some(line) = report.complaint() {
        words::complain("client", &line);
    }
    report.exit_status.max(u8::from(!complete))
}
