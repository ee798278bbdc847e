//! A load on one server: a fleet, a scenario, and the report of what came of it.

mod connection;
mod fits;
mod handshake;
mod message;
mod phases;
mod proxy;
mod record;
mod source;
mod tls;
mod verdict;

pub use connection::ConnectionArgs;
pub use fits::fits;
pub use handshake::HandshakeArgs;
pub use message::MessageArgs;
pub use proxy::ProxyArgs;
pub use source::{Source, addresses as source_addresses};
pub use tls::TlsArgs;

use crate::fleet::{Fleet, FleetConfig, Ramp};
use crate::progress::Bar;
use crate::report::format::limit_bytes;
use crate::results::run::RunReport;
use anyhow::Result;
use clap::ValueEnum;
use std::time::{Duration, SystemTime};

/// The largest payload, which is the largest message that the servers take by default.
pub const MAX_PAYLOAD: bytesize::ByteSize = bytesize::ByteSize::mib(16);
/// The most messages in flight per connection.
pub const MAX_IN_FLIGHT: u64 = 1_024;
/// The most payload in flight per connection: all of it may have to be queued until the socket takes it.
const MAX_ROUND: bytesize::ByteSize = bytesize::ByteSize::mib(64);

/// Connections that churn replaces per second by default.
const CHURN_PER_S: f64 = 100.0;

/// What is done to a server.
#[derive(Clone, Debug)]
pub struct Load {
    /// The connections.
    pub fleet: FleetConfig,
    /// Connections to open per second; `None` as fast as the server accepts them.
    pub connect_rate: Option<f64>,
    /// The same, if it rises.
    pub connect_ramp: Option<Ramp>,
    /// What to do with them.
    pub scenario: Scenario,
    /// Connections that send messages; `None` for all.
    pub active: Option<u64>,
    /// Messages per second in open loop, or connections replaced per second in churn; `None` for a closed loop.
    pub rate: Option<f64>,
    /// Messages per second in open loop, if their rate rises. It takes the place of the warm-up and the duration.
    pub ramp: Option<Ramp>,
    /// How long to hold the connections idle before sending.
    pub hold: Duration,
    /// How long to send before measuring.
    pub warmup: Duration,
    /// How long to measure.
    pub duration: Duration,
    /// The server's process, where it is known.
    pub pid: Option<u32>,
}

/// What to do with the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Hold them idle for --duration
    Idle,
    /// Send messages for --duration
    Echo,
    /// Connect all at once, one message each, close all; again until --duration is over
    Storm,
    /// Every connection sends one message at once; again until --duration is over
    Burst,
    /// Close and reopen --rate connections per second for --duration
    Churn,
}

impl Load {
    /// Echoes in closed loop over all connections, after a second of warm-up.
    pub fn new(fleet: FleetConfig, duration: Duration) -> Load {
        Load {
            fleet,
            connect_rate: None,
            connect_ramp: None,
            scenario: Scenario::Echo,
            active: None,
            rate: None,
            ramp: None,
            hold: Duration::ZERO,
            warmup: Duration::from_secs(1),
            duration,
            pid: None,
        }
    }

    /// The report of a run by this fleet that begins now.
    pub fn report(&self, fleet: &Fleet) -> RunReport {
        record::blank(self, fleet, humantime::format_rfc3339_millis(SystemTime::now()))
    }

    /// Has the fleet do what the scenario says. What it has done before an error stays in `report`.
    ///
    /// # Errors
    /// Where a shard has died.
    pub fn run(&self, fleet: &mut Fleet, bar: &mut Bar, report: &mut RunReport) -> Result<()> {
        let done = phases::run(self, fleet, bar, report);
        report.set_addresses(fleet);
        report.set_unsolicited(fleet.unsolicited());
        done
    }

    /// Loads a server with a fleet of its own, and reports.
    ///
    /// # Errors
    /// Where the fleet cannot be started, or a shard has died.
    pub fn run_alone(&self, mut bar: Bar) -> Result<RunReport> {
        let mut fleet = Fleet::start(self.fleet.clone())?;
        let mut report = self.report(&fleet);
        self.run(&mut fleet, &mut bar, &mut report)?;
        report.conclude();
        Ok(report)
    }
}

/// Fails where more connections are to send than are to be opened.
///
/// # Errors
/// What is wrong, in one line.
pub fn check_active(active: Option<u64>, connections: u64) -> Result<(), String> {
    match active.filter(|&active| active > connections) {
        Some(active) => Err(format!("--active {active} is more than --connections {connections}")),
        None => Ok(()),
    }
}

/// Fails where `count` messages of `payload` bytes cannot be in flight per connection.
///
/// # Errors
/// What is wrong, in one line.
pub fn check_in_flight(count: u64, payload: usize, in_closed_loop: bool) -> Result<(), String> {
    let bytes = count * payload as u64;
    match count {
        2.. if !in_closed_loop => Err(format!(
            "--in-flight {count} is for the closed loop: omit it with --rate and scenarios other than echo"
        )),
        _ if bytes > MAX_ROUND.as_u64() => Err(format!(
            "--in-flight {count} of such a --payload is {} on each connection, which is more than {}",
            limit_bytes(bytes),
            limit_bytes(MAX_ROUND.as_u64())
        )),
        _ => Ok(()),
    }
}
