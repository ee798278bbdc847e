//! Messages and their echoes: one each, in closed loop, in open loop.

use super::class::Class;
use super::messages::Verify;
use super::pace::Pace;
use super::phase::{Phase, Span};
use super::shard::Shard;
use super::slots::State;

/// Most messages sent per step, so that echoes are read in between.
const ROUND: u32 = 256;

impl Shard {
    /// One message on each connection, at most `window` in flight.
    pub(super) fn step_once(&mut self, now_ns: u64, active: u32, window: u32) -> u64 {
        for _ in 0..ROUND {
            if self.next >= active.into() || self.outstanding >= window.into() {
                break;
            }
            self.send_first(now_ns, 1);
        }
        if self.next < active.into() && self.outstanding < window.into() {
            return now_ns;
        }
        // Each echo, in any shard, restarts the timeout: a slow server is not a stalled one.
        let mut deadline_ns = self.outcome.last_ns.saturating_add(self.setup.message_timeout_ns);
        if now_ns >= deadline_ns {
            deadline_ns = self.last_of_all_ns().saturating_add(self.setup.message_timeout_ns);
        }
        self.await_echoes(now_ns, deadline_ns, self.next >= active.into())
    }

    /// Sends the first round on each connection; after that, echoes drive the loop.
    pub(super) fn step_closed(&mut self, now_ns: u64, active: u32, span: Span) -> u64 {
        if now_ns >= span.end_ns {
            let deadline_ns = span.end_ns.saturating_add(self.setup.message_timeout_ns);
            return self.await_echoes(now_ns, deadline_ns, true);
        }
        if self.is_idle() {
            return self.end_if_all_idle(now_ns, span);
        }
        for _ in 0..ROUND {
            if self.next >= active.into() {
                return span.end_ns;
            }
            self.send_first(now_ns, self.setup.in_flight);
        }
        now_ns
    }

    fn send_first(&mut self, now_ns: u64, count: u32) {
        let index = self.next as u32;
        self.next += 1;
        if !self.slots.is_open(index) {
            return;
        }
        let since_ns = now_ns.max(self.now_ns());
        self.send_round(index, count, since_ns);
    }

    /// Sends the next `count` messages of a connection in one call, and counts them unless this is the warm-up. False:
    /// the connection is lost.
    #[inline]
    pub(super) fn send_round(&mut self, index: u32, count: u32, since_ns: u64) -> bool {
        match self.phase {
            Phase::Closed { span, .. } if since_ns < span.record_ns => {}
            _ => self.outcome.sent += u64::from(count),
        }
        self.send_messages(index, count, since_ns)
    }

    /// Ends the phase if all shards are idle; otherwise waits for that, or for the end of the span.
    #[cold]
    fn end_if_all_idle(&mut self, now_ns: u64, span: Span) -> u64 {
        if self.since_all_idle(now_ns).is_none() {
            return span.end_ns;
        }
        self.outcome.stalled = true;
        self.finish();
        0
    }

    /// Sends what is due.
    pub(super) fn step_open(&mut self, now_ns: u64, span: Span) -> u64 {
        if now_ns < span.end_ns && self.is_idle() {
            return self.end_if_all_idle(now_ns, span);
        }
        let deadline_ns = span.end_ns.saturating_add(self.setup.message_timeout_ns);
        let mut now_ns = now_ns;
        for _ in 0..ROUND {
            let (index, before) = (self.next % u64::from(self.active), self.next / u64::from(self.active));
            let due_ns = self.pace().turn_ns(index, before);
            if due_ns >= span.end_ns {
                if now_ns < span.end_ns {
                    return span.end_ns;
                }
                return self.await_echoes(now_ns, deadline_ns, true);
            }
            if now_ns >= deadline_ns {
                // More was due than could be sent: the rest counts as missing.
                return self.await_echoes(now_ns, deadline_ns, true);
            }
            if due_ns > now_ns {
                now_ns = self.now_ns();
                if due_ns > now_ns {
                    return due_ns;
                }
            }
            self.next += 1;
            let index = index as u32;
            if self.slots.is_open(index) && !self.owe(index) {
                debug_assert_eq!(before, u64::from(self.slots[index].sent), "no turn is left out");
                self.send_due(index, due_ns, span);
            }
        }
        now_ns
    }

    /// The schedule of the open loop. By reference, because a copy per echo is measurable.
    #[inline]
    fn pace(&self) -> &Pace {
        match &self.phase {
            Phase::Open { pace, .. } => pace,
            phase => unreachable!("{phase:?} has no schedule of messages"),
        }
    }

    /// Sends the next message of a connection in open loop. False: the connection is lost.
    fn send_due(&mut self, index: u32, due_ns: u64, span: Span) -> bool {
        let now_ns = self.now_ns();
        if due_ns >= span.record_ns {
            self.outcome.sent += 1;
            self.outcome.late += u64::from(now_ns > due_ns + self.setup.late_ns);
        }
        self.send_message(index, now_ns)
    }

    /// Sends queued output, and then the messages that fell due in the meantime. False: the connection is lost.
    pub(super) fn writable(&mut self, index: u32) -> bool {
        let Some(owed) = self.flush(index) else { return false };
        let Phase::Open { span, .. } = self.phase else { return true };
        let late = self.outcome.late;
        let is_open = (0..owed).all(|_| {
            let due_ns = self.pace().turn_ns(index.into(), self.slots[index].sent.into());
            self.owe(index) || self.send_due(index, due_ns, span)
        });
        self.outcome.blocked += self.outcome.late - late;
        is_open
    }

    /// Ends the phase once all echoes have arrived, or at the deadline. `sent`: everything has been sent.
    pub(super) fn await_echoes(&mut self, now_ns: u64, deadline_ns: u64, sent: bool) -> u64 {
        if self.outstanding > 0 && now_ns < deadline_ns {
            return deadline_ns;
        }
        if self.outstanding > 0 {
            self.outcome.stalled |= !sent;
            let awaited = if self.setup.messages.verify == Verify::Echo { "echo" } else { "reply" };
            for index in 0..self.slots.len() as u32 {
                let slot = &self.slots[index];
                if slot.state == State::Open && slot.sent != slot.echoed {
                    self.lost(index, Class::Timeout, || format!("no {awaited} in time"));
                }
            }
        }
        self.finish();
        0
    }

    /// Counts `count` verified echoes. False: the connection was lost while sending the next message.
    #[inline]
    pub(super) fn echoed(&mut self, index: u32, count: u32, now_ns: u64) -> bool {
        let slot = &mut self.slots[index];
        let (from, since_ns) = (slot.echoed, slot.since_ns);
        slot.echoed += count;
        let round_is_over = slot.echoed == slot.sent && slot.state == State::Open;
        self.outstanding -= u64::from(count);
        self.totals.echoes += u64::from(count);
        match self.phase {
            Phase::Closed { span, .. } => {
                if since_ns >= span.record_ns {
                    self.record(now_ns - since_ns, count, now_ns, span.end_ns);
                }
                if round_is_over && now_ns < span.end_ns {
                    return self.send_round(index, self.setup.in_flight, now_ns);
                }
            }
            Phase::Open { span, .. } => {
                for sequence in from..from + count {
                    let due_ns = self.pace().turn_ns(index.into(), sequence.into());
                    if due_ns >= span.record_ns {
                        self.record(now_ns.saturating_sub(due_ns), 1, now_ns, span.end_ns);
                    }
                }
            }
            Phase::Once { .. } => self.record(now_ns - since_ns, count, now_ns, u64::MAX),
            Phase::Churn { .. } => self.outcome.echoes += u64::from(count),
            _ => {}
        }
        true
    }

    /// Recorded messages due by `now_ns` that may still be echoed.
    pub(super) fn under_way(&self, now_ns: u64) -> u64 {
        let open = (0..self.slots.len() as u32).filter(|&index| self.slots.is_open(index));
        match &self.phase {
            Phase::Once { .. } => self.outstanding,
            Phase::Closed { span, .. } => {
                let slots = open.map(|index| &self.slots[index]);
                let counted = slots.filter(|slot| slot.since_ns >= span.record_ns);
                counted.map(|slot| u64::from(slot.sent - slot.echoed)).sum()
            }
            Phase::Open { pace, span, .. } => open
                .take_while(|&index| index < self.active)
                .map(|index| {
                    let (from_ns, to_ns) = (span.record_ns, now_ns.min(span.end_ns));
                    let answered =
                        pace.turns_before(index.into(), from_ns).max(self.slots[index].echoed.into());
                    pace.turns_before(index.into(), to_ns).saturating_sub(answered)
                })
                .sum(),
            _ => 0,
        }
    }

    #[inline]
    fn record(&mut self, latency_ns: u64, count: u32, now_ns: u64, end_ns: u64) {
        self.times.saturating_record_n(latency_ns, count);
        self.setup.counters.latencies.record_n(latency_ns, count.into());
        self.outcome.echoes += u64::from(count);
        self.outcome.in_span += if now_ns <= end_ns { count.into() } else { 0 };
        self.outcome.last_ns = now_ns;
    }
}
