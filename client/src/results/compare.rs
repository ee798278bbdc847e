//! `results.json`, which `client compare` writes. The rest of the report is computed from it.
//!
//! Fields are added, never renamed or given another meaning, within one [`SCHEMA`].

pub use super::Machine;
use super::Origin;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the layout.
pub const SCHEMA: u32 = 1;

/// All of one comparison.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// With [`SCHEMA`] when it was written.
    #[serde(flatten)]
    pub origin: Origin,
    /// How long the comparison took, without the build.
    pub elapsed_s: f64,
    /// Where it ran.
    pub machine: Machine,
    /// The load on every server.
    pub settings: Settings,
    /// The servers, in the order of each round.
    pub targets: Vec<Target>,
    /// One entry per server and round, in order of time.
    pub visits: Vec<Visit>,
    /// Failures, one line each; empty for a complete comparison.
    pub failures: Vec<String>,
}

/// The load on every server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Settings {
    /// Rounds; each visits every server once.
    pub rounds: u32,
    /// Whether this was `--quick`.
    pub quick: bool,
    /// Numbers of connections to measure memory at, ascending.
    pub levels: Vec<u64>,
    /// Connections that are opened, echo and are closed before anything is measured.
    pub warm_connections: u64,
    /// Connections open while throughput and latency are measured.
    pub load_connections: u64,
    /// How many of them send.
    pub active: u64,
    /// Payload per message.
    pub payload_bytes: u64,
    /// Length of the closed loop.
    pub closed_loop_s: f64,
    /// Length of the open loop.
    pub open_loop_s: f64,
    /// Messages per second in the open loop, the same for all; `None` before the rehearsal.
    pub open_rate: Option<f64>,
    /// Further closed loops, of the same length.
    #[serde(default)]
    pub workloads: Vec<Workload>,
}

impl Settings {
    /// Whether the default workload was measured, in addition to [`Settings::workloads`].
    pub fn has_small(&self) -> bool {
        !self.levels.is_empty()
    }
}

/// A closed loop over connections that are all active.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Workload {
    /// Its name, as `--workload` takes it.
    pub name: String,
    /// Connections, all of them active.
    pub connections: u64,
    /// Messages in flight per connection.
    pub in_flight: u64,
    /// Payload per message.
    pub payload_bytes: u64,
}

/// A server under test.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    /// Its package, or the name given with `--target`.
    pub name: String,
    /// Its command line.
    pub command: String,
}

/// One server in one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Visit {
    /// [`Target::name`].
    pub target: String,
    /// From 1.
    pub round: u32,
    /// The process when warm and without connections; memory is counted from here.
    pub warm: Process,
    /// The numbers of connections at which it was measured, ascending.
    pub levels: Vec<Level>,
    /// The most connections open at once.
    pub held: u64,
    /// What stopped it before the highest level; `None` where it held that.
    pub stopped: Option<String>,
    /// Connections that the server rejected, by the reason in its metrics.
    pub rejected: BTreeMap<String, u64>,
    /// The process after the last connection was closed.
    pub after_close: Option<Process>,
    /// The closed loop: each active connection sends again when it has its echo.
    pub closed_loop: Option<ClosedLoop>,
    /// The open loop: messages are due at a fixed rate, however fast the server is.
    pub open_loop: Option<OpenLoop>,
    /// Further closed loops by [`Workload::name`], without those that failed.
    #[serde(default)]
    pub workloads: BTreeMap<String, ClosedLoop>,
    /// The share of all processors' time, from 0 to 1, that other programs took during the loops.
    pub others_cpu_share: Option<f64>,
    /// How the process exited on SIGTERM, such as `exit 0`; `None` for a server that is not a stage.
    pub exit: Option<String>,
}

/// A server process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Resident memory (`Rss` in smaps_rollup).
    pub rss_bytes: u64,
    /// OS threads.
    pub threads: u64,
}

/// A server at one number of connections.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Level {
    /// Connections asked for.
    pub asked: u64,
    /// Connections open.
    pub open: u64,
    /// Connections per second from the level before; `None` where there were too few to measure a rate.
    pub connects_per_s: Option<f64>,
    /// Resident memory above the warm process, before a new connection has sent a message.
    pub idle_bytes: i64,
    /// The same after an echo per connection; `None` where echoes are missing.
    pub echoed_bytes: Option<i64>,
    /// Growth of kernel memory for the server's end since the warm process; see `kernel_source`.
    pub kernel_bytes: Option<i64>,
    /// The source of `kernel_bytes`: `slabinfo`, or `meminfo` without root.
    pub kernel_source: Option<String>,
    /// OS threads of the server.
    pub threads: u64,
    /// Connections that failed, by class.
    pub failures: BTreeMap<String, u64>,
}

/// Throughput, and what it cost.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ClosedLoop {
    /// Echoes equal to what was sent.
    pub echoes: u64,
    /// Echoes per second.
    pub echoes_per_s: f64,
    /// Round-trip times.
    pub latency: Latency,
    /// The server's processor time, in user space and in the kernel.
    pub cpu_us_per_echo: Option<f64>,
    /// The part in user space; `None` where the run was too short (the kernel samples it).
    pub user_cpu_us_per_echo: Option<f64>,
    /// The server's instructions in user space.
    pub user_instructions_per_echo: Option<f64>,
    /// Why instructions were not counted.
    pub instructions_note: Option<String>,
}

/// Latency at a rate that does not depend on the server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct OpenLoop {
    /// Messages per second that were due.
    pub rate: f64,
    /// Echoes per second.
    pub echoes_per_s: f64,
    /// Messages sent more than 1 ms after they were due; their latency counts from the time due.
    pub late: u64,
    /// From the time a message was due to its echo.
    pub latency: Latency,
    /// Failures by class.
    pub failures: BTreeMap<String, u64>,
}

/// A distribution of latencies.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Values recorded.
    pub samples: u64,
    /// Percentiles and their values in microseconds, ascending: all of [`PERCENTILES`], or none.
    pub percentiles_us: Vec<(f64, f64)>,
}

/// The percentiles that are kept.
pub const PERCENTILES: [f64; 14] =
    [0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.8, 99.9, 99.99, 100.0];

impl Latency {
    /// The value at one of [`PERCENTILES`]; `None` where nothing was recorded.
    pub fn at(&self, percentile: f64) -> Option<f64> {
        self.percentiles_us.iter().find(|(at, _)| *at == percentile).map(|&(_, value)| value)
    }
}

impl Level {
    /// Whether all connections asked for were open.
    pub fn is_full(&self) -> bool {
        self.open >= self.asked
    }

    /// `bytes` per open connection.
    pub fn per_connection(&self, bytes: i64) -> f64 {
        bytes as f64 / self.open.max(1) as f64
    }
}

impl Results {
    /// The visits to a server, in the order of their rounds.
    pub fn visits_to<'a>(&'a self, target: &'a str) -> impl Iterator<Item = &'a Visit> {
        self.visits.iter().filter(move |visit| visit.target == target)
    }

    /// These results with this workload as the closed loop, so that the report can show each workload in the same way.
    pub fn in_workload(&self, name: &str) -> Results {
        let mut results = self.clone();
        for visit in &mut results.visits {
            visit.closed_loop = visit.workloads.remove(name);
        }
        results
    }

    /// The highest number of connections that every server held in some round, at which servers are compared.
    pub fn common_level(&self) -> Option<u64> {
        let visited: Vec<_> =
            self.targets.iter().filter(|target| self.visits_to(&target.name).next().is_some()).collect();
        let all_held = |asked: u64| visited.iter().all(|target| self.was_held(&target.name, asked));
        self.settings.levels.iter().rev().copied().find(|&asked| !visited.is_empty() && all_held(asked))
    }

    /// Rounds with figures: fewer than asked for in an incomplete comparison.
    pub fn rounds_seen(&self) -> u32 {
        self.visits.iter().map(|visit| visit.round).max().unwrap_or(0)
    }

    fn was_held(&self, target: &str, asked: u64) -> bool {
        self.visits_to(target).any(|visit| visit.full_level(asked).is_some())
    }
}

impl Visit {
    /// The measurements at a number of connections, if all of them were open.
    pub fn full_level(&self, asked: u64) -> Option<&Level> {
        self.levels.iter().find(|level| level.asked == asked && level.is_full())
    }
}
