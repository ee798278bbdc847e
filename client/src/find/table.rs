//! The steps of a search on the terminal, line by line, and its conclusion.

use crate::report::format::{count, micros, number, per_s, percent};
use crate::results::find::{Broke, FindReport, Found, Purpose, Step, Verdict};

/// The header of the steps.
pub(super) fn header() -> String {
    format!("{:>10} {:>10} {:>8} {:>8} {:>7}  verdict", "rate/s", "achieved/s", "p50", "p99", "late")
}

/// A step, on one line.
pub(super) fn row(step: &Step, bound_us: f64) -> String {
    let time = |us: Option<f64>| us.map_or_else(|| "-".into(), micros);
    let late = percent(step.late as f64 / step.sent.max(1) as f64);
    let confirming = if step.purpose == Purpose::Confirm { ", confirming" } else { "" };
    format!(
        "{:>10} {:>10} {:>8} {:>8} {late:>7}  {}{confirming}",
        number(step.rate_per_s),
        number(step.achieved_per_s),
        time(step.latency.p50_us),
        time(step.latency.p99_us),
        verdict(step, bound_us)
    )
}

fn verdict(step: &Step, bound_us: f64) -> String {
    match step.verdict {
        Verdict::Held => "held".into(),
        Verdict::Latency => format!("p99 over {}", micros(bound_us)),
        Verdict::Behind => "falls behind".into(),
        Verdict::Failed => {
            format!("{} missing, {} failed", count(step.missing as f64), count(step.failures as f64))
        }
        Verdict::ClientLate => "the client is late".into(),
    }
}

/// The last sentence: what was found, and the evidence.
pub(super) fn conclusion(report: &FindReport) -> String {
    let bound = micros(report.bound_p99_us);
    match &report.found {
        Some(Found { rate_per_s, confirmations, broke, .. }) => {
            let broke = broke.as_ref().map_or(String::new(), |broke| format!("; {}", broken(broke)));
            format!(
                "Highest rate with p99 at most {bound}: {} ({confirmations} of {confirmations} confirmations{broke})\n",
                per_s(*rate_per_s)
            )
        }
        None => {
            let held = report.steps.iter().filter(|step| step.verdict == Verdict::Held);
            let held = held.map(|step| step.rate_per_s).reduce(f64::max);
            let held = held.map_or(String::new(), |rate| format!("; {} held in one step", per_s(rate)));
            format!("No rate with p99 at most {bound} was confirmed{held}\n")
        }
    }
}

/// How the next rate broke.
fn broken(broke: &Broke) -> String {
    let rate = per_s(broke.rate_per_s);
    let p99 = broke.p99_us.map_or_else(|| "unknown".into(), micros);
    match broke.verdict {
        Verdict::Behind => format!("{rate} broke it: only {} were echoed", per_s(broke.achieved_per_s)),
        Verdict::Failed => format!("{rate} broke it: messages were lost"),
        Verdict::ClientLate => {
            format!("at {rate}, p99 {p99}, the client sends late: the client is the limit, not the server")
        }
        Verdict::Latency | Verdict::Held => format!("{rate} broke it: p99 {p99}"),
    }
}

/// Why nothing was found, in one line.
pub(super) fn complaint(report: &FindReport) -> Option<String> {
    if report.exit_status == 0 {
        return None;
    }
    if let Some(why) = &report.ended_early {
        return Some(why.clone());
    }
    if report.interrupted {
        return Some("interrupted before a rate was confirmed".into());
    }
    let last = report.steps.last()?;
    let first =
        report.failures.first.as_ref().map_or(String::new(), |first| format!("; first failure: {first}"));
    let client =
        if last.verdict == Verdict::ClientLate { ": the client is the limit, not the server" } else { "" };
    Some(format!(
        "not even the lowest rate, {}, holds ({}, p99 {}){client}{first}: try a lower --from, or a higher --p99",
        per_s(report.from_per_s),
        verdict(last, report.bound_p99_us),
        last.latency.p99_us.map_or_else(|| "unknown".into(), micros)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Failures;
    use crate::results::{Header, Latency};

    fn report() -> FindReport {
        FindReport {
            header: Header::new(1, "2025-01-02T03:04:05.000Z".into()),
            url: "ws://127.0.0.1:8000/echo".into(),
            connections: 1_000,
            active: 1_000,
            shards: 2,
            payload_bytes: 32,
            bound_p99_us: 50_000.0,
            from_per_s: 1_000.0,
            step_s: 3.0,
            connect: None,
            steps: Vec::new(),
            found: None,
            server: None,
            failures: Failures::default(),
            ended_early: None,
            interrupted: false,
            exit_status: 1,
        }
    }

    fn step(rate_per_s: f64, p99_ms: u64, verdict: Verdict) -> Step {
        let mut latency = Latency::default();
        latency.0.record_n(p99_ms * 1_000_000, 1_000).expect("in range");
        Step {
            rate_per_s,
            purpose: Purpose::Confirm,
            elapsed_s: 3.0,
            achieved_per_s: rate_per_s - 3.0,
            sent: 1_000,
            echoes: 1_000,
            missing: 0,
            late: 120,
            failures: 0,
            server_cores: None,
            latency: latency.into(),
            verdict,
        }
    }

    #[test]
    fn a_row_has_its_figures_and_the_verdict() {
        let row = row(&step(182_000.0, 120, Verdict::Latency), 50_000.0);
        let expected = "   182,000    182,000   120 ms   120 ms     12%  p99 over 50 ms, confirming";
        assert_eq!(row, expected);
        assert_eq!(header().find("verdict"), row.find("p99 over"));
        let longest = super::row(&step(182_000.0, 120, Verdict::ClientLate), 50_000.0);
        assert!(longest.chars().count() <= 80, "{longest}");
    }

    #[test]
    fn the_conclusion_has_the_evidence() {
        let mut report = report();
        report.steps = vec![step(1_000.0, 80, Verdict::Latency)];
        assert_eq!(conclusion(&report), "No rate with p99 at most 50 ms was confirmed\n");
        let why = complaint(&report).expect("a reason");
        assert!(
            why.starts_with("not even the lowest rate, 1,000/s, holds (p99 over 50 ms, p99 80 ms): "),
            "{why}"
        );
        let broke = Broke {
            rate_per_s: 188_000.0,
            verdict: Verdict::Latency,
            p99_us: Some(120_000.0),
            achieved_per_s: 180_000.0,
        };
        for (verdict, end) in [
            (Verdict::Latency, "188,000/s broke it: p99 120 ms)\n"),
            (Verdict::Behind, "188,000/s broke it: only 180,000/s were echoed)\n"),
            (Verdict::ClientLate, "the client is the limit, not the server)\n"),
        ] {
            let broke = Some(Broke { verdict, ..broke.clone() });
            report.found =
                Some(Found { rate_per_s: 182_000.0, confirmations: 3, p99_us: Some(40_000.0), broke });
            let text = conclusion(&report);
            assert!(
                text.starts_with("Highest rate with p99 at most 50 ms: 182,000/s (3 of 3 confirmations; ")
            );
            assert!(text.ends_with(end), "{text}");
        }
        report.exit_status = 0;
        assert_eq!(complaint(&report), None);
    }
}
