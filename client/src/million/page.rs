//! `index.html`: headline, plot, all figures, and how they were measured.

use super::record::{Echoes, Record, Run};
use super::verdict::whole;
use crate::report::STAGES;
use crate::report::format::{bytes, count, micros, number, time};
use crate::report::page::{self, document, figure, glued, method};
use crate::report::plot::Plot;
use maud::{Markup, html};

/// The whole page, without a plot if no connection was held.
pub fn render(record: &Record, plot: Option<&Plot>) -> String {
    let title = match best(record) {
        Some(run) => format!("{} WebSockets in one process", whole(run.held)),
        None => "WebSockets in one process".into(),
    };
    let failures: Vec<String> = record.runs.iter().filter_map(Run::failure).collect();
    let more = [
        ("Date", record.origin.date.clone()),
        ("Commit", record.origin.commit.clone().unwrap_or_else(|| "not in a repository".into())),
    ];
    let body = html! {
        @if !failures.is_empty() {
            section.failures role="note" {
                h2 { "Problems" }
                ul { @for line in &failures { li { (line) } } }
            }
        }
        @if let Some(plot) = plot { (figure(plot)) }
        @for (run, limit) in record.runs.iter().filter_map(|run| Some((run, run.limit()?))) {
            p.limit { b { "Stage " (run.stage) ":" } " stopped at " (whole(run.held)) " connections: " code { (limit) } }
        }
        (table(record))
        (method::section(&record.origin.command, &record.machine, &more, &counted(record)))
    };
    document(&title, &lead(record), &body)
}

/// The run that held the most connections; among equals, the one with the least memory.
fn best(record: &Record) -> Option<&Run> {
    let held = record.runs.iter().filter(|run| run.held > 0);
    held.max_by_key(|run| {
        (run.held, std::cmp::Reverse(run.memory.server_connected_bytes.unwrap_or(u64::MAX)))
    })
}

/// The best run in one sentence, and the machine.
fn lead(record: &Record) -> Markup {
    let machine = &record.machine;
    let size = |run: &Run| bytes(run.memory.server_connected_bytes.unwrap_or_default() as f64);
    html! {
        @if let Some(run) = best(record) {
            "Stage " (run.stage) " held " b { (whole(run.held)) } " WebSocket connections in one process, in "
            b { (size(run)) } " of resident memory: "
            (glued(&bytes(run.memory.server_bytes_per_connection.unwrap_or_default()))) " per connection"
            @if let Some(kernel) = run.memory.kernel_bytes { ", plus " (glued(&bytes(kernel as f64))) " in the kernel" }
            ". "
        } @else { "No connection was held. " }
        "Client and server shared the " (machine.cores) " cores of " (machine.cpu) ", " (machine.kernel) "."
    }
}

/// The row with long text, set in small type.
const STOPPED_BY: &str = "stopped by";

/// A row of the table: its label, and a run's figure.
type Row = (&'static str, fn(&Run) -> Option<String>);

const ROWS: [Row; 23] = [
    ("connections held", |run| Some(whole(run.held))),
    (STOPPED_BY, |run| run.stopped.clone()),
    ("server memory at start", |run| {
        Some(size(run.memory.server_start_bytes)).filter(|_| !run.curve.is_empty())
    }),
    ("… with all connected", |run| run.memory.server_connected_bytes.map(size)),
    ("… per connection", |run| run.memory.server_bytes_per_connection.map(bytes)),
    ("… after one echo on each", |run| run.memory.server_echoed_bytes.map(size)),
    ("… after all have closed", |run| run.memory.server_closed_bytes.map(size)),
    ("kernel memory, server’s side", |run| run.memory.kernel_bytes.map(|value| bytes(value as f64))),
    ("client memory per connection", |run| run.memory.client_bytes_per_connection.map(bytes)),
    ("shards", |run| run.shards.map(whole)),
    ("setup", |run| run.setup.as_ref().map(|setup| time(setup.elapsed_s))),
    ("… raw TCP only", |run| run.raw.map(|raw| time(raw.setup_s))),
    ("connections opened per second", |run| run.setup.as_ref().map(|setup| number(setup.connects_per_s))),
    ("echoes per second, one on each", |run| run.each.as_ref().map(|phase| number(phase.echoes_per_s))),
    ("… raw TCP only", |run| {
        run.raw.filter(|raw| raw.echoes_s > 0.0).map(|raw| number(raw.pairs as f64 / raw.echoes_s))
    }),
    ("open loop: p50", |run| quantile(run.open_loop.as_ref(), 0.5)),
    ("open loop: p99", |run| quantile(run.open_loop.as_ref(), 0.99)),
    ("open loop: p99.9", |run| quantile(run.open_loop.as_ref(), 0.999)),
    ("open loop: longest", |run| quantile(run.open_loop.as_ref(), 1.0)),
    ("open loop: messages lost", |run| run.open_loop.as_ref().map(|phase| whole(phase.missing))),
    ("echoes per second, burst", |run| run.burst.as_ref().map(|phase| number(phase.echoes_per_s))),
    ("closed in", |run| run.close.map(|close| time(close.elapsed_s))),
    ("counts agree at both ends", |run| {
        let agree = run.counts.connections?.agree && run.counts.messages?.agree;
        Some(if agree { "yes" } else { "no" }.into())
    }),
];

fn size(value: u64) -> String {
    bytes(value as f64)
}

fn quantile(phase: Option<&Echoes>, quantile: f64) -> Option<String> {
    phase?.latency.quantile_us(quantile).map(micros)
}

/// One column per run. Figures that no run has are omitted.
fn table(record: &Record) -> Markup {
    let head = |run: &Run| {
        let index = usize::from(run.stage).saturating_sub(1);
        let title = STAGES.get(index).map_or("", |stage| stage.title);
        page::head(index, &format!("Stage {}", run.stage), title)
    };
    let heads: Vec<Markup> = record.runs.iter().map(head).collect();
    let cells = |name: &str, figure: fn(&Run) -> Option<String>| {
        let cell = |text| {
            if name == STOPPED_BY {
                html! { small { (text) } }
            } else {
                html! { (text) }
            }
        };
        record.runs.iter().map(|run| figure(run).map(cell)).collect::<Vec<_>>()
    };
    let rows = html! { @for (name, figure) in ROWS { (page::row(name, &cells(name, figure))) } };
    page::table("All figures", &caption(record), &heads, rows)
}

/// The load, the same for every run.
fn caption(record: &Record) -> String {
    let settings = &record.settings;
    let flags = match settings.server_flags.join(" ") {
        flags if flags.is_empty() => String::new(),
        flags => format!("; server flags: {flags}"),
    };
    let idle = match settings.hold_s {
        0.0 => String::new(),
        hold_s => format!(" held idle for {}, then", time(hold_s)),
    };
    format!(
        "{} connections requested;{idle} one echo on each, then {} messages per second across all of them for {}, \
         then one echo on each, all sent at once{flags}.",
        whole(settings.connections),
        count(settings.rate_per_s),
        time(settings.duration_s)
    )
}

/// The definitions of the figures: name and text.
fn counted(record: &Record) -> Vec<(&'static str, String)> {
    let payload = record.settings.payload_bytes;
    vec![
        (
            "Server memory",
            "Total resident memory of the server process (Rss in /proc/PID/smaps_rollup): code and all allocations. Per \
             connection: the growth since the start, divided by the connections. The kernel’s memory for the sockets is \
             not included; it has a row of its own."
                .into(),
        ),
        (
            "Kernel memory",
            "Growth of the kernel’s slab caches, kernel stacks and the server’s page tables. Both ends of a connection \
             are on this machine, so what both need is halved. Includes other activity of the machine."
                .into(),
        ),
        (
            "Client memory",
            "Growth of the client’s resident memory from its start to the largest value at the end of a phase, divided \
             by the connections."
                .into(),
        ),
        (
            "Setup",
            "From the first connect(2) to the last verified response to a WebSocket upgrade, without the pauses for memory \
             measurements. Raw TCP only: the time to connect the same number of socket pairs in one process that does \
             nothing else, measured just before."
                .into(),
        ),
        (
            "Echoes",
            format!(
                "Messages of {payload} B; each echo is compared with its message. In open loop, latency counts from the \
                 time a message was due."
            ),
        ),
        (
            "Counts agree at both ends",
            "Connections, while idle: open at the client; active, and accepted minus closed, at the server. Messages, at \
             the end: echoes that the client verified; received and sent by the server (/metrics)."
                .into(),
        ),
        ("Units", "1 KB is 1,000 B. Figures are rounded to three digits; million.json has them unrounded.".into()),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::{picture, sample};
    use super::*;

    #[test]
    fn says_what_was_held() {
        let record = sample::record();
        let page = render(&record, picture::plot(&record).as_ref());
        for text in [
            "<h1>1,000,000 WebSockets in one process</h1>",
            "Stage 4 held <b>1,000,000</b> WebSocket connections in one process, in <b>12.9 MB</b>",
            "<b>Stage 1:</b> stopped at 16,246 connections: <code>vm.max_map_count</code>",
            "Stage 4 holds 1,000,000 connections in 12.9\u{a0}MB: ",
            "Example CPU &lt;&amp;&gt;",
            "20,000 messages per second",
            "<svg",
        ] {
            assert!(page.contains(text), "{text} is missing");
        }
        assert!(!page.contains("Problems"), "a limit is no problem");
    }

    #[test]
    fn an_empty_record_makes_a_page() {
        let mut record = sample::record();
        record.runs = vec![Run { error: Some("it died: signal 9".into()), ..Run::default() }];
        let page = render(&record, None);
        assert!(page.contains("No connection was held") && page.contains("died: signal 9"));
    }
}
