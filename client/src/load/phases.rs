//! The scenarios, phase by phase.

use super::{CHURN_PER_S, Load, Scenario};
use crate::fleet::{Fleet, Progress, Rate};
use crate::progress::{Bar, Goal};
use crate::results::run::{RunReport, ServerReport};
use crate::watch::doubt;
use anyhow::Result;
use std::thread;
use std::time::{Duration, Instant};

/// How often to check for a replacement where all connections are lost.
const RECONNECT_POLL: Duration = Duration::from_millis(20);

/// Runs the scenario. What it has done before an error stays in `report`.
pub(super) fn run(load: &Load, fleet: &mut Fleet, bar: &mut Bar, report: &mut RunReport) -> Result<()> {
    let mut run = Run { load, fleet, bar, report };
    run.report.server = run.bar.sample().map(|before| ServerReport { before, ..ServerReport::default() });
    let doubt = load.pid.and_then(|pid| doubt(pid, load.fleet.endpoint.url.authority.port));
    run.report.server.iter_mut().for_each(|server| server.doubt.clone_from(&doubt));
    match load.scenario {
        Scenario::Storm => run.storm()?,
        Scenario::Idle => run.all(|run| run.hold(run.load.duration))?,
        Scenario::Echo => run.all(Run::echo)?,
        Scenario::Burst => run.all(Run::bursts)?,
        Scenario::Churn => run.all(Run::churn)?,
    }
    run.report.interrupted = run.fleet.is_stopped();
    let peak_rss_bytes = run.bar.peak_rss_bytes();
    if let Some(server) = &mut run.report.server {
        server.peak_rss_bytes = peak_rss_bytes;
    }
    Ok(())
}

struct Run<'a> {
    load: &'a Load,
    fleet: &'a mut Fleet,
    bar: &'a mut Bar,
    report: &'a mut RunReport,
}

impl Run<'_> {
    /// Connects, holds, sends as `send` says, and closes; samples the server in between.
    fn all(&mut self, send: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.connect()?;
        if !self.load.hold.is_zero() {
            self.hold(self.load.hold)?;
        }
        let connected = self.bar.sample();
        let echoes = self.fleet.progress().echoes;
        let progress = self.fleet.progress();
        if progress.connected + progress.reconnecting > 0 {
            send(self)?;
        }
        let loaded = self.bar.sample();
        let echoes = self.fleet.progress().echoes - echoes;
        self.close()?;
        let closed = self.bar.sample();
        let Some(server) = &mut self.report.server else { return Ok(()) };
        if let (Some(connected), Some(report)) = (connected, &self.report.connect) {
            let growth = connected.rss_bytes as f64 - server.before.rss_bytes as f64;
            server.rss_bytes_per_connection =
                (report.connected > 0).then(|| growth / report.connected as f64);
        }
        if let (Some(connected), Some(loaded)) = (connected, loaded) {
            let cpu_us = (loaded.cpu_s - connected.cpu_s) * 1e6;
            server.cpu_us_per_echo = (echoes > 0).then(|| cpu_us / echoes as f64);
        }
        (server.connected, server.loaded, server.closed) = (connected, loaded, closed);
        Ok(())
    }

    fn connect(&mut self) -> Result<()> {
        let total = self.load.fleet.connections;
        self.bar.begin("connecting", Goal::Connections(total));
        if let Some(rate) = self.connect_rate() {
            self.bar.expect(rate.time_for(total));
        }
        self.open_all()
    }

    fn connect_rate(&self) -> Option<Rate> {
        let Load { connect_rate, connect_ramp, .. } = *self.load;
        connect_ramp.map(Rate::from).or(connect_rate.map(Rate::from))
    }

    fn open_all(&mut self) -> Result<()> {
        let (total, rate) = (self.load.fleet.connections, self.connect_rate());
        let phase = self.fleet.connect_to(total, rate, &mut |progress| self.bar.tick(progress))?;
        self.report.add_connect(&phase);
        Ok(())
    }

    fn hold(&mut self, time: Duration) -> Result<()> {
        self.bar.begin("holding", Goal::Time(time));
        let phase = self.fleet.hold(time, &mut |progress| self.bar.tick(progress))?;
        self.report.add_hold(&phase);
        Ok(())
    }

    fn echo(&mut self) -> Result<()> {
        let Load { rate, ramp, .. } = *self.load;
        let (warmup, duration) = match ramp {
            Some(ramp) => (Duration::ZERO, ramp.time),
            None => (self.load.warmup, self.load.duration),
        };
        let active = self.load.active.unwrap_or(u64::MAX);
        self.bar.begin_measured("echoing", warmup, duration);
        let mut on_tick = |progress: &Progress| self.bar.tick(progress);
        let phase = match ramp.map(Rate::from).or(rate.map(Rate::from)) {
            None => self.fleet.closed_loop(active, warmup, duration, &mut on_tick)?,
            Some(rate) => self.fleet.open_loop(active, rate, warmup, duration, &mut on_tick)?,
        };
        self.report.add_echo(&phase);
        Ok(())
    }

    fn bursts(&mut self) -> Result<()> {
        let end = Instant::now() + self.load.duration;
        self.bar.begin("bursting", Goal::Until(end));
        loop {
            let phase = self.fleet.burst(&mut |progress| self.bar.tick(progress))?;
            self.report.add_echo(&phase);
            // All may have been lost between two bursts, and a burst over no connection ends at once.
            let progress = self.fleet.progress();
            match (progress.connected, progress.reconnecting) {
                (0, 0) => self.end_early("all connections were lost"),
                (0, _) => thread::sleep(RECONNECT_POLL),
                _ => {}
            }
            if self.is_over(end) {
                return Ok(());
            }
        }
    }

    fn churn(&mut self) -> Result<()> {
        self.bar.begin("churning", Goal::Churn(self.load.duration));
        let rate = self.load.rate.unwrap_or(CHURN_PER_S);
        let phase = self.fleet.churn(rate, self.load.duration, &mut |progress| self.bar.tick(progress))?;
        self.report.add_churn(phase);
        Ok(())
    }

    fn storm(&mut self) -> Result<()> {
        let end = Instant::now() + self.load.duration;
        self.bar.begin("storming", Goal::Until(end));
        loop {
            self.open_all()?;
            if self.fleet.progress().connected > 0 {
                let phase = self.fleet.echo_once(&mut |progress| self.bar.tick(progress))?;
                self.report.add_echo(&phase);
            } else {
                self.end_early("no connection could be opened");
            }
            self.close_all()?;
            if self.is_over(end) {
                return Ok(());
            }
        }
    }

    /// Notes why there is no further round, unless a phase has already, or the run was interrupted.
    fn end_early(&mut self, why: &str) {
        if !self.fleet.is_stopped() {
            self.report.ended_early.get_or_insert_with(|| why.to_owned());
        }
    }

    /// Whether the last round is over: at the end of the time, on Ctrl-C, or without connections.
    fn is_over(&self, end: Instant) -> bool {
        Instant::now() >= end || self.fleet.is_stopped() || self.report.ended_early.is_some()
    }

    fn close(&mut self) -> Result<()> {
        if self.is_left_open() {
            return Ok(());
        }
        self.bar.begin("closing", Goal::Close);
        self.close_all()
    }

    /// Whether nothing is closed here: no connection is open, or the fleet is stopped and resets them when dropped.
    fn is_left_open(&self) -> bool {
        self.fleet.is_stopped() || self.fleet.progress().connected == 0
    }

    fn close_all(&mut self) -> Result<()> {
        if self.is_left_open() {
            return Ok(());
        }
        let phase = self.fleet.close_all(&mut |progress| self.bar.tick(progress))?;
        self.report.add_close(&phase);
        Ok(())
    }
}
