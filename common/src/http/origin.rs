//! Where a web page comes from (RFC 6454).
//!
//! Browsers let any page open a WebSocket to any server, and send the user's cookies along. They say whose page it is,
//! and it is the server that refuses (RFC 6455, section 10.2).

use crate::http::host_and_port;
use std::fmt;
use std::str::FromStr;

/// An origin: a scheme, a host and a port, or `null`, which names none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// In lower case, without the port that the scheme has by default: equal text is an equal origin (section 5).
    serialized: String,
}

impl FromStr for Origin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Origin, Self::Err> {
        let serialized = if text == "null" { Some(text.to_string()) } else { serialize(text) };
        serialized.map(|serialized| Origin { serialized }).ok_or(
            "not an origin such as https://example.com, http://localhost:3000, app://., file:// or null",
        )
    }
}

/// As a browser sends it.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.serialized)
    }
}

/// Section 6.2. Nothing may follow the port, not even a slash.
fn serialize(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let (scheme, authority) = text.split_once("://")?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    if !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) || !scheme.bytes().all(legal) {
        return None;
    }
    let web = ["http", "https", "ws", "wss"].contains(&scheme);
    // A page that is a file has no host: Electron's and Cordova's say `file://`, where a browser says `null`.
    if authority.is_empty() && !web {
        return Some(text);
    }
    // No pattern: it would be compared as it stands, and let nobody in.
    let (host, port) = host_and_port(authority).filter(|(host, _)| !host.contains('*'))?;
    let port = port.map(|port| port.parse::<u16>().ok()).map_or(Some(None), |port| port.map(Some))?;
    let default = match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    };
    Some(match port {
        Some(port) if Some(port) != default => format!("{scheme}://{host}:{port}"),
        _ => format!("{scheme}://{host}"),
    })
}

/// Whether who sent this `Origin` is let in: where none is named any is, and so is who sends none, which no browser
/// does.
pub(crate) fn is_allowed(sent: Option<&[u8]>, allowed: &[Origin]) -> bool {
    let Some(sent) = sent.filter(|_| !allowed.is_empty()) else { return true };
    let sent = str::from_utf8(sent).ok().and_then(|sent| sent.parse().ok());
    sent.is_some_and(|sent: Origin| allowed.contains(&sent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_hosts_and_ports_are_compared() {
        let same = |a: &str, b: &str| a.parse::<Origin>().unwrap() == b.parse().unwrap();
        for (a, b) in [
            ("https://example.com", "HTTPS://Example.COM"),
            ("https://example.com", "https://example.com:443"),
            ("http://[::1]:80", "http://[::1]"),
            ("null", "null"),
            ("file://", "FILE://"),
            ("app://.", "app://."),
            ("capacitor://localhost", "Capacitor://localhost"),
            ("chrome-extension://abcdef", "chrome-extension://ABCDEF"),
        ] {
            assert!(same(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("https://example.com", "http://example.com"),
            ("https://example.com", "https://example.com:80"),
            ("https://example.com", "https://www.example.com"),
            ("https://example.com", "https://example.com.evil.org"),
            ("https://example.com", "null"),
            ("app://a", "app://a:443"),
            ("file://", "null"),
            ("file://", "content://"),
            ("file://", "file://localhost"),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn what_is_no_origin() {
        for text in [
            "",
            "*",
            "example.com",
            "https://",
            "ws://",
            "file:///",
            "file:",
            "file://:80",
            "https://example.com/",
            "https://example.com/path",
            "https://example.com?a",
            "https://a https://b",
            "https://user@example.com",
            "https://example.com:65536",
            "https://example.com:http",
            "https://example.com:",
            "1http://example.com",
            "://example.com",
            "https://*.example.com",
            "NULL",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }

    #[test]
    fn who_sends_none_is_let_in_and_null_is_not() {
        let allowed = ["https://a.example".parse().unwrap(), "http://localhost:3000".parse().unwrap()];
        let allowed = |sent: &str| is_allowed(Some(sent.as_bytes()), &allowed);
        assert!(is_allowed(Some(b"file://"), &["file://".parse().unwrap()]));
        assert!(allowed("https://A.example") && allowed("http://localhost:3000"));
        for refused in
            ["file://", "http://a.example", "http://localhost", "null", "", "https://a.example http://b"]
        {
            assert!(!allowed(refused), "{refused}");
        }
        assert!(is_allowed(None, &["https://a.example".parse().unwrap()]));
        assert!(is_allowed(Some(b"null"), &[]) && is_allowed(Some(b"null"), &["null".parse().unwrap()]));
    }
}
