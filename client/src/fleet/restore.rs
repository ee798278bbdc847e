//! How a shard replaces lost connections: it starts the attempts that are due, and resumes the load on the replacement.

use super::phase::Phase;
use super::reconnect::Reconnect;
use super::shard::Shard;

impl Shard {
    /// Starts the attempts that are due; returns when the next one is.
    pub(super) fn restore(&mut self, now_ns: u64) -> u64 {
        while let Some(retry) = self.reconnect.as_mut().and_then(|reconnect| reconnect.next(now_ns)) {
            let begun = self.begin();
            let Some(reconnect) = &mut self.reconnect else { break };
            match begun {
                Ok(index) => reconnect.begun(index, retry),
                Err(_) => reconnect.attempt_failed(now_ns, retry),
            }
        }
        self.reconnect.as_ref().map_or(u64::MAX, Reconnect::due_ns)
    }

    /// Resumes the load of the lost connection on its replacement, which has its slot: free slots are reused first.
    /// False: the connection was lost at once.
    pub(super) fn resume(&mut self, index: u32, now_ns: u64) -> bool {
        match self.phase {
            Phase::Closed { active, span }
                if index < active && u64::from(index) < self.next && now_ns < span.end_ns =>
            {
                self.send_round(index, self.setup.in_flight, now_ns)
            }
            Phase::Open { active, .. } if index < active => {
                // Messages due in the meantime are skipped, and counted as missing.
                let passed = self.next.saturating_sub(index.into()).div_ceil(active.into()) as u32;
                let slot = &mut self.slots[index];
                (slot.sent, slot.echoed) = (passed, passed);
                true
            }
            _ => true,
        }
    }
}
