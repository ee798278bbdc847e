//! The admin address: `/health` and `/metrics` for whoever may ask, and nothing else.

use super::requests::endless;
use crate::http::Request;
use crate::server::{Binary, Finished, Setup, get};
use crate::wait::{self, MAX_DELAY};
use crate::wire::Peer;
use rustix::process::Signal;
use std::time::Instant;

/// Connections that it holds at a time, and more.
const MANY: usize = 100;

pub(crate) fn loopback_by_default(binary: &Binary) {
    let help = binary.run(Setup { flags: &["--help"], ..Setup::default() });
    let (_, of_it) = help.stdout.split_once("--admin-addr").expect("the flag in --help");
    let default = of_it.split("[default: ").nth(1).unwrap_or_default();
    assert!(default.starts_with("127.0.0.1:"), "the default of --admin-addr, got: {default}");
}

/// RFC 9110, section 15.5.6.
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

/// Several requests on a connection, one after the other or in a segment (RFC 9112, section 9.3.2).
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

/// Those who say nothing, stop in the middle, keep their connection, or ask for much and read nothing.
pub(crate) fn idle_connections_do_not_block_scrapes(binary: &Binary) {
    let server = binary.serve(&[]);
    let scrape = Request::new("GET", "/metrics").bytes();
    let mut idle: Vec<_> = (0..MANY).map(|_| Peer::open(server.admin)).collect();
    for (i, peer) in idle.iter_mut().enumerate() {
        // It fails only where the server has given the place to another already.
        let _ = match i % 4 {
            0 => Ok(()),
            1 => peer.try_send(&scrape[..20]),
            2 => peer.try_send(&scrape),
            _ => peer.try_send(&scrape.repeat(3)),
        };
    }
    let asked = Instant::now();
    assert_eq!(get(server.admin, "/metrics").status, 200);
    // Each of those before it is sure of its place for a second.
    assert!(asked.elapsed() < 3 * MAX_DELAY, "answered after {:?}", asked.elapsed());
}

/// More than have room wait for their turn; nobody who asks at once is turned away.
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

/// The server's own program asks it: well, also when it is full; not well when it drains; and gone.
pub(crate) fn healthcheck(binary: &Binary) {
    let mut server = binary.serve(&["--max-connections", "1", "--drain-timeout", "60s"]);
    let (admin, peer) = (server.admin.to_string(), Peer::connect(server.addr));
    let by_flag =
        || binary.run(Setup { flags: &["--healthcheck", "--admin-addr", &admin], ..Setup::default() });
    let env = &[("WS_ADMIN_ADDR", admin.as_str())];
    let by_env = binary.run(Setup { flags: &["--healthcheck"], env, own_ports: false, ..Setup::default() });
    for well in [by_flag(), by_env] {
        assert_eq!(
            (well.code, well.stderr.as_str(), well.stdout.lines().count()),
            (Some(0), "", 1),
            "{well:?}"
        );
        assert!(well.stdout.contains(&admin), "where it asked, got: {well:?}");
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

/// Status 1, and why in one line.
#[track_caller]
fn is_unhealthy(check: Finished, why: &str) {
    let line = check.stderr.contains(why) && check.stderr.lines().count() == 1;
    assert!(check.code == Some(1) && check.stdout.is_empty() && line, "expected: {why}; got: {check:?}");
}
