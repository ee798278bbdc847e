//! What the fleet did in the last seconds, slice by slice.

use crate::fleet::{Progress, Times};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The length of a slice, a little less than two ticks of the fleet: one falls due with every second tick.
const SLICE: Duration = Duration::from_millis(190);
/// As many slices as the widest plot has columns of dots.
const KEPT: usize = 600;

/// What happened in a slice of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Slice {
    /// Echoes, or connections opened or closed, in a second.
    pub per_s: f64,
    /// The median and the 99th percentile of the times that ended in it, in microseconds.
    pub times_us: Option<(f64, f64)>,
    /// Connections open at its end.
    pub connected: f64,
    /// The server's memory at the last look.
    pub rss_bytes: f64,
}

/// The slices of a run so far, the latest last.
#[derive(Clone)]
pub(crate) struct History {
    slices: VecDeque<Slice>,
    /// The end of the last slice, and the counts then.
    last: (Instant, Progress),
    /// The times of the phase before its last slice, and the fastest slice of the phase.
    phase_times: Times,
    most_per_s: f64,
}

impl History {
    pub fn new(now: Instant) -> History {
        History {
            slices: VecDeque::new(),
            last: (now, Progress::default()),
            phase_times: Times::default(),
            most_per_s: 0.0,
        }
    }

    /// A phase begins: what is said of the whole of it begins anew.
    pub fn begin(&mut self) {
        self.phase_times = self.last.1.times.clone();
        self.most_per_s = 0.0;
    }

    /// Ends a slice if it is long enough, and says so.
    pub fn add(&mut self, now: Instant, progress: &Progress, rss_bytes: u64) -> bool {
        let length = now.duration_since(self.last.0);
        if length < SLICE {
            return false;
        }
        if progress.sent < self.last.1.sent {
            // It is another fleet, which has counted from zero.
            self.last.1 = Progress::default();
            self.phase_times = Times::default();
        }
        let before = &self.last.1;
        let times = progress.times.since(&before.times);
        let slice = Slice {
            per_s: events(before, progress) as f64 / length.as_secs_f64(),
            times_us: times.quantile_us(0.5).zip(times.quantile_us(0.99)),
            connected: progress.connected as f64,
            rss_bytes: rss_bytes as f64,
        };
        self.last = (now, progress.clone());
        self.push(slice);
        true
    }

    pub(super) fn push(&mut self, slice: Slice) {
        self.most_per_s = self.most_per_s.max(slice.per_s);
        if self.slices.len() == KEPT {
            self.slices.pop_front();
        }
        self.slices.push_back(slice);
    }

    /// The counts at the end of the last slice.
    pub fn progress(&self) -> &Progress {
        &self.last.1
    }

    /// The last `n`, or as many as there are.
    pub fn latest(&self, n: usize) -> impl Iterator<Item = &Slice> {
        self.slices.iter().skip(self.slices.len().saturating_sub(n))
    }

    /// The rate of the last second, and the fastest slice of the phase.
    pub fn rates_per_s(&self) -> (f64, f64) {
        let n = self.slices.len().clamp(1, 5);
        (self.latest(5).map(|slice| slice.per_s).sum::<f64>() / n as f64, self.most_per_s)
    }

    /// Median, 99th percentile and longest of the phase's times, in microseconds.
    pub fn times_us(&self) -> Option<[f64; 3]> {
        let times = self.last.1.times.since(&self.phase_times);
        let at = |part| times.quantile_us(part);
        Some([at(0.5)?, at(0.99)?, at(1.0)?])
    }
}

/// What a slice counts: every phase does one thing above all. (An echo in churn is one on a new connection.)
fn events(before: &Progress, now: &Progress) -> u64 {
    now.echoes.saturating_sub(before.echoes).max(now.connected.abs_diff(before.connected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_have_the_rate_of_their_own_length() {
        let start = Instant::now();
        let mut history = History::new(start);
        let at = |ms| start + Duration::from_millis(ms);
        let progress = |connected, echoes| Progress { connected, echoes, ..Progress::default() };
        assert!(!history.add(at(100), &progress(50, 0), 0));
        assert!(history.add(at(200), &progress(100, 0), 7));
        assert!(history.add(at(600), &progress(100, 1_000), 9));
        assert!(history.add(at(800), &progress(60, 1_000), 9));
        let rates: Vec<f64> = history.latest(9).map(|slice| slice.per_s).collect();
        assert_eq!(rates, [500.0, 2_500.0, 200.0]);
        assert_eq!(history.latest(2).count(), 2);
        assert_eq!(history.rates_per_s(), (3_200.0 / 3.0, 2_500.0));
        history.begin();
        assert_eq!((history.rates_per_s().1, history.times_us()), (0.0, None));
    }

    #[test]
    fn no_more_is_kept_than_can_be_shown() {
        let mut history = History::new(Instant::now());
        (0..2 * KEPT).for_each(|n| history.push(Slice { per_s: n as f64, ..Slice::default() }));
        assert_eq!(history.latest(usize::MAX).count(), KEPT);
        assert_eq!(history.latest(1).next().map(|slice| slice.per_s), Some(2.0 * KEPT as f64 - 1.0));
    }
}
