//! Progress: a live view on a terminal, and a line for each visit anywhere else.

use super::plan::Plan;
use crate::fleet::Progress;
use crate::live::Screen;
use crate::measure::Sampler;
use crate::progress::{Bar, Goal, Look};
use crate::report::format::{bytes, count, number};
use crate::results::compare::Visit;
use crate::words;
use std::time::Duration;

/// What the user sees while it runs.
pub struct Show {
    /// It does not look at the server: to read the memory of ten thousand stacks takes time that others then lack.
    bar: Bar,
    quiet: bool,
    rounds: u32,
    place: String,
    /// Visits that are over, and all.
    visits: (u64, u64),
}

impl Show {
    /// For this plan.
    pub fn new(plan: &Plan, quiet: bool) -> Self {
        let screen = if quiet { None } else { Screen::open() };
        let look = screen.map_or(Look::Quiet, Look::Live);
        Self {
            bar: Bar::new(look, "client compare".into(), Sampler::Unwatched),
            quiet,
            rounds: plan.settings.rounds,
            place: String::new(),
            visits: (0, u64::from(plan.settings.rounds) * plan.subjects.len() as u64),
        }
    }

    /// A visit begins.
    pub fn visit(&mut self, round: u32, name: &str) {
        self.place = format!("{round}/{} {name}", self.rounds);
        self.bar.restart(format!("client compare: round {round} of {}, {name}", self.rounds));
        self.step("starting");
    }

    /// What is being done now, and takes a moment.
    pub fn step(&mut self, what: &str) {
        let (done, all) = self.visits;
        self.bar.begin(what, Goal::Visits { done, all });
    }

    /// What is being done now, and how far it will go.
    pub fn phase(&mut self, what: &str, goal: Goal) {
        self.bar.begin(what, goal);
    }

    /// The same of what measures for so long after a warm-up.
    pub fn measured(&mut self, what: &str, warmup: Duration, duration: Duration) {
        self.bar.begin_measured(what, warmup, duration);
    }

    /// Where that stands.
    pub fn tick(&mut self, progress: &Progress) {
        self.bar.tick(progress);
    }

    /// A visit is over.
    pub fn visited(&mut self, visit: &Visit) {
        let memory = visit.levels.iter().rev().find(|level| level.is_full()).map_or(String::new(), |level| {
            format!(", {} a connection", bytes(level.per_connection(level.idle_bytes)))
        });
        let stopped = visit.stopped.as_ref().map_or(String::new(), |reason| format!(" (stopped: {reason})"));
        let rate = visit
            .closed_loop
            .as_ref()
            .map_or(String::new(), |run| format!(", {} echoes/s", number(run.echoes_per_s)));
        let held = format!("{} connections{stopped}{memory}{rate}", count(visit.held as f64));
        let small = (!visit.levels.is_empty()).then_some(held);
        let workloads =
            visit.workloads.iter().map(|(name, run)| format!("{name} {}/s", number(run.echoes_per_s)));
        let parts: Vec<String> = small.into_iter().chain(workloads).collect();
        self.end_visit(&parts.join(", "));
    }

    /// A visit broke off; the reason is told at the end, where it does not scroll away.
    pub fn failed(&mut self) {
        self.end_visit("failed");
    }

    /// Writes a line that stays.
    fn end_visit(&mut self, outcome: &str) {
        self.visits.0 += 1;
        let line = format!("round {}: {outcome}", self.place);
        if !self.quiet && !self.bar.print_above(&line) {
            words::progress(&line);
        }
    }

    /// All visits are over.
    pub fn finish(&mut self) {
        self.bar.finish();
    }
}
