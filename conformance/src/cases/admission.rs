//! Admission: above `--max-connections`, or out of descriptors, a connection is rejected with 503 (RFC 9110, section
//! 15.6.4), while `/health` and `/metrics` still answer.

use crate::descriptors::room;
use crate::frame::Frame;
use crate::http::Request;
use crate::process::does_not_spin;
use crate::server::{Binary, Server, Setup, get};
use crate::wait;
use crate::wire::Peer;

/// Tries to connect. `None` if the server answers 503.
#[track_caller]
fn try_connect(server: &Server) -> Option<Peer> {
    let mut peer = Peer::open(server.addr);
    if peer.try_send(&Request::handshake("/echo").bytes()).is_err() {
        peer.fail("a response", "a connection reset (RST)");
    }
    let response = peer.response_head();
    match response.status {
        101 => Some(peer),
        503 => {
            let seconds = response.field("Retry-After").and_then(|seconds| seconds.parse::<u32>().ok());
            if seconds.is_none() || !response.has("Connection", "close") {
                peer.fail("503 with Retry-After: SECONDS and Connection: close", response);
            }
            None
        }
        _ => peer.fail("101 or 503", response),
    }
}

#[track_caller]
fn await_admission(server: &Server) -> Peer {
    wait::until("a connection is admitted", || try_connect(server).ok_or("503".to_string()))
}

#[track_caller]
fn is_healthy(server: &Server) {
    for addr in [server.addr, server.admin] {
        for path in ["/health", "/metrics"] {
            let response = get(addr, path);
            assert_eq!(response.status, 200, "http://{addr}{path} of a full server, got: {response}");
        }
    }
}

pub(crate) fn full_server_answers_503(binary: &Binary) {
    let server = binary.serve(&["--max-connections", "2", "--shards", "1"]);
    let mut peers = Peer::connect_many(server.addr, 2);
    for _ in 0..20 {
        assert!(try_connect(&server).is_none(), "expected: 503 at 2 of 2 connections; got: 101");
    }
    is_healthy(&server);
    server.metrics_agree(&[
        ("ws_connections_active", 2),
        ("ws_connections_rejected_total", 20),
        ("ws_connections_limit", 2),
        ("ws_messages_received_total", 0),
    ]);
    peers.iter_mut().for_each(|peer| peer.round_trip(&Frame::text("still here")));
}

/// The 503 arrives with its whole content and a FIN: a reset could discard it.
pub(crate) fn the_503_is_complete(binary: &Binary) {
    let server = binary.serve(&["--max-connections", "1", "--shards", "1"]);
    let _peer = Peer::connect(server.addr);
    for request in [Request::handshake("/echo"), Request::handshake("/").with("Cookie", "c".repeat(4000))] {
        let mut late = Peer::open(server.addr);
        late.send(&request.bytes());
        assert_eq!(late.plain_response().status, 503);
    }
}

/// After a closing handshake, a reset, and a FIN without a Close.
pub(crate) fn admits_again_after_a_close(binary: &Binary) {
    let server = binary.serve(&["--max-connections", "1", "--shards", "1"]);
    for end in [Peer::close, Peer::reset, drop] {
        let mut peer = Peer::connect(server.addr);
        peer.round_trip(&Frame::text("admitted"));
        assert!(try_connect(&server).is_none(), "expected: 503 at 1 of 1 connections; got: 101");
        end(peer);
        let peer = await_admission(&server);
        peer.close();
        server.metrics_agree(&[("ws_connections_active", 0)]);
    }
}

/// With few descriptors, and an uneven distribution over shards: exactly as many connections as the ready line
/// announces.
pub(crate) fn announced_capacity_is_available(binary: &Binary) {
    for shards in ["1", "2", "3"] {
        let server =
            binary.serve_with(Setup { flags: &["--shards", shards], nofile: Some(256), ..Setup::default() });
        let announced = server.ready_line.rsplit("at most ").next().and_then(|rest| rest.split(' ').next());
        let announced: usize = announced.and_then(|count| count.parse().ok()).expect("at most N connections");
        if room(announced) < announced {
            continue;
        }
        let peers: Vec<Peer> = (0..announced).map_while(|_| try_connect(&server)).collect();
        assert_eq!(peers.len(), announced, "connections admitted, of those announced with {shards} shards");
        assert!(try_connect(&server).is_none(), "one more than announced");
    }
}

/// The limit applies to the whole server, whatever the number of shards.
pub(crate) fn limit_holds_over_all_shards(binary: &Binary) {
    let server = binary.serve(&["--max-connections", "8", "--shards", "4"]);
    let admitted: Vec<_> = (0..80).filter_map(|_| try_connect(&server)).collect();
    assert_eq!(admitted.len(), 8, "connections admitted of 80, at a limit of 8");
    server.metrics_agree(&[
        ("ws_connections_active", 8),
        ("ws_connections_limit", 8),
        ("ws_connections_rejected_total", 72),
    ]);
    is_healthy(&server);
}

/// Out of descriptors: each connection gets a response, some of them 503, and the server neither spins nor exits.
pub(crate) fn out_of_descriptors(binary: &Binary) {
    let mut server =
        binary.serve_with(Setup { flags: &["--shards", "2"], nofile: Some(64), ..Setup::default() });
    let mut peers: Vec<_> = (0..400).map(|_| try_connect(&server)).collect();
    let (held, refused) =
        (peers.iter().flatten().count(), peers.iter().filter(|peer| peer.is_none()).count());
    assert!(held > 0 && refused > 0, "with 64 descriptors a table, of 400: {held} held, {refused} refused");
    is_healthy(&server);
    server.metrics_agree(&[("ws_connections_active", held), ("ws_connections_rejected_total", refused)]);
    does_not_spin(server.pid());
    peers.iter_mut().flatten().for_each(|peer| peer.round_trip(&Frame::text("held")));
    drop(peers);
    server.metrics_agree(&[("ws_connections_active", 0)]);
    await_admission(&server).close();
    assert!(server.runs(), "the server ended");
}

/// Out of descriptors for connections that send nothing, so that no 503 can be sent: the server pauses accepting until
/// one is free, and does not spin.
pub(crate) fn out_of_descriptors_for_silent_peers(binary: &Binary) {
    let flags = &["--shards", "2", "--handshake-timeout", "60s"];
    let server = binary.serve_with(Setup { flags, nofile: Some(64), ..Setup::default() });
    let silent: Vec<_> = (0..room(400)).map(|_| Peer::open(server.addr)).collect();
    wait::until("connections are rejected for lack of descriptors", || {
        let metrics = server.metrics();
        let refused = metrics.sum("ws_connections_rejected_total");
        if refused > 0.0 { Ok(()) } else { Err(format!("\n{metrics}")) }
    });
    does_not_spin(server.pid());
    assert_eq!(get(server.admin, "/health").status, 200);
    drop(silent);
    await_admission(&server).close();
}

/// Plain HTTP requests do not count against the limit once they are answered.
pub(crate) fn plain_requests_release_their_slot(binary: &Binary) {
    let server = binary.serve(&["--max-connections", "1", "--shards", "1"]);
    for path in ["/echo", "/health", "/metrics", "/nothing"] {
        get(server.addr, path);
    }
    await_admission(&server).close();
}
