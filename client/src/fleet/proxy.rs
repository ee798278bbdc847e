//! An HTTP proxy, and the tunnel through it to the server (RFC 9110, section 9.3.6).

use super::authority::Authority;
use super::class::Class;
use super::handshake::{Answer, MAX_HEAD_LEN};
use super::refusal::refusal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The longest user name and password together, as sent: most proxies limit a request head to 8 KiB.
const MAX_CREDENTIALS_LEN: usize = 4096;

/// A proxy that is asked to CONNECT. Displayed without its credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Host and port.
    pub authority: Authority,
    /// The value of `Proxy-Authorization` (RFC 7617).
    authorization: Option<String>,
}

/// Why a text is not the URL of a proxy. The text is not repeated: it may have a password.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ProxyError {
    /// Another scheme, such as `socks5://`.
    #[error("only HTTP proxies are supported: write http://[USER:PASSWORD@]HOST:PORT")]
    Scheme,
    /// No valid host or port, or something behind them.
    #[error(
        "not http://[USER:PASSWORD@]HOST:PORT (in USER and PASSWORD, write special characters as %XX: %40 is @)"
    )]
    Authority,
    /// A user name with a colon, which ends it in the header, or control characters (RFC 7617, section 2).
    #[error("the user name and password must be UTF-8 of at most 4096 bytes, without control characters")]
    Credentials,
}

impl FromStr for Proxy {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Proxy, ProxyError> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err(ProxyError::Scheme),
            None => text,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, authority) = match rest.rsplit_once('@') {
            Some((credentials, authority)) => (Some(credentials), authority),
            None => (None, rest),
        };
        Ok(Proxy {
            authority: authority.parse().map_err(|_| ProxyError::Authority)?,
            authorization: credentials.map(basic).transpose()?,
        })
    }
}

/// The value of `Proxy-Authorization` for `USER:PASSWORD` of a URL.
fn basic(credentials: &str) -> Result<String, ProxyError> {
    if credentials.contains(['/', '?', '#', '@']) {
        return Err(ProxyError::Authority);
    }
    let decoded = |text| percent_decode_str(text).decode_utf8().map_err(|_| ProxyError::Credentials);
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let (user, password) = (decoded(user)?, decoded(password)?);
    let pair = format!("{user}:{password}");
    if user.contains(':') || pair.chars().any(char::is_control) || pair.len() > MAX_CREDENTIALS_LEN {
        return Err(ProxyError::Credentials);
    }
    Ok(format!("Basic {}", STANDARD.encode(pair)))
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.authority.host_and_port())
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// The request for a tunnel to one server, and the check of its answer.
#[derive(Debug)]
pub(super) struct Tunnel {
    /// The request.
    pub request: Vec<u8>,
    /// The proxy's host and port.
    name: String,
}

impl Tunnel {
    /// Through `proxy` to `server`, whose name the proxy resolves.
    pub(super) fn new(proxy: &Proxy, server: &Authority) -> Tunnel {
        let server = server.host_and_port();
        let authorization = proxy
            .authorization
            .as_ref()
            .map_or(String::new(), |value| format!("Proxy-Authorization: {value}\r\n"));
        let request = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n{authorization}\r\n");
        Tunnel { request: request.into_bytes(), name: proxy.to_string() }
    }

    /// Checks the answer as received so far. `may_wait`: see [`refusal`]. What follows the head of a 2xx belongs to the
    /// tunnel, whatever length the head declares.
    pub(super) fn judge(&self, answer: &[u8], may_wait: bool) -> Answer {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let refused = |why| Answer::Refused(Class::Proxy, why);
        match response.parse(answer) {
            Ok(httparse::Status::Complete(head_len)) if matches!(response.code, Some(200..=299)) => {
                Answer::Accepted(head_len)
            }
            Ok(httparse::Status::Complete(head_len)) => {
                let why = refusal("it", &response, &answer[head_len..], may_wait);
                why.map_or(Answer::Partial, |(_, why)| refused(why))
            }
            Ok(httparse::Status::Partial) if answer.len() < MAX_HEAD_LEN => Answer::Partial,
            Ok(httparse::Status::Partial) => {
                refused(format!("the head of its answer is longer than {MAX_HEAD_LEN} bytes"))
            }
            Err(error) => refused(format!("its answer to CONNECT is not HTTP: {error}")),
        }
    }

    /// The class of a failure before the tunnel is open. This machine's own limits are not the proxy's fault.
    pub(super) fn class(&self, class: Class) -> Class {
        match class {
            Class::PortsExhausted | Class::Descriptors => class,
            _ => Class::Proxy,
        }
    }

    /// The description of a failure before the tunnel is open.
    pub(super) fn describe(&self, why: &str) -> String {
        format!("proxy {}: {why}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(proxy: &str, server: &str) -> String {
        let (proxy, server) = (proxy.parse().expect(proxy), server.parse().expect(server));
        String::from_utf8(Tunnel::new(&proxy, &server).request).expect("text")
    }

    #[test]
    fn the_request_names_the_server_and_its_port() {
        for (server, named) in [
            ("echo.example", "echo.example:80"),
            ("echo.example:8000", "echo.example:8000"),
            ("[::1]:9", "[::1]:9"),
            ("10.0.0.7", "10.0.0.7:80"),
        ] {
            let expected = format!("CONNECT {named} HTTP/1.1\r\nHost: {named}\r\n\r\n");
            assert_eq!(request("http://proxy.example:3128", server), expected);
        }
        // The example of RFC 7617, section 2, and its characters percent-encoded.
        for proxy in ["http://Aladdin:open%20sesame@[::1]:3128/", "%41laddin:open sesame@10.0.0.1"] {
            let line = "\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n";
            assert!(request(proxy, "echo.example").ends_with(line));
        }
        assert!(request("http://user@10.0.0.1", "a").contains("Basic dXNlcjo=\r\n"));
    }

    #[test]
    fn neither_errors_nor_descriptions_have_the_password() {
        let proxy: Proxy = "HTTP://user:secret@proxy.example".parse().expect("a proxy");
        assert_eq!(proxy.to_string(), "proxy.example:80");
        assert!(!format!("{proxy:?}").contains("secret"));
        let long = format!("http://u:{}@a:1", "secret".repeat(1_000));
        for (text, error) in [
            ("socks5://user:secret@a:1", ProxyError::Scheme),
            ("https://a:1", ProxyError::Scheme),
            ("http://user:secret/x@a:1", ProxyError::Authority),
            ("http://user:sec@ret@a:1", ProxyError::Authority),
            ("http://user:secret@", ProxyError::Authority),
            ("http://a:1/path", ProxyError::Authority),
            ("http://a:secret", ProxyError::Authority),
            ("", ProxyError::Authority),
            ("http://us%3Aer:secret@a:1", ProxyError::Credentials),
            ("http://user:secret%0d%0aX@a:1", ProxyError::Credentials),
            ("http://user:secret%ff@a:1", ProxyError::Credentials),
            (&long, ProxyError::Credentials),
        ] {
            assert_eq!(text.parse::<Proxy>(), Err(error), "{text}");
            assert!(!error.to_string().contains("secret"));
        }
    }

    fn judged(answer: &str) -> Answer {
        let tunnel = Tunnel::new(&"http://a:1".parse().expect("a"), &"b:2".parse().expect("b"));
        let verdict = tunnel.judge(answer.as_bytes(), true);
        for cut in 0..answer.len() {
            let early = tunnel.judge(&answer.as_bytes()[..cut], true);
            assert!(early == Answer::Partial || early == verdict, "{cut}: {early:?}");
        }
        verdict
    }

    #[test]
    fn any_2xx_opens_the_tunnel_and_what_follows_is_its() {
        for head in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.0 200 Connection established\r\nProxy-agent: x\r\n\r\n",
            "HTTP/1.1 204 No\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert_eq!(judged(&format!("{head}HTTP/1.1 101")), Answer::Accepted(head.len()), "{head}");
        }
    }

    #[test]
    fn other_answers_are_described() {
        for (answer, why) in [
            (
                "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 6\r\n\r\nlog in".to_owned(),
                "it answered 407 Proxy Authentication Required, body 'log in'",
            ),
            (
                "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n".to_owned(),
                "it answered 502 Bad Gateway",
            ),
            ("SSH-2.0-OpenSSH_9.9\r\n".to_owned(), "its answer to CONNECT is not HTTP: invalid HTTP version"),
            (
                format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(MAX_HEAD_LEN)),
                "the head of its answer is longer than 8192 bytes",
            ),
        ] {
            assert_eq!(judged(&answer), Answer::Refused(Class::Proxy, why.to_owned()), "{answer}");
        }
    }

    proptest! {
        /// Whatever is accepted makes a request of one head.
        #[test]
        fn no_credentials_end_the_head(user in any::<String>(), password in "\\PC{0,9}|%[0-9a-f]{2}%0a|[\r\n:@]") {
            if let Ok(proxy) = format!("http://{user}:{password}@a:1").parse::<Proxy>() {
                let request = Tunnel::new(&proxy, &"b:2".parse().expect("b")).request;
                let request = String::from_utf8(request).expect("text");
                prop_assert!(request.matches("\r\n").count() <= 4 && request.ends_with("\r\n\r\n"), "{request}");
                prop_assert_eq!(request.find("\r\n\r\n"), Some(request.len() - 4));
            }
        }
    }
}
