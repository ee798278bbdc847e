//! The percentile distribution of HdrHistogram, as its plotter reads it
//! (<https://hdrhistogram.github.io/HdrHistogram/plotFiles.html>).

use hdrhistogram::Histogram;
use std::fmt::Write;

/// Steps for each halving of the distance to 100%, as HdrHistogram's own tools have them.
const TICKS_PER_HALF: u32 = 5;

/// Lines of value, percentile, count up to it, and 1/(1-percentile); values in microseconds.
pub(super) fn percentiles(latency_ns: &Histogram<u64>) -> String {
    let micros = |ns: f64| ns / 1_000.0;
    let mut text =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut count = 0;
    for step in latency_ns.iter_quantiles(TICKS_PER_HALF) {
        count += step.count_since_last_iteration();
        let (value, quantile) = (micros(step.value_iterated_to() as f64), step.quantile_iterated_to());
        // Writing to a string does not fail.
        let _ = match quantile {
            1.0 => writeln!(text, "{value:12.3} {quantile:2.12} {count:10}"),
            _ => writeln!(text, "{value:12.3} {quantile:2.12} {count:10} {:14.2}", 1.0 / (1.0 - quantile)),
        };
    }
    let _ = writeln!(
        text,
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]",
        micros(latency_ns.mean()),
        micros(latency_ns.stdev())
    );
    let _ = writeln!(
        text,
        "#[Max     = {:12.3}, Total count    = {:12}]",
        micros(latency_ns.max() as f64),
        latency_ns.len()
    );
    let _ = writeln!(text, "#[Buckets = {:12}, SubBuckets     = {:12}]", latency_ns.buckets(), 2048);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::histogram_ns;

    #[test]
    fn counts_add_up_and_values_rise() {
        let mut latency = histogram_ns();
        (1..=1_000).for_each(|micros| latency.saturating_record(micros * 1_000));
        let text = percentiles(&latency);
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|field| field.parse().expect("a number")).collect())
            .collect();
        assert!(rows.windows(2).all(|pair| pair[0][0] <= pair[1][0] && pair[0][2] <= pair[1][2]), "{text}");
        let last = rows.last().expect("rows");
        assert_eq!((last[1], last[2]), (1.0, 1_000.0));
        assert!((last[0] - 1_000.0).abs() < 1.0, "{text}");
        assert!(text.contains("Total count    =         1000]"));
    }
}
