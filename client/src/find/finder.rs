//! The search itself: one fleet, step after step.

use super::FindArgs;
use super::search::{CONFIRMATIONS, Search};
use super::step::Steps;
use super::table;
use crate::fleet::{EchoPhase, Endpoint, Fleet, FleetConfig};
use crate::load::Scenario;
use crate::progress::{Bar, Goal, Look};
use crate::results::find::{Broke, FindReport, Found, Purpose, SCHEMA, Step, Verdict};
use crate::results::run::{ConnectReport, HandshakeParts, ServerReport};
use crate::results::{Header, Latency, Sample};
use crate::watch::doubt;
use crate::{cli, file, words};
use anyhow::{Result, bail};
use std::io::{IsTerminal, stdout};
use std::time::SystemTime;

/// Searches, and reports. What was measured before an error is in the report.
///
/// # Errors
/// If the load cannot start.
pub(super) fn find(args: &FindArgs, endpoint: Endpoint) -> Result<FindReport> {
    let server = args.watch.sampler()?;
    let steps =
        Steps { bound: args.p99, time: args.step_time, active: args.active.unwrap_or(args.connections) };
    let config = FleetConfig {
        request_fields: args.handshake.request_fields(),
        late_after: steps.late_after(),
        stop: cli::stop_on_ctrl_c(),
        ..args.connection.fleet(endpoint, args.connections)?
    };
    let fleet = Fleet::start(args.message.configure(config, Scenario::Echo))?;
    let report = blank(args, &fleet, steps);
    let bar = Bar::new(Look::new(args.quiet), format!("client find {}", args.url), server);
    let mut finder = Finder { args, steps, fleet, bar, report };
    if let Err(error) = finder.search() {
        finder.report.ended_early.get_or_insert(format!("{error:#}"));
    }
    finder.conclude()
}

fn blank(args: &FindArgs, fleet: &Fleet, steps: Steps) -> FindReport {
    FindReport {
        header: Header::new(SCHEMA, humantime::format_rfc3339_millis(SystemTime::now()).to_string()),
        url: args.url.to_string(),
        connections: args.connections,
        active: steps.active,
        shards: fleet.shards() as u64,
        payload_bytes: args.message.payload_len() as u64,
        bound_p99_us: args.p99.as_secs_f64() * 1e6,
        from_per_s: args.from,
        step_s: args.step_time.as_secs_f64(),
        connect: None,
        steps: Vec::new(),
        found: None,
        server: None,
        failures: crate::fleet::Failures::default(),
        ended_early: None,
        interrupted: false,
        exit_status: 1,
    }
}

struct Finder<'a> {
    args: &'a FindArgs,
    steps: Steps,
    fleet: Fleet,
    bar: Bar,
    report: FindReport,
}

impl Finder<'_> {
    fn search(&mut self) -> Result<()> {
        let before = self.bar.sample();
        self.connect()?;
        let connected = self.bar.sample();
        self.report.server = before.map(|before| self.server(before, connected));
        self.say(&table::header());
        let mut search = Search::new(self.args.from);
        while let Some((rate, purpose)) = search.next() {
            let step = self.step(rate, purpose)?;
            if self.fleet.is_stopped() {
                // The interrupted step says nothing.
                return Ok(());
            }
            search.record(step.verdict == Verdict::Held);
            self.say(&table::row(&step, self.report.bound_p99_us));
            self.report.steps.push(step);
            self.bar.begin("draining", Goal::Time(self.steps.pause()));
            let rest = self.fleet.hold(self.steps.pause(), &mut |progress| self.bar.tick(progress))?;
            self.report.failures.merge(&rest.failures);
            // Connections that a step lost.
            self.connect()?;
        }
        self.report.found = search.found().map(|(rate, above)| self.found(rate, above));
        let loaded = self.bar.sample();
        self.bar.begin("closing", Goal::Close);
        let closed = self.fleet.close_all(&mut |progress| self.bar.tick(progress))?;
        self.report.failures.merge(&closed.failures);
        let echoes: u64 = self.report.steps.iter().map(|step| step.echoes).sum();
        let closed = self.bar.sample();
        if let Some(server) = &mut self.report.server {
            (server.loaded, server.closed) = (loaded, closed);
            let cpu_s = loaded.zip(connected).map(|(loaded, connected)| loaded.cpu_s - connected.cpu_s);
            server.cpu_us_per_echo = cpu_s.filter(|_| echoes > 0).map(|cpu_s| cpu_s * 1e6 / echoes as f64);
        }
        Ok(())
    }

    /// Opens the connections that are not open. Only the first time is reported.
    fn connect(&mut self) -> Result<()> {
        let total = self.args.connections;
        if self.fleet.progress().connected == total || self.fleet.is_stopped() {
            return Ok(());
        }
        self.bar.begin("connecting", Goal::Connections(total));
        let phase = self.fleet.connect_to(total, None, &mut |progress| self.bar.tick(progress))?;
        self.report.failures.merge(&phase.failures);
        let connect = ConnectReport {
            rounds: 1,
            opened: phase.opened,
            connected: phase.connected,
            elapsed_s: phase.elapsed.as_secs_f64(),
            connects_per_s: phase.connects_per_s,
            handshake: Latency(phase.handshake),
            parts: phase.tls.as_ref().map(HandshakeParts::from),
        };
        self.report.connect.get_or_insert(connect);
        if phase.connected < total && !self.fleet.is_stopped() {
            let first = phase.failures.first.clone().unwrap_or_else(|| "they were closed".into());
            let classes = phase.failures.classes().map(|(class, _)| phase.failures.advice(class));
            let advice = classes.map(|advice| format!(" ({advice})")).next().unwrap_or_default();
            bail!("{} of {total} connections are open: {first}{advice}", phase.connected);
        }
        Ok(())
    }

    fn step(&mut self, rate: f64, purpose: Purpose) -> Result<Step> {
        let label = crate::report::format::per_s(rate);
        self.bar.begin_measured(&label, self.steps.settle(), self.steps.time);
        let (before, began) = (self.bar.sample(), std::time::Instant::now());
        let (phase, achieved_per_s, verdict) = self.steps.run(rate, &mut self.fleet, &mut self.bar)?;
        let cores = |(before, after): (Sample, Sample)| {
            (after.cpu_s - before.cpu_s) / began.elapsed().as_secs_f64().max(1e-9)
        };
        let server_cores = before.zip(self.bar.sample()).map(cores);
        self.report.failures.merge(&phase.failures);
        let EchoPhase { sent, echoes, missing, late, blocked, elapsed, latency, failures, .. } = phase;
        Ok(Step {
            rate_per_s: rate,
            purpose,
            elapsed_s: elapsed.as_secs_f64(),
            achieved_per_s,
            sent,
            echoes,
            missing,
            late: late - blocked,
            failures: failures.total(),
            server_cores,
            latency: Latency(latency).into(),
            verdict,
        })
    }

    /// The found rate, with its confirmations, and how the next one broke.
    fn found(&self, rate_per_s: f64, above: f64) -> Found {
        let steps = || self.report.steps.iter().rev();
        let confirming =
            steps().filter(|step| step.rate_per_s == rate_per_s && step.purpose == Purpose::Confirm);
        let p99 = confirming.take(CONFIRMATIONS as usize).filter_map(|step| step.latency.p99_us);
        let broke = steps().find(|step| step.rate_per_s == above && step.verdict != Verdict::Held);
        Found {
            rate_per_s,
            confirmations: CONFIRMATIONS.into(),
            p99_us: p99.reduce(f64::max),
            broke: broke.map(|step| Broke {
                rate_per_s: above,
                verdict: step.verdict,
                p99_us: step.latency.p99_us,
                achieved_per_s: step.achieved_per_s,
            }),
        }
    }

    fn server(&self, before: Sample, connected: Option<Sample>) -> ServerReport {
        let growth = connected.map(|connected| connected.rss_bytes as f64 - before.rss_bytes as f64);
        ServerReport {
            doubt: self.args.watch.pid.and_then(|pid| doubt(pid, self.args.url.authority.port)),
            before,
            connected,
            rss_bytes_per_connection: growth.map(|growth| growth / self.args.connections as f64),
            ..ServerReport::default()
        }
    }

    /// Prints a line of the table: above the live view, and to standard output unless that is the same terminal or has the
    /// JSON.
    fn say(&mut self, line: &str) {
        if self.args.quiet {
            return;
        }
        let is_above = self.bar.print_above(line);
        match self.args.json.as_deref().is_some_and(file::is_stdout) {
            true if !is_above => words::progress(line),
            false if !is_above || !stdout().is_terminal() => words::line(line),
            _ => {}
        }
    }

    fn conclude(mut self) -> Result<FindReport> {
        self.bar.finish();
        self.report.interrupted = self.fleet.is_stopped();
        let peak_rss_bytes = self.bar.peak_rss_bytes();
        self.report.server.iter_mut().for_each(|server| server.peak_rss_bytes = peak_rss_bytes);
        self.report.exit_status = u8::from(self.report.found.is_none() || self.report.ended_early.is_some());
        Ok(self.report)
    }
}
