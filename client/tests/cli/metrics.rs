//! `client run --metrics-addr`: the client's own metrics.

use crate::stage::{Stage, until};
use client::watch::Metrics;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running client, killed when dropped.
struct Client {
    child: Child,
    addr: SocketAddr,
}

impl Client {
    /// Starts a client with a limit of `nofile` descriptors per table.
    fn start(nofile: u32, arguments: &str) -> Client {
        let binary = env!("CARGO_BIN_EXE_client");
        let script = format!("ulimit -n {nofile} && exec \"$0\" run --metrics-addr 127.0.0.1:0 {arguments}");
        let mut command = Command::new("sh");
        command.args(["-c", &script, binary]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the client runs");
        let mut line = String::new();
        BufReader::new(child.stderr.take().expect("piped")).read_line(&mut line).expect("a line");
        let addr = line
            .trim()
            .strip_prefix("client: metrics on http://")
            .and_then(|url| url.strip_suffix("/metrics"));
        let addr =
            addr.and_then(|addr| addr.parse().ok()).unwrap_or_else(|| panic!("no address in {line:?}"));
        Client { child, addr }
    }

    fn metrics(&self) -> Metrics {
        Metrics::fetch(self.addr).expect("metrics of a running client")
    }

    fn value(&self, name: &str) -> f64 {
        self.metrics().value(name).unwrap_or_else(|| panic!("no {name}"))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Both fail only if the process has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The response to a request, head and body.
fn ask(addr: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(addr).expect("it listens");
    write!(stream, "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn the_metrics_match_the_servers() {
    let Some(server) = Stage::start("stage4-zero-buffer", &[]) else { return };
    // Several shards, each with its own descriptor table, independent of the number of cores.
    let load = format!("--connections 300 --url {} --rate 200 --duration 1h --warmup 0s", server.url);
    let client = Client::start(80, &load);
    until("300 connections, and echoes", Duration::from_secs(20), || {
        let (active, echoes) =
            (client.value("ws_client_connections_active"), client.value("ws_client_messages_received_total"));
        (active == 300.0 && echoes >= 100.0).then_some(()).ok_or(format!("{active} open, {echoes} echoes"))
    });
    let metrics = client.metrics();
    let value = |name: &str| metrics.value(name).unwrap_or_else(|| panic!("no {name}"));
    for (name, expected) in [
        ("ws_client_connections_asked", 300.0),
        ("ws_client_connections_connecting", 0.0),
        ("ws_client_connections_opened_total", 300.0),
        ("ws_client_handshake_seconds_count", 300.0),
    ] {
        assert_eq!(value(name), expected, "{name}");
    }
    let failures = metrics.by_label("ws_client_failures_total", "class");
    assert!(failures.len() == 16 && failures.values().all(|&count| count == 0.0), "{failures:?}");
    let echoed = server.metrics().value("ws_messages_sent_total").expect("messages");
    let received = value("ws_client_messages_received_total");
    assert!(
        received <= echoed && echoed <= client.value("ws_client_messages_sent_total"),
        "{received} of {echoed}"
    );
    let bounds = metrics.by_label("ws_client_latency_seconds_bucket", "le");
    assert!(bounds["+Inf"] >= 100.0 && bounds["8.589934592"] <= bounds["+Inf"], "{bounds:?}");
    assert!(value("ws_client_latency_seconds_sum") > 0.0);
    // The sum over all tables, each of which has at most 80.
    assert!(value("process_open_fds") > 300.0 && value("process_resident_memory_bytes") > 0.0);

    let not_found = ask(client.addr, "GET /");
    assert!(not_found.starts_with("HTTP/1.1 404") && not_found.ends_with("try /metrics\n"), "{not_found}");
    let refused = ask(client.addr, "POST /metrics");
    assert!(refused.starts_with("HTTP/1.1 405") && refused.contains("allow: GET, HEAD"), "{refused}");
    let head = ask(client.addr, "HEAD /metrics");
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn failures_are_counted_by_class() {
    let Some(server) = Stage::start("stage4-zero-buffer", &["--max-connections", "10"]) else { return };
    let client =
        Client::start(1024, &format!("--connections 25 --url {} --scenario idle --duration 1h", server.url));
    until("10 connections, and 15 that found it full", Duration::from_secs(20), || {
        let metrics = client.metrics();
        let failures = metrics.by_label("ws_client_failures_total", "class");
        let found = (metrics.value("ws_client_connections_active"), failures["rejected_503"]);
        (found == (Some(10.0), 15.0)).then_some(()).ok_or(format!("{found:?}"))
    });
}

#[test]
fn an_address_that_cannot_be_bound_is_reported_before_the_run() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = taken.local_addr().expect("its address");
    let run = |addr: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
        let output = command.args(["run", "--metrics-addr", addr]).output().expect("the client runs");
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    let (status, line) = run(&addr.to_string());
    assert!(status == Some(1) && line.lines().count() == 1, "{line}");
    assert!(
        line.starts_with(&format!("client: cannot listen on {addr}: ")) && line.contains("--metrics-addr"),
        "{line}"
    );
    let (status, line) = run("9100");
    assert!(status == Some(2) && line.lines().count() == 1 && line.contains("--metrics-addr"), "{line}");
}
