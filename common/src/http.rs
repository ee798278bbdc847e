//! The request that opens a connection: a WebSocket handshake (RFC 6455, section 4.2), or plain HTTP/1.1.

mod head;
pub mod origin;
pub mod subprotocol;
#[cfg(test)]
mod tests;

use crate::config::MAX_HEAD_LEN;
use crate::subprotocol::Subprotocol;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, general_purpose::PAD};
use head::Head;
use httparse::Status as Parsed;
use sha1::{Digest, Sha1};

pub(crate) use head::host_and_port;

/// What the accept key is hashed with (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The bits of a key's last character that no byte has need not be zero: in the RFC's own example, `AQIDBAUGBwgJCgsMDQ4PEC==`
/// (section 4.1), they are not, and only the decoder of a strict library minds (RFC 4648, section 3.5).
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, PAD.with_decode_allow_trailing_bits(true));

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Request<'b> {
    /// The head has not all arrived.
    Partial,
    /// A valid handshake, whose head took `head_len` bytes; what lies behind them are frames.
    Upgrade {
        /// For `Sec-WebSocket-Accept`.
        accept_key: String,
        /// Bytes of the head.
        head_len: usize,
        /// The `Origin` that a browser sends.
        origin: Option<&'b [u8]>,
        /// The subprotocols that the client offers, in its order of preference.
        subprotocols: Vec<&'b [u8]>,
    },
    /// `GET` or `HEAD` of a path that answers with text.
    Page(Page, Method),
    /// Anything else, refused with this status. A `HEAD` gets no body here either.
    Refused(Status, Method),
}

/// The paths that answer plain HTTP, and the same with a slash behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// `/health`: 200, or 503 while draining.
    Health,
    /// `/ready`: 200, or 503 while draining or full.
    Ready,
    /// `/metrics`: Prometheus text.
    Metrics,
}

impl Page {
    /// The page at `path`, if there is one.
    pub fn at(path: &str) -> Option<Page> {
        match path {
            "/health" | "/health/" => Some(Page::Health),
            "/ready" | "/ready/" => Some(Page::Ready),
            "/metrics" | "/metrics/" => Some(Page::Metrics),
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
    /// The page that connects is of an origin that is not allowed.
    Forbidden,
    /// No such path.
    NotFound,
    /// A method of RFC 9110 or RFC 5789, but neither `GET` nor `HEAD`.
    MethodNotAllowed,
    /// The target alone is longer than [`MAX_HEAD_LEN`].
    TargetTooLong,
    /// Only WebSocket of version 13 is served here.
    UpgradeRequired,
    /// The head is longer than [`MAX_HEAD_LEN`].
    HeadTooLong,
    /// No method, or no transfer coding, that is known here.
    NotImplemented,
    /// Full, or draining.
    Unavailable,
    /// Another HTTP than 1.1 or 1.0.
    VersionNotSupported,
}

impl Status {
    /// The status line's code and reason.
    pub fn line(self) -> &'static str {
        match self {
            Status::Ok => "200 OK",
            Status::BadRequest => "400 Bad Request",
            Status::Forbidden => "403 Forbidden",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed => "405 Method Not Allowed",
            Status::TargetTooLong => "414 URI Too Long",
            Status::UpgradeRequired => "426 Upgrade Required",
            Status::HeadTooLong => "431 Request Header Fields Too Large",
            Status::NotImplemented => "501 Not Implemented",
            Status::Unavailable => "503 Service Unavailable",
            Status::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }

    /// The fields that go with it. Each answer is the last on its connection, and 426 names what it could become
    /// (RFC 9110, section 7.8).
    pub(crate) fn fields(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Status::MethodNotAllowed => &[("Allow", "GET, HEAD"), ("Connection", "close")],
            Status::UpgradeRequired => {
                &[("Upgrade", "websocket"), ("Connection", "close, Upgrade"), ("Sec-WebSocket-Version", "13")]
            }
            Status::Unavailable => &[("Retry-After", "1"), ("Connection", "close")],
            _ => &[("Connection", "close")],
        }
    }
}

/// Reads the request at the start of `bytes`.
pub fn parse(bytes: &[u8]) -> Request<'_> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut head = Head::new(&mut fields);
    let parsed = match head.parse(bytes) {
        Ok(Parsed::Complete(head_len)) if head_len <= MAX_HEAD_LEN => Ok(Some(head_len)),
        Ok(Parsed::Partial) if bytes.len() < MAX_HEAD_LEN => Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => Err(head::too_long(bytes)),
        Err(httparse::Error::Version) => Err(head::bad_version(bytes)),
        Err(_) => Err(Status::BadRequest),
    };
    let head_len = match parsed {
        Ok(head_len) if head::has_bare_lf(&bytes[..head_len.unwrap_or(bytes.len())]) => {
            return Request::Refused(Status::BadRequest, Method::Get);
        }
        Ok(Some(head_len)) => head_len,
        Ok(None) => return Request::Partial,
        Err(status) => return Request::Refused(status, Method::Get),
    };
    let method = match head.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        Some("POST" | "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH") => {
            return Request::Refused(Status::MethodNotAllowed, Method::Get);
        }
        // RFC 9110, section 9.1. A method is in upper case, or another one.
        _ => return Request::Refused(Status::NotImplemented, Method::Get),
    };
    route(&head, method, head_len).unwrap_or_else(|status| Request::Refused(status, method))
}

fn route<'b>(head: &Head<'_, 'b>, method: Method, head_len: usize) -> Result<Request<'b>, Status> {
    head::check_host(head)?;
    let has_content = head::has_content(head)?;
    let path = head::path(head.path.unwrap_or_default()).ok_or(Status::BadRequest)?;
    match (path, Page::at(path)) {
        (_, Some(page)) => Ok(Request::Page(page, method)),
        ("/" | "/echo" | "/echo/", None) => {
            let accept_key = handshake(head, method)?;
            // It would be taken for frames; and RFC 9110, section 9.3.1, knows no use for it in a GET but smuggling.
            if has_content {
                return Err(Status::BadRequest);
            }
            let origin = head::one(head, "Origin")?;
            let subprotocols = head::members(head, "Sec-WebSocket-Protocol").collect();
            Ok(Request::Upgrade { accept_key, head_len, origin, subprotocols })
        }
        _ => Err(Status::NotFound),
    }
}

/// Checks a handshake as RFC 6455, section 4.2.1 numbers it; returns the accept key (section 4.2.2).
fn handshake(head: &Head<'_, '_>, method: Method) -> Result<String, Status> {
    // RFC 9110, section 7.8: in HTTP/1.0 the field is ignored.
    if head.version != Some(1) || !head::has_token(head, "Upgrade", "websocket") {
        return Err(Status::UpgradeRequired);
    }
    let connection = |token| head::has_token(head, "Connection", token);
    // A connection that is to be closed after this answer cannot become another one (RFC 9112, section 9.6).
    if method != Method::Get || !connection("upgrade") || connection("close") {
        return Err(Status::BadRequest);
    }
    let key = head::one(head, "Sec-WebSocket-Key")?;
    match head::one(head, "Sec-WebSocket-Version")? {
        Some(b"13") => {}
        _ => return Err(Status::UpgradeRequired),
    }
    let is_nonce = |key: &&[u8]| BASE64.decode(key).is_ok_and(|nonce| nonce.len() == 16);
    key.filter(is_nonce).map(accept_key).ok_or(Status::BadRequest)
}

/// The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key`.
pub fn accept_key(key: &[u8]) -> String {
    BASE64.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// The answer to a valid handshake, with the subprotocol that is selected.
pub fn switching_protocols(accept_key: &str, subprotocol: Option<&Subprotocol>) -> Vec<u8> {
    let selected = subprotocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n")).unwrap_or_default();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\n\
         Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept_key}\r\n{selected}\r\n"
    )
    .into_bytes()
}

/// A plain answer, after which the connection is closed.
pub fn response(status: Status, content_type: &str, body: &[u8], method: Method) -> Vec<u8> {
    let fields: String = status.fields().iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut response = format!(
        "HTTP/1.1 {}\r\n{fields}Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        status.line(),
        body.len()
    )
    .into_bytes();
    if method == Method::Get {
        response.extend_from_slice(body);
    }
    response
}
