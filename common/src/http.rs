//! The request that opens a connection: a WebSocket handshake (RFC 6455, section 4.2), or plain HTTP/1.1.

use crate::config::MAX_HEAD_LEN;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use httparse::Status as Parsed;
use sha1::{Digest, Sha1};

/// What the accept key is hashed with (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// The head has not all arrived.
    Partial,
    /// A valid handshake, whose head took `head_len` octets; what lies behind them are frames.
    Upgrade {
        /// For `Sec-WebSocket-Accept`.
        accept_key: String,
        /// Octets of the head.
        head_len: usize,
    },
    /// `GET` or `HEAD` of a path that answers with text.
    Page(Page, Method),
    /// Anything else, refused with this status. A `HEAD` gets no body here either.
    Refused(Status, Method),
}

/// The paths that answer plain HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// `/health`: 200, or 503 while draining.
    Health,
    /// `/metrics`: Prometheus text.
    Metrics,
}

impl Page {
    /// The page at `path`, if there is one.
    pub fn at(path: &str) -> Option<Page> {
        match path {
            "/health" => Some(Page::Health),
            "/metrics" => Some(Page::Metrics),
            _ => None,
        }
    }
}

/// Whether the answer has a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// It has.
    Get,
    /// Only its head is sent.
    Head,
}

/// A status of HTTP (RFC 9110, section 15; 431: RFC 6585), as far as the servers send them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Here it is.
    Ok,
    /// The request or the handshake is malformed.
    BadRequest,
    /// No such path.
    NotFound,
    /// Neither `GET` nor `HEAD`.
    MethodNotAllowed,
    /// Only WebSocket of version 13 is served here.
    UpgradeRequired,
    /// The head is longer than [`MAX_HEAD_LEN`].
    HeadTooLong,
    /// Full, or draining.
    Unavailable,
}

impl Status {
    /// The status line's code and reason.
    pub fn line(self) -> &'static str {
        match self {
            Status::Ok => "200 OK",
            Status::BadRequest => "400 Bad Request",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed => "405 Method Not Allowed",
            Status::UpgradeRequired => "426 Upgrade Required",
            Status::HeadTooLong => "431 Request Header Fields Too Large",
            Status::Unavailable => "503 Service Unavailable",
        }
    }

    /// The header lines that go with it.
    fn headers(self) -> &'static str {
        match self {
            Status::MethodNotAllowed => "Allow: GET, HEAD\r\n",
            Status::UpgradeRequired => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            Status::Unavailable => "Retry-After: 1\r\n",
            _ => "",
        }
    }
}

/// Reads the request at the start of `bytes`.
pub fn parse(bytes: &[u8]) -> Request {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let head_len = match request.parse(bytes) {
        Ok(Parsed::Complete(head_len)) if head_len <= MAX_HEAD_LEN => head_len,
        Ok(Parsed::Partial) if bytes.len() < MAX_HEAD_LEN => return Request::Partial,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => {
            return Request::Refused(Status::HeadTooLong, Method::Get);
        }
        Err(_) => return Request::Refused(Status::BadRequest, Method::Get),
    };
    let method = match request.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        _ => return Request::Refused(Status::MethodNotAllowed, Method::Get),
    };
    route(&request, method, head_len).unwrap_or_else(|status| Request::Refused(status, method))
}

fn route(request: &httparse::Request<'_, '_>, method: Method, head_len: usize) -> Result<Request, Status> {
    // RFC 9112, section 3.2: a request of HTTP/1.1 names its host, once.
    if request.version == Some(1) && values(request, "Host").count() != 1 {
        return Err(Status::BadRequest);
    }
    let path = path(request.path.unwrap_or_default());
    match (path, Page::at(path)) {
        (_, Some(page)) => Ok(Request::Page(page, method)),
        ("/" | "/echo", None) => {
            let accept_key = handshake(request, method)?;
            Ok(Request::Upgrade { accept_key, head_len })
        }
        _ => Err(Status::NotFound),
    }
}

/// Checks a handshake as RFC 6455, section 4.2.1 numbers it; returns the accept key (section 4.2.2).
fn handshake(request: &httparse::Request<'_, '_>, method: Method) -> Result<String, Status> {
    if !has_token(request, "Upgrade", "websocket") {
        return Err(Status::UpgradeRequired);
    }
    if method != Method::Get || request.version != Some(1) || !has_token(request, "Connection", "upgrade") {
        return Err(Status::BadRequest);
    }
    let one = |name| {
        let mut values = values(request, name);
        values.next().filter(|_| values.next().is_none())
    };
    match one("Sec-WebSocket-Version") {
        Some(b"13") => {}
        _ => return Err(Status::UpgradeRequired),
    }
    let key = one("Sec-WebSocket-Key").ok_or(Status::BadRequest)?;
    if BASE64.decode(key).is_ok_and(|nonce| nonce.len() == 16) {
        Ok(accept_key(key))
    } else {
        Err(Status::BadRequest)
    }
}

/// The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key`.
pub fn accept_key(key: &[u8]) -> String {
    BASE64.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// The path of a request target, which may be in absolute form (RFC 9112, section 3.2) and have a query.
fn path(target: &str) -> &str {
    let target = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => target,
    };
    target.split('?').next().unwrap_or_default()
}

fn values<'r>(request: &'r httparse::Request<'_, '_>, name: &str) -> impl Iterator<Item = &'r [u8]> {
    request
        .headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|h| h.value.trim_ascii())
}

/// Whether a header that lists tokens, in one line or several, has this one.
fn has_token(request: &httparse::Request<'_, '_>, name: &str, token: &str) -> bool {
    values(request, name)
        .flat_map(|value| value.split(|&octet| octet == b','))
        .any(|value| value.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// The answer to a valid handshake.
pub fn switching_protocols(accept_key: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\n\
         Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept_key}\r\n\r\n"
    )
    .into_bytes()
}

/// A plain answer, after which the connection is closed.
pub fn response(status: Status, content_type: &str, body: &[u8], method: Method) -> Vec<u8> {
    let mut response = format!(
        "HTTP/1.1 {}\r\n{}Content-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        status.line(),
        status.headers(),
        body.len()
    )
    .into_bytes();
    if method == Method::Get {
        response.extend_from_slice(body);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "GET /echo HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

    fn parse_with(from: &str, to: &str) -> Request {
        assert!(GOOD.contains(from), "{from}");
        parse(GOOD.replace(from, to).as_bytes())
    }

    #[test]
    fn the_example_of_section_1_3() {
        let accept_key = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_string();
        assert_eq!(parse(GOOD.as_bytes()), Request::Upgrade { accept_key, head_len: GOOD.len() });
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
            ("/echo", "http://example.com"),
            ("websocket", "WebSocket"),
            ("Connection: Upgrade", "connection: keep-alive, upgrade"),
            ("Connection: Upgrade", "Connection: keep-alive\r\nCONNECTION:UPGRADE"),
        ] {
            assert!(matches!(parse_with(from, to), Request::Upgrade { .. }), "{to}");
        }
    }

    #[test]
    fn each_fault_has_its_status() {
        for (from, to, status) in [
            ("GET", "POST", Status::MethodNotAllowed),
            ("/echo", "/nowhere", Status::NotFound),
            ("HTTP/1.1", "HTTP/1.0", Status::BadRequest),
            ("Host: example.com\r\n", "", Status::BadRequest),
            ("Host: example.com\r\n", "Host: a\r\nHost: b\r\n", Status::BadRequest),
            ("Upgrade: websocket\r\n", "", Status::UpgradeRequired),
            ("websocket", "h2c", Status::UpgradeRequired),
            ("Connection: Upgrade\r\n", "", Status::BadRequest),
            ("Version: 13", "Version: 8", Status::UpgradeRequired),
            ("Sec-WebSocket-Version: 13\r\n", "", Status::UpgradeRequired),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ==", Status::BadRequest),
            ("dGhlIHNhbXBsZSBub25jZQ==", "!", Status::BadRequest),
            ("Host", "Ho st", Status::BadRequest),
        ] {
            assert_eq!(parse_with(from, to), Request::Refused(status, Method::Get), "{from} -> {to}");
        }
    }

    #[test]
    fn a_head_has_a_limit() {
        let padded = |len: usize| {
            let padding = "x".repeat(len - GOOD.len() - "A: \r\n".len());
            GOOD.replace("Host", &format!("A: {padding}\r\nHost"))
        };
        assert!(matches!(parse(padded(MAX_HEAD_LEN).as_bytes()), Request::Upgrade { .. }));
        assert_eq!(
            parse(padded(MAX_HEAD_LEN + 1).as_bytes()),
            Request::Refused(Status::HeadTooLong, Method::Get)
        );
        let endless = padded(2 * MAX_HEAD_LEN);
        assert_eq!(
            parse(&endless.as_bytes()[..MAX_HEAD_LEN]),
            Request::Refused(Status::HeadTooLong, Method::Get)
        );
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
        assert!(full.ends_with("Content-Length: 5\r\nConnection: close\r\n\r\n"));
    }
}
