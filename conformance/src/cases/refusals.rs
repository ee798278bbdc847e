//! Invalid opening handshakes (RFC 6455, section 4.2), other requests, and input that is not HTTP.

use crate::frame::Frame;
use crate::http::{Request, Response};
use crate::server::Binary;
use crate::wire::Peer;

/// Expects a request to be refused with one of these statuses, and the server to serve the next connection.
#[track_caller]
fn refused(binary: &Binary, request: impl AsRef<[u8]>, statuses: &[u16]) -> Response {
    let server = binary.serve(&[]);
    let mut peer = Peer::open(server.addr);
    peer.send(request.as_ref());
    let response = peer.plain_response();
    if !statuses.contains(&response.status) {
        peer.fail(&format!("one of the statuses {statuses:?}"), response);
    }
    let mut next = Peer::connect(server.addr);
    next.round_trip(&Frame::text("the next connection"));
    next.close();
    response
}

/// Expects 426 for a request without an upgrade to WebSocket. The response names the protocol (RFC 9110, section
/// 15.5.22).
#[track_caller]
fn upgrade_required(binary: &Binary, request: &Request) {
    let response = refused(binary, request.bytes(), &[426]);
    let names_it = response.has("Upgrade", "websocket") && response.has("Sec-WebSocket-Version", "13");
    // RFC 9110, section 7.8: a sender of Upgrade lists it in Connection.
    assert!(
        names_it && response.lists("Connection", "Upgrade"),
        "expected: Upgrade: websocket, Connection: Upgrade, Sec-WebSocket-Version: 13\ngot: {response}"
    );
}

pub(crate) fn plain_get_of_echo(binary: &Binary) {
    upgrade_required(binary, &Request::new("GET", "/echo"));
}

pub(crate) fn plain_get_of_root(binary: &Binary) {
    upgrade_required(binary, &Request::new("GET", "/"));
}

/// Section 4.2.1, item 3.
pub(crate) fn no_upgrade_field(binary: &Binary) {
    upgrade_required(binary, &Request::handshake("/echo").without("Upgrade"));
}

/// Section 4.2.1, item 3.
pub(crate) fn upgrade_to_something_else(binary: &Binary) {
    upgrade_required(binary, &Request::handshake("/echo").with("Upgrade", "h2c"));
}

/// Section 4.2.1, item 4.
pub(crate) fn no_connection_field(binary: &Binary) {
    refused(binary, Request::handshake("/echo").without("Connection").bytes(), &[400, 426]);
}

/// Section 4.2.1, item 4.
pub(crate) fn connection_without_upgrade(binary: &Binary) {
    refused(binary, Request::handshake("/echo").with("Connection", "keep-alive").bytes(), &[400, 426]);
}

/// Section 4.4: the response names the supported version.
pub(crate) fn wrong_version(binary: &Binary) {
    for version in ["0", "8", "12", "14", "131", "thirteen"] {
        let request = Request::handshake("/echo").with("Sec-WebSocket-Version", version);
        let response = refused(binary, request.bytes(), &[426]);
        assert!(response.has("Sec-WebSocket-Version", "13"), "version {version}, got: {response}");
    }
}

/// Section 4.2.1, item 6.
pub(crate) fn no_version(binary: &Binary) {
    refused(binary, Request::handshake("/echo").without("Sec-WebSocket-Version").bytes(), &[400, 426]);
}

/// Section 4.2.1, item 5.
pub(crate) fn no_key(binary: &Binary) {
    refused(binary, Request::handshake("/echo").without("Sec-WebSocket-Key").bytes(), &[400]);
}

/// Section 4.2.1, item 5: base64 of 16 bytes.
pub(crate) fn bad_key(binary: &Binary) {
    for key in ["", "short", "AAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAA=", "!!!!!!!!!!!!!!!!!!!!!!=="] {
        refused(binary, Request::handshake("/echo").with("Sec-WebSocket-Key", key).bytes(), &[400]);
    }
}

/// RFC 9112, section 3.2.
pub(crate) fn no_host(binary: &Binary) {
    refused(binary, Request::handshake("/echo").without("Host").bytes(), &[400]);
}

/// Section 4.2.1, item 1: HTTP/1.1 or higher. In HTTP/1.0 Upgrade is ignored (RFC 9110, section 7.8).
pub(crate) fn http_1_0(binary: &Binary) {
    upgrade_required(binary, &Request::handshake("/echo").line("GET /echo HTTP/1.0"));
}

pub(crate) fn malformed_requests(binary: &Binary) {
    for malformed in [
        "nonsense\r\n\r\n",
        "GET /echo\r\n\r\n",
        "GET  HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /echo HTTP/one\r\nHost: a\r\n\r\n",
        "GET /echo HTTP/1.1\r\nHost: a\r\nno colon here\r\n\r\n",
        "GET /echo HTTP/1.1\r\nHost: a\r\nbad name: b\r\n\r\n",
        "GET /echo HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03 the hello of TLS\r\n\r\n",
    ] {
        refused(binary, malformed, &[400]);
    }
}

/// Any method but GET (section 4.2.1, item 1) gets 405 with `Allow` (RFC 9110, section 15.5.6).
pub(crate) fn other_methods(binary: &Binary) {
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let request = Request::handshake("/echo").line(&format!("{method} /echo HTTP/1.1"));
        let response = refused(binary, request.bytes(), &[405]);
        assert!(
            response.field("Allow").is_some_and(|allow| allow.contains("GET")),
            "{method}, got: {response}"
        );
    }
}

/// The server discards the content of a refused request. A reset instead could discard the response.
pub(crate) fn post_with_content(binary: &Binary) {
    const LEN: usize = 8 << 20;
    let head = Request::new("POST", "/echo").with("Content-Length", LEN.to_string()).bytes();
    refused(binary, [head, vec![b'x'; LEN]].concat(), &[405]);
}

pub(crate) fn unknown_path(binary: &Binary) {
    refused(binary, Request::handshake("/chat").bytes(), &[404]);
}

/// 431 (RFC 6585, section 5).
pub(crate) fn head_too_long(binary: &Binary) {
    let long = Request::handshake("/echo").with("Cookie", "c".repeat(9000));
    refused(binary, long.bytes(), &[431]);
    let many = (0..500)
        .fold(Request::handshake("/echo"), |request, i| request.with(&format!("X-{i}"), "filler filler"));
    refused(binary, many.bytes(), &[431, 400]);
}

/// A head that never ends is refused as soon as it is too long.
pub(crate) fn endless_head(binary: &Binary) {
    let start = Request::handshake("/echo").bytes();
    let start = &start[..start.len() - 2];
    refused(binary, [start, b"Cookie: ", &vec![b'c'; 300_000]].concat(), &[431]);
}
