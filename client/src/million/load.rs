//! The phases of the load on one server.

use super::Task;
use super::forecast::Forecast;
use super::record::{Echoes, Run};
use super::room::{self, Room};
use crate::fleet::{EchoPhase, Failures, Fleet, FleetConfig, Progress};
use crate::measure::Sampler;
use crate::progress::{Bar, Goal, Look};
use crate::results::{Close, Hold, Latency};
use crate::subject::Server;
use crate::watch::{KernelMemory, Metrics, Reading, Watched};
use anyhow::{Context, Result};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// The time before the open loop that is not recorded.
const WARMUP: Duration = Duration::from_secs(1);
/// The timeout for an echo, without the time that a burst over all connections takes on the slowest machine.
const TIMEOUT_S: u64 = 10;
/// Echoes per second of the slowest machine.
const SLOWEST_PER_S: u64 = 10_000;

/// A fleet and the server that it loads.
pub struct Load<'a> {
    pub(super) task: &'a Task,
    pub(super) forecast: &'a Forecast,
    pub(super) server: &'a Server,
    pub(super) watched: Watched,
    pub(super) own: Watched,
    pub(super) fleet: Fleet,
    pub(super) bar: Bar,
    pub(super) before: Before,
    pub(super) run: &'a mut Run,
}

/// Memory before the first connection.
pub(super) struct Before {
    pub(super) process: Reading,
    pub(super) kernel: Option<KernelMemory>,
    pub(super) room: Option<Room>,
}

impl<'a> Load<'a> {
    /// Starts the fleet, and reads memory before its first connection.
    ///
    /// # Errors
    /// Where the fleet cannot be started, or the server cannot be read.
    pub fn start(
        task: &'a Task,
        forecast: &'a Forecast,
        server: &'a Server,
        run: &'a mut Run,
    ) -> Result<Self> {
        let mut config = FleetConfig::new(server.endpoint.clone(), forecast.goal);
        // The last echo of a burst over all connections arrives late, which is no failure.
        config.message_timeout = Duration::from_secs(TIMEOUT_S + forecast.goal / SLOWEST_PER_S);
        config.payload_len = task.settings.payload_bytes as usize;
        config.stop = task.stop;
        config.pin = true;
        let fleet = Fleet::start(config)?;
        run.client_shards = fleet.shards() as u64;
        let watched = server.watched();
        // What the server allocates for the first scrape must not count as memory of connections.
        Metrics::fetch(server.admin.context("a stage has an admin address")?)?;
        let before = Before {
            process: watched.read()?,
            kernel: KernelMemory::read(Path::new("/proc")),
            room: Room::now(),
        };
        run.memory.server_start_bytes = before.process.rss_bytes;
        let bar = Bar::new(Look::new(task.quiet), run.package.clone(), Sampler::Process(watched.clone()))
            .with_memory_left(room::available_bytes);
        let own = Watched::new(std::process::id());
        Ok(Self { task, forecast, server, watched, own, fleet, bar, before, run })
    }

    /// Runs all phases, until one leaves no connection.
    ///
    /// # Errors
    /// Where the server or a shard of the fleet has died.
    pub fn all(&mut self) -> Result<()> {
        let result = self.phases();
        self.bar.finish();
        self.count_failures();
        result
    }

    fn phases(&mut self) -> Result<()> {
        self.grow()?;
        for phase in [Self::hold, Self::each, Self::open_loop, Self::burst] {
            if self.is_over() {
                break;
            }
            phase(self)?;
            self.read_client()?;
        }
        if !self.is_over() {
            self.run.counts.messages = Some(self.count_messages()?);
        }
        self.close()
    }

    /// Whether no connection is left, or Ctrl-C was pressed.
    pub(super) fn is_over(&self) -> bool {
        self.task.stop.load(Relaxed) || self.fleet.progress().connected == 0
    }

    fn hold(&mut self) -> Result<()> {
        let time = self.task.hold;
        self.bar.begin("holding", Goal::Time(time.max(Duration::from_millis(1))));
        let phase = self.fleet.hold(time, &mut |progress| self.bar.tick(progress))?;
        self.keep_first(&phase.failures);
        let (held, lost, pings) = (phase.held, phase.lost, phase.pings);
        self.run.hold = Some(Hold { elapsed_s: phase.elapsed.as_secs_f64(), held, lost, pings });
        self.run.memory.server_held_bytes = Some(self.watched.read()?.rss_bytes);
        if !self.is_over() {
            self.run.counts.connections = Some(self.count_connections()?);
        }
        Ok(())
    }

    fn each(&mut self) -> Result<()> {
        self.bar.begin("one each", Goal::Echoes(self.fleet.progress().connected));
        let phase = self.fleet.echo_once(&mut |progress| self.bar.tick(progress))?;
        self.run.each = Some(self.echoes(&phase));
        self.run.memory.server_echoed_bytes = Some(self.watched.read()?.rss_bytes);
        Ok(())
    }

    fn open_loop(&mut self) -> Result<()> {
        let (rate, time) = (self.task.settings.rate_per_s, self.task.duration);
        self.bar.begin_measured("open loop", WARMUP, time);
        let phase = self
            .fleet
            .open_loop(u64::MAX, rate, WARMUP, time, &mut |progress: &Progress| self.bar.tick(progress))?;
        self.run.open_loop = Some(Echoes { rate_per_s: Some(rate), ..self.echoes(&phase) });
        Ok(())
    }

    fn burst(&mut self) -> Result<()> {
        let open = self.fleet.progress().connected;
        if Room::now().is_some_and(|room| !room.fits_burst(open)) {
            self.run.notes.push("no burst: too little memory for a message on every connection".into());
            return Ok(());
        }
        self.bar.begin("burst", Goal::Echoes(open));
        let phase = self.fleet.burst(&mut |progress| self.bar.tick(progress))?;
        self.run.burst = Some(self.echoes(&phase));
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        if self.is_over() {
            // A stopped fleet resets its connections when it is dropped.
            return Ok(());
        }
        self.bar.begin("closing", Goal::Close);
        let phase = self.fleet.close_all(&mut |progress| self.bar.tick(progress))?;
        self.keep_first(&phase.failures);
        let (closed, forced) = (phase.closed, phase.forced);
        self.run.close = Some(Close { closed, forced, elapsed_s: phase.elapsed.as_secs_f64() });
        self.read_client().map(drop)
    }

    fn echoes(&mut self, phase: &EchoPhase) -> Echoes {
        self.keep_first(&phase.failures);
        Echoes {
            connections: phase.active,
            rate_per_s: None,
            sent: phase.sent,
            echoes: phase.echoes,
            elapsed_s: phase.elapsed.as_secs_f64(),
            echoes_per_s: phase.echoes_per_s,
            late: phase.late,
            missing: phase.missing,
            latency: Latency(phase.latency.clone()),
        }
    }

    /// Reads the client's own memory, notes its peak, and returns the bytes.
    pub(super) fn read_client(&mut self) -> Result<u64> {
        let bytes = self.own.read()?.rss_bytes;
        let memory = &mut self.run.memory;
        memory.client_peak_bytes = memory.client_peak_bytes.max(bytes);
        let growth = memory.client_peak_bytes as f64 - memory.client_start_bytes as f64;
        memory.client_bytes_per_connection = (self.run.held > 0).then(|| growth / self.run.held as f64);
        Ok(bytes)
    }

    /// Keeps the words of the first failure; the counts are read at the end.
    pub(super) fn keep_first(&mut self, failures: &Failures) {
        let first = &mut self.run.failures.first;
        if first.is_none() {
            first.clone_from(&failures.first);
        }
    }

    /// Counts failures of all phases, and of the time between them.
    fn count_failures(&mut self) {
        self.run.failures =
            Failures { first: self.run.failures.first.take(), ..self.fleet.progress().failures };
    }
}
