//! The request of the opening handshake (RFC 6455, section 4.1), with what the user adds to it.

use super::url::Url;
use crate::words::quoted;
use common::origin::Origin;
use common::subprotocol::{Subprotocol, is_token};
use std::str::FromStr;
use thiserror::Error;

/// The most bytes that the user can add. A new socket's send buffer takes the whole request in one call, and most
/// servers limit a request head to less.
const MAX_ADDED_LEN: usize = 16 * 1024;

/// Fields that cannot be added, and why.
const RESERVED: [(&str, &str); 5] = [
    ("Upgrade", "the client sends its own"),
    ("Connection", "the client sends its own"),
    ("Origin", "use --origin"),
    ("Content-Length", "a handshake has no body"),
    ("Transfer-Encoding", "a handshake has no body"),
];

/// A header field that the user adds (RFC 9110, section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    name: String,
    value: String,
}

/// Why a line is not a header field that can be added. Values are not repeated: they may be secret.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FieldError {
    /// There is no colon.
    #[error("a header is 'Name: value', and this one has no colon")]
    Colon,
    /// The name is not a token (RFC 9110, section 5.6.2).
    #[error("the name {0} must be letters, digits and !#$%&'*+-.^_`|~ only")]
    Name(String),
    /// The value has a line break, or another control character.
    #[error("the value of {0} has a line break or another control character")]
    Value(String),
    /// The field is one of the handshake itself, or announces a body.
    #[error("{0} cannot be added: {1}")]
    Reserved(String, &'static str),
}

impl FromStr for Field {
    type Err = FieldError;

    fn from_str(line: &str) -> Result<Field, FieldError> {
        let (name, value) = line.split_once(':').ok_or(FieldError::Colon)?;
        if !is_token(name) {
            return Err(FieldError::Name(quoted(name.as_bytes())));
        }
        if let Some(why) = reserved(name) {
            return Err(FieldError::Reserved(name.to_owned(), why));
        }
        let value = value.trim_matches([' ', '\t']);
        if value.chars().any(char::is_control) {
            return Err(FieldError::Value(name.to_owned()));
        }
        Ok(Field { name: name.to_owned(), value: value.to_owned() })
    }
}

/// Why a field of this name cannot be added; `None` if it can.
fn reserved(name: &str) -> Option<&'static str> {
    let is_handshake = |start: &str| start.eq_ignore_ascii_case("Sec-WebSocket-");
    match name.to_ascii_lowercase().as_str() {
        "sec-websocket-protocol" => Some("use --subprotocol"),
        "sec-websocket-extensions" => Some("the client supports no extension"),
        _ if name.get(..14).is_some_and(is_handshake) => Some("it is a part of the handshake itself"),
        _ => RESERVED.iter().find(|(of, _)| name.eq_ignore_ascii_case(of)).map(|(_, why)| *why),
    }
}

impl Field {
    fn is_host(&self) -> bool {
        self.name.eq_ignore_ascii_case("Host")
    }

    fn line(&self) -> String {
        format!("{}: {}\r\n", self.name, self.value)
    }
}

/// The header fields that the user adds to the request.
#[derive(Clone, Debug, Default)]
pub struct RequestFields {
    /// Those of `--header`. A `Host` replaces the URL's authority.
    pub headers: Vec<Field>,
    /// Subprotocols to offer, in order of preference (RFC 6455, section 1.9). The server must select one of them.
    pub subprotocols: Vec<Subprotocol>,
    /// The page that connects, as a browser would send it.
    pub origin: Option<Origin>,
}

impl RequestFields {
    /// Fails where the parts contradict one another, or are too long.
    ///
    /// # Errors
    /// Which ones, and why, in one line.
    pub fn check(&self) -> Result<(), String> {
        if self.headers.iter().filter(|field| field.is_host()).count() > 1 {
            return Err("--header replaces Host twice: give one".to_owned());
        }
        let names = &self.subprotocols;
        if let Some((_, name)) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
            return Err(format!("--subprotocol {name} is offered twice"));
        }
        let len = self.lines().len();
        if len > MAX_ADDED_LEN {
            return Err(format!(
                "--header, --subprotocol and --origin add {len} bytes to the handshake, more than {MAX_ADDED_LEN}"
            ));
        }
        Ok(())
    }

    /// The bytes of the request to `url` with this `Sec-WebSocket-Key`.
    pub(super) fn request(&self, url: &Url, key: &str) -> Vec<u8> {
        let replaced = self.headers.iter().find(|field| field.is_host()).map(|field| field.value.clone());
        let (path, host) = (&url.path, replaced.unwrap_or_else(|| url.authority.to_string()));
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{}\r\n",
            self.lines()
        )
        .into_bytes()
    }

    /// The added lines, without a `Host`.
    fn lines(&self) -> String {
        let mut lines = String::new();
        if let Some(origin) = &self.origin {
            lines += &format!("Origin: {origin}\r\n");
        }
        if !self.subprotocols.is_empty() {
            lines += &format!("Sec-WebSocket-Protocol: {}\r\n", self.offered().join(", "));
        }
        let fields = self.headers.iter().filter(|field| !field.is_host()).map(Field::line);
        lines.extend(fields);
        lines
    }

    /// The names of the subprotocols.
    pub(super) fn offered(&self) -> Vec<String> {
        self.subprotocols.iter().map(ToString::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn field(line: &str) -> Field {
        line.parse().expect(line)
    }

    #[test]
    fn names_and_values_are_checked() {
        for (line, sent) in [
            ("Authorization: Bearer x", "Authorization: Bearer x\r\n"),
            ("X-Trace:\t 1:2 \t", "X-Trace: 1:2\r\n"),
            ("x!#$%&'*+-.^_`|~9:", "x!#$%&'*+-.^_`|~9: \r\n"),
            ("X-City: Größe", "X-City: Größe\r\n"),
            ("Sec-Fetch-Mode: websocket", "Sec-Fetch-Mode: websocket\r\n"),
        ] {
            assert_eq!(field(line).line(), sent);
        }
        let name = |name: &str| FieldError::Name(format!("'{name}'"));
        let value = FieldError::Value("X".to_owned());
        for (line, error) in [
            ("", FieldError::Colon),
            ("Authorization Bearer x", FieldError::Colon),
            (": x", name("")),
            ("X : x", name("X ")),
            (" X: x", name(" X")),
            ("X\r\nY: x", name("X\\r\\nY")),
            ("(X): x", name("(X)")),
            ("Größe: x", name("Größe")),
            ("X: a\r\nY: b", value.clone()),
            ("X: a\n", value.clone()),
            ("X: a\rb", value.clone()),
            ("X: a\0b", value.clone()),
            ("X: a\tb", value.clone()),
            ("X: a\u{7f}", value.clone()),
            ("X: a\u{85}b", value),
        ] {
            assert_eq!(line.parse::<Field>(), Err(error), "{line:?}");
        }
    }

    #[test]
    fn fields_of_the_handshake_cannot_be_added() {
        for (line, way_out) in [
            ("Upgrade: h2c", "sends its own"),
            ("CONNECTION: close", "sends its own"),
            ("sec-websocket-key: x", "part of the handshake"),
            ("Sec-WebSocket-Version: 8", "part of the handshake"),
            ("Sec-WebSocket-Accept: x", "part of the handshake"),
            ("Sec-WebSocket-Extensions: permessage-deflate", "supports no extension"),
            ("Sec-WebSocket-Protocol: chat", "use --subprotocol"),
            ("origin: null", "use --origin"),
            ("Content-Length: 5", "no body"),
            ("Transfer-Encoding: chunked", "no body"),
        ] {
            let error = line.parse::<Field>().expect_err(line).to_string();
            assert!(error.contains("cannot be added") && error.contains(way_out), "{line}: {error}");
        }
    }

    #[test]
    fn the_request_has_what_was_added() {
        let url = "ws://127.0.0.1:8000/echo?a=1".parse().expect("url");
        let plain = String::from_utf8(RequestFields::default().request(&url, "KEY")).expect("text");
        let rest = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: KEY\r\n\
                    Sec-WebSocket-Version: 13\r\n";
        assert_eq!(plain, format!("GET /echo?a=1 HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n{rest}\r\n"));
        let added = RequestFields {
            headers: ["Cookie: a=b", "host: echo.example", "Cookie: c=d"].map(field).to_vec(),
            subprotocols: ["chat", "v2.chat"].map(|name| name.parse().expect(name)).to_vec(),
            origin: Some("HTTPS://Example.com:443".parse().expect("an origin")),
        };
        assert_eq!(added.check(), Ok(()));
        let request = String::from_utf8(added.request(&url, "KEY")).expect("text");
        let lines = "Origin: https://example.com\r\nSec-WebSocket-Protocol: chat, v2.chat\r\n\
                     Cookie: a=b\r\nCookie: c=d\r\n";
        assert_eq!(request, format!("GET /echo?a=1 HTTP/1.1\r\nHost: echo.example\r\n{rest}{lines}\r\n"));
    }

    #[test]
    fn contradictions_are_rejected() {
        let names = |names: &[&str]| names.iter().map(|name| name.parse().expect("a name")).collect();
        for (added, named) in [
            (
                RequestFields {
                    headers: ["Host: a", "HOST: b"].map(field).to_vec(),
                    ..RequestFields::default()
                },
                "Host twice",
            ),
            (
                RequestFields { subprotocols: names(&["a", "b", "a"]), ..RequestFields::default() },
                "--subprotocol a",
            ),
            (
                RequestFields {
                    headers: vec![field(&format!("X: {}", "x".repeat(MAX_ADDED_LEN)))],
                    ..RequestFields::default()
                },
                "more than 16384",
            ),
        ] {
            let error = added.check().expect_err(named);
            assert!(error.contains(named), "{error}");
        }
    }

    proptest! {
        /// Whatever is accepted is exactly one line of the request: no second header, and no end of the head.
        #[test]
        fn no_line_break_is_ever_accepted(
            before in "[a-zA-Z:\\- \t\r\n]{0,12}",
            end in prop::sample::select(vec!["\r\n", "\n", "\r", "\r\n\r\n", "\u{85}", "\0"]),
            after in any::<String>(),
        ) {
            for line in [format!("{before}{end}{after}"), format!("X-{before}: {after}{end}"), format!("X: {end}{after}")] {
                prop_assert!(line.parse::<Field>().is_err(), "{line:?}");
            }
        }

        #[test]
        fn what_is_accepted_is_one_line(line in any::<String>(), value in any::<String>()) {
            for line in [line, format!("X-Any: {value}")] {
                if let Ok(field) = line.parse::<Field>() {
                    let sent = field.line();
                    prop_assert_eq!(sent.find(['\r', '\n']), Some(sent.len() - 2), "{:?}", sent);
                    prop_assert!(sent.ends_with("\r\n"));
                }
            }
        }
    }
}
