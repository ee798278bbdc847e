//! Results per second, in the controlling thread: it adds up what each shard reports.

use super::results::{Second, histogram_ns};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) const SECOND_NS: u64 = 1_000_000_000;
/// A last second shorter than this is added to the one before.
const SHORT_NS: u64 = SECOND_NS / 2;
/// No second is to end.
pub(super) const NEVER: u64 = u64::MAX;

/// A shard's part of a second.
#[derive(Clone, Debug)]
pub(super) struct Lap {
    pub shard: u32,
    /// Its number, from 0.
    pub index: u64,
    pub end_ns: u64,
    pub counts: Counts,
    /// Open connections at its end.
    pub live: u64,
    pub times: Histogram<u32>,
}

/// What is counted: in a shard since the start of the phase, and in a lap since the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// `None` without a schedule.
    pub due: Option<u64>,
    pub opened: u64,
    pub echoes: u64,
    pub late: u64,
    pub failures: u64,
}

impl Counts {
    pub(super) fn since(self, before: Counts) -> Counts {
        let due = |due: u64| due.saturating_sub(before.due.unwrap_or(0));
        Counts {
            due: self.due.map(due),
            opened: self.opened - before.opened,
            echoes: self.echoes - before.echoes,
            late: self.late - before.late,
            failures: self.failures - before.failures,
        }
    }

    fn add(&mut self, more: Counts) {
        self.due = self.due.map_or(more.due, |due| Some(due + more.due.unwrap_or(0)));
        self.opened += more.opened;
        self.echoes += more.echoes;
        self.late += more.late;
        self.failures += more.failures;
    }
}

/// A shard's current second.
#[derive(Debug, Default)]
pub(super) struct Lapping {
    pub index: u64,
    /// The counts at its start.
    pub before: Counts,
}

/// The seconds of a phase.
#[derive(Debug)]
pub(super) struct Laps {
    pub(super) from_ns: u64,
    /// Nothing is due from here on.
    due_ns: u64,
    /// Open connections of each shard, as last reported.
    live: Vec<u64>,
    /// The latest seconds, which not all shards have reported, or which may get a short last one added.
    open: BTreeMap<u64, Sum>,
    done: Vec<Second>,
}

#[derive(Debug)]
struct Sum {
    shards: usize,
    end_ns: u64,
    connections: u64,
    counts: Counts,
    times: Histogram<u64>,
}

impl Laps {
    /// From `from_ns` to the end of the phase, for shards with `live` connections, if nothing is due from `due_ns` on.
    pub(super) fn new(from_ns: u64, due_ns: u64, live: Vec<u64>) -> Laps {
        Laps { from_ns, due_ns, live, open: BTreeMap::new(), done: Vec::new() }
    }

    /// Adds a shard's part.
    pub(super) fn add(&mut self, lap: &Lap) {
        self.live[lap.shard as usize] = lap.live;
        let connections = self.live.iter().sum();
        let sum = self.open.entry(lap.index).or_insert_with(|| Sum {
            shards: 0,
            end_ns: 0,
            connections: 0,
            counts: Counts::default(),
            times: histogram_ns(),
        });
        (sum.shards, sum.end_ns) = (sum.shards + 1, sum.end_ns.max(lap.end_ns));
        sum.connections = connections;
        sum.counts.add(lap.counts);
        for bin in lap.times.iter_recorded() {
            sum.times.saturating_record_n(bin.value_iterated_to(), bin.count_at_value().into());
        }
        // Every shard reports its seconds in their order, so all earlier ones are complete. The last of them stays open:
        // this one may be short.
        if sum.shards == self.live.len() {
            let later = self.open.split_off(&lap.index.saturating_sub(1));
            let complete = std::mem::replace(&mut self.open, later);
            complete.into_iter().for_each(|(index, sum)| self.close(index, &sum));
        }
    }

    fn close(&mut self, index: u64, sum: &Sum) {
        let from_ns = self.from_ns + index * SECOND_NS;
        let elapsed_ns = sum.end_ns.saturating_sub(from_ns);
        let due_s = sum.end_ns.min(self.due_ns).saturating_sub(from_ns) as f64 / 1e9;
        if elapsed_ns > 0 {
            self.done.push(Second {
                end: Duration::from_nanos(sum.end_ns - self.from_ns),
                elapsed: Duration::from_nanos(elapsed_ns),
                connections: sum.connections,
                due: sum.counts.due,
                due_per_s: sum.counts.due.map(|due| if due_s > 0.0 { due as f64 / due_s } else { 0.0 }),
                opened: sum.counts.opened,
                echoes: sum.counts.echoes,
                late: sum.counts.late,
                failures: sum.counts.failures,
                times: bins(&sum.times),
            });
        }
    }

    /// All seconds, at the end of the phase.
    pub(super) fn finish(mut self) -> Vec<Second> {
        let mut open = std::mem::take(&mut self.open);
        if let Some((last, mut short)) = open.pop_last() {
            let is_short = short.end_ns < self.from_ns + last * SECOND_NS + SHORT_NS;
            match open.last_entry().filter(|_| is_short) {
                Some(mut before) => {
                    let before = before.get_mut();
                    before.counts.add(short.counts);
                    before.times.add(&short.times).expect("histograms of the same bounds");
                    (before.end_ns, before.connections) =
                        (short.end_ns.max(before.end_ns), short.connections);
                }
                None => {
                    short.connections = self.live.iter().sum();
                    open.insert(last, short);
                }
            }
        }
        open.into_iter().for_each(|(index, sum)| self.close(index, &sum));
        self.done
    }
}

fn bins(times: &Histogram<u64>) -> Vec<(u64, u64)> {
    times.iter_recorded().map(|bin| (bin.value_iterated_to(), bin.count_at_value())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::results::shard_times_ns;
    use super::*;

    fn lap(shard: u32, index: u64, end_ms: u64, due: u64, ms: u64) -> Lap {
        let mut times = shard_times_ns();
        times.record_n(ms * 1_000_000, due as u32).expect("in range");
        let counts = Counts { due: Some(due), echoes: due, ..Counts::default() };
        Lap { shard, index, end_ns: 500 + end_ms * 1_000_000, counts, live: 10, times }
    }

    #[test]
    fn seconds_are_added_up_and_a_short_last_one_joins_the_one_before() {
        let mut laps = Laps::new(500, 500 + 2 * SECOND_NS, vec![10, 10]);
        for lap in [
            lap(0, 0, 1_000, 10, 1),
            lap(0, 1, 2_000, 20, 2),
            lap(1, 0, 1_000, 11, 3),
            lap(1, 1, 2_000, 21, 4),
            lap(0, 2, 2_030, 0, 5),
            lap(1, 2, 2_040, 0, 5),
        ] {
            laps.add(&lap);
        }
        let seconds = laps.finish();
        let rows: Vec<_> = seconds.iter().map(|row| (row.end.as_millis(), row.due, row.echoes)).collect();
        assert_eq!(rows, [(1_000, Some(21), 21), (2_040, Some(41), 41)]);
        assert_eq!(seconds[1].due_per_s, Some(41.0), "of the second in which they were due");
        assert_eq!((seconds[1].connections, seconds[0].times.len()), (20, 2));
    }

    #[test]
    fn the_wait_for_the_last_echoes_has_rows_of_its_own() {
        let mut laps = Laps::new(0, SECOND_NS, vec![0]);
        for lap in [lap(0, 0, 1_000, 5, 1), lap(0, 1, 2_000, 0, 1), lap(0, 2, 2_600, 0, 1)] {
            laps.add(&lap);
        }
        let rows: Vec<_> = laps.finish().iter().map(|row| (row.due, row.due_per_s)).collect();
        assert_eq!(rows, [(Some(5), Some(5.0)), (Some(0), Some(0.0)), (Some(0), Some(0.0))]);
    }

    #[test]
    fn a_phase_that_ends_before_its_measurement_has_no_seconds() {
        let mut laps = Laps::new(SECOND_NS, 2 * SECOND_NS, vec![0]);
        laps.add(&lap(0, 0, 10, 0, 1));
        assert_eq!(laps.finish(), []);
    }
}
