//! Rates that rise, results per second, and the page of results, from outside.

use crate::local::{output, scratch, text, url};
use client::run::RunReport;
use std::fs;

/// The error, which must be one line.
#[track_caller]
fn one_line(arguments: &str, exit_status: i32) -> String {
    let ran = output(arguments);
    let said = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(exit_status), "{arguments}: {said}");
    assert!(said.starts_with("client") && said.trim_end().lines().count() == 1, "{arguments}: {said:?}");
    said
}

fn run(arguments: &str) -> RunReport {
    let ran = output(&format!("run --url {} --quiet --json - {arguments}", url()));
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    serde_json::from_slice(&ran.stdout).expect("JSON")
}

#[test]
fn the_messages_of_a_ramp_are_its_integral() {
    let csv = scratch("seconds.csv");
    for shards in [1, 3] {
        let ramp = "--connections 5 --ramp 100..700/2500ms";
        let report = run(&format!("{ramp} --shards {shards} --csv {}", csv.display()));
        let echo = report.echo.expect("echoes");
        assert_eq!((echo.sent, echo.echoes, echo.missing), (1_000, 1_000, 0));
        assert_eq!((report.rate_per_s, report.ramp.map(|ramp| ramp.to_per_s)), (None, Some(700.0)));
        let seconds: Vec<_> = report.seconds.iter().filter(|second| second.phase == "echo").collect();
        let due: Vec<_> = seconds.iter().filter_map(|second| second.due).collect();
        // 100·t + 120·t² at 1, 2 and 2.5 seconds.
        assert_eq!((due[0], due[1], due.iter().sum::<u64>()), (220, 460, 1_000), "{due:?}");
        assert_eq!(seconds.iter().map(|second| second.echoes).sum::<u64>(), 1_000);
        assert_eq!(seconds.iter().map(|second| second.latency.count).sum::<u64>(), echo.latency.0.len());
        assert!(seconds.iter().all(|second| second.connections == 5));
        let text = fs::read_to_string(&csv).expect("a file");
        assert!(
            text.starts_with("phase,time_s,") && text.contains("\necho,1.000,1.000,5,220,220.000,"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1 + report.seconds.len());
    }
}

#[test]
fn connections_open_at_a_rate_that_rises_and_stays() {
    let report = run("--connections 150 --connect-ramp 0..100/1s --scenario idle --duration 10ms");
    let connect = report.connect.expect("connected");
    // 50 in the first second, and 100 in the next.
    assert!(connect.elapsed_s > 1.9, "{connect:?}");
    let due: Vec<_> = report.seconds.iter().filter_map(|second| second.due).collect();
    assert_eq!((due[0], due.iter().sum::<u64>()), (50, 150), "{due:?}");
    assert_eq!(report.seconds.iter().map(|second| second.opened).sum::<u64>(), 150);
    assert_eq!(report.seconds.last().map(|second| second.connections), Some(150));
}

#[test]
fn every_load_at_a_rate_has_seconds() {
    for (load, phase, due) in
        [("--rate 200", "echo", Some(100)), ("", "echo", None), ("--scenario churn --rate 50", "churn", None)]
    {
        let csv = scratch("seconds.csv");
        let report =
            run(&format!("--connections 4 --duration 500ms --warmup 100ms {load} --csv {}", csv.display()));
        let seconds: Vec<_> = report.seconds.iter().filter(|second| second.phase == phase).collect();
        let sum =
            |of: fn(&client::results::SecondReport) -> u64| seconds.iter().map(|one| of(one)).sum::<u64>();
        assert_eq!(seconds[0].due, due, "{load}");
        let echoes = report.echo.map(|echo| echo.echoes).or(report.churn.map(|churn| churn.echoes));
        assert_eq!(Some(sum(|second| second.echoes)), echoes, "{load}");
    }
    assert!(
        run("--connections 4 --duration 50ms --warmup 0s --rate 200").seconds.is_empty(),
        "not asked for"
    );
}

#[test]
fn ramps_of_clients_are_merged() {
    let url = url();
    let files = [scratch("a.json"), scratch("b.json")];
    for file in &files {
        let ran = output(&format!(
            "run --url {url} --connections 2 --ramp 0..200/1s --quiet --json {}",
            file.display()
        ));
        assert!(ran.status.success(), "{}", text(&ran.stderr));
    }
    let merged = output(&format!("merge {} {} --json -", files[0].display(), files[1].display()));
    let merged: RunReport = serde_json::from_slice(&merged.stdout).expect("JSON");
    let due: u64 = merged.seconds.iter().filter_map(|second| second.due).sum();
    assert_eq!((merged.ramp.map(|ramp| ramp.to_per_s), due), (Some(400.0), 200));
    let echoes = merged.seconds.iter().filter(|second| second.phase == "echo");
    assert_eq!(echoes.map(|second| second.latency.count).sum::<u64>(), 200);
    let at_a_rate = output(&format!(
        "run --url {url} --connections 2 --rate 100 --duration 100ms --warmup 0s --quiet --json {}",
        files[1].display()
    ));
    assert!(at_a_rate.status.success());
    let line = one_line(&format!("merge {} {}", files[0].display(), files[1].display()), 1);
    assert!(line.contains("its load differs"), "{line}");
}

#[test]
fn a_result_becomes_a_page() {
    let (json, out) = (scratch("ramp.json"), scratch("page"));
    let ran = output(&format!(
        "run --url {} --connections 3 --ramp 0..400/2s --quiet --json {}",
        url(),
        json.display()
    ));
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    let drawn = output(&format!("report knee={} {} --out {}", json.display(), json.display(), out.display()));
    assert!(drawn.status.success(), "{}", text(&drawn.stderr));
    assert!(text(&drawn.stdout).contains("Echoes per second"), "{}", text(&drawn.stdout));
    let page = fs::read_to_string(out.join("index.html")).expect("a page");
    assert!(page.contains("knee") && page.contains("Latency against the rate"), "{page}");
    for file in ["ramp-latency.svg", "ramp-echoes.svg", "results.csv"] {
        assert!(out.join(file).exists(), "{file}");
    }
}

#[test]
fn bad_input_is_one_line() {
    for (arguments, status, named) in [
        ("run --ramp 0..5", 2, "--ramp"),
        ("run --ramp 5..2/1s", 2, "does not rise"),
        ("run --ramp 0..5/1s --rate 5", 2, "--rate"),
        ("run --ramp 0..5/1s --duration 5s", 2, "--duration"),
        ("run --ramp 0..5/1s --warmup 5s", 2, "--warmup"),
        ("run --ramp 0..5/1s --scenario burst", 2, "--scenario echo"),
        ("run --ramp 0..5/1s --in-flight 5", 2, "--in-flight 5"),
        ("run --connect-ramp 0..5/1s --connect-rate 5", 2, "--connect-rate"),
        ("run --csv x.csv --scenario storm", 2, "--csv"),
        ("run --csv x --json x", 2, "--json and --csv"),
        ("report", 2, "RESULT"),
        ("report a.json b/a.json", 2, "the name a"),
        ("report /nowhere/a.json", 1, "cannot read /nowhere/a.json"),
        ("report /dev/null", 1, "is not a complete result"),
    ] {
        let line = one_line(arguments, status);
        assert!(line.contains(named), "{arguments}: {line}");
    }
}
