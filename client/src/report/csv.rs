//! `results.csv`: one figure per line, for spreadsheets and plotting programs.

use super::metrics::METRICS;
use super::results::{Level, Results, Visit};
use std::fmt::Write;

/// The header line.
pub const HEADER: &str = "target,round,connections,metric,value";

/// All figures of all rounds. `connections` is empty for figures of a whole visit.
pub fn render(results: &Results) -> String {
    let mut csv = format!("{HEADER}\n");
    let common = results.common_level();
    for visit in &results.visits {
        for level in &visit.levels {
            for (metric, value) in of_level(level) {
                push(&mut csv, visit, Some(level.open), metric, value);
            }
        }
        for metric in &METRICS {
            if let Some(value) = metric.of_visit(visit, common) {
                push(&mut csv, visit, None, metric.key, value);
            }
        }
        for (name, run) in &visit.workloads {
            let mut put = |metric: &str, value| {
                push(&mut csv, visit, None, &format!("workload_{name}_{metric}"), value);
            };
            put("echoes_per_s", run.echoes_per_s);
            run.cpu_us_per_echo.into_iter().for_each(|value| put("cpu_us_per_echo", value));
        }
    }
    csv
}

fn of_level(level: &Level) -> impl Iterator<Item = (&'static str, f64)> {
    [
        ("level_asked", Some(level.asked as f64)),
        ("level_connects_per_s", level.connects_per_s),
        ("level_user_bytes_idle", Some(level.idle_bytes as f64)),
        ("level_user_bytes_echoed", level.echoed_bytes.map(|bytes| bytes as f64)),
        ("level_kernel_bytes", level.kernel_bytes.map(|bytes| bytes as f64)),
        ("level_threads", Some(level.threads as f64)),
    ]
    .into_iter()
    .filter_map(|(metric, value)| Some((metric, value?)))
}

fn push(csv: &mut String, visit: &Visit, connections: Option<u64>, metric: &str, value: f64) {
    let connections = connections.map_or(String::new(), |connections| connections.to_string());
    let target = quoted(&visit.target);
    // Three decimals exceed the precision of every measurement.
    let value = (value * 1e3).round() / 1e3;
    let _ = writeln!(csv, "{target},{},{connections},{metric},{value}", visit.round);
}

/// A field quoted as in RFC 4180, section 2.
pub(super) fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn parses_back() {
        let results = sample::results();
        let csv = render(&results);
        let mut lines = csv.lines();
        assert_eq!(lines.next(), Some(HEADER));
        let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
        assert!(rows.iter().all(|row| row.len() == 5 && row[4].parse::<f64>().is_ok()));
        let echoes = rows.iter().filter(|row| row[0] == "stage4-zero-buffer" && row[3] == "echoes_per_s");
        let parsed: Vec<f64> = echoes.map(|row| row[4].parse().expect("a number")).collect();
        let measured: Vec<f64> = results
            .visits_to("stage4-zero-buffer")
            .map(|visit| visit.closed_loop.as_ref().expect("measured").echoes_per_s)
            .collect();
        assert_eq!(parsed, measured);
        let of_workload = |metric: &str| rows.iter().filter(|row| row[3] == metric).count();
        assert_eq!(of_workload("workload_1MiB_echoes_per_s"), results.visits.len());
        assert_eq!(of_workload("workload_1MiB_cpu_us_per_echo"), results.visits.len());
    }

    #[test]
    fn names_with_commas_are_quoted() {
        assert_eq!(quoted("gorilla"), "gorilla");
        assert_eq!(quoted("a,b"), "\"a,b\"");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }
}
