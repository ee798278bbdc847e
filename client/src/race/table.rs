//! The summary of a race: both servers side by side, and how the second differs.

use crate::live::text::{Row, Tone, cut};
use crate::report::format::{bytes, change, count, micros, number};
use crate::results::race::{RaceReport, Side};
use crate::results::run::RunReport;
use unicode_width::UnicodeWidthStr;

const LABEL: usize = 17;
/// Columns of a server's name, at least and at most.
const LEAST: usize = 12;
const MOST: usize = 20;

/// A figure: its name, its value, its format, and whether more is better.
type Figure = (&'static str, fn(&RunReport) -> Option<f64>, fn(f64) -> String, Better);

#[derive(Clone, Copy, PartialEq)]
enum Better {
    More,
    Less,
}

const FIGURES: [Figure; 11] = [
    ("connections", |run| Some(run.connect.as_ref()?.connected as f64), count, Better::More),
    ("connects/s", |run| Some(run.connect.as_ref()?.connects_per_s), number, Better::More),
    ("handshake p99", |run| run.connect.as_ref()?.handshake.quantile_us(0.99), micros, Better::Less),
    ("echoes/s", |run| Some(run.echo.as_ref()?.echoes_per_s), number, Better::More),
    ("latency p50", |run| run.echo.as_ref()?.latency.quantile_us(0.5), micros, Better::Less),
    ("latency p99", |run| run.echo.as_ref()?.latency.quantile_us(0.99), micros, Better::Less),
    ("latency max", |run| run.echo.as_ref()?.latency.quantile_us(1.0), micros, Better::Less),
    ("CPU per echo", |run| run.server.as_ref()?.cpu_us_per_echo, micros, Better::Less),
    ("peak memory", |run| Some(run.server.as_ref()?.peak_rss_bytes as f64), bytes, Better::Less),
    ("per connection", |run| run.server.as_ref()?.rss_bytes_per_connection, bytes, Better::Less),
    ("failures", |run| Some(run.failures.total() as f64), count, Better::Less),
];

/// A row per figure that either server has; with colours, the better one is highlighted.
pub fn render(report: &RaceReport, colour: bool) -> String {
    let widths: Vec<usize> =
        report.servers.iter().map(|side| side.name.width().clamp(LEAST, MOST) + 2).collect();
    let mut rows = vec![report.servers.iter().zip(&widths).fold(
        Row::of(Tone::Plain, " ".repeat(LABEL)),
        |row, (side, width)| {
            let name = cut(&side.name, width - 2);
            let blanks = " ".repeat(width - name.width());
            row.and(Tone::Strong, blanks + &name)
        },
    )];
    for figure in FIGURES {
        let values: Vec<Option<f64>> =
            report.servers.iter().map(|side| figure.1(side.run.as_ref()?)).collect();
        if values.iter().any(Option::is_some) {
            rows.push(row(&figure, &values, &widths));
        }
    }
    rows.extend(report.servers.iter().filter_map(error));
    rows.iter().map(|row| row.to_terminal(colour) + "\n").collect()
}

fn row((label, _, written, better): &Figure, values: &[Option<f64>], widths: &[usize]) -> Row {
    let both = values[0].zip(values[1]);
    let wins = |value: f64| {
        both.is_some_and(|(left, right)| {
            left != right && value == if *better == Better::More { left.max(right) } else { left.min(right) }
        })
    };
    let row = values.iter().zip(widths).fold(
        Row::of(Tone::Dim, format!("{label:<LABEL$}")),
        |row, (value, width)| {
            let text = value.map_or("–".into(), written);
            let tone = if value.is_some_and(wins) { Tone::Amount } else { Tone::Plain };
            row.and(tone, format!("{text:>width$}"))
        },
    );
    match both {
        Some((left, right)) if left > 0.0 && right > 0.0 && left != right => {
            row.and(Tone::Dim, format!("  {}", change(left, right, ("less", "more"))))
        }
        _ => row,
    }
}

/// The error of a server whose race failed.
fn error(side: &Side) -> Option<Row> {
    let error = side.error.as_ref()?;
    Some(Row::of(Tone::Bad, format!("{} failed: ", side.name)).and(Tone::Plain, error.as_str()))
}
