use super::*;
use std::sync::Mutex;

const GOOD: &str = "GET /echo HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Heads that requests borrow from. They are kept here, where the leak sanitizer finds them.
static HEADS: Mutex<Vec<&str>> = Mutex::new(vec![]);

/// The good request with one thing changed.
fn parse_with(from: &str, to: &str) -> Request<'static> {
    assert!(GOOD.contains(from), "{from}");
    let head = GOOD.replace(from, to).leak();
    HEADS.lock().expect("no test has panicked here").push(head);
    parse(head.as_bytes())
}

/// The good request with these lines as well.
fn parse_with_lines(lines: &str) -> Request<'static> {
    parse_with("Host", &format!("{lines}\r\nHost"))
}

#[track_caller]
fn refused(request: Request<'_>, status: Status, why: &str) {
    assert_eq!(request, Request::Refused(status, Method::Get), "{why:?}");
}

#[test]
fn the_example_of_section_1_3() {
    let accept_key = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_string();
    let (head_len, subprotocols) = (GOOD.len(), vec![]);
    assert_eq!(parse(GOOD.as_bytes()), Request::Upgrade { accept_key, head_len, origin: None, subprotocols });
    for cut in 0..GOOD.len() {
        assert_eq!(parse(&GOOD.as_bytes()[..cut]), Request::Partial, "{cut}");
    }
}

#[test]
fn variations_that_are_valid() {
    for (from, to) in [
        ("/echo", "/"),
        ("/echo", "/echo?room=1"),
        ("/echo", "http://example.com/echo"),
        ("/echo", "HTTPS://[::1]:8000?room=/1"),
        ("/echo", "http://example.com"),
        ("/echo", "http://example.com?room=/health"),
        ("GET", "\r\n\r\nGET"),
        ("Host: example.com", "Host: 127.0.0.1:8000"),
        ("Host: example.com", "Host:"),
        ("websocket", "WebSocket"),
        ("Upgrade: websocket", "Upgrade: h2c, websocket"),
        ("Upgrade: websocket", "Upgrade: h2c\r\nUpgrade: websocket"),
        ("Connection: Upgrade", "connection: keep-alive, upgrade"),
        ("Connection: Upgrade", "Connection: keep-alive\r\nCONNECTION:UPGRADE"),
        ("Connection: Upgrade", "Connection: Upgrade\r\nContent-Length: 00"),
        ("GET /echo", "GET /echo/"),
        // Of 22 characters the last has four bits too many: zero or not (section 4.1's example).
        ("dGhlIHNhbXBsZSBub25jZQ==", "AQIDBAUGBwgJCgsMDQ4PEA=="),
        ("dGhlIHNhbXBsZSBub25jZQ==", "AQIDBAUGBwgJCgsMDQ4PEC=="),
    ] {
        assert!(matches!(parse_with(from, to), Request::Upgrade { .. }), "{to}");
    }
}

#[test]
fn each_fault_has_its_status() {
    for (from, to, status) in [
        ("GET", "POST", Status::MethodNotAllowed),
        ("GET", "get", Status::NotImplemented),
        ("/echo", "/nowhere", Status::NotFound),
        ("HTTP/1.1", "HTTP/1.0", Status::UpgradeRequired),
        ("HTTP/1.1", "HTTP/2.0", Status::VersionNotSupported),
        ("HTTP/1.1", "HTTP/1.x", Status::BadRequest),
        ("Host: example.com\r\n", "", Status::BadRequest),
        ("Upgrade: websocket\r\n", "", Status::UpgradeRequired),
        ("websocket", "h2c", Status::UpgradeRequired),
        ("Connection: Upgrade\r\n", "", Status::BadRequest),
        ("Connection: Upgrade", "Connection: close, Upgrade", Status::BadRequest),
        ("Version: 13", "Version: 8", Status::UpgradeRequired),
        ("Sec-WebSocket-Version: 13\r\n", "", Status::UpgradeRequired),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ==", Status::BadRequest),
        ("dGhlIHNhbXBsZSBub25jZQ==", "!", Status::BadRequest),
    ] {
        refused(parse_with(from, to), status, to);
    }
}

/// Lines that some would read otherwise (RFC 9112, sections 2.2, 5.1 and 5.2), and bytes that belong nowhere.
#[test]
fn a_head_has_one_reading() {
    for (from, to) in [
        ("Host", "Ho st"),
        ("Host:", "Host :"),
        ("Host", " Host"),
        ("Upgrade: websocket", "Upgrade:\r\n websocket"),
        ("example.com\r\n", "example.com\n"),
        ("HTTP/1.1\r\n", "HTTP/1.1\n"),
        ("==\r\n\r\n", "==\r\n\n"),
        ("GET", "\nGET"),
        ("example.com\r\n", "example.com\rX: y\r\n"),
        ("example.com", "example\0.com"),
        ("GET /", "GET  /"),
        ("GET /", "GET\t/"),
        ("HTTP/1.1", "HTTP/1.1 "),
        ("Host", ": a\r\nHost"),
    ] {
        refused(parse_with(from, to), Status::BadRequest, to);
    }
    let unfinished = &GOOD.as_bytes()[..GOOD.len() - 2];
    refused(parse(&[unfinished, b"X: y\n"].concat()), Status::BadRequest, "as soon as it is seen");
}

/// RFC 9112, sections 6.1 and 6.3: a framing that is faulty, and content that would be taken for frames.
#[test]
fn content_is_refused() {
    for lines in [
        "Content-Length: 5",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 0\r\nContent-Length: 5",
        "Content-Length: 0, 0",
        "Content-Length: -0",
        "Content-Length: +5",
        "Content-Length: 0x5",
        "Content-Length:",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: CHUNKED",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding:",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
    ] {
        refused(parse_with_lines(lines), Status::BadRequest, lines);
    }
    refused(parse_with_lines("Transfer-Encoding: gzip, chunked"), Status::NotImplemented, "6.1");
    let page = |line: &str| format!("GET /health HTTP/1.0\r\n{line}\r\n\r\n");
    let content = page("Content-Length: 5");
    assert_eq!(parse(content.as_bytes()), Request::Page(Page::Health, Method::Get));
    let chunked = page("Transfer-Encoding: chunked");
    refused(parse(chunked.as_bytes()), Status::BadRequest, "HTTP/1.0 has no codings");
}

/// What may be there once only: RFC 9112, section 3.2; RFC 6455, sections 11.3.1 and 11.3.5; RFC 6454, section 7.3.
#[test]
fn fields_that_contradict_one_another() {
    for lines in [
        "Host: example.com",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Version: 8",
        "Origin: http://a\r\nOrigin: http://b",
    ] {
        refused(parse_with_lines(lines), Status::BadRequest, lines);
    }
    let origin = Some(&b"http://a"[..]);
    assert!(
        matches!(parse_with_lines("Origin: http://a"), Request::Upgrade { origin: o, .. } if o == origin)
    );
}

#[test]
fn hosts_that_are_none() {
    for host in ["a b", "a/b", "user@a", "a:b", "a:1:2", ":80", "[::1", "::1", "[::1]x", "a#b", "\u{fc}"] {
        refused(parse_with("example.com", host), Status::BadRequest, host);
    }
    let twice = b"GET /health HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n";
    refused(parse(twice), Status::BadRequest, "two in HTTP/1.0");
}

/// RFC 9112, section 3.2: the forms of other methods, and what is no target.
#[test]
fn targets_that_are_none() {
    for target in [
        "*",
        "example.com:80",
        "echo",
        "/echo#fragment",
        "/echo?a#fragment",
        "/echo?\u{fc}",
        "ftp://example.com/echo",
        "ws://example.com/echo",
        "http://",
        "http:///echo",
        "http://user@example.com/echo",
        "http:/echo",
    ] {
        refused(parse_with("/echo", target), Status::BadRequest, target);
    }
    for target in ["http://a/nowhere?/echo", "//echo", "/echo//", "/echo/a", "/e%63ho"] {
        refused(parse_with("/echo", target), Status::NotFound, target);
    }
}

/// RFC 9113, section 3.4: what a client that knows of HTTP/2 sends.
#[test]
fn the_preface_of_http_2() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for len in 0..=preface.len() {
        let answer = parse(&preface[..len]);
        let refused = Request::Refused(Status::VersionNotSupported, Method::Get);
        assert!(answer == refused || answer == Request::Partial && len < 18, "{len}: {answer:?}");
    }
}

#[test]
fn a_head_has_a_limit() {
    let padded = |len: usize| {
        let padding = "x".repeat(len - GOOD.len() - "A: \r\n".len());
        GOOD.replace("Host", &format!("A: {padding}\r\nHost"))
    };
    assert!(matches!(parse(padded(MAX_HEAD_LEN).as_bytes()), Request::Upgrade { .. }));
    refused(parse(padded(MAX_HEAD_LEN + 1).as_bytes()), Status::HeadTooLong, "one byte more");
    let endless = padded(2 * MAX_HEAD_LEN);
    refused(parse(&endless.as_bytes()[..MAX_HEAD_LEN]), Status::HeadTooLong, "endless");
    let many = "X: y\r\n".repeat(64);
    refused(parse_with("Host", &format!("{many}Host")), Status::HeadTooLong, "many fields");
    let long = |of: &str| format!("{of}{}", "x".repeat(MAX_HEAD_LEN));
    refused(parse(long("GET /").as_bytes()), Status::TargetTooLong, "target");
    refused(parse(long("GET").as_bytes()), Status::NotImplemented, "method");
    refused(parse_with("GET", &"G".repeat(7000)), Status::NotImplemented, "method");
}

#[test]
fn pages_and_their_answers() {
    assert_eq!(parse(b"GET /health HTTP/1.0\r\n\r\n"), Request::Page(Page::Health, Method::Get));
    assert_eq!(
        parse(b"HEAD /metrics?a HTTP/1.1\r\nHost: a\r\n\r\n"),
        Request::Page(Page::Metrics, Method::Head)
    );
    let full =
        String::from_utf8(response(Status::Unavailable, "text/plain", b"full\n", Method::Head)).unwrap();
    assert!(full.starts_with("HTTP/1.1 503 ") && full.contains("\r\nRetry-After: 1\r\n"));
    assert!(full.contains("\r\nConnection: close\r\n") && full.ends_with("\r\nContent-Length: 5\r\n\r\n"));
}

#[test]
fn subprotocols_are_a_list_in_one_line_or_several() {
    let offered = |lines: &str| match parse_with_lines(lines) {
        Request::Upgrade { subprotocols, .. } => {
            subprotocols.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect::<Vec<_>>()
        }
        other => panic!("{lines}: {other:?}"),
    };
    assert_eq!(offered("X: y"), [""; 0]);
    assert_eq!(offered("Sec-WebSocket-Protocol: chat, superchat"), ["chat", "superchat"]);
    assert_eq!(offered("Sec-WebSocket-Protocol: a\r\nSEC-WEBSOCKET-PROTOCOL:b"), ["a", "b"]);
}

#[test]
fn the_answer_names_the_subprotocol_that_is_selected() {
    let text = |subprotocol: Option<&Subprotocol>| {
        String::from_utf8(switching_protocols("key", subprotocol)).expect("text")
    };
    let chat = "chat".parse().expect("a token");
    assert!(text(Some(&chat)).ends_with("\r\nSec-WebSocket-Protocol: chat\r\n\r\n"));
    assert!(text(None).ends_with("\r\nSec-WebSocket-Accept: key\r\n\r\n"));
}
