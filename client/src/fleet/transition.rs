//! Starts and ends phases.

use super::messages::Verify;
use super::phase::{Outcome, Phase, Report};
use super::reconnect::Reconnect;
use super::results::{AddressCounts, shard_times_ns};
use super::shard::{READABLE, Shard};
use super::slots::{OUTBOX, State};
use rustix::event::epoll::{self, EventData, EventFlags};

impl Shard {
    /// Starts a phase, which is counted by the second from `laps_from_ns` on.
    pub(super) fn start(&mut self, phase: Phase, laps_from_ns: u64) {
        if let (Phase::Close { .. }, Some(reconnect)) = (phase, &mut self.reconnect) {
            reconnect.clear();
        }
        let cut = self.settle();
        let now_ns = self.now_ns();
        // Connections lost since the last phase are reported with this one.
        self.outcome.restart(now_ns);
        (self.phase, self.next, self.streak) = (phase, 0, 0);
        (self.replaceable, self.replaced) = (0, 0);
        self.take_part(match phase {
            Phase::Once { active, .. } | Phase::Closed { active, .. } | Phase::Open { active, .. } => active,
            _ => 0,
        });
        match phase {
            Phase::Connect { attempts, .. } => {
                self.slots.reserve(self.totals.live as usize + attempts as usize)
            }
            Phase::Once { .. } | Phase::Closed { .. } | Phase::Open { .. } | Phase::Churn { .. } => {
                self.phase_number += 1;
                self.slots.iter_mut().for_each(|slot| (slot.sent, slot.echoed) = (0, 0));
                self.outstanding = 0;
            }
            Phase::Close { .. } => self.outcome.forced = cut,
            Phase::Rest | Phase::Hold { .. } => {}
        }
        self.start_laps(laps_from_ns);
    }

    /// Ends the open loop at `end_ns`, if that is earlier.
    pub(super) fn end_by(&mut self, end_ns: u64) {
        if let Phase::Open { span, .. } | Phase::Closed { span, .. } = &mut self.phase {
            span.end_ns = span.end_ns.min(end_ns);
        }
    }

    /// Resets connections that a stopped phase left in an intermediate state, and compacts the table so that the open
    /// connections have the slots from 0 on. Returns how many were reset.
    fn settle(&mut self) -> u64 {
        let mut cut = 0;
        for index in 0..self.slots.len() as u32 {
            let slot = &self.slots[index];
            if slot.state != State::Free && (slot.state != State::Open || slot.sent != slot.echoed) {
                self.cut(index);
                cut += 1;
            }
        }
        self.connect_deadlines.clear();
        self.close_deadlines.clear();
        let (epoll, inboxes, outboxes) = (&self.epoll, &mut self.inboxes, &mut self.outboxes);
        let tls = &mut self.tls;
        self.slots.compact(|from, to, slot| {
            let flags = if slot.has(OUTBOX) { READABLE | EventFlags::OUT } else { READABLE };
            epoll::modify(epoll, slot.socket(), EventData::new_u64(to.into()), flags)
                .expect("the socket is registered");
            if let Some(tls) = tls {
                tls.moved(from, to);
            }
            if let Some(inbox) = inboxes.remove(&from) {
                inboxes.insert(to, inbox);
            }
            if let Some(outbox) = outboxes.remove(&from) {
                outboxes.insert(to, outbox);
            }
        });
        self.inboxes.shrink_to_fit();
        self.outboxes.shrink_to_fit();
        if let Some(tls) = &mut self.tls {
            tls.shrink_to(self.slots.len());
        }
        cut
    }

    /// Ends the phase and sends its outcome.
    pub(super) fn finish(&mut self) {
        let now_ns = self.now_ns();
        let last_ns = self.ended_ns(now_ns);
        self.end_laps(now_ns, last_ns);
        let mut outcome = std::mem::replace(&mut self.outcome, Outcome::new(now_ns));
        outcome.live = self.totals.live;
        outcome.reconnects = self.reconnect.as_mut().map(Reconnect::take);
        let no_counts = vec![AddressCounts::default(); self.addresses.len()];
        outcome.addresses = std::mem::replace(&mut self.addresses, no_counts);
        outcome.tls = self.tls.as_mut().and_then(|tls| tls.take_times());
        outcome.times = Some(std::mem::replace(&mut self.times, shard_times_ns()));
        match self.phase {
            Phase::Closed { span, .. } | Phase::Open { span, .. } => {
                outcome.last_ns = last_ns;
                outcome.start_ns = span.record_ns;
            }
            // No reply ends it.
            Phase::Once { .. } if self.setup.messages.verify == Verify::None => outcome.last_ns = now_ns,
            // Includes the wait for connections that time out.
            Phase::Close { .. } => outcome.last_ns = now_ns,
            Phase::Hold { end_ns } | Phase::Churn { end_ns, .. } => outcome.last_ns = now_ns.min(end_ns),
            _ => {}
        }
        if let Phase::Open { pace, span, .. } = self.phase {
            // Includes messages due on lost connections: unsent, and therefore missing.
            outcome.due = pace.before(outcome.last_ns).saturating_sub(pace.before(span.record_ns));
        }
        self.phase = Phase::Rest;
        self.publish();
        self.report(Report::Ended(Box::new(outcome)));
    }

    /// When the phase's last message was due or sent, for a phase that ends now.
    fn ended_ns(&self, now_ns: u64) -> u64 {
        let all_idle_ns = if self.outcome.stalled { self.since_all_idle(now_ns) } else { None };
        match self.phase {
            Phase::Closed { span, .. } | Phase::Open { span, .. } => {
                all_idle_ns.unwrap_or(now_ns).min(span.end_ns)
            }
            _ => now_ns,
        }
    }

    /// Ends the phase because the fleet stops: messages in flight count neither as echoed nor as missing.
    pub(super) fn stop(&mut self) {
        match self.phase {
            Phase::Rest => return,
            Phase::Close { .. } => {
                self.outcome.forced += self.totals.live + self.closing;
                self.cut_all_off();
            }
            _ => self.outcome.under_way = self.under_way(self.now_ns()),
        }
        self.finish();
    }

    pub(super) fn cut_all_off(&mut self) {
        for index in 0..self.slots.len() as u32 {
            self.cut(index);
        }
    }
}
