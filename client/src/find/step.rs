//! One step: a rate for some seconds, and whether the bound held.

use crate::fleet::{EchoPhase, Fleet, Progress};
use crate::progress::Bar;
use crate::results::find::Verdict;
use anyhow::Result;
use std::time::Duration;

/// Of the step's messages, those that may miss the bound without breaking a 99th percentile.
const MAY_MISS: f64 = 0.01;
/// A queue that grows by less than this, or by a tenth of the bound, is noise of the counters and the machine: in seconds
/// of messages.
const NOISE_S: f64 = 0.01;

/// How every step is run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    /// The bound of the 99th percentile.
    pub bound: Duration,
    /// The measured time of a step.
    pub time: Duration,
    /// Connections that send.
    pub active: u64,
}

impl Steps {
    /// Sending before the measurement, which is discarded.
    pub(super) fn settle(&self) -> Duration {
        self.time / 3
    }

    /// The pause after a step.
    pub(super) fn pause(&self) -> Duration {
        self.time / 12
    }

    /// Lateness of the client's own that leaves the server less than half of the bound.
    pub(super) fn late_after(&self) -> Duration {
        (self.bound / 2).max(Duration::from_millis(1))
    }

    /// Sends at a rate. A step that is certain to break ends early, so that no long queue builds up. Returns echoes per second
    /// too, and the verdict.
    ///
    /// # Errors
    /// If a shard has died.
    pub(super) fn run(
        &self,
        rate: f64,
        fleet: &mut Fleet,
        bar: &mut Bar,
    ) -> Result<(EchoPhase, f64, Verdict)> {
        let mut count = Count { steps: *self, rate, before: fleet.progress(), samples: Vec::new() };
        let mut on_tick = |progress: &Progress| bar.tick(progress);
        let mut is_over = |progress: &Progress| count.is_certain_to_break(progress);
        let (active, settle) = (self.active, self.settle());
        let phase = fleet.open_loop_until(active, rate, settle, self.time, &mut on_tick, &mut is_over)?;
        let (achieved, is_behind) = count.achieved().unwrap_or((phase.echoes_per_s, false));
        let verdict = judge(&phase, is_behind, self.bound);
        Ok((phase, achieved, verdict))
    }
}

/// Counts while a step runs.
struct Count {
    steps: Steps,
    rate: f64,
    before: Progress,
    /// Seconds of the step, and echoes until then: in the measured time.
    samples: Vec<(f64, f64)>,
}

impl Count {
    fn is_certain_to_break(&mut self, progress: &Progress) -> bool {
        let Some(measured) = progress.phase_elapsed.checked_sub(self.steps.settle()) else { return false };
        if measured <= self.steps.time {
            let echoes = progress.echoes - self.before.echoes;
            self.samples.push((measured.as_secs_f64(), echoes as f64));
        }
        let recorded = progress.latencies.since(&self.before.latencies);
        // Due longer ago than the bound, and not echoed.
        let due = self.rate * measured.saturating_sub(self.steps.bound).as_secs_f64();
        let overdue = (due - recorded.count() as f64).max(0.0);
        let missed = recorded.longer_than(self.steps.bound) as f64 + overdue;
        // Twice as many: the live counts are coarse.
        missed > 2.0 * MAY_MISS * self.rate * self.steps.time.as_secs_f64()
    }

    /// Echoes per second, and whether they fall behind the rate. By medians of the first and the second half: a pause at the
    /// very end does not count as a queue that grows. `None` if the step was too short.
    fn achieved(&self) -> Option<(f64, bool)> {
        let (first, second) = self.samples.split_at(self.samples.len() / 2);
        let behind = |half: &[(f64, f64)]| median(half.iter().map(|(at, echoes)| self.rate * at - echoes));
        let middle = |half: &[(f64, f64)]| median(half.iter().map(|(at, _)| *at));
        let between = middle(second)? - middle(first)?;
        let grown = behind(second)? - behind(first)?;
        let noise_s = NOISE_S.max(self.steps.bound.as_secs_f64() / 10.0);
        let is_behind = grown > self.rate * (MAY_MISS * between).max(noise_s);
        (between > 0.0).then(|| ((self.rate - grown / between).max(0.0), is_behind))
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    crate::report::median(&values.collect::<Vec<_>>())
}

/// Whether the bound held, or else what broke first.
fn judge(phase: &EchoPhase, is_behind: bool, bound: Duration) -> Verdict {
    let own_late = phase.late - phase.blocked;
    if phase.failures.total() + phase.missing > 0 || phase.latency.is_empty() {
        Verdict::Failed
    } else if own_late as f64 > MAY_MISS * phase.sent as f64 {
        Verdict::ClientLate
    } else if u128::from(phase.latency.value_at_quantile(1.0 - MAY_MISS)) > bound.as_nanos() {
        Verdict::Latency
    } else if is_behind {
        Verdict::Behind
    } else {
        Verdict::Held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{Class, Failures, Times, histogram_ns};

    const STEPS: Steps = Steps { bound: Duration::from_millis(50), time: Duration::from_secs(3), active: 1 };

    fn phase(of_100_over_the_bound: u64) -> EchoPhase {
        let mut latency = histogram_ns();
        latency.record_n(1_000_000, 1_000 - 10 * of_100_over_the_bound).expect("in range");
        latency.record_n(60_000_000, 10 * of_100_over_the_bound).expect("in range");
        EchoPhase {
            active: 1,
            sent: 1_000,
            echoes: 1_000,
            bytes: 0,
            elapsed: STEPS.time,
            echoes_per_s: 333.0,
            latency,
            late: 0,
            blocked: 0,
            missing: 0,
            failures: Failures::default(),
            ended_early: None,
            seconds: Vec::new(),
        }
    }

    #[test]
    fn what_breaks_a_step() {
        let judge = |phase: &EchoPhase, is_behind| judge(phase, is_behind, STEPS.bound);
        assert_eq!(judge(&phase(1), false), Verdict::Held);
        assert_eq!(judge(&phase(2), false), Verdict::Latency);
        assert_eq!(judge(&phase(1), true), Verdict::Behind);
        assert_eq!(judge(&EchoPhase { late: 11, ..phase(2) }, true), Verdict::ClientLate);
        let blocked = EchoPhase { late: 500, blocked: 490, ..phase(1) };
        assert_eq!(judge(&blocked, false), Verdict::Held, "the server did not read");
        assert_eq!(judge(&EchoPhase { missing: 1, late: 11, ..phase(1) }, false), Verdict::Failed);
        let mut failed = phase(1);
        failed.failures.add(Class::Reset, 1);
        assert_eq!(judge(&failed, false), Verdict::Failed);
    }

    /// A step at 1,000 per second, sampled every 100 ms, and what was echoed by then.
    fn count(echoes: impl Fn(f64) -> f64) -> Count {
        let samples = (1..=30).map(|tick| f64::from(tick) / 10.0).map(|at| (at, echoes(at))).collect();
        Count { steps: STEPS, rate: 1_000.0, before: Progress::default(), samples }
    }

    #[test]
    fn falling_behind_differs_from_a_queue_that_does_not_grow() {
        let achieved = |echoes: fn(f64) -> f64| count(echoes).achieved().expect("samples");
        let (per_s, is_behind) = achieved(|at| 1_000.0 * at - 40.0);
        assert!((per_s - 1_000.0).abs() < 0.1 && !is_behind, "{per_s}");
        let (per_s, is_behind) = achieved(|at| 970.0 * at);
        assert!((per_s - 970.0).abs() < 0.1 && is_behind, "{per_s}");
        // A pause at the end.
        let (per_s, is_behind) = achieved(|at| 1_000.0 * at.min(2.85));
        assert!(per_s > 995.0 && !is_behind, "{per_s}");
        assert!(
            count(|_| 0.0).samples.len() == 30
                && Count { samples: vec![(0.1, 1.0)], ..count(|_| 0.0) }.achieved().is_none()
        );
    }

    #[test]
    fn a_step_ends_early_only_when_its_verdict_is_certain() {
        let at = |ms: u64, fast: usize, slow: usize| {
            let fast = std::iter::repeat_n(Duration::from_millis(1), fast);
            let latencies = Times::of(fast.chain(std::iter::repeat_n(Duration::from_millis(80), slow)));
            Progress { phase_elapsed: Duration::from_millis(ms), latencies, ..Progress::default() }
        };
        let is_over = |progress: Progress| count(|_| 0.0).is_certain_to_break(&progress);
        // Before the measurement; all in time; 30 of the step's 3,000 messages are late; 70 are; none was echoed.
        for (progress, expected) in [
            (at(900, 0, 0), false),
            (at(2_000, 1_000, 0), false),
            (at(2_000, 970, 30), false),
            (at(2_000, 930, 70), true),
            (at(1_105, 0, 0), false),
            (at(1_150, 0, 0), true),
        ] {
            let phase_elapsed = progress.phase_elapsed;
            assert_eq!(is_over(progress), expected, "{phase_elapsed:?}");
        }
    }
}
