//! Results per second, in a shard: it reports what every second added.
//!
//! A second's echoes are those received in it. When it is over, the shard hands over its histogram and begins another, so
//! counting an echo costs nothing more.

use super::laps::{Counts, Lap, Lapping, NEVER, SECOND_NS};
use super::phase::{Phase, Report};
use super::results::shard_times_ns;
use super::shard::Shard;

impl Shard {
    /// Reports every second from `from_ns` on, unless that is [`NEVER`]. Call it when a phase has started.
    pub(super) fn start_laps(&mut self, from_ns: u64) {
        self.lap_ns = from_ns.saturating_add(SECOND_NS);
        self.lapping = Lapping { index: 0, before: self.counts(0) };
    }

    /// Reports the seconds that are over.
    #[cold]
    pub(super) fn lap(&mut self, now_ns: u64) {
        while self.lap_ns <= now_ns {
            self.report_lap(self.lap_ns, self.lap_ns);
            self.lap_ns += SECOND_NS;
        }
    }

    /// Reports what is left when the phase ends, if seconds are reported. Nothing is due after `due_ns`.
    pub(super) fn end_laps(&mut self, now_ns: u64, due_ns: u64) {
        if self.lap_ns != NEVER {
            self.lap(now_ns);
            self.report_lap(now_ns, due_ns);
            self.lap_ns = NEVER;
        }
    }

    fn report_lap(&mut self, end_ns: u64, due_ns: u64) {
        let counts = self.counts(due_ns);
        let lap = Lap {
            shard: self.setup.number,
            index: self.lapping.index,
            end_ns,
            counts: counts.since(self.lapping.before),
            live: self.totals.live,
            times: std::mem::replace(&mut self.times, shard_times_ns()),
        };
        self.lapping = Lapping { index: lap.index + 1, before: counts };
        self.report(Report::Lap(lap));
    }

    fn counts(&self, due_ns: u64) -> Counts {
        let due = match self.phase {
            Phase::Open { pace, span, .. } => {
                let before = pace.before(span.record_ns);
                Some(pace.before(due_ns.min(span.end_ns)).saturating_sub(before))
            }
            Phase::Connect { pace: Some(pace), attempts, .. } => Some(pace.before(due_ns).min(attempts)),
            _ => None,
        };
        let outcome = &self.outcome;
        Counts {
            due,
            opened: outcome.opened,
            echoes: outcome.echoes,
            late: outcome.late,
            failures: outcome.failures.total(),
        }
    }
}
