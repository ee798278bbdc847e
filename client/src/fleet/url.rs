//! The URL of a server: `ws://HOST:PORT/PATH`, or `wss://` over TLS.

use super::authority::{Authority, AuthorityError, DEFAULT_TLS_PORT};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A server's URL (RFC 6455, section 3). A name in it is not resolved yet: see [`Url::resolve`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Whether the scheme is `wss`: the connections are over TLS.
    pub is_tls: bool,
    /// Host and port.
    pub authority: Authority,
    /// Path and query.
    pub path: String,
}

/// Why a text is not a server's URL.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum UrlError {
    /// `http://`, or no scheme.
    #[error(
        "not a WebSocket URL: write ws://HOST:PORT/PATH or wss://HOST/PATH, such as ws://127.0.0.1:8000/echo"
    )]
    Scheme,
    /// No valid host, or no valid port.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// Characters that a request line cannot have (RFC 9112, section 3.2), or a fragment, which RFC 6455 forbids.
    #[error("the path '{0}' must be printable ASCII without spaces and without '#'")]
    Path(String),
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Url, UrlError> {
        let scheme_end = text.find("://").ok_or(UrlError::Scheme)?;
        let (scheme, rest) = (&text[..scheme_end], &text[scheme_end + 3..]);
        let is_tls = scheme.eq_ignore_ascii_case("wss");
        if !is_tls && !scheme.eq_ignore_ascii_case("ws") {
            return Err(UrlError::Scheme);
        }
        let path_start = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(path_start);
        let authority =
            if is_tls { Authority::parse(authority, DEFAULT_TLS_PORT) } else { authority.parse() }?;
        if !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(UrlError::Path(path.to_owned()));
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Url { is_tls, authority, path })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn valid_urls_are_parsed() {
        for (text, authority, path) in [
            ("ws://127.0.0.1:8000/echo", "127.0.0.1:8000", "/echo"),
            ("ws://localhost:8000", "localhost:8000", "/"),
            ("ws://echo.example/a/", "echo.example", "/a/"),
            ("WS://10.0.0.7/a/b?c=d", "10.0.0.7", "/a/b?c=d"),
            ("ws://[::1]:9000/?x", "[::1]:9000", "/?x"),
            ("ws://[::1]", "[::1]", "/"),
            ("ws://localhost?x=1", "localhost", "/?x=1"),
            ("wss://echo.example", "echo.example", "/"),
            ("WSS://echo.example:443/a", "echo.example", "/a"),
            ("wss://[::1]:80/", "[::1]:80", "/"),
        ] {
            let url: Url = text.parse().expect(text);
            let is_tls = text.to_lowercase().starts_with("wss");
            assert_eq!((url.is_tls, url.authority.port == 443), (is_tls, is_tls && !text.contains(":80")));
            assert_eq!((url.authority.to_string().as_str(), url.path.as_str()), (authority, path), "{text}");
        }
    }

    #[test]
    fn invalid_urls_are_rejected() {
        let invalid = |text: &str| UrlError::Authority(AuthorityError::Invalid(text.to_owned()));
        let brackets = |text: &str| UrlError::Authority(AuthorityError::Brackets(text.to_owned()));
        for (text, error) in [
            ("wss://", invalid("")),
            ("wsss://127.0.0.1:8000/", UrlError::Scheme),
            ("http://127.0.0.1:8000/", UrlError::Scheme),
            ("127.0.0.1:8000", UrlError::Scheme),
            ("", UrlError::Scheme),
            ("ws://", invalid("")),
            ("ws://exa mple/", invalid("exa mple")),
            ("ws://127.0.0.1:0/", invalid("127.0.0.1:0")),
            ("ws://127.0.0.1:70000/", invalid("127.0.0.1:70000")),
            ("ws://::1:9101/", brackets("::1:9101")),
            ("ws://::1/", brackets("::1")),
            ("ws://fe80::1%eth0:80/", brackets("fe80::1%eth0:80")),
            ("ws://[127.0.0.1]/", invalid("[127.0.0.1]")),
            ("ws://localhost:x/", invalid("localhost:x")),
            ("ws://127.0.0.1:80/a b", UrlError::Path("/a b".to_owned())),
            ("ws://127.0.0.1:80/a#b", UrlError::Path("/a#b".to_owned())),
        ] {
            assert_eq!(text.parse::<Url>(), Err(error), "{text}");
        }
    }

    proptest! {
        /// Whatever is accepted is shown as a URL that means the same.
        #[test]
        fn what_is_shown_parses_to_the_same(
            scheme in prop::sample::select(vec!["ws", "wss"]),
            host in r"[a-zA-Z0-9_-]{1,20}(\.[a-zA-Z0-9_-]{1,20}){0,3}\.?|[0-9]{1,3}(\.[0-9]{1,3}){3}|\[[0-9a-f:]{2,20}\]",
            port in proptest::option::of(0u32..70_000),
            path in r"[/?][!-~]{0,20}|",
        ) {
            let port = port.map_or(String::new(), |port| format!(":{port}"));
            if let Ok(url) = format!("{scheme}://{host}{port}{path}").parse::<Url>() {
                prop_assert_eq!(url.to_string().parse::<Url>(), Ok(url));
            }
        }

        #[test]
        fn no_text_panics(text in r"(wss?://)?\PC{0,40}") {
            let _ = text.parse::<Url>();
        }
    }
}
