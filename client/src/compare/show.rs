//! Progress: one line that changes on a terminal, and a line for each visit anywhere else.

use super::plan::Plan;
use crate::fleet::Progress;
use crate::report::format::{bytes, count, number};
use crate::report::results::Visit;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::Duration;

/// What the user sees while it runs.
pub struct Show {
    /// Hidden where standard error is no terminal.
    bar: ProgressBar,
    rounds: u32,
    place: String,
    /// Echoes at the last tick and when that was, for a rate.
    last: (u64, Duration),
}

impl Show {
    /// For this plan.
    pub fn new(plan: &Plan) -> Self {
        let visits = u64::from(plan.settings.rounds) * plan.subjects.len() as u64;
        let bar =
            if std::io::stderr().is_terminal() { ProgressBar::new(visits) } else { ProgressBar::hidden() };
        // The template is a constant: that it parses is seen whenever it is shown.
        if let Ok(style) = ProgressStyle::with_template("{bar:12} {pos}/{len} {elapsed} {wide_msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar, rounds: plan.settings.rounds, place: String::new(), last: (0, Duration::ZERO) }
    }

    /// A visit begins.
    pub fn visit(&mut self, round: u32, name: &str) {
        self.place = format!("{round}/{} {name}", self.rounds);
        self.step("starting");
    }

    /// What is being done now.
    pub fn step(&mut self, what: &str) {
        self.last = (0, Duration::ZERO);
        let place = if self.place.is_empty() { String::new() } else { format!("{}: ", self.place) };
        self.bar.set_message(format!("{place}{what}"));
    }

    /// Connections are being opened.
    pub fn connecting(&mut self, asked: u64, progress: &Progress) {
        let open = count(progress.connected as f64);
        self.bar.set_message(format!("{}: {open} of {} connections", self.place, count(asked as f64)));
    }

    /// Messages are being sent.
    pub fn loading(&mut self, what: &str, progress: &Progress) {
        let (echoes, then) = std::mem::replace(&mut self.last, (progress.echoes, progress.phase_elapsed));
        let seconds = progress.phase_elapsed.saturating_sub(then).as_secs_f64();
        if echoes > 0 && seconds > 0.0 {
            let rate = number(progress.echoes.saturating_sub(echoes) as f64 / seconds);
            self.bar.set_message(format!("{}: {what}, {rate} echoes/s", self.place));
        }
    }

    /// A visit is over.
    pub fn visited(&mut self, visit: &Visit) {
        self.bar.inc(1);
        let memory = visit.levels.iter().rev().find(|level| level.is_full()).map_or(String::new(), |level| {
            format!(", {} a connection", bytes(level.per_connection(level.idle_bytes)))
        });
        let stopped = visit.stopped.as_ref().map_or(String::new(), |reason| format!(" (stopped: {reason})"));
        let rate = visit
            .closed_loop
            .as_ref()
            .map_or(String::new(), |run| format!(", {} echoes/s", number(run.echoes_per_s)));
        self.line(&format!(
            "round {}: {} connections{stopped}{memory}{rate}",
            self.place,
            count(visit.held as f64)
        ));
    }

    /// A visit broke off; the reason is told at the end, where it does not scroll away.
    pub fn failed(&self) {
        self.bar.inc(1);
        self.line(&format!("round {}: failed", self.place));
    }

    /// A line that stays.
    fn line(&self, text: &str) {
        if self.bar.is_hidden() { eprintln!("{text}") } else { self.bar.println(text) }
    }

    /// All visits are over.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
