//! `/metrics` agrees with what the peers did and with the kernel.

use crate::frame::{BINARY, CLOSE, CONTINUATION, Frame, PING, PONG};
use crate::process;
use crate::server::{Binary, Server, get};
use crate::wait;
use crate::wire::Peer;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Every metric that a server has, and its type.
const ALL: [(&str, &str); 26] = [
    ("ws_build_info", "gauge"),
    ("ws_buffer_budget_bytes", "gauge"),
    ("ws_buffered_bytes", "gauge"),
    ("ws_connections_active", "gauge"),
    ("ws_connections_accepted_total", "counter"),
    ("ws_connections_closed_total", "counter"),
    ("ws_connections_limit", "gauge"),
    ("ws_connections_rejected_total", "counter"),
    ("ws_echo_seconds", "histogram"),
    ("ws_handshake_seconds", "histogram"),
    ("ws_kernel_memory_bytes", "gauge"),
    ("ws_log_lines_lost_total", "counter"),
    ("ws_memory_available_bytes", "gauge"),
    ("ws_memory_total_bytes", "gauge"),
    ("ws_messages_received_total", "counter"),
    ("ws_messages_sent_total", "counter"),
    ("ws_received_bytes_total", "counter"),
    ("ws_ready", "gauge"),
    ("ws_sent_bytes_total", "counter"),
    ("ws_tasks", "gauge"),
    ("process_cpu_seconds_total", "counter"),
    ("process_max_fds", "gauge"),
    ("process_open_fds", "gauge"),
    ("process_resident_memory_bytes", "gauge"),
    ("process_start_time_seconds", "gauge"),
    ("process_threads", "gauge"),
];

pub(crate) fn all_are_present(binary: &Binary) {
    let server = binary.serve(&[]);
    Peer::connect(server.addr).close();
    let metrics = server.metrics();
    for (name, kind) in ALL {
        assert_eq!(metrics.kind(name), Some(kind), "type of {name}");
        let series = if kind == "histogram" { format!("{name}_count") } else { name.to_string() };
        assert!(metrics.sum(&series) >= 0.0, "{series}");
    }
    let buckets = metrics.buckets("ws_handshake_seconds");
    assert!(buckets.is_sorted() && buckets.last() == Some(&1.0), "buckets of one handshake: {buckets:?}");
    assert!((0.0..1.0).contains(&metrics.sum("ws_handshake_seconds_sum")), "got:\n{metrics}");
    for label in ["stage", "version", "commit"] {
        let values = metrics.label_values("ws_build_info", label);
        assert!(values.len() == 1 && !values[0].is_empty(), "{label} of ws_build_info: {values:?}");
        assert_eq!(metrics.sum("ws_build_info"), 1.0);
    }
}

pub(crate) fn both_addresses_agree(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peer = Peer::connect(server.addr);
    peer.round_trip(&Frame::text("Hello"));
    server.metrics_agree(&[("ws_messages_sent_total", 1)]);
    let response = get(server.addr, "/metrics");
    let metrics = crate::metrics::Metrics::parse(&response.body).expect("metrics on the main address");
    for (name, sum) in
        [("ws_connections_active", 1.0), ("ws_messages_received_total", 1.0), ("ws_sent_bytes_total", 5.0)]
    {
        assert_eq!(metrics.sum(name), sum, "{name} on the main address");
    }
}

/// Messages and payload bytes are counted, not frames, headers or control frames.
pub(crate) fn messages_and_bytes(binary: &Binary) {
    let server = binary.serve(&[]);
    let mut peers = Peer::connect_many(server.addr, 3);
    for peer in &mut peers {
        peer.round_trip(&Frame::text("Hello"));
        peer.round_trip(&Frame::new(BINARY, [0; 1000]));
        peer.round_trip(&Frame::text(""));
        peer.send_frames(&[
            &Frame::text("frag").without_fin(),
            &Frame::new(PING, "ping"),
            &Frame::new(PONG, "pong"),
        ]);
        peer.expect_pong("ping");
        peer.send_frame(&Frame::new(CONTINUATION, "ments"));
        peer.expect_echo(&Frame::text("fragments"));
        let next = Frame::text("in pieces").masked();
        peer.send_in_pieces([&[&Frame::text("whole").masked(), &next[..8]].concat()[..], &next[8..]]);
        peer.expect_echo(&Frame::text("whole"));
        peer.expect_echo(&Frame::text("in pieces"));
    }
    let payload = 3 * (5 + 1000 + 9 + 5 + 9);
    server.metrics_agree(&[
        ("ws_connections_accepted_total", 3),
        ("ws_connections_active", 3),
        ("ws_connections_rejected_total", 0),
        ("ws_connections_closed_total", 0),
        ("ws_echo_seconds_count", 18),
        ("ws_handshake_seconds_count", 3),
        ("ws_messages_received_total", 18),
        ("ws_messages_sent_total", 18),
        ("ws_received_bytes_total", payload),
        ("ws_sent_bytes_total", payload),
    ]);
    peers.into_iter().for_each(Peer::close);
    server.metrics_agree(&[
        ("ws_connections_accepted_total", 3),
        ("ws_connections_active", 0),
        ("ws_connections_closed_total", 3),
        ("ws_messages_received_total", 18),
    ]);
}

/// Echoes are timed from read to write, whether or not somebody looks. Where only some are timed, these count for all.
pub(crate) fn echo_times(binary: &Binary) {
    const BATCH: usize = 100;
    const BATCHES: usize = 300;
    let server = binary.serve(&["--shards", "1"]);
    let mut peer = Peer::connect(server.addr);
    let hello = Frame::text("Hello");
    let asked = Instant::now();
    for _ in 0..BATCHES {
        peer.send_frames(&[&hello; BATCH]);
        (0..BATCH).for_each(|_| peer.expect_echo(&hello));
    }
    let took = asked.elapsed().as_secs_f64();
    let metrics = server.metrics_agree(&[("ws_messages_sent_total", BATCHES * BATCH)]);
    let count = metrics.sum("ws_echo_seconds_count");
    let share = count / (BATCHES * BATCH) as f64;
    assert!((0.9..1.1).contains(&share), "{share} of the messages, got:\n{metrics}");
    let buckets = metrics.buckets("ws_echo_seconds");
    assert!(buckets.is_sorted() && buckets.last() == Some(&count), "buckets of {count} echoes: {buckets:?}");
    // The messages of a batch are echoed one after the other, or together.
    let sum = metrics.sum("ws_echo_seconds_sum");
    assert!(sum > 0.0 && sum < took * BATCH as f64, "{sum} s of {took} s, got:\n{metrics}");
}

/// Connections are counted by the reason for which they closed.
pub(crate) fn close_reasons(binary: &Binary) {
    let server = binary.serve(&[]);
    for _ in 0..2 {
        Peer::connect(server.addr).close();
    }
    let mut peer = Peer::connect(server.addr);
    peer.send_frame(&Frame::new(CLOSE, ""));
    peer.expect(&Frame::new(CLOSE, ""));
    peer.expect_fin();
    for _ in 0..4 {
        drop(Peer::connect(server.addr));
    }
    for _ in 0..5 {
        Peer::connect(server.addr).reset();
    }
    for wrong in [Frame::new(3, ""), Frame::new(CONTINUATION, ""), Frame::new(1, [0xff])] {
        let mut peer = Peer::connect(server.addr);
        peer.send_frame(&wrong);
        peer.expect_close_of(&[1002, 1007]);
    }
    let metrics = server.metrics_agree(&[("ws_connections_active", 0), ("ws_connections_closed_total", 15)]);
    for (reason, count) in [
        ("normal", 3.0),
        ("eof", 4.0),
        ("reset", 5.0),
        ("protocol", 3.0),
        ("idle", 0.0),
        ("overload", 0.0),
        ("shutdown", 0.0),
    ] {
        let counted = metrics.closed_as(reason);
        assert_eq!(counted, count, "connections closed as {reason}; got:\n{metrics}");
    }
}

/// After refused handshakes, accepted = active + closed still holds.
pub(crate) fn refused_handshakes(binary: &Binary) {
    let server = binary.serve(&[]);
    for path in ["/echo", "/nothing", "/health"] {
        get(server.addr, path);
    }
    let mut peer = Peer::connect(server.addr);
    peer.round_trip(&Frame::text("Hello"));
    wait::until("accepted = active + closed, active = 1", || {
        let [accepted, active, closed] = server.metrics().connections();
        match accepted == active + closed && active == 1.0 {
            true => Ok(()),
            false => Err(format!("accepted {accepted}, active {active}, closed {closed}")),
        }
    });
}

/// The `process_*` metrics agree with the kernel.
pub(crate) fn process_figures(binary: &Binary) {
    let server = binary.serve(&["--max-connections", "100"]);
    let before = server.metrics();
    let resident = process::resident_bytes(server.pid()) as f64;
    let reported = before.sum("process_resident_memory_bytes");
    assert!((0.5..2.0).contains(&(reported / resident)), "reported {reported}, actual {resident}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let age = now - before.sum("process_start_time_seconds");
    assert!((-2.0..60.0).contains(&age), "process_start_time_seconds was {age} s ago");
    assert!(before.sum("process_cpu_seconds_total") < 30.0);
    wait::until("process_threads is the number of threads", || {
        let reported = server.metrics().sum("process_threads") as usize;
        let actual = process::threads(server.pid());
        if reported == actual { Ok(()) } else { Err(format!("reported {reported}, actual {actual}")) }
    });
    descriptors_follow_connections(&server, before.sum("process_open_fds"));
}

/// A connection takes one descriptor, and up to two more, depending on the server.
fn descriptors_follow_connections(server: &Server, before: f64) {
    let peers = Peer::connect_many(server.addr, 50);
    let metrics = server.metrics_agree(&[("ws_connections_active", 50)]);
    let more = metrics.sum("process_open_fds") - before;
    assert!((45.0..=155.0).contains(&more), "50 connections, and process_open_fds grew by {more}");
    assert!(metrics.sum("process_max_fds") >= metrics.sum("process_open_fds"));
    peers.into_iter().for_each(Peer::close);
    wait::until("process_open_fds is back", || {
        let now = server.metrics().sum("process_open_fds");
        if now <= before + 3.0 { Ok(()) } else { Err(format!("{before} before, {now} after")) }
    });
}
