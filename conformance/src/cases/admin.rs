//! The admin address: methods, keep-alive, and limits on its connections (RFC 9110, RFC 9112).

use super::requests::endless;
use crate::http::Request;
use crate::server::{Binary, Finished, Setup, get};
use crate::wait::{self, MAX_DELAY};
use crate::wire::Peer;
use rustix::process::Signal;
use std::time::Instant;

/// More connections than the admin server keeps open at a time.
const MANY: usize = 100;

pub(crate) fn loopback_by_default(binary: &Binary) {
    let help = binary.run(Setup { flags: &["--help"], ..Setup::default() });
    let (_, after) = help.stdout.split_once("--admin-addr").expect("the flag in --help");
    let default = after.split("[default: ").nth(1).unwrap_or_default();
    assert!(default.starts_with("127.0.0.1:"), "the default of --admin-addr, got: {default}");
}

/// 405 with `Allow` (RFC 9110, section 15.5.6).
pub(crate) fn other_methods(binary: &Binary) {
    let server = binary.serve(&[]);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "BREW", "get"] {
        let mut peer = Peer::open(server.admin);
        peer.send(&Request::new(method, "/metrics").with("Connection", "close").bytes());
        let response = peer.plain_response();
        assert_eq!(response.status, 405, "{method}, got: {response}");
        assert!(
            response.lists("Allow", "GET") && response.lists("Allow", "HEAD"),
            "{method}, got: {response}"
        );
    }
}

/// Several requests on one connection, sequential and pipelined (RFC 9112, section 9.3.2).
pub(crate) fn requests_in_a_row(binary: &Binary) {
    let server = binary.serve(&[]);
    let head = Request::new("HEAD", "/metrics");
    let mut peer = Peer::open(server.admin);
    peer.send(&head.bytes());
    assert_eq!(peer.response_head().status, 200);
    peer.send(&[head.bytes(), head.bytes(), head.with("Connection", "close").bytes()].concat());
    assert_eq!(peer.response_head().status, 200);
    assert_eq!(peer.response_head().status, 200);
    assert_eq!(peer.response_to_head().status, 200);
}

pub(crate) fn content_is_not_read(binary: &Binary) {
    let server = binary.serve(&[]);
    endless(&server, server.admin, &Request::new("GET", "/metrics"), 200);
    endless(&server, server.admin, &Request::new("POST", "/metrics"), 405);
}

/// Idle connections: with no request, half a request, an answered request, and unread responses.
pub(crate) fn idle_connections_do_not_block_scrapes(binary: &Binary) {
    let server = binary.serve(&[]);
    let scrape = Request::new("GET", "/metrics").bytes();
    let mut idle: Vec<_> = (0..MANY).map(|_| Peer::open(server.admin)).collect();
    for (i, peer) in idle.iter_mut().enumerate() {
        // Fails only if the server has already closed this connection to make room.
        let _ = match i % 4 {
            0 => Ok(()),
            1 => peer.try_send(&scrape[..20]),
            2 => peer.try_send(&scrape),
            _ => peer.try_send(&scrape.repeat(3)),
        };
    }
    let asked = Instant::now();
    assert_eq!(get(server.admin, "/metrics").status, 200);
    // The server keeps each earlier connection for at least a second.
    assert!(asked.elapsed() < 3 * MAX_DELAY, "answered after {:?}", asked.elapsed());
}

/// Connections above the limit stay in the backlog: none is rejected while it waits.
pub(crate) fn many_at_once(binary: &Binary) {
    let server = binary.serve(&[]);
    let request = Request::new("GET", "/metrics").with("Connection", "close").bytes();
    let ask = |_| {
        let mut peer = Peer::open(server.admin);
        peer.send(&request);
        peer
    };
    let mut peers: Vec<_> = (0..MANY).map(ask).collect();
    peers.iter_mut().for_each(|peer| assert_eq!(peer.plain_response().status, 200));
}

/// `--healthcheck`: exit status 0 also when the server is full, 1 while it drains and after it has ended.
pub(crate) fn healthcheck(binary: &Binary) {
    let mut server = binary.serve(&["--max-connections", "1", "--drain-timeout", "60s"]);
    let (admin, peer) = (server.admin.to_string(), Peer::connect(server.addr));
    let by_flag =
        || binary.run(Setup { flags: &["--healthcheck", "--admin-addr", &admin], ..Setup::default() });
    let env = &[("WS_ADMIN_ADDR", admin.as_str())];
    let by_env = binary.run(Setup { flags: &["--healthcheck"], env, own_ports: false, ..Setup::default() });
    for check in [by_flag(), by_env] {
        assert_eq!(
            (check.code, check.stderr.as_str(), check.stdout.lines().count()),
            (Some(0), "", 1),
            "{check:?}"
        );
        assert!(check.stdout.contains(&admin), "expected: the address {admin}; got: {check:?}");
    }
    server.signal(Signal::TERM);
    wait::until("503 while it drains", || match get(server.admin, "/health").status {
        503 => Ok(()),
        status => Err(status.to_string()),
    });
    is_unhealthy(by_flag(), "503");
    drop(peer);
    server.exit();
    is_unhealthy(by_flag(), "refused");
}

/// Exit status 1, and one line on stderr with `why`.
#[track_caller]
fn is_unhealthy(check: Finished, why: &str) {
    let line = check.stderr.contains(why) && check.stderr.lines().count() == 1;
    assert!(check.code == Some(1) && check.stdout.is_empty() && line, "expected: {why}; got: {check:?}");
}
