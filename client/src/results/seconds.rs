//! Results per second, in JSON and as CSV.

use super::{Latency, LatencyReport};
use crate::fleet::{Ramp, Second, histogram_ns};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::time::Duration;

/// A rate that rises linearly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RampReport {
    /// At the start.
    pub from_per_s: f64,
    /// At the end.
    pub to_per_s: f64,
    /// The time of the rise.
    pub time_s: f64,
}

impl From<Ramp> for RampReport {
    fn from(Ramp { from_per_s, to_per_s, time }: Ramp) -> RampReport {
        RampReport { from_per_s, to_per_s, time_s: time.as_secs_f64() }
    }
}

/// A second of a phase. The last one may be shorter, or up to half a second longer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SecondReport {
    /// The phase: `connect`, `echo` or `churn`.
    pub phase: String,
    /// Its end, from the start of the phase, or from the end of its warm-up.
    pub time_s: f64,
    /// Its length.
    pub elapsed_s: f64,
    /// Connections open at its end.
    pub connections: u64,
    /// Messages (in `connect`: connections) due in it; `None` without a rate.
    pub due: Option<u64>,
    /// The same per second.
    pub due_per_s: Option<f64>,
    /// Connections opened in it.
    pub opened: u64,
    /// Echoes received in it.
    pub echoes: u64,
    /// Messages sent more than 1 ms after they were due.
    pub late: u64,
    /// Failures of all classes.
    pub failures: u64,
    /// Of the echoes; in `connect` and `churn`, of the handshakes.
    pub latency: LatencyReport,
}

impl SecondReport {
    /// A second of a phase.
    pub fn new(phase: &str, second: &Second) -> SecondReport {
        let mut times = histogram_ns();
        second.times.iter().for_each(|&(ns, count)| times.saturating_record_n(ns, count));
        SecondReport {
            phase: phase.to_owned(),
            time_s: seconds(second.end),
            elapsed_s: seconds(second.elapsed),
            connections: second.connections,
            due: second.due,
            due_per_s: second.due_per_s,
            opened: second.opened,
            echoes: second.echoes,
            late: second.late,
            failures: second.failures,
            latency: Latency(times).into(),
        }
    }

    /// Adds the same second of another client.
    ///
    /// # Errors
    /// If a histogram cannot be read.
    pub fn merge(&mut self, more: &SecondReport) -> Result<(), String> {
        let add = |one: Option<f64>, other: Option<f64>| Some(one? + other?);
        self.time_s = self.time_s.max(more.time_s);
        self.elapsed_s = self.elapsed_s.max(more.elapsed_s);
        self.connections += more.connections;
        self.due = self.due.zip(more.due).map(|(one, other)| one + other);
        self.due_per_s = add(self.due_per_s, more.due_per_s);
        self.opened += more.opened;
        self.echoes += more.echoes;
        self.late += more.late;
        self.failures += more.failures;
        let mut latency = Latency::try_from(self.latency.clone())?;
        latency.add(&Latency::try_from(more.latency.clone())?.0);
        self.latency = latency.into();
        Ok(())
    }
}

/// Adds the seconds of another client, phase by phase.
///
/// # Errors
/// If a histogram cannot be read.
pub fn merge(seconds: &mut Vec<SecondReport>, more: &[SecondReport]) -> Result<(), String> {
    let place = |all: &[SecondReport], at: usize| {
        let phase = all[at].phase.clone();
        let number = all[..at].iter().filter(|other| other.phase == phase).count();
        (phase, number)
    };
    for (at, second) in more.iter().enumerate() {
        let there = place(more, at);
        match (0..seconds.len()).find(|&own| place(seconds, own) == there) {
            Some(own) => seconds[own].merge(second)?,
            None => seconds.push(second.clone()),
        }
    }
    Ok(())
}

/// The header line of [`csv`].
const HEADER: &str =
    "phase,time_s,elapsed_s,connections,due,due_per_s,opened,echoes,p50_us,p99_us,max_us,late,failures";

/// A line per second. Fields that do not apply are empty.
pub fn csv(seconds: &[SecondReport]) -> String {
    let mut text = format!("{HEADER}\n");
    let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.3}"));
    for row in seconds {
        let due = row.due.map_or(String::new(), |due| due.to_string());
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{},{:.3},{:.3},{},{due},{},{},{},{},{},{},{},{}",
            row.phase,
            row.time_s,
            row.elapsed_s,
            row.connections,
            number(row.due_per_s),
            row.opened,
            row.echoes,
            number(row.latency.p50_us),
            number(row.latency.p99_us),
            number(row.latency.max_us),
            row.late,
            row.failures
        );
    }
    text
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(phase: &str, due: Option<u64>, ns: u64) -> SecondReport {
        let second = Second {
            end: Duration::from_secs(1),
            elapsed: Duration::from_secs(1),
            connections: 10,
            due,
            due_per_s: due.map(|due| due as f64),
            opened: 0,
            echoes: 2,
            late: 1,
            failures: 0,
            times: vec![(ns, 2)],
        };
        SecondReport::new(phase, &second)
    }

    #[test]
    fn rows_have_every_figure() {
        let rows = [second("echo", Some(7), 1_000_000), second("churn", None, 2_000_000)];
        let text = csv(&rows);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows[1], "echo,1.000,1.000,10,7,7.000,0,2,1000.447,1000.447,1000.447,1,0");
        assert!(rows[2].starts_with("churn,1.000,1.000,10,,,0,2,2000."), "{text}");
        assert!(rows.iter().all(|row| row.split(',').count() == HEADER.split(',').count()), "{text}");
    }

    #[test]
    fn the_seconds_of_clients_are_added_by_their_place() {
        let mut all = vec![second("connect", Some(5), 9), second("echo", Some(7), 1_000_000)];
        let more = [second("echo", Some(1), 3_000_000), second("echo", Some(2), 3_000_000)];
        merge(&mut all, &more).expect("histograms");
        let due: Vec<_> = all.iter().map(|row| (row.phase.as_str(), row.due, row.latency.count)).collect();
        assert_eq!(due, [("connect", Some(5), 2), ("echo", Some(8), 4), ("echo", Some(2), 2)]);
        let max_us = all[1].latency.max_us.expect("a time");
        assert!((max_us - 3_000.0).abs() < 2.0, "{max_us}");
    }
}
