//! One schedule for all shards.
//!
//! Event *k* is due when the integral of the rate reaches *k* (at a constant rate: at *k* / rate), and belongs to connection
//! *k* mod *all*. The schedule does not depend on the number of shards.

use super::rate::{Rate, Rise};

/// A shard's part of the schedule. Its events and its connections are numbered from 0; events are assigned to
/// connections round-robin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    start_ns: u64,
    /// Nanoseconds between two events of the whole schedule, if the rate is constant.
    interval_ns: f64,
    rise: Option<Rise>,
    /// Connections in all shards, and in this one.
    whole: u64,
    own: u64,
    /// In the first `rounds` rounds, each of `shards` shards has one event, this one after `rank` others; …
    rounds: u64,
    shards: u64,
    rank: u64,
    /// … the events of this shard's remaining connections begin at this place of the cycle.
    rest: u64,
}

/// The parts of a schedule of this rate from `start_ns` on, given the connections of each shard. A shard without
/// connections has no part.
pub(super) fn paces(start_ns: u64, rate: impl Into<Rate>, connections: &[u64]) -> Vec<Option<Pace>> {
    let (interval_ns, rise) = match rate.into() {
        Rate::Constant(per_s) => (1e9 / per_s, None),
        Rate::Ramp(ramp) => (f64::INFINITY, Some(Rise::from(ramp))),
    };
    let some = || connections.iter().copied().filter(|&own| own > 0);
    let (whole, shards) = (some().sum(), some().count() as u64);
    let rounds = some().min().unwrap_or(0);
    let (mut rank, mut rest) = (0, rounds * shards);
    let part = |&own: &u64| {
        (own > 0).then(|| {
            let pace = Pace { start_ns, interval_ns, rise, whole, own, rounds, shards, rank, rest };
            rank += 1;
            rest += own - rounds;
            pace
        })
    };
    connections.iter().map(part).collect()
}

impl Pace {
    /// When this shard's event `n` is due.
    #[inline]
    pub(super) fn due_ns(&self, n: u64) -> u64 {
        self.turn_ns(n % self.own, n / self.own)
    }

    /// When event `before` (from 0) of this shard's connection `index` is due.
    #[inline]
    pub(super) fn turn_ns(&self, index: u64, before: u64) -> u64 {
        self.whole_ns(before * self.whole + self.place(index))
    }

    /// The place of a connection in the cycle of all.
    #[inline]
    fn place(&self, index: u64) -> u64 {
        match index.checked_sub(self.rounds) {
            None => index * self.shards + self.rank,
            Some(further) => self.rest + further,
        }
    }

    /// When event `k` of the whole schedule is due. Rounded up, so that an event at the exact end of a span is not within
    /// it, even if the interval is not exact.
    #[inline]
    fn whole_ns(&self, k: u64) -> u64 {
        let after_ns = match &self.rise {
            None => self.interval_ns * k as f64,
            Some(rise) => rise.after_ns(k as f64),
        };
        self.start_ns + after_ns.ceil() as u64
    }

    /// The number of events of connection `index` due before `end_ns`.
    pub(super) fn turns_before(&self, index: u64, end_ns: u64) -> u64 {
        self.whole_before(end_ns).saturating_sub(self.place(index)).div_ceil(self.whole)
    }

    /// The number of events of this shard due before `end_ns`.
    pub(super) fn before(&self, end_ns: u64) -> u64 {
        let (cycles, places) =
            (self.whole_before(end_ns) / self.whole, self.whole_before(end_ns) % self.whole);
        let in_rounds = places.saturating_sub(self.rank).div_ceil(self.shards).min(self.rounds);
        let further = places.saturating_sub(self.rest).min(self.own - self.rounds);
        cycles * self.own + in_rounds + further
    }

    /// The number of events of the whole schedule due before `end_ns`.
    fn whole_before(&self, end_ns: u64) -> u64 {
        let ns = end_ns.saturating_sub(self.start_ns) as f64;
        let mut k = self.rise.map_or(ns / self.interval_ns, |rise| rise.events_in(ns)) as u64;
        // Correct the rounding.
        while k > 0 && self.whole_ns(k - 1) >= end_ns {
            k -= 1;
        }
        while self.whole_ns(k) < end_ns {
            k += 1;
        }
        k
    }
}

#[cfg(test)]
mod tests {
    use super::super::rate::Ramp;
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const START_NS: u64 = 1_000_000;

    /// For any distribution of connections, the events of all shards are those of a single one.
    #[test]
    fn shards_make_the_schedule_of_one() {
        let spreads: [&[u64]; 9] = [
            &[12],
            &[6, 6],
            &[4, 4, 4],
            &[3, 3, 2, 2, 2],
            &[1; 12],
            &[0, 11, 0, 1],
            &[1, 0, 0, 0],
            &[5, 1, 3],
            &[2, 1],
        ];
        let rates = [3.0.into(), 0.7.into(), 2_000.0.into(), ramp(0, 50, 3_000).into(), ramp(7, 9, 1).into()];
        for (spread, rate) in spreads.into_iter().flat_map(|spread| rates.map(|rate: Rate| (spread, rate))) {
            let all: u64 = spread.iter().sum();
            let whole = paces(START_NS, rate, &[all])[0].expect("a pace");
            let shards: Vec<Pace> = paces(START_NS, rate, spread).into_iter().flatten().collect();
            let mut due: Vec<u64> =
                shards.iter().flat_map(|pace| (0..20 * pace.own).map(|n| pace.due_ns(n))).collect();
            due.sort_unstable();
            assert_eq!(
                due,
                (0..20 * all).map(|k| whole.due_ns(k)).collect::<Vec<_>>(),
                "{spread:?} at {rate:?}"
            );
            for end_ns in due.iter().flat_map(|&due_ns| [due_ns - 1, due_ns, due_ns + 1]) {
                let before: u64 = shards.iter().map(|pace| pace.before(end_ns)).sum();
                assert_eq!(before, due.iter().filter(|&&due_ns| due_ns < end_ns).count() as u64);
                for pace in &shards {
                    assert_eq!(
                        (0..pace.own).map(|index| pace.turns_before(index, end_ns)).sum::<u64>(),
                        pace.before(end_ns)
                    );
                }
            }
        }
    }

    #[test]
    fn the_number_of_events_in_a_span_is_exact() {
        for rate in [0.1, 3.0, 7.0, 333.0, 2_000.0, 48_000.0, 999_999.0] {
            for connections in 1..20 {
                for spread in [vec![connections], vec![connections, 1], vec![connections; 3]] {
                    let due = |seconds: u64| {
                        let end_ns = START_NS + seconds * 1_000_000_000;
                        let parts = paces(START_NS, rate, &spread);
                        parts.iter().flatten().map(|pace| pace.before(end_ns)).sum::<u64>()
                    };
                    for seconds in [10, 30, 3_600] {
                        assert_eq!(
                            due(seconds),
                            (rate * seconds as f64).round() as u64,
                            "{rate}, {spread:?}"
                        );
                    }
                }
            }
        }
    }

    fn ramp(from: u32, to: u32, ms: u64) -> Ramp {
        let time = Duration::from_millis(ms);
        Ramp { from_per_s: from.into(), to_per_s: to.into(), time }
    }

    /// When the integral of a ramp reaches `k`, in whole nanoseconds, by a search in exact arithmetic: the integral times
    /// 2·time·10⁹ is a whole number.
    fn slow_due_ns(ramp: Ramp, k: u64) -> u64 {
        let (from, to) = (ramp.from_per_s as u128, ramp.to_per_s as u128);
        let time = ramp.time.as_nanos();
        let is_reached = |ns: u128| {
            let rising = ns.min(time);
            let integral = 2 * time * from * rising + (to - from) * rising * rising;
            integral + 2 * time * to * (ns - rising) >= 2 * time * 1_000_000_000 * u128::from(k)
        };
        let (mut from_ns, mut to_ns) = (0, u128::from(u64::MAX >> 8));
        while from_ns < to_ns {
            let middle_ns = (from_ns + to_ns) / 2;
            if is_reached(middle_ns) { to_ns = middle_ns } else { from_ns = middle_ns + 1 }
        }
        from_ns as u64
    }

    proptest! {
        #[test]
        fn events_of_a_ramp_are_due_when_the_integral_reaches_them(
            from in 0u32..200_000,
            more in 1u32..2_000_000,
            ms in 1u64..3_600_000,
            part in 0.0f64..1.5,
        ) {
            let ramp = ramp(from, from + more, ms);
            let pace = paces(START_NS, ramp, &[1])[0].expect("a pace");
            let twice = u64::from(2 * from + more) * ms;
            let k = (twice as f64 / 2e3 * part) as u64;
            let due_ns = pace.due_ns(k) - START_NS;
            prop_assert!(due_ns.abs_diff(slow_due_ns(ramp, k)) <= 1, "{due_ns} and {}", slow_due_ns(ramp, k));
            prop_assert!(due_ns <= pace.due_ns(k + 1) - START_NS);
            // All events before the end are the integral; one within a nanosecond of the end is due at the end.
            let (end_ns, all) = (START_NS + ms * 1_000_000, twice.div_ceil(2_000));
            let before = pace.before(end_ns);
            prop_assert!(before == all || before + 1 == all && pace.due_ns(before) == end_ns, "{before} of {all}");
            prop_assert_eq!(pace.before(pace.due_ns(k)), k);
        }
    }

    #[test]
    fn a_ramp_stays_at_its_end() {
        let pace = paces(0, ramp(0, 1_000, 2_000), &[1])[0].expect("a pace");
        let due_ms = |k: u64| pace.due_ns(k) / 1_000_000;
        assert_eq!([0, 250, 1_000, 1_001, 2_000].map(due_ms), [0, 1_000, 2_000, 2_001, 3_000]);
    }
}
