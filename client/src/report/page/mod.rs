//! `index.html`: one self-contained page.

pub(crate) mod method;

use super::format;
use super::ladder::{Shown, held, shown, verdict};
use super::metrics::{METRICS, Metric, metric};
use super::plot::{Plot, style};
use super::results::Results;
use common::colours;
use maud::{DOCTYPE, Markup, PreEscaped, html};

const CSS: &str = include_str!("page.css");

/// The whole page.
pub fn render(results: &Results, plots: &[Plot]) -> String {
    let servers = shown(results);
    let title = match servers.iter().filter(|server| !server.title.is_empty()).count() {
        4 => "Four echo servers, one bottleneck at a time",
        _ => "WebSocket echo servers under the same load",
    };
    let body = html! {
        @if !results.failures.is_empty() {
            section.failures role="alert" {
                h2 { "Incomplete" }
                ul { @for line in &results.failures { li { (line) } } }
            }
        }
        @if let Some(share) = results.disturbance() {
            section.failures role="note" {
                h2 { "The machine was busy" }
                p {
                    "Other processes used " (format::percent(share)) " of the CPU time during the loops. "
                    "Rates and latencies are affected; memory is not."
                }
            }
        }
        @if results.settings.has_small() {
            section.cards { @for server in &servers { (card(results, server)) } }
            (figures(plots))
            @for (title, servers) in side_by_side("All figures", &servers) {
                (table(&title, &caption(results), &heads(servers), html! {
                    @for metric in &METRICS { (figure_row(results, servers, metric, metric.label)) }
                }))
            }
        }
        @if !results.settings.workloads.is_empty() {
            @let caption = format!("{} Server and client share the cores.", rounds(results));
            @for (title, servers) in side_by_side("Other workloads", &servers) {
                (table(&title, &caption, &heads(servers), workload_rows(results, servers)))
            }
        }
        (method::render(results))
    };
    document(title, &lead(results, &servers), &body)
}

/// A document with its title, lead and body, and the styles of pages and plots.
pub(crate) fn document(title: &str, lead: &Markup, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(colours::CSS)) (PreEscaped(CSS)) (PreEscaped(style())) }
            }
            body {
                main {
                    header {
                        h1 { (title) }
                        p.lead { (lead) }
                    }
                    (body)
                }
            }
        }
    };
    page.into_string() + "\n"
}

/// A plot below its title and its conclusion.
pub(crate) fn figure(plot: &Plot) -> Markup {
    let Plot { name, title, conclusion, description, .. } = plot;
    let narrow = format!("{name}-narrow");
    html! {
        figure id=(name) {
            h2 { (title) }
            @if !conclusion.is_empty() { p.conclusion { (glued(conclusion)) } }
            (PreEscaped(plot.svg.inline(name, "wide", title, description)))
            (PreEscaped(plot.narrow.inline(&narrow, "narrow", title, description)))
        }
    }
}

/// As many columns as a page has room for, and the title of the table with them.
pub(in crate::report) fn side_by_side<'a, T>(
    title: &str,
    all: &'a [T],
) -> impl Iterator<Item = (String, &'a [T])> {
    const MOST: usize = 6;
    let (count, title) = (all.len().div_ceil(MOST).max(1), title.to_owned());
    all.chunks(all.len().div_ceil(count).max(1)).enumerate().map(move |(number, some)| match count {
        1 => (title.clone(), some),
        _ => (format!("{title}, {} of {count}", number + 1), some),
    })
}

/// A table in a section of its own. `heads` are from [`head`], `rows` from [`row`].
pub(crate) fn table(title: &str, caption: &str, heads: &[Markup], rows: Markup) -> Markup {
    html! {
        section {
            h2 { (title) }
            .scroll tabindex="0" role="region" aria-label=(title) {
                table.all {
                    caption { span { (caption) } }
                    thead { tr { td {} @for head in heads { (head) } } }
                    tbody { (rows) }
                }
            }
        }
    }
}

/// The header cell of a server's column.
pub(crate) fn head(colour: usize, name: &str, title: &str) -> Markup {
    html! { th scope="col" class={ "c" (colour) } { (name) small { (title) } } }
}

/// One cell per server; nothing if all cells are empty.
pub(crate) fn row(label: &str, cells: &[Option<Markup>]) -> Markup {
    html! {
        @if cells.iter().any(Option::is_some) {
            tr {
                th scope="row" { (label) }
                @for cell in cells { td { @if let Some(cell) = cell { (cell) } @else { "–" } } }
            }
        }
    }
}

/// The memory per idle connection of the first and the last stage measured, and the machine.
fn lead(results: &Results, servers: &[Shown]) -> Markup {
    let memory = metric("user_bytes_per_connection_idle");
    let stages = servers.iter().filter(|server| !server.title.is_empty());
    let measured: Vec<_> =
        stages.filter_map(|server| Some((server, memory.figure(results, &server.target)?.median))).collect();
    let machine = &results.machine;
    html! {
        @if let [(first, before), .., (last, after)] = measured.as_slice() {
            "An idle connection costs the server " b { (format::bytes(*before)) } " of memory in "
            (first.short.to_lowercase()) " and " b { (format::bytes(*after)) } " in "
            (last.short.to_lowercase()) ". "
        }
        "Measured on " (machine.cores) " cores of " (machine.cpu) ", " (machine.kernel) "."
    }
}

/// Binds numbers to their units with no-break spaces.
pub(crate) fn glued(text: &str) -> String {
    let bound = [" B", " KB", " MB", " GB", " µs", " ms", " s", " times"];
    bound.iter().fold(text.to_owned(), |text, unit| {
        (0..=9).fold(text, |text, digit| {
            text.replace(&format!("{digit}{unit}"), &format!("{digit}\u{a0}{}", &unit[1..]))
        })
    })
}

/// A server's card: its headline figure, four more, and its [`verdict`].
fn card(results: &Results, server: &Shown) -> Markup {
    let median = |key: &str| {
        let metric = metric(key);
        let figure = metric.figure(results, &server.target);
        figure.map_or_else(|| "–".into(), |figure| (metric.format)(figure.median))
    };
    let (most, stopped) = held(results, &server.target).unwrap_or_default();
    html! {
        article class={ "card c" (server.colour) } {
            h2 { span { (server.short) } " " (server.title) }
            p.big { (median("user_bytes_per_connection_idle")) }
            p.unit { "user memory per idle connection" }
            dl {
                div {
                    dt { "connections held" }
                    dd { (format::count(most)) }
                    dd.why {
                        @if let Some(reason) = stopped { "stopped by " (reason) }
                        @else { "as many as requested" }
                    }
                }
                @for (name, key) in [
                    ("echoes per second", "echoes_per_s"),
                    ("p99 in open loop", "open_loop_us_p99"),
                    ("CPU time per echo", "cpu_us_per_echo"),
                ] { div { dt { (name) } dd { (median(key)) } } }
            }
            p.verdict { (glued(&verdict(results, &server.target).unwrap_or_default())) }
        }
    }
}

/// Wide plots across the page, the others in pairs.
pub(in crate::report) fn figures(plots: &[Plot]) -> Markup {
    let (wide, narrow): (Vec<_>, Vec<_>) = plots.iter().partition(|plot| plot.is_wide());
    html! {
        @for plot in wide { (figure(plot)) }
        .pairs { @for plot in narrow { (figure(plot)) } }
    }
}

fn heads(servers: &[Shown]) -> Vec<Markup> {
    servers.iter().map(|server| head(server.colour, &server.short, &server.title)).collect()
}

/// Two rows per additional workload.
fn workload_rows(results: &Results, servers: &[Shown]) -> Markup {
    html! {
        @for workload in &results.settings.workloads {
            @let of_workload = results.in_workload(&workload.name);
            @for (key, label) in [("echoes_per_s", "echoes per second"), ("cpu_us_per_echo", "CPU time per echo")] {
                (figure_row(&of_workload, servers, metric(key), &format!("{}: {label}", workload.name)))
            }
        }
    }
}

/// Medians; below each the best round, if its text differs.
fn figure_row(results: &Results, servers: &[Shown], metric: &Metric, label: &str) -> Markup {
    let cell = |server: &Shown| {
        let figure = metric.figure(results, &server.target)?;
        let (median, best) = ((metric.format)(figure.median), (metric.format)(figure.best));
        Some(html! { (median) @if best != median { small { "best " (best) } } })
    };
    row(label, &servers.iter().map(cell).collect::<Vec<_>>())
}

fn caption(results: &Results) -> String {
    let rounds = rounds(results);
    match results.common_level() {
        Some(level) => format!(
            "{rounds} Memory, threads and connects per second at {} connections, the highest level that all held.",
            format::count(level as f64)
        ),
        None => rounds,
    }
}

fn rounds(results: &Results) -> String {
    match results.rounds_seen() {
        0 | 1 => "One round.".into(),
        rounds => format!("Medians of {rounds} interleaved rounds, with the best round below."),
    }
}
