//! Which rate to try next: growth until the bound breaks, bisection, and confirmation.
//!
//! A single step can break by chance, when something else had the machine, so near the edge a rate holds or breaks by two
//! of three steps, and growth ends only at a rate that broke three times. A found rate has held in three of three, and the
//! next rate above it has broken.

use crate::report::format::three_digits;
use crate::results::find::Purpose;
use std::collections::{BTreeMap, BTreeSet};

/// Levels per doubling of the rate: neighbours are 2.2% apart.
const PER_DOUBLING: u32 = 32;
/// Steps at the found rate that must hold.
pub(super) const CONFIRMATIONS: u32 = 3;
/// Confirmations of the same rate that may fail before it counts as broken.
const ATTEMPTS: u32 = 2;
/// The highest rate to try.
const HIGHEST_PER_S: f64 = 1e9;

/// A search for the highest level that holds. Level *n* is the lowest rate times 2^(*n* / [`PER_DOUBLING`]).
#[derive(Debug)]
pub(super) struct Search {
    from_per_s: f64,
    stage: Stage,
    /// Steps of the current level that held, and that broke.
    votes: (u32, u32),
    confirmed: BTreeSet<u32>,
    /// Failed confirmations by level.
    failed: BTreeMap<u32, u32>,
    /// How often the level above a confirmed one held.
    climbs: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Grow(u32),
    Bisect {
        held: u32,
        broke: u32,
    },
    Confirm(u32),
    /// Whether the level above this confirmed one breaks.
    Above(u32),
    Found(u32),
    NotFound,
}

impl Search {
    pub(super) fn new(from_per_s: f64) -> Search {
        Search {
            from_per_s,
            stage: Stage::Grow(0),
            votes: (0, 0),
            confirmed: BTreeSet::new(),
            failed: BTreeMap::new(),
            climbs: 0,
        }
    }

    /// The next rate to try, and what for; `None` at the end of the search.
    pub(super) fn next(&self) -> Option<(f64, Purpose)> {
        let (level, purpose) = match self.stage {
            Stage::Grow(level) => (level, Purpose::Grow),
            Stage::Bisect { held, broke } => (held.midpoint(broke), Purpose::Bisect),
            Stage::Confirm(level) => (level, Purpose::Confirm),
            Stage::Above(level) => (level + 1, Purpose::Above),
            Stage::Found(_) | Stage::NotFound => return None,
        };
        Some((self.rate_per_s(level), purpose))
    }

    /// The found rate, and the next one above it; `None` before the end of the search, and if nothing holds.
    pub(super) fn found(&self) -> Option<(f64, f64)> {
        match self.stage {
            Stage::Found(level) => Some((self.rate_per_s(level), self.rate_per_s(level + 1))),
            _ => None,
        }
    }

    /// Records whether the bound held at the rate of [`Search::next`].
    pub(super) fn record(&mut self, held: bool) {
        if held {
            self.votes.0 += 1
        } else {
            self.votes.1 += 1
        }
        let next = match (self.stage, self.votes) {
            // Far below the edge one step is enough.
            (Stage::Grow(level), (1, 0) | (2, _)) => self.grow(level),
            (Stage::Grow(0), (_, 3)) => Stage::NotFound,
            (Stage::Grow(level), (_, 3)) => self.narrow(level - PER_DOUBLING, level),
            (Stage::Bisect { held, broke }, (2, _)) => self.narrow(held.midpoint(broke), broke),
            (Stage::Bisect { held, broke }, (_, 2)) => self.narrow(held, held.midpoint(broke)),
            (Stage::Confirm(level), (CONFIRMATIONS, 0)) => self.confirm(level),
            (Stage::Confirm(level), (_, 1)) => self.fail(level),
            (Stage::Above(level), (2, _)) => self.climb(level + 1),
            (Stage::Above(level), (_, 2)) => Stage::Found(level),
            // Undecided.
            _ => return,
        };
        (self.stage, self.votes) = (next, (0, 0));
    }

    fn rate_per_s(&self, level: u32) -> f64 {
        three_digits(self.from_per_s * 2f64.powf(f64::from(level) / f64::from(PER_DOUBLING)))
    }

    fn grow(&self, held: u32) -> Stage {
        let level = held + PER_DOUBLING;
        if self.rate_per_s(level) > HIGHEST_PER_S { Stage::Confirm(held) } else { Stage::Grow(level) }
    }

    fn narrow(&self, held: u32, broke: u32) -> Stage {
        if broke - held > 1 { Stage::Bisect { held, broke } } else { Stage::Confirm(held) }
    }

    fn confirm(&mut self, level: u32) -> Stage {
        self.confirmed.insert(level);
        if self.failures(level + 1) < ATTEMPTS && self.rate_per_s(level + 1) <= HIGHEST_PER_S {
            Stage::Above(level)
        } else {
            Stage::Found(level)
        }
    }

    /// A level that broke before holds now. The second time, the server has become faster, or growth ended by chance.
    fn climb(&mut self, level: u32) -> Stage {
        self.climbs += 1;
        if self.climbs == 2 { self.grow(level) } else { Stage::Confirm(level) }
    }

    /// One step down. Where that has been confirmed already, this level gets another chance, or is the one that breaks.
    fn fail(&mut self, level: u32) -> Stage {
        *self.failed.entry(level).or_default() += 1;
        let is_last = self.failures(level) >= ATTEMPTS;
        match level.checked_sub(1) {
            Some(below) if self.confirmed.contains(&below) && is_last => Stage::Found(below),
            Some(below) if self.confirmed.contains(&below) => Stage::Above(below),
            Some(below) => Stage::Confirm(below),
            None if is_last => Stage::NotFound,
            None => Stage::Confirm(level),
        }
    }

    fn failures(&self, level: u32) -> u32 {
        self.failed.get(&level).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::random::Xorshift;

    /// All steps of a search against a server, which is a function from a rate to whether it held.
    fn search(
        from_per_s: f64,
        mut server: impl FnMut(f64) -> bool,
    ) -> (Option<f64>, Vec<(f64, Purpose, bool)>) {
        let mut search = Search::new(from_per_s);
        let mut steps = Vec::new();
        while let Some((rate, purpose)) = search.next() {
            let held = server(rate);
            steps.push((rate, purpose, held));
            search.record(held);
            assert!(steps.len() < 1_000, "no end: {search:?}");
        }
        let found = search.found();
        if let Some((rate, above)) = found {
            check_evidence(&steps, rate, above);
        }
        (found.map(|(rate, _)| rate), steps)
    }

    /// Three confirmations in a row held at the rate, and the next one above broke.
    fn check_evidence(steps: &[(f64, Purpose, bool)], rate: f64, above: f64) {
        let confirms =
            |step: &&[(f64, Purpose, bool)]| step.iter().all(|step| *step == (rate, Purpose::Confirm, true));
        assert!(steps.windows(3).any(|window| confirms(&window)), "{rate}: {steps:?}");
        assert!(
            above > HIGHEST_PER_S || steps.iter().any(|step| step.0 == above && !step.2),
            "{above}: {steps:?}"
        );
    }

    /// A number from 0 to 1.
    fn part(random: &mut Xorshift) -> f64 {
        (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    #[test]
    fn a_server_without_noise_is_found_within_a_level() {
        for number in 0..500 {
            let knee = 1_000.0 * 1.021f64.powi(number);
            let (found, steps) = search(1_000.0, |rate| rate <= knee);
            let found = found.expect("the lowest rate holds");
            assert!(found <= knee && found > knee / 1.035, "{found} for {knee}: {steps:?}");
            assert!(steps.len() < 50, "{} steps for {knee}", steps.len());
        }
    }

    #[test]
    fn steps_that_break_by_chance_do_not_hide_the_knee() {
        let mut near = 0;
        for seed in 1..=400 {
            let mut random = Xorshift::new(seed);
            let knee = 150_000.0 * (1.0 + part(&mut random));
            let (found, _) = search(1_000.0, |rate| rate <= knee && part(&mut random) > 0.1);
            assert!(found.is_none_or(|found| found <= knee), "{found:?} for {knee}");
            near += u32::from(found.is_some_and(|found| found > knee / 1.05));
        }
        assert!(near >= 380, "only {near} of 400 within 5%");
    }

    #[test]
    fn a_knee_that_moves_is_found_again_within_five_percent() {
        let mut near = 0;
        for seed in 1..=400 {
            let mut random = Xorshift::new(seed);
            // It moves by up to 3% in both directions.
            let (found, _) = search(5_000.0, |rate| rate <= 100_000.0 * (0.97 + 0.06 * part(&mut random)));
            let found = found.expect("the lowest rate holds");
            assert!(found <= 103_000.0, "{found}");
            near += u32::from((95_000.0..=105_000.0).contains(&found));
        }
        assert!(near >= 390, "only {near} of 400 within 5%");
    }

    #[test]
    fn searches_without_a_knee_end() {
        let (found, steps) = search(1_000.0, |_| false);
        assert_eq!((found, steps.len()), (None, 3));
        let (found, _) = search(1_000.0, |_| true);
        assert!(found.is_some_and(|rate| rate > HIGHEST_PER_S / 2.0), "{found:?}");
        // It holds once, and never again.
        let mut first = true;
        assert_eq!(search(1_000.0, |_| std::mem::take(&mut first)).0, None);
    }
}
