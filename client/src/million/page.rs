//! `index.html`: the headline, the picture, all figures, and how they were measured.

use super::record::{Echoes, Record, Run};
use super::summary::time;
use super::verdict::whole;
use crate::report::STAGES;
use crate::report::format::{bytes, count, micros, number};
use crate::report::page::{self, document, figure, method};
use crate::report::plot::Plot;
use maud::{Markup, html};

/// The whole page; there is no plot where nothing was held.
pub fn render(record: &Record, plot: Option<&Plot>) -> String {
    let title = match best(record) {
        Some(run) => format!("{} WebSockets in one process", whole(run.held)),
        None => "WebSockets in one process".into(),
    };
    let complaints: Vec<String> = record.runs.iter().filter_map(Run::complaint).collect();
    let more = [
        ("Date", record.date.clone()),
        ("Commit", record.commit.clone().unwrap_or_else(|| "not in a repository".into())),
    ];
    let body = html! {
        @if !complaints.is_empty() {
            section.failures role="note" {
                h2 { "Not all was held" }
                ul { @for line in &complaints { li { (line) } } }
            }
        }
        @if let Some(plot) = plot { (figure(plot)) }
        (table(record))
        (method::section(&record.command, &record.machine, &more, &counted(record)))
    };
    document(&title, &lead(record), &body)
}

/// The run that held the most, and of those the one that took the least memory for it.
fn best(record: &Record) -> Option<&Run> {
    let held = record.runs.iter().filter(|run| run.held > 0);
    held.max_by_key(|run| {
        (run.held, std::cmp::Reverse(run.memory.server_connected_bytes.unwrap_or(u64::MAX)))
    })
}

/// One sentence of what was found, and where.
fn lead(record: &Record) -> Markup {
    let machine = &record.machine;
    let size = |run: &Run| bytes(run.memory.server_connected_bytes.unwrap_or_default() as f64);
    html! {
        @if let Some(run) = best(record) {
            "Stage " (run.stage) " held " b { (whole(run.held)) } " WebSocket connections in one process, in "
            b { (size(run)) } " of resident memory: "
            (bytes(run.memory.server_bytes_per_connection.unwrap_or_default())) " for each connection"
            @if let Some(kernel) = run.memory.kernel_bytes { ", beside " (bytes(kernel as f64)) " in the kernel" }
            ". "
        } @else { "No connection was held. " }
        "Client and server shared the " (machine.cores) " cores of " (machine.cpu) ", " (machine.kernel) "."
    }
}

/// The row whose words are long.
const STOPPED_BY: &str = "stopped by";

/// A row of the table: its name, and the figure of a run.
type Row = (&'static str, fn(&Run) -> Option<String>);

const ROWS: [Row; 23] = [
    ("connections held", |run| Some(whole(run.held))),
    (STOPPED_BY, |run| run.stopped.clone()),
    ("server memory at start", |run| {
        Some(size(run.memory.server_start_bytes)).filter(|_| !run.curve.is_empty())
    }),
    ("… with all connected", |run| run.memory.server_connected_bytes.map(size)),
    ("… for each connection", |run| run.memory.server_bytes_per_connection.map(bytes)),
    ("… after an echo on each", |run| run.memory.server_echoed_bytes.map(size)),
    ("… after all have closed", |run| run.memory.server_closed_bytes.map(size)),
    ("kernel memory, server’s side", |run| run.memory.kernel_bytes.map(|value| bytes(value as f64))),
    ("client memory for each connection", |run| run.memory.client_bytes_per_connection.map(bytes)),
    ("shards", |run| run.shards.map(whole)),
    ("setup", |run| run.setup.as_ref().map(|setup| time(setup.elapsed_s))),
    ("… raw TCP alone", |run| run.raw.map(|raw| time(raw.setup_s))),
    ("connections opened a second", |run| run.setup.as_ref().map(|setup| number(setup.connects_per_s))),
    ("one echo on each, a second", |run| run.each.as_ref().map(|phase| number(phase.echoes_per_s))),
    ("… raw TCP alone", |run| {
        run.raw.filter(|raw| raw.echoes_s > 0.0).map(|raw| number(raw.pairs as f64 / raw.echoes_s))
    }),
    ("open loop: p50", |run| quantile(run.open_loop.as_ref(), 0.5)),
    ("open loop: p99", |run| quantile(run.open_loop.as_ref(), 0.99)),
    ("open loop: p99.9", |run| quantile(run.open_loop.as_ref(), 0.999)),
    ("open loop: longest", |run| quantile(run.open_loop.as_ref(), 1.0)),
    ("open loop: messages lost", |run| run.open_loop.as_ref().map(|phase| whole(phase.missing))),
    ("one echo on each at once, a second", |run| run.burst.as_ref().map(|phase| number(phase.echoes_per_s))),
    ("closed in", |run| run.close.map(|close| time(close.elapsed_s))),
    ("both ends count alike", |run| {
        let agree = run.counts.connections?.agree && run.counts.messages?.agree;
        Some(if agree { "yes" } else { "no" }.into())
    }),
];

fn size(value: u64) -> String {
    bytes(value as f64)
}

fn quantile(phase: Option<&Echoes>, quantile: f64) -> Option<String> {
    let times = &phase?.latency.0;
    (!times.is_empty()).then(|| micros(times.value_at_quantile(quantile) as f64 / 1e3))
}

/// A column for each run; a figure that none has is left out.
fn table(record: &Record) -> Markup {
    let head = |run: &Run| {
        let index = usize::from(run.stage).saturating_sub(1);
        let title = STAGES.get(index).map_or("", |stage| stage.title);
        page::head(index, &format!("Stage {}", run.stage), title)
    };
    let heads: Vec<Markup> = record.runs.iter().map(head).collect();
    let cells = |name: &str, figure: fn(&Run) -> Option<String>| {
        let cell = |text| if name == STOPPED_BY { html! { small { (text) } } } else { html! { (text) } };
        record.runs.iter().map(|run| figure(run).map(cell)).collect::<Vec<_>>()
    };
    let rows = html! { @for (name, figure) in ROWS { (page::row(name, &cells(name, figure))) } };
    page::table("All figures", &caption(record), &heads, rows)
}

/// What was asked of each stage.
fn caption(record: &Record) -> String {
    let settings = &record.settings;
    let flags = match settings.server_flags.join(" ") {
        flags if flags.is_empty() => String::new(),
        flags => format!(", the server with {flags}"),
    };
    let idle = match settings.hold_s {
        0.0 => String::new(),
        hold_s => format!(" held idle for {}, then", time(hold_s)),
    };
    format!(
        "{} connections asked for;{idle} an echo on each, then {} messages per second over all of them \
         for {}, then an echo on each at once{flags}.",
        whole(settings.connections),
        count(settings.rate_per_s),
        time(settings.duration_s)
    )
}

/// What each figure counts, and what it does not.
fn counted(record: &Record) -> Vec<(&'static str, String)> {
    let payload = record.settings.payload_bytes;
    vec![
        (
            "Server memory",
            "All resident memory of the server process (Rss in /proc/PID/smaps_rollup): its code and all it has \
             allocated. For each connection: what it grew by from the start, over the connections. Not counted: what \
             the kernel keeps for its sockets, which stands beside it."
                .into(),
        ),
        (
            "Kernel memory",
            "The growth of the kernel’s slab caches, kernel stacks and the server’s page tables. Both ends of a \
             connection are on this machine, so what both have is halved. It includes whatever else the machine did \
             meanwhile."
                .into(),
        ),
        (
            "Client memory",
            "The growth of the client’s resident memory from its start to the largest that it was at the end of a \
             phase, over the connections."
                .into(),
        ),
        (
            "Setup",
            "From the first connect(2) to the last verified answer to a WebSocket upgrade, without the looks at memory \
             in between. Raw TCP alone is what the kernel takes to connect as many pairs of sockets in one process \
             that does nothing else, measured right before."
                .into(),
        ),
        (
            "Echoes",
            format!(
                "Messages of {payload} B, each echo compared with what was sent. In open loop latency counts from the \
                 time a message was due."
            ),
        ),
        (
            "Both ends count alike",
            "Connections, held idle: open at the client, active at the server, accepted less closed. Messages, at the \
             end: echoes that the client found right, received and sent by the server (/metrics)."
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
            "stopped by: vm.max_map_count",
            "Example CPU &lt;&amp;&gt;",
            "20,000 messages per second",
            "<svg",
        ] {
            assert!(page.contains(text), "{text} is missing");
        }
    }

    #[test]
    fn a_record_of_nothing_is_a_page_too() {
        let mut record = sample::record();
        record.runs = vec![Run { error: Some("it died: signal 9".into()), ..Run::default() }];
        let page = render(&record, None);
        assert!(page.contains("No connection was held") && page.contains("died: signal 9"));
    }
}
