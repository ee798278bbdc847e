//! The live view of one fleet, laid out for the size of the terminal.

use super::history::{History, Slice};
use super::plot::{bands, gauge, round_up, spark};
use super::text::{Row, Tone, side_by_side};
use crate::report::format::{micros, number, short};
use std::iter;
use std::time::Duration;

/// Columns of an axis label.
const LABEL: usize = 6;
/// Columns of a name and of a value, in the rows below the plots.
const NAME: usize = 12;
const VALUE: usize = 30;
/// Columns from which the two plots are side by side.
const WIDE: usize = 100;
const BETWEEN: &str = "   ";
/// Columns below which the view is one line.
const NARROW: usize = 32;
/// Maximum rows of a plot: stacked, and side by side.
const STACKED_ROWS: usize = 5;
const WIDE_ROWS: usize = 8;

/// A figure below the plots.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    /// Its label, of at most 12 columns.
    pub name: &'static str,
    /// Its current value, formatted.
    pub value: String,
    /// Its value in a slice, for the sparkline next to it.
    pub of: Option<fn(&Slice) -> f64>,
    pub tone: Tone,
}

/// The state of a fleet, as text and figures.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    /// The server's name or URL, or the command.
    pub title: String,
    /// Since the start of the run.
    pub elapsed: Duration,
    /// The name of the current phase.
    pub phase: String,
    /// The progress of the phase, from 0 to 1.
    pub part: f64,
    /// The same in words, such as `10 of 20 s`.
    pub done: String,
    /// The label of the rate, such as `echoes/s`.
    pub rate: &'static str,
    /// The label of the times, such as `latency`.
    pub times: &'static str,
    /// Figures below the plots.
    pub facts: Vec<Fact>,
}

/// The ends of the plots' axes. Two fleets side by side share one scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    max_per_s: f64,
    /// Both ends of the logarithmic axis: powers of ten, in microseconds.
    times_us: (f64, f64),
}

impl Scale {
    /// Fits the slices that panels of this width show.
    pub fn of(histories: &[&History], columns: usize) -> Scale {
        let shown = dots_in(plot_width(columns));
        let slices: Vec<Slice> =
            histories.iter().flat_map(|history| history.plotted(shown)).flatten().collect();
        let max_per_s = slices.iter().map(|slice| slice.per_s).fold(0.0, f64::max);
        let times = slices.iter().filter_map(|slice| slice.times_us);
        let (min, max) = times.fold((f64::MAX, 0f64), |(min, max), (p50, p99)| (min.min(p50), max.max(p99)));
        let power = |us: f64| 10f64.powf(us.log10().floor());
        let times_us = if max > 0.0 { (power(min), power(max) * 10.0) } else { (10.0, 10_000.0) };
        Scale { max_per_s: round_up(max_per_s), times_us }
    }

    /// The height of a rate in its plot, from 0 to 1.
    fn rate(&self, per_s: f64) -> f64 {
        per_s / self.max_per_s
    }

    /// The height of a time in its plot, from 0 to 1.
    fn time(&self, us: f64) -> f64 {
        let (min, max) = self.times_us;
        (us / min).log10() / (max / min).log10()
    }
}

fn plot_width(columns: usize) -> usize {
    if columns >= WIDE { (columns - BETWEEN.len()) / 2 } else { columns }
}

/// The columns of dots of a plot of this width: two per column of braille.
fn dots_in(plot_width: usize) -> usize {
    plot_width.saturating_sub(LABEL + 1) * 2
}

/// Begins a row with a label.
fn labelled(text: &str) -> Row {
    Row::of(Tone::Dim, format!("{text:<NAME$} "))
}

impl Panel {
    /// Lays the panel out in at most these columns and rows; what does not fit is left out.
    pub fn rows(&self, history: &History, scale: Scale, (columns, rows): (usize, usize)) -> Vec<Row> {
        if columns < NARROW || rows < 4 {
            return vec![self.line(history).clipped(columns)];
        }
        let (wide, width) = (columns >= WIDE, plot_width(columns));
        // Outside the plots: title, gauge, a blank line and a title per plot, a blank line, and the facts.
        let (others, plots, max) =
            if wide { (5 + self.facts.len(), 1, WIDE_ROWS) } else { (7 + self.facts.len(), 2, STACKED_ROWS) };
        let height = (rows.saturating_sub(others) / plots).min(max);
        let mut drawn = vec![self.head(columns), self.progress(columns)];
        if height < 2 {
            drawn.push(self.rate_title(history).clipped(columns));
            drawn.push(self.times_title(history, columns).clipped(columns));
        } else {
            let rates = self.rates(history, scale, width, height);
            let times = self.latencies(history, scale, width, height);
            drawn.push(Row::default());
            if wide {
                drawn.extend(side_by_side(rates, times, width, BETWEEN));
            } else {
                drawn.extend(rates);
                drawn.push(Row::default());
                drawn.extend(times);
            }
            drawn.push(Row::default());
        }
        drawn.extend(self.facts.iter().map(|fact| fact.row(history, columns)));
        drawn.truncate(rows);
        drawn
    }

    fn head(&self, columns: usize) -> Row {
        let seconds = self.elapsed.as_secs();
        let clock = format!("{}:{:02}", seconds / 60, seconds % 60);
        Row::of(Tone::Strong, self.title.as_str()).with_end(Row::of(Tone::Dim, clock), columns)
    }

    fn progress(&self, columns: usize) -> Row {
        let phase = format!("{:<NAME$} ", self.phase);
        let width = columns.saturating_sub(phase.chars().count() + self.done.chars().count() + 1);
        let (done, rest) = gauge(self.part, width);
        let row = Row::of(Tone::Strong, phase).and(Tone::Rate, done).and(Tone::Dim, rest);
        row.and(Tone::Plain, format!(" {}", self.done))
    }

    fn rate_title(&self, history: &History) -> Row {
        let (now, peak) = history.rates_per_s();
        labelled(self.rate).and(Tone::Rate, format!("{}, peak {}", number(now), number(peak)))
    }

    fn times_title(&self, history: &History, columns: usize) -> Row {
        let row = labelled(self.times);
        let Some([p50, p99, max]) = history.times_us() else { return row.and(Tone::Dim, "–") };
        let row = row.and(Tone::Time, format!("p50 {}, p99 {}", micros(p50), micros(p99)));
        let longer = row.clone().and(Tone::Time, format!(", max {}", micros(max)));
        if longer.width() <= columns { longer } else { row }
    }

    fn rates(&self, history: &History, scale: Scale, columns: usize, rows: usize) -> Vec<Row> {
        let area = |slice: &Slice| (slice.per_s > 0.0).then(|| (0.0, scale.rate(slice.per_s)));
        let dots = dots_in(columns);
        let areas: Vec<_> = history.plotted(dots).iter().map(|slice| area(slice.as_ref()?)).collect();
        let span = Row::of(Tone::Dim, history.span(dots));
        let title = self.rate_title(history);
        let has_room = title.width() + span.width() < columns;
        let title = if has_room { title.with_end(span, columns) } else { title.clipped(columns) };
        plot(title, &areas, rows, [short(scale.max_per_s), "0".into()], Tone::Rate)
    }

    /// Bands from the median to the 99th percentile, on a logarithmic axis.
    fn latencies(&self, history: &History, scale: Scale, columns: usize, rows: usize) -> Vec<Row> {
        let band = |(p50, p99)| (scale.time(p50), scale.time(p99));
        let slices = history.plotted(dots_in(columns));
        let times: Vec<_> = slices.iter().map(|slice| slice.as_ref()?.times_us.map(band)).collect();
        let labels = [micros(scale.times_us.1), micros(scale.times_us.0)];
        plot(self.times_title(history, columns).clipped(columns), &times, rows, labels, Tone::Time)
    }

    /// The panel in one line.
    fn line(&self, history: &History) -> Row {
        let row = Row::of(Tone::Strong, self.phase.as_str()).and(Tone::Plain, format!(" {}", self.done));
        row.and(Tone::Rate, format!(" {} {}", number(history.rates_per_s().0), self.rate))
    }
}

impl Fact {
    fn row(&self, history: &History, columns: usize) -> Row {
        let row = labelled(self.name).and(self.tone, &self.value);
        let width = columns.saturating_sub(NAME + 1 + VALUE);
        let Some(of) = self.of.filter(|_| width >= 8 && row.width() <= NAME + VALUE) else {
            return row.clipped(columns);
        };
        // It spans the same time as the plots.
        let dots: Vec<Option<f64>> = history
            .plotted(dots_in(plot_width(columns)))
            .iter()
            .map(|slice| slice.as_ref().map(of))
            .collect();
        let blocks = dots.chunks(dots.len().div_ceil(width));
        let last: Vec<f64> = blocks.map_while(|block| block.iter().flatten().last().copied()).collect();
        row.padded(NAME + 1 + VALUE).and(self.tone, spark(&last))
    }
}

fn plot(
    title: Row,
    columns: &[Option<(f64, f64)>],
    rows: usize,
    labels: [String; 2],
    tone: Tone,
) -> Vec<Row> {
    let [top, bottom] = labels;
    let label = |row: usize| match row {
        0 => top.as_str(),
        row if row + 1 == rows => bottom.as_str(),
        _ => "",
    };
    let draw = |(row, dots)| Row::of(Tone::Dim, format!("{:>LABEL$} ", label(row))).and(tone, dots);
    iter::once(title).chain(bands(columns, rows).into_iter().enumerate().map(draw)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// Twelve seconds: connections, then echoes, slower for two seconds.
    fn history() -> History {
        let mut history = History::new(Instant::now());
        for n in 0..60u32 {
            let (rising, slow) = (n < 10, (30..40).contains(&n));
            let from_s = f64::from(n) / 5.0;
            history.push(
                [from_s, from_s + 0.2],
                Slice {
                    per_s: if rising { 5_000.0 } else { 80_000.0 - f64::from(u8::from(slow)) * 30_000.0 },
                    times_us: Some(if slow { (900.0, 40_000.0) } else { (120.0, 2_500.0) }),
                    connected: if rising { f64::from(n + 1) * 1_000.0 } else { 10_000.0 },
                    rss_bytes: 4e6 + f64::from(n.min(10)) * 1e5,
                },
            );
        }
        history
    }

    fn panel() -> Panel {
        let fact = |name, value: &str, of| Fact { name, value: value.into(), of, tone: Tone::Amount };
        Panel {
            title: "stage4-zero-buffer".into(),
            elapsed: Duration::from_secs(12),
            phase: "echoing".into(),
            part: 0.5,
            done: "10 of 20 s".into(),
            rate: "echoes/s",
            times: "latency",
            facts: vec![
                fact("connections", "10,000", Some(|slice| slice.connected)),
                fact("server", "5 MB, 14.6 B each", Some(|slice| slice.rss_bytes)),
                fact("failed", "3 reset", None),
            ],
        }
    }

    fn drawn(columns: usize, rows: usize) -> Vec<String> {
        let history = history();
        let drawn = panel().rows(&history, Scale::of(&[&history], columns), (columns, rows));
        assert!(drawn.len() <= rows && drawn.iter().all(|row| row.width() <= columns), "{drawn:?}");
        drawn.iter().map(|row| row.to_terminal(false)).collect()
    }

    #[test]
    fn plots_are_stacked() {
        let expected = [
            "stage4-zero-buffer                                     0:12",
            "echoing      ━━━━━━━━━━━━━━━━━╸───────────────── 10 of 20 s",
            "",
            "echoes/s     80,000, peak 80,000                  last 12 s",
            "  100k",
            "            ⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿     ⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿",
            "            ⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣶⣶⣶⣶⣶⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿",
            "            ⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿",
            "     0 ⣤⣤⣤⣤⣤⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿",
            "",
            "latency      –",
            "100 ms                ⣀⣀⣀⣀⣀",
            "                      ⣿⣿⣿⣿⣿",
            "       ⣤⣤⣤⣤⣤⣤⣤⣤⣤⣤⣤⣤⣤⣤⣤⣿⣿⣿⣿⣿⣤⣤⣤⣤⣤⣤⣤⣤⣤⣤",
            "       ⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⠛⠛⠛⠛⠛⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿",
            "100 µs ⠿⠿⠿⠿⠿⠿⠿⠿⠿⠿⠿⠿⠿⠿⠿     ⠿⠿⠿⠿⠿⠿⠿⠿⠿⠿",
            "",
            "connections  10,000                        ▆████████",
            "server       5 MB, 14.6 B each             █████████",
            "failed       3 reset",
        ];
        assert_eq!(drawn(59, 23), expected);
    }

    #[test]
    fn wide_panels_have_plots_side_by_side_and_low_ones_none() {
        let wide = drawn(119, 30);
        assert_eq!(wide.len(), 16);
        assert!(wide[3].contains("last 12 s   latency      –"), "{wide:?}");
        assert!(wide[4].starts_with("  100k") && wide[4].ends_with("100 ms"), "{wide:?}");
        let low = [
            "stage4-zero-buffer                                                         0:12",
            "echoing      ━━━━━━━━━━━━━━━━━━━━━━━━━━━╸─────────────────────────── 10 of 20 s",
            "echoes/s     80,000, peak 80,000",
            "latency      –",
            "connections  10,000                        ▄▇█████████████",
            "server       5 MB, 14.6 B each             ▇██████████████",
            "failed       3 reset",
        ];
        assert_eq!(drawn(79, 9), low);
        assert_eq!(drawn(30, 20), ["echoing 10 of 20 s 80,000 ech…"]);
    }

    #[test]
    fn it_fits_any_size() {
        for columns in 0..140 {
            for rows in 1..30 {
                drawn(columns, rows);
            }
        }
    }
}
