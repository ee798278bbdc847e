//! Progress of a comparison: a live view on a terminal, and a line per visit elsewhere.

use super::plan::Plan;
use crate::fleet::Progress;
use crate::live::Screen;
use crate::measure::Sampler;
use crate::progress::{Bar, Goal, Look};
use crate::report::format::{bytes, count, number, per_s};
use crate::results::compare::Visit;
use crate::{cli, words};
use std::time::Duration;

/// Shows visits and their phases.
pub struct Show {
    /// It does not sample the server: reading the memory of ten thousand stacks would disturb the measurement.
    bar: Bar,
    quiet: bool,
    rounds: u32,
    place: String,
    /// Visits that have ended, and all visits.
    visits: (u64, u64),
}

impl Show {
    /// The view of this plan, before its first visit.
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

    /// Begins a visit.
    pub fn visit(&mut self, round: u32, name: &str) {
        self.place = format!("{round}/{} {name}", self.rounds);
        self.bar.restart(format!("client compare: round {round} of {}, {name}", self.rounds));
        self.step("starting");
    }

    /// Begins a short step, without a goal of its own.
    pub fn step(&mut self, what: &str) {
        let (done, all) = self.visits;
        self.bar.begin(what, Goal::Visits { done, all });
    }

    /// Begins a phase.
    pub fn phase(&mut self, what: &str, goal: Goal) {
        self.bar.begin(what, goal);
    }

    /// Begins a phase that measures for `duration` after `warmup`.
    pub fn measured(&mut self, what: &str, warmup: Duration, duration: Duration) {
        self.bar.begin_measured(what, warmup, duration);
    }

    /// Shows the phase's progress.
    pub fn tick(&mut self, progress: &Progress) {
        self.bar.tick(progress);
    }

    /// Ends a visit.
    pub fn visited(&mut self, visit: &Visit) {
        let memory = visit.levels.iter().rev().find(|level| level.is_full()).map_or(String::new(), |level| {
            format!(", {} each", bytes(level.per_connection(level.idle_bytes)))
        });
        let stopped = visit.stopped.as_ref().map_or(String::new(), |reason| format!(" (stopped: {reason})"));
        let rate = visit
            .closed_loop
            .as_ref()
            .map_or(String::new(), |run| format!(", {} echoes/s", number(run.echoes_per_s)));
        let held = format!("{} connections{stopped}{memory}{rate}", count(visit.held as f64));
        let small = (!visit.levels.is_empty()).then_some(held);
        let workloads =
            visit.workloads.iter().map(|(name, run)| format!("{name} {}", per_s(run.echoes_per_s)));
        let parts: Vec<String> = small.into_iter().chain(workloads).collect();
        self.end_visit(&parts.join(", "));
    }

    /// Ends a visit that failed. The reason is printed at the end, below all visits.
    pub fn failed(&mut self) {
        self.end_visit("failed");
    }

    /// Writes a permanent line.
    fn end_visit(&mut self, outcome: &str) {
        self.visits.0 += 1;
        let line = format!("round {}: {outcome}", self.place);
        for line in cli::fitted(&line).lines().filter(|_| !self.quiet) {
            if !self.bar.print_above(line) {
                words::progress(line);
            }
        }
    }

    /// Ends the view.
    pub fn finish(&mut self) {
        self.bar.finish();
    }
}
