//! `results.json`: what `client compare` measured. All else in the report is computed from it.
//!
//! Fields are added, never renamed or given another meaning, within one [`SCHEMA`].

pub use super::Machine;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the layout.
pub const SCHEMA: u32 = 1;

/// All of one comparison.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// [`SCHEMA`] when it was written.
    pub schema: u32,
    /// When it began, RFC 3339 in UTC.
    pub date: String,
    /// The commit that was built, with `-dirty` where files had changed; `None` outside a repository.
    pub commit: Option<String>,
    /// The command line that repeats it.
    pub command: String,
    /// How long all of it took, without the build.
    pub elapsed_s: f64,
    /// Where it ran.
    pub machine: Machine,
    /// What was asked of every server.
    pub settings: Settings,
    /// The servers, in the order in which each round visits them.
    pub targets: Vec<Target>,
    /// One entry per server and round, in the order of time.
    pub visits: Vec<Visit>,
    /// What went wrong, one line each; empty for a complete comparison.
    pub failures: Vec<String>,
}

/// What was asked of every server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Settings {
    /// Rounds; each visits every server once.
    pub rounds: u32,
    /// Whether this was `--quick`.
    pub quick: bool,
    /// Numbers of connections to stop and measure at.
    pub levels: Vec<u64>,
    /// Connections that come, echo and go before anything is measured.
    pub warm_connections: u64,
    /// Connections open while throughput and latency are measured.
    pub load_connections: u64,
    /// How many of them send.
    pub active: u64,
    /// Bytes in a message.
    pub payload_bytes: u64,
    /// Length of the closed loop.
    pub closed_loop_s: f64,
    /// Length of the open loop.
    pub open_loop_s: f64,
    /// Messages per second in the open loop, the same for all; `None` before it is known.
    pub open_rate: Option<f64>,
    /// Closed loops beside that, of the same length.
    #[serde(default)]
    pub workloads: Vec<Workload>,
}

impl Settings {
    /// Whether there was more to measure than [`Settings::workloads`].
    pub fn has_small(&self) -> bool {
        !self.levels.is_empty()
    }
}

/// A closed loop over connections that are all active.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Workload {
    /// What it is called.
    pub name: String,
    /// How many there are.
    pub connections: u64,
    /// Messages in flight on each.
    pub in_flight: u64,
    /// Bytes in a message.
    pub payload_bytes: u64,
}

/// A server under test.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    /// Its package, or the name given with `--target`.
    pub name: String,
    /// How it is started.
    pub command: String,
}

/// One server in one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Visit {
    /// [`Target::name`].
    pub target: String,
    /// From 1.
    pub round: u32,
    /// The process when warm and empty; memory is counted from here.
    pub warm: Process,
    /// The numbers of connections at which it was measured, ascending.
    pub levels: Vec<Level>,
    /// The most connections open at once.
    pub held: u64,
    /// What kept it from the highest level; `None` where it got there.
    pub stopped: Option<String>,
    /// Connections that the server refused, by the reason that it counts them under.
    pub rejected: BTreeMap<String, u64>,
    /// The process after the last of those connections had gone.
    pub after_close: Option<Process>,
    /// As fast as it goes: each active connection sends again when its echo has come.
    pub closed_loop: Option<ClosedLoop>,
    /// At a fixed rate, whatever the server does.
    pub open_loop: Option<OpenLoop>,
    /// By [`Workload::name`], those that went well.
    #[serde(default)]
    pub workloads: BTreeMap<String, ClosedLoop>,
    /// How much of the processors' time, from 0 to 1, went to neither server nor client during all loops.
    pub others_cpu_share: Option<f64>,
    /// How the process ended on SIGTERM, such as `exit 0`; `None` for servers that are none of ours.
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
    /// Connections per second on the way here from the level before; `None` where that took too short to tell.
    pub connects_per_s: Option<f64>,
    /// Resident memory above the warm, empty process, before any of the new connections has sent a message.
    pub idle_bytes: i64,
    /// The same after every connection has echoed once; `None` where not all did.
    pub echoed_bytes: Option<i64>,
    /// The kernel's memory for the server's end, above that of the warm, empty process; see `kernel_source`.
    pub kernel_bytes: Option<i64>,
    /// Where `kernel_bytes` was read: `slabinfo` or, without the privilege, `meminfo`.
    pub kernel_source: Option<String>,
    /// OS threads of the server.
    pub threads: u64,
    /// Connections that failed, by class.
    pub failures: BTreeMap<String, u64>,
}

/// Throughput, and what it cost.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ClosedLoop {
    /// Echoes that came back right.
    pub echoes: u64,
    /// The same a second.
    pub echoes_per_s: f64,
    /// Round-trip times.
    pub latency: Latency,
    /// The server's processor time, user space and kernel.
    pub cpu_us_per_echo: Option<f64>,
    /// What of it was in user space; `None` where the run was too short to tell (the kernel samples the two).
    pub user_cpu_us_per_echo: Option<f64>,
    /// The server's instructions in user space.
    pub user_instructions_per_echo: Option<f64>,
    /// Why there are no instructions, where there are none.
    pub instructions_note: Option<String>,
}

/// Latency under a load that does not wait for the server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct OpenLoop {
    /// Messages per second that were due.
    pub rate: f64,
    /// Echoes per second that came.
    pub echoes_per_s: f64,
    /// Messages that left later than they were due; their latency counts from when they were.
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
    /// Percentile in percent and its value in microseconds, ascending; always with those of [`PERCENTILES`].
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

    /// Bytes for each open connection.
    pub fn per_connection(&self, bytes: i64) -> f64 {
        bytes as f64 / self.open.max(1) as f64
    }
}

impl Results {
    /// The visits to a server, in the order of their rounds.
    pub fn visits_to<'a>(&'a self, target: &'a str) -> impl Iterator<Item = &'a Visit> {
        self.visits.iter().filter(move |visit| visit.target == target)
    }

    /// The same results as if this workload were the closed loop: what the report says of that it can say of each workload.
    pub fn in_workload(&self, name: &str) -> Results {
        let mut results = self.clone();
        for visit in &mut results.visits {
            visit.closed_loop = visit.workloads.remove(name);
        }
        results
    }

    /// The highest number of connections that every server held in some round: what they are compared at.
    pub fn common_level(&self) -> Option<u64> {
        let visited: Vec<_> =
            self.targets.iter().filter(|target| self.visits_to(&target.name).next().is_some()).collect();
        let all_held = |asked: u64| visited.iter().all(|target| self.was_held(&target.name, asked));
        self.settings.levels.iter().rev().copied().find(|&asked| !visited.is_empty() && all_held(asked))
    }

    /// The rounds of which there are figures: fewer than were asked for where it broke off.
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
