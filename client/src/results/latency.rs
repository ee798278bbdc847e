//! Distributions of times in JSON.

use crate::fleet::histogram_ns;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A distribution of times: in JSON, percentiles in microseconds and the whole histogram.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "LatencyReport", try_from = "LatencyReport")]
pub struct Latency(
    /// In nanoseconds.
    pub Histogram<u64>,
);

/// [`Latency`] in JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LatencyReport {
    /// Times recorded.
    pub count: u64,
    /// The mean; `None`, like the percentiles, where nothing was recorded.
    pub mean_us: Option<f64>,
    /// The median.
    pub p50_us: Option<f64>,
    /// The 90th percentile.
    pub p90_us: Option<f64>,
    /// The 99th percentile.
    pub p99_us: Option<f64>,
    /// The 99.9th percentile.
    pub p99_9_us: Option<f64>,
    /// The 99.99th percentile.
    pub p99_99_us: Option<f64>,
    /// The maximum.
    pub max_us: Option<f64>,
    /// All times in nanoseconds: HdrHistogram's format V2, compressed, in base64.
    pub histogram: String,
}

impl fmt::Debug for Latency {
    /// Without the thousands of counters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Latency({} times, up to {} ns)", self.0.len(), self.0.max())
    }
}

impl Default for Latency {
    fn default() -> Latency {
        Latency(histogram_ns())
    }
}

impl Latency {
    /// Adds the times of another phase.
    pub(crate) fn add(&mut self, more: &Histogram<u64>) {
        self.0.add(more).expect("histograms of the same bounds");
    }

    /// The time at a quantile, from 0 to 1, in microseconds; `None` where nothing was recorded.
    pub(crate) fn quantile_us(&self, quantile: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(quantile) as f64 / 1e3)
    }
}

impl From<Latency> for LatencyReport {
    fn from(Latency(times): Latency) -> LatencyReport {
        let known = |ns: f64| (!times.is_empty()).then_some(ns / 1e3);
        let at = |quantile| known(times.value_at_quantile(quantile) as f64);
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&times, &mut bytes).expect("writing to memory");
        LatencyReport {
            count: times.len(),
            mean_us: known(times.mean()),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            p99_99_us: at(0.9999),
            max_us: known(times.max() as f64),
            histogram: STANDARD.encode(bytes),
        }
    }
}

impl TryFrom<LatencyReport> for Latency {
    type Error = String;

    fn try_from(report: LatencyReport) -> Result<Latency, String> {
        let bytes = STANDARD.decode(report.histogram).map_err(|error| error.to_string())?;
        let mut times = histogram_ns();
        let read = Deserializer::new().deserialize::<u64, _>(&mut bytes.as_slice());
        times.add(read.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
        Ok(Latency(times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_survives_json() {
        let mut latency = Latency::default();
        (1..=1_000).for_each(|micros| latency.0.saturating_record(micros * 1_000));
        let json = serde_json::to_value(&latency).expect("to JSON");
        assert!((json["p50_us"].as_f64().expect("a number") - 500.0).abs() < 1.0, "{json}");
        assert_eq!(serde_json::from_value::<Latency>(json).expect("from JSON"), latency);
        assert!(serde_json::from_str::<Latency>("{}").is_err());
    }

    #[test]
    fn of_nothing_there_are_no_percentiles() {
        let json = serde_json::to_value(Latency::default()).expect("to JSON");
        for field in ["mean_us", "p50_us", "p90_us", "p99_us", "p99_9_us", "p99_99_us", "max_us"] {
            assert!(json[field].is_null(), "{field}: {json}");
        }
        assert_eq!(json["count"], 0);
        assert_eq!(serde_json::from_value::<Latency>(json).expect("from JSON"), Latency::default());
    }
}
