//! The address of a server: `ws://IP-or-localhost:port/path`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use thiserror::Error;

/// A server's URL (RFC 6455, section 3). Host names are not resolved: one with several addresses would mix several
/// servers into one measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// The server's address.
    pub addr: SocketAddr,
    /// Host and port as given, for the `Host` header.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

/// Why a text is not a server's URL.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum UrlError {
    /// `wss://`.
    #[error("TLS is not supported: use ws:// and not wss:// (these servers speak plain TCP)")]
    Tls,
    /// `http://`, or no scheme.
    #[error("not a WebSocket URL: write ws://IP:PORT/PATH, such as ws://127.0.0.1:8000/echo")]
    Scheme,
    /// A host name, or no valid port.
    #[error("'{0}' is not IP:PORT or localhost:PORT (names are not looked up; the port is 1 to 65535)")]
    Authority(String),
    /// An IPv6 address without brackets: its last group could be a port.
    #[error("'{0}' is an IPv6 address without brackets: write [::1]:8000")]
    Brackets(String),
    /// Characters that a request line cannot have (RFC 9112, section 3.2), or a fragment, which RFC 6455 forbids.
    #[error("the path '{0}' must be printable ASCII without spaces and without '#'")]
    Path(String),
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Url, UrlError> {
        let scheme_end = text.find("://").ok_or(UrlError::Scheme)?;
        let (scheme, rest) = (&text[..scheme_end], &text[scheme_end + 3..]);
        if scheme.eq_ignore_ascii_case("wss") {
            return Err(UrlError::Tls);
        }
        if !scheme.eq_ignore_ascii_case("ws") {
            return Err(UrlError::Scheme);
        }
        let path_start = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(path_start);
        let addr = parse_authority(authority).ok_or_else(|| match authority.matches(':').count() {
            2.. if !authority.contains('[') => UrlError::Brackets(authority.to_owned()),
            _ => UrlError::Authority(authority.to_owned()),
        })?;
        if !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(UrlError::Path(path.to_owned()));
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Url { addr, authority: authority.to_owned(), path })
    }
}

/// Parses `IP:PORT`, `[IPv6]:PORT` or `localhost:PORT`. The default port is 80.
fn parse_authority(authority: &str) -> Option<SocketAddr> {
    let addr = match authority.split_once(':') {
        Some((name, port)) if name.eq_ignore_ascii_case("localhost") => {
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port.parse().ok()?)
        }
        None if authority.eq_ignore_ascii_case("localhost") => SocketAddr::from((Ipv4Addr::LOCALHOST, 80)),
        _ => authority.parse().ok().or_else(|| {
            let bracketed = authority.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            let host = match bracketed {
                Some(host) => IpAddr::V6(host.parse().ok()?),
                None => IpAddr::V4(authority.parse().ok()?),
            };
            Some(SocketAddr::new(host, 80))
        })?,
    };
    (addr.port() != 0).then_some(addr)
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ws://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_urls_are_parsed() {
        for (text, addr, path) in [
            ("ws://127.0.0.1:8000/echo", "127.0.0.1:8000", "/echo"),
            ("ws://localhost:8000", "127.0.0.1:8000", "/"),
            ("WS://10.0.0.7/a/b?c=d", "10.0.0.7:80", "/a/b?c=d"),
            ("ws://[::1]:9000/?x", "[::1]:9000", "/?x"),
            ("ws://[::1]", "[::1]:80", "/"),
            ("ws://localhost?x=1", "127.0.0.1:80", "/?x=1"),
        ] {
            let url: Url = text.parse().expect(text);
            assert_eq!((url.addr.to_string().as_str(), url.path.as_str()), (addr, path), "{text}");
        }
    }

    #[test]
    fn invalid_urls_are_rejected() {
        for (text, error) in [
            ("wss://127.0.0.1:8000/", UrlError::Tls),
            ("http://127.0.0.1:8000/", UrlError::Scheme),
            ("127.0.0.1:8000", UrlError::Scheme),
            ("", UrlError::Scheme),
            ("ws://", UrlError::Authority(String::new())),
            ("ws://example.org:80/", UrlError::Authority("example.org:80".to_owned())),
            ("ws://127.0.0.1:0/", UrlError::Authority("127.0.0.1:0".to_owned())),
            ("ws://127.0.0.1:70000/", UrlError::Authority("127.0.0.1:70000".to_owned())),
            ("ws://::1:9101/", UrlError::Brackets("::1:9101".to_owned())),
            ("ws://::1/", UrlError::Brackets("::1".to_owned())),
            ("ws://fe80::1%eth0:80/", UrlError::Brackets("fe80::1%eth0:80".to_owned())),
            ("ws://[127.0.0.1]/", UrlError::Authority("[127.0.0.1]".to_owned())),
            ("ws://localhost:x/", UrlError::Authority("localhost:x".to_owned())),
            ("ws://127.0.0.1:80/a b", UrlError::Path("/a b".to_owned())),
            ("ws://127.0.0.1:80/a#b", UrlError::Path("/a#b".to_owned())),
        ] {
            assert_eq!(text.parse::<Url>(), Err(error), "{text}");
        }
    }
}
