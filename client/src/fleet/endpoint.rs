//! The addresses of a server or its proxy, resolved once.

use super::authority::{Authority, Host};
use super::proxy::Proxy;
use super::url::Url;
use dns_lookup::{AddrInfoHints, LookupErrorKind, getaddrinfo};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;
use thiserror::Error;

/// Addresses of a name beyond these are not used.
pub(super) const MAX_ADDRESSES: usize = 1024;

/// Timeout of a connection that only tries an address.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Addresses that are no one's (RFC 5737 and 3849): a route to one is a route beyond this machine.
const ELSEWHERE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];

/// A server: its URL, and the addresses to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The URL, as given.
    pub url: Url,
    /// The proxy that is asked for a tunnel to the server.
    pub proxy: Option<Proxy>,
    /// Those of the proxy, if there is one, else those of the server. At least one, each once.
    addrs: Vec<SocketAddr>,
}

/// Why a name has no address. `dns` is the class of such a failure; no attempt is made, so none is counted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ResolveError {
    /// The name does not exist, or has no address (`EAI_NONAME`, `EAI_NODATA`).
    #[error(
        "dns: cannot resolve '{0}' (no such name): check it with 'getent ahosts {0}', or give an IP address"
    )]
    NoName(String),
    /// No answer (`EAI_AGAIN`).
    #[error(
        "dns: cannot resolve '{0}' (no answer from a resolver): check /etc/resolv.conf, or give an IP address"
    )]
    NoAnswer(String),
    /// No answer, and no route beyond this machine.
    #[error(
        "dns: cannot resolve '{0}' (no network): check 'ip route', or give an IP address of this machine"
    )]
    NoNetwork(String),
    /// Another error of getaddrinfo(3).
    #[error("dns: cannot resolve '{0}' ({1}): check it with 'getent ahosts {0}', or give an IP address")]
    Failed(String, String),
}

impl Endpoint {
    /// Host and port that the addresses are of: the proxy's, if there is one.
    pub fn first_hop(&self) -> &Authority {
        self.proxy.as_ref().map_or(&self.url.authority, |proxy| &proxy.authority)
    }

    /// The addresses, in the order of the resolver (RFC 6724); at least one.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }
}

impl Url {
    /// Resolves the host: see [`Authority::resolve`].
    ///
    /// # Errors
    /// If a name has no address.
    pub fn resolve(self) -> Result<Endpoint, ResolveError> {
        self.resolve_through(None)
    }

    /// The same through a proxy, if there is one: its host is resolved, and it resolves the server's.
    ///
    /// # Errors
    /// If a name has no address.
    pub fn resolve_through(self, proxy: Option<Proxy>) -> Result<Endpoint, ResolveError> {
        let addrs = proxy.as_ref().map_or(&self.authority, |proxy| &proxy.authority).resolve()?;
        Ok(Endpoint { url: self, proxy, addrs })
    }

    /// The same with a resolver that returns these addresses.
    #[cfg(test)]
    pub(crate) fn resolve_to(self, addrs: &[SocketAddr]) -> Endpoint {
        let addrs = self.authority.resolve_with(|_, _| Ok(addrs.to_vec()), |_| true).expect("an address");
        Endpoint { url: self, proxy: None, addrs }
    }
}

impl Authority {
    /// The addresses, each once: at least one. It may block as long as the resolver does.
    ///
    /// `localhost` is both loopback addresses (RFC 6761, section 6.3); one is omitted if only the other accepts a
    /// connection. Another address is omitted if this machine has no route to it, but has one to others: names have IPv6
    /// addresses on machines without IPv6 too.
    ///
    /// # Errors
    /// If a name has no address.
    pub fn resolve(&self) -> Result<Vec<SocketAddr>, ResolveError> {
        let is_usable = if self.is_localhost() { is_accepting } else { has_route };
        self.resolve_with(lookup, is_usable)
    }

    /// The same with another resolver, and another judge of its addresses.
    fn resolve_with(
        &self,
        lookup: impl FnOnce(&str, u16) -> Result<Vec<SocketAddr>, ResolveError>,
        is_usable: impl Fn(SocketAddr) -> bool,
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        let found = match &self.host {
            Host::Ip(address) => return Ok(vec![SocketAddr::new(*address, self.port)]),
            Host::Name(_) if self.is_localhost() => {
                let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
                loopback.map(|address| SocketAddr::new(address, self.port)).to_vec()
            }
            Host::Name(name) => lookup(name, self.port)?,
        };
        let mut addrs = Vec::new();
        for addr in found {
            if !addrs.contains(&addr) && addrs.len() < MAX_ADDRESSES {
                addrs.push(addr);
            }
        }
        if let (Host::Name(name), []) = (&self.host, &addrs[..]) {
            return Err(ResolveError::NoName(name.clone()));
        }
        let usable: Vec<_> = addrs.iter().copied().filter(|&addr| is_usable(addr)).collect();
        // Without a usable address the load fails, and the failures say why.
        Ok(if usable.is_empty() { addrs } else { usable })
    }
}

/// getaddrinfo(3).
fn lookup(name: &str, port: u16) -> Result<Vec<SocketAddr>, ResolveError> {
    let hints = AddrInfoHints { socktype: libc::SOCK_STREAM, ..AddrInfoHints::default() };
    let found = getaddrinfo(Some(name), None, Some(hints)).map_err(|error| {
        let is_cut_off = || !ELSEWHERE.iter().any(|&address| has_route(SocketAddr::new(address, port)));
        match error.kind() {
            LookupErrorKind::NoName | LookupErrorKind::NoData => ResolveError::NoName(name.to_owned()),
            LookupErrorKind::Again if is_cut_off() => ResolveError::NoNetwork(name.to_owned()),
            LookupErrorKind::Again => ResolveError::NoAnswer(name.to_owned()),
            _ => ResolveError::Failed(name.to_owned(), error.to_string()),
        }
    })?;
    Ok(found
        .flatten()
        .map(|found| {
            let mut addr = found.sockaddr;
            addr.set_port(port);
            addr
        })
        .collect())
}

/// Whether a connection to `addr` succeeds, or is at least not rejected at once.
fn is_accepting(addr: SocketAddr) -> bool {
    let tried = TcpStream::connect_timeout(&addr, PROBE_TIMEOUT);
    tried.map_or_else(|error| error.kind() == ErrorKind::TimedOut, |_| true)
}

/// Whether the kernel has a route to `addr`. Connecting a datagram socket sends nothing.
fn has_route(addr: SocketAddr) -> bool {
    let any: IpAddr =
        if addr.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(addr)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn resolved(
        host: &str,
        lookup: impl FnOnce(&str, u16) -> Result<Vec<SocketAddr>, ResolveError>,
        is_usable: impl Fn(SocketAddr) -> bool,
    ) -> Result<Vec<String>, String> {
        let authority: Authority = host.parse().expect("host and port");
        let addrs = authority.resolve_with(lookup, is_usable).map_err(|error| error.to_string())?;
        Ok(addrs.iter().map(SocketAddr::to_string).collect())
    }

    /// A resolver that returns these addresses.
    fn finds(addrs: &'static [&str]) -> impl FnOnce(&str, u16) -> Result<Vec<SocketAddr>, ResolveError> {
        |name, port| {
            assert_eq!(name, "echo.example");
            Ok(addrs.iter().map(|addr| SocketAddr::new(addr.parse().expect("an address"), port)).collect())
        }
    }

    #[test]
    fn names_have_the_addresses_of_the_resolver() {
        let all = |_| true;
        let one = resolved("echo.example:8000", finds(&["10.0.0.7"]), all);
        assert_eq!(one.expect("an address"), ["10.0.0.7:8000"]);
        let several =
            resolved("echo.example", finds(&["2001:db8::7", "10.0.0.7", "10.0.0.8", "10.0.0.7"]), all);
        assert_eq!(several.expect("addresses"), ["[2001:db8::7]:80", "10.0.0.7:80", "10.0.0.8:80"]);
        let error = resolved("echo.example", finds(&[]), all).expect_err("no address");
        assert!(error.starts_with("dns: cannot resolve 'echo.example' (no such name): check"), "{error}");
        let failing = |name: &str, _| Err(ResolveError::NoAnswer(name.to_owned()));
        let error = resolved("echo.example", failing, all).expect_err("an error");
        assert!(error.contains("(no answer from a resolver)"), "{error}");
        assert!(lookup("name.invalid.", 80).is_err());
        assert_eq!(lookup("127.0.0.9", 81), Ok(vec![SocketAddr::from(([127, 0, 0, 9], 81))]));
    }

    #[test]
    fn unusable_addresses_are_omitted_unless_all_are() {
        let both = || finds(&["2001:db8::7", "10.0.0.7"]);
        assert_eq!(resolved("echo.example", both(), |addr| addr.is_ipv4()).expect("one"), ["10.0.0.7:80"]);
        assert_eq!(resolved("echo.example", both(), |_| false).expect("both").len(), 2);
    }

    #[test]
    fn addresses_and_localhost_are_not_looked_up() {
        let never =
            |name: &str, _: u16| -> Result<Vec<SocketAddr>, ResolveError> { panic!("{name} was looked up") };
        let unusable = |_| false;
        assert_eq!(resolved("[::1]:8000", never, unusable).expect("itself"), ["[::1]:8000"]);
        assert_eq!(resolved("10.0.0.7", never, unusable).expect("itself"), ["10.0.0.7:80"]);
        for name in ["localhost:8000", "LocalHost.:8000"] {
            assert_eq!(resolved(name, never, |_| true).expect("both"), ["127.0.0.1:8000", "[::1]:8000"]);
        }
    }

    #[test]
    fn localhost_is_where_a_server_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let addr = listener.local_addr().expect("an address");
        let url: Url = format!("ws://localhost:{}/", addr.port()).parse().expect("url");
        assert_eq!(url.clone().resolve().expect("an address").addrs(), [addr]);
        drop(listener);
        assert_eq!(url.resolve().expect("addresses").addrs().len(), 2);
        assert!(has_route(addr));
    }
}
