//! Progress of one run: a live view on a terminal, and a line every few seconds elsewhere.

use super::gate::Gate;
use super::goal::Goal;
use crate::fleet::Progress;
use crate::live::text::Tone;
use crate::live::{Fact, History, Panel, Scale, Screen};
use crate::measure::Sampler;
use crate::report::format;
use crate::results::Sample;
use crate::words;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the server is sampled.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(3);

/// The latest panel of one run, where several runs share a screen.
pub type Lane = Arc<Mutex<Option<(Panel, History)>>>;

/// Where progress is shown.
pub enum Look {
    /// On a terminal of its own.
    Live(Screen),
    /// In a lane that another thread draws.
    Lane(Lane),
    /// In lines, which begin with a name if there are several runs.
    Lines(Option<String>),
    /// Nowhere.
    Quiet,
}

impl Look {
    /// The live view where standard error is a terminal, and lines elsewhere.
    pub fn new(quiet: bool) -> Look {
        match (quiet, Screen::open()) {
            (true, _) => Look::Quiet,
            (false, Some(screen)) => Look::Live(screen),
            (false, None) => Look::Lines(None),
        }
    }
}

/// Shows the progress of a run, phase by phase.
pub struct Bar {
    look: Look,
    title: String,
    server: Sampler,
    /// Where each phase waits for the other runs to reach it.
    gate: Option<Gate>,
    label: String,
    goal: Goal,
    started: Instant,
    began: Instant,
    /// The end of the current warm-up, and the label and goal after it; and the length of the warm-up that has ended.
    after_warmup: Option<(Duration, String, Goal)>,
    warmup: Duration,
    history: History,
    /// No progress of this phase has arrived yet; the latest progress has not been shown yet.
    is_new: bool,
    is_stale: bool,
    next_sample: Instant,
    next_line: Instant,
    /// The server's first and latest sample, the time of the latest, and the cores that the server used before it.
    first: Option<Sample>,
    sample: Option<Sample>,
    sampled: Instant,
    cores: Option<f64>,
    peak_rss_bytes: u64,
    /// Reads the machine's available memory, if it is shown; and its latest value.
    left: Option<fn() -> Option<u64>>,
    left_bytes: Option<u64>,
}

impl Bar {
    /// A bar with this title, which the live view shows.
    pub fn new(look: Look, title: String, server: Sampler) -> Bar {
        let now = Instant::now();
        Bar {
            look,
            title,
            server,
            gate: None,
            label: String::new(),
            goal: Goal::Close,
            started: now,
            began: now,
            after_warmup: None,
            warmup: Duration::ZERO,
            history: History::new(now),
            is_new: true,
            is_stale: false,
            next_sample: now,
            next_line: now + LINE_EVERY,
            first: None,
            sample: None,
            sampled: now,
            cores: None,
            peak_rss_bytes: 0,
            left: None,
            left_bytes: None,
        }
    }

    /// Shows the machine's available memory as well.
    pub fn with_memory_left(self, left: fn() -> Option<u64>) -> Bar {
        Bar { left: Some(left), ..self }
    }

    /// Begins each phase together with the other runs at the gate.
    pub fn with_gate(self, gate: Gate) -> Bar {
        Bar { gate: Some(gate), ..self }
    }

    /// Samples the server now; `None` where it is not watched.
    pub fn sample(&mut self) -> Option<Sample> {
        let (before, then) = (self.sample, self.sampled);
        (self.sample, self.sampled) = (self.server.read().ok(), Instant::now());
        self.first = self.first.or(self.sample);
        self.peak_rss_bytes = self.peak_rss_bytes.max(self.sample.map_or(0, |sample| sample.rss_bytes));
        let elapsed = self.sampled.duration_since(then);
        // Processor time counts in hundredths of a second: over a shorter time the quotient is noise.
        if elapsed >= SAMPLE_EVERY / 2 {
            let cores = |(now, before): (Sample, Sample)| (now.cpu_s - before.cpu_s) / elapsed.as_secs_f64();
            self.cores = self.sample.zip(before).map(cores);
        }
        self.sample
    }

    /// The most resident memory of all samples, in bytes.
    pub fn peak_rss_bytes(&self) -> u64 {
        self.peak_rss_bytes
    }

    /// Begins a phase that measures for `duration` after `warmup`.
    pub fn begin_measured(&mut self, label: &str, warmup: Duration, duration: Duration) {
        if warmup.is_zero() {
            return self.begin(label, Goal::Time(duration));
        }
        self.begin("warming up", Goal::Time(warmup));
        self.after_warmup = Some((warmup, label.into(), Goal::Time(duration)));
    }

    /// Begins a phase, whose counts start at zero.
    pub fn begin(&mut self, label: impl Into<String>, goal: Goal) {
        if self.is_stale {
            self.show();
        }
        if let Some(gate) = &self.gate {
            if let Look::Lane(lane) = &self.look
                && let Some((panel, _)) = lane.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
            {
                panel.phase = "waiting".into();
            }
            gate.wait();
        }
        (self.label, self.goal, self.began) = (label.into(), goal, Instant::now());
        (self.after_warmup, self.warmup, self.is_new) = (None, Duration::ZERO, true);
        self.history.begin(goal.counted(), goal.span());
        if !matches!(self.look, Look::Lines(_)) {
            self.show();
        }
    }

    /// Sets the duration of the phase, where its goal does not say it.
    pub fn expect(&mut self, span: Duration) {
        self.history.expect(Some(span));
    }

    /// Continues with another server, under another title.
    pub fn restart(&mut self, title: String) {
        (self.title, self.history, self.is_stale) = (title, History::new(Instant::now()), false);
    }

    /// Writes a permanent line above the live view; `false` where there is no live view.
    pub fn print_above(&mut self, line: &str) -> bool {
        match &mut self.look {
            Look::Live(screen) => screen.print_above(line),
            _ => return false,
        }
        true
    }

    /// Takes the phase's progress, and shows it if the last was shown long enough ago.
    pub fn tick(&mut self, progress: &Progress) {
        let now = Instant::now();
        let is_first = std::mem::take(&mut self.is_new);
        if is_first || now >= self.next_sample {
            self.next_sample = now + SAMPLE_EVERY;
            self.sample();
            self.left_bytes = self.left.and_then(|left| left());
        }
        if is_first {
            // What the server used before belongs to the phase before.
            self.cores = None;
            self.history.start(now, progress);
        }
        if let Some((_, label, goal)) = self.after_warmup.take_if(|(end, ..)| progress.phase_elapsed >= *end)
        {
            (self.label, self.warmup, self.goal) = (label, progress.phase_elapsed, goal);
            self.history.end_warmup(now, progress, goal.span());
        }
        let rss_bytes = self.sample.map_or(0, |sample| sample.rss_bytes);
        self.is_stale = !self.history.add(now, progress, rss_bytes);
        if !self.is_stale {
            self.show();
        }
    }

    /// Shows the latest progress.
    fn show(&mut self) {
        if matches!(self.look, Look::Quiet) {
            return;
        }
        let (before, progress) = self.history.progress();
        let (panel, history) = (self.panel(before, progress), &self.history);
        match &mut self.look {
            Look::Live(screen) => {
                let room = screen.room();
                screen.draw(&panel.rows(history, Scale::of(&[history], room.0), room));
            }
            Look::Lane(lane) => {
                *lane.lock().unwrap_or_else(PoisonError::into_inner) = Some((panel, history.clone()));
            }
            Look::Lines(name) if Instant::now() >= self.next_line => {
                self.next_line = Instant::now() + LINE_EVERY;
                let name = name.as_ref().map_or(String::new(), |name| format!("{name}, "));
                words::progress(&format!("{name}{}: {}", self.label, self.text(progress)));
            }
            Look::Lines(_) | Look::Quiet => {}
        }
    }

    /// Clears the live view.
    pub fn finish(&mut self) {
        if let Look::Live(screen) = &mut self.look {
            screen.clear();
        }
    }

    fn panel(&self, before: &Progress, progress: &Progress) -> Panel {
        let (rate, times) = self.goal.nouns();
        let (part, done) = self.done(before, progress);
        let mut facts = vec![Fact {
            name: "connections",
            value: count(progress.connected),
            of: Some(|slice| slice.connected),
            tone: Tone::Amount,
        }];
        facts.extend(self.sample.map(|sample| Fact {
            name: "server",
            value: self.server_now(sample, progress),
            of: Some(|slice| slice.rss_bytes),
            tone: Tone::Amount,
        }));
        let plain = |name, value, tone| Fact { name, value, of: None, tone };
        let cpu = self.cores.map(|cores| format!("{} of a core", format::percent(cores)));
        facts.extend(cpu.map(|cpu| plain("CPU", cpu, Tone::Plain)));
        let left = self.left_bytes.map(|bytes| format::bytes(bytes as f64));
        facts.extend(left.map(|left| plain("memory left", left, Tone::Plain)));
        if progress.pushed > 0 {
            facts.push(plain("pushed", count(progress.pushed), Tone::Plain));
        }
        if progress.reconnecting > 0 {
            facts.push(plain("reconnecting", count(progress.reconnecting), Tone::Bad));
        }
        let classes = progress.failures.classes().map(|(class, n)| format!("{} {}", count(n), class.name()));
        let classes: Vec<String> = classes.collect();
        if !classes.is_empty() {
            facts.push(plain("failed", classes.join(", "), Tone::Bad));
        }
        let (title, elapsed, phase) = (self.title.clone(), self.started.elapsed(), self.label.clone());
        Panel { title, elapsed, phase, part, done, rate, times, facts }
    }

    /// The server's memory, in total and per connection.
    fn server_now(&self, sample: Sample, progress: &Progress) -> String {
        let mut text = format::bytes(sample.rss_bytes as f64);
        let grown = sample.rss_bytes as f64 - self.first.map_or(0.0, |first| first.rss_bytes as f64);
        // The sample is up to a second old: while the fleet grows, a quotient would be wrong.
        let is_growing = matches!(self.goal, Goal::Connections(_) | Goal::Close);
        if grown > 0.0 && progress.connected > 0 && !is_growing {
            text += &format!(", {} each", format::bytes(grown / progress.connected as f64));
        }
        text
    }

    /// The part of the goal that is reached, from 0 to 1, and in words.
    fn done(&self, before: &Progress, progress: &Progress) -> (f64, String) {
        let of = |done: u64, all: u64| {
            (done as f64 / all.max(1) as f64, format!("{} of {}", count(done), count(all)))
        };
        let time = |done: Duration, all: Duration| {
            let (done, all) = (done.min(all).as_secs_f64(), all.as_secs_f64());
            (done / all.max(1e-9), format!("{done:.0} of {}", format::time(all)))
        };
        let (part, words) = match self.goal {
            Goal::Connections(total) => of(progress.connected, total),
            Goal::Echoes(all) => of(progress.echoes.saturating_sub(before.echoes), all),
            Goal::Time(whole) | Goal::Churn(whole) => {
                time(progress.phase_elapsed.saturating_sub(self.warmup), whole)
            }
            Goal::Until(end) => time(self.began.elapsed(), end.saturating_duration_since(self.began)),
            Goal::Visits { done, all } => {
                let (part, words) = of(done, all);
                (part, words + " visits")
            }
            Goal::Close => of(before.connected.saturating_sub(progress.connected), before.connected),
        };
        (part.clamp(0.0, 1.0), words)
    }

    fn text(&self, progress: &Progress) -> String {
        let mut text = match self.goal {
            Goal::Connections(total) => {
                format!("{} of {} connections", count(progress.connected), count(total))
            }
            _ => format!("{} connections", count(progress.connected)),
        };
        let (per_s, _) = self.history.rates_per_s();
        if per_s > 0.0 {
            text += &format!(", {} {}", format::number(per_s), self.goal.nouns().0);
        }
        if progress.pushed > 0 {
            text += &format!(", {} pushed", count(progress.pushed));
        }
        if progress.reconnecting > 0 {
            text += &format!(", {} reconnecting", count(progress.reconnecting));
        }
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

fn count(value: u64) -> String {
    format::count(value as f64)
}

#[cfg(test)]
mod tests;
