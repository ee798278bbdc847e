//! `index.html`: the headline, the picture, all figures, and how they were measured.

use super::record::{Echoes, Record, Run};
use super::summary::time;
use super::verdict::whole;
use crate::report::STAGES;
use crate::report::format::{bytes, count, micros, number};
use crate::report::page::{document, method};
use crate::report::plot::{Plot, escape};
use std::fmt::Write;

/// The whole page; there is no plot where nothing was held.
pub fn render(record: &Record, plot: Option<&Plot>) -> String {
    let title = match best(record) {
        Some(run) => format!("{} WebSockets in one process", whole(run.held)),
        None => "WebSockets in one process".into(),
    };
    let figure = plot.map_or(String::new(), |plot| {
        format!(
            "<figure id=\"{}\">\n<h2>{}</h2>\n{}</figure>\n",
            plot.name,
            plot.title,
            plot.svg.inline(plot.name, plot.title, &plot.description)
        )
    });
    let more = [
        ("Date", record.origin.date.clone()),
        ("Commit", record.origin.commit.clone().unwrap_or_else(|| "not in a repository".into())),
    ];
    let body = [
        format!("<header>\n<h1>{title}</h1>\n<p class=\"lead\">{}</p>\n</header>\n", lead(record)),
        complaints(record),
        figure,
        format!("<section>\n<h2>All figures</h2>\n{}</section>\n", table(record)),
        method::section(&record.origin.command, &record.machine, &more, &counted(record)),
    ]
    .concat();
    document(&title, &body)
}

/// The run that held the most, and of those the one that took the least memory for it.
fn best(record: &Record) -> Option<&Run> {
    let held = record.runs.iter().filter(|run| run.held > 0);
    held.max_by_key(|run| {
        (run.held, std::cmp::Reverse(run.memory.server_connected_bytes.unwrap_or(u64::MAX)))
    })
}

/// One sentence of what was found, and where.
fn lead(record: &Record) -> String {
    let machine = &record.machine;
    let place = format!(
        "Client and server shared the {} cores of {}.",
        machine.cores,
        escape(&format!("{}, {}", machine.cpu, machine.kernel))
    );
    let Some(run) = best(record) else { return format!("No connection was held. {place}") };
    let memory = run.memory.server_connected_bytes.unwrap_or_default() as f64;
    let each = run.memory.server_bytes_per_connection.unwrap_or_default();
    format!(
        "Stage {} held <b>{}</b> WebSocket connections in one process, in <b>{}</b> of resident memory: {} for each \
         connection{}. {place}",
        run.stage,
        whole(run.held),
        bytes(memory),
        bytes(each),
        run.memory
            .kernel_bytes
            .map_or(String::new(), |kernel| { format!(", beside {} in the kernel", bytes(kernel as f64)) })
    )
}

fn complaints(record: &Record) -> String {
    let items: String = record
        .runs
        .iter()
        .filter_map(Run::complaint)
        .map(|line| format!("<li>{}</li>\n", escape(&line)))
        .collect();
    match items.as_str() {
        "" => String::new(),
        items => format!(
            "<section class=\"failures\" role=\"note\">\n<h2>Not all was held</h2>\n<ul>\n{items}</ul>\n</section>\n"
        ),
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
fn table(record: &Record) -> String {
    let head: String = record
        .runs
        .iter()
        .map(|run| {
            let index = usize::from(run.stage).saturating_sub(1);
            let title = STAGES.get(index).map_or("", |stage| stage.title);
            format!(
                "<th scope=\"col\" class=\"c{index}\">Stage {}<small>{}</small></th>",
                run.stage,
                escape(title)
            )
        })
        .collect();
    let mut rows = String::new();
    for (name, figure) in ROWS {
        let figures: Vec<Option<String>> = record.runs.iter().map(figure).collect();
        if figures.iter().all(Option::is_none) {
            continue;
        }
        let cell = |text: Option<String>| match text {
            None => "<td>–</td>".into(),
            Some(text) if name == STOPPED_BY => format!("<td><small>{}</small></td>", escape(&text)),
            Some(text) => format!("<td>{}</td>", escape(&text)),
        };
        let cells: String = figures.into_iter().map(cell).collect();
        let _ = writeln!(rows, "<tr><th scope=\"row\">{name}</th>{cells}</tr>");
    }
    let settings = &record.settings;
    let flags = match settings.server_flags.join(" ") {
        flags if flags.is_empty() => String::new(),
        flags => format!(", the server with {flags}"),
    };
    let idle = match settings.hold_s {
        0.0 => String::new(),
        hold_s => format!(" held idle for {}, then", time(hold_s)),
    };
    let caption = format!(
        "{} connections asked for;{idle} an echo on each, then {} messages per second over all of them \
         for {}, then an echo on each at once{}.",
        whole(settings.connections),
        count(settings.rate_per_s),
        time(settings.duration_s),
        escape(&flags)
    );
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"All figures\">\n<table class=\"all\">\n\
         <caption>{caption}</caption>\n<thead><tr><td></td>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n"
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
