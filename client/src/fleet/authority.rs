//! Host and port of a URL.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use thiserror::Error;

/// The port of `ws://` and `http://` where none is given (RFC 6455, section 3).
const DEFAULT_PORT: u16 = 80;
/// The same of `wss://`.
pub(super) const DEFAULT_TLS_PORT: u16 = 443;

/// The longest name, and the longest label of it (RFC 1035, section 2.3.4).
const MAX_NAME_LEN: usize = 253;
const MAX_LABEL_LEN: usize = 63;

/// Host and port (RFC 3986, section 3.2). Displayed as the `Host` header has it: without the default port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// An address, or a name to resolve.
    pub host: Host,
    /// From 1.
    pub port: u16,
    /// The port that is not displayed.
    default_port: u16,
}

/// The host of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name, as given.
    Name(String),
}

/// Why a text is no [`Authority`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AuthorityError {
    /// No valid host, or no valid port.
    #[error(
        "'{0}' is not HOST or HOST:PORT: an IP address or an ASCII host name, and a port from 1 to 65535"
    )]
    Invalid(String),
    /// An IPv6 address without brackets: its last group could be a port.
    #[error("'{0}' is an IPv6 address without brackets: write [::1]:8000")]
    Brackets(String),
}

impl FromStr for Authority {
    type Err = AuthorityError;

    fn from_str(text: &str) -> Result<Authority, AuthorityError> {
        Authority::parse(text, DEFAULT_PORT)
    }
}

impl Authority {
    /// Parses `HOST` or `HOST:PORT`, for a scheme with this default port.
    pub(super) fn parse(text: &str, default_port: u16) -> Result<Authority, AuthorityError> {
        if text.matches(':').count() > 1 && !text.contains('[') {
            return Err(AuthorityError::Brackets(text.to_owned()));
        }
        let parsed = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => Host::parse(host).zip(parse_port(port)),
            _ => Host::parse(text).map(|host| (host, default_port)),
        };
        let (host, port) = parsed.ok_or_else(|| AuthorityError::Invalid(text.to_owned()))?;
        Ok(Authority { host, port, default_port })
    }
}

impl Host {
    fn parse(text: &str) -> Option<Host> {
        if let Some(address) = text.strip_prefix('[') {
            let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
            return Some(Host::Ip(address.into()));
        }
        match text.parse() {
            Ok(address @ IpAddr::V4(_)) => Some(Host::Ip(address)),
            _ => is_name(text).then(|| Host::Name(text.to_owned())),
        }
    }
}

/// Whether a text is a host name. One that ends in a number is a mistyped IPv4 address: `256.0.0.1`.
fn is_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_of_label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_label = |label: &str| (1..=MAX_LABEL_LEN).contains(&label.len()) && label.bytes().all(is_of_label);
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= MAX_NAME_LEN
        && name.split('.').all(is_label)
        && !name.rsplit('.').next().is_some_and(is_number)
}

fn parse_port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&port| is_number && port > 0)
}

impl Authority {
    /// Host and port, with the default port too: `echo.example:80`.
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Whether it is `localhost` (RFC 6761, section 6.3).
    pub(super) fn is_localhost(&self) -> bool {
        matches!(&self.host, Host::Name(name) if name.trim_end_matches('.').eq_ignore_ascii_case("localhost"))
    }

    /// Whether it is this machine, by `localhost` or a loopback address.
    pub fn is_loopback(&self) -> bool {
        self.is_localhost() || matches!(self.host, Host::Ip(address) if address.is_loopback())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Ip(IpAddr::V4(address)) => write!(f, "{address}"),
            Host::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Host::Name(name) => write!(f, "{name}"),
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.host)?;
        if self.port == self.default_port { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(len: usize) -> String {
        vec!["a".repeat(MAX_LABEL_LEN); 5].join(".")[..len].to_owned()
    }

    #[test]
    fn hosts_and_ports_are_parsed() {
        for (text, shown, port) in [
            ("echo.example:8000", "echo.example:8000", 8000),
            ("Echo.Example.", "Echo.Example.", 80),
            ("my_server-1:80", "my_server-1", 80),
            ("10.0.0.7:443", "10.0.0.7:443", 443),
            ("[0:0::1]:80", "[::1]", 80),
            ("[::ffff:10.0.0.7]:1", "[::ffff:10.0.0.7]:1", 1),
            ("xn--gre-6ka8l:65535", "xn--gre-6ka8l:65535", 65_535),
        ] {
            let authority: Authority = text.parse().expect(text);
            assert_eq!((authority.to_string().as_str(), authority.port), (shown, port), "{text}");
        }
        assert!(name_of(MAX_NAME_LEN).parse::<Authority>().is_ok());
    }

    #[test]
    fn others_are_rejected() {
        let long = ["a".repeat(MAX_LABEL_LEN + 1), name_of(MAX_NAME_LEN + 1)];
        let wrong = [
            "",
            ":80",
            "a:",
            "a:0",
            "a:+1",
            "a:65536",
            "a..b",
            ".a",
            ".",
            "a b",
            "größe",
            "user@a",
            "a%20b",
            "256.0.0.1",
            "1.2.3",
            "10.0.0.7.",
            "[::1",
            "[::1]x",
            "[::1]:",
            "[a]:1",
            "[10.0.0.7]",
            "a[::1]:1",
        ];
        for text in wrong.into_iter().chain(long.iter().map(String::as_str)) {
            assert_eq!(text.parse::<Authority>(), Err(AuthorityError::Invalid(text.to_owned())));
        }
        for text in ["::1", "::1:9101", "fe80::1%eth0:80", "a:1:2"] {
            assert_eq!(text.parse::<Authority>(), Err(AuthorityError::Brackets(text.to_owned())));
        }
    }
}
