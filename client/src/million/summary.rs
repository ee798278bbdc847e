//! The summary of a run, on less than a screen.

use super::record::{Echoes, Run};
use super::verdict::whole;
use crate::report::format::{bytes, micros, number, per_s, time};
use crate::results::Latency;
use std::fmt::Write;

/// The name of the stage, and a row per phase that was reached.
pub fn render(run: &Run) -> String {
    let shards = run.shards.map_or(String::new(), |shards| format!(", {} shards", whole(shards)));
    let mut text = format!("{}: {} connections in one process{shards}\n", run.package, whole(run.held));
    let echoes = |phase: &Option<Echoes>| phase.as_ref().map(echoes);
    let each = run.each.as_ref().map(|phase| each(run, phase));
    let open_loop = run.open_loop.as_ref();
    let rate = open_loop.and_then(|phase| phase.rate_per_s).map_or("open loop".into(), per_s);
    let rows = [
        ("setup", setup(run)),
        ("server", server(run)),
        ("kernel", kernel(run)),
        ("client", client(run)),
        ("idle", hold(run)),
        ("one each", each),
        (rate.as_str(), open_loop.map(self::open_loop)),
        ("burst", echoes(&run.burst)),
        ("closed", close(run)),
        ("counts", counts(run)),
        ("skipped", (!run.notes.is_empty()).then(|| run.notes.join("; "))),
        ("failures", failures(run)),
    ];
    for (name, value) in rows.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {name:<12} {value}");
    }
    text
}

fn setup(run: &Run) -> Option<String> {
    let setup = run.setup.as_ref().filter(|setup| setup.opened > 0)?;
    let mut text = format!("{}, {}", time(setup.elapsed_s), per_s(setup.connects_per_s));
    if let Some(raw) = run.raw.filter(|raw| raw.pairs == setup.opened && raw.setup_s > 0.0) {
        let times = number(setup.elapsed_s / raw.setup_s);
        text += &format!("; raw TCP alone {}: {times} times that", time(raw.setup_s));
    }
    Some(text + &format!("; handshake p99 {}", quantile(&setup.handshake, 0.99)))
}

fn server(run: &Run) -> Option<String> {
    let memory = &run.memory;
    let size = |value: u64| bytes(value as f64);
    let mut text = format!("{} at start", size(memory.server_start_bytes));
    if let (Some(connected), Some(each)) = (memory.server_connected_bytes, memory.server_bytes_per_connection)
    {
        text += &format!(", {} with all connected ({} each)", size(connected), bytes(each));
    }
    for (value, when) in
        [(memory.server_echoed_bytes, "after an echo on each"), (memory.server_closed_bytes, "after close")]
    {
        text += &value.map_or(String::new(), |value| format!(", {} {when}", size(value)));
    }
    (memory.server_start_bytes > 0).then_some(text)
}

fn kernel(run: &Run) -> Option<String> {
    let each = run.memory.kernel_bytes? as f64 / run.held.max(1) as f64;
    let both = run.memory.kernel_both_ends_bytes? as f64;
    Some(format!("{} per connection at the server's end, {} for both ends", bytes(each), bytes(both)))
}

fn client(run: &Run) -> Option<String> {
    let memory = &run.memory;
    let each = memory.client_bytes_per_connection?;
    let (start, peak) = (memory.client_start_bytes as f64, memory.client_peak_bytes as f64);
    Some(format!("{} at start, peak {}: {} per connection", bytes(start), bytes(peak), bytes(each)))
}

fn hold(run: &Run) -> Option<String> {
    let hold = run.hold.filter(|hold| hold.elapsed_s >= 0.05 || hold.lost > 0)?;
    let lost = if hold.lost == 0 { "none".into() } else { whole(hold.lost) };
    let pings =
        if hold.pings == 0 { String::new() } else { format!(", {} pings answered", whole(hold.pings)) };
    Some(format!("{} held for {}, {lost} lost{pings}", whole(hold.held), time(hold.elapsed_s)))
}

fn each(run: &Run, phase: &Echoes) -> String {
    let raw = run.raw.filter(|raw| raw.echoes_s > 0.0 && raw.pairs > 0);
    let raw = raw.map_or(String::new(), |raw| format!(" (raw: {})", per_s(raw.pairs as f64 / raw.echoes_s)));
    format!(
        "{} echoes in {}, {}{raw}; {}{}",
        whole(phase.echoes),
        time(phase.elapsed_s),
        per_s(phase.echoes_per_s),
        latency(phase),
        missing(phase)
    )
}

fn open_loop(phase: &Echoes) -> String {
    let lost = if phase.missing == 0 { "none lost".into() } else { format!("{} lost", whole(phase.missing)) };
    let late = if phase.late == 0 { String::new() } else { format!(", {} sent late", whole(phase.late)) };
    format!("{} messages in {}, {lost}{late}; {}", whole(phase.sent), time(phase.elapsed_s), latency(phase))
}

fn echoes(phase: &Echoes) -> String {
    format!(
        "{} echoes in {}, {}; {}{}",
        whole(phase.echoes),
        time(phase.elapsed_s),
        per_s(phase.echoes_per_s),
        latency(phase),
        missing(phase)
    )
}

fn close(run: &Run) -> Option<String> {
    let close = run.close?;
    let forced =
        if close.forced == 0 { "none reset".into() } else { format!("{} reset", whole(close.forced)) };
    Some(format!("{} in {}, {forced}", whole(close.closed), time(close.elapsed_s)))
}

fn counts(run: &Run) -> Option<String> {
    let said = [
        run.counts.connections.map(|counts| ("connections", counts.agree)),
        run.counts.messages.map(|counts| ("messages, echoes", counts.agree)),
    ];
    let names = |wanted: bool| {
        let names = said.iter().flatten().filter(|(_, agree)| *agree == wanted).map(|(name, _)| *name);
        names.collect::<Vec<_>>().join(", ")
    };
    let (agree, differ) = (names(true), names(false));
    let parts = [("agree at both ends", agree), ("DIFFER", differ)];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(word, names)| format!("{word}: {names}"))
        .collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn failures(run: &Run) -> Option<String> {
    let classes = run.failures.classes().map(|(class, n)| format!("{} {}", whole(n), class.name()));
    let classes: Vec<String> = classes.collect();
    (!classes.is_empty()).then(|| classes.join(", "))
}

fn missing(phase: &Echoes) -> String {
    if phase.missing == 0 { String::new() } else { format!("; {} missing", whole(phase.missing)) }
}

fn latency(phase: &Echoes) -> String {
    let at = |part| quantile(&phase.latency, part);
    if phase.latency.0.is_empty() {
        return "no echo".into();
    }
    format!("p50 {}, p99 {}, max {}", at(0.5), at(0.99), at(1.0))
}

fn quantile(times: &Latency, part: f64) -> String {
    times.quantile_us(part).map_or("–".into(), micros)
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn fits_a_screen() {
        for run in sample::record().runs {
            let text = render(&run);
            assert!(text.lines().count() <= 14, "{text}");
            assert!(text.lines().all(|line| line.chars().count() <= 140), "{text}");
        }
    }

    #[test]
    fn says_what_was_found() {
        let runs = sample::record().runs;
        let text = render(&runs[3]);
        for part in [
            "stage4-zero-buffer: 1,000,000 connections in one process, 53 shards\n",
            "times that; handshake p99",
            "4.6 MB at start, 12.9 MB with all connected (8.3 B each)",
            "20,000/s     1,200,000 messages in 1 min, none lost",
            "1,000,000 in 33 s, none reset",
            "agree at both ends: connections, messages, echoes",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(render(&Run::default()).lines().count() == 1);
    }
}
