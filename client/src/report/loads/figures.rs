//! The figures of results: one list for the cards, the table, the terminal and the CSV file.

use super::super::columns;
use super::super::csv::quoted;
use super::super::format::{bytes, count, micros, number};
use super::read::{Kind, Loaded};
use crate::results::find::FindReport;
use crate::results::run::{ConnectReport, EchoReport, RunReport, ServerReport};
use std::fmt::Write;

/// One figure.
pub(super) struct Figure {
    /// Machine-readable name, unit last.
    pub key: &'static str,
    /// Label; `…` continues the label above.
    pub label: &'static str,
    /// Formats a value with its unit.
    pub format: fn(f64) -> String,
    value: fn(&Loaded) -> Option<f64>,
}

impl Figure {
    /// The figure of a result, if it has it.
    pub(super) fn of(&self, result: &Loaded) -> Option<f64> {
        (self.value)(result)
    }

    /// The same as text.
    pub(super) fn text(&self, result: &Loaded) -> Option<String> {
        self.of(result).map(self.format)
    }
}

/// All figures, in the order of the table.
pub(super) const FIGURES: [Figure; 20] = [
    figure("found_per_s", "Highest rate that held its bound", number, |one| {
        Some(find(one)?.found.as_ref()?.rate_per_s)
    }),
    figure("bound_us_p99", "… bound of p99", micros, |one| Some(find(one)?.bound_p99_us)),
    figure("found_us_p99", "… p99 at that rate", micros, |one| find(one)?.found.as_ref()?.p99_us),
    figure("connections", "Connections", count, |one| Some(connect(one)?.connected as f64)),
    figure("connects_per_s", "Connections opened per second", number, |one| {
        Some(connect(one)?.connects_per_s)
    }),
    figure("handshake_us_p50", "Handshake: p50", micros, |one| connect(one)?.handshake.quantile_us(0.5)),
    figure("handshake_us_p99", "… p99", micros, |one| connect(one)?.handshake.quantile_us(0.99)),
    figure("due_per_s", "Messages due per second", number, |one| run(one)?.rate_per_s),
    figure("echoes_per_s", "Echoes per second", number, |one| Some(echo(one)?.echoes_per_s)),
    figure("latency_us_p50", "Latency: p50", micros, |one| echo(one)?.latency.quantile_us(0.5)),
    figure("latency_us_p90", "… p90", micros, |one| echo(one)?.latency.quantile_us(0.9)),
    figure("latency_us_p99", "… p99", micros, |one| echo(one)?.latency.quantile_us(0.99)),
    figure("latency_us_p99_9", "… p99.9", micros, |one| echo(one)?.latency.quantile_us(0.999)),
    figure("latency_us_max", "… longest", micros, |one| echo(one)?.latency.quantile_us(1.0)),
    figure("late", "Messages sent late", count, |one| Some(echo(one)?.late as f64)),
    figure("missing", "Messages not echoed", count, |one| Some(echo(one)?.missing as f64)),
    figure("server_bytes_per_connection", "Server memory per connection", bytes, |one| {
        server(one)?.rss_bytes_per_connection
    }),
    figure("server_peak_bytes", "Server memory at most", bytes, |one| {
        Some(server(one)?.peak_rss_bytes as f64)
    }),
    figure("server_cpu_us_per_echo", "Server CPU time per echo", micros, |one| server(one)?.cpu_us_per_echo),
    figure("failures", "Failures", count, |one| Some(failures(one) as f64)),
];

const fn figure(
    key: &'static str,
    label: &'static str,
    format: fn(f64) -> String,
    value: fn(&Loaded) -> Option<f64>,
) -> Figure {
    Figure { key, label, format, value }
}

/// The figure with this key.
///
/// # Panics
/// If there is none: keys are literals, and the tests use all of them.
pub(super) fn by_key(key: &str) -> &'static Figure {
    FIGURES.iter().find(|figure| figure.key == key).unwrap_or_else(|| panic!("no figure {key}"))
}

pub(super) fn run(one: &Loaded) -> Option<&RunReport> {
    match &one.kind {
        Kind::Run(report) => Some(report),
        Kind::Find(_) => None,
    }
}

pub(super) fn find(one: &Loaded) -> Option<&FindReport> {
    match &one.kind {
        Kind::Find(report) => Some(report),
        Kind::Run(_) => None,
    }
}

pub(super) fn echo(one: &Loaded) -> Option<&EchoReport> {
    run(one)?.echo.as_ref()
}

fn connect(one: &Loaded) -> Option<&ConnectReport> {
    match &one.kind {
        Kind::Run(report) => report.connect.as_ref(),
        Kind::Find(report) => report.connect.as_ref(),
    }
}

fn server(one: &Loaded) -> Option<&ServerReport> {
    match &one.kind {
        Kind::Run(report) => report.server.as_ref(),
        Kind::Find(report) => report.server.as_ref(),
    }
}

fn failures(one: &Loaded) -> u64 {
    match &one.kind {
        Kind::Run(report) => report.failures.total(),
        Kind::Find(report) => report.failures.total(),
    }
}

/// A line per figure and result.
pub(super) fn csv(results: &[Loaded]) -> String {
    let mut csv = "name,metric,value\n".to_owned();
    for result in results {
        for figure in &FIGURES {
            if let Some(value) = figure.of(result) {
                // Writing to a string does not fail. Three decimals exceed the precision of every measurement.
                let _ =
                    writeln!(csv, "{},{},{}", quoted(&result.name), figure.key, (value * 1e3).round() / 1e3);
            }
        }
    }
    csv
}

/// The table for a terminal of this width: a column per result, a line per figure that one of them has.
pub(super) fn table(results: &[Loaded], width: Option<usize>) -> String {
    let mut lines = vec![(String::new(), results.iter().map(|result| result.name.clone()).collect())];
    for figure in &FIGURES {
        let cells: Vec<Option<String>> = results.iter().map(|result| figure.text(result)).collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| "–".into()));
            lines.push((figure.label.replace("… ", "  "), cells.collect()));
        }
    }
    columns::table(&lines, width)
}
