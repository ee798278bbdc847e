//! Families of metrics, as Prometheus reads them: what both the servers and the load client have to say is put into
//! these at the time of a scrape.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricType};
use prometheus::{Encoder, TextEncoder};

pub use crate::process::families as process;
pub use prometheus::proto::MetricFamily;

/// The media type of [`text`].
pub const CONTENT_TYPE: &str = crate::shard::PROMETHEUS;

/// A value that goes up and down.
pub fn gauge(name: &str, help: &str, value: f64) -> MetricFamily {
    family(name, help, MetricType::GAUGE, vec![gauge_metric(&[], value)])
}

/// The same with labels, each a name and a value.
pub fn gauge_with(name: &str, help: &str, labels: &[(&str, &str)], value: f64) -> MetricFamily {
    family(name, help, MetricType::GAUGE, vec![gauge_metric(labels, value)])
}

/// A count since the start of the process, whose name ends in `_total`.
pub fn counter(name: &str, help: &str, value: f64) -> MetricFamily {
    family(name, help, MetricType::COUNTER, vec![counter_metric(&[], value)])
}

/// The same for each value of one label.
pub fn counters<'a>(
    name: &str,
    help: &str,
    by: &str,
    values: impl IntoIterator<Item = (&'a str, f64)>,
) -> MetricFamily {
    let metrics = values.into_iter().map(|(of, value)| counter_metric(&[(by, of)], value));
    family(name, help, MetricType::COUNTER, metrics.collect())
}

/// A distribution: how often it was at most each bound (those below it not counted again), in ascending order of these,
/// how often it was more than the last, and the sum of all values.
pub fn histogram(
    name: &str,
    help: &str,
    buckets: impl IntoIterator<Item = (f64, u64)>,
    beyond: u64,
    sum: f64,
) -> MetricFamily {
    let mut cumulative = 0;
    let buckets = buckets.into_iter().map(|(bound, count)| {
        cumulative += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(cumulative);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(cumulative + beyond);
    histogram.set_sample_sum(sum);
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    family(name, help, MetricType::HISTOGRAM, vec![metric])
}

/// All of them in Prometheus' text format.
pub fn text(families: &[MetricFamily]) -> Vec<u8> {
    let mut text = Vec::new();
    TextEncoder::new().encode(families, &mut text).expect("every family has a name and a metric");
    text
}

fn gauge_metric(labels: &[(&str, &str)], value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = labelled(labels);
    metric.set_gauge(gauge);
    metric
}

fn counter_metric(labels: &[(&str, &str)], value: f64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut metric = labelled(labels);
    metric.set_counter(counter);
    metric
}

fn labelled(labels: &[(&str, &str)]) -> Metric {
    let pair = |&(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.into());
        pair.set_value(value.into());
        pair
    };
    Metric::from_label(labels.iter().map(pair).collect())
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.into());
    family.set_help(help.into());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}
