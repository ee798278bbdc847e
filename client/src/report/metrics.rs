//! The figures of a comparison: one list for the tables, the CSV file and the plots.

use super::format;
use super::results::{Latency, Level, Results, Visit};
use super::stats::{Better, Figure};

/// One figure: its names, and how to compute it from a visit.
pub struct Metric {
    /// Machine-readable name, unit last.
    pub key: &'static str,
    /// Label in tables; `…` continues the label above.
    pub label: &'static str,
    /// Whether a low or a high value is better.
    pub better: Better,
    /// Formats a value with its unit.
    pub format: fn(f64) -> String,
    /// Computes the figure of a visit, given [`Results::common_level`].
    value: fn(&Visit, Option<u64>) -> Option<f64>,
}

impl Metric {
    /// One server's figure over all rounds; `None` if it was not measured.
    pub fn figure(&self, results: &Results, target: &str) -> Option<Figure> {
        let common = results.common_level();
        let rounds = results.visits_to(target).filter_map(|visit| (self.value)(visit, common));
        Figure::new(rounds.collect(), self.better)
    }

    /// The figure of one visit; `common` is [`Results::common_level`].
    pub fn of_visit(&self, visit: &Visit, common: Option<u64>) -> Option<f64> {
        (self.value)(visit, common)
    }
}

/// The metric with this key.
///
/// # Panics
/// If there is none: keys are literals, and the tests use all of them.
pub fn metric(key: &str) -> &'static Metric {
    METRICS.iter().find(|metric| metric.key == key).unwrap_or_else(|| panic!("no metric {key}"))
}

fn at_common<T>(visit: &Visit, common: Option<u64>, value: fn(&Level) -> Option<T>) -> Option<T> {
    visit.full_level(common?).and_then(value)
}

fn closed(visit: &Visit, percentile: f64) -> Option<f64> {
    visit.closed_loop.as_ref().and_then(|run| tail(&run.latency, percentile))
}

fn open(visit: &Visit, percentile: f64) -> Option<f64> {
    visit.open_loop.as_ref().and_then(|run| tail(&run.latency, percentile))
}

/// Microseconds at a percentile; `None` if fewer than one sample lies above it.
fn tail(latency: &Latency, percentile: f64) -> Option<f64> {
    let above = latency.samples as f64 * (1.0 - percentile / 100.0);
    latency.at(percentile).filter(|_| above >= 1.0)
}

/// All figures, in the order of the table.
pub static METRICS: [Metric; 19] = [
    Metric {
        key: "connections_held",
        label: "Connections held",
        better: Better::Higher,
        format: format::count,
        value: |visit, _| (!visit.levels.is_empty()).then_some(visit.held as f64),
    },
    Metric {
        key: "connects_per_s",
        label: "Connects per second",
        better: Better::Higher,
        format: format::number,
        value: |visit, common| at_common(visit, common, |level| level.connects_per_s),
    },
    Metric {
        key: "user_bytes_per_connection_idle",
        label: "User memory per connection, idle",
        better: Better::Lower,
        format: format::bytes,
        value: |visit, common| at_common(visit, common, |level| Some(level.per_connection(level.idle_bytes))),
    },
    Metric {
        key: "user_bytes_per_connection_echoed",
        label: "… after one echo on each",
        better: Better::Lower,
        format: format::bytes,
        value: |visit, common| {
            at_common(visit, common, |level| level.echoed_bytes.map(|bytes| level.per_connection(bytes)))
        },
    },
    Metric {
        key: "user_bytes_left_after_close",
        label: "… left in total after all closed",
        better: Better::Lower,
        format: format::bytes,
        value: |visit, _| Some(visit.after_close?.rss_bytes as f64 - visit.warm.rss_bytes as f64),
    },
    Metric {
        key: "kernel_bytes_per_connection",
        label: "Kernel memory per connection",
        better: Better::Lower,
        format: format::bytes,
        value: |visit, common| {
            at_common(visit, common, |level| level.kernel_bytes.map(|bytes| level.per_connection(bytes)))
        },
    },
    Metric {
        key: "threads",
        label: "Threads",
        better: Better::Lower,
        format: format::count,
        value: |visit, common| at_common(visit, common, |level| Some(level.threads as f64)),
    },
    Metric {
        key: "echoes_per_s",
        label: "Echoes per second, closed loop",
        better: Better::Higher,
        format: format::number,
        value: |visit, _| Some(visit.closed_loop.as_ref()?.echoes_per_s),
    },
    Metric {
        key: "closed_loop_us_p50",
        label: "Closed-loop latency, median",
        better: Better::Lower,
        format: format::micros,
        value: |visit, _| closed(visit, 50.0),
    },
    Metric {
        key: "closed_loop_us_p99",
        label: "… p99",
        better: Better::Lower,
        format: format::micros,
        value: |visit, _| closed(visit, 99.0),
    },
    Metric {
        key: "closed_loop_us_p999",
        label: "… p99.9",
        better: Better::Lower,
        format: format::micros,
        value: |visit, _| closed(visit, 99.9),
    },
    Metric {
        key: "cpu_us_per_echo",
        label: "CPU time per echo",
        better: Better::Lower,
        format: format::micros,
        value: |visit, _| visit.closed_loop.as_ref()?.cpu_us_per_echo,
    },
    Metric {
        key: "user_cpu_us_per_echo",
        label: "… of it in user space",
        better: Better::Lower,
        format: format::micros,
        value: |visit, _| visit.closed_loop.as_ref()?.user_cpu_us_per_echo,
    },
    Metric {
        key: "user_instructions_per_echo",
        label: "User instructions per echo",
        better: Better::Lower,
        format: format::number,
        value: |visit, _| visit.closed_loop.as_ref()?.user_instructions_per_echo,
    },
    Metric {
        key: "open_loop_echoes_per_s",
        label: "Echoes per second, open loop",
        better: Better::Higher,
        format: format::number,
        value: |visit, _| Some(visit.open_loop.as_ref()?.echoes_per_s),
    },
    Metric {
        key: "open_loop_us_p50",
        label: "Open-loop latency, median",
        better: Better::Lower,
        format: format::micros,
        value: |visit, _| open(visit, 50.0),
    },
    Metric {
        key: "open_loop_us_p99",
        label: "… p99",
        better: Better::Lower,
        format: format::micros,
        value: |visit, _| open(visit, 99.0),
    },
    Metric {
        key: "open_loop_us_p999",
        label: "… p99.9",
        better: Better::Lower,
        format: format::micros,
        value: |visit, _| open(visit, 99.9),
    },
    Metric {
        key: "open_loop_us_p9999",
        label: "… p99.99",
        better: Better::Lower,
        format: format::micros,
        value: |visit, _| open(visit, 99.99),
    },
];
