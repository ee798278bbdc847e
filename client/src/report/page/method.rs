//! The last section of the page: command, machine, limits, and the definition of each figure.

use crate::report::format;
use crate::report::results::{Machine, Results, Settings, Workload};
use maud::{Markup, html};

/// The section for a comparison.
pub fn render(results: &Results) -> Markup {
    let more = [
        ("Date", results.origin.date.clone()),
        ("Commit", results.origin.commit.clone().unwrap_or_else(|| "not in a repository".into())),
        ("Took", format::time(results.elapsed_s)),
    ];
    section(&results.origin.command, &results.machine, &more, &counted(results))
}

/// The command, the machine with `more` facts, its limits, and the definitions of the figures.
pub(crate) fn section(
    command: &str,
    machine: &Machine,
    more: &[(&str, String)],
    counted: &[(&str, String)],
) -> Markup {
    let facts = [
        ("Processor", machine.cpu.clone()),
        ("Cores", format!("{}, shared by server and client", machine.cores)),
        ("Memory", format::bytes(machine.memory_bytes as f64)),
        ("Kernel", machine.kernel.clone()),
    ];
    html! {
        section {
            h2 { "How it was measured" }
            pre { code { (command) } }
            .facts {
                table {
                    caption { "The machine" }
                    tbody { @for (name, value) in facts.iter().chain(more) { (row(name, value)) } }
                }
                table {
                    caption { "Its limits" }
                    tbody { @for (name, value) in &machine.limits { (row(name, value)) } }
                }
            }
            h3 { "What is counted" }
            dl.counted { @for (name, text) in counted { div { dt { (name) } dd { (text) } } } }
        }
    }
}

fn row(name: &str, value: &str) -> Markup {
    html! { tr { th scope="row" { (name) } td { (value) } } }
}

/// The definitions: name and text.
fn counted(results: &Results) -> Vec<(&'static str, String)> {
    let settings = &results.settings;
    let mut counted = if settings.has_small() { small(results) } else { Vec::new() };
    counted.extend((!settings.workloads.is_empty()).then(|| ("Other workloads", workloads(settings))));
    counted.extend([
        (
            "CPU time per echo",
            "CPU time of the server process during the closed loop, divided by the echoes. The part in user space is from \
             /proc/PID/stat, which samples it. On loopback, the kernel does much of the work for a message on the sending \
             side, and accounts for it there."
                .into(),
        ),
        ("Units", "1 KB is 1,000 B. Figures are rounded to three digits; results.json has them unrounded.".into()),
    ]);
    counted
}

fn small(results: &Results) -> Vec<(&'static str, String)> {
    let Settings { warm_connections, load_connections, active, payload_bytes, .. } = results.settings;
    let settings = &results.settings;
    let rate = settings.open_rate.map_or_else(
        || "a fixed rate".into(),
        |rate| format!("{} messages per second (the same for every server)", format::number(rate)),
    );
    vec![
        (
            "User memory",
            format!(
                "Resident memory of the server process (Rss in /proc/PID/smaps_rollup) above its baseline, divided by the \
                 open connections. The baseline is the same process without connections, after {warm_connections} of \
                 them echoed once and were closed."
            ),
        ),
        ("Kernel memory", kernel(results)),
        (
            "Connects per second",
            "Connections opened per second between two levels, each with a verified WebSocket handshake. Client and \
             server share the cores."
                .into(),
        ),
        (
            "Closed loop",
            format!(
                "{} connections are open, and {} of them active for {}: each sends {payload_bytes} B, waits for the \
                 echo, compares it, and sends again.",
                format::count(load_connections as f64),
                format::count(active as f64),
                format::time(settings.closed_loop_s)
            ),
        ),
        (
            "Open loop",
            format!(
                "The same connections at {rate}, for {}, whether or not earlier echoes have arrived. Latency counts \
                 from the time a message was due, so a server that stalls cannot hide it.",
                format::time(settings.open_loop_s)
            ),
        ),
        ("User instructions", instructions(results)),
    ]
}

fn workloads(settings: &Settings) -> String {
    let each = settings.workloads.iter().map(|workload| {
        let Workload { name, connections, in_flight, payload_bytes } = workload;
        let (connections, bytes) = (format::count(*connections as f64), format::count(*payload_bytes as f64));
        match in_flight {
            1 => format!("{name}: {connections} connections, {bytes} bytes per message"),
            many => {
                format!(
                    "{name}: {connections} connections, {many} messages of {bytes} bytes in flight on each"
                )
            }
        }
    });
    format!(
        "A closed loop of {} each, in which all connections are active: each sends again when all its messages have been \
         echoed and compared. {}.",
        format::time(settings.closed_loop_s),
        each.collect::<Vec<_>>().join("; ")
    )
}

fn kernel(results: &Results) -> String {
    let mut sources = results
        .visits
        .iter()
        .flat_map(|visit| &visit.levels)
        .filter_map(|level| level.kernel_source.as_deref());
    match sources.next() {
        Some("slabinfo") => "Growth of the kernel's slab caches (/proc/slabinfo), kernel stacks (/proc/meminfo) and \
             the server's page tables. Both ends of a connection are on this machine, so what both need (socket, inode, \
             file, epoll entry …) is halved; threads and mappings are counted in full. Includes other activity of the \
             machine."
            .into(),
        Some(_) => "Growth of Slab and KernelStack in /proc/meminfo and of the server's page tables. Both ends of a \
             connection are on this machine, so Slab is halved, which hides half the cost of threads. With root privileges, \
             /proc/slabinfo is read instead, which separates the two."
            .into(),
        None => "Not measured.".into(),
    }
}

fn instructions(results: &Results) -> String {
    let runs = || results.visits.iter().filter_map(|visit| visit.closed_loop.as_ref());
    if runs().any(|run| run.user_instructions_per_echo.is_some()) {
        return "Counted by perf stat during the closed loop, divided by the echoes.".into();
    }
    let note = runs().find_map(|run| run.instructions_note.clone());
    note.map_or_else(|| "Not measured.".into(), |note| format!("Not measured: {note}."))
}
