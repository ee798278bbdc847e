//! Tests of the page, from the golden files.

use super::figures::{FIGURES, csv, table};
use super::read::{Loaded, Source, read, source};
use super::{ReportArgs, page, plots};
use crate::million;
use std::fs;
use std::path::{Path, PathBuf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn loaded(names: &[(&str, &str)]) -> Vec<Loaded> {
    let read_one = |(number, &(name, file)): (usize, &(&str, &str))| {
        read(number, &Source { name: name.into(), file: golden(file) }).expect("a result")
    };
    names.iter().enumerate().map(read_one).collect()
}

fn all() -> Vec<Loaded> {
    loaded(&[("one", "run-1.json"), ("<b>", "merged.json"), ("ramp", "ramp.json"), ("find", "find.json")])
}

#[test]
fn the_page_has_every_result_and_nothing_foreign() {
    let results = all();
    let plots = plots::all(&results);
    let page = page::render(&results, &plots);
    for text in
        ["side by side", "&lt;b&gt;", "181,000", "All figures", "client run --connections=1000", "Problems"]
    {
        assert!(page.contains(text), "{text} is missing");
    }
    for address in ["http://", "https://", "src=", "url(", "@import", "<link", "<script", "<b>:", "style=\""]
    {
        assert!(!page.contains(address), "{address}");
    }
    let names: Vec<_> = plots.iter().map(|plot| plot.name).collect();
    assert_eq!(names, ["find", "ramp-latency", "ramp-echoes", "throughput", "handshake", "memory", "cpu"]);
    for plot in &plots {
        let svg = plot.svg.alone(plot.name, plot.title, &plot.description);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{}: {svg}", plot.name);
        assert!(page.contains(&format!("id=\"{}\"", plot.name)), "{}", plot.name);
    }
}

#[test]
fn a_search_alone_makes_a_page() {
    let results = loaded(&[("find", "find.json")]);
    let plots = plots::all(&results);
    let page = page::render(&results, &plots);
    assert!(page.contains("WebSocket load: find") && page.contains("bound of p99"), "{page}");
    assert_eq!(plots[0].name, "find");
}

#[test]
fn tables_have_the_figures() {
    let results = all();
    let table = table(&results, None);
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    assert!(table.contains("Highest rate that held its bound") && table.contains("181,000"), "{table}");
    let csv = csv(&results);
    assert!(
        csv.contains("find,found_per_s,181000\n") && csv.contains("one,server_bytes_per_connection,4198.5\n"),
        "{csv}"
    );
    assert!(csv.lines().all(|line| line.split(',').count() == 3), "{csv}");
    let mut keys: Vec<_> = FIGURES.iter().map(|figure| figure.key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), FIGURES.len());
}

#[test]
fn results_without_figures_make_a_page() {
    let directory = std::env::temp_dir().join(format!("client-loads-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    let file = directory.join("empty.json");
    let mut json: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(golden("ramp.json")).expect("a file")).expect("JSON");
    for field in ["connect", "echo", "hold", "churn", "close", "reconnect", "server"] {
        json[field] = serde_json::Value::Null;
    }
    // Figures that no run has.
    for second in json["seconds"].as_array_mut().expect("seconds") {
        for field in ["elapsed_s", "due_per_s", "time_s"] {
            second[field] = (-1e300).into();
        }
    }
    fs::write(&file, json.to_string()).expect("written");
    let results = vec![read(0, &Source { name: "x".into(), file }).expect("a result")];
    let page = page::render(&results, &plots::all(&results));
    assert!(page.contains("WebSocket load: x") && !page.contains("NaN"), "{page}");
    fs::remove_dir_all(directory).expect("removed");
}

#[test]
fn a_comparison_makes_its_own_page() {
    let out = std::env::temp_dir().join(format!("client-whole-{}", std::process::id()));
    let page = |file: &str, elsewhere| {
        let results = vec![Source { name: "x".into(), file: golden(file) }];
        super::try_run(&ReportArgs { results, out: out.clone() }, elsewhere).expect("a page");
        fs::read_to_string(out.join("index.html")).expect("a page")
    };
    assert!(page("results.json", |_, _| Ok(None)).contains("one bottleneck at a time"));
    assert!(page("million.json", million::redraw).contains("in one process"));
    assert!(page("run-1.json", million::redraw).contains("WebSocket load"));
    fs::remove_dir_all(out).expect("removed");
}

#[test]
fn what_is_no_result_is_named() {
    let file = |name: &str| Source { name: "x".into(), file: golden(name) };
    for (name, why) in [
        ("nowhere.json", "No such file"),
        ("results.csv", "expected"),
        ("results.json", "is not a complete result"),
        ("race.json", "is not a complete result"),
        ("anatomy.json", "is not a complete result"),
    ] {
        let error = format!("{:#}", read(0, &file(name)).err().expect(name));
        assert!(error.contains(name) && error.contains(why) && error.lines().count() == 1, "{error}");
    }
}

#[test]
fn names_are_those_given_or_of_the_files() {
    let named = |text: &str| source(text).map(|source| (source.name, source.file.display().to_string()));
    assert_eq!(named("a/b.json"), Ok(("b".into(), "a/b.json".into())));
    assert_eq!(named("new=a/b.json"), Ok(("new".into(), "a/b.json".into())));
    assert!(source("=b").is_err() && source("b=").is_err());
    let args = |files: &[&str]| ReportArgs {
        results: files.iter().map(|text| source(text).expect("a source")).collect(),
        out: PathBuf::new(),
    };
    assert!(args(&["a/x.json", "b/x.json"]).check().is_err_and(|why| why.contains("the name x")));
    assert_eq!(args(&["a/x.json", "y=b/x.json"]).check(), Ok(()));
}
