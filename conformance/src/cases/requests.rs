//! Request smuggling (RFC 9112, section 11.2): requests that two parsers could read differently, and where requests
//! end.
//!
//! The server must not interpret what follows a refused request. Each refused request here is followed by a handshake
//! and a message, and must get exactly one response and a FIN.

use crate::frame::Frame;
use crate::http::Request;
use crate::process::resident_bytes;
use crate::server::{Binary, Server};
use crate::wait::{MAX_DELAY, TIMEOUT};
use crate::wire::Peer;
use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

/// The longest head that a server reads, in bytes.
const MAX_HEAD_LEN: usize = 8192;
const ECHO: &str = "GET /echo HTTP/1.1\r\n";

fn handshake() -> Request {
    Request::handshake("/echo")
}

/// The handshake with `from`, which must occur once, replaced by `to`.
#[track_caller]
fn changed(from: &str, to: &str) -> Vec<u8> {
    let request = handshake().to_string();
    assert_eq!(request.matches(from).count(), 1, "{from:?} in the handshake");
    request.replace(from, to).into_bytes()
}

/// Expects each request to be refused with its status, and what follows it to be ignored.
#[track_caller]
fn refused(binary: &Binary, requests: impl IntoIterator<Item = (Vec<u8>, u16)>) {
    let server = binary.serve(&[]);
    for (request, status) in requests {
        let mut peer = Peer::open(server.addr);
        peer.send(&[request, handshake().bytes(), Frame::text("smuggled").masked()].concat());
        let response = peer.plain_response();
        if response.status != status {
            peer.fail(&format!("the status {status}"), response);
        }
    }
    server.metrics_agree(&[("ws_connections_accepted_total", 0), ("ws_messages_received_total", 0)]);
    Peer::connect(server.addr).close();
}

/// RFC 9112, sections 6.1 and 6.3, and RFC 9110, section 9.3.1: a handshake with content is refused, because the
/// content would be parsed as frames.
pub(crate) fn framing(binary: &Binary) {
    let with = |fields: &[(&str, &str)]| {
        fields.iter().fold(handshake(), |request, (name, value)| request.and(name, *value)).bytes()
    };
    let (length, coding) = ("Content-Length", "Transfer-Encoding");
    refused(
        binary,
        [
            (with(&[(length, "4")]), 400),
            (with(&[(length, "4"), (length, "4")]), 400),
            (with(&[(length, "0"), (length, "4")]), 400),
            (with(&[(length, "0, 0")]), 400),
            (with(&[(length, "-1")]), 400),
            (with(&[(length, "0x4")]), 400),
            (with(&[(length, "18446744073709551617")]), 400),
            (with(&[(coding, "chunked")]), 400),
            (with(&[(length, "0"), (coding, "chunked")]), 400),
            (with(&[(coding, "chunked"), (coding, "identity")]), 400),
            (with(&[(coding, "xchunked")]), 400),
            (with(&[(coding, "gzip, chunked")]), 501),
            ([with(&[(coding, "chunked")]), b"0\r\n\r\n".to_vec()].concat(), 400),
            (
                b"GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n".to_vec(),
                400,
            ),
            (b"GET /health HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(), 400),
        ],
    );
}

/// Fields that must not repeat: RFC 9112, section 3.2; RFC 6455, sections 11.3.1 and 11.3.5; RFC 6454, section 7.3.
pub(crate) fn contradictory_fields(binary: &Binary) {
    refused(
        binary,
        [
            (handshake().and("Host", "example.com").bytes(), 400),
            (handshake().with("Host", "a b").bytes(), 400),
            (handshake().with("Host", "user@a").bytes(), 400),
            (handshake().and("Sec-WebSocket-Key", crate::http::SAMPLE_KEY).bytes(), 400),
            (handshake().and("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==").bytes(), 400),
            (handshake().and("Sec-WebSocket-Version", "13").bytes(), 400),
            (handshake().and("Sec-WebSocket-Version", "8").bytes(), 400),
            (handshake().with("Sec-WebSocket-Version", "13, 8").bytes(), 426),
            (handshake().and("Connection", "close").bytes(), 400),
            (handshake().and("Origin", "http://a").and("Origin", "http://b").bytes(), 400),
        ],
    );
}

/// Obsolete line folding (RFC 9112, section 5.2), white space before a colon (5.1) or before a field (2.2), a bare CR
/// or LF (2.2), and invalid bytes (RFC 9110, section 5.5).
pub(crate) fn ambiguous_lines(binary: &Binary) {
    let changes = [
        ("Upgrade: websocket", "Upgrade:\r\n websocket"),
        ("Host: 127", "Host: a\r\n\t.b\r\nX: 127"),
        ("Host:", "Host :"),
        ("Host:", " Host:"),
        ("Host:", ":\r\nHost:"),
        ("HTTP/1.1\r\n", "HTTP/1.1\n"),
        ("websocket\r\n", "websocket\n"),
        ("13\r\n\r\n", "13\r\n\n"),
        ("websocket\r\n", "websocket\r"),
        ("GET", "\nGET"),
        ("127.0.0.1", "127\0"),
        ("127.0.0.1", "127\x0b"),
        ("GET ", "GET  "),
        ("GET ", "GET\t"),
        ("HTTP/1.1", "HTTP/1.1 "),
        ("/echo", "/ec\0ho"),
    ];
    refused(binary, changes.map(|(from, to)| (changed(from, to), 400)));
}

/// Request targets (RFC 9112, section 3.2).
pub(crate) fn targets(binary: &Binary) {
    let server = binary.serve(&[]);
    for target in ["http://127.0.0.1/echo", "HTTP://example.com:80", "https://[::1]/echo?a=/b", "/?a"] {
        let mut peer = Peer::open(server.addr);
        peer.send(&changed("/echo", target));
        peer.expect_upgrade();
        peer.close();
    }
    let bad = [
        "*",
        "example.com:80",
        "echo",
        "/echo#a",
        "/?a#b",
        "ws://a/echo",
        "http://",
        "http:///echo",
        "/\u{fc}",
    ];
    refused(binary, bad.map(|target| (changed("/echo", target), 400)));
    refused(binary, ["http://a/nowhere", "//echo"].map(|target| (changed("/echo", target), 404)));
}

/// RFC 9110, sections 9.1, 15.5.15 and 15.6. The first request is the preface of HTTP/2 (RFC 9113, section 3.4).
pub(crate) fn methods_and_versions(binary: &Binary) {
    let line = |line: &str| format!("{line}\r\nHost: a\r\n\r\n").into_bytes();
    let long = "A".repeat(MAX_HEAD_LEN);
    refused(
        binary,
        [
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(), 505),
            (line("GET /echo HTTP/3.0"), 505),
            (line("GET /echo HTTP/0.9"), 505),
            (line("GET /echo HTTP/1"), 400),
            (line("GET /echo http/1.1"), 400),
            (line("CONNECT example.com:80 HTTP/1.1"), 405),
            (line("OPTIONS * HTTP/1.1"), 405),
            (line("get /echo HTTP/1.1"), 501),
            (line("BREW /echo HTTP/1.1"), 501),
            (line(&format!("{} /echo HTTP/1.1", &long[..8000])), 501),
            (line(&format!("{long} /echo HTTP/1.1")), 501),
            (line(&format!("GET /{long} HTTP/1.1")), 414),
            (b"GET /health HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n".to_vec(), 400),
        ],
    );
}

/// A head may have up to 8 KiB, in one segment or in several.
pub(crate) fn heads_of_each_length(binary: &Binary) {
    let of = |len: usize| {
        let padding = len - handshake().with("Cookie", "").bytes().len();
        handshake().with("Cookie", "c".repeat(padding)).bytes()
    };
    let server = binary.serve(&[]);
    for len in [MAX_HEAD_LEN - 1, MAX_HEAD_LEN] {
        let head = of(len);
        assert_eq!(head.len(), len);
        for piece_len in [len, 4096, len - 1] {
            let mut peer = Peer::open(server.addr);
            peer.send_in_pieces(head.chunks(piece_len));
            peer.expect_upgrade();
            peer.round_trip(&Frame::text("long enough"));
            peer.close();
        }
    }
    refused(binary, [(of(MAX_HEAD_LEN + 1), 431), (of(3 * MAX_HEAD_LEN), 431)]);
}

/// Upgrade and Connection are lists, in one field line or in several (RFC 9110, section 5.3).
pub(crate) fn equivalent_forms_of_upgrade(binary: &Binary) {
    let server = binary.serve(&[]);
    for request in [
        handshake().with("Upgrade", "h2c, WebSocket"),
        handshake().and("Upgrade", "h2c"),
        handshake().with("Connection", "keep-alive").and("connection", "upgrade"),
        handshake().and("Connection", "keep-alive, Upgrade"),
        handshake().with("Content-Length", "0"),
        handshake().line(&format!("\r\n{}", ECHO.trim_end())),
    ] {
        let mut peer = Peer::open(server.addr);
        peer.send(&request.bytes());
        peer.expect_upgrade();
        peer.close();
    }
}

/// A GET of a page is answered although it declares content.
pub(crate) fn pages_with_content(binary: &Binary) {
    let server = binary.serve(&[]);
    for path in ["/health", "/metrics"] {
        for (name, value) in [("Content-Length", "5"), ("Transfer-Encoding", "chunked")] {
            let mut peer = Peer::open(server.addr);
            peer.send(&[Request::new("GET", path).with(name, value).bytes(), b"0\r\n\r\n".to_vec()].concat());
            assert_eq!(peer.plain_response().status, 200, "{path} with {name}: {value}");
        }
    }
}

/// Sends a request with endless content. Expects an immediate response, and that the server neither reads for ever nor
/// buffers the content.
#[track_caller]
pub(super) fn endless(server: &Server, addr: SocketAddr, request: &Request, status: u16) {
    let before = resident_bytes(server.pid());
    let mut peer = Peer::open(addr);
    let head = request.clone().with("Content-Length", "1000000000000").bytes();
    let (asked, content) = (Instant::now(), vec![b'x'; 256 << 10]);
    // Fails only if the server has closed the connection.
    let _ = peer.try_send(&[head, content.clone()].concat());
    let response = peer.plain_response();
    assert_eq!(response.status, status, "got: {response}");
    assert!(asked.elapsed() < MAX_DELAY, "answered after {:?}", asked.elapsed());
    while peer.try_send(&content).is_ok() {
        assert!(asked.elapsed() < TIMEOUT, "the server still reads after {TIMEOUT:?}");
    }
    let grown = resident_bytes(server.pid()).saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes more memory");
}

pub(crate) fn pages_with_endless_content(binary: &Binary) {
    let server = &binary.serve(&[]);
    thread::scope(|scope| {
        for (request, status) in
            [(Request::new("GET", "/metrics"), 200), (Request::new("POST", "/echo"), 405), (handshake(), 400)]
        {
            scope.spawn(move || endless(server, server.addr, &request, status));
        }
    });
}
