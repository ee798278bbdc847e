//! Shards: threads with their own connections, and their own descriptor tables if one table is too small.

use crate::descriptors::room;
use crate::frame::Frame;
use crate::server::{Binary, Server, Setup};
use crate::wire::Peer;

/// Opens `count` connections, echoes once on each, and expects metrics that are sums over all shards.
#[track_caller]
fn all_work(server: &Server, count: usize) {
    let mut peers = Peer::connect_many(server.addr, count);
    let message = Frame::text("from one of many");
    peers.iter_mut().for_each(|peer| peer.send_frame(&message));
    peers.iter_mut().for_each(|peer| peer.expect_echo(&message));
    let bytes = count * message.payload.len();
    server.metrics_agree(&[
        ("ws_connections_accepted_total", count),
        ("ws_connections_active", count),
        ("ws_messages_received_total", count),
        ("ws_messages_sent_total", count),
        ("ws_received_bytes_total", bytes),
        ("ws_sent_bytes_total", bytes),
        ("ws_handshake_seconds_count", count),
    ]);
    peers.into_iter().for_each(Peer::close);
    server.metrics_agree(&[
        ("ws_connections_accepted_total", count),
        ("ws_connections_active", 0),
        ("ws_connections_closed_total", count),
    ]);
}

#[track_caller]
fn says(server: &Server, words: &str) {
    let line = &server.ready_line;
    assert!(line.contains(words), "expected: {words:?} in the ready line; got: {line}");
}

pub(crate) fn one_shard(binary: &Binary) {
    let server = binary.serve(&["--shards", "1"]);
    says(&server, "1 shard");
    all_work(&server, 40);
}

pub(crate) fn four_shards(binary: &Binary) {
    let server = binary.serve(&["--shards", "4", "--max-connections", "300"]);
    says(&server, "4 shards");
    says(&server, "at most 300 connections");
    all_work(&server, 200);
}

/// `--shards` with more connections than its shards hold: the server starts with as many as that takes.
pub(crate) fn more_than_asked_for(binary: &Binary) {
    let env = &[("WS_SHARDS", "2"), ("WS_MAX_CONNECTIONS", "800")];
    let server = binary.serve_with(Setup { env, nofile: Some(200), ..Setup::default() });
    says(&server, "at most 800 connections");
    assert!(!server.ready_line.contains(" 2 shards"), "got: {}", server.ready_line);
    all_work(&server, room(300));
}

/// More connections than one descriptor table holds: RLIMIT_NOFILE bounds a table, not a process.
pub(crate) fn more_connections_than_one_table_holds(binary: &Binary) {
    let flags = &["--max-connections", "800"];
    let server = binary.serve_with(Setup { flags, nofile: Some(200), ..Setup::default() });
    says(&server, "at most 800 connections");
    let before = server.metrics().sum("process_open_fds");
    let count = room(400);
    let mut peers = Peer::connect_many(server.addr, count);
    peers.iter_mut().for_each(|peer| peer.round_trip(&Frame::text("in a table of some shard")));
    let metrics = server.metrics_agree(&[("ws_connections_active", count)]);
    let more = metrics.sum("process_open_fds") - before;
    assert!(
        more >= count as f64 - 5.0,
        "expected: process_open_fds counts all tables; got: {more} more for {count} connections"
    );
    assert!(metrics.sum("process_max_fds") >= 800.0, "process_max_fds: {}", metrics.sum("process_max_fds"));
    peers.into_iter().for_each(Peer::close);
    server.metrics_agree(&[("ws_connections_active", 0)]);
}
