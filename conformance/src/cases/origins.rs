//! `--allow-origin`: the web origins whose pages may connect (RFC 6454; RFC 6455, sections 4.2.2 and 10.2).

use crate::frame::Frame;
use crate::http::Request;
use crate::server::{Binary, Server, Setup, get};
use crate::wire::Peer;

/// Sends a handshake with this `Origin`, or without one, and expects `status`.
#[track_caller]
fn from(server: &Server, origin: Option<&str>, status: u16) {
    let request = Request::handshake("/echo");
    let mut peer = Peer::open(server.addr);
    peer.send(&origin.map_or(request.clone(), |origin| request.with("Origin", origin)).bytes());
    if status == 101 {
        peer.expect_upgrade();
        peer.round_trip(&Frame::text("allowed"));
        return peer.close();
    }
    let response = peer.plain_response();
    if response.status != status {
        peer.fail(&format!("the status {status} for the origin {origin:?}"), response);
    }
}

pub(crate) fn any_by_default(binary: &Binary) {
    let server = binary.serve(&[]);
    for origin in [None, Some("https://example.com"), Some("null"), Some("whatever"), Some("")] {
        from(&server, origin, 101);
    }
}

/// Schemes and hosts are case-insensitive, and a default port may be omitted (RFC 6454, sections 4 and 5).
pub(crate) fn allowed(binary: &Binary) {
    let server =
        binary.serve(&["--allow-origin", "HTTPS://Example.com,null", "--allow-origin=http://localhost:3000"]);
    for origin in ["https://example.com", "https://EXAMPLE.com:443", "http://localhost:3000", "null"] {
        from(&server, Some(origin), 101);
    }
    from(&server, None, 101);
    server.metrics_agree(&[("ws_connections_rejected_total", 0)]);
}

/// Origins of packaged applications: other schemes, and no host.
pub(crate) fn origins_of_applications(binary: &Binary) {
    let server = binary.serve(&["--allow-origin", "file://,app://.,capacitor://localhost"]);
    for (origin, status) in [
        ("file://", 101),
        ("app://.", 101),
        ("capacitor://localhost", 101),
        ("null", 403),
        ("https://example.com", 403),
        ("file:///", 403),
        ("app://other", 403),
    ] {
        from(&server, Some(origin), status);
    }
}

pub(crate) fn disallowed(binary: &Binary) {
    let server = binary.serve(&["--allow-origin", "https://example.com"]);
    let others = [
        "http://example.com",
        "https://example.com:8443",
        "https://example.com.evil.example",
        "https://evil.example/https://example.com",
        "https://www.example.com",
        "https://example.com https://evil.example",
        "https://example.com/",
        "null",
        "file://",
        "",
    ];
    others.iter().for_each(|origin| from(&server, Some(origin), 403));
    let metrics = server.metrics_agree(&[("ws_connections_accepted_total", 0)]);
    let refused = metrics.rejected_as("origin");
    assert_eq!(refused, others.len() as f64, "connections rejected by their origin");
    // Only handshakes are checked: `/health` still answers, and a plain GET of `/echo` gets 426.
    assert_eq!(get(server.addr, "/health").status, 200);
    assert_eq!(get(server.addr, "/echo").status, 426);
}

pub(crate) fn from_the_environment(binary: &Binary) {
    let env = &[("WS_ALLOW_ORIGIN", "https://a.example,https://b.example")];
    let server = binary.serve_with(Setup { env, ..Setup::default() });
    from(&server, Some("https://a.example"), 101);
    from(&server, Some("https://b.example"), 101);
    from(&server, Some("https://c.example"), 403);
}
