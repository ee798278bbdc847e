//! The foot of the page: where it was measured, with what, and what each figure counts.

use crate::report::format;
use crate::report::plot::escape;
use crate::report::results::{Machine, Results, Settings, Workload};

/// How it was measured.
pub fn render(results: &Results) -> String {
    let machine = &results.machine;
    let more = [
        ("Date", results.origin.date.clone()),
        ("Commit", results.origin.commit.clone().unwrap_or_else(|| "not in a repository".into())),
        ("Took", format::seconds(results.elapsed_s)),
    ];
    section(&results.origin.command, machine, &more, &counted(results))
}

/// The command, the machine with `more` facts, its limits, and what is counted.
pub(crate) fn section(
    command: &str,
    machine: &Machine,
    more: &[(&str, String)],
    counted: &[(&str, String)],
) -> String {
    let facts = [
        ("Processor", machine.cpu.clone()),
        ("Cores", format!("{}, shared by server and client", machine.cores)),
        ("Memory", format::bytes(machine.memory_bytes as f64)),
        ("Kernel", machine.kernel.clone()),
    ];
    let facts: String = facts.iter().chain(more).map(|(name, value)| row(name, value)).collect();
    let limits: String = machine.limits.iter().map(|(name, value)| row(name, value)).collect();
    let counted: String = counted
        .iter()
        .map(|(name, text)| format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escape(text)))
        .collect();
    format!(
        "<section>\n<h2>How it was measured</h2>\n<pre><code>{}</code></pre>\n\
         <div class=\"facts\">\n<table>\n<caption>The machine</caption>\n<tbody>\n{facts}</tbody>\n</table>\n\
         <table>\n<caption>Its limits</caption>\n<tbody>\n{limits}</tbody>\n</table>\n</div>\n\
         <h3>What is counted</h3>\n<dl class=\"counted\">\n{counted}</dl>\n</section>\n",
        escape(command)
    )
}

fn row(name: &str, value: &str) -> String {
    format!("<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n", escape(name), escape(value))
}

/// What each figure counts, and how it is had.
fn counted(results: &Results) -> Vec<(&'static str, String)> {
    let settings = &results.settings;
    let mut counted = if settings.has_small() { small(results) } else { Vec::new() };
    counted.extend((!settings.workloads.is_empty()).then(|| ("Other workloads", workloads(settings))));
    counted.extend([
        (
            "CPU time per echo",
            "Processor time of the server process during the closed loop, over the echoes; the share in user space is from \
             /proc/PID/stat, which samples it. On loopback, much of the kernel's work for a message is done, and counted, \
             on the sending side."
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
        |rate| format!("{} messages per second, the same for all", format::number(rate)),
    );
    vec![
        (
            "User memory",
            format!(
                "Resident memory of the server process (Rss in /proc/PID/smaps_rollup) above that of the same process \
                 when warm and empty, {warm_connections} connections having come, echoed and gone; divided by the \
                 connections that are open."
            ),
        ),
        ("Kernel memory", kernel(results)),
        (
            "Connects per second",
            "Connections opened from one level to the next, each with its WebSocket handshake verified. Client and \
             server share the cores."
                .into(),
        ),
        (
            "Closed loop",
            format!(
                "{} connections are open and {} of them active: each sends {payload_bytes} B, and again when the echo \
                 is back and found right; for {}.",
                format::count(load_connections as f64),
                format::count(active as f64),
                format::seconds(settings.closed_loop_s)
            ),
        ),
        (
            "Open loop",
            format!(
                "The same connections at {rate}, for {}, whatever becomes of the messages before. Latency counts \
                 from the time a message was due, so that a server that stalls cannot hide it.",
                format::seconds(settings.open_loop_s)
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
                format!("{name}: {connections} connections, {many} messages of {bytes} bytes at once on each")
            }
        }
    });
    format!(
        "A closed loop of {} each, in which all connections are active, and send again when all that they sent is back and \
         found right. {}.",
        format::seconds(settings.closed_loop_s),
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
        Some("slabinfo") => "The growth of the kernel's slab caches (/proc/slabinfo), kernel stacks (/proc/meminfo) and \
             the server's page tables. Both ends of a connection are on this machine, so what both have (socket, inode, \
             file, epoll entry …) is halved; threads and mappings are the server's alone. Includes whatever else the \
             machine did meanwhile."
            .into(),
        Some(_) => "The growth of Slab and KernelStack in /proc/meminfo and of the server's page tables. Both ends of a \
             connection are on this machine, so Slab is halved, which hides half the cost of threads; as root, \
             /proc/slabinfo tells them apart."
            .into(),
        None => "Not measured.".into(),
    }
}

fn instructions(results: &Results) -> String {
    let runs = || results.visits.iter().filter_map(|visit| visit.closed_loop.as_ref());
    if runs().any(|run| run.user_instructions_per_echo.is_some()) {
        return "Counted by perf stat during the closed loop, over the echoes.".into();
    }
    let note = runs().find_map(|run| run.instructions_note.clone());
    note.map_or_else(|| "Not measured.".into(), |note| format!("Not measured: {note}."))
}
