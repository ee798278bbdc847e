//! What a server counts, and how Prometheus reads it.
//!
//! Each shard counts for itself, on cache lines of its own; a scrape adds the shards up.

use crate::budget::Budget;
use crate::families::{self, MetricFamily};
use crate::kernel::KernelShare;
use crate::latency::{self, Echoing};
use crate::log;
use crate::memory::Memory;
use crate::readiness::{Pressure, Readiness};
use crate::shutdown::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Why a WebSocket connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The peer sent a Close frame.
    Normal,
    /// The peer closed TCP without one.
    Eof,
    /// TCP failed.
    Reset,
    /// The peer broke the protocol, or a limit.
    Protocol,
    /// Nothing came for `--idle-timeout`.
    Idle,
    /// It needed more than was left of `--buffer-budget`.
    Overload,
    /// The server drained.
    Shutdown,
}

const CLOSED: [(Closed, &str); 7] = [
    (Closed::Normal, "normal"),
    (Closed::Eof, "eof"),
    (Closed::Reset, "reset"),
    (Closed::Protocol, "protocol"),
    (Closed::Idle, "idle"),
    (Closed::Overload, "overload"),
    (Closed::Shutdown, "shutdown"),
];

/// Why a connection was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// As many as `--max-connections` are open.
    Full,
    /// The shard's descriptor table, or the system's, is full.
    Descriptors,
    /// The kernel has no memory for a socket.
    Memory,
    /// No thread can be had for it.
    Threads,
    /// The request did not arrive within `--handshake-timeout`.
    HandshakeTimeout,
    /// The request is malformed, or no WebSocket handshake.
    BadHandshake,
    /// The page that connects is not of an `--allow-origin`.
    Origin,
    /// The peer closed it, or the system forbade it, before accept(2) returned it.
    Aborted,
}

const REJECTED: [(Rejected, &str); 8] = [
    (Rejected::Full, "full"),
    (Rejected::Descriptors, "descriptors"),
    (Rejected::Memory, "memory"),
    (Rejected::Threads, "threads"),
    (Rejected::HandshakeTimeout, "handshake_timeout"),
    (Rejected::BadHandshake, "bad_handshake"),
    (Rejected::Origin, "origin"),
    (Rejected::Aborted, "aborted"),
];

/// Upper bounds of the handshake histogram's buckets, in seconds.
const HANDSHAKE_BUCKETS_SECONDS: [f64; 12] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0];

/// The counters of one shard. Two cache lines, since processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ShardMetrics {
    pub(crate) accepted: AtomicU64,
    pub(crate) closed: [AtomicU64; CLOSED.len()],
    pub(crate) rejected: [AtomicU64; REJECTED.len()],
    messages_received: AtomicU64,
    pub(crate) messages_sent: AtomicU64,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    handshakes: [AtomicU64; HANDSHAKE_BUCKETS_SECONDS.len() + 1],
    handshakes_ns: AtomicU64,
    /// Threads, tasks or loops that serve now.
    pub tasks: AtomicU64,
    /// The shard's thread, for what /proc knows by thread.
    pub(crate) thread_id: AtomicU32,
}

impl ShardMetrics {
    /// A WebSocket connection was opened, `took` after accept(2) returned it.
    pub fn opened(&self, took: Duration) {
        self.accepted.fetch_add(1, Relaxed);
        let seconds = took.as_secs_f64();
        let bucket = HANDSHAKE_BUCKETS_SECONDS.iter().position(|&bound| seconds <= bound);
        self.handshakes[bucket.unwrap_or(HANDSHAKE_BUCKETS_SECONDS.len())].fetch_add(1, Relaxed);
        self.handshakes_ns.fetch_add(took.as_nanos() as u64, Relaxed);
    }

    pub(crate) fn closed(&self, reason: Closed) {
        self.closed[reason as usize].fetch_add(1, Relaxed);
    }

    /// A connection was not let in.
    pub fn rejected(&self, reason: Rejected) {
        self.rejected[reason as usize].fetch_add(1, Relaxed);
    }

    /// Counts complete data messages with `bytes` of payload in total; returns the count before them.
    #[inline]
    pub fn received(&self, messages: u64, bytes: usize) -> u64 {
        self.received_bytes.fetch_add(bytes as u64, Relaxed);
        self.messages_received.fetch_add(messages, Relaxed)
    }

    /// Data messages were handed to the kernel, or queued for it.
    #[inline]
    pub fn sent(&self, messages: u64, bytes: usize) {
        self.messages_sent.fetch_add(messages, Relaxed);
        self.sent_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Data messages arrived whole, and go back as they came.
    #[inline]
    pub fn echoed(&self, messages: u64, bytes: usize) -> Echoing {
        let before = self.received(messages, bytes);
        self.sent(messages, bytes);
        #[cfg(feature = "slow-handler")]
        if before / 1_000 != (before + messages) / 1_000 {
            std::thread::sleep(Duration::from_millis(10));
        }
        Echoing::begin(messages, before)
    }

    /// WebSocket connections open now.
    pub fn active(&self) -> u64 {
        // A connection is counted as closed after it was counted as accepted: read the other way round.
        let closed: u64 = self.closed.iter().map(|count| count.load(Relaxed)).sum();
        self.accepted.load(Relaxed).saturating_sub(closed)
    }
}

/// What all shards have counted.
#[derive(Default)]
pub(crate) struct Totals {
    pub accepted: u64,
    pub closed: u64,
    pub rejected: u64,
    pub messages: u64,
}

impl Totals {
    /// All that memory is freed after.
    pub fn happened(&self) -> u64 {
        self.closed + self.rejected + self.messages
    }
}

/// The metrics of a whole server.
pub struct Metrics {
    pub(crate) stage: &'static str,
    /// WebSocket connections that the server lets in.
    pub(crate) limit: usize,
    /// WebSocket connections that a shard's descriptor table holds, less a reserve.
    pub(crate) shard_capacity: usize,
    pub(crate) pressure: Pressure,
    /// WebSocket connections open or being opened, for the gate.
    pub(crate) admitted: AtomicUsize,
    pub(crate) budget: Arc<Budget>,
    pub(crate) kernel: KernelShare,
    pub(crate) shards: Vec<ShardMetrics>,
}

impl Metrics {
    fn sum(&self, value: impl Fn(&ShardMetrics) -> u64) -> f64 {
        self.shards.iter().map(value).sum::<u64>() as f64
    }

    /// WebSocket connections open now.
    pub(crate) fn active(&self) -> u64 {
        self.shards.iter().map(ShardMetrics::active).sum()
    }

    /// Added up over all shards, now.
    pub(crate) fn totals(&self) -> Totals {
        let all = |counts: &[AtomicU64]| counts.iter().map(|count| count.load(Relaxed)).sum::<u64>();
        let mut totals = Totals::default();
        for shard in &self.shards {
            // A connection is counted as closed after it was counted as accepted: read the other way round.
            totals.closed += all(&shard.closed);
            totals.accepted += shard.accepted.load(Relaxed);
            totals.rejected += all(&shard.rejected);
            totals.messages += shard.messages_sent.load(Relaxed);
        }
        totals
    }

    /// Whether to send this server new connections.
    pub(crate) fn readiness(&self, shutdown: &Shutdown) -> Readiness {
        if shutdown.begun() {
            return Readiness::Draining;
        }
        let of_shards = self.shards.iter().map(|shard| (shard.active(), self.shard_capacity));
        self.pressure.look(of_shards.chain([(self.active(), self.limit)]), Instant::now())
    }

    /// In Prometheus' text format.
    pub(crate) fn render(&self, shutdown: &Shutdown) -> Vec<u8> {
        let mut all = vec![self.build_info()];
        let is_ready = self.readiness(shutdown) == Readiness::Ready;
        let gauges: [(&str, &str, f64); 6] = [
            ("ws_ready", "Whether /ready answers 200", f64::from(is_ready)),
            ("ws_connections_active", "WebSocket connections open now", self.active() as f64),
            ("ws_connections_limit", "WebSocket connections let in at most", self.limit as f64),
            ("ws_buffered_bytes", "Of --buffer-budget, held now", self.budget.held() as f64),
            ("ws_buffer_budget_bytes", "--buffer-budget", self.budget.limit as f64),
            ("ws_tasks", "Threads, tasks or event loops that serve", self.sum(|s| s.tasks.load(Relaxed))),
        ];
        all.extend(gauges.map(|(name, help, value)| families::gauge(name, help, value)));
        type Read = fn(&ShardMetrics) -> &AtomicU64;
        let counters: [(&str, &str, Read); 5] = [
            ("ws_connections_accepted_total", "WebSocket connections opened", |s| &s.accepted),
            ("ws_messages_received_total", "Data messages received", |s| &s.messages_received),
            ("ws_messages_sent_total", "Data messages sent", |s| &s.messages_sent),
            ("ws_received_bytes_total", "Payload of data messages received", |s| &s.received_bytes),
            ("ws_sent_bytes_total", "Payload of data messages sent", |s| &s.sent_bytes),
        ];
        all.extend(counters.map(|(name, help, read)| {
            families::counter(name, help, self.sum(|shard| read(shard).load(Relaxed)))
        }));
        let (lost_name, lost_help) =
            ("ws_log_lines_lost_total", "Lines of the log that could not be written");
        all.push(families::counter(lost_name, lost_help, log::lines_lost() as f64));
        let closed = CLOSED
            .map(|(reason, name)| (name, self.sum(|shard| shard.closed[reason as usize].load(Relaxed))));
        let rejected = REJECTED
            .map(|(reason, name)| (name, self.sum(|shard| shard.rejected[reason as usize].load(Relaxed))));
        let (closed_name, rejected_name) = ("ws_connections_closed_total", "ws_connections_rejected_total");
        all.push(families::counters(closed_name, "WebSocket connections ended", "reason", closed));
        all.push(families::counters(rejected_name, "Connections not let in", "reason", rejected));
        all.extend([self.handshakes(), latency::family()]);
        all.extend(self.kernel_memory());
        all.extend(memory());
        all.extend(families::process(self.shards.iter().map(|shard| shard.thread_id.load(Relaxed))));
        families::text(&all)
    }

    fn build_info(&self) -> MetricFamily {
        let labels = [
            ("stage", self.stage),
            ("version", env!("CARGO_PKG_VERSION")),
            ("commit", option_env!("WS_COMMIT").unwrap_or("unknown")),
        ];
        families::gauge_with("ws_build_info", "What runs here", &labels, 1.0)
    }

    fn kernel_memory(&self) -> Option<MetricFamily> {
        let share = self.kernel.now(self.active())?;
        let help = "Kernel memory for this server, as far as its source can tell";
        let labels = [("source", share.source.name())];
        Some(families::gauge_with("ws_kernel_memory_bytes", help, &labels, share.bytes as f64))
    }

    fn handshakes(&self) -> MetricFamily {
        let count = |bucket: usize| self.sum(|shard| shard.handshakes[bucket].load(Relaxed)) as u64;
        let buckets = HANDSHAKE_BUCKETS_SECONDS.iter().enumerate().map(|(i, &bound)| (bound, count(i)));
        let beyond = count(HANDSHAKE_BUCKETS_SECONDS.len());
        let sum_s = self.sum(|shard| shard.handshakes_ns.load(Relaxed)) / 1e9;
        families::histogram("ws_handshake_seconds", "From accept to 101", buckets, beyond, sum_s)
    }
}

/// The memory that there is, and what is left of it, for everyone on the machine or in the control group.
fn memory() -> Vec<MetricFamily> {
    let gauge = |name, help, bytes: u64| families::gauge(name, help, bytes as f64);
    Memory::now().map_or(Vec::new(), |Memory { total, available }| {
        let (all, left) = ("Memory of the machine, or of the control group", "What is left of it");
        vec![gauge("ws_memory_total_bytes", all, total), gauge("ws_memory_available_bytes", left, available)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_at_the_index_of_their_reason() {
        assert!(CLOSED.iter().enumerate().all(|(i, (reason, _))| *reason as usize == i));
        assert!(REJECTED.iter().enumerate().all(|(i, (reason, _))| *reason as usize == i));
    }

    #[test]
    fn shards_add_up() {
        let metrics = Metrics {
            budget: Budget::new(None),
            kernel: KernelShare::at_start(),
            stage: "test",
            limit: 7,
            shard_capacity: 7,
            pressure: Pressure::new(Instant::now()),
            admitted: AtomicUsize::new(0),
            shards: vec![ShardMetrics::default(), ShardMetrics::default()],
        };
        metrics.shards[0].opened(Duration::from_millis(3));
        metrics.shards[1].opened(Duration::from_secs(60));
        metrics.shards[1].closed(Closed::Eof);
        metrics.shards[0].received(2, 64);
        metrics.shards[1].rejected(Rejected::Full);
        let text = String::from_utf8(metrics.render(&Shutdown::new().unwrap())).unwrap();
        for line in [
            "ws_connections_active 1",
            "ws_connections_accepted_total 2",
            "ws_connections_closed_total{reason=\"eof\"} 1",
            "ws_connections_rejected_total{reason=\"full\"} 1",
            "ws_connections_limit 7",
            "ws_ready 1",
            "ws_received_bytes_total 64",
            "ws_handshake_seconds_bucket{le=\"0.005\"} 1",
            "ws_handshake_seconds_bucket{le=\"10\"} 1",
            "ws_handshake_seconds_bucket{le=\"+Inf\"} 2",
            "ws_handshake_seconds_sum 60.003",
            "# TYPE process_resident_memory_bytes gauge",
        ] {
            assert!(text.lines().any(|there| there == line), "{line} is missing in\n{text}");
        }
    }
}
