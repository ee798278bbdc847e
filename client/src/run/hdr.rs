//! The percentile distribution of HdrHistogram, as its plotter reads it
//! (<https://hdrhistogram.github.io/HdrHistogram/plotFiles.html>).

use hdrhistogram::Histogram;
use std::fmt::Write;

/// Steps per halving of the distance to 100%, as in HdrHistogram's own tools.
const TICKS_PER_HALF: u32 = 5;

/// A step towards 100%, at a distance of `parts` / (2 * [`TICKS_PER_HALF`] * 2^`halvings`) from it. Whole numbers make it
/// exact: a percentile that falls on a recorded time is that time, and not the next.
#[derive(Clone, Copy)]
struct Step {
    parts: u32,
    halvings: u32,
}

impl Step {
    const FIRST: Step = Step { parts: 2 * TICKS_PER_HALF, halvings: 0 };

    fn next(self) -> Step {
        match self.parts - 1 {
            TICKS_PER_HALF => Step { halvings: self.halvings + 1, ..Step::FIRST },
            parts => Step { parts, ..self },
        }
    }

    /// How many of `total` times are up to this step.
    fn rank(self, total: u64) -> u64 {
        let beyond =
            u128::from(total) * u128::from(self.parts) / (u128::from(2 * TICKS_PER_HALF) << self.halvings);
        total - beyond as u64
    }

    /// 1 / (1 - quantile)
    fn inverse(self) -> f64 {
        f64::from(2 * TICKS_PER_HALF) * 2f64.powi(self.halvings as i32) / f64::from(self.parts)
    }
}

/// One line per step: value in microseconds, percentile, count up to it, and 1/(1-percentile).
pub(super) fn percentiles(latency_ns: &Histogram<u64>) -> String {
    let micros = |ns: f64| ns / 1_000.0;
    let mut text =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let (mut count, mut step, total) = (0, Step::FIRST, latency_ns.len());
    for bin in latency_ns.iter_recorded() {
        count += bin.count_at_value();
        let value = micros(bin.value_iterated_to() as f64);
        // Writing to a string does not fail.
        while step.rank(total) <= count {
            let inverse = step.inverse();
            let _ = writeln!(text, "{value:12.3} {:2.12} {count:10} {inverse:14.2}", 1.0 - 1.0 / inverse);
            step = step.next();
            if count == total {
                // All further steps have the same value.
                let _ = writeln!(text, "{value:12.3} {:2.12} {count:10}", 1.0);
                break;
            }
        }
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

    fn rows(text: &str) -> Vec<Vec<f64>> {
        let rows = text.lines().skip(2).filter(|line| !line.starts_with('#'));
        rows.map(|line| line.split_whitespace().map(|field| field.parse().expect("a number")).collect())
            .collect()
    }

    /// Exactly this part of `total` times is short, so that percentile is a short time, here as in JSON.
    #[test]
    fn exact_percentiles_are_those_of_the_json() {
        for total in [10, 20, 40, 80, 160, 1_000, 10_000, 123_450] {
            for part in [0.1, 0.2, 0.5, 0.55, 0.75, 0.775, 0.9, 0.95, 0.9875] {
                let short = (part * total as f64).round();
                if (short - part * total as f64).abs() > 1e-6 {
                    continue;
                }
                let mut latency = histogram_ns();
                latency.record_n(1_000_000, short as u64).expect("a millisecond");
                latency.record_n(100_000_000, total - short as u64).expect("more of them");
                let text = percentiles(&latency);
                let row = rows(&text).into_iter().find(|row| (row[1] - part).abs() < 1e-9);
                let row = row.unwrap_or_else(|| panic!("{part} is a step: {text}"));
                assert!((row[0] - 1_000.0).abs() < 1.0 && row[2] == short, "{part} of {total}: {row:?}");
                assert_eq!(row[0], latency.value_at_quantile(part) as f64 / 1e3);
                assert!((row[3] - 1.0 / (1.0 - part)).abs() < 0.01, "{row:?}");
            }
        }
    }

    #[test]
    fn nothing_recorded_is_no_line() {
        assert!(rows(&percentiles(&histogram_ns())).is_empty());
    }

    #[test]
    fn counts_add_up_and_values_rise() {
        let mut latency = histogram_ns();
        (1..=1_000).for_each(|micros| latency.saturating_record(micros * 1_000));
        let text = percentiles(&latency);
        let rows = rows(&text);
        assert!(rows.windows(2).all(|pair| pair[0][0] <= pair[1][0] && pair[0][2] <= pair[1][2]), "{text}");
        let last = rows.last().expect("rows");
        assert_eq!((last[1], last[2]), (1.0, 1_000.0));
        assert!((last[0] - 1_000.0).abs() < 1.0, "{text}");
        assert!(text.contains("Total count    =         1000]"));
    }
}
