//! `index.html`: one page that needs nothing but itself.

pub(crate) mod method;

use super::format;
use super::ladder::{Shown, held, shown, verdict};
use super::metrics::{METRICS, Metric, metric};
use super::plot::{Plot, escape, style};
use super::results::Results;
use super::stats::Figure;

const CSS: &str = include_str!("page.css");

/// The whole page.
pub fn render(results: &Results, plots: &[Plot]) -> String {
    let servers = shown(results);
    let title = match servers.iter().filter(|server| !server.title.is_empty()).count() {
        4 => "Four echo servers, one bottleneck at a time",
        _ => "WebSocket echo servers under the same load",
    };
    let body = [
        format!("<header>\n<h1>{title}</h1>\n<p class=\"lead\">{}</p>\n</header>\n", lead(results, &servers)),
        failures(results),
        disturbance(results),
        small(results, &servers, plots),
        workloads(results, &servers),
        method::render(results),
    ]
    .concat();
    document(title, &body)
}

/// What there is of the default workload.
fn small(results: &Results, servers: &[Shown], plots: &[Plot]) -> String {
    if !results.settings.has_small() {
        return String::new();
    }
    let cards: String = servers.iter().map(|one| card(results, one)).collect();
    let rows: String = METRICS.iter().map(|metric| row(results, servers, metric, metric.label)).collect();
    format!(
        "<section class=\"cards\">\n{cards}</section>\n{}<section>\n<h2>All figures</h2>\n{}</section>\n",
        figures(plots),
        table("All figures", &caption(results), servers, &rows)
    )
}

/// The others.
fn workloads(results: &Results, servers: &[Shown]) -> String {
    if results.settings.workloads.is_empty() {
        return String::new();
    }
    let rows = results.settings.workloads.iter().flat_map(|workload| {
        let results = results.in_workload(&workload.name);
        [("echoes_per_s", "echoes per second"), ("cpu_us_per_echo", "CPU time per echo")]
            .map(|(key, label)| row(&results, servers, metric(key), &format!("{}: {label}", workload.name)))
    });
    let caption = format!("{} Server and client share the cores.", rounds(results));
    format!(
        "<section>\n<h2>Other workloads</h2>\n{}</section>\n",
        table("Other workloads", &caption, servers, &rows.collect::<String>())
    )
}

/// A page of this title, with the styles of pages and plots.
pub(crate) fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <style>\n{CSS}{}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        style()
    )
}

/// What the page is about in one sentence, with the two ends of the ladder where both were measured.
fn lead(results: &Results, servers: &[Shown]) -> String {
    let memory = metric("user_bytes_per_connection_idle");
    let measured: Vec<_> = servers
        .iter()
        .filter(|server| !server.title.is_empty())
        .filter_map(|server| Some((server, memory.figure(results, &server.target)?.median)))
        .collect();
    let machine = &results.machine;
    let place = format!("{} cores of {}, {}", machine.cores, machine.cpu, machine.kernel);
    match (measured.first(), measured.last()) {
        (Some((first, before)), Some((last, after))) if measured.len() > 1 => format!(
            "An idle connection costs the server <b>{}</b> of memory in {} and <b>{}</b> in {}. Measured on {}.",
            format::bytes(*before),
            first.short.to_lowercase(),
            format::bytes(*after),
            last.short.to_lowercase(),
            escape(&place)
        ),
        _ => format!("Measured on {}.", escape(&place)),
    }
}

/// Binds numbers to their units, so that no line breaks between them.
fn glued(text: &str) -> String {
    let bound = [" B", " KB", " MB", " GB", " µs", " ms", " s", " times"];
    bound.iter().fold(text.to_owned(), |text, unit| {
        (0..=9).fold(text, |text, digit| {
            text.replace(&format!("{digit}{unit}"), &format!("{digit}&nbsp;{}", &unit[1..]))
        })
    })
}

fn failures(results: &Results) -> String {
    if results.failures.is_empty() {
        return String::new();
    }
    let items: String = results.failures.iter().map(|line| format!("<li>{}</li>\n", escape(line))).collect();
    format!(
        "<section class=\"failures\" role=\"alert\">\n<h2>Not complete</h2>\n<ul>\n{items}</ul>\n</section>\n"
    )
}

/// A warning where the machine was not at rest.
fn disturbance(results: &Results) -> String {
    let Some(share) = results.disturbance() else { return String::new() };
    format!(
        "<section class=\"failures\" role=\"note\">\n<h2>The machine was busy</h2>\n<p>Other programs took {:.0}% of its \
         processors meanwhile. Rates and latencies are theirs too; memory is not touched by it.</p>\n</section>\n",
        share * 100.0
    )
}

/// A server's card: its headline figure, three more, and what it removed.
fn card(results: &Results, server: &Shown) -> String {
    let median = |key: &str| {
        let metric = metric(key);
        metric
            .figure(results, &server.target)
            .map_or_else(|| "–".into(), |figure| (metric.format)(figure.median))
    };
    let (most, stopped) = held(results, &server.target).unwrap_or_default();
    let stopped = match stopped {
        Some(reason) => format!("stopped by {}", escape(&reason)),
        None => "all that were asked for".into(),
    };
    let rows: String = [
        ("echoes per second", median("echoes_per_s")),
        ("p99 in open loop", median("open_loop_us_p99")),
        ("CPU time per echo", median("cpu_us_per_echo")),
    ]
    .iter()
    .map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n"))
    .collect();
    let verdict = verdict(results, &server.target).unwrap_or_default();
    format!(
        "<article class=\"card c{}\">\n<h2><span>{}</span> {}</h2>\n\
         <p class=\"big\">{}</p>\n<p class=\"unit\">user memory an idle connection</p>\n\
         <dl>\n<div><dt>connections held</dt><dd>{}</dd><dd class=\"why\">{stopped}</dd></div>\n{rows}</dl>\n\
         <p class=\"verdict\">{}</p>\n</article>\n",
        server.colour,
        escape(&server.short),
        escape(&server.title),
        median("user_bytes_per_connection_idle"),
        format::count(most),
        glued(&escape(&verdict))
    )
}

/// The plots: the first two across the page, the rest in pairs.
fn figures(plots: &[Plot]) -> String {
    let figure = |plot: &Plot| {
        format!(
            "<figure id=\"{}\">\n<h2>{}</h2>\n{}</figure>\n",
            plot.name,
            plot.title,
            plot.svg.inline(plot.name, plot.title, &plot.description)
        )
    };
    let (wide, narrow): (Vec<_>, Vec<_>) = plots.iter().partition(|plot| plot.svg.width > 1_000.0);
    let wide: String = wide.into_iter().map(figure).collect();
    let narrow: String = narrow.into_iter().map(figure).collect();
    format!("{wide}<div class=\"pairs\">\n{narrow}</div>\n")
}

/// A table with a column for each server.
fn table(label: &str, caption: &str, servers: &[Shown], rows: &str) -> String {
    let head: String = servers
        .iter()
        .map(|server| {
            format!(
                "<th scope=\"col\" class=\"c{}\">{}<small>{}</small></th>",
                server.colour,
                escape(&server.short),
                escape(&server.title)
            )
        })
        .collect();
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{label}\">\n<table class=\"all\">\n<caption>{}</caption>\n\
         <thead><tr><td></td>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n",
        escape(caption)
    )
}

/// A figure of each server: its median, and beneath it the best round; nothing where no server has it.
fn row(results: &Results, servers: &[Shown], metric: &Metric, label: &str) -> String {
    let figures: Vec<_> = servers.iter().map(|server| metric.figure(results, &server.target)).collect();
    if figures.iter().all(Option::is_none) {
        return String::new();
    }
    let cells: String = figures.iter().map(|figure| cell(figure.as_ref(), metric.format)).collect();
    format!("<tr><th scope=\"row\">{}</th>{cells}</tr>\n", escape(label))
}

/// A median, and the best round where that reads differently.
fn cell(figure: Option<&Figure>, format: fn(f64) -> String) -> String {
    let Some(figure) = figure else { return "<td>–</td>".into() };
    match (format(figure.median), format(figure.best)) {
        (median, best) if median == best => format!("<td>{median}</td>"),
        (median, best) => format!("<td>{median}<small>best {best}</small></td>"),
    }
}

fn caption(results: &Results) -> String {
    let rounds = rounds(results);
    match results.common_level() {
        Some(level) => format!(
            "{rounds} Memory, threads and connects per second at {} connections, the most that all held.",
            format::count(level as f64)
        ),
        None => rounds,
    }
}

fn rounds(results: &Results) -> String {
    match results.rounds_seen() {
        0 | 1 => "One round.".into(),
        rounds => format!("Medians of {rounds} interleaved rounds, and the best round beneath."),
    }
}
