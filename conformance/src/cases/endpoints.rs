//! Plain HTTP on both addresses (RFC 9110, RFC 9112). `plain_response` checks the length and the FIN of each response.

use crate::http::Request;
use crate::metrics::Metrics;
use crate::server::{Binary, Setup, get};
use crate::wire::Peer;

pub(crate) fn health_is_ok(binary: &Binary) {
    let server = binary.serve(&[]);
    for (addr, path) in
        [server.addr, server.admin].into_iter().flat_map(|a| ["/health", "/health/"].map(|p| (a, p)))
    {
        let response = get(addr, path);
        assert_eq!(response.status, 200, "http://{addr}{path}, got: {response}");
    }
}

pub(crate) fn metrics_are_well_formed(binary: &Binary) {
    let server = binary.serve(&[]);
    for addr in [server.addr, server.admin] {
        let response = get(addr, "/metrics");
        let kind = response.field("Content-Type").unwrap_or_default();
        let right =
            response.status == 200 && kind.starts_with("text/plain") && kind.contains("version=0.0.4");
        assert!(right, "http://{addr}/metrics, expected: 200, text/plain; version=0.0.4\ngot: {response}");
        Metrics::parse(&response.body).unwrap_or_else(|error| panic!("http://{addr}/metrics: {error}"));
    }
}

/// `--metrics-on admin`: on the main address `/metrics` is not found, like any other path.
pub(crate) fn metrics_on_the_admin_address_only(binary: &Binary) {
    let by_flag = Setup { flags: &["--metrics-on", "admin"], ..Setup::default() };
    let by_env = Setup { env: &[("WS_METRICS_ON", "admin")], ..Setup::default() };
    for setup in [by_flag, by_env] {
        let server = binary.serve_with(setup);
        let [nothing, metrics] = ["/nothing", "/metrics"].map(|path| get(server.addr, path));
        assert_eq!((metrics.status, &metrics.fields), (404, &nothing.fields), "{metrics}");
        assert_eq!(metrics.body, nothing.body);
        assert_eq!(get(server.addr, "/metrics/").status, 404);
        server.metrics_agree(&[("ws_connections_rejected_total", 0)]);
        for (addr, path) in
            [server.addr, server.admin].into_iter().flat_map(|a| ["/health", "/ready"].map(|p| (a, p)))
        {
            assert_eq!(get(addr, path).status, 200, "http://{addr}{path}");
        }
    }
}

pub(crate) fn other_paths_are_not_found(binary: &Binary) {
    let server = binary.serve(&[]);
    for path in ["/nothing", "/echo//", "/healthy", "/metrics/x", "/%00"] {
        let response = get(server.addr, path);
        assert_eq!(response.status, 404, "http://{}{path}, got: {response}", server.addr);
    }
    let response = get(server.admin, "/nothing");
    assert_eq!(response.status, 404, "http://{}/nothing, got: {response}", server.admin);
}

/// A response to HEAD has no content (RFC 9110, section 9.3.2).
pub(crate) fn head_has_no_content(binary: &Binary) {
    let server = binary.serve(&[]);
    for (path, status) in [("/health", 200), ("/metrics", 200), ("/nothing", 404), ("/echo", 426)] {
        let mut peer = Peer::open(server.addr);
        peer.send(&Request::new("HEAD", path).bytes());
        let response = peer.response_to_head();
        assert_eq!(response.status, status, "HEAD {path}, got: {response}");
    }
}

/// The response does not depend on how the request is segmented, or on what follows it.
pub(crate) fn requests_in_pieces_or_too_many(binary: &Binary) {
    let server = binary.serve(&[]);
    let request = Request::new("GET", "/health").bytes();
    for pieces in [request.chunks(request.len()), request.chunks(7)] {
        let mut peer = Peer::open(server.addr);
        peer.send_in_pieces(pieces);
        assert_eq!(peer.plain_response().status, 200);
    }
    let mut peer = Peer::open(server.addr);
    peer.send(&request.repeat(3));
    assert_eq!(peer.plain_response().status, 200);
}

/// Clients that disconnect before the response, or without a request.
pub(crate) fn clients_that_disconnect(binary: &Binary) {
    let server = binary.serve(&[]);
    for round in 0..20 {
        let mut peer = Peer::open(server.addr);
        if round % 2 == 0 {
            peer.send(&Request::new("GET", "/metrics").bytes());
        }
        if round % 4 < 2 {
            peer.reset();
        }
    }
    assert_eq!(get(server.addr, "/health").status, 200);
    server.metrics_agree(&[("ws_connections_active", 0)]);
}
