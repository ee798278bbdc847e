//! Tests of the whole report.

use super::results::Results;
use super::*;

#[test]
fn results_round_trip_through_json() {
    let results = sample::results();
    let json = serde_json::to_string(&results).expect("serialises");
    let back: Results = serde_json::from_str(&json).expect("parses");
    assert_eq!(back.visits.len(), results.visits.len());
    assert_eq!(back.common_level(), Some(30_000));
    for metric in &metrics::METRICS {
        let shown = |results: &Results| {
            let figure = metric.figure(results, "stage2-task-per-conn");
            figure.map(|figure| ((metric.format)(figure.median), (metric.format)(figure.best)))
        };
        assert_eq!(shown(&back), shown(&results), "{}", metric.key);
    }
}

#[test]
fn the_page_is_complete_and_self_contained() {
    let results = sample::results();
    let page = page::render(&results, &plot::all(&results));
    for stage in &STAGES {
        assert!(page.contains(stage.title), "{} is missing", stage.title);
    }
    for text in [
        "0123abc",
        "client compare --rounds 3",
        "Example CPU &lt;&amp;&gt;",
        "stopped at 32,183",
        "fs.nr_open",
    ] {
        assert!(page.contains(text), "{text} is missing");
    }
    for address in ["http://", "https://", "src=", "url(", "@import", "<link", "<script"] {
        assert!(!page.contains(address), "the page refers to another resource: {address}");
    }
}

#[test]
fn every_plot_has_a_description_and_balanced_markup() {
    let results = sample::results();
    let plots = plot::all(&results);
    let names: Vec<_> = plots.iter().map(|plot| plot.name).collect();
    assert_eq!(names, ["memory", "latency", "throughput", "connects", "cpu", "cost"]);
    for plot in plots {
        let svg = plot.svg.alone(plot.name, plot.title, &plot.description);
        for mark in
            ["<svg", "role=\"img\"", "<title", "<desc", "prefers-color-scheme: dark", "thread per connection"]
        {
            assert!(svg.contains(mark), "{} lacks {mark}", plot.name);
        }
        assert!(
            !svg.contains("NaN") && !svg.contains("inf"),
            "{} has a coordinate that is not a number",
            plot.name
        );
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }
}

#[test]
fn an_aborted_comparison_makes_a_report() {
    let mut results = sample::results();
    results.visits.truncate(1);
    results.visits[0].levels.clear();
    results.visits[0].closed_loop = None;
    results.visits[0].open_loop = None;
    results.failures.push("stage1-thread-per-conn died: signal 9".into());
    results.visits[0].others_cpu_share = Some(0.42);
    let page = page::render(&results, &plot::all(&results));
    assert!(page.contains("died: signal 9") && page.contains("Other processes used 42%"));
    results.visits.clear();
    assert!(page::render(&results, &plot::all(&results)).contains("thread per connection"));
    assert!(plot::all(&results).is_empty());
    assert!(!table(&results, None).is_empty() && !csv::render(&results).is_empty());
}

#[test]
fn results_without_workloads_are_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/2026-11-25-ladder/results.json");
    let results = read(&path).expect("reads");
    assert!(results.settings.has_small() && results.settings.workloads.is_empty());
    let page = page::render(&results, &plot::all(&results));
    assert!(page.contains("All figures") && !page.contains("Other workloads"));
}

#[test]
fn workloads_are_reported_with_and_without_the_default_one() {
    let mut results = sample::results();
    for small in [true, false] {
        if !small {
            results.settings.levels.clear();
            for visit in &mut results.visits {
                visit.levels.clear();
                (visit.closed_loop, visit.open_loop, visit.stopped, visit.held) = (None, None, None, 0);
            }
        }
        let (page, table) = (page::render(&results, &plot::all(&results)), table(&results, None));
        for row in ["1MiB: echoes per second", "1MiB: CPU time per echo"] {
            assert!(page.contains(row), "{row}");
        }
        assert!(page.contains("4 connections, 1,048,576 bytes per message"));
        assert!(table.contains("1MiB: echoes per second                   2,000"), "{table}");
        assert!(table.contains("  CPU time per echo"), "{table}");
        for row in ["All figures", "User memory", "Closed loop"] {
            assert_eq!(page.contains(row), small, "{row}");
        }
        assert_eq!(table.contains("Connections held"), small, "{table}");
    }
}

#[test]
fn results_with_another_schema_are_rejected() {
    let directory = std::env::temp_dir().join(format!("client-report-{}", std::process::id()));
    let mut results = sample::results();
    write(&results, &directory).expect("writes");
    let path = directory.join(RESULTS_FILE);
    assert_eq!(read(&path).expect("reads").visits.len(), 12);
    results.origin.schema = SCHEMA + 1;
    write(&results, &directory).expect("writes");
    assert!(read(&path).unwrap_err().to_string().contains("layout 2"));
    fs::remove_dir_all(&directory).expect("removes");
}
