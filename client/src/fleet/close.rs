//! Holds, replaces and closes connections.

use super::pace::Pace;
use super::phase::Phase;
use super::shard::Shard;
use super::slots::State;

/// Slots to search for a connection that can be closed.
const LOOK: u32 = 64;

impl Shard {
    pub(super) fn step_hold(&mut self, now_ns: u64, end_ns: u64) -> u64 {
        self.outcome.stalled = self.totals.live + self.pending() == 0 && now_ns < end_ns;
        if self.outcome.stalled || now_ns >= end_ns {
            self.finish();
            return 0;
        }
        end_ns
    }

    /// Closes connections at a pace, and opens another only after each is closed: the server may be full.
    pub(super) fn step_churn(&mut self, now_ns: u64, pace: Option<Pace>, window: u32, end_ns: u64) -> u64 {
        let under_way = self.connecting() + self.pending() + self.closing;
        let hopeless = self.hopeless(now_ns);
        let none_left = self.totals.live == 0 && self.replaced == self.replaceable;
        let idle = under_way == 0 && (hopeless || none_left);
        self.outcome.stalled = idle && now_ns < end_ns && self.since_all_idle(now_ns).is_some();
        let over = now_ns >= end_ns || self.outcome.stalled;
        let mut wake_ns = end_ns;
        while let Some(pace) = pace.filter(|_| !over && !hopeless)
            && self.connecting().max(self.closing) < window.into()
        {
            let due_ns = pace.due_ns(self.next);
            if due_ns > now_ns {
                wake_ns = due_ns.min(end_ns);
                break;
            }
            // If all await an echo, its arrival wakes this shard.
            let Some(index) = self.next_idle() else { break };
            self.next += 1;
            self.replaceable += 1;
            self.close(index, now_ns);
        }
        while !hopeless
            && self.replaced + self.closing < self.replaceable
            && self.connecting() < window.into()
        {
            self.replaced += 1;
            self.attempt();
        }
        // Handshakes have deadlines of their own.
        if over && self.connecting() + self.closing == 0 {
            return self.await_echoes(now_ns, end_ns + self.setup.message_timeout_ns, true);
        }
        if over { u64::MAX } else { wake_ns }
    }

    /// Changes the pace of churn.
    pub(super) fn set_pace(&mut self, new: Option<Pace>) {
        if let Phase::Churn { pace, .. } = &mut self.phase {
            (*pace, self.next) = (new, 0);
        }
    }

    /// The next connection without an outstanding echo, round-robin, among the next [`LOOK`] slots.
    fn next_idle(&mut self) -> Option<u32> {
        let count = self.slots.len() as u32;
        for _ in 0..count.min(LOOK) {
            let index = self.churn_next % count;
            self.churn_next = index + 1;
            let slot = &self.slots[index];
            if slot.state == State::Open && slot.sent == slot.echoed {
                return Some(index);
            }
        }
        None
    }

    /// Starts the closing handshakes, at most `window` in progress.
    pub(super) fn step_close(&mut self, now_ns: u64, window: u32) -> u64 {
        let count = self.slots.len() as u64;
        while self.next < count && self.closing < window.into() {
            let index = self.next as u32;
            self.next += 1;
            if self.slots[index].state == State::Open {
                self.close(index, now_ns);
            }
        }
        if self.next == count && self.closing == 0 {
            self.finish();
        }
        u64::MAX
    }
}
