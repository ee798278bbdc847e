//! The opening handshake, from the client's side (RFC 6455, section 4.1).

use super::advice::{EXPECTS_TLS, NO_SUBPROTOCOL};
use super::class::Class;
use super::refusal::refusal;
use super::request::RequestFields;
use super::url::Url;
use crate::tls;
use crate::words::quoted;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The longest response head that is read, together with those of interim responses.
pub(super) const MAX_HEAD_LEN: usize = 8192;

/// The handshake of a shard. All its connections send the same key, so the expected response is computed once.
#[derive(Debug)]
pub(super) struct Handshake {
    /// The request.
    pub request: Vec<u8>,
    /// The expected `Sec-WebSocket-Accept`.
    accept: String,
    /// The subprotocols offered.
    offered: Vec<String>,
    /// The last valid response. Most servers send the same one each time, so a comparison suffices.
    verified: Vec<u8>,
}

/// The verdict on a response.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The head is incomplete, or the first line of the body of a response other than 101.
    Partial,
    /// The connection is open; the head has this many bytes.
    Accepted(usize),
    /// The connection failed.
    Refused(Class, String),
}

impl Handshake {
    /// For connections to `url`, with a key from `random`.
    pub(super) fn new(url: &Url, fields: &RequestFields, random: [u8; 16]) -> Handshake {
        let key = STANDARD.encode(random);
        Handshake {
            request: fields.request(url, &key),
            accept: common::http::accept_key(key.as_bytes()),
            offered: fields.offered(),
            verified: Vec::new(),
        }
    }

    /// Checks the response as received so far. `may_wait`: whether a response other than 101 is partial until the first
    /// line of its body has arrived.
    pub(super) fn judge(&mut self, answer: &[u8], may_wait: bool) -> Answer {
        if !self.verified.is_empty() && answer.starts_with(&self.verified) {
            return Answer::Accepted(self.verified.len());
        }
        let mut end = 0;
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 64];
            let mut response = httparse::Response::new(&mut headers);
            end += match response.parse(&answer[end..]) {
                Ok(httparse::Status::Complete(head_len)) => head_len,
                Ok(httparse::Status::Partial) if answer.len() < MAX_HEAD_LEN => return Answer::Partial,
                Ok(httparse::Status::Partial) => {
                    return bad(format!("the response head is longer than {MAX_HEAD_LEN} bytes"));
                }
                Err(_) if tls::is_alert(answer) => {
                    let why = format!("the server answered with a TLS alert: {EXPECTS_TLS}");
                    return Answer::Refused(Class::Tls, why);
                }
                Err(error) => return bad(format!("the response is not HTTP: {error}")),
            };
            match response.code {
                Some(101) => return self.switched(response.headers, &answer[..end]),
                // Interim responses, such as 103 Early Hints, precede the final one (RFC 9110, section 15.2).
                Some(100..=199) => {}
                _ => {
                    let refused = refusal("the server", &response, &answer[end..], may_wait);
                    return refused.map_or(Answer::Partial, |(class, why)| Answer::Refused(class, why));
                }
            }
        }
    }

    /// The verdict on a 101; `head` is all that was received up to its end.
    fn switched(&mut self, headers: &[httparse::Header<'_>], head: &[u8]) -> Answer {
        match self.fault(headers) {
            Some(fault) => bad(fault),
            None => {
                self.verified.clear();
                self.verified.extend_from_slice(head);
                Answer::Accepted(head.len())
            }
        }
    }

    /// The first error in the headers of a 101 (section 4.1, the client's checks 2 to 6).
    fn fault(&self, headers: &[httparse::Header<'_>]) -> Option<String> {
        let values = |name: &'static str| {
            headers
                .iter()
                .filter(move |header| header.name.eq_ignore_ascii_case(name))
                .map(|header| header.value.trim_ascii())
        };
        let mut upgrades = values("Upgrade").map(|value| value.eq_ignore_ascii_case(b"websocket"));
        if upgrades.next() != Some(true) || upgrades.any(|is_websocket| !is_websocket) {
            return Some("the 101 has no 'Upgrade: websocket', or another Upgrade too".to_owned());
        }
        let mut tokens = values("Connection").flat_map(|value| value.split(|&byte| byte == b','));
        if !tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade")) {
            return Some("the 101 has no 'Connection: Upgrade'".to_owned());
        }
        let mut accepts = values("Sec-WebSocket-Accept");
        if accepts.next() != Some(self.accept.as_bytes()) || accepts.next().is_some() {
            return Some("the 101 has a wrong or missing Sec-WebSocket-Accept".to_owned());
        }
        if values("Sec-WebSocket-Extensions").any(|value| !value.is_empty()) {
            return Some("the 101 names an extension, but none was offered".to_owned());
        }
        self.subprotocol_fault(values("Sec-WebSocket-Protocol"))
    }

    /// The server must select one of the subprotocols offered. Section 4.1 fails a connection that gets another one;
    /// browsers also fail one that gets none (WebSockets Standard, "establish a WebSocket connection").
    fn subprotocol_fault<'h>(&self, mut selected: impl Iterator<Item = &'h [u8]>) -> Option<String> {
        let offered = self.offered.join(", ");
        match (selected.next(), selected.next()) {
            (None, _) if self.offered.is_empty() => None,
            (None, _) => Some(format!("{NO_SUBPROTOCOL} ({offered})")),
            (Some(_), _) if self.offered.is_empty() => {
                Some("the 101 names a subprotocol, but none was offered".to_owned())
            }
            (Some(_), Some(_)) => Some("the 101 has more than one Sec-WebSocket-Protocol".to_owned()),
            (Some(name), None) if self.offered.iter().any(|known| known.as_bytes() == name) => None,
            (Some(name), None) => {
                Some(format!("the server selected the subprotocol {}, and not {offered}", quoted(name)))
            }
        }
    }
}

fn bad(why: String) -> Answer {
    Answer::Refused(Class::BadHandshake, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of section 1.3, whose accept the RFC gives, and these subprotocols offered.
    fn offering(subprotocols: &[&str]) -> Handshake {
        let url = "ws://127.0.0.1:8000/echo".parse().expect("url");
        let subprotocols = subprotocols.iter().map(|name| name.parse().expect(name)).collect();
        let handshake = Handshake::new(
            &url,
            &RequestFields { subprotocols, ..RequestFields::default() },
            *b"the sample nonce",
        );
        let request = std::str::from_utf8(&handshake.request).expect("text");
        assert!(request.contains("\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"));
        handshake
    }

    const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    /// [`GOOD`] with another header line.
    fn with(line: &str) -> String {
        GOOD.replace("Upgrade\r\n", &format!("Upgrade\r\n{line}\r\n"))
    }

    /// The verdict on a response, which must be the same in any two pieces, and not come before its last byte.
    fn judged(offered: &[&str], answer: &str) -> Answer {
        let verdict = offering(offered).judge(answer.as_bytes(), true);
        for cut in 0..answer.len() {
            let mut handshake = offering(offered);
            match handshake.judge(&answer.as_bytes()[..cut], true) {
                Answer::Partial => assert_eq!(handshake.judge(answer.as_bytes(), true), verdict, "{cut}"),
                early => {
                    assert!(matches!(early, Answer::Refused(..)) && early == verdict, "{cut}: {early:?}")
                }
            }
        }
        verdict
    }

    #[test]
    fn good_responses_are_accepted_in_any_case_and_pieces() {
        let shouted = GOOD.replace("websocket", "WebSocket").replace("n: U", "N:keep-alive ,  u");
        for (offered, good) in [
            (&[][..], GOOD.to_owned()),
            (&[], shouted),
            (&[], with("Sec-WebSocket-Extensions:")),
            (&["chat"], with("Sec-WebSocket-Protocol: chat")),
            (&["v1.chat", "chat"], with("sec-websocket-protocol:chat ")),
        ] {
            assert_eq!(judged(offered, &good), Answer::Accepted(good.len()), "{good}");
            let mut handshake = offering(offered);
            for _ in 0..2 {
                let more = [good.as_bytes(), b"\x89\x00"].concat();
                assert_eq!(handshake.judge(&more, true), Answer::Accepted(good.len()));
                assert_eq!(handshake.judge(&good.as_bytes()[..good.len() - 1], true), Answer::Partial);
            }
        }
    }

    /// 1xx responses have no content, and end with their head.
    #[test]
    fn interim_responses_are_skipped() {
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n";
        let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
        for interim in [hints.to_owned(), go_on.to_owned(), [go_on, hints, hints].concat()] {
            let good = format!("{interim}{GOOD}");
            assert_eq!(judged(&[], &good), Answer::Accepted(good.len()), "{good}");
            // The next response is accepted whether it has the same interim responses, others or none.
            let mut handshake = offering(&[]);
            for next in [&good, GOOD, &format!("{hints}{GOOD}"), &good] {
                assert_eq!(handshake.judge(next.as_bytes(), true), Answer::Accepted(next.len()), "{next}");
            }
            for (last, why) in [
                ("HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nlast", "403 Forbidden, body 'last'"),
                (&GOOD.replace("s3p", "S3p"), "Accept"),
                ("SSH-2.0", "not HTTP"),
            ] {
                let Answer::Refused(_, said) = judged(&[], &format!("{interim}{last}")) else {
                    panic!("{interim}{last}")
                };
                assert!(said.contains(why), "{said}");
            }
        }
        let endless = hints.repeat(MAX_HEAD_LEN / hints.len() + 1);
        assert!(matches!(judged(&[], &endless), Answer::Refused(_, said) if said.contains("longer")));
    }

    #[test]
    fn bad_responses_are_classified() {
        for (offered, answer, why) in [
            (&[][..], "HTTP/1.1 200 OK\r\n\r\n".to_owned(), "answered 200"),
            (&[], "SSH-2.0-OpenSSH_9.9\r\n".to_owned(), "not HTTP"),
            (&[], GOOD.replace("Upgrade: websocket", "Upgrade: h2c"), "Upgrade: websocket"),
            (&[], GOOD.replace("Upgrade: websocket\r\n", ""), "Upgrade: websocket"),
            (&[], with("Upgrade: h2c"), "another Upgrade"),
            (&[], GOOD.replace("Connection: Upgrade", "Connection: close"), "Connection: Upgrade"),
            (&[], GOOD.replace("s3p", "S3p"), "Accept"),
            (&[], GOOD.replace("Sec-WebSocket-Accept", "X-Accept"), "Accept"),
            (&[], with("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "Accept"),
            (&[], with("Sec-WebSocket-Extensions: foo"), "extension"),
            (&["chat"], with("Sec-WebSocket-Extensions: permessage-deflate"), "extension"),
            (&[], with("Sec-WebSocket-Protocol: chat"), "but none was offered"),
            (&[], with("Sec-WebSocket-Protocol:"), "but none was offered"),
            (&["chat", "x"], GOOD.to_owned(), "none of the subprotocols offered (chat, x)"),
            (&["chat"], with("Sec-WebSocket-Protocol: Chat"), "the subprotocol 'Chat', and not chat"),
            (&["a", "b"], with("Sec-WebSocket-Protocol: a, b"), "the subprotocol 'a, b', and not a, b"),
            (&["a"], with("Sec-WebSocket-Protocol: \x1b[2J"), "not HTTP"),
            (&["a"], with("Sec-WebSocket-Protocol:"), "the subprotocol ''"),
            (&["a", "b"], with("Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b"), "more than one"),
            (&[], format!("HTTP/1.1 101 S\r\nX: {}", "x".repeat(MAX_HEAD_LEN)), "longer"),
        ] {
            match judged(offered, &answer) {
                Answer::Refused(Class::BadHandshake, text) => assert!(text.contains(why), "{answer}: {text}"),
                other => panic!("{answer}: {other:?}"),
            }
        }
    }
}
