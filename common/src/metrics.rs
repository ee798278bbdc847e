//! What a server counts, and how Prometheus reads it.
//!
//! Each shard counts for itself, on cache lines of its own; a scrape adds the shards up.

use crate::budget::Budget;
use crate::kernel::KernelShare;
use crate::process;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

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
    /// It was gone, or forbidden by the system, before accept(2) gave it.
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
    accepted: AtomicU64,
    closed: [AtomicU64; CLOSED.len()],
    rejected: [AtomicU64; REJECTED.len()],
    messages_received: AtomicU64,
    messages_sent: AtomicU64,
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

    /// Data messages arrived whole, with so many octets of payload in all.
    #[inline]
    pub fn received(&self, messages: u64, bytes: usize) {
        self.messages_received.fetch_add(messages, Relaxed);
        self.received_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Data messages were handed to the kernel, or queued for it.
    #[inline]
    pub fn sent(&self, messages: u64, bytes: usize) {
        self.messages_sent.fetch_add(messages, Relaxed);
        self.sent_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Data messages arrived whole, and went back as they came.
    #[inline]
    pub fn echoed(&self, messages: u64, bytes: usize) {
        self.received(messages, bytes);
        self.sent(messages, bytes);
    }

    /// WebSocket connections open now.
    pub fn active(&self) -> u64 {
        // A connection is counted as closed after it was counted as accepted: read the other way round.
        let closed: u64 = self.closed.iter().map(|count| count.load(Relaxed)).sum();
        self.accepted.load(Relaxed).saturating_sub(closed)
    }
}

/// The metrics of a whole server.
pub struct Metrics {
    pub(crate) stage: &'static str,
    /// WebSocket connections that the server lets in.
    pub(crate) limit: usize,
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

    /// In Prometheus' text format.
    pub fn render(&self) -> Vec<u8> {
        let mut families = vec![self.build_info()];
        let gauges: [(&str, &str, f64); 5] = [
            ("ws_connections_active", "WebSocket connections open now", self.active() as f64),
            ("ws_connections_limit", "WebSocket connections let in at most", self.limit as f64),
            ("ws_buffered_bytes", "Of --buffer-budget, held now", self.budget.held() as f64),
            ("ws_buffer_budget_bytes", "--buffer-budget", self.budget.limit as f64),
            ("ws_tasks", "Threads, tasks or event loops that serve", self.sum(|s| s.tasks.load(Relaxed))),
        ];
        families.extend(gauges.map(|(name, help, value)| gauge(name, help, value)));
        type Read = fn(&ShardMetrics) -> &AtomicU64;
        let counters: [(&str, &str, Read); 5] = [
            ("ws_connections_accepted_total", "WebSocket connections opened", |s| &s.accepted),
            ("ws_messages_received_total", "Data messages received", |s| &s.messages_received),
            ("ws_messages_sent_total", "Data messages sent", |s| &s.messages_sent),
            ("ws_received_bytes_total", "Payload of data messages received", |s| &s.received_bytes),
            ("ws_sent_bytes_total", "Payload of data messages sent", |s| &s.sent_bytes),
        ];
        families.extend(counters.map(|(name, help, read)| {
            let metric = counter(self.sum(|shard| read(shard).load(Relaxed)));
            family(name, help, MetricType::COUNTER, vec![metric])
        }));
        let closed = CLOSED.map(|(reason, name)| {
            reason_counter(name, self.sum(|shard| shard.closed[reason as usize].load(Relaxed)))
        });
        let rejected = REJECTED.map(|(reason, name)| {
            reason_counter(name, self.sum(|shard| shard.rejected[reason as usize].load(Relaxed)))
        });
        let (closed_name, rejected_name) = ("ws_connections_closed_total", "ws_connections_rejected_total");
        families.push(family(closed_name, "WebSocket connections ended", MetricType::COUNTER, closed.into()));
        families.push(family(rejected_name, "Connections not let in", MetricType::COUNTER, rejected.into()));
        families.push(self.handshakes());
        families.extend(self.kernel_memory());
        families.extend(process::families(self.shards.iter().map(|shard| shard.thread_id.load(Relaxed))));
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text).expect("every family has a name and a metric");
        text
    }

    fn build_info(&self) -> MetricFamily {
        let labels = [
            ("stage", self.stage),
            ("version", env!("CARGO_PKG_VERSION")),
            ("commit", option_env!("WS_COMMIT").unwrap_or("unknown")),
        ];
        let mut info = Metric::from_label(labels.map(|(name, value)| label(name, value)).into());
        let mut one = Gauge::default();
        one.set_value(1.0);
        info.set_gauge(one);
        family("ws_build_info", "What runs here", MetricType::GAUGE, vec![info])
    }

    fn kernel_memory(&self) -> Option<MetricFamily> {
        let share = self.kernel.now(self.active())?;
        let mut metric = Metric::from_label(vec![label("source", share.source.name())]);
        let mut bytes = Gauge::default();
        bytes.set_value(share.bytes as f64);
        metric.set_gauge(bytes);
        let help = "Kernel memory for this server, as far as its source can tell";
        Some(family("ws_kernel_memory_bytes", help, MetricType::GAUGE, vec![metric]))
    }

    fn handshakes(&self) -> MetricFamily {
        let mut histogram = Histogram::default();
        let mut cumulative = 0;
        let count = |bucket: usize| self.sum(|shard| shard.handshakes[bucket].load(Relaxed)) as u64;
        let buckets = HANDSHAKE_BUCKETS_SECONDS.iter().enumerate().map(|(i, &bound)| {
            cumulative += count(i);
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(cumulative);
            bucket
        });
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(cumulative + count(HANDSHAKE_BUCKETS_SECONDS.len()));
        histogram.set_sample_sum(self.sum(|shard| shard.handshakes_ns.load(Relaxed)) / 1e9);
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        family("ws_handshake_seconds", "From accept to 101", MetricType::HISTOGRAM, vec![metric])
    }
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(name.into());
    label.set_value(value.into());
    label
}

pub(crate) fn counter(value: f64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut metric = Metric::default();
    metric.set_counter(counter);
    metric
}

fn reason_counter(reason: &str, value: f64) -> Metric {
    let mut metric = counter(value);
    metric.set_label(vec![label("reason", reason)]);
    metric
}

pub(crate) fn gauge(name: &str, help: &str, value: f64) -> MetricFamily {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = Metric::default();
    metric.set_gauge(gauge);
    family(name, help, MetricType::GAUGE, vec![metric])
}

pub(crate) fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.into());
    family.set_help(help.into());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
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
            admitted: AtomicUsize::new(0),
            shards: vec![ShardMetrics::default(), ShardMetrics::default()],
        };
        metrics.shards[0].opened(Duration::from_millis(3));
        metrics.shards[1].opened(Duration::from_secs(60));
        metrics.shards[1].closed(Closed::Eof);
        metrics.shards[0].received(2, 64);
        metrics.shards[1].rejected(Rejected::Full);
        let text = String::from_utf8(metrics.render()).unwrap();
        for line in [
            "ws_connections_active 1",
            "ws_connections_accepted_total 2",
            "ws_connections_closed_total{reason=\"eof\"} 1",
            "ws_connections_rejected_total{reason=\"full\"} 1",
            "ws_connections_limit 7",
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
