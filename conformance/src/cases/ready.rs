//! `/ready`, on both addresses: 200 while the server should get new connections, else 503 and the reason. `/health` does
//! not depend on the load.

use crate::descriptors::room;
use crate::http::Request;
use crate::server::{Binary, Server, Setup, get};
use crate::wait;
use crate::wire::Peer;
use rustix::process::Signal;

/// Expects this status and body on both addresses, and the gauge that corresponds.
#[track_caller]
fn answers(server: &Server, status: u16, body: &str) {
    for addr in [server.addr, server.admin] {
        let response = get(addr, "/ready");
        assert_eq!((response.status, response.body.trim_end()), (status, body), "http://{addr}/ready");
    }
    server.metrics_agree(&[("ws_ready", usize::from(status == 200))]);
}

#[track_caller]
fn is_healthy(server: &Server) {
    for addr in [server.addr, server.admin] {
        assert_eq!(get(addr, "/health").status, 200, "http://{addr}/health");
    }
}

pub(crate) fn while_accepting(binary: &Binary) {
    let server = binary.serve(&[]);
    answers(&server, 200, "ready");
    assert_eq!(get(server.addr, "/ready/").status, 200);
    for addr in [server.addr, server.admin] {
        let mut peer = Peer::open(addr);
        peer.send(&Request::new("HEAD", "/ready").with("Connection", "close").bytes());
        assert_eq!(peer.response_to_head().status, 200, "HEAD http://{addr}/ready");
    }
}

/// From 95% of the limit on, until there are less than 90%.
pub(crate) fn while_full(binary: &Binary) {
    for (limit, full, still_full) in [(20, 19, 18), (1, 1, 1)] {
        let server = binary.serve(&["--max-connections", &limit.to_string(), "--shards", "2"]);
        let mut peers = Peer::connect_many(server.addr, full - 1);
        answers(&server, 200, "ready");
        peers.push(Peer::connect(server.addr));
        answers(&server, 503, "full");
        is_healthy(&server);
        let mut close_one = || {
            peers.pop().expect("a peer").close();
            server.metrics_agree(&[("ws_connections_active", peers.len())]);
            peers.len()
        };
        while close_one() >= still_full {
            answers(&server, 503, "full");
        }
        answers(&server, 200, "ready");
    }
}

/// The limit is not the only reason to reject connections.
pub(crate) fn while_out_of_descriptors(binary: &Binary) {
    let flags = &["--shards", "1", "--handshake-timeout", "60s"];
    let server = binary.serve_with(Setup { flags, nofile: Some(64), ..Setup::default() });
    let silent: Vec<_> = (0..room(400)).map(|_| Peer::open(server.addr)).collect();
    let is_ready = |server: &Server| get(server.admin, "/ready");
    wait::until("503, rejecting", || match is_ready(&server) {
        response if response.status == 503 && response.body == "rejecting\n" => Ok(()),
        response => Err(format!("{response}: {}", response.body)),
    });
    assert_eq!(get(server.admin, "/health").status, 200);
    drop(silent);
    // Five seconds after the last rejection.
    wait::until("200 again", || match is_ready(&server).status {
        200 => Ok(()),
        status => Err(status.to_string()),
    });
}

pub(crate) fn while_draining(binary: &Binary) {
    let mut server = binary.serve(&["--drain-timeout", "60s"]);
    let mut peer = Peer::connect(server.addr);
    server.signal(Signal::TERM);
    peer.expect_close_frame(&[1001]);
    let response = get(server.admin, "/ready");
    assert_eq!((response.status, response.body.as_str()), (503, "draining\n"));
    server.metrics_agree(&[("ws_ready", 0)]);
    drop(peer);
    server.exit();
}
