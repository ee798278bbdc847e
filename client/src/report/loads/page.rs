//! `index.html` of results.

use super::super::format::{bytes, count, micros, number};
use super::super::page::{document, figures, head, row, side_by_side, table};
use super::super::plot::Plot;
use super::figures::{FIGURES, by_key};
use super::read::{Kind, Loaded};
use crate::results::Header;
use crate::results::run::RunReport;
use maud::{Markup, html};

/// The whole page.
pub(super) fn render(results: &[Loaded], plots: &[Plot]) -> String {
    let title = match results {
        [one] => format!("WebSocket load: {}", one.name),
        _ => "WebSocket loads side by side".into(),
    };
    let problems: Vec<String> =
        results.iter().filter_map(|one| Some(format!("{}: {}", one.name, problem(one)?))).collect();
    let heads = |results: &[Loaded]| -> Vec<Markup> {
        results.iter().map(|one| head(one.colour, &one.name, scenario(one))).collect()
    };
    let body = html! {
        @if !problems.is_empty() {
            section.failures role="alert" {
                h2 { "Problems" }
                ul { @for line in &problems { li { (line) } } }
            }
        }
        section.cards { @for one in results { (card(one)) } }
        (figures(plots))
        @for (title, results) in side_by_side("All figures", results) {
            (table(&title, "As each result has them.", &heads(results), html! {
                @for figure in &FIGURES {
                    @let cells: Vec<Option<Markup>> =
                        results.iter().map(|one| figure.text(one).map(|text| html! { (text) })).collect();
                    (row(figure.label, &cells))
                }
            }))
        }
        (method(results))
    };
    document(&title, &lead(results), &body)
}

fn scenario(one: &Loaded) -> &str {
    match &one.kind {
        Kind::Run(report) => &report.scenario,
        Kind::Find(_) => "find",
    }
}

/// What failed in a result; `None` if nothing did.
fn problem(one: &Loaded) -> Option<String> {
    let (complaint, interrupted) = match &one.kind {
        Kind::Run(report) => (report.complaint(), report.interrupted),
        Kind::Find(report) => {
            let none = report.found.is_none().then(|| "no rate was found".to_owned());
            (report.ended_early.clone().or(none), report.interrupted)
        }
    };
    let parts: Vec<String> = interrupted.then(|| "interrupted".into()).into_iter().chain(complaint).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// What each load was.
fn lead(results: &[Loaded]) -> Markup {
    html! {
        @for (number, one) in results.iter().enumerate() {
            @if number > 0 { br; }
            b { (one.name) } ": " (load(one)) "."
        }
    }
}

fn load(one: &Loaded) -> String {
    match &one.kind {
        Kind::Run(report) => of_run(report),
        Kind::Find(report) => format!(
            "the highest rate with p99 at most {}, {} connections to {}, {} per message",
            micros(report.bound_p99_us),
            count(report.connections as f64),
            report.url,
            bytes(report.payload_bytes as f64)
        ),
    }
}

fn of_run(report: &RunReport) -> String {
    let mut text =
        format!("{}, {} connections to {}", report.scenario, count(report.connections as f64), report.url);
    if report.echo.is_some() {
        text += &format!(", {} per message", bytes(report.payload_bytes as f64));
    }
    match (&report.ramp, report.rate_per_s) {
        (Some(ramp), _) => {
            text += &format!(
                ", rising from {} to {} messages per second",
                number(ramp.from_per_s),
                number(ramp.to_per_s)
            );
        }
        (None, Some(rate)) => text += &format!(", {} per second", number(rate)),
        (None, None) => {}
    }
    if report.clients > 1 {
        text += &format!(", {} clients", count(report.clients as f64));
    }
    text
}

/// The figure that a result is about, and five more.
fn card(one: &Loaded) -> Markup {
    let candidates = [
        ("found_per_s", "messages per second"),
        ("echoes_per_s", "echoes per second"),
        ("connections", "connections"),
    ];
    let big = candidates.into_iter().find(|(key, _)| by_key(key).of(one).is_some());
    let (big, unit) = big.unwrap_or(("failures", "failures"));
    let text = |key: &str| by_key(key).text(one);
    html! {
        article class={ "card c" (one.colour) } {
            h2 { span { (one.name) } (scenario(one)) }
            p.big { (text(big).unwrap_or_else(|| "–".into())) }
            p.unit { (unit) }
            dl {
                @for (name, key) in [
                    ("bound of p99", "bound_us_p99"),
                    ("p99 at that rate", "found_us_p99"),
                    ("p50", "latency_us_p50"),
                    ("p99", "latency_us_p99"),
                    ("handshake, p99", "handshake_us_p99"),
                    ("connections", "connections"),
                    ("memory per connection", "server_bytes_per_connection"),
                    ("failures", "failures"),
                ] {
                    @if let Some(value) = text(key).filter(|_| key != big) {
                        div { dt { (name) } dd { (value) } }
                    }
                }
            }
        }
    }
}

/// How each result was measured, and what the figures are.
fn method(results: &[Loaded]) -> Markup {
    let counted = [
        (
            "Latency",
            "From the time a message was due (at a rate, constant or rising) or sent (in closed loop) to its verified echo. A server that stalls cannot hide it.",
        ),
        ("Handshake", "From connect(2) to the verified response to the upgrade."),
        ("Echoes per second", "Echoes within the measured time, divided by it."),
        (
            "Every second",
            "Echoes received in it, and their latencies. A line that leaves the diagonal, and a p99 that rises, show the knee: the rate that the server cannot keep up with.",
        ),
        ("Highest rate", "Three of three steps held the bound, and the next rate above broke it."),
        (
            "Server memory",
            "Growth of resident memory from before the first connection until all are open, divided by them.",
        ),
        ("Units", "1 KB is 1,000 B. Figures are rounded to three digits; results.csv has more."),
    ];
    html! {
        section {
            h2 { "How it was measured" }
            @for one in results {
                @let Header { version, command, started, .. } = header(one);
                h3 { (one.name) }
                pre { code { (command.join(" ")) } }
                p.unit { "Started " (started) ", version " (version) }
            }
            h3 { "What is counted" }
            dl.counted { @for (name, text) in counted { div { dt { (name) } dd { (text) } } } }
        }
    }
}

fn header(one: &Loaded) -> &Header {
    match &one.kind {
        Kind::Run(report) => &report.header,
        Kind::Find(report) => &report.header,
    }
}
