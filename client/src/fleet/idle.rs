//! Detects that a phase has nothing left to wait for.
//!
//! A shard without connections that take part in the phase is idle. The phase ends early only when all shards are idle,
//! however the connections are distributed.

use super::shard::Shard;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

impl Shard {
    /// Sets that the first `active` connections take part in the new phase. There may be fewer: some may have been lost
    /// since the controlling thread counted them.
    pub(super) fn take_part(&mut self, active: u32) {
        self.active = active;
        self.taking_part = (self.totals.live as u32).min(active);
    }

    /// Whether no connection takes part in the phase, and none will return to it.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.taking_part == 0 && self.pending() == 0
    }

    /// For a shard that stays idle until the phase ends: the time since which all shards are idle, or `None` if one is not.
    /// All shards get the same time.
    #[cold]
    pub(super) fn since_all_idle(&self, now_ns: u64) -> Option<u64> {
        let own = &self.setup.counters.idle_ns;
        if own.load(Relaxed) == 0 {
            own.store(now_ns.max(1), SeqCst);
        }
        let idle = |idle_ns: u64| (idle_ns > 0).then_some(idle_ns);
        let all = self.setup.all_counters.iter().map(|shard| idle(shard.idle_ns.load(SeqCst)));
        all.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Time of the last counted event in any shard, as far as published.
    #[cold]
    pub(super) fn last_of_all_ns(&self) -> u64 {
        let others = self.setup.all_counters.iter().map(|shard| shard.last_ns.load(Relaxed));
        others.max().unwrap_or(0).max(self.outcome.last_ns)
    }

    /// Publishes the shard's counts to other threads.
    pub(super) fn publish(&mut self) {
        self.totals.pending = self.pending();
        self.setup.counters.last_ns.store(self.outcome.last_ns, Relaxed);
        let Shard { setup, totals, .. } = self;
        setup.counters.publish(totals);
    }
}
