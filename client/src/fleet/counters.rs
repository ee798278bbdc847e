//! A shard's counts, readable by other threads.

use super::class::Class;
use super::failures::Failures;
use super::results::Progress;
use super::times::LiveTimes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// A shard's counts. Only the shard writes them, most of them once per iteration of its loop. Aligned so that no two
/// shards write to the same pair of cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Counters {
    live: AtomicU64,
    connecting: AtomicU64,
    pending: AtomicU64,
    sent: AtomicU64,
    echoes: AtomicU64,
    pushed: AtomicU64,
    failures: [AtomicU64; Class::ALL.len()],
    /// Time of the last counted event.
    pub(super) last_ns: AtomicU64,
    /// Since when the shard has been idle in this phase; 0 if it is not.
    pub(super) idle_ns: AtomicU64,
    /// Time from connect(2) to the verified response, per connection opened.
    pub(super) handshakes: LiveTimes,
    /// Latency per recorded echo: without warm-ups and churn.
    pub(super) latencies: LiveTimes,
    /// The shard's thread id, for /proc/PID/task.
    pub(super) thread_id: AtomicU32,
}

/// The shard's own copy of the counts.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub live: u64,
    pub connecting: u64,
    pub pending: u64,
    pub sent: u64,
    pub echoes: u64,
    pub pushed: u64,
    pub failures: [u64; Class::ALL.len()],
    /// Whether `failures` has counts that [`Counters`] does not.
    pub unpublished_failures: bool,
}

impl Counters {
    /// Publishes `totals` to other threads.
    pub(super) fn publish(&self, totals: &mut Totals) {
        self.live.store(totals.live, Relaxed);
        self.connecting.store(totals.connecting, Relaxed);
        self.pending.store(totals.pending, Relaxed);
        self.sent.store(totals.sent, Relaxed);
        self.echoes.store(totals.echoes, Relaxed);
        self.pushed.store(totals.pushed, Relaxed);
        if totals.unpublished_failures {
            totals.unpublished_failures = false;
            for (shown, &count) in self.failures.iter().zip(&totals.failures) {
                shown.store(count, Relaxed);
            }
        }
    }

    /// Connections open or being reconnected.
    pub(super) fn expected(&self) -> u64 {
        self.live() + self.pending.load(Relaxed)
    }

    /// Whether the shard is idle in this phase.
    pub(super) fn is_idle(&self) -> bool {
        self.idle_ns.load(Relaxed) > 0
    }

    /// Open connections.
    pub(super) fn live(&self) -> u64 {
        self.live.load(Relaxed)
    }

    /// Adds these counts to `progress`.
    pub(super) fn add_to(&self, progress: &mut Progress) {
        progress.connected += self.live();
        progress.reconnecting += self.pending.load(Relaxed);
        progress.connecting += self.connecting.load(Relaxed);
        progress.sent += self.sent.load(Relaxed);
        progress.echoes += self.echoes.load(Relaxed);
        progress.pushed += self.pushed.load(Relaxed);
        let mut failures = Failures::default();
        for (class, count) in Class::ALL.into_iter().zip(&self.failures) {
            failures.add(class, count.load(Relaxed));
        }
        progress.failures.merge(&failures);
        self.handshakes.add_to(&mut progress.handshakes);
        self.latencies.add_to(&mut progress.latencies);
    }
}

/// A fleet's counts for other threads. It may outlive the fleet.
#[derive(Clone)]
pub struct Watch(pub(super) Vec<Arc<Counters>>);

impl Watch {
    /// The current counts.
    pub fn progress(&self) -> Progress {
        let mut progress = Progress::default();
        self.0.iter().for_each(|counters| counters.add_to(&mut progress));
        progress
    }

    /// The thread ids of the shards. Each thread has its own descriptor table.
    pub fn threads(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|counters| counters.thread_id.load(Relaxed))
    }
}
