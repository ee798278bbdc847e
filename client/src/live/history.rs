//! A fleet's recent past as short slices of time, and the totals of its current phase.

use crate::fleet::{Progress, Times};
use crate::report::format::time;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The minimum length of a slice: a little less than two ticks of the fleet, so that every second tick ends one.
const SLICE: Duration = Duration::from_millis(190);
/// The slices kept: the last two minutes, or all of a phase whose duration is known, in longer slices if need be.
const KEPT: usize = 600;
/// The usual length of a slice, which is one column of dots in a phase of unknown duration.
const COLUMN_S: f64 = 0.2;

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

/// A slice and its ends, in seconds since the run began.
#[derive(Clone, Copy)]
struct Timed {
    from_s: f64,
    to_s: f64,
    slice: Slice,
}

/// The latest slices of a run, oldest first, and what its current phase has counted.
#[derive(Clone)]
pub(crate) struct History {
    slices: VecDeque<Timed>,
    counted: Counted,
    began: Instant,
    /// The start of the phase in seconds since the run began, and the phase's duration in seconds if it is known.
    phase_from_s: f64,
    span_s: Option<f64>,
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
            began: now,
            phase_from_s: 0.0,
            span_s: None,
            before: Progress::default(),
            now: (now, Progress::default()),
            last: (now, Progress::default()),
            phase_slices: 0,
            peak_per_s: 0.0,
        }
    }

    /// Begins a phase, which lasts for `span` if that is known. Rates and times of earlier phases are blanked, because they
    /// counted other events.
    pub fn begin(&mut self, counted: Counted, span: Option<Duration>) {
        for Timed { slice, .. } in &mut self.slices {
            (slice.per_s, slice.times_us) = (0.0, None);
        }
        self.phase_from_s = self.now.0.duration_since(self.began).as_secs_f64();
        self.expect(span);
        (self.counted, self.phase_slices, self.peak_per_s) = (counted, 0, 0.0);
        self.now.1.phase_elapsed = Duration::ZERO;
        (self.before, self.last) = (self.now.1.clone(), self.now.clone());
    }

    /// Sets the duration of the phase, to which the plots stretch.
    pub fn expect(&mut self, span: Option<Duration>) {
        self.span_s = span.map(|span| span.as_secs_f64()).filter(|&span_s| span_s > 0.0);
    }

    /// Sets the counters that the phase starts from, once the fleet has reported them.
    pub fn start(&mut self, now: Instant, progress: &Progress) {
        self.phase_from_s = now.duration_since(self.began).as_secs_f64();
        self.before = progress.clone();
        (self.now, self.last) = ((now, progress.clone()), (now, progress.clone()));
    }

    /// Ends the phase's warm-up: rates restart here. Times do not: a warm-up records none.
    pub fn end_warmup(&mut self, now: Instant, progress: &Progress, span: Option<Duration>) {
        let before = self.before.clone();
        self.begin(self.counted, span);
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
        let ends = [self.last.0, now].map(|end| end.duration_since(self.began).as_secs_f64());
        self.last = (now, progress.clone());
        self.push(ends, slice);
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

    pub(super) fn push(&mut self, [from_s, to_s]: [f64; 2], slice: Slice) {
        self.peak_per_s = self.peak_per_s.max(slice.per_s);
        self.phase_slices += 1;
        if self.slices.len() == KEPT {
            match self.span_s {
                Some(_) => self.halve(),
                None => drop(self.slices.pop_front()),
            }
        }
        self.slices.push_back(Timed { from_s, to_s, slice });
    }

    /// Makes one slice of every two.
    fn halve(&mut self) {
        let halved = self.slices.make_contiguous().chunks(2).map(|two| Timed {
            from_s: two[0].from_s,
            to_s: two[two.len() - 1].to_s,
            slice: joined(two.iter().map(|timed| &timed.slice)).unwrap_or_default(),
        });
        self.slices = halved.collect();
    }

    /// The time that a plot of this many columns spans, in seconds since the run began: the phase, or without a known
    /// duration the latest slices.
    fn window_s(&self, columns: usize) -> (f64, f64) {
        if let Some(span_s) = self.span_s {
            return (self.phase_from_s, self.phase_from_s + span_s);
        }
        let ends = self.slices.front().zip(self.slices.back());
        let (first_s, last_s) = ends.map_or((0.0, 0.0), |(first, last)| (first.from_s, last.to_s));
        let width_s = columns as f64 * COLUMN_S;
        let from_s = first_s.max(last_s - width_s);
        (from_s, from_s + width_s)
    }

    /// A slice per column of a plot: those whose middle is in it, joined, or else the one around its own middle; `None` where
    /// nothing has been recorded yet.
    pub fn plotted(&self, columns: usize) -> Vec<Option<Slice>> {
        let (from_s, to_s) = self.window_s(columns);
        let at_s = |column: f64| from_s + (to_s - from_s) * column / columns as f64;
        let before =
            |end_s: f64| self.slices.partition_point(|timed| timed.from_s + timed.to_s < 2.0 * end_s);
        let plot = |column: usize| {
            let (first, end) = (before(at_s(column as f64)), before(at_s(column as f64 + 1.0)));
            if first < end {
                return joined(self.slices.range(first..end).map(|timed| &timed.slice));
            }
            let middle_s = at_s(column as f64 + 0.5);
            let around = self.slices.get(self.slices.partition_point(|timed| timed.to_s <= middle_s));
            around.filter(|timed| timed.from_s <= middle_s).map(|timed| timed.slice)
        };
        (0..columns).map(plot).collect()
    }

    /// The time that a plot of this many columns spans, in words.
    pub fn span(&self, columns: usize) -> String {
        match self.span_s {
            Some(span_s) => format!("0 to {}", time(span_s)),
            None => {
                let last_s = self.slices.back().map_or(0.0, |timed| timed.to_s);
                format!("last {:.0} s", (last_s - self.window_s(columns).0).ceil())
            }
        }
    }

    /// The counters when the phase began, and the latest.
    pub fn progress(&self) -> (&Progress, &Progress) {
        (&self.before, &self.now.1)
    }

    /// At most the last `n` slices, oldest first.
    pub fn latest(&self, n: usize) -> impl Iterator<Item = &Slice> {
        self.slices.iter().skip(self.slices.len().saturating_sub(n)).map(|timed| &timed.slice)
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

/// One slice of several: the mean rate, all times, the last levels. `None` of none.
fn joined<'s>(slices: impl Iterator<Item = &'s Slice> + Clone) -> Option<Slice> {
    let (n, last) = (slices.clone().count(), *slices.clone().last()?);
    let widest = |(p50, p99): (f64, f64), (other_p50, other_p99)| (p50.min(other_p50), p99.max(other_p99));
    Some(Slice {
        per_s: slices.clone().map(|slice| slice.per_s).sum::<f64>() / n as f64,
        times_us: slices.filter_map(|slice| slice.times_us).reduce(widest),
        ..last
    })
}

#[cfg(test)]
mod tests;
