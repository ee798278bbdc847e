//! `client run` against each stage while one of them, or the link between them, fails. The stages have to be built;
//! `RESILIENCE_FULL=1` runs at full size.

use crate::stage::{STAGES, Stage, full_size, until};
use client::run::RunReport;
use conformance::link::{self, Faults, with_link};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Holds off the other tests: each loads the machine and measures.
fn exclusive() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tests all stages, concurrently at small size and one after the other at full size.
fn each_stage(test: impl Fn(&'static str) + Sync) {
    let _exclusive = exclusive();
    match full_size() {
        true => STAGES.into_iter().for_each(test),
        false => thread::scope(|scope| STAGES.iter().for_each(|name| drop(scope.spawn(|| test(name))))),
    }
}

/// The same with each stage started. Stages that are not built are skipped.
fn on_each_stage(flags: &[&str], test: impl Fn(&Stage) + Sync) {
    each_stage(|name| Stage::start(name, flags).iter().for_each(&test));
}

fn command(stage: &Stage, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.args(["run", "--json", "-", "--warmup", "0s", "--url", &stage.url]);
    command.args(arguments.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(stage: &Stage, arguments: &str) -> Child {
    command(stage, arguments).arg("--quiet").spawn().expect("the client runs")
}

/// The value of a metric without labels.
#[track_caller]
fn figure(stage: &Stage, name: &str) -> f64 {
    stage.metrics().value(name).expect("a figure")
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("it runs");
}

/// Waits for a client to end with this status; returns its report and its standard error.
#[track_caller]
fn results(client: Child, exit_status: i32) -> (RunReport, String) {
    let Output { status, stdout, stderr } = client.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(exit_status), "{said}");
    let report =
        serde_json::from_slice(&stdout).unwrap_or_else(|error| panic!("no JSON of a run: {error}; {said}"));
    (report, said)
}

/// Number of connections: `small`, or at full size the most that the stage can hold here.
fn many(stage: &Stage, small: u64) -> u64 {
    match (full_size(), stage.name) {
        (false, _) => small,
        (true, "stage1-thread-per-conn") => 15_000,
        (true, _) => 19_000,
    }
}

/// SIGKILL of the client while it echoes: the server frees everything within ten seconds.
#[test]
fn a_killed_client_leaves_nothing() {
    on_each_stage(&["--max-connections", "20000"], |stage| {
        // Shards open some descriptors only with their first connection.
        results(run(stage, "--connections 100 --duration 50ms"), 0);
        let held_before = stage.settled_descriptors();
        let count = many(stage, 500);
        let mut client = run(stage, &format!("--connections {count} --duration 1h"));
        until("each has connected and echoed", Duration::from_secs(60), || {
            let [active, sent] =
                ["ws_connections_active", "ws_messages_sent_total"].map(|name| figure(stage, name));
            (active == count as f64 && sent > 3.0 * active)
                .then_some(())
                .ok_or(format!("{active} active, {sent} sent"))
        });
        let start = Instant::now();
        client.kill().expect("it runs");
        until("everything is let go", Duration::from_secs(10), || {
            // Before the scrape, which takes a descriptor itself.
            let held = stage.descriptors();
            let metrics = stage.metrics();
            let [accepted, active] = ["ws_connections_accepted_total", "ws_connections_active"]
                .map(|name| metrics.value(name).expect("a figure"));
            let closed: f64 = metrics.by_label("ws_connections_closed_total", "reason").values().sum();
            let all_closed = (accepted, active, closed) == (count as f64 + 100.0, 0.0, count as f64 + 100.0);
            (all_closed && held <= held_before).then_some(()).ok_or(format!(
                "accepted {accepted}, active {active}, closed {closed}, {held} descriptors, {held_before} before"
            ))
        });
        conformance::note(&format!(
            "{}: {count} connections removed {:?} after SIGKILL",
            stage.name,
            start.elapsed()
        ));
        client.wait().expect("it has ended");
    });
}

/// SIGSTOP and SIGCONT of the client while it echoes: no echo is lost, duplicated or wrong, no connection is closed, and
/// the server buffers no more than the messages in flight.
#[test]
fn a_stopped_client_loses_nothing() {
    let (stop, duration) = if full_size() { (20, 30) } else { (1, 2) };
    on_each_stage(&["--ping-interval", "500ms", "--idle-timeout", "60s"], |stage| {
        for load in ["--connections 300 --payload 16KiB", "--connections 300 --rate 5000"] {
            let before = figure(stage, "ws_messages_sent_total");
            let mut client = run(stage, &format!("{load} --duration {duration}s --message-timeout 60s"));
            until("echoes are under way", Duration::from_secs(10), || {
                let sent = figure(stage, "ws_messages_sent_total") - before;
                (sent > 1_000.0).then_some(()).ok_or(format!("{sent} messages"))
            });
            let [memory, most_memory] = memory_while_stopped(stage, &mut client, Duration::from_secs(stop));
            let (report, said) = results(client, 0);
            let echo = report.echo.expect("echoes");
            assert_eq!((echo.missing, echo.echoes, report.failures.total()), (0, echo.sent, 0), "{said}");
            for name in ["ws_messages_received_total", "ws_messages_sent_total"] {
                let counted = figure(stage, name) - before;
                assert_eq!(counted, echo.sent as f64, "{name}, and what the client sent");
            }
            // In closed loop, the server may hold one message per connection: read, and not yet sent.
            assert!(
                most_memory <= memory + 2 * 300 * 16_384 + (4 << 20),
                "{most_memory} bytes, {memory} before"
            );
            let [memory, most_memory] = [memory, most_memory].map(|bytes| bytes as f64 / 1e6);
            let (name, echoes) = (stage.name, echo.echoes);
            conformance::note(&format!(
                "{name}: {load}: {echoes} echoes, all right; memory {memory:.1} MB, {most_memory:.1} MB at most"
            ));
        }
    });
}

/// The server's memory before the client is stopped, and its peak until the client continues.
fn memory_while_stopped(stage: &Stage, client: &mut Child, time: Duration) -> [u64; 2] {
    let before = stage.resident_bytes();
    signal(client, Signal::STOP);
    let (mut most, on_again) = (before, Instant::now() + time);
    while Instant::now() < on_again {
        most = most.max(stage.resident_bytes());
        thread::sleep(Duration::from_millis(50));
    }
    signal(client, Signal::CONT);
    [before, most]
}

/// SIGKILL of the server in every scenario: one line reports it, the results so far are kept, and the client ends.
#[test]
fn a_killed_server_is_reported_and_the_results_are_kept() {
    let _exclusive = exclusive();
    // Each with the metric that shows that its load is running.
    for (scenario, name, least) in [
        ("echo", "ws_messages_sent_total", 400.0),
        ("echo --rate 2000", "ws_messages_sent_total", 400.0),
        ("burst", "ws_messages_sent_total", 400.0),
        ("storm", "ws_connections_accepted_total", 600.0),
        ("churn", "ws_connections_accepted_total", 220.0),
    ] {
        let Some(mut stage) = Stage::start("stage4-zero-buffer", &[]) else { return };
        let client = run(&stage, &format!("--connections 200 --duration 1h --scenario {scenario}"));
        until(name, Duration::from_secs(10), || {
            let value = figure(&stage, name);
            if value >= least { Ok(()) } else { Err(value.to_string()) }
        });
        let start = Instant::now();
        stage.kill();
        let (report, said) = results(client, 1);
        assert!(start.elapsed() < Duration::from_secs(15), "{scenario}: it took {:?}", start.elapsed());
        is_reported(&report, &said);
        let down = report.ended_early.as_deref().is_some_and(|why| why.starts_with("the server is down: "));
        assert!(down || !scenario.starts_with("echo"), "{scenario}: {said}");
        let measured = if scenario == "churn" { report.churn.is_some() } else { report.echo.is_some() };
        assert!(measured, "{scenario}: {said}");
    }
}

/// The same while the client holds idle connections.
#[test]
fn a_killed_server_is_detected_by_idle_connections() {
    let _exclusive = exclusive();
    let Some(mut stage) = Stage::start("stage4-zero-buffer", &[]) else { return };
    let mut client =
        command(&stage, "--connections 200 --duration 1h --scenario idle").spawn().expect("it runs");
    let mut progress = BufReader::new(client.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.starts_with("holding: 200 connections") {
        line.clear();
        assert!(progress.read_line(&mut line).expect("text") > 0, "it ended before it held anything");
    }
    stage.kill();
    let (report, _) = results(client, 1);
    let mut said = String::new();
    progress.read_to_string(&mut said).expect("text");
    is_reported(&report, &said);
    let hold = report.hold.expect("held");
    assert_eq!((hold.held, hold.lost), (0, 200));
}

/// Asserts that the loss of the server is one line of output, and that the JSON has the results until then.
#[track_caller]
fn is_reported(report: &RunReport, said: &str) {
    let complaints: Vec<_> = said.lines().filter(|line| line.starts_with("client: ")).collect();
    assert_eq!(complaints.len(), 1, "{said}");
    assert!(report.connect.as_ref().is_some_and(|connect| connect.opened >= 200), "{said}");
    assert!(report.failures.total() > 0 && report.exit_status == 1 && !report.interrupted, "{said}");
    conformance::note(&format!("{}: {}", report.scenario, complaints[0]));
}

/// On a slow link that drops and reorders packets, every echo is correct, and pings close no connection.
#[test]
fn a_lossy_link_changes_nothing() {
    let faults = Faults { delay: Duration::from_millis(50), loss: 0.02, overtaking: 0.25 };
    let (connections, times) =
        if full_size() { (50, "--hold 5s --duration 10s") } else { (10, "--duration 500ms") };
    let flags = ["--addr", "0.0.0.0:0", "--ping-interval", "300ms", "--idle-timeout", "60s"];
    each_stage(|name| {
        with_link(faults, |link| {
            let Some(stage) = Stage::start(name, &flags) else { return };
            let stage = stage.at(link::FAR);
            for payload in ["1", "4KiB", "100KiB"] {
                let timeouts = "--connect-timeout 60s --message-timeout 60s";
                let load = format!("--connections {connections} --payload {payload} {times} {timeouts}");
                let (report, said) = results(run(&stage, &load), 0);
                let echo = report.echo.expect("echoes");
                assert!(echo.echoes > 0 && echo.missing == 0, "{payload}: {said}");
                conformance::note(&format!("{name}: payload {payload}: {} echoes, all correct", echo.echoes));
            }
            let closed = stage.metrics().by_label("ws_connections_closed_total", "reason");
            assert_eq!(closed["normal"], 3.0 * connections as f64, "{closed:?}");
            let [passed, lost, overtook] = link.packets();
            assert!(lost > 0 && overtook > 0, "{lost} packets were lost, {overtook} overtook others");
            conformance::note(&format!(
                "{name}: {passed} packets passed, {lost} were lost, {overtook} overtook others"
            ));
        });
    });
}

/// Churn with as many connections as the server admits: none of the new ones is rejected.
#[test]
fn churn_at_the_limit_is_not_rejected() {
    on_each_stage(&["--max-connections", "200"], |stage| {
        let load = "--connections 200 --scenario churn --rate 1000 --duration 1s";
        let (report, said) = results(run(stage, load), 0);
        let churn = report.churn.expect("replaced");
        assert!(churn.opened > 100 && churn.opened == churn.closed, "{churn:?}: {said}");
        let full = stage.metrics().by_label("ws_connections_rejected_total", "reason")["full"];
        assert_eq!(full, 0.0, "rejected connections");
    });
}

/// For the far end of a link.
impl Stage {
    fn at(mut self, address: Ipv4Addr) -> Stage {
        self.url = self.url.replace("0.0.0.0", &address.to_string());
        self
    }
}
