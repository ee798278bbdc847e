//! `results.json`: what `client compare` measured. The rest of the report is computed from it.
//!
//! Within one [`SCHEMA`], fields are only added: none is renamed, removed or redefined.

pub use super::Machine;
use super::Origin;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the file's layout.
pub const SCHEMA: u32 = 1;

/// One comparison.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// With the [`SCHEMA`] of the writer.
    #[serde(flatten)]
    pub origin: Origin,
    /// Duration without the build.
    pub elapsed_s: f64,
    /// The machine that ran client and servers.
    pub machine: Machine,
    /// The load, the same for every server.
    pub settings: Settings,
    /// The servers, in the order of each round.
    pub targets: Vec<Target>,
    /// One entry per server and round, in chronological order.
    pub visits: Vec<Visit>,
    /// Failures, one line each; empty for a complete comparison.
    pub failures: Vec<String>,
}

/// The load, the same for every server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Settings {
    /// Number of rounds; each visits every server once.
    pub rounds: u32,
    /// Whether `--quick` was given.
    pub quick: bool,
    /// Connection counts to measure at, ascending; empty without the default workload.
    pub levels: Vec<u64>,
    /// Connections that are opened, echo once and are closed before the first measurement.
    pub warm_connections: u64,
    /// Connections open while throughput and latency are measured.
    pub load_connections: u64,
    /// How many of these send messages.
    pub active: u64,
    /// Payload of each message.
    pub payload_bytes: u64,
    /// Duration of the closed loop.
    pub closed_loop_s: f64,
    /// Duration of the open loop.
    pub open_loop_s: f64,
    /// Messages per second in the open loop; `None` if no rate had been determined.
    pub open_rate: Option<f64>,
    /// Additional closed loops of the same duration.
    #[serde(default)]
    pub workloads: Vec<Workload>,
}

impl Settings {
    /// Whether the default workload (many connections, small messages) was measured.
    pub fn has_small(&self) -> bool {
        !self.levels.is_empty()
    }
}

/// A closed loop in which all connections are active.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Workload {
    /// Unique; the key in [`Visit::workloads`].
    pub name: String,
    /// Number of connections.
    pub connections: u64,
    /// Messages in flight per connection.
    pub in_flight: u64,
    /// Payload of each message.
    pub payload_bytes: u64,
}

/// A server under test.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    /// The stage's package, or the name given with `--target`.
    pub name: String,
    /// The command that starts it.
    pub command: String,
}

/// One server in one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Visit {
    /// [`Target::name`].
    pub target: String,
    /// Counted from 1.
    pub round: u32,
    /// The process once warmed up and without connections: the baseline of its memory figures.
    pub warm: Process,
    /// Measurements by number of connections, ascending.
    pub levels: Vec<Level>,
    /// The most connections open at the same time.
    pub held: u64,
    /// The limit that kept the server below the highest level; `None` if it reached it.
    pub stopped: Option<String>,
    /// Connections that the server rejected, by the `reason` label of its metrics.
    pub rejected: BTreeMap<String, u64>,
    /// The process after the last of these connections was closed.
    pub after_close: Option<Process>,
    /// Each active connection sends its next message when the echo of the last one has arrived.
    pub closed_loop: Option<ClosedLoop>,
    /// Messages at a fixed rate, independent of the server's answers.
    pub open_loop: Option<OpenLoop>,
    /// Completed workloads by [`Workload::name`].
    #[serde(default)]
    pub workloads: BTreeMap<String, ClosedLoop>,
    /// Share of CPU time (0 to 1) that other processes used during the loops.
    pub others_cpu_share: Option<f64>,
    /// How the process ended on SIGTERM, such as `exit 0`; `None` for servers other than the stages.
    pub exit: Option<String>,
}

/// A sample of a server process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Resident memory (`Rss` in smaps_rollup).
    pub rss_bytes: u64,
    /// OS threads.
    pub threads: u64,
}

/// Measurements at one number of connections.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Level {
    /// Connections asked for.
    pub asked: u64,
    /// Connections open.
    pub open: u64,
    /// Connections opened per second since the previous level; `None` if that took too little time to measure.
    pub connects_per_s: Option<f64>,
    /// Resident memory above [`Visit::warm`], before any of the new connections has sent a message.
    pub idle_bytes: i64,
    /// The same after one echo on every connection; `None` if an echo was missing.
    pub echoed_bytes: Option<i64>,
    /// Kernel memory of the server's end above the baseline; see `kernel_source`.
    pub kernel_bytes: Option<i64>,
    /// Source of `kernel_bytes`: `slabinfo` or, without root privileges, `meminfo`.
    pub kernel_source: Option<String>,
    /// OS threads of the server.
    pub threads: u64,
    /// Connections that failed, by class.
    pub failures: BTreeMap<String, u64>,
}

/// Throughput and CPU cost.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ClosedLoop {
    /// Echoes that matched their message.
    pub echoes: u64,
    /// The same per second.
    pub echoes_per_s: f64,
    /// Round-trip times.
    pub latency: Latency,
    /// CPU time of the server process, user space and kernel.
    pub cpu_us_per_echo: Option<f64>,
    /// The part in user space; `None` if the run was too short (the kernel splits the time by sampling).
    pub user_cpu_us_per_echo: Option<f64>,
    /// Instructions of the server process in user space (`perf stat`).
    pub user_instructions_per_echo: Option<f64>,
    /// Why `user_instructions_per_echo` is missing.
    pub instructions_note: Option<String>,
}

/// Latency at a fixed message rate.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct OpenLoop {
    /// Messages due per second.
    pub rate: f64,
    /// Echoes received per second.
    pub echoes_per_s: f64,
    /// Messages sent after they were due; their latency counts from the due time.
    pub late: u64,
    /// Time from the moment a message was due until its echo.
    pub latency: Latency,
    /// Failures by class.
    pub failures: BTreeMap<String, u64>,
}

/// A distribution of latencies.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Values recorded.
    pub samples: u64,
    /// Percentile (0 to 100) and its value in microseconds, ascending; includes all of [`PERCENTILES`].
    pub percentiles_us: Vec<(f64, f64)>,
}

/// The percentiles that a [`Latency`] keeps.
pub const PERCENTILES: [f64; 14] =
    [0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.8, 99.9, 99.99, 100.0];

impl Latency {
    /// Microseconds at one of [`PERCENTILES`]; `None` without samples.
    pub fn at(&self, percentile: f64) -> Option<f64> {
        self.percentiles_us.iter().find(|(at, _)| *at == percentile).map(|&(_, value)| value)
    }
}

impl Level {
    /// Whether all `asked` connections were open.
    pub fn is_full(&self) -> bool {
        self.open >= self.asked
    }

    /// `bytes` divided by the open connections.
    pub fn per_connection(&self, bytes: i64) -> f64 {
        bytes as f64 / self.open.max(1) as f64
    }
}

impl Results {
    /// The visits to a server, in the order of the rounds.
    pub fn visits_to<'a>(&'a self, target: &'a str) -> impl Iterator<Item = &'a Visit> {
        self.visits.iter().filter(move |visit| visit.target == target)
    }

    /// A copy with this workload in place of the closed loop, so that every metric of the one applies to the other.
    pub fn in_workload(&self, name: &str) -> Results {
        let mut results = self.clone();
        for visit in &mut results.visits {
            visit.closed_loop = visit.workloads.remove(name);
        }
        results
    }

    /// The level at which servers are compared: the highest that each of them held in at least one round.
    pub fn common_level(&self) -> Option<u64> {
        let visited: Vec<_> =
            self.targets.iter().filter(|target| self.visits_to(&target.name).next().is_some()).collect();
        let all_held = |asked: u64| visited.iter().all(|target| self.was_held(&target.name, asked));
        self.settings.levels.iter().rev().copied().find(|&asked| !visited.is_empty() && all_held(asked))
    }

    /// Rounds with measurements: fewer than requested if the comparison was aborted.
    pub fn rounds_seen(&self) -> u32 {
        self.visits.iter().map(|visit| visit.round).max().unwrap_or(0)
    }

    fn was_held(&self, target: &str, asked: u64) -> bool {
        self.visits_to(target).any(|visit| visit.full_level(asked).is_some())
    }
}

impl Visit {
    /// The measurements at a number of connections; `None` if not all of them were open.
    pub fn full_level(&self, asked: u64) -> Option<&Level> {
        self.levels.iter().find(|level| level.asked == asked && level.is_full())
    }
}
