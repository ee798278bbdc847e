//! The last sentence of a run's summary: what happened, for readers who skip the table.

use crate::fleet::Verify;
use crate::report::format::{bytes, capitalised, count, micros, time};
use crate::results::Latency;
use crate::results::run::{ConnectReport, EchoReport, RunReport};

/// One sentence: what was right, how fast, and what failed.
pub(super) fn sentence(report: &RunReport) -> String {
    let mut parts = Vec::new();
    parts.extend(report.connect.as_ref().and_then(|connect| opened(report, connect)));
    parts.extend(match report.scenario.as_str() {
        "idle" => held(report),
        "churn" => replaced(report),
        _ => report.echo.as_ref().map_or(Vec::new(), |echo| echoes(report, echo)),
    });
    if let Some(reconnect) = report.reconnect.as_ref().filter(|reconnect| reconnect.lost > 0) {
        parts.push(format!(
            "{} of {} lost connections replaced",
            whole(reconnect.reconnected),
            whole(reconnect.lost)
        ));
    }
    let failures = report.failures.total();
    parts.extend((failures > 0).then(|| plural(failures, "failure")));
    let text = if parts.is_empty() { "nothing was measured".into() } else { parts.join("; ") };
    let interrupted = if report.interrupted { "Interrupted: " } else { "" };
    capitalised(&format!("{interrupted}{text}"))
}

/// Connections, where they are what the run is about, or where some could not be opened.
fn opened(report: &RunReport, connect: &ConnectReport) -> Option<String> {
    if report.scenario == "storm" {
        let of = of(connect.opened, report.connections * connect.rounds, "connection");
        let storms = plural(connect.rounds, "storm");
        return Some(format!(
            "{of} opened in {storms}{}",
            within(&connect.handshake, " of the handshakes", "")
        ));
    }
    (connect.connected < report.connections)
        .then(|| format!("{} opened", of(connect.connected, report.connections, "connection")))
}

fn held(report: &RunReport) -> Vec<String> {
    let Some(hold) = report.hold else { return Vec::new() };
    let held =
        format!("{} held for {}", of(hold.held, hold.held + hold.lost, "connection"), time(hold.elapsed_s));
    let each = report.server.as_ref().and_then(|server| server.rss_bytes_per_connection);
    let each = each.filter(|&each| each > 0.0).map(|each| format!("{} of server memory each", bytes(each)));
    [Some(held), each].into_iter().flatten().collect()
}

fn replaced(report: &RunReport) -> Vec<String> {
    let Some(churn) = &report.churn else { return Vec::new() };
    let times = within(&churn.handshake, " of the handshakes", "");
    vec![
        format!("{} replaced", of(churn.opened, churn.closed, "connection")),
        format!("{} right{times}", of(churn.echoes, churn.opened, "echo")),
    ]
}

fn echoes(report: &RunReport, echo: &EchoReport) -> Vec<String> {
    let due = echo.echoes + echo.missing;
    if due + echo.sent == 0 {
        return vec!["no message sent".into()];
    }
    let bursts = match report.scenario.as_str() {
        "burst" => format!(" in {}", plural(echo.rounds, "burst")),
        _ => String::new(),
    };
    let is_open_loop = report.is_open_loop();
    let of_due = if is_open_loop { " of the time due" } else { "" };
    // In a storm, the handshakes' times have been given.
    let times = if report.scenario == "storm" { String::new() } else { within(&echo.latency, "", of_due) };
    let mut parts = vec![match report.messages.verify {
        Verify::Echo => format!("{} right{bursts}{times}", of(echo.echoes, due, "echo")),
        Verify::Any => format!("{} answered{bursts}{times}", of(echo.echoes, due, "message")),
        Verify::None => format!("{} sent, and no reply awaited", plural(echo.sent, "message")),
    }];
    if is_open_loop && echo.late > 0 {
        parts.push(format!("{} sent over 1 ms late", whole(echo.late)));
    }
    parts
}

/// `; half within 99 µs, 99% within 390 µs`, with what has these times and what they count from.
fn within(times: &Latency, what: &str, since: &str) -> String {
    let at = |quantile| times.quantile_us(quantile).map(micros);
    let (Some(half), Some(most)) = (at(0.5), at(0.99)) else { return String::new() };
    format!("; half{what} within {half}{since}, 99% within {most}")
}

/// `all 18,000 echoes`, or `17,990 of 18,000 echoes`.
fn of(n: u64, all: u64, noun: &str) -> String {
    match (n, all) {
        (1, 1) => format!("the one {noun}"),
        _ if n >= all => format!("all {}", plural(n, noun)),
        _ => format!("{} of {}", whole(n), plural(all, noun)),
    }
}

fn plural(n: u64, noun: &str) -> String {
    match (n, noun.ends_with("ho")) {
        (1, _) => format!("1 {noun}"),
        (_, true) => format!("{} {noun}es", whole(n)),
        (_, false) => format!("{} {noun}s", whole(n)),
    }
}

fn whole(value: u64) -> String {
    count(value as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Class;
    use crate::results::run::{ChurnReport, ReconnectReport, ServerReport};
    use crate::results::{Hold, Sample};

    fn times(all_us: &[u64]) -> Latency {
        let mut times = Latency::default();
        all_us.iter().for_each(|us| times.0.record(us * 1_000).expect("in range"));
        times
    }

    /// A run of this scenario, with 18,000 echoes and all else as it should be.
    fn report(scenario: &str) -> RunReport {
        let echo = EchoReport { rounds: 18, sent: 18_000, echoes: 18_000, ..EchoReport::default() };
        let text = serde_json::json!({
            "schema": 1, "version": "1", "command": [], "started": "", "url": "ws://127.0.0.1:8000/echo",
            "scenario": scenario, "connections": 1_000, "shards": 2, "payload_bytes": 32, "rate_per_s": null,
            "connect": null, "hold": null, "echo": EchoReport { latency: times(&[99, 99, 390]), ..echo },
            "churn": null, "close": null, "server": null, "failures": crate::fleet::Failures::default(),
            "ended_early": null, "interrupted": false, "exit_status": 0
        });
        let mut report: RunReport = serde_json::from_value(text).expect("a result");
        report.connect =
            Some(ConnectReport { rounds: 1, opened: 1_000, connected: 1_000, ..Default::default() });
        report
    }

    fn with(scenario: &str, change: impl FnOnce(&mut RunReport)) -> String {
        let mut report = report(scenario);
        change(&mut report);
        sentence(&report)
    }

    const TIMES: &str = "; half within 99 µs, 99% within 390 µs";

    #[test]
    fn echoes_and_replies() {
        assert_eq!(sentence(&report("echo")), format!("All 18,000 echoes right{TIMES}"));
        assert_eq!(sentence(&report("burst")), format!("All 18,000 echoes right in 18 bursts{TIMES}"));
        let verify = |verify| with("echo", |report| report.messages.verify = verify);
        assert_eq!(verify(Verify::Any), format!("All 18,000 messages answered{TIMES}"));
        assert_eq!(verify(Verify::None), "18,000 messages sent, and no reply awaited");
    }

    #[test]
    fn what_was_due_and_did_not_come() {
        let said = with("echo", |report| {
            report.rate_per_s = Some(1_800.0);
            let echo = report.echo.as_mut().expect("echoes");
            (echo.missing, echo.late) = (10, 1_234);
        });
        let times = "half within 99 µs of the time due, 99% within 390 µs";
        assert_eq!(said, format!("18,000 of 18,010 echoes right; {times}; 1,234 sent over 1 ms late"));
    }

    #[test]
    fn connections_held_and_replaced() {
        let said = with("idle", |report| {
            report.hold = Some(Hold { elapsed_s: 60.0, held: 995, lost: 5, pings: 0 });
            report.server = Some(ServerReport {
                before: Sample::default(),
                rss_bytes_per_connection: Some(11.9),
                ..ServerReport::default()
            });
        });
        assert_eq!(said, "995 of 1,000 connections held for 1 min; 11.9 B of server memory each");
        let churn = ChurnReport {
            closed: 1,
            opened: 1,
            echoes: 1,
            handshake: times(&[99, 99, 390]),
            ..Default::default()
        };
        let said = with("churn", |report| report.churn = Some(churn));
        let times = "half of the handshakes within 99 µs, 99% within 390 µs";
        assert_eq!(said, format!("The one connection replaced; the one echo right; {times}"));
        let said = with("storm", |report| {
            let handshake = self::times(&[99, 99, 390]);
            report.connect =
                Some(ConnectReport { rounds: 18, opened: 18_000, handshake, ..Default::default() });
        });
        assert_eq!(
            said,
            format!("All 18,000 connections opened in 18 storms; {times}; all 18,000 echoes right")
        );
    }

    #[test]
    fn failures_losses_and_interruptions() {
        let said = with("echo", |report| {
            report.connect.as_mut().expect("connections").connected = 995;
            report.failures.add(Class::Refused, 5);
            report.interrupted = true;
        });
        let opened = "995 of 1,000 connections opened";
        assert_eq!(said, format!("Interrupted: {opened}; all 18,000 echoes right{TIMES}; 5 failures"));
        let lost = ReconnectReport { lost: 3, reconnected: 3, ..ReconnectReport::default() };
        let said = with("echo", |report| report.reconnect = Some(lost));
        assert!(said.ends_with("; 3 of 3 lost connections replaced"), "{said}");
        let said = with("echo", |report| (report.connect, report.echo) = (None, None));
        assert_eq!(said, "Nothing was measured");
        let said = with("echo", |report| report.echo = Some(EchoReport::default()));
        assert_eq!(said, "No message sent");
    }
}
