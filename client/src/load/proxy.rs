//! `--proxy`, and the proxy that the environment names.

use crate::fleet::{Authority, Host, Proxy, Url};
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Args, Command};
use ipnet::IpNet;
use std::ffi::OsStr;
use std::net::IpAddr;

/// Which way to the server
#[derive(Args, Clone, Debug, Default)]
pub struct ProxyArgs {
    /// Connect through this HTTP proxy, which is asked to CONNECT to the server: http://HOST:PORT, with USER:PASSWORD@ before
    /// HOST if it requires that; or none
    /// [default: the one in HTTP_PROXY, or HTTPS_PROXY for wss://, except to this machine and to hosts in NO_PROXY]
    #[arg(long, value_name = "URL", value_parser = ChoiceParser)]
    pub proxy: Option<Choice>,
}

/// The value of `--proxy`; `None` is `none`.
#[derive(Clone, Debug)]
pub struct Choice(Option<Proxy>);

impl ProxyArgs {
    /// The proxy to a server, by the flag or else by the environment.
    ///
    /// # Errors
    /// The environment variable that names no usable proxy, in one line.
    pub fn proxy_to(&self, url: &Url) -> Result<Option<Proxy>, String> {
        match &self.proxy {
            Some(Choice(proxy)) => Ok(proxy.clone()),
            None => of_environment(url, |name| Some(std::env::var_os(name)?.to_string_lossy().into_owned())),
        }
    }
}

/// Parses `--proxy`. Unlike those of clap's parsers, its errors do not repeat the value, which may have a password.
#[derive(Clone, Copy, Debug)]
struct ChoiceParser;

impl TypedValueParser for ChoiceParser {
    type Value = Choice;

    fn parse_ref(
        &self,
        _command: &Command,
        _arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Choice, clap::Error> {
        match value.to_string_lossy().as_ref() {
            "none" => Ok(Choice(None)),
            text => text
                .parse()
                .map(|proxy| Choice(Some(proxy)))
                .map_err(|error| clap::Error::raw(ErrorKind::ValueValidation, format!("--proxy: {error}"))),
        }
    }
}

/// The proxy of the environment, by the rules of curl and of Go's net/http: a name in lower case comes first, and where
/// a web server may have set `HTTP_PROXY` from a request's header `Proxy` (RFC 3875, section 4.1.18), it is ignored.
fn of_environment(url: &Url, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Proxy>, String> {
    let set = |name: &&str| variable(name).filter(|value| !value.trim().is_empty());
    let is_tls = url.is_tls;
    let is_cgi = variable("REQUEST_METHOD").is_some();
    let names: &[&str] = match (is_tls, is_cgi) {
        (true, _) => &["https_proxy", "HTTPS_PROXY"],
        (false, true) => &["http_proxy"],
        (false, false) => &["http_proxy", "HTTP_PROXY"],
    };
    let Some((name, value)) = names.iter().find_map(|name| Some((name, set(name)?))) else { return Ok(None) };
    let server = &url.authority;
    let exceptions = ["no_proxy", "NO_PROXY"].iter().find_map(set).unwrap_or_default();
    if server.is_loopback() || exceptions.split(',').any(|entry| is_except(entry, server)) {
        return Ok(None);
    }
    match value.trim().parse() {
        Ok(proxy) => Ok(Some(proxy)),
        Err(error) => Err(format!("the environment's {name}: {error}; or give --proxy none")),
    }
}

/// Whether an entry of `NO_PROXY` has the server: `*`, an address, a network in CIDR notation, a name and all below it, or
/// with a leading dot only those below it; each but the networks with or without a port.
fn is_except(entry: &str, server: &Authority) -> bool {
    let entry = entry.trim().to_ascii_lowercase();
    if let (Ok(network), Host::Ip(address)) = (entry.parse::<IpNet>(), &server.host) {
        return network.contains(address);
    }
    let with_port = || {
        let (host, port) = entry.rsplit_once(':')?;
        Some((host, port.parse::<u16>().ok()?))
    };
    let (host, port) = match with_port() {
        Some((host, port)) if entry.parse::<IpAddr>().is_err() => (host, Some(port)),
        _ => (entry.as_str(), None),
    };
    if port.is_some_and(|port| port != server.port) {
        return false;
    }
    match &server.host {
        _ if host == "*" => true,
        Host::Ip(address) => host.trim_matches(['[', ']']).parse() == Ok(*address),
        Host::Name(name) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            let below = host.strip_prefix("*.").or(host.strip_prefix('.'));
            let of = below.unwrap_or(host).trim_end_matches('.');
            let is_below = |name: &str| name.strip_suffix(of).is_some_and(|rest| rest.ends_with('.'));
            !of.is_empty() && (is_below(&name) || (below.is_none() && name == of))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The proxy to a server in this environment, as it is displayed.
    fn proxy(server: &str, environment: &[(&str, &str)]) -> Result<Option<String>, String> {
        let url = format!("ws://{server}/").parse().expect(server);
        let value =
            |name: &str| environment.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value).into());
        of_environment(&url, value).map(|proxy| proxy.map(|proxy| proxy.to_string()))
    }

    #[test]
    fn the_environment_names_a_proxy() {
        let some = |text: &str| Ok(Some(text.to_owned()));
        let upper = ("HTTP_PROXY", "http://user:secret@proxy.example:3128/");
        assert_eq!(proxy("echo.example", &[upper]), some("proxy.example:3128"));
        assert_eq!(proxy("10.0.0.7", &[upper, ("http_proxy", "10.0.0.1:8080")]), some("10.0.0.1:8080"));
        assert_eq!(proxy("10.0.0.7", &[upper, ("http_proxy", " ")]), some("proxy.example:3128"));
        for unset in [
            &[][..],
            &[("HTTP_PROXY", "")],
            &[("HTTPS_PROXY", "http://a:1"), ("ALL_PROXY", "http://a:1")],
            &[upper, ("REQUEST_METHOD", "GET")],
        ] {
            assert_eq!(proxy("echo.example", unset), Ok(None), "{unset:?}");
        }
        for loopback in ["localhost:1", "LOCALHOST.", "127.0.0.9", "[::1]:2"] {
            assert_eq!(proxy(loopback, &[upper]), Ok(None), "{loopback}");
        }
        let error = proxy("echo.example", &[("http_proxy", "socks5://user:secret@a:1")]).expect_err("SOCKS");
        assert!(error.starts_with("the environment's http_proxy: only HTTP proxies"), "{error}");
        assert!(error.ends_with("--proxy none") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn no_proxy_lists_exceptions() {
        let is_direct = |server: &str, exceptions: &str| {
            let environment = [("HTTP_PROXY", "http://a:1"), ("NO_PROXY", exceptions)];
            proxy(server, &environment).expect("valid").is_none()
        };
        for (exceptions, direct, proxied) in [
            ("*", &["echo.example", "10.0.0.7"][..], &[][..]),
            (
                "x.example, Echo.Example",
                &["echo.example", "ECHO.example.:8000", "a.b.echo.example"],
                &["myecho.example", "example", "10.0.0.7"],
            ),
            (".echo.example", &["a.echo.example"], &["echo.example", "aecho.example"]),
            ("*.echo.example.", &["a.echo.example"], &["echo.example"]),
            (
                "echo.example:81",
                &["echo.example:81", "a.echo.example:81"],
                &["echo.example", "echo.example:8"],
            ),
            ("10.0.0.7", &["10.0.0.7:9"], &["10.0.0.8", "10.0.0.7.example"]),
            ("10.0.0.7:80", &["10.0.0.7"], &["10.0.0.7:81"]),
            (
                "10.1.0.0/16,2001:db8::/32",
                &["10.1.2.3", "[2001:db8::1]"],
                &["10.2.0.1", "[2001:db9::1]", "a"],
            ),
            ("2001:db8::1", &["[2001:db8::1]:8000"], &["[2001:db8::2]"]),
            ("[2001:db8::1]:80", &["[2001:db8::1]"], &["[2001:db8::1]:81"]),
            (",,.,:,10.0.0.0/99, ", &[], &["echo.example", "10.0.0.7"]),
        ] {
            for server in direct {
                assert!(is_direct(server, exceptions), "{server} of {exceptions}");
            }
            for server in proxied {
                assert!(!is_direct(server, exceptions), "{server} of {exceptions}");
            }
        }
    }
}
