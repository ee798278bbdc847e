//! The table on the terminal: one column per server, one line per figure.

use super::ladder::{self, shown};
use super::metrics::{METRICS, Metric, metric};
use super::results::{Results, Workload};
use super::stats::Figure;
use super::{columns, format};
use std::fmt::Write;

/// The figure that other load distorts most: its best round is shown as well.
const NOISIEST: &str = "echoes_per_s";

/// Medians over the rounds, and the best round of echoes per second, for a terminal of this width. Figures that no server
/// has are omitted.
pub fn render(results: &Results, width: Option<usize>) -> String {
    let servers = shown(results);
    let mut lines = Vec::new();
    let mut line = |label: &str, cells: Vec<String>| lines.push((label.to_owned(), cells));
    line("", servers.iter().map(|server| server.short.clone()).collect());
    let mut rows = |results: &Results, metric: &Metric, label: &str, with_best: bool| {
        let figures: Vec<_> = servers.iter().map(|server| metric.figure(results, &server.target)).collect();
        if figures.iter().all(Option::is_none) {
            return;
        }
        let mut row = |label: &str, value: fn(&Figure) -> f64| {
            let cell = |figure: &Option<Figure>| {
                figure.as_ref().map_or_else(|| "–".into(), |figure| (metric.format)(value(figure)))
            };
            line(label, figures.iter().map(cell).collect());
        };
        row(label, |figure| figure.median);
        if with_best {
            row("  best round", |figure| figure.best);
        }
    };
    for metric in &METRICS {
        // An ellipsis has no ASCII equivalent one column wide: indent instead.
        rows(results, metric, &metric.label.replace("… ", "  "), metric.key == NOISIEST);
    }
    for Workload { name, .. } in &results.settings.workloads {
        let results = results.in_workload(name);
        rows(&results, metric("echoes_per_s"), &format!("{name}: echoes per second"), true);
        rows(&results, metric("cpu_us_per_echo"), "  CPU time per echo", true);
    }
    let mut table = columns::table(&lines, width);
    for server in &servers {
        if let Some((most, Some(reason))) = ladder::held(results, &server.target) {
            let _ = writeln!(table, "{} stopped at {}: {reason}", server.short, format::count(most));
        }
    }
    let rounds = match results.rounds_seen() {
        0 | 1 => "one round".into(),
        rounds => format!("median of {rounds} interleaved rounds"),
    };
    let level = results.common_level().map_or(String::new(), |level| {
        format!("; memory, threads and connects per second at {} connections", format::count(level as f64))
    });
    let _ = writeln!(table, "{}{level}", format::capitalised(&rounds));
    if let Some(share) = results.disturbance() {
        let _ = writeln!(
            table,
            "Other processes used {} of the CPU time: rates and latencies are affected",
            format::percent(share)
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn figures_fit_eighty_columns() {
        let table = render(&sample::results(), None);
        let figures = table.lines().take_while(|line| !line.contains("stopped at"));
        assert!(figures.clone().count() > 10, "{table}");
        assert!(figures.into_iter().all(|line| line.chars().count() <= 80), "{table}");
        for text in [
            "Stage 1",
            "Stage 4",
            "User memory per connection, idle",
            "1MiB: echoes per second",
            "stopped at",
        ] {
            assert!(table.contains(text), "{text} is missing in\n{table}");
        }
    }
}
