//! `client run --reconnect` against servers that die, drain, restart, or become unreachable. The stages have to be
//! built.

use crate::stage::{STAGES, Stage, until};
use client::run::RunReport;
use conformance::link::{self, Faults, with_link};
use rustix::process::{Pid, Signal, kill_process};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(15);

fn run(url: &str, arguments: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.args(["run", "--reconnect", "--quiet", "--json", "-", "--warmup", "0s", "--url", url]);
    command.args(arguments.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the client runs")
}

/// Waits for a client to end with this status; returns its report and its standard error.
#[track_caller]
fn results(client: Child, exit_status: i32) -> (RunReport, String) {
    let output = client.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(exit_status), "{said}");
    // One line, so that it can be found in a log.
    assert_eq!(output.stdout.iter().filter(|&&byte| byte == b'\n').count(), 1, "JSON in one line");
    (serde_json::from_slice(&output.stdout).expect("JSON of a run"), said)
}

/// Sends SIGINT: the client ends with its results so far.
fn interrupt(client: &Child) {
    kill_process(Pid::from_child(client), Signal::INT).expect("it runs");
}

/// Waits until a metric of the server is at least `least`.
#[track_caller]
fn reaches(stage: &Stage, name: &str, least: f64) {
    until(name, TIMEOUT, || {
        let value = stage.metrics().value(name).expect("a figure");
        if value >= least { Ok(()) } else { Err(value.to_string()) }
    });
}

/// An address that no other test listens on, so that a restarted server finds its port free.
fn address_of_its_own(test: u8) -> String {
    let [high, low] = (std::process::id() as u16).to_be_bytes();
    format!("127.{}.{high}.{low}:0", 100 + test)
}

/// The address a stage listens on.
fn listens_on(stage: &Stage) -> String {
    stage.url.trim_start_matches("ws://").trim_end_matches("/echo").to_owned()
}

/// Loads a stage, ends it with the signal `end`, restarts it, and checks that all 100 connections return and send.
/// Returns the client's report.
fn over_a_restart(name: &'static str, address: String, load: &str, end: Signal) -> Option<RunReport> {
    let mut stage = Stage::start(name, &["--addr", &address])?;
    let client = run(&stage.url, &format!("--connections 100 --duration 1h {load}"));
    reaches(&stage, "ws_connections_accepted_total", 100.0);
    if !load.contains("idle") {
        reaches(&stage, "ws_messages_sent_total", 500.0);
    }
    let address = listens_on(&stage);
    stage.end(end);
    let stage = Stage::start(name, &["--addr", &address]).expect("it started before");
    reaches(&stage, "ws_connections_active", 100.0);
    if !load.contains("idle") {
        reaches(&stage, "ws_messages_sent_total", 500.0);
    }
    interrupt(&client);
    let (report, said) = results(client, 0);
    let again = report.reconnect.as_ref().expect("--reconnect");
    assert_eq!((again.lost, again.reconnected), (100, 100), "{said}");
    assert_eq!((again.away.0.len(), report.failures.total()), (100, 0), "{said}");
    assert!(again.away.0.min() >= 100_000_000, "no replacement before the shortest delay");
    Some(report)
}

#[test]
fn connections_of_a_killed_server_return_to_its_successor() {
    for (number, name) in STAGES.into_iter().enumerate() {
        let address = address_of_its_own(number as u8);
        let Some(report) = over_a_restart(name, address, "", Signal::KILL) else { continue };
        let (again, echo) = (report.reconnect.expect("--reconnect"), report.echo.expect("echoes"));
        assert_eq!(again.causes.reset, 100, "{:?}", again.causes);
        assert!(echo.echoes >= 1_000, "{again:?} {echo:?}");
    }
}

#[test]
fn connections_of_a_drained_server_return_to_its_successor() {
    // Not churn, which makes its own attempts while the server is down.
    let loads = ["--rate 3000", "--scenario idle", "--scenario burst"];
    for (number, load) in loads.into_iter().enumerate() {
        let address = address_of_its_own(10 + number as u8);
        let name = "stage4-zero-buffer";
        let Some(report) = over_a_restart(name, address, load, Signal::TERM) else { return };
        let causes = report.reconnect.expect("--reconnect").causes;
        assert_eq!(causes.closed, 100, "{load}: {causes:?}");
        let first = causes.first.expect("a description");
        assert!(first.ends_with("code 1001"), "{load}: {first}");
    }
}

/// Open-loop latency counts from the due time; messages due while a connection was lost have none.
#[test]
fn messages_due_while_the_server_was_down_are_missing_and_not_late() {
    let load = "--rate 1000";
    let name = "stage4-zero-buffer";
    let Some(report) = over_a_restart(name, address_of_its_own(20), load, Signal::KILL) else { return };
    let echo = report.echo.expect("echoes");
    assert!(echo.late < echo.echoes / 4, "{echo:?}");
    let p99_ms = echo.latency.0.value_at_quantile(0.99) / 1_000_000;
    assert!(p99_ms < 90, "p99 of {p99_ms} ms; every connection was lost for at least 100 ms");
}

#[test]
fn connections_not_replaced_by_the_end_are_failures() {
    let Some(mut stage) = Stage::start("stage4-zero-buffer", &["--addr", &address_of_its_own(30)]) else {
        return;
    };
    let client = run(&stage.url, "--connections 50 --scenario idle --duration 2s");
    reaches(&stage, "ws_connections_active", 50.0);
    stage.kill();
    let (report, said) = results(client, 1);
    assert!(said.contains("client: 50 connections were lost and not replaced in time"), "{said}");
    let again = report.reconnect.expect("--reconnect");
    assert_eq!((again.lost, again.reconnected, report.exit_status), (50, 0, 1), "{said}");
    assert!(again.failed_attempts >= 50, "{again:?}");
    let hold = report.hold.expect("held to the end");
    assert!((hold.held, hold.lost) == (0, 50) && hold.elapsed_s > 1.5, "{hold:?}");
}

/// The kernel times out an unreachable peer, on idle connections too.
#[test]
fn a_broken_link_is_detected() {
    for load in ["--scenario idle", "--rate 200"] {
        with_link(Faults { delay: Duration::ZERO, loss: 0.0, overtaking: 0.0 }, |link| {
            let Some(stage) = Stage::start("stage4-zero-buffer", &["--addr", "0.0.0.0:0"]) else { return };
            let url = stage.url.replace("0.0.0.0", &link::FAR.to_string());
            let client = run(&url, &format!("--connections 20 --duration 1h --message-timeout 2s {load}"));
            reaches(&stage, "ws_connections_active", 20.0);
            link.set_dark(true);
            // Lost connections are retried, and counted once the first is replaced.
            std::thread::sleep(Duration::from_secs(5));
            link.set_dark(false);
            reaches(&stage, "ws_connections_accepted_total", 40.0);
            interrupt(&client);
            let (report, said) = results(client, 0);
            let again = report.reconnect.expect("--reconnect");
            assert_eq!((again.lost, again.reconnected), (20, 20), "{load}: {said}");
            assert_eq!(again.causes.timeout, 20, "{load}: {:?}", again.causes);
        });
    }
}
