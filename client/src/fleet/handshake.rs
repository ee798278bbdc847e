//! The opening handshake, from the client's side (RFC 6455, section 4.1).

use super::failures::Class;
use super::url::Url;
use crate::words::{escaped, quoted};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The longest response head that is read.
pub(super) const MAX_HEAD_LEN: usize = 8192;

/// A reason phrase is cut after this many characters.
const MAX_REASON_LEN: usize = 60;

/// The handshake of a shard. All its connections send the same key, so the expected response is computed once.
#[derive(Debug)]
pub(super) struct Handshake {
    /// The request.
    pub request: Vec<u8>,
    /// The expected `Sec-WebSocket-Accept`.
    accept: String,
    /// The last valid response. Most servers send the same one each time, so a comparison suffices.
    verified: Vec<u8>,
}

/// The verdict on a response.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The head is incomplete.
    Partial,
    /// The connection is open; the head has this many bytes.
    Accepted(usize),
    /// The connection failed.
    Refused(Class, String),
}

impl Handshake {
    /// For connections to `url`, with a key from `random`.
    pub(super) fn new(url: &Url, random: [u8; 16]) -> Handshake {
        let key = STANDARD.encode(random);
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n",
            url.path, url.authority
        );
        let accept = common::http::accept_key(key.as_bytes());
        Handshake { request: request.into_bytes(), accept, verified: Vec::new() }
    }

    /// Checks the response as received so far.
    pub(super) fn judge(&mut self, answer: &[u8]) -> Answer {
        if !self.verified.is_empty() && answer.starts_with(&self.verified) {
            return Answer::Accepted(self.verified.len());
        }
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let head_len = match response.parse(answer) {
            Ok(httparse::Status::Complete(head_len)) => head_len,
            Ok(httparse::Status::Partial) if answer.len() < MAX_HEAD_LEN => return Answer::Partial,
            Ok(httparse::Status::Partial) => {
                return bad(format!("the response head is longer than {MAX_HEAD_LEN} bytes"));
            }
            Err(error) => return bad(format!("the response is not HTTP: {error}")),
        };
        match response.code {
            Some(101) => {}
            Some(503) => return Answer::Refused(Class::Rejected503, answered(&response)),
            _ => return bad(answered(&response)),
        }
        match self.fault(response.headers) {
            Some(fault) => bad(fault.to_owned()),
            None => {
                self.verified.clear();
                self.verified.extend_from_slice(&answer[..head_len]);
                Answer::Accepted(head_len)
            }
        }
    }

    /// The first error in the headers of a 101 (section 4.1, the client's checks 2 to 6).
    fn fault(&self, headers: &[httparse::Header<'_>]) -> Option<&'static str> {
        let values = |name: &'static str| {
            headers
                .iter()
                .filter(move |header| header.name.eq_ignore_ascii_case(name))
                .map(|header| header.value.trim_ascii())
        };
        if !values("Upgrade").any(|value| value.eq_ignore_ascii_case(b"websocket")) {
            return Some("the 101 has no 'Upgrade: websocket'");
        }
        let mut tokens = values("Connection").flat_map(|value| value.split(|&byte| byte == b','));
        if !tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade")) {
            return Some("the 101 has no 'Connection: Upgrade'");
        }
        let mut accepts = values("Sec-WebSocket-Accept");
        if accepts.next() != Some(self.accept.as_bytes()) || accepts.next().is_some() {
            return Some("the 101 has a wrong or missing Sec-WebSocket-Accept");
        }
        if values("Sec-WebSocket-Extensions").any(|value| !value.is_empty()) {
            return Some("the 101 names an extension, but none was offered");
        }
        values("Sec-WebSocket-Protocol").next().map(|_| "the 101 names a subprotocol, but none was offered")
    }
}

/// Describes a response other than 101: its status, and for a 3xx its Location.
fn answered(response: &httparse::Response<'_, '_>) -> String {
    let code = response.code.unwrap_or_default();
    let reason = escaped(response.reason.unwrap_or_default().trim());
    let reason = reason.chars().take(MAX_REASON_LEN).collect::<String>();
    let mut said = format!("the server answered {code} {reason}").trim_end().to_owned();
    let location = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("Location"));
    if let Some(location) = location.filter(|_| (300..400).contains(&code)) {
        said += &format!(", Location {}", quoted(location.value));
    }
    said
}

fn bad(why: String) -> Answer {
    Answer::Refused(Class::BadHandshake, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of section 1.3, whose accept the RFC gives.
    fn handshake() -> Handshake {
        let url = "ws://127.0.0.1:8000/echo".parse().expect("url");
        let handshake = Handshake::new(&url, *b"the sample nonce");
        let request = std::str::from_utf8(&handshake.request).expect("text");
        assert!(request.starts_with("GET /echo HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n"));
        assert!(request.contains("\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"));
        handshake
    }

    const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    #[test]
    fn the_response_of_section_1_3_is_accepted_in_any_case_and_split() {
        let shouted = GOOD.replace("websocket", "WebSocket").replace("n: U", "N:keep-alive ,  u");
        for good in [GOOD, &shouted] {
            let mut handshake = handshake();
            for cut in 0..good.len() {
                assert_eq!(handshake.judge(&good.as_bytes()[..cut]), Answer::Partial, "{cut}");
            }
            for _ in 0..2 {
                let more = [good.as_bytes(), b"\x89\x00"].concat();
                assert_eq!(handshake.judge(&more), Answer::Accepted(good.len()));
            }
        }
    }

    #[test]
    fn bad_responses_are_classified() {
        let refused = |answer: &str| match handshake().judge(answer.as_bytes()) {
            Answer::Refused(class, why) => (class, why),
            other => panic!("{answer}: {other:?}"),
        };
        assert_eq!(refused("HTTP/1.1 503 Full\r\nRetry-After: 1\r\n\r\n").0, Class::Rejected503);
        for (answer, why) in [
            ("HTTP/1.1 200 OK\r\n\r\n".to_owned(), "answered 200"),
            ("SSH-2.0-OpenSSH_9.9\r\n".to_owned(), "not HTTP"),
            (GOOD.replace("Upgrade: websocket", "Upgrade: h2c"), "Upgrade: websocket"),
            (GOOD.replace("Connection: Upgrade", "Connection: close"), "Connection: Upgrade"),
            (GOOD.replace("s3p", "S3p"), "Accept"),
            (GOOD.replace("Sec-WebSocket-Accept", "X-Accept"), "Accept"),
            (GOOD.replace("Upgrade\r\n", "Upgrade\r\nSec-WebSocket-Extensions: foo\r\n"), "extension"),
            (GOOD.replace("Upgrade\r\n", "Upgrade\r\nSec-WebSocket-Protocol: chat\r\n"), "subprotocol"),
            (format!("HTTP/1.1 101 S\r\nX: {}", "x".repeat(MAX_HEAD_LEN)), "longer"),
        ] {
            let (class, text) = refused(&answer);
            assert_eq!(class, Class::BadHandshake, "{answer}");
            assert!(text.contains(why), "{answer}: {text}");
        }
    }
}
