//! The live page at the admin address, and its server-sent events (HTML Standard, section 9.2).

use crate::frame::Frame;
use crate::http::{Request, Response};
use crate::process;
use crate::server::{Binary, Server, get};
use crate::wait::{self, MAX_DELAY};
use crate::wire::Peer;
use rustix::process::Signal;
use serde_json::Value;
use std::thread;
use std::time::{Duration, Instant};

/// The most viewers at a time.
const VIEWERS: usize = 8;
/// More connections than the admin server keeps open at a time.
const MANY: usize = 100;

/// Requests the event stream, and returns the connection and the response head.
#[track_caller]
fn request_events(server: &Server) -> (Peer, Response) {
    let mut peer = Peer::open(server.admin);
    peer.send(&Request::new("GET", "/events").bytes());
    let response = peer.response_head();
    (peer, response)
}

#[track_caller]
fn viewer(server: &Server) -> Peer {
    let (viewer, response) = request_events(server);
    assert_eq!(response.status, 200, "/events, got: {response}");
    let kind = response.field("Content-Type").unwrap_or_default();
    assert_eq!(kind, "text/event-stream", "/events, got: {response}");
    viewer
}

/// Receives the next sample.
#[track_caller]
fn sample(viewer: &mut Peer) -> Value {
    let data = viewer.event();
    serde_json::from_str(&data).unwrap_or_else(|error| panic!("expected: JSON; got ({error}): {data}"))
}

/// The page loads nothing from other origins, and its Content-Security-Policy forbids it.
pub(crate) fn page(binary: &Binary) {
    let server = binary.serve(&[]);
    for (path, kind) in [
        ("/", "text/html"),
        ("/live.css", "text/css"),
        ("/colours.css", "text/css"),
        ("/live.js", "text/javascript"),
    ] {
        let response = get(server.admin, path);
        assert_eq!(response.status, 200, "{path}, got: {response}");
        assert!(response.has("Content-Type", &format!("{kind}; charset=utf-8")), "{path}, got: {response}");
        assert!(response.has("X-Content-Type-Options", "nosniff"), "{path}, got: {response}");
        let policy = response.field("Content-Security-Policy").unwrap_or_default();
        for directive in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.split("; ").any(|there| there == directive), "{path}: {directive} in {policy:?}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{path}: {policy}");
        let names = response.body.replace("http://www.w3.org/2000/svg", "");
        assert!(!names.contains("://"), "{path} contains a URL");
    }
    assert_eq!(get(server.addr, "/live.js").status, 404, "not on the main address");
}

pub(crate) fn heads_and_other_methods(binary: &Binary) {
    let server = binary.serve(&[]);
    // More requests than viewers: a HEAD does not count as one.
    for path in ["/", "/live.css", "/colours.css", "/live.js"].into_iter().chain(["/events"; 2 * VIEWERS]) {
        let mut peer = Peer::open(server.admin);
        peer.send(&Request::new("HEAD", path).with("Connection", "close").bytes());
        // Events have no length.
        let response = if path == "/events" { peer.response_head() } else { peer.response_to_head() };
        assert_eq!(response.status, 200, "HEAD {path}, got: {response}");
        peer.expect_fin();
        let mut peer = Peer::open(server.admin);
        peer.send(&Request::new("POST", path).with("Connection", "close").bytes());
        let response = peer.plain_response();
        assert!(response.status == 405 && response.lists("Allow", "GET"), "POST {path}, got: {response}");
    }
}

/// Each event agrees with `/metrics`.
pub(crate) fn events_agree_with_metrics(binary: &Binary) {
    let server = binary.serve(&["--max-connections", "100", "--shards", "2"]);
    let mut viewer = viewer(&server);
    let mut peers = Peer::connect_many(server.addr, 5);
    peers.iter_mut().for_each(|peer| peer.round_trip(&Frame::text("Hello")));
    peers.pop().expect("five").close();
    let metrics = server.metrics_agree(&[("ws_connections_active", 4), ("ws_messages_sent_total", 5)]);
    let since = Instant::now();
    let now = loop {
        let now = sample(&mut viewer);
        if now["messages"] == 5 && now["closed"] == 1 {
            break now;
        }
        assert!(since.elapsed() < MAX_DELAY, "expected: 5 messages, 1 closed; got: {now}");
    };
    for (field, name) in [
        ("connections", "ws_connections_active"),
        ("accepted", "ws_connections_accepted_total"),
        ("closed", "ws_connections_closed_total"),
        ("rejected", "ws_connections_rejected_total"),
        ("messages", "ws_messages_sent_total"),
    ] {
        assert_eq!(now[field].as_f64(), Some(metrics.sum(name)), "{field} in {now}");
    }
    let resident =
        now["resident_bytes"].as_f64().expect("a number") / process::resident_bytes(server.pid()) as f64;
    assert!((0.8..1.25).contains(&resident), "{resident} times what the kernel reports; got: {now}");
    let shards = now["shards"].as_array().expect("shards");
    let sums = [0, 1].map(|i| shards.iter().filter_map(|shard| shard[i].as_u64()).sum::<u64>());
    assert_eq!((shards.len(), sums), (2, [4, 5]), "connections and messages of the shards in {now}");
    let first = &now["limits"][0];
    assert_eq!((&first["name"], first["taken"].as_f64()), (&Value::from("connections"), Some(4.0)), "{now}");
    assert_eq!(first["limit"].as_f64(), Some(100.0), "{now}");
    assert_eq!(now["draining"], false, "{now}");
}

/// Echoes are timed from read to write, whether a message arrives at once or in pieces.
pub(crate) fn echoes_are_timed(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut viewer = viewer(&server);
    let mut peer = Peer::connect(server.addr);
    assert_eq!(sample(&mut viewer)["latency"], Value::Null, "nothing was echoed yet");
    for message in [Frame::text("Hello"), Frame::new(2, vec![7; 200_000])] {
        peer.round_trip(&message);
        let since = Instant::now();
        let latency = loop {
            let now = sample(&mut viewer);
            if !now["latency"].is_null() {
                break now["latency"].clone();
            }
            assert!(since.elapsed() < MAX_DELAY, "expected: a timed echo; got: {now}");
        };
        assert_eq!(latency["timed"], 1, "got: {latency}");
        let [p50, p99] = ["p50_us", "p99_us"].map(|name| latency[name].as_f64().expect("a number"));
        assert!(p50 > 0.0 && p50 == p99 && p99 < 10e6, "got: {latency}");
    }
}

/// Viewers and other admin connections have separate limits: neither kind displaces the other.
pub(crate) fn viewers_and_scrapes_have_separate_limits(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut viewers: Vec<_> = (0..VIEWERS).map(|_| viewer(&server)).collect();
    let (mut late, response) = request_events(&server);
    assert!(response.status == 503 && response.field("Retry-After").is_some(), "one more, got: {response}");
    late.half_close();
    let _idle: Vec<_> = (0..MANY).map(|_| Peer::open(server.admin)).collect();
    let asked = Instant::now();
    assert_eq!(get(server.admin, "/metrics").status, 200);
    assert!(asked.elapsed() < 3 * MAX_DELAY, "answered after {:?}", asked.elapsed());
    viewers.iter_mut().for_each(|viewer| while sample(viewer)["uptime_seconds"].as_f64() < Some(2.0) {});
    viewers.pop().expect("eight").reset();
    wait::until("a viewer is admitted after another has disconnected", || match request_events(&server) {
        (_, response) if response.status == 200 => Ok(()),
        (_, response) => Err(response.to_string()),
    });
}

/// The admin server's thread blocks until a request arrives.
pub(crate) fn no_wakeups_without_viewers(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut viewer = viewer(&server);
    let wakeups = || process::blocks_of(server.pid(), "admin");
    let before = wakeups();
    for _ in 0..3 {
        sample(&mut viewer);
    }
    assert!(wakeups() > before, "expected: a wakeup per second for the viewer");
    drop(viewer);
    wait::until("two seconds without a wakeup", || {
        let before = wakeups();
        thread::sleep(Duration::from_secs(2));
        if wakeups() == before { Ok(()) } else { Err(format!("{} wakeups", wakeups() - before)) }
    });
}

/// Viewers receive an event when the drain starts, do not delay the exit, and receive the end of the stream.
pub(crate) fn viewers_see_the_drain(binary: &Binary) {
    let mut server = binary.serve(&["--drain-timeout", "60s"]);
    let mut viewer = viewer(&server);
    let mut peer = Peer::connect(server.addr);
    server.signal(Signal::TERM);
    peer.expect_close_frame(&[1001]);
    let since = Instant::now();
    while sample(&mut viewer)["draining"] != true {
        assert!(since.elapsed() < MAX_DELAY, "expected: draining within {MAX_DELAY:?}");
    }
    peer.send_frame(&Frame::close(1001, ""));
    peer.expect_fin();
    drop(peer);
    assert_eq!(server.exit().code(), Some(0), "exit status");
    viewer.read_to_fin();
}
