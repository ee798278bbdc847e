//! What a shard lets the controlling thread see while it works.

use super::failures::{Class, Failures};
use super::results::Progress;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A shard's counts. Only the shard writes them, once a round of its loop; each pair of cache lines has one writer.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Counters {
    live: AtomicU64,
    connecting: AtomicU64,
    sent: AtomicU64,
    echoes: AtomicU64,
    failures: [AtomicU64; Class::ALL.len()],
}

/// The same counts, as the shard itself holds them.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub live: u64,
    pub connecting: u64,
    pub sent: u64,
    pub echoes: u64,
    pub failures: [u64; Class::ALL.len()],
    /// Of `failures`, those that [`Counters`] does not show yet.
    pub unpublished_failures: bool,
}

impl Counters {
    /// Shows `totals` to other threads.
    pub(super) fn publish(&self, totals: &mut Totals) {
        self.live.store(totals.live, Relaxed);
        self.connecting.store(totals.connecting, Relaxed);
        self.sent.store(totals.sent, Relaxed);
        self.echoes.store(totals.echoes, Relaxed);
        if totals.unpublished_failures {
            totals.unpublished_failures = false;
            for (shown, &count) in self.failures.iter().zip(&totals.failures) {
                shown.store(count, Relaxed);
            }
        }
    }

    /// Connections that are open.
    pub(super) fn live(&self) -> u64 {
        self.live.load(Relaxed)
    }

    /// Adds these counts to `progress`.
    pub(super) fn add_to(&self, progress: &mut Progress) {
        progress.connected += self.live();
        progress.connecting += self.connecting.load(Relaxed);
        progress.sent += self.sent.load(Relaxed);
        progress.echoes += self.echoes.load(Relaxed);
        let mut failures = Failures::default();
        for (class, count) in Class::ALL.into_iter().zip(&self.failures) {
            failures.add(class, count.load(Relaxed));
        }
        progress.failures.merge(&failures);
    }
}
