//! Progress: a bar on a terminal, and a line now and then elsewhere.

use super::server::{Sample, Server};
use crate::fleet::Progress;
use crate::report::format;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

/// How often the server is looked at, and rates are computed anew.
const LOOK: Duration = Duration::from_secs(1);
/// How often a line is written where there is no terminal.
const LINE: Duration = Duration::from_secs(3);
/// The bar counts in thousandths of its goal.
const FULL: u64 = 1_000;

/// What a phase is complete with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// So many connections.
    Connections(u64),
    /// So many echoes, over those that there were before.
    Echoes { before: u64, more: u64 },
    /// So much time in the phase.
    Time(Duration),
    /// A time of day, for phases that are repeated.
    Until(Instant),
    /// No connection left.
    Close,
}

/// Shows how far a run has come.
pub(crate) struct Bar {
    server: Server,
    look: Look,
    label: &'static str,
    goal: Goal,
    began: Instant,
    next_look: Instant,
    next_line: Instant,
    /// The counts at the last look.
    last: (Instant, Progress),
    rate: String,
    sample: Option<Sample>,
    peak_rss_bytes: u64,
    /// Tells what memory the machine has left, where that matters; and what it was at the last look.
    left: Option<fn() -> Option<u64>>,
    left_bytes: Option<u64>,
}

enum Look {
    Bar(ProgressBar),
    Lines,
    Quiet,
}

impl Bar {
    pub(crate) fn new(quiet: bool, server: Server) -> Bar {
        let look = match (quiet, stderr().is_terminal()) {
            (true, _) => Look::Quiet,
            (false, false) => Look::Lines,
            (false, true) => {
                let bar = ProgressBar::with_draw_target(Some(FULL), ProgressDrawTarget::stderr());
                bar.set_style(
                    ProgressStyle::with_template("{prefix:>10} {bar:24} {msg}").expect("a valid template"),
                );
                Look::Bar(bar)
            }
        };
        let now = Instant::now();
        Bar {
            server,
            look,
            label: "",
            goal: Goal::Close,
            began: now,
            next_look: now,
            next_line: now + LINE,
            last: (now, Progress::default()),
            rate: String::new(),
            sample: None,
            peak_rss_bytes: 0,
            left: None,
            left_bytes: None,
        }
    }

    /// Shows the machine's memory as well.
    pub(crate) fn with_memory_left(self, left: fn() -> Option<u64>) -> Bar {
        Bar { left: Some(left), ..self }
    }

    /// Looks at the server now, if it is watched.
    pub(crate) fn sample(&mut self) -> Option<Sample> {
        self.sample = self.server.read().ok();
        self.peak_rss_bytes = self.peak_rss_bytes.max(self.sample.map_or(0, |sample| sample.rss_bytes));
        self.sample
    }

    /// The most memory of the server that was seen.
    pub(crate) fn peak_rss_bytes(&self) -> u64 {
        self.peak_rss_bytes
    }

    /// A phase begins.
    pub(crate) fn begin(&mut self, label: &'static str, goal: Goal) {
        (self.label, self.goal, self.began) = (label, goal, Instant::now());
        self.rate.clear();
        if let Look::Bar(bar) = &self.look {
            bar.set_position(0);
            bar.set_message("");
            bar.set_prefix(label);
        }
    }

    /// Shows where the phase stands.
    pub(crate) fn tick(&mut self, progress: &Progress) {
        let now = Instant::now();
        if now >= self.next_look {
            self.next_look = now + LOOK;
            self.sample();
            self.left_bytes = self.left.and_then(|left| left());
            self.rate = rate(&self.last, now, progress);
            self.last = (now, progress.clone());
        }
        match &self.look {
            Look::Bar(bar) => {
                bar.set_position((self.done(progress) * FULL as f64) as u64);
                bar.set_message(self.text(progress));
            }
            Look::Lines if now >= self.next_line => {
                self.next_line = now + LINE;
                eprintln!("{}: {}", self.label, self.text(progress));
            }
            Look::Lines | Look::Quiet => {}
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Look::Bar(bar) = &self.look {
            bar.finish_and_clear();
        }
    }

    /// How much of the goal is reached, from 0 to 1.
    fn done(&self, progress: &Progress) -> f64 {
        let part = match self.goal {
            Goal::Connections(total) => progress.connected as f64 / total as f64,
            Goal::Echoes { before, more } => {
                progress.echoes.saturating_sub(before) as f64 / more.max(1) as f64
            }
            Goal::Time(time) => progress.phase_elapsed.as_secs_f64() / time.as_secs_f64(),
            Goal::Until(end) => {
                let whole = end.saturating_duration_since(self.began).as_secs_f64();
                self.began.elapsed().as_secs_f64() / whole.max(1e-9)
            }
            Goal::Close => 1.0 / (1.0 + progress.connected as f64),
        };
        part.clamp(0.0, 1.0)
    }

    fn text(&self, progress: &Progress) -> String {
        let mut text = match self.goal {
            Goal::Connections(total) => {
                format!("{} of {} connections", count(progress.connected), count(total))
            }
            _ => format!("{} connections", count(progress.connected)),
        };
        text += &self.rate;
        if let Some(sample) = self.sample {
            text += &format!(", server {}", format::bytes(sample.rss_bytes as f64));
        }
        if let Some(left_bytes) = self.left_bytes {
            text += &format!(", {} left", format::bytes(left_bytes as f64));
        }
        match progress.failures.total() {
            0 => text,
            failures => text + &format!(", {} failed", count(failures)),
        }
    }
}

/// What has been done a second since the last look.
fn rate((then, before): &(Instant, Progress), now: Instant, progress: &Progress) -> String {
    let elapsed_s = now.duration_since(*then).as_secs_f64().max(1e-3);
    let per_s = |now: u64, before: u64| format::number(now.saturating_sub(before) as f64 / elapsed_s);
    if progress.echoes > before.echoes {
        format!(", {} echoes/s", per_s(progress.echoes, before.echoes))
    } else if progress.connected > before.connected {
        format!(", {} connects/s", per_s(progress.connected, before.connected))
    } else {
        String::new()
    }
}

fn count(value: u64) -> String {
    format::count(value as f64)
}
