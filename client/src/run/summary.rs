//! The summary of a run.

use crate::fleet::{Failures, Verify};
use crate::report::format::{bytes, count, micros, number, per_s, time};
use crate::results::run::{
    AddressReport, ConnectReport, EchoReport, HandshakeParts, MessageReport, RunReport, ServerReport,
    per_s as rate_of,
};
use crate::results::{Latency, Sample};
use std::fmt::Write;

/// A row per phase, on less than a screen.
pub(super) fn render(report: &RunReport) -> String {
    let mut rows: Vec<(&str, String)> = Vec::new();
    if let Some(connect) = &report.connect {
        connect_rows(&mut rows, report, connect);
    }
    if let Some(hold) = &report.hold {
        let (held, lost, pings) = (whole(hold.held), whole(hold.lost), whole(hold.pings));
        rows.push((
            "held",
            format!("{held} for {}, {lost} lost, {pings} pings answered", time(hold.elapsed_s)),
        ));
    }
    if let Some(echo) = &report.echo {
        echo_rows(&mut rows, report, echo);
    }
    if let Some(churn) = &report.churn {
        let (closed, opened, echoes) = (whole(churn.closed), whole(churn.opened), whole(churn.echoes));
        let time = time(churn.elapsed_s);
        rows.push((
            "replaced",
            format!("{closed} closed and {opened} opened in {time}, {echoes} echoes on these"),
        ));
        rows.push(("handshake", distribution(&churn.handshake)));
        rows.extend(churn.parts.as_ref().map(|parts| ("of which", of_which(parts))));
    }
    unsolicited_rows(&mut rows, report);
    if let Some(close) = &report.close {
        let (closed, forced) = (whole(close.closed), whole(close.forced));
        let time = time(close.elapsed_s);
        rows.push(("closed", format!("{closed} by closing handshake, {forced} by reset, in {time}")));
    }
    if let Some(reconnect) = &report.reconnect {
        let (lost, back) = (whole(reconnect.lost), whole(reconnect.reconnected));
        let (causes, failed) = (by_class(&reconnect.causes), whole(reconnect.failed_attempts));
        rows.push(("lost", format!("{lost} ({causes}), {back} of them replaced, {failed} attempts failed")));
        rows.push(("away", distribution(&reconnect.away)));
    }
    rows.extend(report.proxy.iter().map(|proxy| ("proxy", proxy.clone())));
    address_rows(&mut rows, report);
    if let Some(server) = &report.server {
        rows.push(("server", server_row(server)));
        rows.extend(server.doubt.iter().map(|doubt| ("", doubt.clone())));
    }
    rows.push(("failures", by_class(&report.failures)));
    let mut text = format!("{}, {}, {}", report.url, report.scenario, payload(report));
    if report.in_flight > 1 {
        text += &format!(", {} in flight", report.in_flight);
    }
    if report.clients > 1 {
        text += &format!(", {} clients", whole(report.clients));
    }
    text += if report.interrupted { ", interrupted\n" } else { "\n" };
    for (name, value) in rows {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {name:<12} {value}");
    }
    text
}

/// The payload of the messages, such as `payload 32 B to 4 KiB of text`.
pub(super) fn payload(report: &RunReport) -> String {
    let MessageReport { text, payload_min_bytes, payload_file, .. } = report.messages;
    let mut said = String::from("payload ");
    if let Some(shortest) = payload_min_bytes {
        said += &format!("{} to ", bytes(shortest as f64));
    }
    said += &bytes(report.payload_bytes as f64);
    said += if text { " of text" } else { "" };
    said + if payload_file { " from a file" } else { "" }
}

fn unsolicited_rows(rows: &mut Vec<(&str, String)>, report: &RunReport) {
    if report.greetings > 0 {
        rows.push(("greetings", whole(report.greetings)));
    }
    if let Some(pushed) = &report.pushed {
        let (messages, bytes) = (whole(pushed.messages), bytes(pushed.bytes as f64));
        rows.push(("pushed", format!("{messages} messages from the server that are no replies, {bytes}")));
    }
}

fn connect_rows(rows: &mut Vec<(&str, String)>, report: &RunReport, connect: &ConnectReport) {
    let rounds = if connect.rounds > 1 { format!("{} times ", connect.rounds) } else { String::new() };
    let of = if connect.rounds > 1 { connect.opened / connect.rounds } else { connect.connected };
    let (of, asked) = (whole(of), whole(report.connections));
    let (time, rate) = (time(connect.elapsed_s), per_s(connect.connects_per_s));
    rows.push(("connections", format!("{rounds}{of} of {asked} in {time}, {rate}")));
    rows.push(("handshake", distribution(&connect.handshake)));
    rows.extend(connect.parts.as_ref().map(|parts| ("of which", of_which(parts))));
}

/// The parts of handshakes over TLS.
fn of_which(parts: &HandshakeParts) -> String {
    let part =
        |name: &str, times: &Latency| format!("{name} p50 {}, p99 {}", at(times, 0.5), at(times, 0.99));
    let resumed = match parts.tls_resumed {
        0 => String::new(),
        resumed => format!("; {} of {} resumed", whole(resumed), whole(parts.tls.0.len())),
    };
    let (tcp, tls) = (part("TCP", &parts.tcp), part("TLS", &parts.tls));
    format!("{tcp}; {tls}; {}{resumed}", part("upgrade", &parts.upgrade))
}

/// A row per address, if there are several.
fn address_rows(rows: &mut Vec<(&str, String)>, report: &RunReport) {
    /// Names of large services have dozens of addresses.
    const MOST: usize = 8;
    for (number, address) in report.addresses.iter().take(MOST).enumerate() {
        let name = if number == 0 { "addresses" } else { "" };
        let (opened, failed) = (whole(address.opened), whole(address.failed));
        rows.push((name, format!("{}: {opened} opened, {failed} failed", address.address)));
    }
    if let Some(others) = report.addresses.get(MOST..).filter(|others| !others.is_empty()) {
        let sum = |of: fn(&AddressReport) -> u64| whole(others.iter().map(of).sum());
        let (opened, failed) = (sum(|address| address.opened), sum(|address| address.failed));
        rows.push(("", format!("{} others: {opened} opened, {failed} failed", others.len())));
    }
}

fn echo_rows(rows: &mut Vec<(&str, String)>, report: &RunReport, echo: &EchoReport) {
    let rounds = if echo.rounds > 1 { format!(" in {} rounds", echo.rounds) } else { String::new() };
    let (name, messages, rate, how) = match report.messages.verify {
        Verify::Echo => ("echoes", echo.echoes, echo.echoes_per_s, "all verified"),
        Verify::Any => ("replies", echo.echoes, echo.echoes_per_s, "of any content"),
        Verify::None => ("sent", echo.sent, rate_of(echo.sent as f64, echo.elapsed_s), "no reply awaited"),
    };
    let (messages, rate, active) = (whole(messages), per_s(rate), whole(echo.active));
    let time = time(echo.elapsed_s);
    rows.push((name, format!("{messages}{rounds} in {time}, {rate} over {active} connections, {how}")));
    if report.messages.verify != Verify::None {
        rows.push(("latency", distribution(&echo.latency)));
    }
    if report.is_open_loop() {
        let (late, missing) = (whole(echo.late), whole(echo.missing));
        let rate = match report.ramp {
            Some(ramp) => format!("{} to {}", number(ramp.from_per_s), per_s(ramp.to_per_s)),
            None => per_s(report.rate_per_s.unwrap_or_default()),
        };
        rows.push(("open loop", format!("{rate} due, {late} sent over 1 ms late, {missing} missing")));
    } else if echo.missing > 0 {
        rows.push(("missing", whole(echo.missing)));
    }
}

fn server_row(server: &ServerReport) -> String {
    let at = |name: &str, sample: Option<Sample>| {
        sample.map_or(String::new(), |sample| format!(", {} {name}", bytes(sample.rss_bytes as f64)))
    };
    let mut text = format!("{} before", bytes(server.before.rss_bytes as f64));
    text += &at("connected", server.connected);
    if let Some(each) = server.rss_bytes_per_connection {
        text += &format!(" ({} each)", bytes(each));
    }
    text += &at("after load", server.loaded);
    text += &at("closed", server.closed);
    if let Some(cpu_us) = server.cpu_us_per_echo {
        text += &format!("; {} of CPU per echo", micros(cpu_us));
    }
    text
}

fn distribution(times: &Latency) -> String {
    let at = |quantile| at(times, quantile);
    if times.0.is_empty() {
        return "none".to_owned();
    }
    format!("p50 {}, p90 {}, p99 {}, p99.9 {}, max {}", at(0.5), at(0.9), at(0.99), at(0.999), at(1.0))
}

fn at(times: &Latency, quantile: f64) -> String {
    times.quantile_us(quantile).map_or("–".into(), micros)
}

fn by_class(failures: &Failures) -> String {
    let classes: Vec<String> =
        failures.classes().map(|(class, n)| format!("{} {}", whole(n), class.name())).collect();
    if classes.is_empty() { "none".to_owned() } else { classes.join(", ") }
}

fn whole(value: u64) -> String {
    count(value as f64)
}
