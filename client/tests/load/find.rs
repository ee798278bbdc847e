//! `client find` from outside: against servers of a known capacity, against a stage, and without a server.

use crate::stage::{Stage, until};
use client::find::FindReport;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A server with a thread per connection, each of which takes `service` for a message. It may catch up on what the
/// machine's other load cost it.
fn server(service: Duration) -> SocketAddr {
    const CATCH_UP: Duration = Duration::from_millis(50);
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    let serve = move |stream: TcpStream| {
        let Ok(mut socket) = tungstenite::accept(stream) else { return };
        let mut free = Instant::now();
        while let Ok(message) = socket.read() {
            free = free.max(Instant::now() - CATCH_UP) + service;
            thread::sleep(free.saturating_duration_since(Instant::now()));
            if message.is_binary() && socket.send(message).is_err() {
                return;
            }
        }
    };
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    address
}

fn client(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.arg("find").args(arguments.split_whitespace()).stdin(Stdio::null());
    command
}

fn find(arguments: &str) -> Output {
    client(arguments).output().expect("the client runs")
}

/// Searches until a rate is found, three times at most: a machine that is busy otherwise can break any step.
#[track_caller]
fn found(arguments: &str) -> (Output, FindReport) {
    for _ in 0..3 {
        let output = find(arguments);
        if output.status.success() {
            let report = serde_json::from_slice(&output.stdout).expect("JSON");
            return (output, report);
        }
        conformance::note(&format!("a search found nothing: {}", text(&output.stderr)));
    }
    panic!("three searches found nothing");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The error, which must be one line, apart from progress.
#[track_caller]
fn complaint(output: &Output, exit_status: i32) -> String {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(exit_status), "{said}");
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with("client")).collect();
    let [line] = lines[..] else { panic!("{said}") };
    line.to_owned()
}

#[test]
fn the_capacity_of_a_server_is_found() {
    // Four connections, 500 messages per second on each.
    let address = server(Duration::from_millis(2));
    let load = "--connections 4 --from 1000 --step-time 800ms --p99 400ms --json -";
    let (output, report) = found(&format!("--url ws://{address}/ {load}"));
    let found = report.found.as_ref().expect("a rate");
    // A queue that grows by less than 40 ms in half a second holds.
    assert!((1_000.0..=2_500.0).contains(&found.rate_per_s), "{found:?}");
    assert!(found.broke.as_ref().is_some_and(|broke| broke.rate_per_s > found.rate_per_s), "{found:?}");
    assert!(found.p99_us.is_some_and(|us| us <= 400_000.0), "{found:?}");
    let said = text(&output.stderr);
    for part in
        ["rate/s", "held, confirming", "Highest rate with p99 at most 400 ms: ", "3 of 3 confirmations; "]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(report.steps.len() > 6 && report.exit_status == 0);
    // The queues of one step are empty before the next.
    let lowest = report.steps.first().and_then(|step| step.latency.p50_us).expect("a time");
    let confirmed = report.steps.iter().filter(|step| step.rate_per_s == found.rate_per_s);
    assert!(lowest > 0.0 && confirmed.count() >= 3);
}

#[test]
fn a_stage_is_searched_and_watched() {
    let Some(stage) = Stage::start("stage4-zero-buffer", &[]) else { return };
    let load = "--connections 50 --active 20 --from 400 --step-time 300ms --p99 150ms";
    let (_, report) = found(&format!("--url {} {load} --pid {} --json -", stage.url, stage.pid()));
    let found = report.found.expect("a rate");
    assert!(found.rate_per_s >= 400.0 && found.confirmations == 3, "{found:?}");
    let server = report.server.expect("it was watched");
    assert!(server.connected.is_some() && server.doubt.is_none(), "{server:?}");
}

#[test]
fn a_bound_that_never_holds_is_one_line() {
    let address = server(Duration::from_millis(10));
    let output = find(&format!(
        "--url ws://{address}/ --connections 1 --from 400 --step-time 300ms --p99 5ms --quiet"
    ));
    let line = complaint(&output, 1);
    assert!(line.starts_with("client find: not even the lowest rate, 400/s, holds ("), "{line}");
    assert!(text(&output.stdout).starts_with("No rate with p99 at most 5 ms was confirmed"));
}

#[test]
fn a_server_that_is_not_there_or_dies_ends_the_search() {
    let unused = TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("address");
    let output = find(&format!("--url ws://{unused}/ --connections 5 --p99 50ms --quiet"));
    let line = complaint(&output, 1);
    assert!(line.contains("0 of 5 connections are open") && line.contains("is the server running"), "{line}");

    let Some(mut stage) = Stage::start("stage4-zero-buffer", &[]) else { return };
    let load = "--connections 5 --from 500 --step-time 300ms --p99 100ms --json -";
    let mut child = client(&format!("--url {} {load}", stage.url));
    let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the client runs");
    until("it has connected", Duration::from_secs(30), || {
        let active = stage.metrics().value("ws_connections_active").unwrap_or_default();
        (active == 5.0).then_some(()).ok_or(format!("{active} connections"))
    });
    stage.kill();
    let output = child.wait_with_output().expect("it ends");
    let line = complaint(&output, 1);
    assert!(line.contains("of 5 connections are open"), "{line}");
    let report: FindReport = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(report.found.is_none() && report.ended_early.is_some());
}

#[test]
fn ctrl_c_keeps_the_steps() {
    let address = server(Duration::from_millis(1));
    let load = "--connections 2 --from 200 --step-time 500ms --p99 100ms";
    let json = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("interrupted-find.json");
    let mut child = client(&format!("--url ws://{address}/ {load} --json {}", json.display()));
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the client runs");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().expect("piped")));
    // The header, and the first step.
    let header = lines.next().expect("a line").expect("text");
    let row = lines.next().expect("a line").expect("text");
    assert!(header.contains("rate/s") && row.contains("200"), "{header}\n{row}");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("signal");
    let rest: Vec<_> = lines.map_while(Result::ok).collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(1), "nothing was confirmed");
    assert!(rest.last().is_some_and(|line| line.starts_with("No rate with p99 at most 100 ms")), "{rest:?}");
    let json = std::fs::read_to_string(json).expect("a file");
    let report: FindReport = serde_json::from_str(&json).expect("JSON");
    assert!(report.interrupted && !report.steps.is_empty() && report.found.is_none());
}

#[test]
fn bad_flags_are_named_in_one_line() {
    for (arguments, named) in [
        ("", "--p99"),
        ("--p99 0s", "--p99"),
        ("--p99 2s", "--step-time 4s"),
        ("--p99 50ms --from 0", "--from"),
        ("--p99 50ms --from 20", "too few for a 99th percentile"),
        ("--p99 50ms --active 2 --connections 1", "--active 2"),
        ("--p99 50ms --rate 5", "--rate"),
        ("--p99 50ms --header x", "--header"),
    ] {
        let line = complaint(&find(arguments), 2);
        assert!(line.contains(named), "{arguments}: {line}");
    }
}
