//! `client run` from outside: exit status, one line per error, and the files it writes.

use client::run::RunReport;
use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, SystemTime};
use tungstenite::Message;

/// An echo server. The receiver gets a value per echoed message.
fn echo_server() -> (SocketAddr, Receiver<()>) {
    let (echoed, messages) = mpsc::channel();
    let address = serve(move |stream| {
        let Ok(mut socket) = tungstenite::accept(stream) else { return };
        while let Ok(message) = socket.read() {
            if matches!(message, Message::Binary(_)) {
                let _ = echoed.send(());
                if socket.send(message).is_err() {
                    return;
                }
            }
        }
    });
    (address, messages)
}

fn serve(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (serve, stream) = (serve.clone(), stream.expect("accept"));
            thread::spawn(move || serve(stream));
        }
    });
    address
}

fn client(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.arg("run").args(arguments.split_whitespace());
    command
}

fn run(arguments: &str) -> Output {
    client(arguments).output().expect("the client runs")
}

fn run_against(address: SocketAddr, arguments: &str) -> Output {
    run(&format!("--url ws://{address}/echo {arguments}"))
}

/// The error, which must be one line.
#[track_caller]
fn one_line(output: &Output, exit_status: i32) -> String {
    let line = String::from_utf8(output.stderr.clone()).expect("text");
    assert_eq!(output.status.code(), Some(exit_status), "{line}");
    assert!(line.starts_with("client: ") && line.trim_end().lines().count() == 1, "{line:?}");
    line
}

/// A path for this test only.
fn scratch(name: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{number}-{name}"))
}

/// The JSON that a run writes to standard output.
#[track_caller]
fn report(output: &Output) -> RunReport {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the JSON of a run")
}

#[test]
fn a_successful_run_prints_a_summary_and_writes_its_files() {
    let (address, _messages) = echo_server();
    let (json, hdr) = (scratch("run.json"), scratch("run.hdr"));
    let load = "--connections 20 --duration 200ms --warmup 0s --quiet";
    let mut client = client(&format!("--url ws://{address}/echo {load}"));
    // A path may contain a space.
    let output = client.arg("--json").arg(&json).arg("--hdr").arg(&hdr).output().expect("the client runs");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "nothing to complain of");
    assert_eq!(output.status.code(), Some(0));
    let summary = String::from_utf8(output.stdout).expect("text");
    for part in ["20 of 20 in", "all verified", "p99.9", "20 by closing handshake", "failures     none"] {
        assert!(summary.contains(part), "{part} in {summary}");
    }
    assert!(summary.lines().count() <= 24, "it fits a screen");
    let report: RunReport = serde_json::from_str(&fs::read_to_string(json).expect("a file")).expect("JSON");
    let echo = report.echo.expect("echoes");
    assert_eq!((report.header.schema, report.exit_status, report.connections), (1, 0, 20));
    assert_eq!((echo.missing, echo.latency.0.len()), (0, echo.echoes));
    let hdr = fs::read_to_string(hdr).expect("a file");
    assert!(
        hdr.contains("Percentile") && hdr.contains(&format!("Total count    = {:12}]", echo.echoes)),
        "{hdr}"
    );
}

#[test]
fn many_messages_in_flight() {
    let (address, _messages) = echo_server();
    let load = "--connections 3 --in-flight 8 --duration 100ms --warmup 0s --quiet --json -";
    let output = run_against(address, load);
    let summary = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(summary.contains("payload 32 B, 8 in flight"), "{summary}");
    let report = report(&output);
    let echo = report.echo.expect("echoes");
    assert_eq!((report.in_flight, echo.missing, echo.echoes % 8), (8, 0, 0));
    assert!(echo.echoes >= 24, "{} echoes", echo.echoes);
}

#[test]
fn every_scenario() {
    let (address, _messages) = echo_server();
    let run = |scenario: &str| {
        let common = "--connections 12 --duration 100ms --warmup 0s --quiet --json - --scenario";
        report(&run_against(address, &format!("{common} {scenario}")))
    };
    let idle = run("idle --hold 50ms");
    assert_eq!(idle.hold.expect("held").held, 12);
    assert!(idle.echo.is_none() && idle.close.expect("closed").closed == 12);
    let open = run("echo --rate 1000 --active 5").echo.expect("echoes");
    assert_eq!((open.active, open.sent, open.echoes), (5, 100, 100));
    let storm = run("storm");
    let rounds = storm.connect.as_ref().expect("connected").rounds;
    assert_eq!(storm.connect.expect("connected").opened, 12 * rounds);
    assert_eq!(storm.echo.expect("echoes").echoes, 12 * rounds);
    assert_eq!(storm.close.expect("closed").closed, 12 * rounds);
    let burst = run("burst").echo.expect("echoes");
    assert_eq!(burst.echoes, 12 * burst.rounds);
    let churn = run("churn --rate 200").churn.expect("replaced");
    assert!(churn.opened > 0 && churn.opened == churn.closed && churn.opened == churn.echoes, "{churn:?}");
}

#[test]
fn results_do_not_depend_on_the_number_of_shards() {
    let (address, _messages) = echo_server();
    let quick = "--connections 3 --duration 200ms --warmup 0s --quiet --json -";
    for load in
        ["--active 1", "--active 2 --rate 500", "--scenario idle", "--scenario burst", "--scenario storm"]
    {
        let report = report(&run_against(address, &format!("{quick} --shards 5 {load}")));
        assert_eq!((report.ended_early, report.exit_status), (None, 0), "{load}");
    }
    for shards in 1..=3 {
        // One of the two connections is reset after 100 of its 500 due messages.
        let number = Arc::new(AtomicUsize::new(0));
        let losing = serve(move |stream| {
            let few = if number.fetch_add(1, Ordering::Relaxed) == 0 { 100 } else { usize::MAX };
            let Ok(mut socket) = tungstenite::accept(stream) else { return };
            for _ in 0..few {
                let Ok(message) = socket.read() else { return };
                let _ = socket.send(message);
            }
        });
        let load = "--connections 2 --rate 1000 --duration 1s --warmup 0s --quiet --json -";
        let output = run_against(losing, &format!("{load} --shards {shards}"));
        assert_eq!(output.status.code(), Some(1), "a connection was lost");
        let report: RunReport = serde_json::from_slice(&output.stdout).expect("JSON");
        let echo = report.echo.expect("echoes");
        assert_eq!((echo.echoes, echo.missing, report.ended_early), (600, 400, None), "{shards} shards");
    }
}

#[test]
fn the_server_is_watched() {
    let (address, _messages) = echo_server();
    // The server is this process.
    let pid = std::process::id();
    let arguments = format!("--connections 5 --duration 100ms --warmup 0s --quiet --json - --pid {pid}");
    let server = report(&run_against(address, &arguments)).server.expect("it was watched");
    assert!(server.before.rss_bytes > 0 && server.peak_rss_bytes >= server.before.rss_bytes, "{server:?}");
    assert!(server.connected.is_some() && server.closed.is_some() && server.cpu_us_per_echo.is_some());
    let line = one_line(&run_against(address, "--pid 4194304"), 1);
    assert!(line.contains("the server cannot be watched"), "{line}");
}

#[test]
fn bad_flags_are_named_in_one_line() {
    for (arguments, named) in [
        ("--connections many", "--connections"),
        ("--connections 0", "--connections"),
        ("--payload 17MiB", "--payload"),
        ("--rate -1", "--rate"),
        ("--connect-rate 0", "--connect-rate"),
        ("--active x", "--active"),
        ("--in-flight 0", "--in-flight"),
        ("--in-flight 1_025", "--in-flight"),
        ("--duration soon", "--duration"),
        ("--duration 0s", "--duration"),
        ("--warmup=-1s", "--warmup"),
        ("--hold forever", "--hold"),
        ("--scenario panic", "--scenario"),
        ("--source-ip localhost", "--source-ip"),
        ("--shards 0", "--shards"),
        ("--pid zero", "--pid"),
        ("--metrics-url ftp://x", "--metrics-url"),
        ("--connect-timeout 0s", "--connect-timeout"),
        ("--message-timeout 0s", "--message-timeout"),
        ("--colour", "--colour"),
        ("--url wss://127.0.0.1:0/", "a port from 1 to 65535"),
        ("--metrics-url https://127.0.0.1/metrics", "without TLS"),
        ("--url http://127.0.0.1:1/", "ws://HOST:PORT/PATH"),
        ("--url ws://256.0.0.1:80/", "an IP address or an ASCII host name"),
        ("--url ws://127.0.0.1:99999/", "a port from 1 to 65535"),
        ("--metrics-url http://256.0.0.1/metrics", "an IP address or an ASCII host name"),
    ] {
        let line = one_line(&run(arguments), 2);
        assert!(line.contains(named), "{arguments}: {line}");
    }
}

#[test]
fn impossible_loads_are_explained_in_one_line() {
    let unused = TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("address");
    let line = one_line(&run_against(unused, "--connections 10 --quiet"), 1);
    assert!(line.contains("10 refused (is the server running"), "{line}");

    let full = serve(|mut stream| {
        let mut head = [0; 1024];
        let _ = stream.read(&mut head);
        let _ = std::io::Write::write_all(&mut stream, b"HTTP/1.1 503 Service Unavailable\r\n\r\n");
        let _ = stream.read(&mut head);
    });
    let line = one_line(&run_against(full, "--connections 10 --quiet"), 1);
    assert!(line.contains("10 rejected_503 (the server is full"), "{line}");

    let line = one_line(&run("--connections 1_000_000_000_000"), 1);
    assert!(line.contains("of kernel memory") && line.contains("ask for at most"), "{line}");
    let line = one_line(&run("--connections 200_000 --source-ip 127.0.0.1 --source-ip 127.0.0.2"), 1);
    assert!(line.contains("need more local ports") && line.contains("--source-ip"), "{line}");
    let line = one_line(&run("--json /nowhere/at/all.json"), 1);
    assert!(line.contains("cannot write /nowhere/at/all.json"), "{line}");
}

#[test]
fn ctrl_c_ends_a_run_at_once_with_the_results_so_far() {
    let (address, messages) = echo_server();
    let arguments =
        format!("--url ws://{address}/echo --connections 5 --duration 1h --warmup 0s --json - --quiet");
    let child =
        client(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the client runs");
    (0..100).for_each(|_| messages.recv().expect("a message"));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("signal");
    let report = report(&child.wait_with_output().expect("it ends"));
    let echo = report.echo.expect("the results so far");
    assert!(report.interrupted && echo.echoes > 0 && echo.missing == 0, "{} echoes", echo.echoes);
    assert_eq!(report.failures.total(), 0);
}

#[test]
fn more_connections_than_open_files_are_allowed() {
    let (address, _messages) = echo_server();
    let client = env!("CARGO_BIN_EXE_client");
    let arguments =
        format!("run --url ws://{address}/echo --connections 300 --scenario burst --duration 1ms --json -");
    let script = format!("ulimit -n 80 && exec \"$0\" {arguments}");
    let report = report(&Command::new("sh").args(["-c", &script, client]).output().expect("sh"));
    assert!(report.shards >= 5, "{} shards", report.shards);
    assert_eq!(report.connect.expect("connected").connected, 300);
    let echo = report.echo.expect("echoes");
    assert_eq!(echo.echoes, 300 * echo.rounds);
}

#[test]
fn results_of_clients_that_start_together_are_merged() {
    let (address, _messages) = echo_server();
    let time = SystemTime::now() + Duration::from_millis(700);
    let start_at = humantime::format_rfc3339_millis(time);
    let files = ["a.json", "b.json"].map(scratch);
    let load = "--connections 3 --rate 50 --duration 200ms --warmup 0s --quiet";
    let clients = files.each_ref().map(|file| {
        let arguments = format!("--url ws://{address}/echo {load} --start-at {start_at} --json");
        client(&arguments).arg(file).stdout(Stdio::null()).spawn().expect("the client starts")
    });
    clients.into_iter().for_each(|mut client| assert!(client.wait().expect("it ends").success()));
    assert!(SystemTime::now() > time, "both have waited for the start");
    let merged = scratch("merged.json");
    let merge = |json: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
        command.arg("merge").args(&files).arg("--json").arg(json).output().expect("the client runs")
    };
    let output = merge(&merged);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("6 of 6"), "{output:?}");
    let report: RunReport = serde_json::from_slice(&fs::read(&merged).expect("a file")).expect("JSON");
    assert_eq!((report.clients, report.connections), (2, 6));
    assert_eq!(report.echo.expect("echoes").echoes, 20);
    fs::write(&files[1], "{}").expect("a file");
    let line = one_line(&merge(&merged), 1);
    assert!(line.contains("b.json is not a complete result of `client run --json`"), "{line}");
}
