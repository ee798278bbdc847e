//! From a phase of the fleet to figures for the results.

use super::thousandths;
use crate::fleet::{ConnectPhase, EchoPhase, Failures, Progress};
use crate::results::compare::{ClosedLoop, Latency, OpenLoop, PERCENTILES};
use crate::watch::Reading;
use anyhow::{Result, bail};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

/// Counts by the name of the class, without classes that did not occur.
pub fn by_class(failures: &Failures) -> BTreeMap<String, u64> {
    failures.classes().map(|(class, count)| (class.name().to_owned(), count)).collect()
}

/// Fails where some connections could not be opened.
///
/// # Errors
/// How many, why, and what to do about it, in one line.
pub fn ensure_connected(opened: &ConnectPhase) -> Result<()> {
    let Some((class, count)) = opened.failures.classes().next() else { return Ok(()) };
    let first = opened.failures.first.as_deref().unwrap_or_default();
    bail!(
        "{count} of {} connections failed ({}: {first}): {}",
        opened.requested,
        class.name(),
        opened.failures.advice(class)
    )
}

/// The percentiles of a histogram in nanoseconds.
fn latency(histogram: &Histogram<u64>) -> Latency {
    let samples = histogram.len();
    let value = |percentile: f64| {
        // 99.9 has no exact value, and 99.9 / 100 is not 0.999. Hundredths of a percent are whole numbers.
        let quantile = (percentile * 100.0).round() / 10_000.0;
        // `min` is exact; the value at quantile 0 is the first bucket's.
        let ns = if percentile == 0.0 { histogram.min() } else { histogram.value_at_quantile(quantile) };
        (percentile, thousandths(ns as f64 / 1e3))
    };
    Latency {
        samples,
        percentiles_us: if samples == 0 { Vec::new() } else { PERCENTILES.map(value).to_vec() },
    }
}

/// The result of a closed loop. `before` and `after` are the server and the fleet before the warm-up and after the loop.
pub fn closed_loop(phase: &EchoPhase, before: (Reading, Progress), after: (Reading, Progress)) -> ClosedLoop {
    let echoes = after.1.echoes.saturating_sub(before.1.echoes).max(1) as f64;
    let (now, then) = (after.0, before.0);
    let each = |time: Duration| thousandths(time.as_secs_f64() * 1e6 / echoes);
    let cpu = now.cpu.saturating_sub(then.cpu);
    // The kernel samples a hundred times per second whether a thread is in user space: fewer than a hundred samples are noise.
    let samples = now.ticks.0 + now.ticks.1 - then.ticks.0 - then.ticks.1;
    let user_share = (now.ticks.0 - then.ticks.0) as f64 / samples.max(1) as f64;
    ClosedLoop {
        echoes: phase.echoes,
        echoes_per_s: phase.echoes_per_s.round(),
        latency: latency(&phase.latency),
        cpu_us_per_echo: Some(each(cpu)),
        user_cpu_us_per_echo: (samples >= 100).then(|| each(cpu.mul_f64(user_share))),
        user_instructions_per_echo: None,
        instructions_note: None,
    }
}

/// The result of an open loop at this rate.
pub fn open_loop(phase: &EchoPhase, rate: f64) -> OpenLoop {
    OpenLoop {
        rate,
        echoes_per_s: phase.echoes_per_s.round(),
        late: phase.late,
        latency: latency(&phase.latency),
        failures: by_class(&phase.failures),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::histogram_ns;

    #[test]
    fn percentiles_come_from_the_histogram() {
        let mut histogram = histogram_ns();
        (1..=1_000u64).for_each(|us| histogram.record(us * 1_000).expect("in range"));
        let latency = latency(&histogram);
        assert_eq!(latency.samples, 1_000);
        for (percentile, expected) in [(0.0, 1.0), (50.0, 500.0), (99.0, 990.0), (100.0, 1_000.0)] {
            let value = latency.at(percentile).expect("kept");
            assert!((value / expected - 1.0).abs() < 0.002, "p{percentile} is {value}");
        }
        assert!(super::latency(&histogram_ns()).at(50.0).is_none());
    }

    #[test]
    fn exact_percentiles_are_not_one_step_off() {
        for total in [1_000, 10_000, 20_000, 1_000_000] {
            for percentile in PERCENTILES.into_iter().filter(|percentile| (1.0..100.0).contains(percentile)) {
                let short = total * (percentile * 100.0).round() as u64 / 10_000;
                if short * 10_000 != total * (percentile * 100.0).round() as u64 {
                    continue;
                }
                let mut histogram = histogram_ns();
                histogram.record_n(1_000_000, short).expect("in range");
                histogram.record_n(100_000_000, total - short).expect("in range");
                let value = latency(&histogram).at(percentile).expect("kept");
                assert!(value < 1_001.0, "p{percentile} of {total} is {value}");
            }
        }
    }
}
