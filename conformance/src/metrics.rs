//! A parser for a scrape of `/metrics` (Prometheus text format 0.0.4).

use std::collections::BTreeMap;
use std::fmt;

/// One scrape.
#[derive(Debug)]
pub(crate) struct Metrics {
    samples: Vec<Sample>,
    types: BTreeMap<String, String>,
}

/// A line such as `name{label="value"} 1`.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    /// Parses a scrape.
    ///
    /// # Errors
    /// The first line that violates the format.
    pub fn parse(text: &str) -> Result<Metrics, String> {
        let mut metrics = Metrics { samples: vec![], types: BTreeMap::new() };
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(of) = line.strip_prefix("# TYPE ") {
                let (name, kind) = of.split_once(' ').ok_or_else(|| format!("a bad TYPE line: {line}"))?;
                if metrics.types.insert(name.into(), kind.into()).is_some() {
                    return Err(format!("a second TYPE line for {name}"));
                }
            } else if !line.starts_with('#') {
                metrics.samples.push(sample(line).ok_or_else(|| format!("a bad line: {line}"))?);
            }
        }
        match text.ends_with('\n') {
            true => Ok(metrics),
            false => Err("no newline at the end of the last line".into()),
        }
    }

    /// The sum of all series of this name.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn sum(&self, name: &str) -> f64 {
        let mut values = self.samples.iter().filter(|sample| sample.name == name).map(|sample| sample.value);
        let first = values.next().unwrap_or_else(|| panic!("expected a series {name}; got:\n{self}"));
        first + values.sum::<f64>()
    }

    /// The sum of the series of this name with this label value. 0 if there is none: a series may appear later.
    fn sum_where(&self, name: &str, label: &str, value: &str) -> f64 {
        let has_label = |sample: &&Sample| sample.labels.iter().any(|(l, v)| l == label && v == value);
        self.samples
            .iter()
            .filter(|sample| sample.name == name)
            .filter(has_label)
            .map(|sample| sample.value)
            .sum()
    }

    /// Connections closed for this reason.
    pub fn closed_as(&self, reason: &str) -> f64 {
        self.sum_where("ws_connections_closed_total", "reason", reason)
    }

    /// Connections rejected for this reason.
    pub fn rejected_as(&self, reason: &str) -> f64 {
        self.sum_where("ws_connections_rejected_total", "reason", reason)
    }

    /// The values of a label over the series of this name.
    pub fn label_values(&self, name: &str, label: &str) -> Vec<&str> {
        let series = self.samples.iter().filter(|sample| sample.name == name);
        series
            .flat_map(|sample| &sample.labels)
            .filter(|(l, _)| l == label)
            .map(|(_, v)| v.as_str())
            .collect()
    }

    /// The buckets of a histogram, in the order of the scrape.
    pub fn buckets(&self, name: &str) -> Vec<f64> {
        let series = format!("{name}_bucket");
        self.samples.iter().filter(|sample| sample.name == series).map(|sample| sample.value).collect()
    }

    /// The declared type of a metric.
    pub fn kind(&self, name: &str) -> Option<&str> {
        self.types.get(name).map(String::as_str)
    }

    /// A series of a counter or a histogram that has decreased since `before`, or has disappeared.
    pub fn lost_since(&self, before: &Metrics) -> Option<String> {
        let counts = |sample: &&Sample| {
            let family = ["_bucket", "_count", "_sum"].iter().find_map(|part| sample.name.strip_suffix(part));
            let kind = self.kind(&sample.name).or_else(|| self.kind(family?));
            matches!(kind, Some("counter" | "histogram"))
        };
        before.samples.iter().filter(counts).find_map(|old| {
            let new = self.samples.iter().find(|new| new.name == old.name && new.labels == old.labels);
            let lost = new.is_none_or(|new| new.value < old.value);
            lost.then(|| format!("{old:?}, then {new:?}"))
        })
    }

    /// Connections accepted, active and closed.
    pub fn connections(&self) -> [f64; 3] {
        ["ws_connections_accepted_total", "ws_connections_active", "ws_connections_closed_total"]
            .map(|name| self.sum(name))
    }
}

/// The server's own series without histogram buckets, for failure messages.
impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = |sample: &&Sample| sample.name.starts_with("ws_") && !sample.name.ends_with("_bucket");
        self.samples.iter().filter(own).try_for_each(|Sample { name, labels, value }| {
            let labels: String = labels.iter().map(|(label, value)| format!(" {label}={value}")).collect();
            writeln!(f, "  {name}{labels}: {value}")
        })
    }
}

/// Parses a sample. Label values must not contain commas or quotes: no server of this workspace has them.
fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        None => (series, ""),
        Some((name, labels)) => (name, labels.strip_suffix('}')?.trim_end_matches(',')),
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    if name.is_empty() || !name.chars().all(legal) {
        return None;
    }
    let labels = labels.split(',').filter(|label| !label.is_empty()).map(|label| {
        let (name, value) = label.split_once('=')?;
        Some((name.trim().to_string(), value.strip_prefix('"')?.strip_suffix('"')?.to_string()))
    });
    Some(Sample { name: name.into(), labels: labels.collect::<Option<_>>()?, value: value.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a What a is.\n# TYPE a counter\na{reason=\"x\",shard=\"0\"} 1\na{reason=\"y\"} 2.5\n\
                        # TYPE b gauge\nb 7e3\n";

    #[test]
    fn sums_over_labels() {
        let metrics = Metrics::parse(TEXT).expect("well formed");
        assert_eq!(metrics.sum("a"), 3.5);
        assert_eq!(metrics.sum("b"), 7000.0);
        assert_eq!(metrics.sum_where("a", "reason", "y"), 2.5);
        assert_eq!(metrics.sum_where("a", "reason", "z"), 0.0);
        assert_eq!(metrics.label_values("a", "reason"), ["x", "y"]);
        assert_eq!((metrics.kind("a"), metrics.kind("c")), (Some("counter"), None));
    }

    #[test]
    fn a_decreased_counter_is_found() {
        let metrics = |text: &str| Metrics::parse(text).expect("well formed");
        let before = metrics(TEXT);
        assert_eq!(before.lost_since(&before), None);
        assert_eq!(metrics(&TEXT.replace("b 7e3", "b 0")).lost_since(&before), None, "a gauge may decrease");
        for wrong in [TEXT.replace("2.5", "2.4"), TEXT.replace("reason=\"y\"", "reason=\"z\"")] {
            assert!(metrics(&wrong).lost_since(&before).is_some(), "{wrong}");
        }
        let histogram = "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_sum 0.5\nh_count 2\n";
        assert!(metrics(&histogram.replace("} 2", "} 1")).lost_since(&metrics(histogram)).is_some());
    }

    #[test]
    fn invalid_lines_are_errors() {
        for wrong in
            ["a 1", "a\n", "a{x=1} 1\n", "a{x=\"1\" 1\n", "a b c\n", "# TYPE a gauge\n# TYPE a gauge\n"]
        {
            assert!(Metrics::parse(wrong).is_err(), "{wrong}");
        }
    }
}
