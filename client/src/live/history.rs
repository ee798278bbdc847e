//! A fleet's recent past as short slices of time, and the totals of its current phase.

use crate::fleet::{Progress, Times};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The minimum length of a slice: a little less than two ticks of the fleet, so that every second tick ends one.
const SLICE: Duration = Duration::from_millis(190);
/// The slices kept: one per column of dots of the widest plot.
const KEPT: usize = 600;

/// Rates and levels of one slice.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Slice {
    /// Echoes, or connections opened or closed, per second: see [`Counted`].
    pub per_s: f64,
    /// Median and 99th percentile of the times recorded in it, in microseconds; `None` if there were none.
    pub times_us: Option<(f64, f64)>,
    /// Open connections at its end.
    pub connected: f64,
    /// The server's resident memory when last sampled; 0 if it is not watched.
    pub rss_bytes: f64,
}

/// Which events and times a phase shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Connections opened, and handshake times.
    Connects,
    /// Connections closed; no times.
    Closes,
    /// Echoes, and their latencies.
    #[default]
    Echoes,
    /// Connections replaced, counted by the one echo on each new connection, and handshake times.
    Replacements,
}

/// The latest slices of a run, oldest first, and what its current phase has counted.
#[derive(Clone)]
pub(crate) struct History {
    slices: VecDeque<Slice>,
    counted: Counted,
    /// The counters when the phase began.
    before: Progress,
    /// The latest counters, and when they were read.
    now: (Instant, Progress),
    /// The counters at the end of the last slice, and its time.
    last: (Instant, Progress),
    /// Slices completed in the phase, and the highest rate of one.
    phase_slices: usize,
    peak_per_s: f64,
}

impl History {
    pub fn new(now: Instant) -> History {
        History {
            slices: VecDeque::new(),
            counted: Counted::default(),
            before: Progress::default(),
            now: (now, Progress::default()),
            last: (now, Progress::default()),
            phase_slices: 0,
            peak_per_s: 0.0,
        }
    }

    /// Begins a phase. Rates and times of earlier phases are blanked, because they counted other events.
    pub fn begin(&mut self, counted: Counted) {
        for slice in &mut self.slices {
            (slice.per_s, slice.times_us) = (0.0, None);
        }
        (self.counted, self.phase_slices, self.peak_per_s) = (counted, 0, 0.0);
        self.now.1.phase_elapsed = Duration::ZERO;
        (self.before, self.last) = (self.now.1.clone(), self.now.clone());
    }

    /// Sets the counters that the phase starts from, once the fleet has reported them.
    pub fn start(&mut self, now: Instant, progress: &Progress) {
        self.before = progress.clone();
        (self.now, self.last) = ((now, progress.clone()), (now, progress.clone()));
    }

    /// Ends the phase's warm-up: rates restart here. Times do not: a warm-up records none.
    pub fn end_warmup(&mut self, now: Instant, progress: &Progress) {
        let before = self.before.clone();
        self.begin(self.counted);
        self.start(now, progress);
        (self.before.handshakes, self.before.latencies) = (before.handshakes, before.latencies);
    }

    /// Records the latest counters. Returns `true` if that completed a slice.
    pub fn add(&mut self, now: Instant, progress: &Progress, rss_bytes: u64) -> bool {
        self.now = (now, progress.clone());
        let length = now.duration_since(self.last.0);
        if length < SLICE {
            return false;
        }
        let before = &self.last.1;
        let times = self.times(progress).since(self.times(before));
        let slice = Slice {
            per_s: self.events(before, progress) as f64 / length.as_secs_f64(),
            times_us: times.quantile_us(0.5).zip(times.quantile_us(0.99)),
            connected: progress.connected as f64,
            rss_bytes: rss_bytes as f64,
        };
        self.last = (now, progress.clone());
        self.push(slice);
        true
    }

    /// The phase's events between two readings.
    fn events(&self, before: &Progress, now: &Progress) -> u64 {
        match self.counted {
            Counted::Connects => now.connected.saturating_sub(before.connected),
            Counted::Closes => before.connected.saturating_sub(now.connected),
            Counted::Echoes | Counted::Replacements => now.echoes.saturating_sub(before.echoes),
        }
    }

    /// The times that the phase shows.
    fn times<'a>(&self, progress: &'a Progress) -> &'a Times {
        match self.counted {
            Counted::Connects | Counted::Replacements => &progress.handshakes,
            Counted::Closes | Counted::Echoes => &progress.latencies,
        }
    }

    pub(super) fn push(&mut self, slice: Slice) {
        self.peak_per_s = self.peak_per_s.max(slice.per_s);
        self.phase_slices += 1;
        if self.slices.len() == KEPT {
            self.slices.pop_front();
        }
        self.slices.push_back(slice);
    }

    /// The counters when the phase began, and the latest.
    pub fn progress(&self) -> (&Progress, &Progress) {
        (&self.before, &self.now.1)
    }

    /// At most the last `n` slices, oldest first.
    pub fn latest(&self, n: usize) -> impl Iterator<Item = &Slice> {
        self.slices.iter().skip(self.slices.len().saturating_sub(n))
    }

    /// The mean rate of the last five slices (a second) and the peak of the phase's slices, both per second.
    ///
    /// Before the first slice is complete, both are the rate so far.
    pub fn rates_per_s(&self) -> (f64, f64) {
        if self.phase_slices == 0 {
            let length = self.now.0.duration_since(self.last.0).as_secs_f64();
            let per_s = self.events(&self.last.1, &self.now.1) as f64 / length.max(1e-3);
            return (per_s, per_s);
        }
        let n = self.phase_slices.min(5);
        (self.latest(n).map(|slice| slice.per_s).sum::<f64>() / n.max(1) as f64, self.peak_per_s)
    }

    /// Median, 99th percentile and maximum of the phase's times, in microseconds; `None` if it has recorded none.
    pub fn times_us(&self) -> Option<[f64; 3]> {
        let times = self.times(&self.now.1).since(self.times(&self.before));
        let at = |part| times.quantile_us(part);
        Some([at(0.5)?, at(0.99)?, at(1.0)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(connected: u64, echoes: u64) -> Progress {
        Progress { connected, echoes, ..Progress::default() }
    }

    fn rates(history: &History) -> Vec<f64> {
        history.latest(usize::MAX).map(|slice| slice.per_s).collect()
    }

    #[test]
    fn a_rate_is_per_second_of_the_slices_own_length() {
        let start = Instant::now();
        let mut history = History::new(start);
        let at = |ms| start + Duration::from_millis(ms);
        assert!(!history.add(at(100), &progress(50, 50), 0));
        assert_eq!(history.rates_per_s(), (500.0, 500.0), "before a slice is complete");
        assert!(history.add(at(200), &progress(100, 100), 7));
        assert!(history.add(at(600), &progress(100, 1_100), 9));
        assert!(history.add(at(800), &progress(100, 1_300), 9));
        assert_eq!(rates(&history), [500.0, 2_500.0, 1_000.0]);
        assert_eq!(history.latest(2).count(), 2);
        assert_eq!(history.rates_per_s(), (4_000.0 / 3.0, 2_500.0));
    }

    #[test]
    fn a_phase_shows_nothing_of_earlier_phases() {
        let start = Instant::now();
        let mut history = History::new(start);
        let at = |ms| start + Duration::from_millis(ms);
        let with = |handshakes: &[u64], latencies: &[u64], connected, echoes| {
            let times = |all: &[u64]| Times::of(all.iter().map(|&ms| Duration::from_millis(ms)));
            let (handshakes, latencies) = (times(handshakes), times(latencies));
            Progress { handshakes, latencies, ..progress(connected, echoes) }
        };
        let near = |history: &History, ms: f64| {
            let [p50, _, longest] = history.times_us().expect("times");
            [p50, longest].iter().all(|us| (us / 1e3 / ms - 1.0).abs() < 0.07)
        };
        history.begin(Counted::Connects);
        history.start(at(0), &progress(0, 0));
        assert!(history.add(at(200), &with(&[30, 30], &[], 900, 0), 0));
        // The last reading of a phase counts, though it completes no slice.
        assert!(!history.add(at(300), &with(&[30, 30, 30], &[], 1_000, 0), 0));
        assert!(near(&history, 30.0) && history.rates_per_s() == (4_500.0, 4_500.0));
        // Idle: nothing is echoed, though connections open.
        history.begin(Counted::Echoes);
        assert_eq!((history.rates_per_s(), history.times_us()), ((0.0, 0.0), None));
        history.start(at(400), &with(&[30; 3], &[], 1_000, 0));
        assert!(history.add(at(600), &with(&[30; 9], &[], 1_700, 0), 0));
        assert_eq!((history.rates_per_s(), history.times_us()), ((0.0, 0.0), None));
        assert_eq!(rates(&history), [0.0, 0.0]);
        // Echoes: a thousand per second in the warm-up, a hundred after it, at 4 ms each.
        history.begin(Counted::Echoes);
        history.start(at(600), &with(&[30; 9], &[], 1_000, 0));
        assert!(history.add(at(1_600), &with(&[30; 9], &[], 1_000, 1_000), 0));
        assert_eq!(history.rates_per_s(), (1_000.0, 1_000.0));
        history.end_warmup(at(1_700), &with(&[30; 9], &[4], 1_000, 1_100));
        assert_eq!(history.rates_per_s(), (0.0, 0.0));
        assert!(history.add(at(2_700), &with(&[30; 9], &[4; 9], 1_000, 1_200), 0));
        assert!(near(&history, 4.0) && history.rates_per_s() == (100.0, 100.0));
        assert_eq!(history.progress().0.latencies.quantile_us(0.5), None, "none was recorded before");
        // Closing; and a phase that connects does not count connections that close.
        history.begin(Counted::Closes);
        history.start(at(3_000), &with(&[30; 9], &[4; 9], 1_000, 1_200));
        assert!(history.add(at(4_000), &with(&[30; 9], &[4; 9], 100, 1_200), 0));
        assert_eq!((history.rates_per_s(), history.times_us()), ((900.0, 900.0), None));
        history.begin(Counted::Connects);
        history.start(at(4_000), &with(&[30; 9], &[4; 9], 1_000, 0));
        assert!(history.add(at(5_000), &with(&[30; 9], &[4; 9], 100, 0), 0));
        assert_eq!(history.rates_per_s(), (0.0, 0.0));
    }

    #[test]
    fn the_number_of_slices_is_bounded() {
        let mut history = History::new(Instant::now());
        (0..2 * KEPT).for_each(|n| history.push(Slice { per_s: n as f64, ..Slice::default() }));
        assert_eq!(history.latest(usize::MAX).count(), KEPT);
        assert_eq!(history.latest(1).next().map(|slice| slice.per_s), Some(2.0 * KEPT as f64 - 1.0));
    }
}
